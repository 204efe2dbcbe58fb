use super::*;
use crate::crypto::hex::hex;

/// What Samba 4.25 sends in its NEGOTIATE response when it offers NTLM alone.
const SAMBA_INIT2: &str = "604806062b0601050502a03e303ca00e300c060a2b06010401823702020aa32a3028
    a0261b246e6f745f646566696e65645f696e5f5246433431373840706c656173655f69676e6f7265";

/// What smbclient 4.25 opens with.
const SMBCLIENT_INIT: &str = "604806062b0601050502a03e303ca00e300c060a2b06010401823702020aa22a0428
    4e544c4d53535000010000001582086200000000280000000000000028000000060100000000000f";

/// Kerberos, Microsoft's Kerberos, NTLM, with two bytes of optimistic token; assembled by hand from RFC 4178 4.2.
const KERBEROS_FIRST: &str = "603c 06062b0601050502 a032 3030
    a024 3022 06092a864886f712010202 06092a864882f712010202 060a2b06010401823702020a
    a204 0402 6e6e a302 0500";

#[test]
fn the_token_of_the_negotiate_response_is_sambas() {
    assert_eq!(neg_token_init2(), hex(SAMBA_INIT2));
}

#[test]
fn smbclients_first_token_is_read_and_written() {
    let token = hex(SMBCLIENT_INIT);
    let Some(Token::Init(init)) = parse(&token) else { panic!("no NegTokenInit") };
    assert_eq!(init.mech_types, hex("300c060a2b06010401823702020a"));
    assert_eq!(init.ntlm_position, Some(0));
    assert_eq!(init.mech_token, Some(&token[34..]));
    assert_eq!(neg_token_init(&token[34..]), token);
    assert_eq!(ntlm_mech_types(), init.mech_types);
}

#[test]
fn ntlm_is_found_behind_other_mechanisms() {
    let token = hex(KERBEROS_FIRST);
    let Some(Token::Init(init)) = parse(&token) else { panic!("no NegTokenInit") };
    assert_eq!(init.ntlm_position, Some(2));
    assert_eq!(init.mech_token, Some(&b"nn"[..]));
    assert_eq!(init.mech_types.len(), 36);
}

#[test]
fn a_response_of_sambas_is_written_alike_and_read_back() {
    // Header of a SESSION_SETUP response's token of Samba 4.25; its challenge is 0x8e bytes long.
    let challenge = [b"NTLMSSP\0".to_vec(), vec![0x11; 0x8e - 8]].concat();
    let resp = NegTokenResp {
        neg_state: Some(NegState::AcceptIncomplete),
        names_ntlm: true,
        response_token: Some(&challenge),
        mech_list_mic: None,
    };
    let expected = hex("a181aa3081a7a0030a0101a10c060a2b06010401823702020aa2819104818e");
    assert_eq!(resp.encode(), [expected, challenge.clone()].concat());
    assert_eq!(parse(&resp.encode()), Some(Token::Resp(resp)));
}

#[test]
fn a_message_without_spnego_is_raw() {
    assert_eq!(parse(b"NTLMSSP\0rest"), Some(Token::Raw(b"NTLMSSP\0rest")));
}

#[test]
fn bytes_behind_a_token_are_ignored() {
    let padded = [hex(SMBCLIENT_INIT), vec![0; 3]].concat();
    assert!(matches!(parse(&padded), Some(Token::Init(_))));
}

#[test]
fn a_token_cut_anywhere_is_none() {
    for token in [hex(SMBCLIENT_INIT), hex(KERBEROS_FIRST)] {
        for len in 0..token.len() {
            assert_eq!(parse(&token[..len]), None, "{len}");
        }
    }
}

#[test]
fn an_unknown_state_is_refused() {
    assert!(parse(&hex("a1073005a0030a0103")).is_some());
    assert_eq!(parse(&hex("a1073005a0030a0104")), None);
}
