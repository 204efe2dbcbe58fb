//! The ways in which an operation can run on somebody's behalf, each forced, and a stage for each.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

mod files;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use ringway::fs::Dir;
use ringway::{Backend, Builder, Feature, Identity, Mask, OpKind, Policy, Rung, Runtime};
use tempfile::TempDir;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A ring, with a personality.
    Ring,
    /// The same on a ring that the thread does not sleep in, which works whenever it can.
    RingInEpoll,
    /// The thread switches around the system call, and where that could block, a pool thread.
    Inline,
    /// Pool threads only.
    Pool,
    /// A ring that knows no personalities.
    RingWithout,
}

/// Declares, for each function named, a test for each way.
#[macro_export]
macro_rules! on_each_way {
    ($($name:ident),* $(,)?) => {
        mod ring { $(#[test] fn $name() { $crate::ways::on($crate::ways::Way::Ring, super::$name); })* }
        mod ring_in_epoll { $(#[test] fn $name() { $crate::ways::on($crate::ways::Way::RingInEpoll, super::$name); })* }
        mod inline { $(#[test] fn $name() { $crate::ways::on($crate::ways::Way::Inline, super::$name); })* }
        mod pool { $(#[test] fn $name() { $crate::ways::on($crate::ways::Way::Pool, super::$name); })* }
        mod ring_without { $(#[test] fn $name() { $crate::ways::on($crate::ways::Way::RingWithout, super::$name); })* }
    };
}

impl Way {
    pub fn builder(self) -> Builder {
        let (backend, rungs) = match self {
            Self::Ring => (Backend::Uring, [Rung::Ring, Rung::Pool]),
            Self::RingInEpoll => (Backend::Hybrid, [Rung::Ring, Rung::Pool]),
            Self::Inline => (Backend::Epoll, [Rung::Inline, Rung::Pool]),
            Self::Pool => (Backend::Epoll, [Rung::Pool, Rung::Pool]),
            Self::RingWithout => (Backend::Uring, [Rung::Inline, Rung::Pool]),
        };
        let prefer = |policy: Policy, &kind: &OpKind| policy.prefer(kind, &rungs);
        let policy = OpKind::ALL.iter().fold(Policy::new(), prefer);
        let builder = Builder::new().backend(backend).policy(policy);
        match self {
            Self::RingWithout => builder.mask(Mask::none().without(Feature::Personality)),
            _ => builder,
        }
    }

    /// Where an open of what is in the caches runs.
    pub fn rung(self) -> Rung {
        match self {
            Self::Ring | Self::RingInEpoll => Rung::Ring,
            Self::Inline | Self::RingWithout => Rung::Inline,
            Self::Pool => Rung::Pool,
        }
    }

    /// The module that [`on_each_way`] puts its tests into.
    pub fn module(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::RingInEpoll => "ring_in_epoll",
            Self::Inline => "inline",
            Self::Pool => "pool",
            Self::RingWithout => "ring_without",
        }
    }

    /// `None`, with a line that says so, where the kernel gives no such ring.
    pub fn runtime(self) -> Option<Runtime> {
        let rings = matches!(self, Self::Ring | Self::RingInEpoll);
        match self.builder().build() {
            Ok(runtime) if rings && !runtime.features().has(Feature::Personality) => {
                eprintln!("SKIPPED: {:?}", runtime.features().support(Feature::Personality));
                None
            }
            Ok(runtime) => Some(runtime),
            Err(error) if rings || self == Self::RingWithout => {
                eprintln!("SKIPPED: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A runtime, and a directory that everybody may write to.
pub struct Stage {
    pub way: Way,
    pub rt: Runtime,
    pub scratch: TempDir,
    pub dir: Dir,
}

/// Runs `test`, and sees to it that the runtime's threads are who they were.
pub fn on(way: Way, test: fn(&Stage)) {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root may act for others");
    }
    let Some(rt) = way.runtime() else { return };
    let (scratch, dir) = scratch();
    let before = thread_identity();
    let stage = Stage { way, rt, scratch, dir };
    test(&stage);
    assert_eq!(thread_identity(), before, "the loop's thread");
    let pool = stage.rt.block_on(ringway::spawn_blocking(thread_identity)).unwrap();
    assert_eq!(pool, before, "a thread of the pool");
}

/// A directory that everybody may write to.
pub fn scratch() -> (TempDir, Dir) {
    let (scratch, dir) = files::scratch();
    fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o777)).unwrap();
    (scratch, dir)
}

impl Stage {
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Makes a file of somebody's.
    pub fn file(&self, name: &str, uid: u32, gid: u32, mode: u32) {
        fs::write(self.path(name), b"0123456789").unwrap();
        self.belongs(name, uid, gid, mode);
    }

    /// Makes a directory of somebody's.
    pub fn folder(&self, name: &str, uid: u32, gid: u32, mode: u32) {
        fs::create_dir(self.path(name)).unwrap();
        self.belongs(name, uid, gid, mode);
    }

    fn belongs(&self, name: &str, uid: u32, gid: u32, mode: u32) {
        chown(self.path(name), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    pub fn as_user(&self, identity: &Identity) -> Dir {
        self.dir.with_identity(Some(identity.clone()))
    }
}

/// What `/proc` says about this thread: an account that is not our own.
pub fn thread_identity() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let about = ["Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:"];
    let lines = status.lines().filter(|line| about.iter().any(|about| line.starts_with(about)));
    lines.map(str::to_owned).collect()
}

/// The errno, 0 for success.
pub fn errno<T>(result: io::Result<T>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap(), |_| 0)
}

/// Makes this thread somebody else's for good, with nothing left of what it was; no other thread.
#[allow(unsafe_code, reason = "the system calls that change one thread")]
pub fn become_for_good(uid: u32, gid: u32, groups: &[u32]) {
    // SAFETY: system calls that take numbers, and one slice with its length.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()), 0);
        assert_eq!(libc::syscall(libc::SYS_setresgid, gid, gid, gid), 0);
        assert_eq!(libc::syscall(libc::SYS_setresuid, uid, uid, uid), 0);
    }
}
