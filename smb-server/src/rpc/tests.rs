//! The pipe against what Samba answered to the same bytes, and against bytes that nobody should send.

mod lsarpc;

use std::sync::Arc;

use super::{Pipe, Read, RpcError, ServerInfo, ShareInfo, ShareType};
use crate::auth::Principal;
use crate::security::UnixNames;
use crate::wire::security::Sid;

const SHARE_ENUM: &str = include_str!("captures/share_enum.txt");
const SHARE_GET_INFO: &str = include_str!("captures/share_get_info.txt");
const SERVER_GET_INFO: &str = include_str!("captures/server_get_info.txt");
const FAULT: &str = include_str!("captures/fault.txt");

/// The most that rpcclient takes at once, and the limit it binds with.
const OUTPUT_MAX: usize = 4280;
/// Header, size hint, context and reserved bytes of a response.
const RESPONSE_HEADER_LEN: usize = 24;

impl Pipe {
    /// FSCTL_PIPE_TRANSCEIVE of a call that is whole.
    pub(super) fn ask(&mut self, input: &[u8], output_max: usize) -> Read {
        self.write(input).expect("it is taken");
        self.read(output_max).expect("an answer")
    }
}

/// The accounts of the machine that the recorded server ran on, as far as they were asked for.
#[derive(Debug)]
struct RecordedSystem;

const ACCOUNTS: [(&str, u32); 3] = [("root", 0), ("daemon", 1), ("nobody", 65534)];

impl UnixNames for RecordedSystem {
    fn user(&self, uid: u32) -> Option<String> {
        ACCOUNTS.iter().find(|(_, id)| *id == uid).map(|(name, _)| (*name).to_owned())
    }

    fn group(&self, gid: u32) -> Option<String> {
        self.user(gid)
    }

    fn uid(&self, name: &str) -> Option<u32> {
        ACCOUNTS.iter().find(|(other, _)| *other == name).map(|(_, id)| *id)
    }

    fn gid(&self, name: &str) -> Option<u32> {
        self.uid(name)
    }
}

fn alice() -> Principal {
    Principal::User("alice".into())
}

/// What the recorded server would have told about itself.
fn recorded_server() -> Arc<ServerInfo> {
    let share = |name: &str, comment: &str, kind, path: &str| ShareInfo {
        name: name.into(),
        comment: comment.into(),
        kind,
        path: path.into(),
    };
    Arc::new(ServerInfo {
        name: "PEER20446".into(),
        comment: "Samba 4.25.1-Debian-4.25.1+dfsg-1".into(),
        shares: vec![
            share("torture", "", ShareType::Disk, "C:\\srv\\smb-20446\\share"),
            share("fast", "", ShareType::Disk, "C:\\dev\\shm\\peers-fast-20446"),
            share("IPC$", "IPC Service (Samba 4.25.1-Debian-4.25.1+dfsg-1)", ShareType::Ipc, ""),
        ],
        domain_sid: Sid::new(5, [21, 1, 2, 3]),
        unix: Arc::new(RecordedSystem),
    })
}

fn pipe() -> Pipe {
    Pipe::open("srvsvc", recorded_server(), alice()).expect("srvsvc is there")
}

/// Questions with their answers, in order.
fn dialogue(capture: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let line = |side: &str| {
        let lines = capture.lines().filter_map(|line| line.strip_prefix(side)).map(unhex);
        lines.collect::<Vec<_>>()
    };
    let (asked, answered) = (line("C "), line("S "));
    assert!(!asked.is_empty() && asked.len() == answered.len(), "a capture of whole dialogues");
    asked.into_iter().zip(answered).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The parameters as 32-bit words, with pointers reduced to "points at something".
fn words(pdu: &[u8]) -> Vec<u32> {
    let (words, rest) = pdu[RESPONSE_HEADER_LEN..].as_chunks::<4>();
    assert!(rest.is_empty(), "NDR here is a row of words");
    let words = words.iter().map(|word| u32::from_le_bytes(*word));
    words.map(|word| if word >> 16 == 2 { 0x0002_0000 } else { word }).collect()
}

/// The dialogue replayed: each answer of ours with the recorded one.
fn replay(capture: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pipe = pipe();
    let answer = |(asked, recorded): (Vec<u8>, _)| {
        let read = pipe.ask(&asked, OUTPUT_MAX);
        assert!(!read.more);
        (read.data, recorded)
    };
    dialogue(capture).into_iter().map(answer).collect()
}

#[test]
fn bind_is_acknowledged_context_by_context_as_samba_does() {
    for (ours, mut recorded) in replay(FAULT).into_iter().take(1) {
        // Two fields are each server's own: the association group, and the mask of features at bind time, of which
        // Samba has two and we have none.
        recorded[20..24].copy_from_slice(&ours[20..24]);
        let features = recorded.len() - 22;
        recorded[features..features + 2].copy_from_slice(&[0, 0]);
        assert_eq!(ours, recorded);
        assert_ne!(ours[20..24], [0; 4], "a new association group is not 0");
    }
}

#[test]
fn shares_are_listed_as_samba_lists_them_on_levels_0_1_2_501_and_an_unknown_one() {
    let mut compared = 0;
    for (ours, recorded) in replay(SHARE_ENUM) {
        let is_level = |level| words(&recorded).first() == Some(&level);
        if recorded[2] != 2 || is_level(502) {
            continue;
        }
        assert_eq!(ours[..16], recorded[..16], "header");
        assert_eq!(words(&ours), words(&recorded));
        compared += 1;
    }
    assert_eq!(compared, 6);
}

/// SHARE_INFO_502 with what Samba knows and we do not tell taken out: the uses and the security descriptor.
fn without_uses_and_descriptor(mut info: Vec<u32>) -> Vec<u32> {
    const ENVELOPE: usize = 2; // level, pointer
    (info[ENVELOPE + 5], info[ENVELOPE + 8], info[ENVELOPE + 9]) = (0, 0, 0);
    info
}

#[test]
fn a_share_is_described_as_samba_describes_it() {
    let answers = replay(SHARE_GET_INFO);
    assert_eq!(answers.len(), 9);
    for (ours, recorded) in &answers[1..] {
        let (ours, recorded) = (words(ours), words(recorded));
        match (recorded[0], recorded[1]) {
            (502, _) => {
                // The recorded descriptor comes last: its size and 48 bytes before the result.
                let mut expected = without_uses_and_descriptor(recorded);
                let descriptor = expected.len() - 1 - 13;
                assert_eq!(expected[descriptor], 0x30);
                expected.drain(descriptor..descriptor + 13);
                assert_eq!(ours, expected);
            }
            // Samba says ERROR_INVALID_NAME (123); MS-SRVS 3.1.4.10 has a code of its own for no such share.
            (1, 0) => assert_eq!((&recorded[..], &ours[..]), (&[1, 0, 123][..], &[1, 0, 2310][..])),
            _ => assert_eq!(ours, recorded),
        }
    }
}

#[test]
fn level_502_lists_what_level_2_lists_with_an_empty_descriptor() {
    let answers = replay(SHARE_ENUM);
    let level = |level| {
        let found = answers.iter().map(|(ours, _)| words(ours)).find(|words| words[0] == level);
        found.expect("the recording asks for it")
    };
    let (level_2, level_502) = (level(2), level(502));
    const ENVELOPE: usize = 6; // level twice, pointer, count, pointer, count
    let (entries, strings) = level_502[ENVELOPE..].split_at(2 * 10);
    let stripped: Vec<u32> = entries.chunks(10).flat_map(|entry| &entry[..8]).copied().collect();
    assert_eq!(stripped, level_2[ENVELOPE..ENVELOPE + 2 * 8]);
    assert_eq!(strings, &level_2[ENVELOPE + 2 * 8..]);
    assert!(entries.chunks(10).all(|entry| entry[8..] == [0, 0]));
}

#[test]
fn the_server_is_described_but_for_version_and_roles_as_samba_describes_itself() {
    let (ours, recorded) = replay(SERVER_GET_INFO).remove(1);
    let (ours, mut recorded) = (words(&ours), words(&recorded));
    // Version 6.1 and the roles of the recorded server against ours: 10.0, and a plain NT server and workstation.
    assert_eq!(recorded[4..7], [6, 1, 0x0080_9a03]);
    recorded[4..7].copy_from_slice(&[10, 0, 0x9003]);
    assert_eq!(ours, recorded);
}

#[test]
fn an_unknown_operation_is_answered_with_sambas_fault() {
    let (mut ours, recorded) = replay(FAULT).remove(1);
    // The size hint is optional in faults, and only Samba gives one.
    ours[16..20].copy_from_slice(&recorded[16..20]);
    assert_eq!(ours, recorded);
}

#[test]
fn parameters_cut_short_are_answered_with_a_fault_and_the_pipe_lives_on() {
    const NCA_S_FAULT_NDR: u32 = 0x6f7;
    let mut pipe = bound();
    let request = dialogue(SHARE_ENUM)[1].0.clone();
    // The enumeration is read up to its resume handle; what is cut before that is missed.
    for length in (24..request.len()).filter(|length| length.is_multiple_of(4)) {
        let mut short = request[..length].to_vec();
        short[8..10].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
        let answer = pipe.ask(&short, OUTPUT_MAX).data;
        assert_eq!(answer[2], 3, "{length} bytes: a fault");
        assert_eq!(answer[24..28], NCA_S_FAULT_NDR.to_le_bytes());
    }
    assert_eq!(pipe.ask(&request, OUTPUT_MAX).data[2], 2, "a response");
}

/// A pipe that is bound as rpcclient binds it.
fn bound() -> Pipe {
    let mut pipe = pipe();
    let bind = &dialogue(SHARE_ENUM)[0].0;
    assert_eq!(pipe.ask(bind, OUTPUT_MAX).data[2], 12, "bind_ack");
    pipe
}

#[test]
fn a_call_before_any_bind_is_answered_with_unknown_interface() {
    const NCA_UNK_IF: u32 = 0x1c01_0003;
    let answer = pipe().ask(&dialogue(SHARE_ENUM)[1].0, OUTPUT_MAX).data;
    assert_eq!((answer[2], &answer[24..28]), (3, &NCA_UNK_IF.to_le_bytes()[..]));
}

#[test]
fn ndr64_and_other_interfaces_are_rejected_beside_an_accepted_context() {
    // 71710533-beba-4937-8319-b5dbef9ccc36 version 1: NDR64, MS-RPCE 2.2.4.12.
    let ndr64 = unhex("33057171babe37498319b5dbef9ccc3601000000");
    let bind = dialogue(SHARE_ENUM)[0].0.clone();
    let (interface, ndr32) = (bind[32..52].to_vec(), bind[52..72].to_vec());
    let context =
        |id: u8, interface: &[u8], encoding: &[u8]| [&[id, 0, 1, 0], interface, encoding].concat();
    let mut proposal = [&bind[..24], &[3, 0, 0, 0]].concat();
    proposal.extend(context(0, &interface, &ndr32));
    proposal.extend(context(1, &interface, &ndr64));
    proposal.extend(context(2, &ndr64, &ndr32));
    let length = u16::try_from(proposal.len()).unwrap();
    proposal[8..10].copy_from_slice(&length.to_le_bytes());

    let ack = pipe().ask(&proposal, OUTPUT_MAX).data;
    let results = &ack[ack.len() - 3 * 24..];
    assert_eq!(ack[ack.len() - 3 * 24 - 4], 3, "as many results as proposals");
    assert_eq!(results[..24], [&[0, 0, 0, 0], &ndr32[..]].concat(), "accepted");
    assert_eq!(results[24..28], [2, 0, 2, 0], "provider rejection: transfer syntaxes");
    assert_eq!(results[48..52], [2, 0, 1, 0], "provider rejection: abstract syntax");
}

#[test]
fn alter_context_is_answered_in_kind() {
    let mut alter = dialogue(SHARE_ENUM)[0].0.clone();
    alter[2] = 14;
    assert_eq!(bound().ask(&alter, OUTPUT_MAX).data[2], 15);
}

#[test]
fn an_answer_larger_than_the_output_is_read_piece_by_piece() {
    let (asked, _) = dialogue(SHARE_ENUM)[2].clone();
    let whole = bound().ask(&asked, OUTPUT_MAX).data;
    let mut pipe = bound();
    let first = pipe.ask(&asked, 100);
    assert_eq!((first.data.len(), first.more), (100, true));
    let second = pipe.read(OUTPUT_MAX).expect("the rest");
    assert!(!second.more);
    assert_eq!([first.data, second.data].concat(), whole);
    assert_eq!(pipe.read(OUTPUT_MAX), None);
}

#[test]
fn fragments_written_in_any_pieces_are_one_call() {
    let request = dialogue(SHARE_ENUM)[1].0.clone();
    let expected = bound().ask(&request, OUTPUT_MAX);

    let mut by_bytes = bound();
    request.iter().for_each(|byte| by_bytes.write(&[*byte]).unwrap());
    assert_eq!(by_bytes.read(OUTPUT_MAX), Some(expected.clone()), "one PDU in pieces");

    // Two fragments with half of the parameters each, in one write. C706 12.6.3.7.
    let (stub_1, stub_2) = request[24..].split_at(24);
    let fragment = |flags: u8, stub: &[u8]| {
        let mut pdu = [&request[..24], stub].concat();
        pdu[3] = flags;
        pdu[8..10].copy_from_slice(&u16::try_from(24 + stub.len()).unwrap().to_le_bytes());
        pdu
    };
    let both = [fragment(1, stub_1), fragment(2, stub_2)].concat();
    assert_eq!(bound().ask(&both, OUTPUT_MAX), expected, "two PDUs in one write");
}

#[test]
fn a_long_answer_leaves_in_fragments_of_the_size_that_was_bound() {
    let share = |i: usize| ShareInfo {
        name: format!("share {i}"),
        comment: "x".repeat(100),
        kind: ShareType::Disk,
        path: String::new(),
    };
    let shares = (0..100).map(share).collect();
    let server = ServerInfo { shares, ..(*recorded_server()).clone() };
    let mut pipe = Pipe::open("srvsvc", Arc::new(server), alice()).unwrap();
    pipe.ask(&dialogue(SHARE_ENUM)[0].0, OUTPUT_MAX);
    pipe.write(&dialogue(SHARE_ENUM)[2].0).unwrap();
    let fragments: Vec<_> =
        std::iter::from_fn(|| pipe.read(usize::MAX).map(|read| read.data)).collect();
    let flags: Vec<u8> = fragments.iter().map(|pdu| pdu[3]).collect();
    assert!(fragments.len() > 2);
    assert_eq!((flags.first(), flags.last()), (Some(&1), Some(&2)));
    assert!(flags[1..flags.len() - 1].iter().all(|flags| *flags == 0));
    assert!(fragments.iter().all(|pdu| pdu.len() <= OUTPUT_MAX));
    assert!(
        fragments.iter().all(|pdu| usize::from(u16::from_le_bytes([pdu[8], pdu[9]])) == pdu.len())
    );
}

#[test]
fn a_security_trailer_is_stepped_over() {
    let request = dialogue(SHARE_ENUM)[1].0.clone();
    let expected = bound().ask(&request, OUTPUT_MAX);
    // Four bytes of padding, the trailer that counts them, and a signature of 16 bytes. C706 13.2.6.1.
    let mut signed = [&request[..], &[0; 4], &[10, 5, 4, 0, 0, 0, 0, 0], &[0xaa; 16]].concat();
    let length = u16::try_from(signed.len()).unwrap();
    signed[8..10].copy_from_slice(&length.to_le_bytes());
    signed[10..12].copy_from_slice(&16u16.to_le_bytes());
    assert_eq!(bound().ask(&signed, OUTPUT_MAX), expected);
}

#[test]
fn the_pipe_is_found_under_its_forms_and_no_other_is() {
    for name in ["srvsvc", "SrvSvc", r"\srvsvc", r"\PIPE\srvsvc", r"pipe\SRVSVC"] {
        assert!(Pipe::open(name, recorded_server(), alice()).is_some(), "{name}");
    }
    for name in ["", "samr", "srvsvc2", r"\PIPE\ ", r"srvsvc\x"] {
        assert!(Pipe::open(name, recorded_server(), alice()).is_none(), "{name}");
    }
}

#[test]
fn a_fragment_beyond_the_agreed_length_ends_the_conversation() {
    let mut pipe = bound();
    let mut long = dialogue(SHARE_ENUM)[1].0.clone();
    long[8..10].copy_from_slice(&4281u16.to_le_bytes());
    assert_eq!(pipe.write(&long), Err(RpcError::FragmentTooLong(4281)));
    assert_eq!(pipe.write(&dialogue(SHARE_ENUM)[1].0), Err(RpcError::Ended));
}

#[test]
fn a_call_whose_fragments_never_stop_is_cut_off() {
    let mut pipe = bound();
    let mut fragment = [&dialogue(SHARE_ENUM)[1].0[..24], &[0; 4000]].concat();
    fragment[8..10].copy_from_slice(&4024u16.to_le_bytes());
    fragment[3] = 1;
    pipe.write(&fragment).unwrap();
    fragment[3] = 0;
    let taken = (0..1000).take_while(|_| pipe.write(&fragment).is_ok()).count();
    assert!((1..=1024 * 1024 / 4000).contains(&taken), "{taken} fragments");
}

#[test]
fn a_client_that_calls_and_never_reads_is_cut_off() {
    let mut pipe = bound();
    let request = dialogue(SHARE_ENUM)[2].0.clone();
    let result = (0..100_000).try_for_each(|_| pipe.write(&request));
    assert_eq!(result, Err(RpcError::Backlog));
}

#[test]
fn cut_and_changed_bytes_never_panic() {
    for capture in [SHARE_ENUM, SHARE_GET_INFO, SERVER_GET_INFO, FAULT] {
        for (asked, _) in dialogue(capture) {
            for at in 0..asked.len() {
                let _ = bound().write(&asked[..at]);
                for value in [0x00, 0x01, 0x7f, 0x80, 0xff, asked[at] ^ 0x10] {
                    let mut changed = asked.clone();
                    changed[at] = value;
                    let mut pipe = bound();
                    if pipe.write(&changed).is_ok() {
                        pipe.read(OUTPUT_MAX);
                    }
                }
            }
        }
    }
}
