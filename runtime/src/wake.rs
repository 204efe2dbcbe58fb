//! Waking where more than one future waits, or where there is nobody to panic to.
//!
//! A waker may be anybody's code, and panic. Its panic goes on to whoever called, out of `block_on` in
//! the end, as a future's own does: it is a fault of the program, and hidden it would be a task that
//! hangs. But it takes nobody else's wake-up with it.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;
use std::thread;

/// Wakes all of `wakers`, and then goes on with the first one's panic, if there was any. Not while the
/// thread is panicking already: a second panic would end the process.
pub(crate) fn all(wakers: impl IntoIterator<Item = Waker>) {
    let mut first = None;
    for waker in wakers {
        match catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            Ok(()) => {}
            Err(panic) if first.is_none() => first = Some(panic),
            Err(panic) => forget(panic),
        }
    }
    match first {
        Some(panic) if !thread::panicking() => resume_unwind(panic),
        Some(panic) => forget(panic),
        None => {}
    }
}

/// Calls `f`, where a panic would reach nobody, or stop what has to be done: then it is over with `f`.
pub(crate) fn quietly<R>(f: impl FnOnce() -> R) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
        forget(panic);
    }
}

/// Dropping what somebody panicked with is their code once more, which could panic once more.
fn forget(panic: Box<dyn Any + Send>) {
    mem::forget(panic);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts, and then panics if it is odd.
    struct Bad(AtomicUsize, usize);

    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(self.1.is_multiple_of(2), "on purpose: {}", self.1);
        }
    }

    #[test]
    fn a_waker_that_panics_takes_no_other_wake_up_with_it() {
        let wakers: Vec<_> = (0..6).map(|number| Arc::new(Bad(0.into(), number))).collect();
        let panicked = catch_unwind(|| all(wakers.iter().cloned().map(Waker::from))).unwrap_err();
        assert_eq!(panicked.downcast_ref::<String>().unwrap(), "on purpose: 1");
        assert!(wakers.iter().all(|waker| waker.0.load(Ordering::Relaxed) == 1));
    }
}
