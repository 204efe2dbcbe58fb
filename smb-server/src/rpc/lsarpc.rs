//! The local security authority: names for SIDs and the reverse, so that clients can show and set who may what.
//! MS-LSAT, and of MS-LSAD what leads there.
//!
//! Nothing can be changed here, and only users get answers: who else comes should not learn who is here.

use crate::auth::Principal;
use crate::security::{Known, NameUse, by_name, by_sid};
use crate::wire::codec::Malformed;
use crate::wire::security::Sid;
use crate::wire::status::NtStatus;

use super::dcerpc::{Fault, Syntax};
use super::ndr::{NdrReader, NdrWriter};
use super::srvsvc::ServerInfo;

/// 12345778-1234-abcd-ef00-0123456789ab version 0.0. MS-LSAT 1.9.
pub(super) const INTERFACE: Syntax = [
    0x78, 0x57, 0x34, 0x12, 0x34, 0x12, 0xcd, 0xab, 0xef, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
    0x00, 0x00, 0x00, 0x00,
];

// Operations. MS-LSAD 3.1.4 and MS-LSAT 3.1.4.
const LSAR_CLOSE: u16 = 0;
const LSAR_OPEN_POLICY: u16 = 6;
const LSAR_QUERY_INFORMATION_POLICY: u16 = 7;
const LSAR_LOOKUP_NAMES: u16 = 14;
const LSAR_LOOKUP_SIDS: u16 = 15;
const LSAR_OPEN_POLICY_2: u16 = 44;
const LSAR_GET_USER_NAME: u16 = 45;
const LSAR_QUERY_INFORMATION_POLICY_2: u16 = 46;
const LSAR_LOOKUP_SIDS_2: u16 = 57;
const LSAR_LOOKUP_NAMES_2: u16 = 58;
const LSAR_LOOKUP_NAMES_3: u16 = 68;

// What can be asked about the policy. MS-LSAD 2.2.4.1.
const PRIMARY_DOMAIN: u16 = 3;
const ACCOUNT_DOMAIN: u16 = 5;
const DNS_DOMAIN: u16 = 12;

/// The most names in one call, MS-LSAT 3.1.4.8, and SIDs, of which 2.2.17 would allow twenty times as many: each may
/// take a look at the system's accounts.
const NAMES_MAX: u32 = 1000;
const SIDS_MAX: u32 = 1000;

/// Policies that one pipe may have open; a client needs one.
const POLICIES_MAX: usize = 64;

/// No index into the list of domains.
const NO_DOMAIN: u32 = u32::MAX;

/// The open policies of one pipe. Each is the same, so a handle is no more than a number.
#[derive(Debug, Default)]
pub(super) struct Policies {
    open: Vec<u64>,
    last: u64,
}

/// What is told of an operation: its results but the status, and that.
type Answer = Result<(NdrWriter, NtStatus), Malformed>;

/// Answers one call.
pub(super) fn call(
    policies: &mut Policies,
    server: &ServerInfo,
    caller: &Principal,
    operation: u16,
    stub: &[u8],
) -> Result<Vec<u8>, Fault> {
    let r = &mut NdrReader::new(stub);
    let answer = match operation {
        LSAR_CLOSE => policies.close(r),
        LSAR_OPEN_POLICY | LSAR_OPEN_POLICY_2 => policies.open(r, operation, caller),
        LSAR_GET_USER_NAME => get_user_name(r, server, caller),
        LSAR_QUERY_INFORMATION_POLICY | LSAR_QUERY_INFORMATION_POLICY_2 => {
            policies.with(r, |r| query_information(r, server))
        }
        LSAR_LOOKUP_NAMES | LSAR_LOOKUP_NAMES_2 | LSAR_LOOKUP_NAMES_3 => {
            policies.with(r, |r| lookup_names(r, server, operation))
        }
        LSAR_LOOKUP_SIDS | LSAR_LOOKUP_SIDS_2 => {
            policies.with(r, |r| lookup_sids(r, server, operation))
        }
        _ => return Err(Fault::OpRange),
    };
    match answer {
        Ok((mut w, status)) => {
            w.u32(status.0);
            Ok(w.into_bytes())
        }
        Err(Asked::Malformed) => Err(Fault::Ndr),
        Err(Asked::NoHandle) => Err(Fault::ContextMismatch),
    }
}

/// Why a call is answered with a fault.
enum Asked {
    Malformed,
    NoHandle,
}

impl From<Malformed> for Asked {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Policies {
    /// MS-LSAD 3.1.4.4.1 and 3.1.4.4.2.
    fn open(
        &mut self,
        r: &mut NdrReader<'_>,
        operation: u16,
        caller: &Principal,
    ) -> Result<(NdrWriter, NtStatus), Asked> {
        // The server's name, of which the older call has one character; nothing depends on it, nor on the attributes and
        // the access that is asked for, as there is but one.
        match operation {
            LSAR_OPEN_POLICY => {
                if r.pointer()? {
                    r.u16()?;
                }
            }
            _ => drop(r.unique_string()?),
        }
        let mut w = NdrWriter::default();
        let refused = match caller.is_user() {
            false => Some(NtStatus::ACCESS_DENIED),
            true if self.open.len() >= POLICIES_MAX => Some(NtStatus::INSUFFICIENT_RESOURCES),
            true => None,
        };
        if let Some(status) = refused {
            handle(&mut w, 0);
            return Ok((w, status));
        }
        self.last += 1;
        self.open.push(self.last);
        handle(&mut w, self.last);
        Ok((w, NtStatus::SUCCESS))
    }

    /// MS-LSAD 3.1.4.9.4.
    fn close(&mut self, r: &mut NdrReader<'_>) -> Result<(NdrWriter, NtStatus), Asked> {
        let closed = self.named(r)?;
        self.open.retain(|open| *open != closed);
        let mut w = NdrWriter::default();
        handle(&mut w, 0);
        Ok((w, NtStatus::SUCCESS))
    }

    /// What can be asked only of an open policy.
    fn with(
        &self,
        r: &mut NdrReader<'_>,
        ask: impl FnOnce(&mut NdrReader<'_>) -> Answer,
    ) -> Result<(NdrWriter, NtStatus), Asked> {
        self.named(r)?;
        Ok(ask(r)?)
    }

    fn named(&self, r: &mut NdrReader<'_>) -> Result<u64, Asked> {
        let _attributes = r.u32()?;
        let (number, rest): (u64, u64) = (r.u64()?, r.u64()?);
        if rest == 0 && self.open.contains(&number) { Ok(number) } else { Err(Asked::NoHandle) }
    }
}

/// A context handle, C706 appendix N: attributes, and a UUID, which here is a number. 0 is none.
fn handle(w: &mut NdrWriter, number: u64) {
    w.u32(0);
    w.bytes(&number.to_le_bytes());
    w.bytes(&[0; 8]);
}

/// MS-LSAD 3.1.4.4.4.
fn query_information(r: &mut NdrReader<'_>, server: &ServerInfo) -> Answer {
    let level = r.u16()?;
    let mut w = NdrWriter::default();
    // A server that stands alone is its own domain, of which it is no member.
    let (names, sid): (&[&str], _) = match level {
        PRIMARY_DOMAIN => (&[&server.name], None),
        ACCOUNT_DOMAIN => (&[&server.name], Some(&server.domain_sid)),
        DNS_DOMAIN => (&[&server.name, "", ""], None),
        _ => {
            w.null();
            return Ok((w, NtStatus::INVALID_PARAMETER));
        }
    };
    w.referent();
    w.u16(level);
    names.iter().for_each(|name| terminated(&mut w, name));
    if level == DNS_DOMAIN {
        w.bytes(&[0; 16]); // no GUID
    }
    match sid {
        Some(_) => w.referent(),
        None => w.null(),
    }
    names.iter().for_each(|name| w.counted(name, 1));
    if let Some(sid) = sid {
        w.sid(sid);
    }
    Ok((w, NtStatus::SUCCESS))
}

/// MS-LSAT 3.1.4.4.
fn get_user_name(
    r: &mut NdrReader<'_>,
    server: &ServerInfo,
    caller: &Principal,
) -> Result<(NdrWriter, NtStatus), Asked> {
    r.unique_string()?;
    if r.pointer()? {
        return Err(Asked::Malformed); // there is no name to give
    }
    let wants_domain = r.pointer()?;
    let (domain, name) = match caller {
        Principal::User(name) => (server.name.as_str(), name.as_str()),
        Principal::Guest => (server.name.as_str(), "Guest"),
        Principal::Anonymous => ("NT AUTHORITY", "ANONYMOUS LOGON"),
    };
    let mut w = NdrWriter::default();
    w.referent();
    plain(&mut w, name);
    w.counted(name, 0);
    if wants_domain {
        w.referent();
        w.referent();
        plain(&mut w, domain);
        w.counted(domain, 0);
    } else {
        w.null();
    }
    Ok((w, NtStatus::SUCCESS))
}

/// MS-LSAT 3.1.4.6 to 3.1.4.8.
fn lookup_names(r: &mut NdrReader<'_>, server: &ServerInfo, operation: u16) -> Answer {
    let names = r.names(NAMES_MAX)?;
    let found: Vec<Option<Known>> =
        names.iter().map(|name| by_name(&*server.unix, &server.name, name)).collect();
    let domains = Domains::of(&found);
    let mut w = NdrWriter::default();
    domains.write(&mut w);
    w.array(found.len());
    for known in &found {
        w.u16(known.as_ref().map_or(NameUse::Unknown, |known| known.name_use) as u16);
        match (operation, known) {
            (LSAR_LOOKUP_NAMES_3, Some(_)) => w.referent(),
            (_, known) => w.u32(known.as_ref().map_or(0, |known| known.rid)),
        }
        w.u32(domains.index(known.as_ref()));
        if operation != LSAR_LOOKUP_NAMES {
            w.u32(0); // flags: found in the first place
        }
    }
    if operation == LSAR_LOOKUP_NAMES_3 {
        found.iter().flatten().for_each(|known| w.sid(&known.sid()));
    }
    Ok(mapped(w, &found))
}

/// MS-LSAT 3.1.4.10 and 3.1.4.11.
fn lookup_sids(r: &mut NdrReader<'_>, server: &ServerInfo, operation: u16) -> Answer {
    let sids = r.sids(SIDS_MAX)?;
    let found: Vec<Option<Known>> = sids.iter().map(|sid| by_sid(&*server.unix, sid)).collect();
    // Who is not known is called by the SID, so that people see something.
    let name = |(sid, known): (&Sid, &Option<Known>)| {
        known.as_ref().map_or_else(|| sid.to_string(), |known| known.name.clone())
    };
    let names: Vec<String> = sids.iter().zip(&found).map(name).collect();
    let domains = Domains::of(&found);
    let mut w = NdrWriter::default();
    domains.write(&mut w);
    w.array(found.len());
    for (known, name) in found.iter().zip(&names) {
        w.u16(known.as_ref().map_or(NameUse::Unknown, |known| known.name_use) as u16);
        plain(&mut w, name);
        w.u32(domains.index(known.as_ref()));
        if operation == LSAR_LOOKUP_SIDS_2 {
            w.u32(0); // flags: found in the first place
        }
    }
    names.iter().for_each(|name| w.counted(name, 0));
    Ok(mapped(w, &found))
}

/// How many were found, and the status that says so.
fn mapped(mut w: NdrWriter, found: &[Option<Known>]) -> (NdrWriter, NtStatus) {
    let count = found.iter().flatten().count();
    w.count(count);
    let status = match count {
        count if count == found.len() => NtStatus::SUCCESS,
        0 => NtStatus::NONE_MAPPED,
        _ => NtStatus::SOME_NOT_MAPPED,
    };
    (w, status)
}

/// The domains of an answer, each once. MS-LSAT 2.2.12, LSAPR_REFERENCED_DOMAIN_LIST.
struct Domains<'a>(Vec<&'a (&'static str, Sid)>);

impl<'a> Domains<'a> {
    fn of(found: &'a [Option<Known>]) -> Self {
        let mut domains: Vec<&(&str, Sid)> = Vec::new();
        for known in found.iter().flatten() {
            if !domains.contains(&&known.domain) {
                domains.push(&known.domain);
            }
        }
        Self(domains)
    }

    fn index(&self, known: Option<&Known>) -> u32 {
        let index = known.and_then(|known| self.0.iter().position(|it| **it == known.domain));
        index.and_then(|index| u32::try_from(index).ok()).unwrap_or(NO_DOMAIN)
    }

    fn write(&self, w: &mut NdrWriter) {
        const IGNORED_BY_CLIENTS: u32 = 32;
        w.referent();
        w.count(self.0.len());
        if self.0.is_empty() {
            w.null();
            return w.u32(IGNORED_BY_CLIENTS);
        }
        w.referent();
        w.u32(IGNORED_BY_CLIENTS);
        w.count(self.0.len());
        for (name, _) in &self.0 {
            terminated(w, name);
            w.referent();
        }
        for (name, sid) in &self.0 {
            w.counted(name, 1);
            w.sid(sid);
        }
    }
}

/// RPC_UNICODE_STRING of exactly the text; what it points at comes later. MS-DTYP 2.3.10.
fn plain(w: &mut NdrWriter, text: &str) {
    unicode_string(w, text, 0);
}

/// The same with room for a NUL, as servers tell the names of domains.
fn terminated(w: &mut NdrWriter, text: &str) {
    unicode_string(w, text, 2);
}

fn unicode_string(w: &mut NdrWriter, text: &str, room: usize) {
    let length = text.encode_utf16().count() * 2;
    // Names are a fraction of what 16 bits can say.
    w.align(4);
    w.u16(u16::try_from(length).unwrap_or(u16::MAX));
    w.u16(u16::try_from(length + room).unwrap_or(u16::MAX));
    w.referent();
}
