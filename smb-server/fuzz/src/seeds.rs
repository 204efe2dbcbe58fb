//! What the targets start from: the recorded sessions beside usmbd's tests, taken apart, and inputs made by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;

use usmbd::wire::create::{CreateRequest, CreateResponse};
use usmbd::wire::header::{Command, Header};
use usmbd::wire::ioctl::{CtlCode, IoctlRequest};
use usmbd::wire::query_directory::{QueryDirectoryRequest, QueryDirectoryResponse};
use usmbd::wire::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use usmbd::wire::session_setup::{SessionSetupRequest, SessionSetupResponse};
use usmbd::wire::set_info::SetInfoRequest;

/// Inputs by target.
type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// Longer ones are slow to mutate.
const LENGTH_MAX: usize = 1024;

/// All for one target.
pub fn of(target: &str) -> Result<BTreeSet<Vec<u8>>, Box<dyn Error>> {
    let mut seeds = Seeds::new();
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures");
    for entry in fs::read_dir(captures)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            Session::default().take(&fs::read_to_string(path)?, &mut seeds);
        }
    }
    lsa_calls(&mut seeds)?;
    by_hand(&mut seeds);
    let mut seeds = seeds.remove(target).unwrap_or_default();
    seeds.retain(|input| input.len() <= LENGTH_MAX);
    Ok(seeds)
}

/// A recorded session while it is read.
#[derive(Default)]
struct Session {
    /// Requests by MessageId.
    requests: BTreeMap<u64, Vec<u8>>,
    /// What was written to pipes.
    pipe: Vec<u8>,
    /// What the client sent.
    sent: Vec<u8>,
}

impl Session {
    fn take(mut self, text: &str, seeds: &mut Seeds) {
        for line in text.lines() {
            let Some((side, digits)) = line.split_once(' ') else { continue };
            let message: Vec<u8> = (0..digits.len() / 2)
                .filter_map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok())
                .collect();
            match side {
                "C" => self.message(true, &message, seeds),
                "S" => self.message(false, &message, seeds),
                _ => {}
            }
        }
        seeds.entry("pipe").or_default().insert(self.pipe);
        self.sent.truncate(LENGTH_MAX - 3);
        let session = [&[0, 0, 0][..], &self.sent].concat();
        seeds.entry("connection").or_default().insert(session);
    }

    fn message(&mut self, from_client: bool, message: &[u8], seeds: &mut Seeds) {
        if from_client {
            self.sent.push(4);
            put(message, &mut self.sent);
        }
        match message.first() {
            Some(0xff) => insert(seeds, "smb1-negotiate", &[message]),
            Some(0xfd) => insert(seeds, "transform", &[&[1], message]),
            Some(0xfe) => {
                let mut rest = message;
                while let Ok(header) = Header::decode(rest) {
                    let next = header.next_command as usize;
                    let (element, behind) = match rest.split_at_checked(next) {
                        Some(split) if next != 0 => split,
                        _ => (rest, &[][..]),
                    };
                    match from_client {
                        true => self.request(&header, element, seeds),
                        false => self.response(&header, element, seeds),
                    }
                    rest = behind;
                }
            }
            _ => {}
        }
    }

    fn request(&mut self, header: &Header, message: &[u8], seeds: &mut Seeds) {
        insert(seeds, "request", &[message]);
        self.requests.insert(header.message_id, message.to_vec());
        match header.command {
            Command::SESSION_SETUP => {
                let request = SessionSetupRequest::decode(message);
                token(&request.map(|it| it.security_buffer).unwrap_or_default(), seeds);
            }
            Command::CREATE => {
                let Ok(create) = CreateRequest::decode(message) else { return };
                insert(seeds, "create-contexts", &[&[0], &create.contexts]);
                insert(seeds, "path", &[create.name.to_string().as_bytes()]);
            }
            Command::QUERY_DIRECTORY => {
                let Ok(query) = QueryDirectoryRequest::decode(message) else { return };
                let pattern = query.pattern.to_string();
                insert(seeds, "pattern", &[pattern.as_bytes(), b"\0File.name.txt"]);
            }
            Command::SET_INFO => {
                let Ok(set) = SetInfoRequest::decode(message) else { return };
                match set.info_type {
                    InfoType::SECURITY => security(&set.buffer, seeds),
                    _ => insert(seeds, "information", &[&[2, set.info_class], &set.buffer]),
                }
            }
            Command::IOCTL => {
                let Ok(ioctl) = IoctlRequest::decode(message) else { return };
                match ioctl.ctl_code {
                    CtlCode::FSCTL_PIPE_TRANSCEIVE => {
                        self.pipe.push(0);
                        put(&ioctl.input, &mut self.pipe);
                        self.pipe.extend([2, 0xff, 0xff]);
                    }
                    CtlCode::FSCTL_VALIDATE_NEGOTIATE_INFO => {
                        insert(seeds, "control", &[&[0], &ioctl.input]);
                    }
                    _ => (2..14)
                        .for_each(|which| insert(seeds, "control", &[&[which], &ioctl.input])),
                }
            }
            _ => {}
        }
    }

    fn response(&mut self, header: &Header, message: &[u8], seeds: &mut Seeds) {
        insert(seeds, "response", &[message]);
        let Some(request) = self.requests.get(&header.message_id) else { return };
        match header.command {
            Command::SESSION_SETUP => {
                let response = SessionSetupResponse::decode(message);
                token(&response.map(|it| it.security_buffer).unwrap_or_default(), seeds);
            }
            Command::CREATE => {
                let Ok(create) = CreateResponse::decode(message) else { return };
                insert(seeds, "create-contexts", &[&[1], &create.contexts]);
            }
            Command::QUERY_INFO => {
                let Ok(query) = QueryInfoRequest::decode(request) else { return };
                let Ok(response) = QueryInfoResponse::decode(message) else { return };
                match query.info_type {
                    InfoType::SECURITY => security(&response.output, seeds),
                    kind => {
                        let kind = u8::from(kind == InfoType::FILESYSTEM);
                        insert(
                            seeds,
                            "information",
                            &[&[kind, query.info_class], &response.output],
                        );
                    }
                }
            }
            Command::QUERY_DIRECTORY => {
                let Ok(query) = QueryDirectoryRequest::decode(request) else { return };
                let Ok(response) = QueryDirectoryResponse::decode(message) else { return };
                insert(seeds, "information", &[&[3, query.info_class.0], &response.output]);
            }
            Command::CHANGE_NOTIFY => {
                insert(seeds, "information", &[&[4, 0], message.get(72..).unwrap_or_default()]);
            }
            _ => {}
        }
    }
}

fn insert(seeds: &mut Seeds, target: &'static str, parts: &[&[u8]]) {
    seeds.entry(target).or_default().insert(parts.concat());
}

/// With its length in front, as inputs of operations have it.
fn put(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_le_bytes());
    out.extend(&bytes[..usize::from(length)]);
}

fn token(token: &[u8], seeds: &mut Seeds) {
    insert(seeds, "spnego", &[token]);
    if let Some(at) = token.windows(8).position(|part| part == b"NTLMSSP\0") {
        insert(seeds, "ntlm", &[&token[at..]]);
    }
}

/// A descriptor, also as it is kept with a file: behind a header, with offsets that count from that.
fn security(descriptor: &[u8], seeds: &mut Seeds) {
    insert(seeds, "security", &[descriptor]);
    for (version, start) in [(1, 8), (2, 28), (3, 80)] {
        let mut header = vec![version, 0, version, 0, 0, 0, 2, 0, 4, 0, 2, 0, 1, 0];
        header.resize(start, 0);
        let mut moved = descriptor.to_vec();
        for offset in moved.iter_mut().skip(4).take(16).step_by(4).filter(|offset| **offset != 0) {
            *offset = offset.saturating_add(start as u8);
        }
        insert(seeds, "nt-acl", &[&header, &moved]);
    }
}

/// Each of the recorded conversations, and each call of them alone behind the first's bind.
fn lsa_calls(seeds: &mut Seeds) -> Result<(), Box<dyn Error>> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/rpc/captures/lsarpc.txt");
    let text = fs::read_to_string(captures)?;
    let calls = text.lines().filter_map(|line| line.strip_prefix("C ")).map(|digits| {
        let byte = |at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
        let bytes: Vec<u8> = (0..digits.len() / 2).filter_map(byte).collect();
        let mut call = vec![0];
        put(&bytes, &mut call);
        call.extend([2, 0xff, 0xff]);
        call
    });
    let calls: Vec<Vec<u8>> = calls.collect();
    let Some(bind) = calls.first() else { return Ok(()) };
    calls.iter().for_each(|call| insert(seeds, "lsa-pipe", &[bind, call]));
    insert(seeds, "lsa-pipe", &[&calls.concat()]);
    Ok(())
}

fn by_hand(seeds: &mut Seeds) {
    for token in ["@GMT-2024.02.29-23.59.59", "@GMT-1970.01.01-00.00.00"] {
        insert(seeds, "control", &[&[13], token.as_bytes()]);
    }
    for name in [
        "a\\b c\\ü𝄞",
        "a\\..\\b",
        "b:stream:$DATA",
        "b::$DATA",
        "d::$INDEX_ALLOCATION",
        "d:$I30:$INDEX_ALLOCATION",
        "..",
        "\\a",
        "a/b",
        "d\\",
    ] {
        insert(seeds, "path", &[name.as_bytes()]);
        insert(
            seeds,
            "path",
            &[&name.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()],
        );
    }
    for pattern in
        ["*", "*.txt\0a.TXT", "a?c\0abc", "<.txt\0a.b.txt", ">>>.txt\0a.txt", "a\"\0a", "*ü?\0aÜb"]
    {
        insert(seeds, "pattern", &[pattern.as_bytes()]);
    }
    for name in ["Data", "IPC$", "alice", "DOMAIN\\alice", "ro,no-streams", "a,ro", " ", "name%"] {
        insert(seeds, "config", &[name.as_bytes()]);
    }
    for list in [
        "user.DosStream.a:$DATA\0user.DOSATTRIB\0user.comment\0",
        "user.DosStream.:$DATA\0",
        "user.DosStream.ü b:$DATA",
    ] {
        insert(seeds, "attribute-names", &[list.as_bytes()]);
    }
    for value in [
        &b"0x22"[..],
        b"0x10\0\0\x03",
        b"0x20\0\0\x03\0\x03\0\0\0\x11\0\0\0\x20\0\0\0\x0a\x39\x99\xcd\xb6\xa6\xcc\x01",
        b"\0\0\x04\0\x04\0\0\0\x51\0\0\0\x26\0\0\0\x90\xd6\x5e\x1f\x9b\x2b\xd5\x01\x90\xd6\x5e\x1f\x9b\x2b\xd5\x01",
        b"\0\0\x05\0\x05\0\0\0\x11\0\0\0\x02\0\0\0\x90\xd6\x5e\x1f\x9b\x2b\xd5\x01",
    ] {
        insert(seeds, "dos-attributes", &[value]);
    }
    // Who knows the password, and who does not; tokens whole, and one that is damaged.
    for steps in [
        &[1, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[0],
        &[1, 0, 1, 2, 40, 0, 7, 0, 0],
        &[1, 0, 0, 0, 0, 0, 1, 4, 90, 0, 1],
    ] {
        insert(seeds, "logon", &[steps]);
    }
    (0..5).for_each(|dialect| connection(1 << dialect, seeds));
    connection(0b11111, seeds);
}

/// A session of a dialect: what is said to agree, to log on, and then; each time with other protection.
fn connection(dialects: u8, seeds: &mut Seeds) {
    let negotiate = [0, dialects, 0, 0, 0, 0];
    let log_on = [2, 0, 0, 0, 0, 0, 0, 3, 0];
    let agreed = [&negotiate[..], &log_on].concat();
    for (signing, encryption) in [(0, 0), (1, 0), (0, 1)] {
        for guard in 0..3 {
            let mut session = [&[signing, encryption, 0][..], &agreed].concat();
            // Each alone: an echo, a tree connect, a create, a read, a write, a notification, a close; then the answers.
            for command in [&[0][..], &[1], &[2], &[3, 100, 0], &[4, 2, 0, 1, 2], &[12], &[6]] {
                session.extend([10, guard, 0]);
                session.extend(command);
                session.extend([0, 0, 0]);
            }
            session.extend([9, 3, 6, 3, 5, guard, 0, 1, 0, 0, 7, 0, 3, 7, 0, 3, 7, 0, 3]);
            // A compound of three, related; time; a logoff.
            session.extend([10, guard, 2, 2, 0, 3, 9, 0, 1, 6, 1, 0, 0, 6, 5, 7, 0, 3]);
            session.extend([10, guard, 0, 7, 0, 0, 0, 7, 0, 3]);
            insert(seeds, "connection", &[&session]);
        }
    }
}
