//! Operations as system calls.

#![allow(unsafe_code, reason = "makes the system calls")]

use ringway_driver::{Credentials, Op};

/// Runs `op` as a plain system call, which may block. The result, or a negated errno.
///
/// # Safety
/// As for [`Driver::submit`](ringway_driver::Driver::submit), for the length of the call.
#[must_use]
pub unsafe fn run(op: &Op) -> i32 {
    let _ = op;
    todo!()
}

/// Runs `op` if it can be done without blocking; `None` if it would block or has no such form.
///
/// # Safety
/// As for [`run`].
#[must_use]
pub unsafe fn try_now(op: &Op) -> Option<i32> {
    let _ = op;
    todo!()
}

/// Runs `f` as `credentials` says, on this thread only.
pub fn with_credentials(credentials: Option<&Credentials>, f: impl FnOnce() -> i32) -> i32 {
    crate::credentials::with_credentials(credentials, f)
}
