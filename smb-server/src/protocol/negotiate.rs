//! NEGOTIATE: which dialect and which algorithms a connection uses. MS-SMB2 3.3.5.3 and 3.3.5.4.

use crate::auth;
use crate::crypto::preauth::PreauthHash;
use crate::crypto::{self, seal, sign};
use crate::wire::dialect::Dialect;
use crate::wire::filetime::FileTime;
use crate::wire::guid::Guid;
use crate::wire::negotiate::{Capabilities, NegotiateRequest, NegotiateResponse, SecurityMode};
use crate::wire::negotiate_context::{Cipher, HashAlgorithm, NegotiateContext, SigningAlgorithm};
use crate::wire::status::NtStatus;
use crate::wire::validate_negotiate::{ValidateNegotiateInfoRequest, ValidateNegotiateInfoResponse};

use super::channel::Algorithms;
use super::config::Config;

/// The dialects we speak, best first.
const DIALECTS: [Dialect; 5] =
    [Dialect::SMB_3_1_1, Dialect::SMB_3_0_2, Dialect::SMB_3_0, Dialect::SMB_2_1, Dialect::SMB_2_0_2];

/// Ciphers, best first: GCM is several times faster than CCM, and 128 bits are enough for everyone
/// who does not ask for 256 only.
const CIPHERS: [Cipher; 4] = [Cipher::AES_128_GCM, Cipher::AES_128_CCM, Cipher::AES_256_GCM, Cipher::AES_256_CCM];

/// Signing algorithms, fastest first.
const SIGNINGS: [SigningAlgorithm; 3] =
    [SigningAlgorithm::AES_GMAC, SigningAlgorithm::AES_CMAC, SigningAlgorithm::HMAC_SHA256];

/// The largest transfer of 2.0.2, which has no multi-credit requests.
const IO_SIZE_2_0_2: u32 = 65_536;

/// As long as the hash's security asks for, MS-SMB2 3.3.5.4.
const SALT_LEN: usize = 32;

/// What a connection has agreed on.
#[derive(Debug)]
pub(super) struct Negotiated {
    pub(super) dialect: Dialect,
    pub(super) algorithms: Algorithms,
    pub(super) io_size_max: u32,
    /// Over the NEGOTIATE messages; every session setup continues from here.
    pub(super) preauth: PreauthHash,
    pub(super) client_security_mode: SecurityMode,
    client_guid: Guid,
    client_capabilities: Capabilities,
    server_guid: Guid,
    server_security_mode: SecurityMode,
    server_capabilities: Capabilities,
}

impl Negotiated {
    /// Whether requests may be larger than one credit.
    pub(super) fn is_multi_credit(&self) -> bool {
        self.dialect != Dialect::SMB_2_0_2
    }

    /// MS-SMB2 3.3.5.15.12: the client repeats, signed, what it had asked for. `None`: that is not
    /// what we were asked, so somebody between us changed it.
    pub(super) fn validate(&self, claim: &ValidateNegotiateInfoRequest) -> Option<ValidateNegotiateInfoResponse> {
        let same = claim.capabilities == self.client_capabilities
            && claim.client_guid == self.client_guid
            && claim.security_mode == self.client_security_mode
            && choose_dialect(&claim.dialects) == Some(self.dialect);
        same.then_some(ValidateNegotiateInfoResponse {
            capabilities: self.server_capabilities,
            server_guid: self.server_guid,
            security_mode: self.server_security_mode,
            dialect: self.dialect,
        })
    }
}

/// Answers an SMB2 NEGOTIATE.
///
/// # Errors
/// The status that refuses it; the client may try again.
pub(super) fn negotiate(
    config: &Config,
    request: &NegotiateRequest,
    now: FileTime,
) -> Result<(Negotiated, NegotiateResponse), NtStatus> {
    if request.dialects.is_empty() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let dialect = choose_dialect(&request.dialects).ok_or(NtStatus::NOT_SUPPORTED)?;
    let (algorithms, contexts) = if dialect == Dialect::SMB_3_1_1 {
        negotiate_contexts(&request.contexts)?
    } else {
        (algorithms_before_3_1_1(dialect, request.capabilities), Vec::new())
    };
    let negotiated = Negotiated {
        dialect,
        algorithms,
        io_size_max: if dialect == Dialect::SMB_2_0_2 { IO_SIZE_2_0_2 } else { config.io_size_max },
        preauth: PreauthHash::new(),
        client_security_mode: request.security_mode,
        client_guid: request.client_guid,
        client_capabilities: request.capabilities,
        server_guid: config.server_guid,
        server_security_mode: security_mode(config),
        server_capabilities: capabilities(dialect, algorithms),
    };
    let response = response(&negotiated, now, contexts);
    Ok((negotiated, response))
}

/// Answers an SMB1 NEGOTIATE that offers "SMB 2.???": the client is to negotiate again in SMB2.
/// MS-SMB2 3.3.5.3.1.
pub(super) fn wildcard_response(config: &Config, now: FileTime) -> NegotiateResponse {
    NegotiateResponse {
        security_mode: security_mode(config),
        dialect: Dialect::SMB_2_WILDCARD,
        server_guid: config.server_guid,
        capabilities: Capabilities::LARGE_MTU,
        max_transact_size: config.io_size_max,
        max_read_size: config.io_size_max,
        max_write_size: config.io_size_max,
        system_time: now,
        server_start_time: FileTime::default(),
        security_buffer: auth::initial_token(),
        contexts: Vec::new(),
    }
}

fn response(negotiated: &Negotiated, now: FileTime, contexts: Vec<NegotiateContext>) -> NegotiateResponse {
    NegotiateResponse {
        security_mode: negotiated.server_security_mode,
        dialect: negotiated.dialect,
        server_guid: negotiated.server_guid,
        capabilities: negotiated.server_capabilities,
        max_transact_size: negotiated.io_size_max,
        max_read_size: negotiated.io_size_max,
        max_write_size: negotiated.io_size_max,
        system_time: now,
        // MS-SMB2 3.3.5.4 allows 0; it tells nobody how long security updates are overdue.
        server_start_time: FileTime::default(),
        security_buffer: auth::initial_token(),
        contexts,
    }
}

fn choose_dialect(offered: &[Dialect]) -> Option<Dialect> {
    DIALECTS.into_iter().find(|dialect| offered.contains(dialect))
}

fn security_mode(config: &Config) -> SecurityMode {
    let mut mode = SecurityMode::SIGNING_ENABLED;
    mode.set(SecurityMode::SIGNING_REQUIRED, config.require_signing);
    mode
}

fn capabilities(dialect: Dialect, algorithms: Algorithms) -> Capabilities {
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::LARGE_MTU, dialect != Dialect::SMB_2_0_2);
    // In 3.1.1 the encryption context says it instead.
    let by_flag = algorithms.cipher.is_some() && dialect != Dialect::SMB_3_1_1;
    capabilities.set(Capabilities::ENCRYPTION, by_flag);
    capabilities
}

fn algorithms_before_3_1_1(dialect: Dialect, client: Capabilities) -> Algorithms {
    let is_3 = dialect == Dialect::SMB_3_0 || dialect == Dialect::SMB_3_0_2;
    let can_encrypt = is_3 && client.contains(Capabilities::ENCRYPTION);
    Algorithms {
        signing: if is_3 { sign::SigningAlgorithm::AesCmac } else { sign::SigningAlgorithm::HmacSha256 },
        cipher: can_encrypt.then_some(seal::Cipher::Aes128Ccm),
    }
}

/// MS-SMB2 3.3.5.4, the part for 3.1.1: preauthentication integrity is mandatory, the rest is
/// answered where it is asked for and there is something in common.
fn negotiate_contexts(offered: &[NegotiateContext]) -> Result<(Algorithms, Vec<NegotiateContext>), NtStatus> {
    let mut algorithms = Algorithms { signing: sign::SigningAlgorithm::AesCmac, cipher: None };
    let mut answer = Vec::new();

    let hashes = only(offered, |context| match context {
        NegotiateContext::PreauthIntegrity { hash_algorithms, .. } => Some(hash_algorithms),
        _ => None,
    })?;
    let hashes = hashes.ok_or(NtStatus::INVALID_PARAMETER)?;
    if !hashes.contains(&HashAlgorithm::SHA_512) {
        return Err(NtStatus::SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP);
    }
    let salt = crypto::random::bytes::<SALT_LEN>().map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
    let hash_algorithms = vec![HashAlgorithm::SHA_512];
    answer.push(NegotiateContext::PreauthIntegrity { hash_algorithms, salt: salt.to_vec() });

    let ciphers = only(offered, |context| match context {
        NegotiateContext::Encryption { ciphers } => Some(ciphers),
        _ => None,
    })?;
    if let Some(ciphers) = ciphers {
        // Nothing in common is said so, by cipher 0, and is no error.
        let chosen = CIPHERS.into_iter().find(|cipher| ciphers.contains(cipher)).unwrap_or(Cipher::NONE);
        algorithms.cipher = seal::Cipher::from_wire(chosen.0);
        answer.push(NegotiateContext::Encryption { ciphers: vec![chosen] });
    }

    let signings = only(offered, |context| match context {
        NegotiateContext::Signing { algorithms } => Some(algorithms),
        _ => None,
    })?;
    let chosen = signings.and_then(|offered| SIGNINGS.into_iter().find(|it| offered.contains(it)));
    if let Some(chosen) = chosen
        && let Some(signing) = sign::SigningAlgorithm::from_wire(chosen.0)
    {
        algorithms.signing = signing;
        answer.push(NegotiateContext::Signing { algorithms: vec![chosen] });
    }
    Ok((algorithms, answer))
}

/// The one context that `pick` recognises. A second of its kind is an error.
fn only<'a, T: ?Sized>(
    contexts: &'a [NegotiateContext],
    pick: impl Fn(&'a NegotiateContext) -> Option<&'a T>,
) -> Result<Option<&'a T>, NtStatus> {
    let mut found = contexts.iter().filter_map(pick);
    let first = found.next();
    if found.next().is_some() { Err(NtStatus::INVALID_PARAMETER) } else { Ok(first) }
}
