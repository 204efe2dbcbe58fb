//! The notification: when the buffer is free again, and what the kernel did with it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use super::message::Outgoing;
use crate::op::Multi;
use crate::task;

/// What a zero-copy send gives: its result at once, its buffer later, however it ended.
#[must_use = "the buffer comes back through `notify`"]
#[derive(Debug)]
pub struct ZcSent<T: 'static> {
    /// How many bytes went out, as a send's result.
    pub result: io::Result<usize>,
    /// Gives the buffer back when the kernel has let go of it.
    pub notify: ZcNotify<T>,
}

/// Gives a buffer back when the kernel has let go of it, which can be as late as the peer's
/// acknowledgement. Do not wait for it before sending on.
///
/// Dropping it lets the buffer go when the kernel does. A peer that has vanished keeps the kernel, and
/// so the buffer, for about 15 minutes;
/// [`TcpStream::set_user_timeout`](crate::net::TcpStream::set_user_timeout) says how long instead.
#[must_use = "the buffer comes back through it"]
pub struct ZcNotify<T: 'static> {
    /// Until it has been given out.
    buf: Option<Rc<T>>,
    /// Those who may still read it, oldest first.
    holds: Vec<Hold>,
    usage: Option<ZcUsage>,
}

/// A buffer that is free again.
#[derive(Debug)]
pub struct ZcDone<T> {
    /// The buffer.
    pub buf: T,
    /// What the kernel did with it.
    pub usage: ZcUsage,
}

/// Whether a zero-copy send was one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZcUsage {
    /// The network had the bytes out of the buffer.
    ZeroCopy,
    /// Some of them were copied, by a plain send or on the way down to the network.
    Copied,
    /// The kernel does not say (before 6.2, on a ring), or nothing was sent.
    Unknown,
}

impl ZcUsage {
    pub(super) fn of(copied: bool) -> Self {
        if copied { Self::Copied } else { Self::ZeroCopy }
    }

    /// Of two sends together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Copied, _) | (_, Self::Copied) => Self::Copied,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::ZeroCopy, Self::ZeroCopy) => Self::ZeroCopy,
        }
    }
}

impl<T: 'static> ZcNotify<T> {
    /// Everything else that has `buf` is in `log`.
    pub(super) fn new(buf: Rc<T>, log: Log) -> Self {
        Self { buf: Some(buf), holds: log.holds, usage: log.usage }
    }

    /// Whether the buffer would come back at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.holds.iter().all(Hold::is_over)
    }

    /// Calls `then` when the buffer is free, in a task of its own. The runtime's end may come before.
    pub fn detach(self, then: impl FnOnce(ZcDone<T>) + 'static) {
        drop(task::spawn(async move { then(self.await) }));
    }
}

// The buffer is behind a pointer, and nothing else is pinned.
impl<T: 'static> Unpin for ZcNotify<T> {}

impl<T: 'static> Future for ZcNotify<T> {
    type Output = ZcDone<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ZcDone<T>> {
        while let Some(hold) = self.holds.last_mut() {
            let usage = ready!(hold.poll(cx));
            self.holds.pop();
            self.usage = together(self.usage, usage);
        }
        let buf = self.buf.take().expect("a notification was polled after it had completed");
        let Ok(buf) = Rc::try_unwrap(buf) else {
            unreachable!("who else had the buffer was waited for");
        };
        Poll::Ready(ZcDone { buf, usage: self.usage.unwrap_or(ZcUsage::Unknown) })
    }
}

impl<T: 'static> fmt::Debug for ZcNotify<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZcNotify").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// What became of a buffer in the course of one call.
#[derive(Default)]
pub(super) struct Log {
    holds: Vec<Hold>,
    usage: Option<ZcUsage>,
}

impl Log {
    /// Bytes of it went out, and nobody reads them any more.
    pub(super) fn note(&mut self, usage: ZcUsage) {
        self.usage = together(self.usage, Some(usage));
    }

    /// Somebody reads it still.
    pub(super) fn hold(&mut self, hold: Hold) {
        self.holds.push(hold);
    }
}

fn together(one: Option<ZcUsage>, other: Option<ZcUsage>) -> Option<ZcUsage> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.and(other)),
        (one, other) => one.or(other),
    }
}

/// Somebody who may still read a buffer, and has a clone of its pointer.
pub(super) enum Hold {
    /// The ring. Its parts are here again once the last completion has come.
    Ring(Option<Multi<Outgoing>>),
    /// The error queue's next word about it.
    Queue(Rc<Notice>),
}

impl Hold {
    fn is_over(&self) -> bool {
        match self {
            Self::Ring(multi) => multi.as_ref().is_none_or(Multi::is_over),
            Self::Queue(notice) => notice.usage.get().is_some(),
        }
    }

    /// Ends with what was done to the bytes, if there were any.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<ZcUsage>> {
        match self {
            Self::Ring(hold) => {
                while let Some(multi) = hold
                    && ready!(multi.poll_next(cx)).is_some()
                {}
                let outgoing = hold.take().and_then(|multi| multi.into_parts().ok());
                Poll::Ready(outgoing.and_then(|outgoing| outgoing.usage()))
            }
            Self::Queue(notice) => notice.poll(cx).map(Some),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // There is nothing to cancel: the bytes are on their way.
        if let Self::Ring(hold) = self
            && let Some(multi) = hold.take()
        {
            multi.release();
        }
    }
}

/// A place for the error queue's word about one send.
#[derive(Default)]
pub(super) struct Notice {
    usage: Cell<Option<ZcUsage>>,
    waker: RefCell<Option<Waker>>,
}

impl Notice {
    /// Gives the word; who is to be woken by it.
    pub(super) fn tell(&self, usage: ZcUsage) -> Option<Waker> {
        self.usage.set(Some(usage));
        self.waker.take()
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<ZcUsage> {
        if let Some(usage) = self.usage.get() {
            return Poll::Ready(usage);
        }
        let old = self.waker.replace(Some(cx.waker().clone()));
        drop(old);
        Poll::Pending
    }
}
