//! What a driver promises.

#![allow(
    unsafe_code,
    reason = "declares `Driver::submit`, the one unsafe contract between the layers"
)]

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crate::{Completion, Identity, Op, Token};

/// Takes operations in and gives completions back. One driver belongs to one thread.
///
/// Every submitted operation gets at least one completion, and exactly one whose `more` is false,
/// however it ends: done, failed, cancelled, or not supported by this driver (`-ENOSYS`,
/// `-EOPNOTSUPP` or `-EINVAL`, as the kernel would say). A full queue is never an error: a driver
/// holds back what does not fit and submits it later.
pub trait Driver {
    /// Starts `op`, on behalf of `credentials` if there are any.
    ///
    /// # Safety
    /// Everything `op` points at, and every descriptor it names, stays valid until a completion
    /// that carries `token` with `more == false` has been taken from [`Driver::turn`]; memory that the
    /// operation writes to is not touched by anyone else until then. `token` names no other
    /// operation meanwhile.
    unsafe fn submit(&mut self, token: Token, op: Op, credentials: Option<Identity>);

    /// Asks for `token` to end early. Best effort: its completion still comes, and may be a success.
    fn cancel(&mut self, token: Token);

    /// How many operations still owe their last completion.
    fn in_flight(&self) -> usize;

    /// Sends what waits to be sent, sleeps until there is a completion, a wake-up or `timeout` has
    /// passed (`None`: without limit; zero: does not sleep), and appends completions to `out`.
    /// It may return early with nothing.
    ///
    /// # Errors
    /// Only when the driver itself is broken; an interrupted sleep is not an error.
    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()>;

    /// The owner of `fd` will call [`Driver::forget`] before it closes it, or gives it away.
    ///
    /// A driver may then keep what it knows about the descriptor from one operation to the next.
    /// Nobody has to promise this; operations on other descriptors work as well, and may cost more.
    /// It does not block, and starts nothing. `fd` is open; adopting it twice is forgetting it in between.
    fn adopt(&mut self, fd: RawFd) {
        let _ = fd;
    }

    /// Ends what [`Driver::adopt`] began: operations that still wait for `fd` to become ready end with
    /// `-ECANCELED` (their completions come with the next turn), and nothing is kept about the number
    /// any more. Nothing happens to a descriptor that is not adopted.
    fn forget(&mut self, fd: RawFd) {
        let _ = fd;
    }

    /// A handle by which other threads end [`Driver::turn`]'s sleep.
    fn waker(&self) -> Waker;
}

/// Ends a driver's sleep from any thread.
pub type Waker = Arc<dyn Wake>;

/// See [`Waker`].
pub trait Wake: Send + Sync {
    /// The current or else the next sleep of [`Driver::turn`] ends at once.
    fn wake(&self);
}
