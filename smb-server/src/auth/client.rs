//! The client's side of an exchange (MS-NLMP 3.1), for tests and tools: the server itself never logs in anywhere.

use subtle::ConstantTimeEq;

use super::{
    AuthError, SessionKey,
    ntlm::{
        crypto::{self, Direction, MessageSigner, NtHash},
        flags,
        messages::{self, Authenticate, Challenge, MIC, Negotiate, av, find_av, push_av},
    },
    spnego::{self, NegState, NegTokenResp, Token},
};

/// One exchange as a client: [`negotiate`](Self::negotiate), [`authenticate`](Self::authenticate), [`finish`](Self::finish).
pub struct Client {
    user: Vec<u8>,
    domain: Vec<u8>,
    nt_hash: NtHash,
    negotiate: Vec<u8>,
    established: Option<(SessionKey, MessageSigner)>,
}

impl Client {
    /// An exchange that will log `user` of `domain` (may be empty) in with `password`.
    pub fn new(user: &str, domain: &str, password: &str) -> Self {
        let negotiate =
            Negotiate { flags: (flags::SERVER | flags::ON_REQUEST) & !flags::TARGET_TYPE_SERVER };
        Self {
            user: crypto::utf16le(user),
            domain: crypto::utf16le(domain),
            nt_hash: crypto::nt_hash(password),
            negotiate: negotiate.encode(),
            established: None,
        }
    }

    /// The first token: SPNEGO with an NTLM NEGOTIATE in it.
    pub fn negotiate(&self) -> Vec<u8> {
        spnego::neg_token_init(&self.negotiate)
    }

    /// Answers the server's challenge, with a MIC and a mechListMIC, and fixes the session key.
    ///
    /// `client_challenge` and `session_key` must be random; the session key becomes that of the session.
    ///
    /// # Errors
    /// When the server's token is not an NTLM challenge in SPNEGO.
    pub fn authenticate(
        &mut self,
        token: &[u8],
        client_challenge: [u8; 8],
        session_key: [u8; 16],
    ) -> Result<Vec<u8>, AuthError> {
        let Some(Token::Resp(NegTokenResp { response_token: Some(message), .. })) =
            spnego::parse(token)
        else {
            return Err(AuthError::Malformed("no token from the server"));
        };
        let challenge = Challenge::parse(message).ok_or(AuthError::Malformed("NTLM CHALLENGE"))?;
        let exported = crypto::Key::from(session_key);
        let signer = MessageSigner::new(exported.clone(), challenge.flags);
        let mut authenticate = self.prove(&challenge, client_challenge, &exported);
        let mic = crypto::mic(&exported, &[&self.negotiate, message, &authenticate]);
        authenticate[MIC].copy_from_slice(&mic);
        let mic = signer.sign_first(Direction::ClientToServer, &spnego::ntlm_mech_types());
        self.established = Some((SessionKey::new(session_key), signer));
        Ok(NegTokenResp {
            response_token: Some(&authenticate),
            mech_list_mic: Some(&mic),
            ..NegTokenResp::default()
        }
        .encode())
    }

    /// MS-NLMP 3.3.2: the AUTHENTICATE message, its MIC still zero.
    fn prove(
        &self,
        challenge: &Challenge<'_>,
        client_challenge: [u8; 8],
        exported: &crypto::Key,
    ) -> Vec<u8> {
        let time = find_av(challenge.target_info, av::TIMESTAMP)
            .and_then(|time| time.try_into().ok())
            .unwrap_or_default();
        let mut pairs = challenge.target_info.to_vec();
        pairs.truncate(pairs.len().saturating_sub(4)); // the EOL
        push_av(&mut pairs, av::FLAGS, &av::FLAG_MIC.to_le_bytes());
        push_av(&mut pairs, av::EOL, &[]);
        let blob = messages::client_blob(time, client_challenge, &pairs);
        let ntowf = crypto::ntowf_v2(&self.nt_hash, &self.user, &self.domain);
        let proof = crypto::nt_proof(&ntowf, &challenge.server_challenge, &blob);
        let base_key = crypto::session_base_key(&ntowf, &proof);
        Authenticate {
            flags: challenge.flags,
            // MS-NLMP 3.1.5.1.2: with a timestamp in the challenge the LM response is zeros.
            lm_response: &[0; 24],
            nt_response: &[&proof[..], &blob].concat(),
            domain: &self.domain,
            user: &self.user,
            workstation: &[],
            encrypted_session_key: &*crypto::rc4k(&base_key, exported),
        }
        .encode()
    }

    /// Checks the server's last token and hands out the session key.
    ///
    /// # Errors
    /// When the server has not accepted, or its mechListMIC is missing or wrong.
    pub fn finish(self, token: &[u8]) -> Result<SessionKey, AuthError> {
        let Some((session_key, signer)) = self.established else {
            return Err(AuthError::Malformed("no challenge was answered"));
        };
        let Some(Token::Resp(resp)) = spnego::parse(token) else {
            return Err(AuthError::Malformed("no token from the server"));
        };
        let expected = signer.sign_first(Direction::ServerToClient, &spnego::ntlm_mech_types());
        let intact = resp.mech_list_mic.is_some_and(|mic| expected.ct_eq(mic).into());
        if resp.neg_state != Some(NegState::AcceptCompleted) || !intact {
            return Err(AuthError::Malformed("the server did not accept"));
        }
        Ok(session_key)
    }
}
