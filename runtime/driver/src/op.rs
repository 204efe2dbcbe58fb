//! One kernel operation as data.

#![allow(unsafe_code, reason = "one `unsafe impl Send`")]

use std::os::fd::RawFd;

use libc::{c_char, c_int, msghdr, open_how, sockaddr_storage, socklen_t, statfs, statx, timespec};

/// A path for an `…at` operation: a directory descriptor and a NUL-terminated string.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// A directory, or `AT_FDCWD`.
    pub dir: RawFd,
    /// Relative to `dir`.
    pub name: *const c_char,
}

/// One kernel operation: descriptors, addresses and numbers. It owns nothing; who owns what it
/// points at, and for how long, is [`Driver::submit`](crate::Driver::submit)'s contract.
///
/// Results are those of the system call named at each variant.
#[derive(Clone, Copy, Debug)]
#[expect(
    missing_docs,
    reason = "fields are the arguments of the system call that the variant names"
)]
pub enum Op {
    /// Completes with 0. Shows that a driver works.
    Nop,
    /// `accept4(SOCK_CLOEXEC | SOCK_NONBLOCK)`; the result is the new socket.
    Accept { fd: RawFd, addr: *mut sockaddr_storage, addr_len: *mut socklen_t },
    /// `connect`; waits until the connection stands or has failed.
    Connect { fd: RawFd, addr: *const sockaddr_storage, addr_len: socklen_t },
    /// `recv`; `MSG_WAITALL` is honoured on a best-effort basis, so loop.
    Recv { fd: RawFd, buf: *mut u8, len: u32, flags: c_int },
    /// `send`, always with `MSG_NOSIGNAL`.
    Send { fd: RawFd, buf: *const u8, len: u32, flags: c_int },
    /// `recvmsg`.
    RecvMsg { fd: RawFd, msg: *mut msghdr, flags: c_int },
    /// `sendmsg`, always with `MSG_NOSIGNAL`.
    SendMsg { fd: RawFd, msg: *const msghdr, flags: c_int },
    /// Waits once for any of the `POLL*` `events`; the result is what is ready.
    Poll { fd: RawFd, events: i16 },
    /// `shutdown` of a socket.
    Shutdown { fd: RawFd, how: c_int },
    /// `close`. The descriptor is gone whatever the result.
    Close { fd: RawFd },
    /// `pread`, or `read` where `offset` is `u64::MAX` (pipes and other streams).
    Read { fd: RawFd, buf: *mut u8, len: u32, offset: u64 },
    /// `pwrite`, or `write` where `offset` is `u64::MAX`.
    Write { fd: RawFd, buf: *const u8, len: u32, offset: u64 },
    /// `pwritev2(RWF_APPEND)`: at the end of the file as of then, in one piece. The descriptor's own
    /// position stays.
    Append { fd: RawFd, buf: *const u8, len: u32 },
    /// `fsync`, or `fdatasync`.
    Fsync { fd: RawFd, data_only: bool },
    /// `openat2`; the result is the descriptor. `how` says flags, mode and resolve.
    OpenAt { path: Path, how: *const open_how },
    /// `statx`; with an empty path and `AT_EMPTY_PATH` it is about `path.dir` itself.
    Statx { path: Path, flags: c_int, mask: u32, out: *mut statx },
    /// `faccessat2`, always with `AT_EACCESS`: credentials do not change the real ids, which it would
    /// otherwise ask about. With an empty path and `AT_EMPTY_PATH` it is about `path.dir` itself.
    AccessAt { path: Path, mode: c_int, flags: c_int },
    /// `ftruncate`.
    Truncate { fd: RawFd, len: u64 },
    /// `fallocate`.
    Allocate { fd: RawFd, mode: c_int, offset: u64, len: u64 },
    /// `mkdirat`.
    MkdirAt { path: Path, mode: u32 },
    /// `unlinkat`.
    UnlinkAt { path: Path, flags: c_int },
    /// `renameat2`.
    RenameAt { from: Path, to: Path, flags: u32 },
    /// `readlinkat`; the result is the length of the target.
    ReadlinkAt { path: Path, buf: *mut u8, len: u32 },
    /// `getdents64`; the result is the bytes filled, 0 at the end.
    Getdents { fd: RawFd, buf: *mut u8, len: u32 },
    /// `utimensat(fd, NULL, times)`; `times` points at two: access, modification.
    SetTimes { fd: RawFd, times: *const timespec },
    /// `fchmod`.
    Chmod { fd: RawFd, mode: u32 },
    /// `fgetxattr`; the result is the value's length.
    GetXattr { fd: RawFd, name: *const c_char, buf: *mut u8, len: u32 },
    /// `fsetxattr`.
    SetXattr { fd: RawFd, name: *const c_char, buf: *const u8, len: u32, flags: c_int },
    /// `fstatfs`.
    Statfs { fd: RawFd, out: *mut statfs },
}

// SAFETY: an `Op` is only data; using its addresses is unsafe and governed by `Driver::submit`,
// whose caller keeps them valid on whatever thread the driver runs the operation.
unsafe impl Send for Op {}

/// The name of an operation, without its arguments: what probing, policy and metrics speak of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "each is documented at the variant of the same name in `Op`")]
pub enum OpKind {
    Nop,
    Accept,
    Connect,
    Recv,
    Send,
    RecvMsg,
    SendMsg,
    Poll,
    Shutdown,
    Close,
    Read,
    Write,
    Append,
    Fsync,
    OpenAt,
    Statx,
    AccessAt,
    Truncate,
    Allocate,
    MkdirAt,
    UnlinkAt,
    RenameAt,
    ReadlinkAt,
    Getdents,
    SetTimes,
    Chmod,
    GetXattr,
    SetXattr,
    Statfs,
}

impl OpKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 29] = [
        Self::Nop,
        Self::Accept,
        Self::Connect,
        Self::Recv,
        Self::Send,
        Self::RecvMsg,
        Self::SendMsg,
        Self::Poll,
        Self::Shutdown,
        Self::Close,
        Self::Read,
        Self::Write,
        Self::Append,
        Self::Fsync,
        Self::OpenAt,
        Self::Statx,
        Self::AccessAt,
        Self::Truncate,
        Self::Allocate,
        Self::MkdirAt,
        Self::UnlinkAt,
        Self::RenameAt,
        Self::ReadlinkAt,
        Self::Getdents,
        Self::SetTimes,
        Self::Chmod,
        Self::GetXattr,
        Self::SetXattr,
        Self::Statfs,
    ];
}

impl Op {
    /// What kind of operation this is.
    #[must_use]
    pub const fn kind(&self) -> OpKind {
        match self {
            Self::Nop => OpKind::Nop,
            Self::Accept { .. } => OpKind::Accept,
            Self::Connect { .. } => OpKind::Connect,
            Self::Recv { .. } => OpKind::Recv,
            Self::Send { .. } => OpKind::Send,
            Self::RecvMsg { .. } => OpKind::RecvMsg,
            Self::SendMsg { .. } => OpKind::SendMsg,
            Self::Poll { .. } => OpKind::Poll,
            Self::Shutdown { .. } => OpKind::Shutdown,
            Self::Close { .. } => OpKind::Close,
            Self::Read { .. } => OpKind::Read,
            Self::Write { .. } => OpKind::Write,
            Self::Append { .. } => OpKind::Append,
            Self::Fsync { .. } => OpKind::Fsync,
            Self::OpenAt { .. } => OpKind::OpenAt,
            Self::Statx { .. } => OpKind::Statx,
            Self::AccessAt { .. } => OpKind::AccessAt,
            Self::Truncate { .. } => OpKind::Truncate,
            Self::Allocate { .. } => OpKind::Allocate,
            Self::MkdirAt { .. } => OpKind::MkdirAt,
            Self::UnlinkAt { .. } => OpKind::UnlinkAt,
            Self::RenameAt { .. } => OpKind::RenameAt,
            Self::ReadlinkAt { .. } => OpKind::ReadlinkAt,
            Self::Getdents { .. } => OpKind::Getdents,
            Self::SetTimes { .. } => OpKind::SetTimes,
            Self::Chmod { .. } => OpKind::Chmod,
            Self::GetXattr { .. } => OpKind::GetXattr,
            Self::SetXattr { .. } => OpKind::SetXattr,
            Self::Statfs { .. } => OpKind::Statfs,
        }
    }
}
