//! Which ways an operation has to run, and in which order: one table, with its reasons.
//!
//! Times are of one kernel (6.18), as system call against ring.

#![allow(unsafe_code, reason = "runs operations as system calls")]

use std::fmt;

use ringway_driver::{Identity, Op, OpKind};
use ringway_epoll::syscall;

use crate::features::OpSet;
use crate::policy::Policy;

/// A way to run an operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rung {
    /// The system call at once, in the form that does not block; if it would, the next rung.
    Inline,
    /// An entry on the ring.
    Ring,
    /// Tried, and tried again when epoll says that the descriptor is ready.
    Ready,
    /// A thread that may block.
    Pool,
    /// An entry on the ring that one of the ring's threads carries out, and nobody tries before: what is asked for by
    /// [`File::apart`](crate::fs::File::apart). No operation has it in its order by itself.
    Worker,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inline => "inline",
            Self::Ring => "ring",
            Self::Ready => "ready",
            Self::Pool => "pool",
            Self::Worker => "worker",
        })
    }
}

/// Some rungs in the order of trying.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rungs([Option<Rung>; 4]);

impl Rungs {
    pub(crate) fn iter(self) -> impl Iterator<Item = Rung> {
        self.0.into_iter().flatten()
    }

    pub(crate) fn first(self) -> Option<Rung> {
        self.0[0]
    }

    /// What to try after `rung`.
    fn after(self, rung: Rung) -> Option<Rung> {
        let rung = if rung == Rung::Worker { Rung::Ring } else { rung };
        self.iter().skip_while(|&other| other != rung).nth(1)
    }
}

impl FromIterator<Rung> for Rungs {
    /// The first four; there are no more.
    fn from_iter<I: IntoIterator<Item = Rung>>(rungs: I) -> Self {
        let mut rungs = rungs.into_iter();
        Self([rungs.next(), rungs.next(), rungs.next(), rungs.next()])
    }
}

/// The table, for one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    rungs: [Rungs; OpKind::ALL.len()],
    /// Of operations on somebody's behalf.
    for_somebody: [Rungs; OpKind::ALL.len()],
    switches_here: bool,
    unbound_workers: bool,
}

impl Ladder {
    /// `ring` is what the ring takes, empty without one, and `personalities` whether it runs
    /// operations on somebody's behalf. `switches_here`: the runtime's thread may take on another
    /// identity, because nothing of its own can run meanwhile.
    pub(crate) fn new(
        ring: OpSet,
        personalities: bool,
        switches_here: bool,
        policy: &Policy,
    ) -> Self {
        let rungs = OpKind::ALL.map(|kind| {
            let here = |rung: Rung| rung != Rung::Ring || ring.contains(kind);
            ordered(kind, policy, default_order(kind).iter().copied().filter(|&rung| here(rung)))
        });
        let for_somebody = OpKind::ALL.map(|kind| {
            let here = |rung: Rung| match rung {
                Rung::Ring => personalities && ring.contains(kind),
                Rung::Inline => switches_here,
                Rung::Ready | Rung::Pool | Rung::Worker => true,
            };
            ordered(kind, policy, order_for_somebody(kind).filter(|&rung| here(rung)))
        });
        Self { rungs, for_somebody, switches_here, unbound_workers: true }
    }

    /// Whether the ring's threads run elsewhere than this one.
    pub(crate) fn with_unbound_workers(self, unbound_workers: bool) -> Self {
        Self { unbound_workers, ..self }
    }

    /// The rungs of operations of `kind`.
    pub(crate) fn rungs(&self, kind: OpKind) -> Rungs {
        self.rungs[kind as usize]
    }

    fn rungs_of(&self, op: &Op, for_somebody: bool) -> Rungs {
        let table = if for_somebody { &self.for_somebody } else { &self.rungs };
        table[op.kind() as usize]
    }

    /// The rung to begin with.
    pub(crate) fn first(&self, op: &Op, for_somebody: bool) -> Option<Rung> {
        let first = self.rungs_of(op, for_somebody).first();
        self.adapted(first, op, for_somebody)
    }

    /// The rung on which `op`, which is about a file, does not take this thread's time.
    pub(crate) fn apart(&self, op: &Op, for_somebody: bool) -> Rung {
        let on_ring = self.rungs_of(op, for_somebody).iter().any(|rung| rung == Rung::Ring);
        if on_ring && self.unbound_workers { Rung::Worker } else { Rung::Pool }
    }

    /// The rung to go to when `rung` cannot.
    pub(crate) fn after(&self, rung: Rung, op: &Op, for_somebody: bool) -> Option<Rung> {
        let rungs = self.rungs_of(op, for_somebody);
        // A stream's last rung is called the pool in the table.
        let in_table = rung == Rung::Worker || rungs.iter().any(|other| other == rung);
        let rung = if in_table { rung } else { Rung::Pool };
        self.adapted(rungs.after(rung), op, for_somebody)
    }

    /// What `rung` of the table means for this operation.
    fn adapted(&self, rung: Option<Rung>, op: &Op, for_somebody: bool) -> Option<Rung> {
        match rung? {
            // Waiting in epoll means trying on this thread.
            Rung::Pool if is_stream(op) && (self.switches_here || !for_somebody) => {
                Some(Rung::Ready)
            }
            // The ring runs it on this thread, where a pipe without readers raises SIGPIPE.
            Rung::Ring if is_stream_write(op) => {
                self.after(Rung::Ring, op, for_somebody).or(Some(Rung::Ready))
            }
            rung => Some(rung),
        }
    }
}

/// What `policy` prefers of the `possible` rungs, or if it prefers none of them, all in their order.
fn ordered(kind: OpKind, policy: &Policy, possible: impl Iterator<Item = Rung>) -> Rungs {
    let possible: Rungs = possible.collect();
    let is_possible = |rung: &Rung| possible.iter().any(|other| other == *rung);
    let preferred = policy.preferred(kind).unwrap_or_default();
    let preferred: Rungs = preferred.iter().filter(is_possible).collect();
    if preferred.first().is_some() { preferred } else { possible }
}

/// Whether a read or write is about a stream, which readiness says something about.
fn is_stream(op: &Op) -> bool {
    let is_read =
        matches!(*op, Op::Read { offset: u64::MAX, .. } | Op::ReadV { offset: u64::MAX, .. });
    is_read || is_stream_write(op)
}

fn is_stream_write(op: &Op) -> bool {
    matches!(*op, Op::Write { offset: u64::MAX, .. } | Op::WriteV { offset: u64::MAX, .. })
}

/// The order of trying where everything is there. Also says which rungs an operation has at all.
fn default_order(kind: OpKind) -> &'static [Rung] {
    use Rung::{Inline, Pool, Ready, Ring};
    match kind {
        OpKind::Nop | OpKind::Poll => &[Ring, Ready],
        // The ring tries at once by itself, and many of them share one system call.
        OpKind::Accept
        | OpKind::Connect
        | OpKind::Recv
        | OpKind::Send
        | OpKind::RecvMsg
        | OpKind::SendMsg => &[Ring, Ready],
        // Other ways to the same end are other operations.
        OpKind::AcceptMulti | OpKind::RecvMulti | OpKind::SendZc | OpKind::SendMsgZc => &[Ring],
        // Only memory is touched.
        OpKind::Shutdown => &[Inline],
        OpKind::Statfs => &[Inline, Pool],
        // The inode is in memory; a journal may make it wait, rarely and shortly.
        OpKind::SetTimes | OpKind::Chmod => &[Inline, Pool],
        // The value is in the inode, or else in one block beside it.
        OpKind::GetXattr => &[Inline, Ring, Pool],
        OpKind::ListXattr => &[Inline, Pool],
        // An inode in memory, data in the page cache, a name in the directory cache: 1.1 µs for statx,
        // which the ring sends to a kernel thread (15 µs); 2.2 µs for open and close, against 3.2.
        OpKind::Statx | OpKind::OpenAt => &[Inline, Ring, Pool],
        OpKind::Read | OpKind::ReadV | OpKind::ReadFixed => &[Inline, Ring, Pool],
        // Of an open inode only, like statx; a path goes to the pool.
        OpKind::AccessAt => &[Inline, Pool],
        // The ring tries the same by itself.
        OpKind::Write | OpKind::WriteV | OpKind::WriteFixed => &[Ring, Inline, Pool],
        // The ring always sends these to kernel threads: 8.7 µs for 64 KiB to a pipe and on, 1.9
        // inline. A file's part that is not in the page cache is worth the thread.
        OpKind::Splice => &[Inline, Ring, Pool],
        OpKind::Tee => &[Inline],
        // May wait for a device.
        OpKind::Close
        | OpKind::Append
        | OpKind::Fsync
        | OpKind::SyncRange
        | OpKind::Advise
        | OpKind::Truncate
        | OpKind::Allocate
        | OpKind::MkdirAt
        | OpKind::UnlinkAt
        | OpKind::RenameAt
        | OpKind::LinkAt
        | OpKind::SymlinkAt
        | OpKind::SetXattr => &[Ring, Pool],
        // The ring has no form for these.
        OpKind::ReadlinkAt | OpKind::Getdents | OpKind::RemoveXattr => &[Pool],
    }
}

/// The same for operations on somebody's behalf. To the ring an identity is a number; a thread pays 22
/// µs for the way there and back. So the ring is first, even where it takes a thread of the kernel's.
/// Open and close take 4 µs there, 39 inline and 67 on the pool; an attribute 7, 25 and 43 (the least
/// of eleven rounds on a busy machine).
fn order_for_somebody(kind: OpKind) -> impl Iterator<Item = Rung> {
    let order = match kind {
        // ext4 refuses to write without blocking: the switch would be for nothing.
        OpKind::Write | OpKind::WriteV | OpKind::WriteFixed => &[Rung::Ring, Rung::Pool],
        _ => default_order(kind),
    };
    let of = move |is_ring: bool| {
        order.iter().copied().filter(move |&rung| (rung == Rung::Ring) == is_ring)
    };
    of(true).chain(of(false))
}

/// Runs `op` at once if it does not block.
///
/// # Safety
/// As for [`Driver::submit`](ringway_driver::Driver::submit), for the length of the call.
#[inline(always)]
pub(crate) unsafe fn run_inline(op: &Op, credentials: Option<&Identity>) -> Option<i32> {
    let would_block = -libc::EAGAIN;
    // Without a form that could say it would block, but quick (see the table).
    let is_quick = matches!(op, Op::GetXattr { .. } | Op::ListXattr { .. });
    // SAFETY: the caller's promise.
    if credentials.is_some() && !is_quick && !unsafe { syscall::has_form_now(op) } {
        return None;
    }
    let result = syscall::with_credentials(credentials, || match is_quick {
        // SAFETY: the caller's promise.
        true => unsafe { syscall::run(op) },
        // SAFETY: the caller's promise.
        false => unsafe { syscall::try_now(op) }.unwrap_or(would_block),
    });
    let is_answer = result != would_block || says_try_again(op);
    is_answer.then_some(result)
}

/// Whether "try again" is an answer of `op`'s own: a pipe or socket is not ready, and no other rung can
/// change that.
fn says_try_again(op: &Op) -> bool {
    match *op {
        Op::Splice { from_offset, to_offset, resident, .. } => {
            resident || (from_offset, to_offset) == (u64::MAX, u64::MAX)
        }
        Op::Tee { .. } => true,
        _ => false,
    }
}

/// Whether a rung's answer says nothing about the operation, only that it cannot run this way: then
/// the next rung's answer counts. Errors that are the operation's own come again from there, and an
/// operation that is refused has done nothing.
pub(crate) fn is_refusal(result: i32) -> bool {
    matches!(
        -result,
        // An opcode, a flag or a file that the ring does not take.
        libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS
        // No memory for the request, or none that may be locked.
        | libc::ENOMEM
        // A stream with O_NONBLOCK, which the ring does not wait for.
        | libc::EAGAIN
    )
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    const READ: Op = Op::Read { fd: -1, buf: ptr::null_mut(), len: 0, offset: 0 };
    const STREAM: Op = Op::Read { fd: -1, buf: ptr::null_mut(), len: 0, offset: u64::MAX };
    const RECV: Op = Op::Recv { fd: -1, buf: ptr::null_mut(), len: 0, flags: 0 };

    fn all() -> OpSet {
        OpKind::ALL.into_iter().collect()
    }

    fn climb(ladder: &Ladder, op: &Op, for_somebody: bool) -> Vec<Rung> {
        std::iter::successors(ladder.first(op, for_somebody), |&rung| {
            ladder.after(rung, op, for_somebody)
        })
        .collect()
    }

    #[test]
    fn without_a_ring_files_go_to_the_pool_and_streams_wait_until_ready() {
        let ladder = Ladder::new(OpSet::default(), false, true, &Policy::new());
        assert_eq!(climb(&ladder, &READ, false), [Rung::Inline, Rung::Pool]);
        assert_eq!(climb(&ladder, &RECV, false), [Rung::Ready]);
        assert_eq!(climb(&ladder, &STREAM, false), [Rung::Inline, Rung::Ready]);
    }

    #[test]
    fn what_is_left_to_others_goes_to_the_rings_threads_or_else_to_the_pool() {
        let with = Ladder::new(all(), true, true, &Policy::new());
        let without = Ladder::new(OpSet::default(), false, true, &Policy::new());
        let pool_only = Policy::new().prefer(OpKind::Read, &[Rung::Pool]);
        let preferred = Ladder::new(all(), true, true, &pool_only);
        assert_eq!(with.apart(&READ, false), Rung::Worker);
        assert_eq!(without.apart(&READ, false), Rung::Pool);
        assert_eq!(with.clone().with_unbound_workers(false).apart(&READ, false), Rung::Pool);
        assert_eq!(preferred.apart(&READ, false), Rung::Pool);
        assert_eq!(with.after(Rung::Worker, &READ, false), Some(Rung::Pool));
        assert_eq!(without.after(Rung::Pool, &READ, false), None);
    }

    #[test]
    fn no_write_to_a_stream_is_on_the_ring() {
        let write = Op::Write { fd: -1, buf: ptr::null(), len: 0, offset: u64::MAX };
        let on_ring = Policy::new().prefer(OpKind::Write, &[Rung::Ring]);
        for (policy, rungs) in
            [(Policy::new(), [Rung::Inline, Rung::Ready].as_slice()), (on_ring, &[Rung::Ready])]
        {
            assert_eq!(climb(&Ladder::new(all(), true, true, &policy), &write, false), rungs);
        }
        let ladder = Ladder::new(all(), true, true, &Policy::new());
        assert_eq!(climb(&ladder, &STREAM, false), [Rung::Inline, Rung::Ring, Rung::Ready]);
    }

    #[test]
    fn what_runs_for_somebody_else_needs_personalities_on_the_ring() {
        let without = Ladder::new(all(), false, true, &Policy::new());
        assert_eq!(climb(&without, &READ, true), [Rung::Inline, Rung::Pool]);
        let with = Ladder::new(all(), true, true, &Policy::new());
        assert_eq!(climb(&with, &READ, true), [Rung::Ring, Rung::Inline, Rung::Pool]);
        assert_eq!(climb(&with, &READ, false), [Rung::Inline, Rung::Ring, Rung::Pool]);
    }

    #[test]
    fn a_thread_whose_ring_may_run_things_at_any_time_stays_who_it_is() {
        let mut policy = Policy::new();
        for kind in OpKind::ALL {
            policy = policy.prefer(kind, &[Rung::Inline]);
        }
        for (policy, personalities) in
            [(Policy::new(), false), (Policy::new(), true), (policy.clone(), false), (policy, true)]
        {
            let ladder = Ladder::new(all(), personalities, false, &policy);
            for op in [READ, STREAM, Op::Chmod { fd: -1, mode: 0 }] {
                let rungs = climb(&ladder, &op, true);
                assert!(!rungs.is_empty(), "{op:?}");
                assert!(!rungs.contains(&Rung::Inline), "{op:?}: {rungs:?}");
                assert!(!rungs.contains(&Rung::Ready), "{op:?}: {rungs:?}");
            }
        }
    }

    #[test]
    fn a_write_for_somebody_pays_for_one_switch_only() {
        let write = Op::Write { fd: -1, buf: ptr::null(), len: 0, offset: 0 };
        let ladder = Ladder::new(OpSet::default(), false, true, &Policy::new());
        assert_eq!(ladder.first(&write, false), Some(Rung::Inline));
        assert_eq!(climb(&ladder, &write, true), [Rung::Pool]);
    }

    #[test]
    fn a_policy_reorders_and_leaves_out_but_adds_nothing() {
        let policy = Policy::new()
            .prefer(OpKind::Read, &[Rung::Pool, Rung::Ring])
            .prefer(OpKind::Recv, &[Rung::Pool]);
        let ladder = Ladder::new(all(), false, true, &policy);
        assert_eq!(climb(&ladder, &READ, false), [Rung::Pool, Rung::Ring]);
        assert_eq!(climb(&ladder, &RECV, false), [Rung::Ring, Rung::Ready]);
    }

    #[test]
    fn every_operation_has_a_way_without_a_ring_or_another_operation_in_its_place() {
        let ladder = Ladder::new(OpSet::default(), false, true, &Policy::new());
        let without: Vec<_> =
            OpKind::ALL.into_iter().filter(|&kind| ladder.rungs(kind).first().is_none()).collect();
        use OpKind::{AcceptMulti, RecvMulti, SendMsgZc, SendZc};
        assert_eq!(without, [AcceptMulti, RecvMulti, SendZc, SendMsgZc]);
    }
}
