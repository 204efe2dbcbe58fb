//! Broken and hostile input at every stage of a connection: the server answers or closes, never hangs, never panics,
//! and other connections do not notice.
//!
//! What is broken are messages that real clients sent (`smb-server/tests/captures/`); seeds are fixed, so a failure
//! comes back with its name.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use support::capture::client_messages;
use support::content::Random;
use support::mutate::variants;
use support::session::{HEADER, Session, Wire, command, framed, session_setup, status, utf16};
use support::{Outcome, Serve, Server};

/// Sessions that together hold every request smbclient and smbtorture know.
const SOURCES: [&str; 12] = [
    "dialect-SMB2_10",
    "attributes",
    "torture-smb2-compound-related1",
    "torture-smb2-compound-unrelated1",
    "torture-smb2-getinfo-qfile_buffercheck",
    "torture-smb2-ioctl-copy_chunk_simple",
    "torture-smb2-lease-request",
    "torture-smb2-lock-async",
    "torture-smb2-notify-dir",
    "torture-smb2-oplock-exclusive1",
    "torture-smb2-setinfo",
    "torture-rpc-srvsvc",
];
/// Messages per command; more of the same shape find nothing new.
const PER_COMMAND: usize = 4;
const LONGEST: usize = 700;
/// A session is given up after so many cases, so that opens left behind stay few.
const CASES_PER_SESSION: usize = 200;

fn main() -> ExitCode {
    let trial = |name, body: fn(&Server) -> Outcome| support::served(name, &[], Serve::new(), body);
    support::run(vec![
        trial("recorded messages are understood while they are whole", whole_messages),
        trial("broken NEGOTIATE requests", broken_negotiate),
        trial("broken first SESSION_SETUP requests", broken_first_setup),
        trial("broken second SESSION_SETUP requests", broken_second_setup),
        trial("broken requests of every command within a session", broken_in_session),
        trial("broken sealed messages", broken_sealed),
        trial("garbage instead of messages", garbage),
        trial("frame headers that lie", lying_frames),
        trial("a session written byte by byte works", byte_by_byte),
        trial("half frames held open do not keep others out", half_frames),
        trial("names that would leave the share or cannot be names", hostile_names),
        trial("the log says why a connection was closed", reasons_in_the_log),
    ])
}

/// A connection that lives through a whole trial: what happens on others must not reach it.
struct Witness(Session);

impl Witness {
    fn new(server: &Server) -> Result<Self, Failed> {
        Ok(Self(Session::in_share(server.address)?))
    }

    fn check(&mut self, after: &str) -> Outcome {
        match self.0.echo() {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("another connection was closed after: {after}").into()),
            Err(failed) => {
                Err(format!("another connection, after {after}: {}", text(&failed)).into())
            }
        }
    }
}

fn text(failed: &Failed) -> &str {
    failed.message().unwrap_or("failed")
}

/// Sends `message` on a connection of its own, closes that half, and waits for the server's close.
fn send_and_drain(mut wire: Wire, message: &[u8]) -> Outcome {
    // The server may close before it has taken everything.
    let _ = wire.send(message);
    let _ = wire.no_more();
    while wire.receive()?.is_some() {}
    Ok(())
}

/// Sends every variant of `message` on what `connect` gives, with the witness asked after each.
fn each_variant(
    server: &Server,
    message: &[u8],
    seed: u64,
    connect: impl Fn(SocketAddr) -> Result<Wire, Failed>,
) -> Outcome {
    let mut witness = Witness::new(server)?;
    for (name, broken) in variants(message, seed) {
        let outcome = send_and_drain(connect(server.address)?, &broken);
        outcome.map_err(|failed| format!("{name}: {}", text(&failed)))?;
        witness.check(&name)?;
    }
    Ok(())
}

fn broken_negotiate(server: &Server) -> Outcome {
    for (seed, source) in (100..).zip(["multi-protocol", "dialect-SMB2_02", "dialect-SMB3_11"]) {
        let messages = client_messages(source)?;
        each_variant(server, messages.first().ok_or("an empty capture")?, seed, Wire::connect)?;
    }
    Ok(())
}

fn broken_first_setup(server: &Server) -> Outcome {
    let messages = client_messages("dialect-SMB3_11")?;
    let message = messages.get(1).ok_or("a short capture")?;
    each_variant(server, message, 110, |address| {
        Ok(Session::negotiate(address, "dialect-SMB3_11")?.wire)
    })
}

/// The recorded AUTHENTICATE cannot log in here, but it is taken apart before that is found out.
fn broken_second_setup(server: &Server) -> Outcome {
    let messages = client_messages("dialect-SMB3_11")?;
    let [_, first, second, ..] = &messages[..] else { return Err("a short capture".into()) };
    let mut witness = Witness::new(server)?;
    for (name, mut broken) in variants(second, 120) {
        let mut session = Session::negotiate(server.address, "dialect-SMB3_11")?;
        session.wire.send(first)?;
        let answer = session.wire.receive()?.ok_or("closed after the first SESSION_SETUP")?;
        if let (Some(into), Some(id)) = (broken.get_mut(40..48), answer.get(40..48)) {
            into.copy_from_slice(id);
        }
        send_and_drain(session.wire, &broken)
            .map_err(|failed| format!("{name}: {}", text(&failed)))?;
        witness.check(&name)?;
    }
    Ok(())
}

/// One live session with a file and a folder open, into which recorded requests are fitted.
struct Stage {
    session: Session,
    file: [u8; 16],
    folder: [u8; 16],
    cases: usize,
}

impl Stage {
    fn new(server: &Server) -> Result<Self, Failed> {
        let mut session = Session::in_share(server.address)?;
        let mut open = |name: &str, folder| {
            let opened = session.create(&utf16(name), folder)?;
            opened.map_err(|status| Failed::from(format!("{name}: {status:#010x}")))
        };
        let (file, folder) = (open("file", false)?, open("folder", true)?);
        Ok(Self { session, file, folder, cases: 0 })
    }

    /// The recorded request, every element of a compound, as this session would send it.
    fn fit(&mut self, recorded: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut message = recorded.to_vec();
        let mut at = 0;
        loop {
            let element = message.get_mut(at..).ok_or("a compound that leaves its message")?;
            let next = self.fit_element(element)?;
            if next == 0 {
                return Ok(message);
            }
            at += next;
        }
    }

    /// Replaces ids, and drops the signature; gives the distance to the next element.
    fn fit_element(&mut self, element: &mut [u8]) -> Result<usize, Failed> {
        let number = command_of(element).ok_or("a message without a header")?;
        let header = self.session.header(number);
        let next = u32::from_le_bytes(element[20..24].try_into()?);
        element[6..8].copy_from_slice(&header[6..8]);
        element[14..16].copy_from_slice(&header[14..16]);
        element[16] &= !8;
        element[24..HEADER].copy_from_slice(&header[24..HEADER]);
        if let Some(field) = file_id_at(number).and_then(|at| element.get_mut(at..at + 16)) {
            // A related element keeps the id that means the element before it.
            if field != [0xff; 16] {
                let folder = matches!(number, command::QUERY_DIRECTORY | command::CHANGE_NOTIFY);
                field.copy_from_slice(if folder { &self.folder } else { &self.file });
            }
        }
        Ok(usize::try_from(next)?)
    }

    /// Whether the connection survived; the server has dealt with the message once it answers the ECHO behind it.
    fn survives(&mut self, message: &[u8]) -> Result<bool, Failed> {
        self.cases += 1;
        // A server that has closed already shows it in the answer that is missing.
        let _ = self.session.wire.send(message);
        self.session.echo()
    }
}

fn command_of(message: &[u8]) -> Option<u16> {
    if message.len() < HEADER || !message.starts_with(b"\xfeSMB") {
        return None;
    }
    Some(u16::from_le_bytes([message[12], message[13]]))
}

/// Where a request holds its FileId.
fn file_id_at(number: u16) -> Option<usize> {
    let within_body = match number {
        command::CLOSE
        | command::FLUSH
        | command::LOCK
        | command::IOCTL
        | command::QUERY_DIRECTORY
        | command::CHANGE_NOTIFY => 8,
        command::READ | command::WRITE | command::SET_INFO => 16,
        command::QUERY_INFO => 24,
        _ => return None,
    };
    Some(HEADER + within_body)
}

/// Requests of every command, a few of different lengths for each.
fn corpus() -> Result<BTreeMap<u16, Vec<Vec<u8>>>, Failed> {
    let mut all = unrecorded();
    for source in SOURCES {
        for message in client_messages(source)? {
            let Some(number) = command_of(&message).filter(|_| message.len() <= LONGEST) else {
                continue;
            };
            let known = all.entry(number).or_default();
            if known.len() < PER_COMMAND && known.iter().all(|other| other.len() != message.len()) {
                known.push(message);
            }
        }
    }
    Ok(all)
}

/// Requests that none of the recorded clients sent: their bodies begin with their length, and zeros may follow
/// (MS-SMB2 2.2.17 and 2.2.28).
fn unrecorded() -> BTreeMap<u16, Vec<Vec<u8>>> {
    let request = |number: u16, body: u8| {
        let mut message = vec![0; HEADER + usize::from(body)];
        message[..6].copy_from_slice(b"\xfeSMB\x40\0");
        message[12..14].copy_from_slice(&number.to_le_bytes());
        message[HEADER] = body;
        (number, vec![message])
    };
    BTreeMap::from([request(command::FLUSH, 24), request(command::ECHO, 4)])
}

/// Without this the other trials might break what was never accepted in the first place.
fn whole_messages(server: &Server) -> Outcome {
    let corpus = corpus()?;
    for number in command::TREE_CONNECT..=command::SET_INFO {
        let messages = corpus
            .get(&number)
            .ok_or_else(|| format!("no recorded request of command {number}"))?;
        for message in messages {
            let mut stage = Stage::new(server)?;
            let fitted = stage.fit(message)?;
            if !stage.survives(&fitted)? {
                return Err(format!(
                    "closed on a whole request of command {number}: {fitted:02x?}"
                )
                .into());
            }
        }
    }
    Ok(())
}

fn broken_in_session(server: &Server) -> Outcome {
    let mut witness = Witness::new(server)?;
    let mut stage = Stage::new(server)?;
    for (number, messages) in corpus()? {
        for (index, message) in messages.iter().enumerate() {
            let seed = u64::from(number) * 16 + index as u64;
            let count = variants(message, seed).len();
            for case in 0..count {
                // Fitted before it is broken: the header is fair game too.
                let fitted = stage.fit(message)?;
                let Some((name, broken)) = variants(&fitted, seed).into_iter().nth(case) else {
                    break;
                };
                let name = format!("command {number}, message {index}, {name}");
                let survived = stage
                    .survives(&broken)
                    .map_err(|failed| format!("{name}: {}", text(&failed)))?;
                witness.check(&name)?;
                if !survived || ends_something(number) || stage.cases >= CASES_PER_SESSION {
                    stage = Stage::new(server)?;
                }
            }
        }
    }
    Ok(())
}

/// After these the stage's session, tree or file may be gone.
fn ends_something(number: u16) -> bool {
    matches!(
        number,
        command::NEGOTIATE
            | command::SESSION_SETUP
            | command::LOGOFF
            | command::TREE_DISCONNECT
            | command::CLOSE
    )
}

fn broken_sealed(server: &Server) -> Outcome {
    let messages = client_messages("sealed-3.1.1-aes-128-gcm")?;
    let sealed =
        messages.iter().find(|message| message.starts_with(b"\xfdSMB")).ok_or("nothing sealed")?;
    let mut witness = Witness::new(server)?;
    for (name, mut broken) in variants(sealed, 130) {
        let session = Session::log_on(server.address, "dialect-SMB3_11")?;
        // With the id of a real session in most, so that a key is found and tried.
        if let Some(field) = broken.get_mut(44..52) {
            field.copy_from_slice(&session.id.to_le_bytes());
        }
        send_and_drain(session.wire, &broken)
            .map_err(|failed| format!("{name}: {}", text(&failed)))?;
        witness.check(&name)?;
    }
    Ok(())
}

fn garbage(server: &Server) -> Outcome {
    let mut witness = Witness::new(server)?;
    let mut random = Random::new(140);
    for case in 0..300 {
        let length = random.below(2000);
        let mut bytes = random.bytes(length);
        if case % 3 == 1 {
            bytes = framed(&bytes);
        }
        if case % 3 == 2 {
            bytes = framed(&[b"\xfeSMB\x40\0", &bytes[..]].concat());
        }
        let mut wire = Wire::connect(server.address)?;
        // The server may close before it has taken everything.
        let _ = wire.raw(&bytes);
        let _ = wire.no_more();
        while wire.receive()?.is_some() {}
        witness.check(&format!("garbage {case}"))?;
    }
    Ok(())
}

fn lying_frames(server: &Server) -> Outcome {
    let messages = client_messages("dialect-SMB3_11")?;
    let negotiate = messages.first().ok_or("an empty capture")?;
    let mut witness = Witness::new(server)?;
    let length = u32::try_from(negotiate.len())?;
    for claimed in [
        0,
        1,
        3,
        63,
        length - 1,
        length + 1,
        length + 1000,
        0x00ff_ffff,
        0x81ff_ffff,
        0x8500_0000,
        u32::MAX,
    ] {
        for logged_on in [false, true] {
            let name = format!(
                "a frame of {length} bytes that claims {claimed:#x}, logged on: {logged_on}"
            );
            let mut wire = if logged_on {
                Session::in_share(server.address)?.wire
            } else {
                Wire::connect(server.address)?
            };
            // The server may close on the header alone.
            let _ = wire.raw(&[&claimed.to_be_bytes(), &negotiate[..]].concat());
            let _ = wire.no_more();
            while wire.receive().map_err(|failed| format!("{name}: {}", text(&failed)))?.is_some() {
            }
            witness.check(&name)?;
        }
    }
    Ok(())
}

fn byte_by_byte(server: &Server) -> Outcome {
    let messages = client_messages("dialect-SMB2_10")?;
    let mut wire = Wire::connect(server.address)?;
    for byte in framed(messages.first().ok_or("an empty capture")?) {
        wire.raw(&[byte])?;
    }
    let answer = wire.receive()?.ok_or("closed instead of a NEGOTIATE response")?;
    if status(&answer) != 0 {
        return Err(format!("NEGOTIATE was answered with {:#010x}", status(&answer)).into());
    }
    let mut stage = Stage::new(server)?;
    for message in messages.iter().filter(|message| command_of(message) == Some(command::WRITE)) {
        let fitted = stage.fit(message)?;
        for byte in framed(&fitted) {
            stage.session.wire.raw(&[byte])?;
        }
        let id = u64::from_le_bytes(fitted[24..32].try_into()?);
        let answer = stage.session.answer(id)?.ok_or("closed instead of a WRITE response")?;
        if status(&answer) != 0 {
            return Err(format!("WRITE was answered with {:#010x}", status(&answer)).into());
        }
    }
    Ok(())
}

/// Sixty clients that stop in the middle of a frame, half of them logged on.
fn half_frames(server: &Server) -> Outcome {
    let mut held = Vec::new();
    for case in 0..60 {
        let mut wire = if case % 2 == 0 {
            Wire::connect(server.address)?
        } else {
            Session::in_share(server.address)?.wire
        };
        let frame = framed(&session_setup(&[0; 500]));
        wire.raw(&frame[..1 + case * 7])?;
        held.push(wire);
    }
    let started = Instant::now();
    let mut witness = Witness::new(server)?;
    for _ in 0..20 {
        witness.check("half frames")?;
    }
    // A fresh logon and twenty echoes; without the others it takes milliseconds.
    if started.elapsed() > Duration::from_secs(5) {
        Err("others were slowed down".into())
    } else {
        Ok(())
    }
}

/// smbclient tidies such names up before it sends them.
fn hostile_names(server: &Server) -> Outcome {
    let outside = server.scratch("outside")?;
    fs::write(outside.join("secret"), "secret")?;
    let mut session = Session::in_share(server.address)?;
    session.create(&utf16("folder"), true)?.map_err(|status| format!("folder: {status:#010x}"))?;
    let names = [
        "..",
        "..\\outside",
        "..\\outside\\secret",
        "..\\outside\\new",
        "folder\\..\\..\\outside\\secret",
        ".\\..\\outside\\secret",
        "folder\\..\\..\\..\\..\\..\\..\\etc\\passwd",
        "../outside/secret",
        "folder/../../outside/secret",
        "\\..\\outside\\secret",
        "\\folder",
        "/etc/passwd",
        "folder\\\0",
        "fol*der",
        "what?",
        "a<b",
        "a>b",
        "a\"b",
        "a|b",
        "C:\\Windows",
        "\\\\?\\C:\\Windows",
    ];
    for name in names {
        let opened = session.create(&utf16(name), false)?;
        if opened.is_ok() {
            return Err(format!("{name:?} was opened").into());
        }
    }
    for odd in [&b"a"[..], &b"a\0b"[..], &[b'a'; 65_534][..]] {
        let mut session = Session::in_share(server.address)?;
        match session.create(odd, false) {
            Ok(Ok(_)) => return Err(format!("a name of {} bytes was opened", odd.len()).into()),
            Err(failed) if !text(&failed).starts_with("closed") => return Err(failed),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    let there = fs::read_dir(&outside)?.count();
    if there == 1 { Ok(()) } else { Err("something was made outside the share".into()) }
}

/// Each close of a connection for its input leaves a line that gives the reason.
fn reasons_in_the_log(server: &Server) -> Outcome {
    let garbage = framed(&[0x55; 200]);
    let bad_type = [&[0x42, 0, 0, 8][..], &[0; 8]].concat();
    let giant = vec![0, 0xff, 0xff, 0xff];
    let negotiate = client_messages("dialect-SMB3_11")?.swap_remove(0);
    let cut = framed(&negotiate[..70]);
    let twice = framed(&negotiate).repeat(2);
    let cases = [
        ("garbage", garbage),
        ("frame type", bad_type),
        ("giant", giant),
        ("cut", cut),
        ("twice", twice),
    ];
    for (name, bytes) in cases {
        let before = server.log.lines().len();
        let mut wire = Wire::connect(server.address)?;
        // The server may close before it has taken everything.
        let _ = wire.raw(&bytes);
        while wire.receive().map_err(|failed| format!("{name}: {}", text(&failed)))?.is_some() {}
        await_reason(server, before).map_err(|failed| format!("{name}: {}", text(&failed)))?;
    }
    Ok(())
}

fn await_reason(server: &Server, before: usize) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let said = |line: &String| line.contains("malformed") || line.contains("violation");
        if server.log.lines().iter().skip(before).any(said) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err("no line in the log gives the reason".into())
}
