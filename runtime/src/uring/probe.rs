//! What a ring that could be set up can do: its opcodes, and whether it works at all.

#![allow(unsafe_code, reason = "puts trial entries on the ring")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode};
use ringway_driver::{Op, OpKind};

use super::provided::{self, Group};
use super::sqe;
use crate::features::{Feature, Mask, OpSet, Support};

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

/// Finds out what the list of opcodes does not say: the kernel's word on each, by trial.
pub(super) fn features(
    ring: &mut IoUring,
    ops: OpSet,
    mask: Mask,
    found: &mut Vec<(Feature, Support)>,
) {
    // Prepared before they look at the descriptor, so one that is no socket tells what is known of
    // the flags: EINVAL if they are not, ENOTSOCK if they are.
    let nothing: io::Result<OwnedFd> =
        rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).map_err(io::Error::from);
    let flags = |ring: &mut IoUring, op: Op| match &nothing {
        Ok(_) => knows_flags(ring, op),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    let fd = nothing.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let needs = |kind: OpKind| match ops.contains(kind) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::Unsupported, format!("no {kind:?}"))),
    };

    let buffers = mask.probe(Feature::ProvidedBuffers, || provided::trial(ring, false));
    let has_buffers = buffers.1 == Support::Found;
    let with_buffers = move || match has_buffers {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::Unsupported, "no ProvidedBuffers")),
    };
    found.push(buffers);
    found.push(mask.probe(Feature::IncrementalBuffers, || {
        with_buffers().and_then(|()| provided::trial(ring, true))
    }));
    found.push(mask.probe(Feature::MultishotAccept, || flags(ring, Op::AcceptMulti { fd })));
    let recv = mask.probe(Feature::MultishotRecv, || {
        with_buffers()?;
        flags(ring, Op::RecvMulti { fd, group: Group::TRIAL, bundle: false })
    });
    let has_recv = recv.1 == Support::Found;
    found.push(recv);
    found.push(mask.probe(Feature::RecvBundle, || {
        let has = has_recv && ring.params().is_feature_recvsend_bundle();
        has.then_some(()).ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }));
    found.push(mask.probe(Feature::ReportUsage, || {
        needs(OpKind::SendZc)?;
        let (buf, len) = (std::ptr::dangling(), 0);
        flags(ring, Op::SendZc { fd, buf, len, flags: 0, fixed: None })
    }));
    found.push(mask.probe(Feature::FixedBuffers, || {
        ring.submitter().register_buffers_sparse(super::FIXED_MAX.into())
    }));
    found.push(mask.probe(Feature::Personality, || {
        let number = ring.submitter().register_personality()?;
        // A security module may allow the one and not the other.
        let result = run(ring, &opcode::Nop::new().build().personality(number));
        ring.submitter().unregister_personality(number)?;
        match result? {
            0 => Ok(()),
            result => Err(io::Error::from_raw_os_error(-result)),
        }
    }));
    found.push(mask.probe(Feature::MsgRing, || msg_ring(ring)));
}

/// Whether the kernel takes `op` with its flags, told by its answer to a descriptor of no use.
fn knows_flags(ring: &mut IoUring, op: Op) -> io::Result<()> {
    let entry = sqe::encode(&op, sqe::REPORT_USAGE);
    let entry = entry.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    match run(ring, &entry)? {
        result if result == -libc::ENOTSOCK => Ok(()),
        result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
        _ => Ok(()),
    }
}

/// Sends a message to the ring itself.
fn msg_ring(ring: &mut IoUring) -> io::Result<()> {
    let to = io_uring::types::Fd(ring.as_raw_fd());
    let entry = opcode::MsgRingData::new(to, 0, TRIAL, None).build();
    match run(ring, &entry)? {
        0 => Ok(()),
        result => Err(io::Error::from_raw_os_error(-result)),
    }
}

/// User data of trials.
const TRIAL: u64 = 0xf << 60;

/// Runs one entry that names no memory, to its last completion; gives the first one's result.
pub(super) fn run(ring: &mut IoUring, entry: &Entry) -> io::Result<i32> {
    let entry = entry.clone().user_data(TRIAL);
    // SAFETY: `entry` names no memory.
    unsafe { ring.submission().push(&entry) }
        .map_err(|_| io::Error::other("a new ring has no room"))?;
    let limit = Timespec::new().sec(1);
    let mut first = None;
    loop {
        ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit))?;
        for completion in ring.completion() {
            let result = *first.get_or_insert(completion.result());
            if !cqueue::more(completion.flags()) {
                return Ok(result);
            }
        }
        if first.is_none() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}
