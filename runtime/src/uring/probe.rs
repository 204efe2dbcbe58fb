//! What a ring that could be set up can do: its opcodes, and whether it works at all.

#![allow(unsafe_code, reason = "puts a no-op on the ring")]

use std::io;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode};
use ringway_driver::OpKind;

use super::sqe;
use crate::features::OpSet;

/// The operations that this kernel's ring takes.
///
/// # Errors
/// Those of `IORING_REGISTER_PROBE`.
pub(super) fn supported_ops(ring: &IoUring) -> io::Result<OpSet> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let supported = |kind: &OpKind| sqe::opcode(*kind).is_some_and(|op| probe.is_supported(op));
    Ok(OpKind::ALL.into_iter().filter(supported).collect())
}

/// Sends a no-op around. A system call filter may allow a ring's set-up and forbid its use.
///
/// # Errors
/// Those of `io_uring_enter`; `TimedOut` if the completion does not come.
pub(super) fn round_trip(ring: &mut IoUring) -> io::Result<()> {
    // SAFETY: a no-op names no memory.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    pushed.map_err(|_| io::Error::other("a new ring has no room"))?;
    let limit = Timespec::new().sec(1);
    ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit))?;
    match ring.completion().next() {
        Some(completion) if completion.result() == 0 => Ok(()),
        Some(completion) => Err(io::Error::from_raw_os_error(-completion.result())),
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}
