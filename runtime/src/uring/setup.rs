//! Setting a ring up: the best flags and size that this kernel, and the limits on this process, allow.

use std::fmt;
use std::fs;
use std::io;

use io_uring::{Builder, IoUring};
use ringway_driver::OpKind;

use super::{probe, workers};
use crate::features::{Feature, Mask, RingFeatures, Support, is_found};

/// Submission entries to begin with: a batch of a few hundred operations per system call.
const ENTRIES: u32 = 256;

/// The smallest ring worth having.
const ENTRIES_MIN: u32 = 64;

/// Completion entries per submission entry: far more operations wait than are sent in one batch.
const CQ_FACTOR: u32 = 4;

/// Flags to set rings up with, best first. The last is for kernels before 5.18.
const ATTEMPTS: [&[SetupFlag]; 6] = {
    use SetupFlag::{
        Clamp, CoopTaskrun, CqSize, DeferTaskrun, NoSqarray, SingleIssuer, SubmitAll, TaskrunFlag,
    };
    [
        // Completions are gathered until this thread asks for them, instead of interrupting it.
        &[SingleIssuer, DeferTaskrun, TaskrunFlag, SubmitAll, NoSqarray, CqSize, Clamp],
        &[SingleIssuer, DeferTaskrun, TaskrunFlag, SubmitAll, CqSize, Clamp],
        // Or they at least wait for this thread's next system call. Without the one issuer, from which
        // nothing is gained here: another thread tells such a ring of identities (`personalities`).
        &[CoopTaskrun, TaskrunFlag, SubmitAll, NoSqarray, CqSize, Clamp],
        &[CoopTaskrun, TaskrunFlag, SubmitAll, CqSize, Clamp],
        &[SubmitAll, CqSize, Clamp],
        &[CqSize, Clamp],
    ]
};

/// The `IORING_SETUP_*` flag of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetupFlag {
    SingleIssuer,
    DeferTaskrun,
    CoopTaskrun,
    TaskrunFlag,
    SubmitAll,
    NoSqarray,
    CqSize,
    Clamp,
}

/// Where the thread sleeps while the ring works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sleep {
    InRing,
    InEpoll,
}

impl Sleep {
    /// Work that is put off until this thread asks for it does not wake an epoll set that has the ring
    /// in it (seen on 6.18): it would sleep on beside a ring with something to tell.
    fn goes_with(self, flags: &[SetupFlag]) -> bool {
        self == Self::InRing || !flags.contains(&SetupFlag::DeferTaskrun)
    }
}

/// A ring that works, and what it can do. The process may run on `cpus` processors, wherever this thread may.
///
/// # Errors
/// When there is none to be had, with the step that failed.
pub(super) fn open(
    sleep: Sleep,
    mask: Mask,
    cpus: usize,
) -> Result<(IoUring, RingFeatures), SetupError> {
    let (mut ring, flags) = create(sleep, mask)?;
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
        let error = io::Error::new(io::ErrorKind::Unsupported, "older than Linux 5.11");
        return Err(SetupError::new("features", error));
    }
    let ops = probe::supported_ops(&ring).map_err(|error| SetupError::new("probe", error))?;
    probe::round_trip(&mut ring).map_err(|error| SetupError::new("enter", error))?;
    workers::limit(&ring);
    let mut found = flags_found(flags, sleep, mask);
    probe::features(&mut ring, ops, mask, &mut found);
    let leave = || workers::leave_bound_thread(&mut ring, cpus);
    found.push(mask.probe(Feature::UnboundWorkers, leave));
    let entries = ring.params().sq_entries();
    let ops = mask.of_ops(ops).retain(|kind| is_whole(kind, &found));
    Ok((ring, RingFeatures { entries, ops, found }))
}

/// Whether the kernel has the flags too that make an opcode this operation.
fn is_whole(kind: OpKind, found: &[(Feature, Support)]) -> bool {
    let has = |feature| is_found(found, feature);
    match kind {
        OpKind::AcceptMulti => has(Feature::MultishotAccept),
        OpKind::RecvMulti => has(Feature::MultishotRecv),
        OpKind::ReadFixed | OpKind::WriteFixed => has(Feature::FixedBuffers),
        _ => true,
    }
}

/// What became of the flags that are features.
fn flags_found(taken: &[SetupFlag], sleep: Sleep, mask: Mask) -> Vec<(Feature, Support)> {
    let all = ATTEMPTS.into_iter().flatten().filter_map(|flag| Some((flag.feature()?, *flag)));
    let mut found: Vec<(Feature, Support)> = Vec::new();
    for (feature, flag) in all {
        let support = match flag {
            _ if taken.contains(&flag) => Support::Found,
            _ if mask.hides(feature) => Support::Masked,
            SetupFlag::DeferTaskrun if sleep == Sleep::InEpoll => {
                Support::Missing("it does not go with sleeping in epoll".into())
            }
            SetupFlag::SingleIssuer
                if sleep == Sleep::InEpoll || mask.hides(Feature::DeferTaskrun) =>
            {
                Support::Missing("of no use without DeferTaskrun".into())
            }
            SetupFlag::CoopTaskrun if taken.contains(&SetupFlag::DeferTaskrun) => {
                Support::Missing("DeferTaskrun is better".into())
            }
            _ => Support::Missing("the kernel refused it".into()),
        };
        if !found.iter().any(|(other, _)| *other == feature) {
            found.push((feature, support));
        }
    }
    found
}

fn create(sleep: Sleep, mask: Mask) -> Result<(IoUring, &'static [SetupFlag]), SetupError> {
    let masked = |flag: &SetupFlag| flag.feature().is_some_and(|feature| mask.hides(feature));
    let mut last = io::Error::from(io::ErrorKind::Unsupported);
    for flags in ATTEMPTS.into_iter().filter(|flags| sleep.goes_with(flags)) {
        if flags.iter().any(masked) {
            continue;
        }
        let mut entries = ENTRIES;
        while entries >= ENTRIES_MIN {
            last = match build(flags, entries) {
                Ok(ring) => return Ok((ring, flags)),
                Err(error) => error,
            };
            match last.raw_os_error() {
                Some(libc::ENOMEM) => entries /= 2,
                // Not a matter of flags.
                Some(libc::EPERM | libc::ENOSYS) => return Err(SetupError::new("setup", last)),
                _ => break,
            }
        }
    }
    Err(SetupError::new("setup", last))
}

fn build(flags: &[SetupFlag], entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    // A forked child has no use for the parent's ring, and would only confuse it.
    builder.dontfork();
    for flag in flags {
        flag.set(&mut builder, entries);
    }
    builder.build(entries)
}

impl SetupFlag {
    /// The feature that this flag is; `None` for those that only make others useful.
    fn feature(self) -> Option<Feature> {
        match self {
            Self::SingleIssuer => Some(Feature::SingleIssuer),
            Self::DeferTaskrun => Some(Feature::DeferTaskrun),
            Self::CoopTaskrun => Some(Feature::CoopTaskrun),
            Self::SubmitAll => Some(Feature::SubmitAll),
            Self::NoSqarray => Some(Feature::NoSqarray),
            Self::TaskrunFlag | Self::CqSize | Self::Clamp => None,
        }
    }

    fn set(self, builder: &mut Builder, entries: u32) {
        match self {
            Self::SingleIssuer => builder.setup_single_issuer(),
            Self::DeferTaskrun => builder.setup_defer_taskrun(),
            Self::CoopTaskrun => builder.setup_coop_taskrun(),
            Self::TaskrunFlag => builder.setup_taskrun_flag(),
            Self::SubmitAll => builder.setup_submit_all(),
            Self::NoSqarray => builder.setup_no_sqarray(),
            Self::CqSize => builder.setup_cqsize(entries * CQ_FACTOR),
            Self::Clamp => builder.setup_clamp(),
        };
    }
}

/// Why there is no ring. Displays the likely cause too.
#[derive(Debug)]
pub(crate) struct SetupError {
    step: &'static str,
    error: io::Error,
}

impl SetupError {
    fn new(step: &'static str, error: io::Error) -> Self {
        Self { step, error }
    }

    pub(crate) fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring {}: {}", self.step, self.error)?;
        match likely_cause(&self.error) {
            Some(cause) => write!(f, " (likely cause: {cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SetupError {}

/// What an operator can look at. Only text depends on it, never a decision.
fn likely_cause(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EPERM => match fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
            Ok(text) if text.trim() == "2" => Some("sysctl kernel.io_uring_disabled is 2"),
            Ok(text) if text.trim() == "1" => {
                Some("sysctl kernel.io_uring_disabled is 1, and this user is not in its group")
            }
            _ => Some("a seccomp filter or a security module"),
        },
        libc::ENOSYS => Some("a kernel without io_uring, or a seccomp filter"),
        libc::ENOMEM => Some("the limit on locked memory, RLIMIT_MEMLOCK"),
        _ => None,
    }
}
