//! NTLMv2 as an acceptor (MS-NLMP 3.2): a challenge out, a proof in. NTLMv1 and LM are not spoken.
//!
//! What stands in for trust: the proof is checked always, whatever else a message has or has not.

pub mod crypto;
pub(crate) mod messages;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use self::{
    crypto::{Key, MessageSigner, NtHash},
    messages::{Authenticate, Challenge, MIC, Negotiate, Ntlmv2Response, av, push_av},
};
use super::{AcceptorConfig, AuthError, Outcome, Principal, Refusal, SessionKey, UserStore};

pub use messages::SIGNATURE;

/// NEGOTIATE flags (MS-NLMP 2.2.2.5) that matter to either side.
pub(super) mod flags {
    pub(crate) const UNICODE: u32 = 0x0000_0001;
    pub(crate) const REQUEST_TARGET: u32 = 0x0000_0004;
    pub(crate) const SIGN: u32 = 0x0000_0010;
    pub(crate) const SEAL: u32 = 0x0000_0020;
    pub(crate) const NTLM: u32 = 0x0000_0200;
    pub(crate) const ALWAYS_SIGN: u32 = 0x0000_8000;
    pub(crate) const TARGET_TYPE_SERVER: u32 = 0x0002_0000;
    pub(crate) const EXTENDED_SESSIONSECURITY: u32 = 0x0008_0000;
    pub(crate) const TARGET_INFO: u32 = 0x0080_0000;
    pub(crate) const VERSION: u32 = 0x0200_0000;
    pub(crate) const BITS_128: u32 = 0x2000_0000;
    pub(crate) const KEY_EXCH: u32 = 0x4000_0000;
    pub(crate) const BITS_56: u32 = 0x8000_0000;

    /// What a server says in any case.
    pub(crate) const SERVER: u32 = UNICODE
        | REQUEST_TARGET
        | NTLM
        | TARGET_TYPE_SERVER
        | EXTENDED_SESSIONSECURITY
        | TARGET_INFO
        | VERSION;
    /// What a server grants a client that asks.
    pub(crate) const ON_REQUEST: u32 = SIGN | SEAL | ALWAYS_SIGN | BITS_128 | BITS_56 | KEY_EXCH;
}

/// An exchange whose challenge is out. It keeps the messages so far, for the MIC covers them.
pub(super) struct Challenged {
    negotiate: Vec<u8>,
    challenge: Vec<u8>,
    server_challenge: [u8; 8],
    offered: u32,
}

/// An exchange that is over.
pub(super) struct Accepted {
    pub(super) outcome: Outcome,
    /// The name the client gave, for the log.
    pub(super) user: String,
    /// `None`: there is no key to sign with.
    pub(super) signer: Option<MessageSigner>,
}

impl Challenged {
    /// Answers a NEGOTIATE message.
    pub(super) fn start(
        config: &AcceptorConfig,
        server_challenge: [u8; 8],
        negotiate: &[u8],
        filetime: u64,
    ) -> Result<Self, AuthError> {
        let asked = Negotiate::parse(negotiate).ok_or(AuthError::Malformed("NTLM NEGOTIATE"))?;
        if asked.flags & flags::UNICODE == 0 {
            return Err(AuthError::Malformed("NTLM without Unicode"));
        }
        let offered = flags::SERVER | asked.flags & flags::ON_REQUEST;
        let challenge = Challenge {
            flags: offered,
            server_challenge,
            target_name: &crypto::utf16le(&config.netbios_name),
            target_info: &target_info(config, filetime),
        }
        .encode();
        Ok(Self { negotiate: negotiate.to_vec(), challenge, server_challenge, offered })
    }

    /// The CHALLENGE message.
    pub(super) fn challenge(&self) -> &[u8] {
        &self.challenge
    }

    /// Judges an AUTHENTICATE message.
    ///
    /// Unknown users take the same way as known ones, up to the same refusal.
    pub(super) fn accept(self, message: &[u8], users: &UserStore) -> Result<Accepted, AuthError> {
        let auth = Authenticate::parse(message).ok_or(AuthError::Malformed("NTLM AUTHENTICATE"))?;
        let negotiated = auth.flags & self.offered;
        if auth.is_anonymous() {
            // MS-NLMP 3.3.2: nothing is proved and the key is known to all: zeros.
            let exported = exported_key(Zeroizing::new([0; 16]), &auth, negotiated)?;
            return Ok(accepted(Principal::Anonymous, String::new(), exported, negotiated));
        }
        if !auth.is_unicode() {
            return Err(AuthError::Malformed("NTLM without Unicode"));
        }
        let user = crypto::from_utf16le(auth.user);
        let refuse = |reason| AuthError::LogonFailure { user: user.clone(), reason };
        let response =
            Ntlmv2Response::parse(auth.nt_response).ok_or_else(|| refuse(Refusal::WeakResponse))?;
        if !response.is_well_formed() {
            return Err(AuthError::Malformed("NTLMv2 response"));
        }
        let (name, base_key) = match self.check_proof(&auth, &response, &user, users) {
            Ok(proved) => proved,
            Err(Refusal::UnknownUser) if users.admits_guests() => return Ok(guest(user)),
            Err(reason) => return Err(refuse(reason)),
        };
        let exported = exported_key(base_key, &auth, negotiated)?;
        // The promise stands in the blob and the blob under the proof, so nobody but the client can
        // leave it out. A client without it is accepted: Linux's cifs sends no MIC. What it forgoes is
        // protection of the NTLM flags, which 3.1.1's preauthentication hash gives anyway.
        if response.promises_mic() && !self.mic_matches(message, &exported) {
            return Err(refuse(Refusal::Tampered));
        }
        Ok(accepted(Principal::User(name), user, exported, negotiated))
    }

    /// MS-NLMP 3.3.2: recomputes the proof; answers with the user's name and the SessionBaseKey.
    fn check_proof(
        &self,
        auth: &Authenticate<'_>,
        response: &Ntlmv2Response<'_>,
        user: &str,
        users: &UserStore,
    ) -> Result<(String, Key), Refusal> {
        let known = users.get(user);
        let nobody = NtHash::from([0; 16]);
        let hash = known.map_or(&nobody, |known| &known.nt_hash);
        let ntowf = crypto::ntowf_v2(hash, auth.user, auth.domain);
        let expected = crypto::nt_proof(&ntowf, &self.server_challenge, response.blob);
        let proved = bool::from(expected.ct_eq(response.nt_proof));
        match known {
            None => Err(Refusal::UnknownUser),
            Some(_) if !proved => Err(Refusal::WrongPassword),
            Some(known) => {
                Ok((known.name.clone(), crypto::session_base_key(&ntowf, response.nt_proof)))
            }
        }
    }

    /// MS-NLMP 3.2.5.1.2: the MIC covers all three messages with its own field zeroed.
    fn mic_matches(&self, message: &[u8], exported: &Key) -> bool {
        let Some((before, rest)) = message.split_at_checked(MIC.start) else { return false };
        let Some((received, after)) = rest.split_first_chunk::<16>() else { return false };
        let parts = [&self.negotiate, &self.challenge, before, &[0; 16], after];
        crypto::mic(exported, &parts).ct_eq(received).into()
    }
}

fn accepted(principal: Principal, user: String, exported: Key, negotiated: u32) -> Accepted {
    Accepted {
        outcome: Outcome { principal, session_key: SessionKey::new(*exported) },
        user,
        signer: Some(MessageSigner::new(exported, negotiated)),
    }
}

/// Nobody but the client knows what its key was made from.
fn guest(user: String) -> Accepted {
    let outcome = Outcome { principal: Principal::Guest, session_key: SessionKey::new([0; 16]) };
    Accepted { outcome, user, signer: None }
}

#[cfg(test)]
impl Challenged {
    /// Takes up an exchange that another server began, knowing only its messages.
    pub(super) fn resume(negotiate: &[u8], challenge: &[u8]) -> Self {
        let parsed = Challenge::parse(challenge).unwrap();
        Self {
            negotiate: negotiate.to_vec(),
            challenge: challenge.to_vec(),
            server_challenge: parsed.server_challenge,
            offered: parsed.flags,
        }
    }
}

/// The key both sides leave with: the client's choice where it made one, else the one from the proof.
fn exported_key(base_key: Key, auth: &Authenticate<'_>, negotiated: u32) -> Result<Key, AuthError> {
    if negotiated & flags::KEY_EXCH == 0 || auth.encrypted_session_key.is_empty() {
        return Ok(base_key);
    }
    let encrypted = auth
        .encrypted_session_key
        .try_into()
        .map_err(|_| AuthError::Malformed("NTLM session key length"))?;
    Ok(crypto::rc4k(&base_key, encrypted))
}

/// The AV pairs of the CHALLENGE message, in the order Windows sends them.
fn target_info(config: &AcceptorConfig, filetime: u64) -> Vec<u8> {
    let mut pairs = Vec::new();
    for (id, name) in [
        (av::NB_DOMAIN_NAME, &config.netbios_domain),
        (av::NB_COMPUTER_NAME, &config.netbios_name),
        (av::DNS_DOMAIN_NAME, &config.dns_domain),
        (av::DNS_COMPUTER_NAME, &config.dns_name),
    ] {
        push_av(&mut pairs, id, &crypto::utf16le(name));
    }
    push_av(&mut pairs, av::TIMESTAMP, &filetime.to_le_bytes());
    push_av(&mut pairs, av::EOL, &[]);
    pairs
}

#[cfg(test)]
mod tests;
