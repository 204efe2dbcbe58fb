//! What a connection receives, as a stream: one operation for all of it where the kernel has that.

#![allow(unsafe_code, reason = "makes an operation that receives into a pool")]

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use ringway_driver::{Op, OpKind};

use super::recv_buf::{Inbox, RecvBuf};
use super::recv_pool::{Received, RecvPool};
use super::socket::Socket;
use crate::cancel;
use crate::op::{self, Multi};
use crate::runtime::{self, Core};
use crate::task::coop;
use crate::uring::provided::Registration;

/// The bytes of a connection; see [`TcpStream::recv_stream`](super::TcpStream::recv_stream).
pub struct RecvStream {
    state: State,
    socket: Socket,
    inbox: Rc<Inbox>,
    /// The kernel has refused to receive again and again; not known yet whether because of that.
    one_by_one: bool,
    /// How many buffers had become free when the operation began.
    freed: u64,
}

enum State {
    Idle,
    /// One operation for all.
    Multi(Multi<Receiving>),
    /// Waits for something to receive.
    Waiting(Pin<Box<dyn Future<Output = io::Result<()>>>>),
    Over,
}

/// What an operation that receives again and again needs.
struct Receiving {
    socket: Socket,
    inbox: Rc<Inbox>,
    registration: Registration,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        // The stream, this and buffers in hands hold it: without the first nobody takes what is left.
        if self.inbox.is_abandoned() {
            self.inbox.clear();
        }
    }
}

type Item = io::Result<RecvBuf>;

/// What to do next: look again, or answer.
type Step = ControlFlow<Poll<Option<Item>>>;

impl RecvStream {
    pub(super) fn new(socket: &Socket, pool: &RecvPool) -> Self {
        Self {
            state: State::Idle,
            socket: socket.clone(),
            inbox: Rc::new(Inbox::new(pool.shared().clone())),
            one_by_one: false,
            freed: 0,
        }
    }

    /// The next bytes; `None` at the end of the stream, and after an error. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> Step {
        if cancel::is_cancelled() {
            return answer(Some(Err(io::Error::from_raw_os_error(libc::ECANCELED))));
        }
        if !self.inbox.has_room() {
            return self.wait(cx);
        }
        let core = runtime::current();
        match self.inbox.pool().attach(&core) {
            Err(error) => self.end(Some(Err(error))),
            Ok(Some(registration))
                if !self.one_by_one && core.ops.takes_multi(OpKind::RecvMulti) =>
            {
                if self.inbox.pool().available() == 0 {
                    return self.wait_in_line(cx);
                }
                self.freed = self.inbox.pool().freed();
                self.state = State::Multi(self.receive_all(registration));
                ControlFlow::Continue(())
            }
            Ok(_) => self.receive_one(&core, cx),
        }
    }

    fn receive_all(&self, registration: Registration) -> Multi<Receiving> {
        let (socket, inbox) = (self.socket.for_operation(), self.inbox.clone());
        // SAFETY: the socket belongs to the parts, and so does, by way of the inbox, the pool that the
        // kernel writes to: memory that it has been given there, and that is behind a raw pointer.
        unsafe {
            op::submit_multi_into(
                Receiving { socket, inbox, registration },
                |parts| Op::RecvMulti {
                    fd: parts.socket.as_raw_fd(),
                    group: parts.registration.id,
                    bundle: parts.registration.bundle,
                },
                |parts, completion, wake| parts.inbox.arrive(completion, wake),
            )
        }
    }

    /// The operation for all is over, and all that it has received has been taken.
    fn ended(&mut self, cx: &mut Context<'_>) -> Step {
        match self.inbox.take_end() {
            // Too much is held, or the completion queue was full: on with the next one.
            None => ControlFlow::Continue(()),
            Some(0) => self.end(None),
            Some(result) => match -result {
                libc::ENOBUFS if self.inbox.pool().freed() == self.freed => self.wait_in_line(cx),
                libc::ENOBUFS | libc::EINTR => ControlFlow::Continue(()),
                libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::EAGAIN => {
                    self.one_by_one = true;
                    ControlFlow::Continue(())
                }
                errno => self.failed(io::Error::from_raw_os_error(errno)),
            },
        }
    }

    /// Receives what there is now, into a buffer that is taken only for that.
    fn receive_one(&mut self, core: &Core, cx: &mut Context<'_>) -> Step {
        match self.inbox.pool().receive(&self.socket, core) {
            Ok(Received::End) => self.end(None),
            Ok(Received::NoBuffer) => self.wait_in_line(cx),
            Ok(received) => {
                if self.one_by_one {
                    core.ops.note_refusal(OpKind::RecvMulti);
                }
                answer(self.inbox.accept(received).map(Ok))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let socket = self.socket.clone();
                let waiting = async move { socket.receivable().await };
                self.state = State::Waiting(Box::pin(waiting));
                ControlFlow::Continue(())
            }
            Err(error) => self.end(Some(Err(error))),
        }
    }

    /// Waits until one of the stream's own buffers comes back.
    fn wait(&self, cx: &Context<'_>) -> Step {
        self.inbox.set_waker(cx.waker());
        ControlFlow::Break(Poll::Pending)
    }

    /// Waits until any buffer comes back.
    fn wait_in_line(&self, cx: &Context<'_>) -> Step {
        self.inbox.pool().wait_in_line(&self.inbox);
        self.wait(cx)
    }

    fn failed(&mut self, error: io::Error) -> Step {
        match error.raw_os_error() {
            // By a token, which may not be the next call's.
            Some(libc::ECANCELED) => answer(Some(Err(error))),
            _ => self.end(Some(Err(error))),
        }
    }

    fn end(&mut self, item: Option<Item>) -> Step {
        self.state = State::Over;
        answer(item)
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        match &mut self.state {
            State::Idle => self.begin(cx),
            State::Multi(multi) => match multi.poll_next(cx) {
                Poll::Pending => ControlFlow::Break(Poll::Pending),
                Poll::Ready(Some(_)) => ControlFlow::Continue(()),
                Poll::Ready(None) => {
                    self.state = State::Idle;
                    self.ended(cx)
                }
            },
            State::Waiting(waiting) => match waiting.as_mut().poll(cx) {
                Poll::Pending => ControlFlow::Break(Poll::Pending),
                Poll::Ready(result) => {
                    self.state = State::Idle;
                    match result {
                        Ok(()) => self.receive_one(&runtime::current(), cx),
                        Err(error) => self.failed(error),
                    }
                }
            },
            State::Over => answer(None),
        }
    }
}

fn answer(item: Option<Item>) -> Step {
    ControlFlow::Break(Poll::Ready(item))
}

impl Stream for RecvStream {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        ready!(coop::poll_proceed(cx));
        loop {
            if let Some(buf) = self.inbox.pop() {
                return Poll::Ready(Some(Ok(buf)));
            }
            if let ControlFlow::Break(answer) = self.step(cx) {
                return answer;
            }
        }
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.inbox.abandon();
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("fd", &self.socket.as_raw_fd()).finish_non_exhaustive()
    }
}
