//! Names and SIDs against what Samba answered to the same calls.

use std::sync::Arc;

use super::super::ndr::NdrReader;
use super::{OUTPUT_MAX, RESPONSE_HEADER_LEN, alice, dialogue, recorded_server, unhex, words};
use crate::auth::Principal;
use crate::rpc::{Pipe, ServerInfo};
use crate::wire::security::Sid;

const LSARPC: &str = include_str!("../captures/lsarpc.txt");
const HANDLE_LEN: usize = 20;
const OPEN_POLICY: u8 = 6;
const LOOKUP_SIDS: u8 = 15;
const NCA_S_FAULT_CONTEXT_MISMATCH: u32 = 0x1c00_001a;
const NCA_S_FAULT_NDR: u32 = 0x6f7;
const ACCESS_DENIED: u32 = 0xc000_0022;

fn pipe(caller: Principal) -> Pipe {
    let server = ServerInfo { name: "PEER4661".into(), ..(*recorded_server()).clone() };
    Pipe::open("lsarpc", Arc::new(server), caller).expect("lsarpc is there")
}

/// The recorded dialogues, each from its bind on: what was asked by which operation, and Samba's answer.
fn dialogues() -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all: Vec<Vec<_>> = Vec::new();
    for (asked, answered) in dialogue(LSARPC) {
        match asked[2] {
            11 => all.push(vec![(asked, answered)]),
            _ => all.last_mut().expect("a bind").push((asked, answered)),
        }
    }
    all
}

/// Our answers to a dialogue beside Samba's, without the bind. Our handle takes the place of Samba's.
fn replay(dialogue: &[(Vec<u8>, Vec<u8>)]) -> Vec<(u8, Vec<u8>, Vec<u8>)> {
    let mut pipe = pipe(alice());
    let mut handle = Vec::new();
    let mut answers = Vec::new();
    for (asked, recorded) in dialogue {
        let (mut asked, operation) = (asked.clone(), asked[22]);
        let is_call = asked[2] == 0;
        if is_call && !handle.is_empty() {
            asked[24..24 + HANDLE_LEN].copy_from_slice(&handle);
        }
        let ours = pipe.ask(&asked, OUTPUT_MAX).data;
        if is_call && operation == OPEN_POLICY {
            handle = ours[RESPONSE_HEADER_LEN..][..HANDLE_LEN].to_vec();
        }
        if is_call {
            answers.push((operation, ours, recorded.clone()));
        }
    }
    answers
}

/// The parameters without regard to case: Samba's spelling of the names of domains differs by call.
fn folded(pdu: &[u8]) -> Vec<u32> {
    words(&pdu.to_ascii_uppercase())
}

#[test]
fn names_the_user_and_domains_are_told_as_samba_tells_them() {
    let mut compared = Vec::new();
    for dialogue in dialogues() {
        for (operation, mut ours, mut recorded) in replay(&dialogue) {
            assert_eq!(ours[2], 2, "a response to {operation}");
            match operation {
                LOOKUP_SIDS => continue,
                OPEN_POLICY => {
                    ours.drain(RESPONSE_HEADER_LEN..RESPONSE_HEADER_LEN + HANDLE_LEN);
                    recorded.drain(RESPONSE_HEADER_LEN..RESPONSE_HEADER_LEN + HANDLE_LEN);
                }
                // The recorded server has a workgroup's name.
                7 => {
                    let texts = [&ours, &recorded].map(|pdu| policy_domain(pdu));
                    assert_eq!(texts, [("PEER4661".into(), 0), ("WORKGROUP".into(), 0)]);
                    continue;
                }
                _ => {}
            }
            assert_eq!(folded(&ours), folded(&recorded), "operation {operation}");
            compared.push(operation);
        }
    }
    compared.sort_unstable();
    // Close, OpenPolicy, LookupNames and GetUserName.
    assert_eq!(compared, [[0; 5].as_slice(), &[6; 5], &[14; 2], &[45]].concat());
}

/// POLICY_PRIMARY_DOM_INFO: the name, and the pointer to the SID.
fn policy_domain(pdu: &[u8]) -> (String, u32) {
    let mut r = NdrReader::new(&pdu[RESPONSE_HEADER_LEN..]);
    assert!(r.pointer().unwrap());
    assert_eq!(r.u16().unwrap(), 3);
    r.u32().unwrap();
    assert!(r.pointer().unwrap());
    let sid = r.u32().unwrap();
    (String::from_utf16(&r.units().unwrap()).unwrap(), sid)
}

/// The answer to LsarLookupSids: domain, name and use of each, how many were found, and the status.
fn names(pdu: &[u8]) -> (Vec<(String, String, u16)>, u32, u32) {
    let mut r = NdrReader::new(&pdu[RESPONSE_HEADER_LEN..]);
    let text = |r: &mut NdrReader<'_>| String::from_utf16(&r.units().unwrap()).unwrap();
    assert!(r.pointer().unwrap());
    let count = r.u32().unwrap();
    let mut domains = Vec::new();
    if r.pointer().unwrap() {
        r.u32().unwrap();
        assert_eq!(r.u32().unwrap(), count);
        for _ in 0..count {
            r.u64().and_then(|_| r.u32()).unwrap();
        }
        for _ in 0..count {
            let name = text(&mut r);
            r.sid().unwrap();
            domains.push(name.to_uppercase());
        }
    } else {
        r.u32().unwrap();
    }
    let count = r.u32().unwrap();
    assert!(r.pointer().unwrap());
    assert_eq!(r.u32().unwrap(), count);
    let entry = |r: &mut NdrReader<'_>| {
        let name_use = r.u16().unwrap();
        r.u32().and_then(|_| r.u32()).unwrap();
        (name_use, r.u32().unwrap())
    };
    let entries: Vec<(u16, u32)> = (0..count).map(|_| entry(&mut r)).collect();
    let named = entries.into_iter().map(|(name_use, index)| {
        let domain = domains.get(index as usize).cloned().unwrap_or_default();
        (domain, text(&mut r).to_uppercase(), name_use)
    });
    let named = named.collect();
    (named, r.u32().unwrap(), r.u32().unwrap())
}

#[test]
fn sids_have_the_names_that_samba_has_for_them() {
    let mut compared = 0;
    for dialogue in dialogues() {
        for (_, ours, recorded) in replay(&dialogue).iter().filter(|it| it.0 == LOOKUP_SIDS) {
            assert_eq!(names(ours), names(recorded));
            compared += names(ours).0.len();
        }
    }
    assert_eq!(compared, 11);
}

/// A call with the bytes after its handle.
fn call(operation: u8, handle: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut pdu = unhex("050000031000000000000000020000000000000000000000");
    pdu[22] = operation;
    pdu.extend([handle, rest].concat());
    let length = u16::try_from(pdu.len()).unwrap();
    pdu[8..10].copy_from_slice(&length.to_le_bytes());
    pdu
}

/// A pipe that is bound, and the answer to LsarOpenPolicy on it: handle and status.
fn opened(caller: Principal) -> (Pipe, Vec<u8>, u32) {
    let mut pipe = pipe(caller);
    let dialogue = dialogues().remove(0);
    assert_eq!(pipe.ask(&dialogue[0].0, OUTPUT_MAX).data[2], 12, "bind_ack");
    let answer = pipe.ask(&dialogue[1].0, OUTPUT_MAX).data[RESPONSE_HEADER_LEN..].to_vec();
    let status = u32::from_le_bytes(answer[HANDLE_LEN..].try_into().unwrap());
    (pipe, answer[..HANDLE_LEN].to_vec(), status)
}

fn fault(pipe: &mut Pipe, call: &[u8]) -> Option<u32> {
    let answer = pipe.ask(call, OUTPUT_MAX).data;
    (answer[2] == 3).then(|| u32::from_le_bytes(answer[24..28].try_into().unwrap()))
}

#[test]
fn who_is_no_user_learns_no_names() {
    for caller in [Principal::Guest, Principal::Anonymous] {
        let (mut pipe, handle, status) = opened(caller);
        assert_eq!((&handle[..], status), (&[0; HANDLE_LEN][..], ACCESS_DENIED));
        let asked = call(LOOKUP_SIDS, &handle, &[0; 24]);
        assert_eq!(fault(&mut pipe, &asked), Some(NCA_S_FAULT_CONTEXT_MISMATCH));
    }
}

#[test]
fn a_handle_is_good_until_it_is_closed_and_on_its_own_pipe() {
    let (mut pipe, handle, status) = opened(alice());
    assert_eq!(status, 0);
    let asked = call(LOOKUP_SIDS, &handle, &[0; 24]);
    assert_eq!(fault(&mut pipe, &asked), None);
    assert_eq!(fault(&mut pipe, &call(0, &handle, &[])), None, "LsarClose");
    assert_eq!(fault(&mut pipe, &asked), Some(NCA_S_FAULT_CONTEXT_MISMATCH));
    assert_eq!(fault(&mut pipe, &call(0, &handle, &[])), Some(NCA_S_FAULT_CONTEXT_MISMATCH));
}

#[test]
fn a_pipe_has_a_limit_of_open_policies() {
    const INSUFFICIENT_RESOURCES: [u8; 4] = 0xc000_009a_u32.to_le_bytes();
    let (mut pipe, _, _) = opened(alice());
    let open = &dialogues()[0][1].0;
    let mut status =
        || pipe.ask(open, OUTPUT_MAX).data[RESPONSE_HEADER_LEN + HANDLE_LEN..].to_vec();
    assert!((1..64).all(|_| status() == [0; 4]));
    assert_eq!(status(), INSUFFICIENT_RESOURCES);
}

#[test]
fn more_names_or_sids_than_may_be_asked_for_are_a_fault() {
    let (mut pipe, handle, _) = opened(alice());
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let sids = call(LOOKUP_SIDS, &handle, &words(&[20_481, 0x2_0000, 20_481]));
    assert_eq!(fault(&mut pipe, &sids), Some(NCA_S_FAULT_NDR));
    let names = call(14, &handle, &words(&[1001, 1001]));
    assert_eq!(fault(&mut pipe, &names), Some(NCA_S_FAULT_NDR));
    let liar = call(LOOKUP_SIDS, &handle, &words(&[2, 0x2_0000, 3]));
    assert_eq!(fault(&mut pipe, &liar), Some(NCA_S_FAULT_NDR));
}

#[test]
fn the_account_domain_is_the_server_with_its_own_sid() {
    let (mut pipe, handle, _) = opened(alice());
    let answer = pipe.ask(&call(46, &handle, &[5, 0]), OUTPUT_MAX).data;
    let mut r = NdrReader::new(&answer[RESPONSE_HEADER_LEN..]);
    assert!(r.pointer().unwrap());
    assert_eq!(r.u16().unwrap(), 5);
    r.u32().unwrap();
    assert!(r.pointer().unwrap() && r.pointer().unwrap());
    assert_eq!(String::from_utf16(&r.units().unwrap()).unwrap(), "PEER4661");
    assert_eq!(r.sid().unwrap(), Sid::new(5, [21, 1, 2, 3]));
    assert_eq!(r.u32().unwrap(), 0);
}

#[test]
fn cut_and_changed_calls_never_panic() {
    for dialogue in dialogues() {
        for (asked, _) in dialogue.into_iter().filter(|(asked, _)| asked[2] == 0) {
            for at in RESPONSE_HEADER_LEN..asked.len() {
                for value in [0x00, 0x01, 0x7f, 0x80, 0xff, asked[at] ^ 0x10] {
                    let (mut pipe, handle, _) = opened(alice());
                    let mut changed = asked.clone();
                    if changed[22] != OPEN_POLICY && changed[22] != 45 {
                        changed[24..24 + HANDLE_LEN].copy_from_slice(&handle);
                    }
                    changed[at] = value;
                    pipe.write(&changed).unwrap();
                    pipe.read(OUTPUT_MAX).expect("an answer or a fault");
                }
            }
        }
    }
}
