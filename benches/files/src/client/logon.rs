//! From a connection to a connected share: NEGOTIATE for 3.1.1, NTLMv2 in SESSION_SETUP, TREE_CONNECT.

use std::io;
use std::rc::Rc;

use usmbd::auth::client::Client;
use usmbd::crypto::kdf::SessionKeys;
use usmbd::crypto::preauth::PreauthHash;
use usmbd::crypto::random;
use usmbd::crypto::sign::{Signer, SigningAlgorithm};
use usmbd::wire::dialect::Dialect;
use usmbd::wire::guid::Guid;
use usmbd::wire::header::HeaderFlags;
use usmbd::wire::negotiate::{Capabilities, NegotiateRequest, NegotiateResponse, SecurityMode};
use usmbd::wire::negotiate_context::{self, HashAlgorithm, NegotiateContext};
use usmbd::wire::session_setup::{SessionSetupRequest, SessionSetupResponse};
use usmbd::wire::status::NtStatus;
use usmbd::wire::tree_connect::{TreeConnectFlags, TreeConnectRequest};
use usmbd::wire::utf16::Utf16;

use super::Target;
use super::connection::{Answer, Connection};

pub(super) async fn log_on(connection: &Rc<Connection>, target: &Target) -> io::Result<()> {
    let mut preauth = PreauthHash::new();
    let algorithm = negotiate(connection, &mut preauth).await?;
    set_up(connection, target, algorithm, preauth).await?;
    connect_tree(connection, target).await
}

/// The algorithm of signatures that the server has chosen.
async fn negotiate(
    connection: &Connection,
    preauth: &mut PreauthHash,
) -> io::Result<SigningAlgorithm> {
    let (sent, answer) = connection.exchange(&negotiate_request()?).await?;
    answer.expect(NtStatus::SUCCESS)?;
    preauth.update(&sent);
    preauth.update(answer.message());
    let chosen = answer.body(NegotiateResponse::decode)?;
    if chosen.dialect != Dialect::SMB_3_1_1 {
        return Err(io::Error::other(format!("the server speaks {:?}", chosen.dialect)));
    }
    let signing = chosen.contexts.iter().find_map(|context| match context {
        NegotiateContext::Signing { algorithms } => algorithms.first().copied(),
        _ => None,
    });
    match signing {
        // MS-SMB2 3.2.5.2: without the context it is CMAC.
        None => Ok(SigningAlgorithm::AesCmac),
        Some(algorithm) => SigningAlgorithm::from_wire(algorithm.0)
            .ok_or_else(|| io::Error::other("a signing algorithm that was not offered")),
    }
}

fn negotiate_request() -> io::Result<NegotiateRequest> {
    use negotiate_context::SigningAlgorithm as Offer;
    let salt = random::bytes::<32>().map_err(io::Error::other)?.to_vec();
    let guid = random::bytes().map_err(io::Error::other)?;
    Ok(NegotiateRequest {
        security_mode: SecurityMode::SIGNING_ENABLED,
        capabilities: Capabilities::LARGE_MTU,
        client_guid: Guid(guid),
        dialects: vec![Dialect::SMB_3_1_1],
        contexts: vec![
            NegotiateContext::PreauthIntegrity {
                hash_algorithms: vec![HashAlgorithm::SHA_512],
                salt,
            },
            NegotiateContext::Signing {
                algorithms: vec![Offer::AES_GMAC, Offer::AES_CMAC, Offer::HMAC_SHA256],
            },
        ],
    })
}

async fn set_up(
    connection: &Connection,
    target: &Target,
    algorithm: SigningAlgorithm,
    mut preauth: PreauthHash,
) -> io::Result<()> {
    let mut client = Client::new(&target.user, "", &target.password);
    let (sent, answer) = connection.exchange(&step(target, client.negotiate())).await?;
    answer.expect(NtStatus::MORE_PROCESSING_REQUIRED)?;
    preauth.update(&sent);
    preauth.update(answer.message());
    let session_id = answer.header().session_id;
    connection.enter(session_id, 0);
    let challenge = random::bytes().map_err(io::Error::other)?;
    let key = random::bytes().map_err(io::Error::other)?;
    let token = token(&answer)?;
    let token = client.authenticate(&token, challenge, key).map_err(io::Error::other)?;
    let (sent, mut answer) = connection.exchange(&step(target, token)).await?;
    answer.expect(NtStatus::SUCCESS)?;
    // MS-SMB2 3.2.5.3.1: the hash ends with the last request.
    preauth.update(&sent);
    let agreed = client.finish(&self::token(&answer)?).map_err(io::Error::other)?;
    let key = agreed.as_bytes();
    let keys = SessionKeys::derive(Dialect::SMB_3_1_1.0, key, key, preauth.as_bytes(), None);
    let signer = Signer::new(algorithm, keys.signing.as_bytes()).map_err(io::Error::other)?;
    connection.protect(Some(signer), target.signing);
    let is_signed = answer.header().flags.contains(HeaderFlags::SIGNED);
    if !is_signed || !connection.verifies(&mut answer) {
        return Err(io::Error::other("the last answer of the logon has no good signature"));
    }
    Ok(())
}

fn step(target: &Target, token: Vec<u8>) -> SessionSetupRequest {
    let mut security_mode = SecurityMode::SIGNING_ENABLED;
    security_mode.set(SecurityMode::SIGNING_REQUIRED, target.signing);
    SessionSetupRequest { security_mode, security_buffer: token, ..SessionSetupRequest::default() }
}

fn token(answer: &Answer) -> io::Result<Vec<u8>> {
    Ok(answer.body(SessionSetupResponse::decode)?.security_buffer)
}

async fn connect_tree(connection: &Connection, target: &Target) -> io::Result<()> {
    let path = format!("\\\\{}\\{}", target.address.ip(), target.share);
    let path = Utf16::from_str(&path);
    let request = TreeConnectRequest { flags: TreeConnectFlags::empty(), path };
    // MS-SMB2 3.2.4.1.1: in 3.1.1 this one is signed in any case.
    connection.protect(None, true);
    let (_, answer) = connection.exchange(&request).await?;
    connection.protect(None, target.signing);
    answer.expect(NtStatus::SUCCESS)?;
    let tree = answer.header().tree_id().unwrap_or_default();
    connection.enter(answer.header().session_id, tree);
    Ok(())
}
