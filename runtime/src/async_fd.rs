//! Readiness of foreign descriptors, for libraries that bring sockets of their own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use crate::op;

/// A descriptor of somebody else's, to be waited for. It should be non-blocking: readiness may be
/// gone again when it is used.
#[derive(Debug)]
pub struct AsyncFd<T> {
    inner: Rc<T>,
}

impl<T: AsFd + 'static> AsyncFd<T> {
    /// Takes `inner` over. Nothing is registered before something is waited for.
    pub fn new(inner: T) -> Self {
        Self { inner: Rc::new(inner) }
    }

    /// What was taken over.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// What was taken over, back.
    ///
    /// # Errors
    /// Itself, while a wait that was dropped just now has yet to end.
    pub fn into_inner(self) -> Result<T, Self> {
        Rc::try_unwrap(self.inner).map_err(|inner| Self { inner })
    }

    /// Waits until there is something to read, or the end, or an error. Cancel safe.
    ///
    /// # Errors
    /// Those of `poll`.
    pub async fn readable(&self) -> io::Result<()> {
        self.poll(libc::POLLIN).await.map(drop)
    }

    /// Waits until there is room to write, or an error. Cancel safe.
    ///
    /// # Errors
    /// Those of `poll`.
    pub async fn writable(&self) -> io::Result<()> {
        self.poll(libc::POLLOUT).await.map(drop)
    }

    /// Waits for any of the `POLL*` `events`, or an error or hang-up, and tells which. Cancel safe.
    ///
    /// # Errors
    /// Those of `poll`.
    pub async fn poll(&self, events: i16) -> io::Result<i16> {
        op::poll(self.inner.clone(), events).await
    }

    /// Calls `f` when the descriptor is ready for `events`, again and again while it says
    /// `WouldBlock`; gives its answer. Cancel safe if `f` is.
    ///
    /// # Errors
    /// Those of `f`, and of `poll`.
    pub async fn io<R>(
        &self,
        events: i16,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match f(&self.inner) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.poll(events).await?;
                }
                answer => return answer,
            }
        }
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}
