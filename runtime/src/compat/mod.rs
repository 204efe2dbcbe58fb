//! Streams for libraries that poll: [`PollStream`], and the traits of other ecosystems for it.
//!
//! | cargo feature | gives |
//! |---|---|
//! | `futures-io` | `futures_io::{AsyncRead, AsyncWrite}` |
//! | `tokio` | `tokio::io::{AsyncRead, AsyncWrite}` |
//! | `hyper` | `hyper::rt::{Read, Write}`, an executor and a timer ([`hyper`]) |
//!
//! The features only add trait implementations; what a runtime can do never depends on one.

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::retry_on_intr;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use crate::buf::BufResult;
use crate::net::TcpStream;
use crate::net::socket::{Connection, Socket};

/// What a receive asks for at first: a good many small messages, or a part of a large one. It is
/// allocated by the first read and kept.
const READ_MIN: usize = 8 * 1024;

/// What it asks for at most: it doubles whenever one was filled.
const READ_MAX: usize = 64 * 1024;

/// A connection for code that polls with borrowed buffers; made `From` a
/// [`TcpStream`](crate::net::TcpStream).
///
/// A read is a receive into a buffer of its own, copied out; it goes on when the caller stops polling,
/// so no bytes are lost. A write is the system call at once, and waits for readiness where that would
/// block. Nothing is held back: flushing does nothing.
pub struct PollStream {
    reading: Reading,
    writing: Option<Pin<Box<dyn Future<Output = io::Result<i16>>>>>,
    socket: Connection,
}

type Receive = Pin<Box<dyn Future<Output = BufResult<usize, Vec<u8>>>>>;

enum Reading {
    /// What was received, from this index on, has yet to be given out.
    Buffered(Vec<u8>, usize),
    InFlight(Receive),
    /// The stream has ended.
    Ended,
}

impl PollStream {
    /// Receives until there is something to give out, and gives that; nothing at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        loop {
            match &mut self.reading {
                Reading::Ended => return Poll::Ready(Ok(&[])),
                Reading::Buffered(buf, at) if *at < buf.len() => break,
                Reading::Buffered(buf, _) => {
                    let buf = emptied(mem::take(buf));
                    self.reading = Reading::InFlight(receive(self.socket.clone(), buf));
                }
                Reading::InFlight(receive) => {
                    let (result, buf) = ready!(receive.as_mut().poll(cx));
                    self.reading = match result {
                        Ok(0) => Reading::Ended,
                        _ => Reading::Buffered(buf, 0),
                    };
                    result?;
                }
            }
        }
        match &self.reading {
            Reading::Buffered(buf, at) => Poll::Ready(Ok(&buf[*at..])),
            Reading::InFlight(_) | Reading::Ended => Poll::Ready(Ok(&[])),
        }
    }

    /// Notes that the first `n` bytes of what [`Self::poll_fill`] gave have been taken.
    fn consume(&mut self, n: usize) {
        if let Reading::Buffered(buf, at) = &mut self.reading {
            *at = (*at + n).min(buf.len());
        }
    }

    /// Gives `take` up to `room` of the bytes that come next; tells how many. None at the end.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(self.poll_fill(cx))?;
        let n = bytes.len().min(room);
        take(&bytes[..n]);
        self.consume(n);
        Poll::Ready(Ok(n))
    }

    /// Runs `send` until it does not say that it would block.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(writable) = &mut self.writing {
                let result = ready!(writable.as_mut().poll(cx));
                self.writing = None;
                result?;
            }
            match send(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let socket = self.socket.clone();
                    self.writing = Some(Box::pin(async move { socket.poll(libc::POLLOUT).await }));
                }
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_write_slice(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |socket| socket.try_send(from))
    }

    fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |socket| try_send_vectored(socket, from))
    }

    /// Ends this direction of the stream; one that has ended already is as good.
    fn end_write(&self) -> io::Result<()> {
        match self.socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

/// `sendmsg` that does not block.
fn try_send_vectored(socket: &Socket, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let mut control = SendAncillaryBuffer::default();
    Ok(retry_on_intr(|| rustix::net::sendmsg(socket, bufs, &mut control, flags))?)
}

/// A buffer for the next receive in place of one that has been given out.
fn emptied(mut buf: Vec<u8>) -> Vec<u8> {
    let was_full = buf.len() == buf.capacity();
    let size =
        if was_full { (2 * buf.capacity()).clamp(READ_MIN, READ_MAX) } else { buf.capacity() };
    buf.clear();
    buf.reserve_exact(size);
    buf
}

fn receive(socket: Socket, buf: Vec<u8>) -> Receive {
    Box::pin(async move { socket.recv(buf, 0).await })
}

impl From<TcpStream> for PollStream {
    fn from(stream: TcpStream) -> Self {
        Self { reading: Reading::Buffered(Vec::new(), 0), writing: None, socket: stream.into() }
    }
}

impl fmt::Debug for PollStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollStream").finish_non_exhaustive()
    }
}
