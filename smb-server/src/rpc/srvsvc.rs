//! The server service: which shares there are, and what the server is called. MS-SRVS.
//!
//! Only the questions that clients ask to show a list of shares; nothing can be changed here.

use std::sync::Arc;

use crate::security::UnixNames;
use crate::wire::codec::Malformed;
use crate::wire::security::Sid;

use super::dcerpc::{Fault, Syntax};
use super::ndr::{NdrReader, NdrWriter};

/// 4b324fc8-1670-01d3-1278-5a47bf6ee188 version 3.0. MS-SRVS 1.9.
pub(super) const INTERFACE: Syntax = [
    0xc8, 0x4f, 0x32, 0x4b, 0x70, 0x16, 0xd3, 0x01, 0x12, 0x78, 0x5a, 0x47, 0xbf, 0x6e, 0xe1, 0x88,
    0x03, 0x00, 0x00, 0x00,
];

// Operations. MS-SRVS 3.1.4.
const NETR_SHARE_ENUM: u16 = 15;
const NETR_SHARE_GET_INFO: u16 = 16;
const NETR_SERVER_GET_INFO: u16 = 21;
const NETR_SHARE_ENUM_STICKY: u16 = 36;

// Results. MS-ERREF 2.2 and MS-SRVS 2.2.2.
const NERR_SUCCESS: u32 = 0;
const ERROR_INVALID_LEVEL: u32 = 124;
const NERR_NET_NAME_NOT_FOUND: u32 = 2310;

/// SHI_USES_UNLIMITED, MS-SRVS 2.2.2.5: as many users as come.
const USES_UNLIMITED: u32 = 0xffff_ffff;
/// PLATFORM_ID_NT, MS-SRVS 2.2.2.6.
const PLATFORM_ID_NT: u32 = 500;
/// Major and minor version that clients show: those of the protocol's current Windows.
const VERSION: (u32, u32) = (10, 0);
/// SV_TYPE_WORKSTATION, SERVER, NT and SERVER_NT. MS-SRVS 2.2.2.7.
const SERVER_TYPE: u32 = 0x0000_9003;

/// What the services tell about the server.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Its NetBIOS-style name.
    pub name: String,
    /// A line for people.
    pub comment: String,
    /// In the order in which they are listed; IPC$ belongs here too.
    pub shares: Vec<ShareInfo>,
    /// The SID of the domain that it is by itself.
    pub domain_sid: Sid,
    /// The accounts of its system.
    pub unix: Arc<dyn UnixNames>,
}

/// What the service tells about one share.
#[derive(Clone, Debug)]
pub struct ShareInfo {
    /// Its name.
    pub name: String,
    /// A line for people.
    pub comment: String,
    /// What lies behind it.
    pub kind: ShareType,
    /// Where it lies on the server, as clients are told; empty keeps that to ourselves.
    pub path: String,
}

/// What lies behind a share. MS-SRVS 2.2.2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ShareType {
    /// Files.
    Disk = 0x0000_0000,
    /// Named pipes; hidden from lists.
    Ipc = 0x8000_0003,
}

/// How much is asked about a share. MS-SRVS 2.2.4.22 to 2.2.4.28.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Info0,
    Info1,
    Info2,
    Info501,
    Info502,
    Info1005,
}

impl Level {
    fn from_wire(level: u32) -> Option<Self> {
        Some(match level {
            0 => Self::Info0,
            1 => Self::Info1,
            2 => Self::Info2,
            501 => Self::Info501,
            502 => Self::Info502,
            1005 => Self::Info1005,
            _ => return None,
        })
    }
}

/// Answers one call.
pub(super) fn call(server: &ServerInfo, operation: u16, stub: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut parameters = NdrReader::new(stub);
    let result = match operation {
        NETR_SHARE_ENUM => share_enum(&mut parameters, server.shares.iter().collect()),
        // MS-SRVS 3.1.4.9: only the shares that outlive a restart, and IPC$ is made at each.
        NETR_SHARE_ENUM_STICKY => {
            let sticky = server.shares.iter().filter(|share| share.kind != ShareType::Ipc);
            share_enum(&mut parameters, sticky.collect())
        }
        NETR_SHARE_GET_INFO => share_get_info(&mut parameters, server),
        NETR_SERVER_GET_INFO => server_get_info(&mut parameters, server),
        _ => return Err(Fault::OpRange),
    };
    result.map(NdrWriter::into_bytes).map_err(|_| Fault::Ndr)
}

/// MS-SRVS 3.1.4.8. The preferred length is a preference; the list is short enough to come at once.
fn share_enum(r: &mut NdrReader<'_>, shares: Vec<&ShareInfo>) -> Result<NdrWriter, Malformed> {
    r.unique_string()?;
    let (number, arm) = (r.u32()?, r.u32()?);
    let level = Level::from_wire(number).filter(|level| *level != Level::Info1005);
    let container = level.is_some() && r.pointer()?;
    if container {
        let (_count, array) = (r.u32()?, r.pointer()?);
        // The array is the result's place: a client has nothing to put there.
        if array {
            return Err(Malformed::new("NetrShareEnum with shares in the question"));
        }
    }
    if arm != number {
        return Err(Malformed::new("NetrShareEnum of two levels"));
    }
    let _preferred_length = r.u32()?;
    let resume = if r.pointer()? { Some(r.u32()?) } else { None };

    let mut w = NdrWriter::default();
    w.u32(number);
    w.u32(number);
    let Some(level) = level else {
        w.u32(0);
        resume_handle(&mut w, resume);
        w.u32(ERROR_INVALID_LEVEL);
        return Ok(w);
    };
    let from = resume.and_then(|from| usize::try_from(from).ok()).unwrap_or(0).min(shares.len());
    let shares = shares.get(from..).unwrap_or_default();
    w.referent();
    w.count(shares.len());
    w.referent();
    w.count(shares.len());
    shares.iter().for_each(|share| share_fixed(&mut w, share, level));
    shares.iter().for_each(|share| share_strings(&mut w, share, level));
    w.count(shares.len());
    resume_handle(&mut w, resume);
    w.u32(NERR_SUCCESS);
    Ok(w)
}

/// All shares are always told, so the next call starts again.
fn resume_handle(w: &mut NdrWriter, asked: Option<u32>) {
    if asked.is_some() {
        w.referent();
    }
    w.u32(0);
}

/// MS-SRVS 3.1.4.10.
fn share_get_info(r: &mut NdrReader<'_>, server: &ServerInfo) -> Result<NdrWriter, Malformed> {
    r.unique_string()?;
    let name = r.string()?.to_uppercase();
    let number = r.u32()?;

    let mut w = NdrWriter::default();
    w.u32(number);
    let Some(level) = Level::from_wire(number) else {
        w.u32(ERROR_INVALID_LEVEL);
        return Ok(w);
    };
    match server.shares.iter().find(|share| share.name.to_uppercase() == name) {
        Some(share) => {
            w.referent();
            share_fixed(&mut w, share, level);
            share_strings(&mut w, share, level);
            w.u32(NERR_SUCCESS);
        }
        None => {
            w.null();
            w.u32(NERR_NET_NAME_NOT_FOUND);
        }
    }
    Ok(w)
}

/// The structure itself; what its pointers point at comes with [`share_strings`].
fn share_fixed(w: &mut NdrWriter, share: &ShareInfo, level: Level) {
    if level == Level::Info1005 {
        return w.u32(0); // shi1005_flags: nothing about DFS or caching
    }
    w.referent(); // netname
    if level == Level::Info0 {
        return;
    }
    w.u32(share.kind as u32);
    w.referent(); // remark
    match level {
        Level::Info2 | Level::Info502 => {
            w.u32(0); // permissions: only share-level security has them
            w.u32(USES_UNLIMITED);
            w.u32(0); // current_uses
            w.referent(); // path
            w.referent(); // passwd
        }
        Level::Info501 => w.u32(0), // flags: caching as the client likes
        Level::Info0 | Level::Info1 | Level::Info1005 => {}
    }
    if level == Level::Info502 {
        w.u32(0); // no security descriptor
        w.null();
    }
}

fn share_strings(w: &mut NdrWriter, share: &ShareInfo, level: Level) {
    if level == Level::Info1005 {
        return;
    }
    w.string(&share.name);
    if level != Level::Info0 {
        w.string(&share.comment);
    }
    if matches!(level, Level::Info2 | Level::Info502) {
        w.string(&share.path);
        w.string(""); // passwd
    }
}

/// MS-SRVS 3.1.4.17.
fn server_get_info(r: &mut NdrReader<'_>, server: &ServerInfo) -> Result<NdrWriter, Malformed> {
    r.unique_string()?;
    let level = r.u32()?;

    let mut w = NdrWriter::default();
    w.u32(level);
    if !matches!(level, 100 | 101) {
        w.u32(ERROR_INVALID_LEVEL);
        return Ok(w);
    }
    w.referent();
    w.u32(PLATFORM_ID_NT);
    w.referent();
    if level == 101 {
        w.u32(VERSION.0);
        w.u32(VERSION.1);
        w.u32(SERVER_TYPE);
        w.referent();
    }
    w.string(&server.name);
    if level == 101 {
        w.string(&server.comment);
    }
    w.u32(NERR_SUCCESS);
    Ok(w)
}
