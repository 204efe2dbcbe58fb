//! Acting for another user: what it may, what it may not, and that it ends. Most need root.

#![allow(unsafe_code, reason = "asks the kernel for a thread's identity")]

mod common;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::thread;

use common::{Bench, at, how};
use libc::{O_CREAT, O_EXCL, O_RDONLY, O_WRONLY};
use ringway_driver::{Identity, Op};
use ringway_epoll::syscall::with_credentials;

const NOBODY: u32 = 65534;

fn nobody(groups: &[u32]) -> Identity {
    Identity::new(NOBODY, NOBODY, groups).unwrap()
}

fn is_root() -> bool {
    // SAFETY: asks for a number.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("SKIPPED: switching credentials needs root");
    }
    root
}

/// What `/proc` says about this thread: an account that is not our own.
fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line[field.len()..].split_whitespace().collect::<Vec<_>>().join(" ")
}

fn identity() -> [String; 4] {
    ["Uid:", "Gid:", "Groups:", "CapEff:"].map(status)
}

/// A world-accessible directory that holds a file of root's with mode 0600.
fn share() -> (tempfile::TempDir, File) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    fs::write(dir.path().join("private"), b"root's").unwrap();
    set_mode(&dir.path().join("private"), 0o600);
    let handle = File::open(dir.path()).unwrap();
    (dir, handle)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn errno_of<T>(result: std::io::Result<T>) -> i32 {
    result.map_or_else(|error| -error.raw_os_error().unwrap(), |_| 0)
}

#[test]
fn a_private_file_of_root_is_closed_to_another_user_and_open_again_afterwards() {
    if !is_root() {
        return;
    }
    let (dir, _handle) = share();
    let open = || errno_of(File::open(dir.path().join("private")));
    assert_eq!(with_credentials(Some(&nobody(&[])), open), -libc::EACCES);
    assert_eq!(with_credentials(None, open), 0);
}

#[test]
fn the_whole_identity_is_another_inside_and_the_old_one_after() {
    if !is_root() {
        return;
    }
    let before = identity();
    let result = with_credentials(Some(&nobody(&[7, 5, 5])), || {
        // /proc/…/status lists real, effective, saved and file system ids.
        assert!(status("Uid:").ends_with(" 65534"));
        assert!(status("Gid:").ends_with(" 65534"));
        assert_eq!(status("Groups:"), "5 7");
        assert_eq!(u64::from_str_radix(&status("CapEff:"), 16), Ok(0));
        42
    });
    assert_eq!(result, 42);
    assert_eq!(identity(), before);
}

#[test]
fn supplementary_groups_open_what_they_should() {
    if !is_root() {
        return;
    }
    let (dir, _handle) = share();
    let path = dir.path().join("private");
    set_mode(&path, 0o640);
    std::os::unix::fs::chown(&path, Some(0), Some(4321)).unwrap();
    let open = || errno_of(File::open(&path));
    assert_eq!(with_credentials(Some(&nobody(&[4321])), open), 0);
    assert_eq!(with_credentials(Some(&nobody(&[4322])), open), -libc::EACCES);
}

/// What the kernel answers to a process of the user's when it sets the attribute.
fn set_by_a_process(file: &File, name: &'static std::ffi::CStr) -> i32 {
    let fd = file.as_raw_fd();
    let mut child = Command::new("true");
    // After the change of user, and before `true` runs; its failure is the one that `status` gives.
    let set = move || {
        // SAFETY: a NUL-terminated name, one byte of a literal, and a descriptor that the caller holds.
        match unsafe { libc::fsetxattr(fd, name.as_ptr(), b"x".as_ptr().cast(), 1, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec, `set` makes one system call and allocates nothing.
    unsafe { child.uid(NOBODY).gid(NOBODY).pre_exec(set) };
    errno_of(child.status())
}

#[test]
fn security_attributes_are_refused_to_another_user() {
    if !is_root() {
        return;
    }
    let (dir, _handle) = share();
    let path = dir.path().join("own");
    fs::write(&path, b"").unwrap();
    std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let (fd, buf, len, flags) = (file.as_raw_fd(), b"x".as_ptr(), 1, 0);
    let set = |name: *const libc::c_char| Op::SetXattr { fd, name, buf, len, flags };
    let mut bench = Bench::new();
    for name in [c"security.ringway", c"trusted.ringway"] {
        let result = bench.run(set(name.as_ptr()));
        if result == -libc::EOPNOTSUPP {
            eprintln!("SKIPPED: {name:?} is unknown to this file system");
            continue;
        }
        assert_eq!(result, 0, "{name:?} by root");
        let token = bench.submit_as(set(name.as_ptr()), Some(nobody(&[])));
        let result = bench.result(token);
        assert_eq!(result, set_by_a_process(&file, name), "{name:?} by its owner");
        if result == 0 {
            // Linux with a BPF security module, before 6.10, asks for no capability here.
            eprintln!("SKIPPED: this kernel lets anybody set {name:?}");
            continue;
        }
        assert_eq!(result, -libc::EPERM, "{name:?} by its owner");
    }
}

#[test]
fn operations_run_for_their_user_inline_and_on_the_pool() {
    if !is_root() {
        return;
    }
    let (dir, handle) = share();
    let mut bench = Bench::new();
    let user = Some(nobody(&[]));
    let mut open = |name: &std::ffi::CStr, flags: i32, user: Option<Identity>| {
        let mut how = how(flags, libc::RESOLVE_BENEATH);
        how.mode = if flags & O_CREAT == 0 { 0 } else { 0o600 };
        let path = at(handle.as_raw_fd(), name);
        let token = bench.submit_as(Op::OpenAt { path, how: &raw const how }, user);
        let fd = bench.result(token);
        if fd >= 0 {
            assert_eq!(bench.run(Op::Close { fd }), 0);
        }
        fd
    };
    // Opening what exists is tried from the cache, creating goes to the pool.
    assert_eq!(open(c"private", O_RDONLY, user.clone()), -libc::EACCES);
    assert!(open(c"private", O_RDONLY, None) >= 0);
    assert!(open(c"new", O_WRONLY | O_CREAT | O_EXCL, user) >= 0);
    let made = fs::metadata(dir.path().join("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (NOBODY, NOBODY));
    assert!(open(c"roots", O_WRONLY | O_CREAT | O_EXCL, None) >= 0);
    assert_eq!(fs::metadata(dir.path().join("roots")).unwrap().uid(), 0);
}

#[test]
fn access_is_that_of_the_borrowed_identity_inline_and_on_the_pool() {
    if !is_root() {
        return;
    }
    let (dir, handle) = share();
    let private = File::open(dir.path().join("private")).unwrap();
    let (mode, itself) = (libc::R_OK, libc::AT_EMPTY_PATH);
    let mut bench = Bench::new();
    let root = Identity::new(0, 0, &[]).unwrap();
    // The first is asked at once, the second has a name to be looked up.
    for (path, flags) in
        [(at(private.as_raw_fd(), c""), itself), (at(handle.as_raw_fd(), c"private"), 0)]
    {
        let op = Op::AccessAt { path, mode, flags };
        for (user, expected) in
            [(Some(nobody(&[])), -libc::EACCES), (Some(root.clone()), 0), (None, 0)]
        {
            let token = bench.submit_as(op, user);
            assert_eq!(bench.result(token), expected, "with flags {flags:#x}");
        }
    }
    assert_eq!(
        bench.run(Op::AccessAt { path: at(handle.as_raw_fd(), c"none"), mode, flags: 0 }),
        -libc::ENOENT
    );
}

#[test]
fn root_with_other_groups_keeps_its_capabilities() {
    if !is_root() {
        return;
    }
    let capabilities = status("CapEff:");
    let root = Identity::new(0, 0, &[9]).unwrap();
    let result = with_credentials(Some(&root), || {
        assert_eq!(status("Groups:"), "9");
        assert_eq!(status("CapEff:"), capabilities);
        1
    });
    assert_eq!(result, 1);
}

#[test]
fn other_threads_stay_who_they_are() {
    if !is_root() {
        return;
    }
    let result = with_credentials(Some(&nobody(&[])), || {
        // A thread inherits its starter's identity, so one that was there before has to look.
        i32::from(fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t0\t0\t0\n"))
    });
    assert_eq!(result, 1);
}

#[test]
fn a_panic_inside_gives_the_identity_back() {
    if !is_root() {
        return;
    }
    let before = identity();
    let inside = || with_credentials(Some(&nobody(&[])), || panic!("inside"));
    assert!(catch_unwind(AssertUnwindSafe(inside)).is_err());
    assert_eq!(identity(), before);
}

#[test]
fn an_identity_that_cannot_be_had_runs_nothing() {
    if !is_root() {
        return;
    }
    thread::spawn(|| {
        // SAFETY: the system call changes this thread alone, which ends here.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) }, 0);
        let before = identity();
        let other = Identity::new(1, 1, &[]).unwrap();
        assert_eq!(with_credentials(Some(&other), || unreachable!("must not run")), -libc::EPERM);
        assert_eq!(identity(), before);
    })
    .join()
    .unwrap();
}

#[test]
fn an_identity_that_is_there_already_needs_no_privilege() {
    // SAFETY: asks for numbers.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let groups = status("Groups:");
    let groups: Vec<u32> = groups.split_whitespace().map(|group| group.parse().unwrap()).collect();
    let own = Identity::new(uid, gid, &groups).unwrap();
    assert_eq!(with_credentials(Some(&own), || 3), 3);
}
