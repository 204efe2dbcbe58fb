//! Sending without copying, with the buffer coming back through a future of its own.
//!
//! A send says first how much went out. The kernel may go on reading the buffer until the peer has
//! acknowledged it, and says in the end, by a notification, that the buffer is free, and whether it was
//! copied after all. [`ZcSent`] has both: the result, and the [`ZcNotify`] that gives the buffer back.
//!
//! Each call goes down a ladder (`send`): on the ring out of a registered buffer, on the ring,
//! `MSG_ZEROCOPY` with its notifications in the socket's error queue (`error_queue`), a plain send.
//! What may be held at a time is bounded (`budget`). A buffer in use belongs to a shared pointer that
//! whoever may still read it has a clone of: the op table's entry, the error queue's, the notification.

mod budget;
mod error_queue;
mod message;
mod notify;
mod ranges;
mod send;

pub(crate) use budget::Book;
pub use notify::{ZcDone, ZcNotify, ZcSent, ZcUsage};
pub(crate) use send::{send, send_all, send_datagram, send_msg, send_msg_all};

use error_queue::ErrorQueue;
use std::rc::Rc;

use budget::Account;

/// What a socket that sends without copying has beside its descriptor.
#[derive(Default)]
pub(crate) struct OnSocket {
    account: Rc<Account>,
    queue: ErrorQueue,
}

impl OnSocket {
    /// See [`ErrorQueue::explains_error`].
    pub(crate) fn explains_error(&self, socket: &super::socket::Socket) -> bool {
        self.queue.explains_error(socket)
    }
}
