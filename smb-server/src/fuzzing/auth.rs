//! Authentication: tokens and messages by themselves, and a whole logon whose tokens are damaged on their way.

use std::sync::{Arc, LazyLock};

use crate::auth::client::Client;
use crate::auth::ntlm::messages::{
    Authenticate, Challenge, Negotiate, Ntlmv2Response, av, find_av,
};
use crate::auth::spnego::{self, NegTokenResp, Token};
use crate::auth::{Acceptor, AcceptorConfig, Step, UserStore};

use super::input::Input;

/// Nobody logs on in more steps than these.
const STEPS_MAX: usize = 8;

static CONFIG: LazyLock<Arc<AcceptorConfig>> = LazyLock::new(|| {
    Arc::new(AcceptorConfig {
        netbios_name: "SRV".into(),
        netbios_domain: "WORKGROUP".into(),
        dns_name: "srv.example".into(),
        dns_domain: "example".into(),
    })
});

static USERS: LazyLock<UserStore> = LazyLock::new(|| {
    let mut users = UserStore::new();
    users.add("Alice", "secret");
    users
});

fn acceptor() -> Acceptor {
    Acceptor::new(Arc::clone(&CONFIG), [0x17; 8])
}

pub(super) fn spnego(token: &[u8]) {
    if let Some(Token::Resp(resp)) = spnego::parse(token) {
        // Of mechanisms that are named, only ours is kept.
        let again = resp.encode();
        assert_eq!(spnego::parse(&again), Some(Token::Resp(resp)));
    }
    let _ = acceptor().step(token, &USERS, 0);
}

pub(super) fn ntlm(message: &[u8]) {
    if let Some(negotiate) = Negotiate::parse(message) {
        let again = Negotiate::parse(&negotiate.encode()).expect("what we wrote can be read");
        assert_eq!(again.flags, negotiate.flags);
    }
    if let Some(challenge) = Challenge::parse(message) {
        let encoded = challenge.encode();
        let again = Challenge::parse(&encoded).expect("what we wrote can be read");
        assert_eq!(format!("{again:?}"), format!("{challenge:?}"));
        let token = NegTokenResp { response_token: Some(message), ..NegTokenResp::default() };
        let _ = Client::new("alice", "", "secret").authenticate(&token.encode(), [9; 8], [8; 16]);
    }
    if let Some(authenticate) = Authenticate::parse(message) {
        let encoded = authenticate.encode();
        let again = Authenticate::parse(&encoded).expect("what we wrote can be read");
        assert_eq!(format!("{again:?}"), format!("{authenticate:?}"));
        let _ = Ntlmv2Response::parse(authenticate.nt_response).map(|it| it.promises_mic());
    }
    let _ = find_av(message, av::TIMESTAMP);
    let mut acceptor = acceptor();
    let _ = acceptor.step(message, &USERS, 0);
    let opening = Negotiate { flags: 1 }.encode();
    let mut acceptor = self::acceptor();
    acceptor.step(&opening, &USERS, 0).expect("a challenge");
    is_refused(acceptor.step(message, &USERS, 0).ok());
}

/// Who does not know the password is nobody.
fn is_refused(step: Option<Step>) {
    if let Some(Step::Done { outcome, .. }) = step {
        assert!(!outcome.principal.is_user(), "{} is let in without a password", outcome.principal);
    }
}

/// In turn: whether the client knows the password, then what happens to each of its tokens.
pub(super) fn logon(input: &[u8]) {
    let mut input = Input::new(input);
    let knows = input.flag();
    let mut client = Client::new("alice", "WORKGROUP", if knows { "secret" } else { "guess" });
    let mut acceptor = acceptor();
    let mut token = client.negotiate();
    for _ in 0..STEPS_MAX {
        if input.flag() {
            token = input.bytes().to_vec();
        }
        input.damage(&mut token);
        match acceptor.step(&token, &USERS, input.u16().into()) {
            Ok(Step::Continue(challenge)) => {
                let answer = client.authenticate(&challenge, [9; 8], [8; 16]);
                token = answer.unwrap_or_else(|_| client.negotiate());
            }
            Ok(step) => {
                if !knows {
                    is_refused(Some(step));
                }
                break;
            }
            Err(_) => break,
        }
    }
    assert!(acceptor.step(&token, &USERS, 0).is_err(), "an exchange that is over goes on");
}
