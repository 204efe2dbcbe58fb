//! Connections as a stream: one accept for all of them where the kernel has it, one for each elsewhere.

#![allow(unsafe_code, reason = "makes an operation out of a descriptor, and owns what it wins")]

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use ringway_driver::{Completion, Op, OpKind};

use super::socket::Socket;
use super::tcp::TcpStream;
use crate::cancel;
use crate::op::{self, Multi};
use crate::runtime;
use crate::task::coop;
use crate::time::{Sleep, sleep};

/// How long nothing is accepted when descriptors or memory have run out: long enough for others to give
/// some back, and for a loop that goes on without a pause of its own not to spin.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections of a listener; see [`TcpListener::incoming`](super::TcpListener::incoming).
pub struct Incoming<'a> {
    socket: &'a Socket,
    state: State,
    /// The kernel has refused to accept again and again; not known yet whether because of that.
    one_by_one: bool,
}

enum State {
    Idle,
    /// One accept for all.
    Multi(Multi<Socket>),
    /// One accept for one.
    Single(Pin<Box<dyn Future<Output = io::Result<Socket>>>>),
    Pause(Pin<Box<Sleep>>),
}

type Item = io::Result<TcpStream>;

impl<'a> Incoming<'a> {
    pub(super) fn new(socket: &'a Socket) -> Self {
        Self { socket, state: State::Idle, one_by_one: false }
    }

    /// The next connection, or error; never `None`. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn begin(&mut self) -> ControlFlow<Item> {
        if cancel::is_cancelled() {
            return ControlFlow::Break(Err(io::Error::from_raw_os_error(libc::ECANCELED)));
        }
        let multi = !self.one_by_one && runtime::current().ops.takes_multi(OpKind::AcceptMulti);
        self.state = if multi { State::Multi(self.accept_all()) } else { self.accept_one() };
        ControlFlow::Continue(())
    }

    fn accept_all(&self) -> Multi<Socket> {
        // SAFETY: the socket belongs to the parts; the kernel is given no memory.
        unsafe {
            op::submit_multi(
                self.socket.for_operation(),
                |socket| Op::AcceptMulti { fd: socket.as_raw_fd() },
                |_, completion| drop(won(completion)),
            )
        }
    }

    fn accept_one(&self) -> State {
        let socket = self.socket.clone();
        State::Single(Box::pin(async move { Ok(socket.accept().await?.0) }))
    }

    /// A completion of the accept for all.
    fn arrived(&mut self, completion: Completion) -> ControlFlow<Item> {
        match won(completion) {
            Ok(fd) => ControlFlow::Break(Ok(TcpStream::from_socket(Socket::new(fd)))),
            // Nobody is lost: it is begun again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => ControlFlow::Continue(()),
            // No way to accept here, or no socket that listens: an accept for one will tell.
            Err(error) if is_refusal(&error) => {
                self.one_by_one = true;
                ControlFlow::Continue(())
            }
            Err(error) => self.failed(error),
        }
    }

    /// The answer of an accept for one.
    fn accepted(&mut self, result: io::Result<Socket>) -> ControlFlow<Item> {
        match result {
            Ok(socket) => {
                if self.one_by_one {
                    runtime::current().ops.note_refusal(OpKind::AcceptMulti);
                }
                ControlFlow::Break(Ok(TcpStream::from_socket(socket)))
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: io::Error) -> ControlFlow<Item> {
        let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        if error.raw_os_error().is_some_and(|errno| exhausted.contains(&errno)) {
            self.state = State::Pause(Box::pin(sleep(PAUSE)));
        }
        ControlFlow::Break(Err(error))
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<Item>> {
        let step = match &mut self.state {
            State::Idle => self.begin(),
            State::Multi(multi) => match ready!(multi.poll_next(cx)) {
                Some(completion) => {
                    if !completion.more {
                        self.state = State::Idle;
                    }
                    self.arrived(completion)
                }
                None => {
                    self.state = State::Idle;
                    ControlFlow::Continue(())
                }
            },
            State::Single(accept) => {
                let result = ready!(accept.as_mut().poll(cx));
                self.state = State::Idle;
                self.accepted(result)
            }
            State::Pause(pause) => {
                ready!(pause.as_mut().poll(cx));
                self.state = State::Idle;
                ControlFlow::Continue(())
            }
        };
        Poll::Ready(step)
    }
}

impl Stream for Incoming<'_> {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        ready!(coop::poll_proceed(cx));
        loop {
            if let ControlFlow::Break(item) = ready!(self.step(cx)) {
                return Poll::Ready(Some(item));
            }
        }
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("fd", &self.socket.as_raw_fd()).finish_non_exhaustive()
    }
}

/// The connection that an accept has won.
fn won(completion: Completion) -> io::Result<OwnedFd> {
    let fd = completion.result()?;
    // SAFETY: an accept's result is a descriptor that nobody else has, and each completion is taken,
    // or given back, once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) })
}

fn is_refusal(error: &io::Error) -> bool {
    let refusals = [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS, libc::EAGAIN];
    error.raw_os_error().is_some_and(|errno| refusals.contains(&errno))
}
