//! What comes in, message by message. Of most, only the beginning is looked at: the rest is dropped in the kernel without
//! being copied (`MSG_TRUNC`), so that the load costs little beside the server.

use std::io::{self, ErrorKind};
use std::net::TcpStream;

use rustix::net::{RecvFlags, recv};
use usmbd::wire::frame::{Frame, LENGTH_MAX, PREFIX};

/// How much of a plain message is looked at: its header and the fixed part of a READ's or a WRITE's response.
pub(super) const HEAD: usize = 80;

/// As much as an encrypted message has before that.
const HEAD_MAX: usize = HEAD + usmbd::crypto::seal::TRANSFORM_HEADER_LEN;

/// From this length on, dropping a payload costs less than receiving it.
const DROP_MIN: usize = 16 << 10;

/// Enough for many small messages at once.
const BUFFER: usize = 64 << 10;

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Drop,
    /// Receive all of it.
    Keep,
}

/// Who looks at messages.
pub(super) trait Judge {
    /// The beginning of one that is `length` bytes long.
    fn begins(&mut self, head: &mut [u8], length: usize) -> io::Result<Fate>;

    /// One that was dropped has ended.
    fn is_gone(&mut self) -> io::Result<()>;

    /// One that was kept.
    fn is_whole(&mut self, message: Vec<u8>) -> io::Result<()>;
}

/// The receiving end of a connection.
pub(super) struct Inbox {
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    /// How much of each message is shown first.
    head: usize,
    /// Large messages are expected: no more is received than what is looked at.
    is_sparing: bool,
    state: State,
}

enum State {
    /// A message begins.
    Head,
    /// So much of it goes.
    Dropping(usize),
    /// It is kept; so much of it is there.
    Keeping(Vec<u8>, usize),
}

impl Inbox {
    /// For messages that are mostly of this length, behind an envelope of so many bytes.
    pub(super) fn new(length: usize, envelope: usize) -> Self {
        let head = (HEAD + envelope).min(HEAD_MAX);
        let is_sparing = length >= DROP_MIN;
        Self { buffer: vec![0; BUFFER], begin: 0, end: 0, head, is_sparing, state: State::Head }
    }

    /// Receives until nothing is there.
    ///
    /// # Errors
    /// Those of the socket and of the judge, and the end of the connection.
    pub(super) fn pump(
        &mut self,
        socket: &TcpStream,
        sink: &mut [u8],
        judge: &mut impl Judge,
    ) -> io::Result<()> {
        let mut may_be_more = true;
        while may_be_more {
            may_be_more = self.receive(socket, sink)?;
            while self.advance(judge)? {}
        }
        Ok(())
    }

    /// One step with what is in the buffer; whether there may be another.
    fn advance(&mut self, judge: &mut impl Judge) -> io::Result<bool> {
        let there = self.buffer.get(self.begin..self.end).unwrap_or_default();
        match &mut self.state {
            State::Head => {
                let Some(length) = length_of(there)? else { return Ok(false) };
                let shown = length.min(self.head);
                let Some(shown) = there.get(PREFIX..PREFIX + shown) else { return Ok(false) };
                let mut head = [0; HEAD_MAX];
                head[..shown.len()].copy_from_slice(shown);
                let fate = judge.begins(&mut head[..shown.len()], length)?;
                self.begin += PREFIX;
                self.state = match fate {
                    Fate::Drop => State::Dropping(length),
                    Fate::Keep => State::Keeping(vec![0; length], 0),
                };
            }
            State::Dropping(left) => {
                let here = there.len().min(*left);
                self.begin += here;
                *left -= here;
                if *left > 0 {
                    return Ok(false);
                }
                self.state = State::Head;
                judge.is_gone()?;
            }
            State::Keeping(message, filled) => {
                let here = there.len().min(message.len() - *filled);
                message[*filled..*filled + here].copy_from_slice(&there[..here]);
                self.begin += here;
                *filled += here;
                if *filled < message.len() {
                    return Ok(false);
                }
                let message = std::mem::take(message);
                self.state = State::Head;
                judge.is_whole(message)?;
            }
        }
        Ok(true)
    }

    /// Receives once, to where it belongs; whether there may be more, as there was as much as was wanted.
    fn receive(&mut self, socket: &TcpStream, sink: &mut [u8]) -> io::Result<bool> {
        let (received, wanted) = match &mut self.state {
            State::Head => {
                self.buffer.copy_within(self.begin..self.end, 0);
                (self.begin, self.end) = (0, self.end - self.begin);
                let limit = if self.is_sparing { PREFIX + self.head } else { BUFFER };
                let wanted = limit - self.end;
                let received = once(socket, &mut self.buffer[self.end..limit], false)?;
                self.end += received.unwrap_or(0);
                (received, wanted)
            }
            State::Dropping(left) => {
                let length = (*left).min(sink.len());
                let received = once(socket, &mut sink[..length], true)?;
                *left -= received.unwrap_or(0);
                (received, length)
            }
            State::Keeping(message, filled) => {
                let wanted = message.len() - *filled;
                let received = once(socket, &mut message[*filled..], false)?;
                *filled += received.unwrap_or(0);
                (received, wanted)
            }
        };
        Ok(received == Some(wanted))
    }
}

/// The length of the message that a buffer begins with, once its prefix is there.
fn length_of(buffer: &[u8]) -> io::Result<Option<usize>> {
    let Some(&prefix) = buffer.first_chunk() else { return Ok(None) };
    match Frame::decode(prefix, LENGTH_MAX).map_err(io::Error::other)? {
        Frame::Message { length } => Ok(Some(length)),
        _ => Err(io::Error::other("a frame that is no message")),
    }
}

/// Receives what is there; nothing where there is nothing. What is to be dropped leaves `into` as it is: it says how much.
pub(super) fn once(
    socket: &TcpStream,
    into: &mut [u8],
    is_dropped: bool,
) -> io::Result<Option<usize>> {
    let flags = if is_dropped { RecvFlags::TRUNC } else { RecvFlags::empty() };
    match recv(socket, into, flags | RecvFlags::DONTWAIT) {
        // Of a stream, the second number is what was taken, in either case.
        Ok((_, 0)) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed")),
        Ok((_, received)) => Ok(Some(received)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    /// Keeps every second message, and notes what it sees.
    #[derive(Default)]
    struct Notes {
        heads: Vec<(Vec<u8>, usize)>,
        /// By number.
        gone: Vec<usize>,
        kept: Vec<Vec<u8>>,
    }

    impl Judge for Notes {
        fn begins(&mut self, head: &mut [u8], length: usize) -> io::Result<Fate> {
            self.heads.push((head.to_vec(), length));
            Ok(if self.heads.len().is_multiple_of(2) { Fate::Keep } else { Fate::Drop })
        }

        fn is_gone(&mut self) -> io::Result<()> {
            self.gone.push(self.heads.len() - 1);
            Ok(())
        }

        fn is_whole(&mut self, message: Vec<u8>) -> io::Result<()> {
            self.kept.push(message);
            Ok(())
        }
    }

    #[test]
    fn messages_are_shown_and_kept_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let lengths = [1, 80, 81, 200, 50_000, 79, 300_000, 4, 70_000, 65_536];
        let message = |index: usize| -> Vec<u8> {
            (0..lengths[index]).map(|at| (at + index) as u8).collect()
        };
        for expected in [100, 1 << 20] {
            let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().unwrap();
            let mut stream = Vec::new();
            for (index, &length) in lengths.iter().enumerate() {
                stream.extend_from_slice(&Frame::message_prefix(length).unwrap());
                stream.extend(message(index));
            }
            let mut inbox = Inbox::new(expected, 0);
            let (mut notes, mut sink) = (Notes::default(), vec![0xee; 1 << 20]);
            for piece in stream.chunks(7_001) {
                (&sender).write_all(piece).unwrap();
                inbox.pump(&socket, &mut sink, &mut notes).unwrap();
            }
            while notes.kept.len() < lengths.len() / 2 {
                inbox.pump(&socket, &mut sink, &mut notes).unwrap();
            }
            for (index, (head, length)) in notes.heads.iter().enumerate() {
                let message = message(index);
                assert_eq!(
                    (head.as_slice(), *length),
                    (&message[..lengths[index].min(HEAD)], lengths[index])
                );
            }
            assert!(
                notes.kept.iter().enumerate().all(|(index, kept)| *kept == message(index * 2 + 1))
            );
            assert!(sink.iter().all(|&byte| byte == 0xee), "dropped bytes were copied");
            assert_eq!(notes.gone, [0, 2, 4, 6, 8]);
            drop(sender);
            let end = inbox.pump(&socket, &mut sink, &mut notes).unwrap_err();
            assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
        }
    }
}
