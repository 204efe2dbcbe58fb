//! Which tasks are the running thread's.

#![allow(unsafe_code, reason = "the thread's tasks are found by a raw pointer, without counting")]

use std::cell::Cell;
use std::ptr;

use super::Tasks;
use crate::sync::local;

local!(CURRENT: Cell<*const Tasks> = Cell::new(ptr::null()));

/// Calls `f`, during which `tasks` are the thread's.
pub(super) fn within<R>(tasks: &Tasks, f: impl FnOnce() -> R) -> R {
    struct Before(*const Tasks);
    impl Drop for Before {
        fn drop(&mut self) {
            CURRENT.with(|current| current.set(self.0));
        }
    }
    let _before = Before(CURRENT.with(|current| current.replace(tasks)));
    f()
}

/// Calls `f` with the thread's tasks; with none outside of [`within`].
#[inline]
pub(super) fn with<R>(f: impl FnOnce(Option<&Tasks>) -> R) -> R {
    let current = CURRENT.with(Cell::get);
    // SAFETY: null, or the tasks that the innermost `within` on this thread borrows: it puts the
    // pointer before it back when it returns or unwinds, and has done neither while we run.
    f(unsafe { current.as_ref() })
}
