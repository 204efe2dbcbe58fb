//! A relay between client and server that keeps the beginning of every message: the proof of what was negotiated,
//! signed and sealed, which smbclient does not print.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libtest_mimic::Failed;

/// Enough for a whole NEGOTIATE response with its contexts.
const KEPT: usize = 1024;
const HEADER: usize = 64;
const STATUS_PENDING: u32 = 0x0000_0103;
const FLAGS_SIGNED: u32 = 8;
const SESSION_SETUP: u16 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    seen: Seen,
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Message>>>);

/// Who sent it, and how it begins.
type Message = (Side, Vec<u8>);

/// What the server's NEGOTIATE response chose; the contexts only exist in 3.1.1.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Negotiated {
    pub(crate) dialect: u16,
    pub(crate) cipher: Option<u16>,
    pub(crate) signing: Option<u16>,
}

impl Tap {
    pub(crate) fn before(server: SocketAddr) -> Result<Self, Failed> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let seen = Seen::default();
        let kept = seen.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = TcpStream::connect(server) else { return };
                pump(Side::Client, &client, &upstream, &kept);
                pump(Side::Server, &upstream, &client, &kept);
            }
        });
        Ok(Self { address, seen })
    }

    /// The beginnings of the messages so far.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn negotiated(&self) -> Result<Negotiated, Failed> {
        let messages = self.messages();
        let response = messages
            .iter()
            .find(|(side, bytes)| *side == Side::Server && command(bytes) == Some(0));
        let (_, bytes) = response.ok_or("no NEGOTIATE response seen")?;
        negotiated(bytes).ok_or_else(|| "the NEGOTIATE response is too short".into())
    }

    /// How many messages of this side are sealed, how many are signed and how many neither, of those that have to be:
    /// commands after SESSION_SETUP, but no interim responses (MS-SMB2 3.3.4.1.1).
    pub(crate) fn protection(&self, side: Side) -> Protection {
        let mut count = Protection::default();
        for (_, bytes) in self.messages().iter().filter(|(of, _)| *of == side) {
            let interim = side == Side::Server && u32_at(bytes, 8) == Some(STATUS_PENDING);
            let signed = u32_at(bytes, 16).is_some_and(|flags| flags & FLAGS_SIGNED != 0);
            match command(bytes) {
                None if bytes.starts_with(b"\xfdSMB") => count.sealed += 1,
                Some(number) if number > SESSION_SETUP && signed => count.signed += 1,
                Some(number) if number > SESSION_SETUP && !interim => count.plain += 1,
                _ => {}
            }
        }
        count
    }
}

#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Protection {
    pub(crate) sealed: usize,
    pub(crate) signed: usize,
    pub(crate) plain: usize,
}

/// Copies one direction on a thread of its own, until either end closes.
fn pump(side: Side, from: &TcpStream, to: &TcpStream, seen: &Seen) {
    let (Ok(mut from), Ok(mut to), seen) = (from.try_clone(), to.try_clone(), seen.clone()) else {
        return;
    };
    thread::spawn(move || {
        while let Some((frame, kept)) = next_frame(&mut from) {
            seen.0.lock().unwrap_or_else(PoisonError::into_inner).push((side, kept));
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        // The other direction may be gone already.
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// One message with its 4-byte frame header, and its beginning without it.
fn next_frame(from: &mut TcpStream) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).ok()?;
    let length = u32::from_be_bytes([0, frame[1], frame[2], frame[3]]);
    frame.resize(4 + usize::try_from(length).ok()?, 0);
    from.read_exact(&mut frame[4..]).ok()?;
    let kept = frame[4..].iter().copied().take(KEPT).collect();
    Some((frame, kept))
}

/// MS-SMB2 2.2.4 and 2.2.4.1: DialectRevision, then the negotiate contexts of 3.1.1.
fn negotiated(bytes: &[u8]) -> Option<Negotiated> {
    let dialect = u16_at(bytes, HEADER + 4)?;
    let mut chosen = Negotiated { dialect, cipher: None, signing: None };
    if dialect != 0x0311 {
        return Some(chosen);
    }
    let mut at = usize::try_from(u32_at(bytes, HEADER + 60)?).ok()?;
    for _ in 0..u16_at(bytes, HEADER + 6)? {
        // Both contexts hold a count of one and then the value.
        match u16_at(bytes, at)? {
            2 => chosen.cipher = u16_at(bytes, at + 10),
            8 => chosen.signing = u16_at(bytes, at + 10),
            _ => {}
        }
        at = (at + 8 + usize::from(u16_at(bytes, at + 2)?)).next_multiple_of(8);
    }
    Some(chosen)
}

fn command(bytes: &[u8]) -> Option<u16> {
    if bytes.starts_with(b"\xfeSMB") { u16_at(bytes, 12) } else { None }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
