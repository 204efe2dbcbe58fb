//! Limits put on a server for real before it starts: most of them keep it from having a ring.
#![allow(unsafe_code, reason = "a child process is limited by system calls between fork and exec")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// An ordinary user without an account of its own.
pub(crate) const NOBODY: u32 = 65_534;

/// What is taken from a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restriction {
    /// A filter answers `EPERM` to `io_uring_setup`, as container engines do.
    Seccomp,
    /// An ordinary user (root is not charged) who may not lock any memory.
    Memlock,
    /// An ordinary user, which root has to become first.
    Unprivileged,
}

impl Restriction {
    pub(crate) fn apply(self, command: &mut Command) {
        if self == Self::Unprivileged {
            if rustix::process::geteuid().is_root() {
                command.gid(NOBODY).uid(NOBODY);
            }
            return;
        }
        // SAFETY: between fork and exec these closures make system calls only; they take no lock and
        // allocate nothing. The filter lives on the stack while the kernel copies it.
        unsafe {
            match self {
                Self::Seccomp => command.pre_exec(forbid_rings),
                Self::Memlock => command.pre_exec(lock_no_memory).gid(NOBODY).uid(NOBODY),
                Self::Unprivileged => command,
            };
        }
    }
}

fn lock_no_memory() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is read from a value that outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &none) })
}

fn forbid_rings() -> io::Result<()> {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let number = libc::SYS_io_uring_setup.try_into().unwrap_or(u32::MAX);
    let mut steps = [
        step(LOAD_NUMBER, 0, 0),
        step(IF_EQUAL, 1, number),
        step(RETURN, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()),
    ];
    let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    // SAFETY: plain numbers, and a program of as many steps as it says, which the kernel copies.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program))
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
