//! A raw client: frames over a socket and a session set up by hand, for what smbclient would never send.
//!
//! It speaks SMB 2.1, where messages after the logon need no signature, so that a broken one reaches the code behind;
//! or signs or seals them, where that is asked for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use libtest_mimic::Failed;
use socket2::{Domain, Socket, Type};
use usmbd::auth::client::Client;
use usmbd::crypto::preauth::PreauthHash;

use super::capture;
use super::guard::{Guard, Protection};
use super::server::{PASSWORD, SHARE, USER};

pub(crate) const HEADER: usize = 64;
/// Long enough for a busy machine; running into it means that the server neither answered nor closed.
const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const STATUS_PENDING: u32 = 0x0000_0103;
const STATUS_MORE_PROCESSING: u32 = 0xc000_0016;
/// NTLM lets the client choose it.
const SESSION_KEY: [u8; 16] = [9; 16];

pub(crate) mod command {
    pub(crate) const NEGOTIATE: u16 = 0;
    pub(crate) const SESSION_SETUP: u16 = 1;
    pub(crate) const LOGOFF: u16 = 2;
    pub(crate) const TREE_CONNECT: u16 = 3;
    pub(crate) const TREE_DISCONNECT: u16 = 4;
    pub(crate) const CREATE: u16 = 5;
    pub(crate) const CLOSE: u16 = 6;
    pub(crate) const FLUSH: u16 = 7;
    pub(crate) const READ: u16 = 8;
    pub(crate) const WRITE: u16 = 9;
    pub(crate) const LOCK: u16 = 10;
    pub(crate) const IOCTL: u16 = 11;
    pub(crate) const CANCEL: u16 = 12;
    pub(crate) const ECHO: u16 = 13;
    pub(crate) const QUERY_DIRECTORY: u16 = 14;
    pub(crate) const CHANGE_NOTIFY: u16 = 15;
    pub(crate) const QUERY_INFO: u16 = 16;
    pub(crate) const SET_INFO: u16 = 17;
    pub(crate) const OPLOCK_BREAK: u16 = 18;
}

/// Frames over one socket.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self, Failed> {
        Self::over(TcpStream::connect(address)?)
    }

    /// From another of this host's addresses.
    pub(crate) fn connect_from(from: SocketAddr, address: SocketAddr) -> Result<Self, Failed> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&from.into())?;
        socket.connect(&address.into())?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Result<Self, Failed> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Bytes as they are, without a frame header.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.raw(&framed(message))
    }

    /// How long a message may wait for the server to take it.
    pub(crate) fn send_limit(&self, limit: Duration) -> io::Result<()> {
        self.0.set_write_timeout(Some(limit))
    }

    pub(crate) fn no_more(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// The next message, or `None` when the server has closed. Silence is a failure.
    pub(crate) fn receive(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        match self.try_receive() {
            Ok(message) => Ok(Some(message)),
            Err(error) if is_silence(&error) => {
                Err(format!("neither answered nor closed within {PATIENCE:?}").into())
            }
            Err(_) => Ok(None),
        }
    }

    fn try_receive(&mut self) -> io::Result<Vec<u8>> {
        let mut prefix = [0; 4];
        self.0.read_exact(&mut prefix)?;
        let mut message = vec![0; u32::from_be_bytes(prefix) as usize & 0x00ff_ffff];
        self.0.read_exact(&mut message)?;
        Ok(message)
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The message with its 4-byte frame header; lengths stay below 2^24 in these tests.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX) & 0x00ff_ffff;
    [&length.to_be_bytes(), message].concat()
}

/// A connection which has at least negotiated.
pub(crate) struct Session {
    pub(crate) wire: Wire,
    pub(crate) tree: u32,
    pub(crate) id: u64,
    next_message: u64,
    /// Over the messages up to the last that is not protected.
    preauth: PreauthHash,
    guard: Guard,
}

impl Session {
    /// Connects and sends the NEGOTIATE of the recorded session `name`.
    pub(crate) fn negotiate(address: SocketAddr, name: &str) -> Result<Self, Failed> {
        Self::negotiate_over(Wire::connect(address)?, name)
    }

    fn negotiate_over(mut wire: Wire, name: &str) -> Result<Self, Failed> {
        let messages = capture::client_messages(name)?;
        let request = messages.first().ok_or("an empty capture")?;
        wire.send(request)?;
        let answer = wire.receive()?.ok_or("closed instead of a NEGOTIATE response")?;
        expect(status(&answer), 0, "NEGOTIATE")?;
        let mut preauth = PreauthHash::new();
        preauth.update(request);
        preauth.update(&answer);
        Ok(Self { wire, tree: 0, id: 0, next_message: 1, preauth, guard: Guard::Plain })
    }

    /// Negotiates as recorded in `name` and logs the tests' user in.
    pub(crate) fn log_on(address: SocketAddr, name: &str) -> Result<Self, Failed> {
        Self::log_on_as(USER, address, name)
    }

    /// The same for another user, who has the same password.
    fn log_on_as(user: &str, address: SocketAddr, name: &str) -> Result<Self, Failed> {
        Self::log_on_over(Wire::connect(address)?, user, name)
    }

    fn log_on_over(wire: Wire, user: &str, name: &str) -> Result<Self, Failed> {
        let mut session = Self::negotiate_over(wire, name)?;
        let mut client = Client::new(user, "", PASSWORD);
        let answer = session.set_up(&client.negotiate())?;
        expect(status(&answer), STATUS_MORE_PROCESSING, "the first SESSION_SETUP")?;
        session.id = u64_at(&answer, 40)?;
        let token = security_buffer(&answer).ok_or("a SESSION_SETUP response without a token")?;
        let token =
            client.authenticate(token, [7; 8], SESSION_KEY).map_err(|error| error.to_string())?;
        let answer = session.set_up(&token)?;
        expect(status(&answer), 0, "the second SESSION_SETUP")?;
        Ok(session)
    }

    /// One step of a logon.
    fn set_up(&mut self, token: &[u8]) -> Result<Vec<u8>, Failed> {
        let request = self.request(command::SESSION_SETUP, &session_setup(token));
        self.preauth.update(&request);
        self.send(&request)?;
        let id = u64_at(&request, 24)?;
        let answer = self.answer(id)?.ok_or("closed instead of a SESSION_SETUP response")?;
        // MS-SMB2 3.2.5.3: the last answer is signed, and not hashed.
        if status(&answer) == STATUS_MORE_PROCESSING {
            self.preauth.update(&answer);
        }
        Ok(answer)
    }

    /// With the tests' share connected, and all that follows the logon protected.
    pub(crate) fn protected(address: SocketAddr, protection: Protection) -> Result<Self, Failed> {
        Self::protected_over(Wire::connect(address)?, protection)
    }

    /// The same over a connection that is there.
    pub(crate) fn protected_over(wire: Wire, protection: Protection) -> Result<Self, Failed> {
        let mut session = Self::log_on_over(wire, USER, protection.recording())?;
        session.guard = protection.with(&SESSION_KEY, &session.preauth)?;
        session.connect(SHARE)?;
        Ok(session)
    }

    /// Sends a request, protected as the session is.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), Failed> {
        let message = self.guard.protect(self.id, message)?;
        Ok(self.wire.send(&message)?)
    }

    /// On SMB 2.1, with the tests' share connected.
    pub(crate) fn in_share(address: SocketAddr) -> Result<Self, Failed> {
        Self::of_user(USER, address, SHARE)
    }

    /// The same over a connection that is there.
    pub(crate) fn in_share_over(wire: Wire) -> Result<Self, Failed> {
        let mut session = Self::log_on_over(wire, USER, "dialect-SMB2_10")?;
        session.connect(SHARE)?;
        Ok(session)
    }

    /// The same for another user, who has the same password, or another share.
    pub(crate) fn of_user(user: &str, address: SocketAddr, share: &str) -> Result<Self, Failed> {
        let mut session = Self::log_on_as(user, address, "dialect-SMB2_10")?;
        session.connect(share)?;
        Ok(session)
    }

    /// Connects to a share; the requests that follow go there.
    pub(crate) fn connect(&mut self, share: &str) -> Result<(), Failed> {
        let path = utf16(&format!("\\\\server\\{share}"));
        let offset = u16::try_from(HEADER + 8)?;
        let length = u16::try_from(path.len())?;
        let fixed = [9, 0, offset, length].map(u16::to_le_bytes).concat();
        let answer = self.call(command::TREE_CONNECT, &[fixed, path].concat())?;
        expect(status(&answer), 0, "TREE_CONNECT")?;
        self.tree = u32_at(&answer, 36)?;
        Ok(())
    }

    /// A header for the next message of this session.
    pub(crate) fn header(&mut self, command: u16) -> Vec<u8> {
        let message_id = self.next_message;
        self.next_message += 1;
        let mut header = b"\xfeSMB\x40\0\x01\0\0\0\0\0".to_vec();
        header.extend_from_slice(&command.to_le_bytes());
        header.extend_from_slice(&64_u16.to_le_bytes()); // credits asked for
        header.extend_from_slice(&[0; 8]); // no flags, nothing compounded
        header.extend_from_slice(&message_id.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&self.tree.to_le_bytes());
        header.extend_from_slice(&self.id.to_le_bytes());
        header.extend_from_slice(&[0; 16]); // no signature
        header
    }

    /// Sends one request and waits for its final answer.
    pub(crate) fn call(&mut self, command: u16, body: &[u8]) -> Result<Vec<u8>, Failed> {
        let message = self.request(command, body);
        self.send(&message)?;
        self.answer(u64_at(&message, 24)?)?
            .ok_or_else(|| format!("closed instead of an answer to command {command}").into())
    }

    /// The next message of this session, to be sent by the caller.
    pub(crate) fn request(&mut self, command: u16, body: &[u8]) -> Vec<u8> {
        let mut message = self.header(command);
        message.extend_from_slice(body);
        message
    }

    /// The same, with the credits for moving `size` bytes; each pays for 64 KiB, MS-SMB2 3.1.5.2.
    pub(crate) fn request_charged(
        &mut self,
        command: u16,
        body: &[u8],
        size: usize,
    ) -> Result<Vec<u8>, Failed> {
        let charge = u16::try_from(size.saturating_sub(1) / 65_536 + 1)?;
        let mut message = self.request(command, body);
        message[6..8].copy_from_slice(&charge.to_le_bytes());
        message[14..16].copy_from_slice(&charge.max(64).to_le_bytes());
        self.next_message += u64::from(charge) - 1;
        Ok(message)
    }

    /// The final answer to message `id`, whatever comes before it; `None` when the server has closed.
    pub(crate) fn answer(&mut self, id: u64) -> Result<Option<Vec<u8>>, Failed> {
        while let Some(message) = self.next_answer()? {
            if u64_at(&message, 24)? == id {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The next final answer, to whatever; `None` when the server has closed.
    pub(crate) fn next_answer(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        while let Some(message) = self.wire.receive()? {
            let message = self.guard.open(message)?;
            if message.len() >= HEADER && status(&message) != STATUS_PENDING {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Whether an ECHO is answered; `false` when the server has closed.
    pub(crate) fn echo(&mut self) -> Result<bool, Failed> {
        let message = self.request(command::ECHO, &[4, 0, 0, 0]);
        let id = u64_at(&message, 24)?;
        // A server that closed while this was sent shows it in the answer that is missing.
        let _ = self.send(&message);
        Ok(self.answer(id)?.is_some())
    }

    /// Opens or creates a file or folder and gives its FileId, or the status that refused it.
    pub(crate) fn create(
        &mut self,
        name: &[u8],
        folder: bool,
    ) -> Result<Result<[u8; 16], u32>, Failed> {
        let answer = self.call(command::CREATE, &create(name, folder)?)?;
        if status(&answer) != 0 {
            return Ok(Err(status(&answer)));
        }
        let id =
            answer.get(HEADER + 64..HEADER + 80).ok_or("a CREATE response without a FileId")?;
        Ok(Ok(id.try_into()?))
    }
}

/// MS-SMB2 2.2.5.
pub(crate) fn session_setup(token: &[u8]) -> Vec<u8> {
    let mut body = vec![25, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 88, 0];
    body.extend_from_slice(&u16::try_from(token.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(token);
    body
}

/// MS-SMB2 2.2.13: FILE_OPEN_IF with generic access for everything.
fn create(name: &[u8], folder: bool) -> Result<Vec<u8>, Failed> {
    let mut body = vec![57, 0, 0, 0];
    body.extend_from_slice(&2_u32.to_le_bytes()); // impersonation
    body.extend_from_slice(&[0; 16]);
    let options = u32::from(folder);
    for field in [0x0200_0000, 0, 7, 3, options] {
        body.extend_from_slice(&u32::to_le_bytes(field)); // access, attributes, sharing, disposition, options
    }
    body.extend_from_slice(&120_u16.to_le_bytes());
    body.extend_from_slice(&u16::try_from(name.len())?.to_le_bytes());
    body.extend_from_slice(&[0; 8]); // no contexts
    body.extend_from_slice(if name.is_empty() { &[0] } else { name });
    Ok(body)
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(crate) fn status(message: &[u8]) -> u32 {
    u32_at(message, 8).unwrap_or(u32::MAX)
}

fn security_buffer(message: &[u8]) -> Option<&[u8]> {
    let field = |at: usize| {
        Some(usize::from(u16::from_le_bytes(message.get(at..at + 2)?.try_into().ok()?)))
    };
    let start = field(HEADER + 4)?;
    message.get(start..start + field(HEADER + 6)?)
}

pub(crate) fn expect(found: u32, expected: u32, what: &str) -> Result<(), Failed> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what} was answered with {found:#010x}").into())
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Failed> {
    let field = bytes.get(at..at + 4).ok_or("a message that is too short")?;
    Ok(u32::from_le_bytes(field.try_into()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Failed> {
    let field = bytes.get(at..at + 8).ok_or("a message that is too short")?;
    Ok(u64::from_le_bytes(field.try_into()?))
}
