//! Messages over TCP: each behind a prefix of four bytes that says its length. MS-SMB2 2.1.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringway::buf::{IoBuf, IoBufExt, Slice};
use ringway::net::TcpStream;
use ringway::time::timeout;

use super::rest::{Given, receive_behind};
use super::{Elsewhere, Rest};
use crate::buffers::{Buffer, LARGE_MIN, Memory};
use crate::wire::codec::Malformed;
use crate::wire::frame::{Frame, PREFIX};
use crate::wire::header::Header;
use crate::wire::transform::TransformHeader;
use crate::wire::write::WriteRequest;

/// How much is asked of the socket at once where no longer message is known to come: enough for
/// several ordinary requests, little enough to keep for every connection.
const READ_AHEAD: usize = 16 * 1024;

/// How long the rest of a message may take once its beginning is there. A client that sends half a
/// message and stops would otherwise hold the memory for all of it.
const REST_TIMEOUT: Duration = Duration::from_secs(60);

/// The shortest payload that is sent behind its head, not with it. Of a mebibyte in one call segments leave in pairs, as those
/// before them are acknowledged, and a client on this host sleeps meanwhile: behind a head they leave one by one, as
/// they are filled, and the whole takes a fifth less of the processor. Less gains nothing.
const HEAD_APART_MIN: usize = 256 * 1024;

/// Sends what is in `buffer` from `start` on, and then the tail, as one.
///
/// # Errors
/// The socket's. The stream is of no use after it, since how much was sent is not known.
pub async fn send(
    stream: &TcpStream,
    buffer: Buffer,
    start: usize,
    tail: Vec<Elsewhere>,
) -> io::Result<()> {
    if tail.is_empty() {
        let payload = buffer.payload(start).filter(|it| buffer.len() - it >= HEAD_APART_MIN);
        if let Some(head) = payload.and_then(|payload| buffer.get(start..payload)) {
            stream.send_all_more(head.to_vec()).await.0?;
        }
        return send_bytes(stream, buffer.into_slice(payload.unwrap_or(start))).await;
    }
    stream.send_all_more(buffer.into_slice(start)).await.0?;
    let mut left = tail.len();
    for piece in tail {
        left -= 1;
        piece.send(stream, left > 0).await?;
    }
    Ok(())
}

/// Sends bytes out of the buffer itself, where they are many and the network takes them so: the runtime finds out,
/// connection by connection. The memory is used again when the network has done with it.
async fn send_bytes(stream: &TcpStream, bytes: Slice<Memory>) -> io::Result<()> {
    if bytes.bytes_init() < LARGE_MIN {
        return stream.send_all(bytes).await.0;
    }
    stream.send_zc_all(bytes).await.result.map(drop)
}

/// Takes messages off a connection.
#[derive(Debug)]
pub struct MessageReader {
    stream: Rc<TcpStream>,
    /// What has been received and not been taken: `buffer[start..]`.
    buffer: Vec<u8>,
    start: usize,
    /// The rest of the last message, where somebody else takes it.
    given: Option<Given>,
    /// The last message was taken apart: more like it may follow, so no more is received than their beginning.
    expects_head: bool,
}

/// What the client sent.
#[derive(Debug)]
pub struct Message {
    /// All of it, or its beginning.
    pub bytes: Buffer,
    /// What follows that.
    pub rest: Option<Rest>,
}

/// Who reads messages, and how much of them.
pub trait Intake {
    /// How long a message may be, in bytes. Asked when its length is known, and before memory is taken for it.
    fn message_size_max(&self) -> usize;

    /// Whether of a message with this beginning and length only the beginning is wanted.
    fn takes_apart(&self, head: &[u8], length: usize) -> bool;

    /// Waits until there is memory for a long message. The time that a message may take is counted on.
    fn room_for(&self, length: usize) -> impl Future<Output = ()>;
}

/// How much of a message is looked at to tell whether it can be taken apart: the headers of a WRITE.
const HEAD: usize = Header::SIZE + WriteRequest::FIXED;

/// How much stands in front of the payload of a message that begins so, if it is a WRITE.
fn head_of(front: &[u8]) -> usize {
    let is_sealed = front.starts_with(&TransformHeader::PROTOCOL_ID);
    if is_sealed { TransformHeader::SIZE + HEAD } else { HEAD }
}

/// Why there are no more messages.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream is not made of messages.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The connection ended inside a message.
    #[error("the connection ended inside a message")]
    Truncated,
    /// A receive has failed inside a message.
    #[error("a message was not received to its end")]
    Broken,
    /// The rest of a message did not come in time.
    #[error("the rest of a message did not come within {} s", REST_TIMEOUT.as_secs())]
    TimedOut,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl MessageReader {
    /// A reader at the beginning of a connection.
    #[must_use]
    pub fn new(stream: Rc<TcpStream>) -> Self {
        let buffer = Vec::with_capacity(READ_AHEAD);
        Self { stream, buffer, start: 0, given: None, expects_head: false }
    }

    /// Waits for the next message and gives it without its prefix; `None` when the client has closed. Where only its
    /// beginning is wanted, the rest of it can be taken until the next call, which waits for whoever does.
    /// Not cancel safe: a dropped call may have taken bytes off the stream.
    ///
    /// # Errors
    /// [`ReadError`]; the stream is of no use after it.
    pub async fn next(&mut self, intake: &impl Intake) -> Result<Option<Message>, ReadError> {
        if let Some(given) = self.given.take() {
            timeout(REST_TIMEOUT, self.pass_over(given))
                .await
                .map_err(|_| ReadError::TimedOut)??;
        }
        loop {
            // The first byte may take as long as it likes; what follows it may not.
            if self.pending() == 0 && self.receive().await? == 0 {
                return Ok(None);
            }
            let message = timeout(REST_TIMEOUT, self.frame(intake))
                .await
                .map_err(|_| ReadError::TimedOut)??;
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// One frame; `None` for a keep-alive.
    async fn frame(&mut self, intake: &impl Intake) -> Result<Option<Message>, ReadError> {
        while self.pending() < PREFIX {
            if self.receive().await? == 0 {
                return Err(ReadError::Truncated);
            }
        }
        let prefix = self.buffer[self.start..].first_chunk().copied().unwrap_or_default();
        self.start += PREFIX;
        match Frame::decode(prefix, intake.message_size_max())? {
            Frame::Message { length } => self.message(length, intake).await.map(Some),
            Frame::KeepAlive => Ok(None),
            // A NetBIOS name service is not offered, so nobody has a reason to call us by a name.
            Frame::SessionRequest { .. } => Err(Malformed::new("NetBIOS session request").into()),
        }
    }

    async fn message(&mut self, length: usize, intake: &impl Intake) -> Result<Message, ReadError> {
        if length > READ_AHEAD {
            while self.pending() < HEAD {
                if self.receive().await? == 0 {
                    return Err(ReadError::Truncated);
                }
            }
            let head = self.buffer.get(self.start..self.start + HEAD).unwrap_or_default();
            if intake.takes_apart(head, length) {
                return Ok(self.taken_apart(length));
            }
            intake.room_for(length).await;
        }
        self.expects_head = false;
        Ok(Message { bytes: self.whole(length).await?, rest: None })
    }

    /// A message of which the beginning is here.
    fn taken_apart(&mut self, length: usize) -> Message {
        let here = self.pending().min(length);
        let mut bytes = self.buffer[self.start..self.start + here].to_vec();
        self.start += here;
        let front = bytes.split_off(HEAD.min(bytes.len()));
        let (rest, given) = Rest::new(Rc::clone(&self.stream), front, length - here);
        self.given = Some(given);
        self.expects_head = true;
        Message { bytes: bytes.into(), rest: Some(rest) }
    }

    /// Goes on behind the rest of a message, when nobody wants any of it any more.
    async fn pass_over(&mut self, mut given: Given) -> Result<(), ReadError> {
        let mut left = given.returned().await.ok_or(ReadError::Broken)?;
        while left > 0 {
            let (result, _) = self.stream.recv(Vec::with_capacity(left.min(READ_AHEAD))).await;
            match result? {
                0 => return Err(ReadError::Truncated),
                count => left -= count,
            }
        }
        Ok(())
    }

    async fn whole(&mut self, length: usize) -> Result<Buffer, ReadError> {
        let here = self.pending().min(length);
        let front = &self.buffer[self.start..self.start + here];
        self.start += here;
        let head = head_of(front);
        match receive_behind(&self.stream, front, length - here, head).await {
            Ok(message) => Ok(message),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ReadError::Truncated),
            Err(error) => Err(error.into()),
        }
    }

    fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Receives into the free part of the buffer; 0 at the end of the stream.
    async fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.drain(..self.start);
        self.start = 0;
        buffer.reserve(READ_AHEAD - buffer.len().min(READ_AHEAD - 1));
        let (at, mut end) = (buffer.len(), buffer.capacity());
        if self.expects_head {
            end = end.min(at.max(PREFIX + HEAD - 1) + 1);
        }
        let (result, slice) = self.stream.recv(buffer.slice(at..end)).await;
        self.buffer = slice.into_inner();
        result
    }
}
