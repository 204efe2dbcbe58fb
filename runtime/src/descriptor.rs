//! A descriptor that readiness says something about, and who has been told of it: what is beneath
//! sockets and pipes. Beside closing it knows one operation, to wait.

#![allow(unsafe_code, reason = "takes a descriptor out of what shares it")]

use std::cell::OnceCell;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::rc::{Rc, Weak};

use crate::net::zerocopy;
use crate::op;
use crate::runtime::{self, Core};

/// A descriptor; clones are the same one. It is non-blocking, for readiness may lie.
#[derive(Clone)]
pub(crate) struct Descriptor(Rc<Shared>);

/// The descriptor, and the runtime that knows about it.
struct Shared {
    fd: OwnedFd,
    /// Set by the first operation, where the driver wants to be told of the descriptor's end.
    adopted_by: OnceCell<Weak<Core>>,
    /// What a socket's zero-copy sends remember: here, because here is the one allocation that clones
    /// share.
    zero_copy: OnceCell<Box<zerocopy::OnSocket>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Shared {
    fn forget(&self) {
        if let Some(core) = self.adopted_by.get().and_then(Weak::upgrade) {
            core.ops.forget(self.fd.as_raw_fd());
        }
    }
}

impl Descriptor {
    /// Takes a non-blocking descriptor over.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(Rc::new(Shared { fd, adopted_by: OnceCell::new(), zero_copy: OnceCell::new() }))
    }

    /// Takes a non-blocking descriptor over that may be ready again without an event: the driver asks
    /// anew each time.
    pub(crate) fn without_events(fd: OwnedFd) -> Self {
        let adopted_by = OnceCell::from(Weak::new());
        Self(Rc::new(Shared { fd, adopted_by, zero_copy: OnceCell::new() }))
    }

    /// The descriptor alone, for another runtime.
    ///
    /// # Errors
    /// Itself, while operations or clones hold it.
    pub(crate) fn into_fd(self) -> Result<OwnedFd, Self> {
        let mut shared = Rc::try_unwrap(self.0).map_err(Self)?;
        shared.forget();
        drop((shared.zero_copy.take(), shared.adopted_by.take()));
        let shared = ManuallyDrop::new(shared);
        // SAFETY: the value is not used again, nor dropped; the other fields are empty.
        Ok(unsafe { ptr::read(&raw const shared.fd) })
    }

    /// What zero-copy sends on it remember, once there are any.
    pub(crate) fn zero_copy(&self) -> &OnceCell<Box<zerocopy::OnSocket>> {
        &self.0.zero_copy
    }

    /// Whether operations or clones hold it too.
    pub(crate) fn is_shared(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    /// A clone for an operation's parts, which the driver has been told about.
    pub(crate) fn for_operation(&self) -> Self {
        self.adopted();
        self.clone()
    }

    /// The number, of which the driver has been told. A future that is made before the first poll, maybe
    /// outside of a runtime, asks for it when it describes its operation; the first time is at the first poll
    /// and outside of any borrow.
    pub(crate) fn adopted(&self) -> RawFd {
        self.0.adopted_by.get_or_init(|| {
            let core = runtime::current();
            if core.ops.adopt(self.as_raw_fd()) { Rc::downgrade(&core) } else { Weak::new() }
        });
        self.as_raw_fd()
    }

    /// Waits for any of the `POLL*` `events`, or an error or hang-up; tells which. Moves nothing.
    pub(crate) async fn poll(&self, events: i16) -> io::Result<i16> {
        op::poll(self.for_operation(), events).await
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}
