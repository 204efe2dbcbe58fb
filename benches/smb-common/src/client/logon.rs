//! From a connection to a connected share: NEGOTIATE, NTLMv2 in SESSION_SETUP, TREE_CONNECT; or to a further channel of a
//! session that there is.

use std::io;
use std::sync::Arc;

use usmbd::auth::client::Client;
use usmbd::crypto::kdf::SessionKeys;
use usmbd::crypto::preauth::PreauthHash;
use usmbd::crypto::random;
use usmbd::crypto::seal::{Cipher, Sealer};
use usmbd::crypto::sign::{Signer, SigningAlgorithm};
use usmbd::wire::dialect::Dialect;
use usmbd::wire::guid::Guid;
use usmbd::wire::header::HeaderFlags;
use usmbd::wire::negotiate::{Capabilities, NegotiateRequest, NegotiateResponse, SecurityMode};
use usmbd::wire::negotiate_context::{self, HashAlgorithm, NegotiateContext};
use usmbd::wire::session_setup::{SessionSetupFlags, SessionSetupRequest, SessionSetupResponse};
use usmbd::wire::status::NtStatus;
use usmbd::wire::tree_connect::{TreeConnectFlags, TreeConnectRequest};
use usmbd::wire::utf16::Utf16;

use super::answer::Answer;
use super::peek::Peek;
use super::request::Request;
use super::session::{Agreed, Seals, Session};
use super::{Protection, Target};

/// What can carry a logon, whether it blocks or not.
pub(super) trait Carrier {
    /// Asks one thing; its message as it was signed, without the prefix, and the answer.
    async fn exchange(&self, request: &dyn Request) -> io::Result<(Vec<u8>, Answer)>;

    fn session<T>(&self, with: impl FnOnce(&mut Session) -> T) -> T;
}

/// Logs on, and connects the share.
pub(super) async fn log_on(carrier: &impl Carrier, target: &Target) -> io::Result<()> {
    let mut preauth = PreauthHash::new();
    let guid = Guid(random::bytes().map_err(io::Error::other)?);
    let agreed = negotiate(carrier, target, guid, &mut preauth).await?;
    let keys = set_up(carrier, target, &agreed, preauth, false).await?;
    carrier.session(|session| protect(session, target, &keys))?;
    connect_tree(carrier, target, agreed.dialect).await
}

/// Makes the connection a further channel of the session that `first` belongs to, with its tree.
pub(super) async fn bind(
    carrier: &impl Carrier,
    target: &Target,
    first: &Session,
) -> io::Result<()> {
    let known = first.agreed().ok_or_else(|| io::Error::other("there is no session to bind to"))?;
    if !known.capabilities.contains(Capabilities::MULTI_CHANNEL) {
        return Err(io::Error::other(
            "the server does not offer several channels for a session (SMB2_GLOBAL_CAP_MULTI_CHANNEL)",
        ));
    }
    let mut preauth = PreauthHash::new();
    let agreed = negotiate(carrier, target, known.client_guid, &mut preauth).await?;
    // MS-SMB2 3.2.4.2.3.1: signed with the session's key, until the channel has its own.
    carrier.session(|session| {
        (session.id, session.tree_id) = (first.id, first.tree_id);
        (session.signer, session.signing) = (first.signer.clone(), true);
    });
    set_up(carrier, target, &agreed, preauth, true).await?;
    carrier.session(|session| {
        session.signing = first.signing;
        session.seals.clone_from(&first.seals);
    });
    Ok(())
}

async fn negotiate(
    carrier: &impl Carrier,
    target: &Target,
    client_guid: Guid,
    preauth: &mut PreauthHash,
) -> io::Result<Agreed> {
    let (sent, answer) = carrier.exchange(&negotiate_request(target, client_guid)?).await?;
    answer.expect(NtStatus::SUCCESS)?;
    preauth.update(&sent);
    preauth.update(answer.message());
    let chosen = answer.body(NegotiateResponse::decode)?;
    if chosen.dialect != target.dialect {
        return Err(io::Error::other(format!("the server speaks {:?}", chosen.dialect)));
    }
    check_cipher(&chosen, target)?;
    let agreed = Agreed {
        dialect: chosen.dialect,
        read_max: chosen.max_read_size,
        write_max: chosen.max_write_size,
        capabilities: chosen.capabilities,
        signing: signing(&chosen, target)?,
        client_guid,
    };
    carrier.session(|session| session.agreed = Some(agreed.clone()));
    Ok(agreed)
}

fn negotiate_request(target: &Target, client_guid: Guid) -> io::Result<NegotiateRequest> {
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::LARGE_MTU, target.dialect > Dialect::SMB_2_0_2);
    if target.dialect >= Dialect::SMB_3_0 {
        capabilities |= Capabilities::MULTI_CHANNEL | Capabilities::ENCRYPTION;
    }
    let salt = random::bytes::<32>().map_err(io::Error::other)?.to_vec();
    let mut contexts = vec![
        NegotiateContext::PreauthIntegrity { hash_algorithms: vec![HashAlgorithm::SHA_512], salt },
        NegotiateContext::Signing { algorithms: offered(target.protection) },
    ];
    if let Protection::Sealed(cipher) = target.protection {
        let ciphers = vec![negotiate_context::Cipher(cipher as u16)];
        contexts.push(NegotiateContext::Encryption { ciphers });
    }
    Ok(NegotiateRequest {
        security_mode: SecurityMode::SIGNING_ENABLED,
        capabilities,
        client_guid,
        dialects: vec![target.dialect],
        contexts: if target.dialect == Dialect::SMB_3_1_1 { contexts } else { Vec::new() },
    })
}

/// The signing algorithms to choose from: all, where it does not matter.
fn offered(protection: Protection) -> Vec<negotiate_context::SigningAlgorithm> {
    use SigningAlgorithm::{AesCmac, AesGmac, HmacSha256};
    let algorithms = match protection {
        Protection::Signed(Some(algorithm)) => vec![algorithm],
        _ => vec![AesGmac, AesCmac, HmacSha256],
    };
    algorithms.into_iter().map(|it| negotiate_context::SigningAlgorithm(it as u16)).collect()
}

/// The algorithm of signatures that the server has chosen, or that the dialect has.
fn signing(chosen: &NegotiateResponse, target: &Target) -> io::Result<SigningAlgorithm> {
    let context = chosen.contexts.iter().find_map(|context| match context {
        NegotiateContext::Signing { algorithms } => algorithms.first().copied(),
        _ => None,
    });
    let algorithm = match context {
        _ if chosen.dialect < Dialect::SMB_3_0 => SigningAlgorithm::HmacSha256,
        // MS-SMB2 3.2.5.2: without the context it is CMAC.
        None => SigningAlgorithm::AesCmac,
        Some(algorithm) => SigningAlgorithm::from_wire(algorithm.0)
            .ok_or_else(|| io::Error::other("a signing algorithm that was not offered"))?,
    };
    match target.protection {
        Protection::Signed(Some(wanted)) if wanted != algorithm => {
            Err(io::Error::other(format!("the server signs by {algorithm:?}, not {wanted:?}")))
        }
        _ => Ok(algorithm),
    }
}

fn check_cipher(chosen: &NegotiateResponse, target: &Target) -> io::Result<()> {
    let Protection::Sealed(cipher) = target.protection else { return Ok(()) };
    let wanted = negotiate_context::Cipher(cipher as u16);
    let is_agreed = match chosen.dialect {
        Dialect::SMB_3_1_1 => chosen.contexts.iter().any(|context| {
            matches!(context, NegotiateContext::Encryption { ciphers } if ciphers.contains(&wanted))
        }),
        dialect => {
            dialect >= Dialect::SMB_3_0
                && cipher == Cipher::Aes128Ccm
                && chosen.capabilities.contains(Capabilities::ENCRYPTION)
        }
    };
    if is_agreed {
        Ok(())
    } else {
        Err(io::Error::other(format!("no {cipher:?} with this server")))
    }
}

/// Proves who the user is. The keys of the session or channel; its signer is in place.
async fn set_up(
    carrier: &impl Carrier,
    target: &Target,
    agreed: &Agreed,
    mut preauth: PreauthHash,
    binding: bool,
) -> io::Result<SessionKeys> {
    let mut client = Client::new(&target.user, "", &target.password);
    let (sent, answer) = carrier.exchange(&step(target, client.negotiate(), binding)).await?;
    answer.expect(NtStatus::MORE_PROCESSING_REQUIRED)?;
    preauth.update(&sent);
    preauth.update(answer.message());
    carrier.session(|session| session.id = answer.header().session_id);
    let challenge = random::bytes().map_err(io::Error::other)?;
    let key = random::bytes().map_err(io::Error::other)?;
    let token = token(&answer)?;
    let token = client.authenticate(&token, challenge, key).map_err(io::Error::other)?;
    let (sent, mut answer) = carrier.exchange(&step(target, token, binding)).await?;
    answer.expect(NtStatus::SUCCESS)?;
    // MS-SMB2 3.2.5.3.1: the hash ends with the last request.
    preauth.update(&sent);
    let done = client.finish(&self::token(&answer)?).map_err(io::Error::other)?;
    let cipher = match target.protection {
        Protection::Sealed(cipher) => Some(cipher),
        _ => None,
    };
    let key = done.as_bytes();
    let keys = SessionKeys::derive(agreed.dialect.0, key, key, preauth.as_bytes(), cipher);
    let signer = Signer::new(agreed.signing, keys.signing.as_bytes()).map_err(io::Error::other)?;
    carrier.session(|session| {
        session.signer = Some(Arc::new(signer));
        check_last(session, &mut answer, agreed.dialect)
    })?;
    Ok(keys)
}

/// MS-SMB2 3.2.5.3.1: since 3.1.1 the last answer is signed, as it makes the keys sure.
fn check_last(session: &Session, answer: &mut Answer, dialect: Dialect) -> io::Result<()> {
    let is_signed = answer.header().flags.contains(HeaderFlags::SIGNED);
    let has_to_be = dialect == Dialect::SMB_3_1_1;
    if (is_signed || has_to_be) && !(is_signed && session.verifies(answer)) {
        return Err(io::Error::other("the last answer of the logon has no good signature"));
    }
    Ok(())
}

fn step(target: &Target, token: Vec<u8>, binding: bool) -> SessionSetupRequest {
    let mut security_mode = SecurityMode::SIGNING_ENABLED;
    let signing = matches!(target.protection, Protection::Signed(_));
    security_mode.set(SecurityMode::SIGNING_REQUIRED, signing);
    let mut flags = SessionSetupFlags::empty();
    flags.set(SessionSetupFlags::BINDING, binding);
    SessionSetupRequest { flags, security_mode, security_buffer: token, ..Default::default() }
}

fn token(answer: &Answer) -> io::Result<Vec<u8>> {
    Ok(answer.body(SessionSetupResponse::decode)?.security_buffer)
}

/// From here on messages are protected as it is wanted.
fn protect(session: &mut Session, target: &Target, keys: &SessionKeys) -> io::Result<()> {
    session.signing = matches!(target.protection, Protection::Signed(_));
    if let Protection::Sealed(cipher) = target.protection {
        let lacking = || io::Error::other("this dialect does not encrypt");
        let theirs = keys.server_in.as_ref().ok_or_else(lacking)?.as_bytes();
        let ours = keys.server_out.as_ref().ok_or_else(lacking)?.as_bytes();
        session.seals = Some(Arc::new(Seals {
            client: Sealer::new(cipher, theirs).map_err(io::Error::other)?,
            server: Sealer::new(cipher, ours).map_err(io::Error::other)?,
            peek: Peek::new(cipher, ours)?,
        }));
    }
    Ok(())
}

async fn connect_tree(carrier: &impl Carrier, target: &Target, dialect: Dialect) -> io::Result<()> {
    let path = format!("\\\\{}\\{}", target.address.ip(), target.share);
    let path = Utf16::from_str(&path);
    let request = TreeConnectRequest { flags: TreeConnectFlags::empty(), path };
    // MS-SMB2 3.2.4.1.1: in 3.1.1 this one is signed in any case, unless it is encrypted.
    let signing = carrier.session(|session| {
        let signing = session.signing;
        session.signing |= dialect == Dialect::SMB_3_1_1;
        signing
    });
    let (_, answer) = carrier.exchange(&request).await?;
    answer.expect(NtStatus::SUCCESS)?;
    carrier.session(|session| {
        session.signing = signing;
        session.tree_id = answer.header().tree_id().unwrap_or_default();
    });
    Ok(())
}
