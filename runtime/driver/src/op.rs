//! One kernel operation as data.

#![allow(unsafe_code, reason = "one `unsafe impl Send`")]

use std::os::fd::RawFd;

use libc::{
    c_char, c_int, iovec, msghdr, open_how, sockaddr_storage, socklen_t, statfs, statx, timespec,
};

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
    /// `accept4` again and again: a completion for each connection, and a last one with an error.
    AcceptMulti { fd: RawFd },
    /// `connect`; waits until the connection stands or has failed.
    Connect { fd: RawFd, addr: *const sockaddr_storage, addr_len: socklen_t },
    /// `recv`; `MSG_WAITALL` is honoured on a best-effort basis, so loop.
    Recv { fd: RawFd, buf: *mut u8, len: u32, flags: c_int },
    /// `recv` again and again, each into a buffer of the provided group `group`, which the completion
    /// names; with `bundle`, into as many consecutive ones as there is data for.
    RecvMulti { fd: RawFd, group: u16, bundle: bool },
    /// `send`, always with `MSG_NOSIGNAL`.
    Send { fd: RawFd, buf: *const u8, len: u32, flags: c_int },
    /// `send` without copying, always with `MSG_NOSIGNAL`: the result comes first; if `more` is set
    /// with it, a notification follows when the buffer is free again. `fixed` is the registered buffer
    /// that `buf` lies in.
    SendZc { fd: RawFd, buf: *const u8, len: u32, flags: c_int, fixed: Option<u16> },
    /// `recvmsg`.
    RecvMsg { fd: RawFd, msg: *mut msghdr, flags: c_int },
    /// `sendmsg`, always with `MSG_NOSIGNAL`.
    SendMsg { fd: RawFd, msg: *const msghdr, flags: c_int },
    /// `sendmsg` without copying; see [`Op::SendZc`].
    SendMsgZc { fd: RawFd, msg: *const msghdr, flags: c_int },
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
    /// `preadv`, with offsets as in [`Op::Read`].
    ReadV { fd: RawFd, iov: *const iovec, count: u32, offset: u64 },
    /// `pwritev`, with offsets as in [`Op::Write`].
    WriteV { fd: RawFd, iov: *const iovec, count: u32, offset: u64 },
    /// `pread` into the registered buffer `index`, which `buf` lies in.
    ReadFixed { fd: RawFd, buf: *mut u8, len: u32, offset: u64, index: u16 },
    /// `pwrite` from the registered buffer `index`, which `buf` lies in.
    WriteFixed { fd: RawFd, buf: *const u8, len: u32, offset: u64, index: u16 },
    /// `pwritev2(RWF_APPEND)`: at the end of the file as of then, in one piece. The descriptor's own
    /// position stays.
    Append { fd: RawFd, buf: *const u8, len: u32 },
    /// `fsync`, or `fdatasync`.
    Fsync { fd: RawFd, data_only: bool },
    /// `sync_file_range`.
    SyncRange { fd: RawFd, offset: u64, len: u32, flags: u32 },
    /// `posix_fadvise`. The ring takes 32 bits of length; 0 means up to the end.
    Advise { fd: RawFd, offset: u64, len: u32, advice: c_int },
    /// `splice`, always with `SPLICE_F_NONBLOCK`: where a pipe or a socket, which is to have
    /// `O_NONBLOCK`, would have to be waited for, the answer is `-EAGAIN`. An offset of `u64::MAX` means
    /// none. `resident` says that the file's part is in the page cache.
    Splice {
        from: RawFd,
        from_offset: u64,
        to: RawFd,
        to_offset: u64,
        len: u32,
        flags: u32,
        resident: bool,
    },
    /// `tee`, always with `SPLICE_F_NONBLOCK`; see [`Op::Splice`].
    Tee { from: RawFd, to: RawFd, len: u32, flags: u32 },
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
    /// `linkat`.
    LinkAt { from: Path, to: Path, flags: c_int },
    /// `symlinkat`.
    SymlinkAt { target: *const c_char, link: Path },
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
    /// `flistxattr`; the result is the length of the list.
    ListXattr { fd: RawFd, buf: *mut u8, len: u32 },
    /// `fremovexattr`.
    RemoveXattr { fd: RawFd, name: *const c_char },
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
    AcceptMulti,
    Connect,
    Recv,
    RecvMulti,
    Send,
    SendZc,
    RecvMsg,
    SendMsg,
    SendMsgZc,
    Poll,
    Shutdown,
    Close,
    Read,
    Write,
    ReadV,
    WriteV,
    ReadFixed,
    WriteFixed,
    Append,
    Fsync,
    SyncRange,
    Advise,
    Splice,
    Tee,
    OpenAt,
    Statx,
    AccessAt,
    Truncate,
    Allocate,
    MkdirAt,
    UnlinkAt,
    RenameAt,
    LinkAt,
    SymlinkAt,
    ReadlinkAt,
    Getdents,
    SetTimes,
    Chmod,
    GetXattr,
    SetXattr,
    ListXattr,
    RemoveXattr,
    Statfs,
}

impl OpKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 45] = [
        Self::Nop,
        Self::Accept,
        Self::AcceptMulti,
        Self::Connect,
        Self::Recv,
        Self::RecvMulti,
        Self::Send,
        Self::SendZc,
        Self::RecvMsg,
        Self::SendMsg,
        Self::SendMsgZc,
        Self::Poll,
        Self::Shutdown,
        Self::Close,
        Self::Read,
        Self::Write,
        Self::ReadV,
        Self::WriteV,
        Self::ReadFixed,
        Self::WriteFixed,
        Self::Append,
        Self::Fsync,
        Self::SyncRange,
        Self::Advise,
        Self::Splice,
        Self::Tee,
        Self::OpenAt,
        Self::Statx,
        Self::AccessAt,
        Self::Truncate,
        Self::Allocate,
        Self::MkdirAt,
        Self::UnlinkAt,
        Self::RenameAt,
        Self::LinkAt,
        Self::SymlinkAt,
        Self::ReadlinkAt,
        Self::Getdents,
        Self::SetTimes,
        Self::Chmod,
        Self::GetXattr,
        Self::SetXattr,
        Self::ListXattr,
        Self::RemoveXattr,
        Self::Statfs,
    ];

    /// Whether one submission may have several completions.
    #[must_use]
    pub const fn is_multi(self) -> bool {
        matches!(self, Self::AcceptMulti | Self::RecvMulti | Self::SendZc | Self::SendMsgZc)
    }
}

impl Op {
    /// What kind of operation this is.
    #[must_use]
    pub const fn kind(&self) -> OpKind {
        match self {
            Self::Nop => OpKind::Nop,
            Self::Accept { .. } => OpKind::Accept,
            Self::AcceptMulti { .. } => OpKind::AcceptMulti,
            Self::Connect { .. } => OpKind::Connect,
            Self::Recv { .. } => OpKind::Recv,
            Self::RecvMulti { .. } => OpKind::RecvMulti,
            Self::Send { .. } => OpKind::Send,
            Self::SendZc { .. } => OpKind::SendZc,
            Self::RecvMsg { .. } => OpKind::RecvMsg,
            Self::SendMsg { .. } => OpKind::SendMsg,
            Self::SendMsgZc { .. } => OpKind::SendMsgZc,
            Self::Poll { .. } => OpKind::Poll,
            Self::Shutdown { .. } => OpKind::Shutdown,
            Self::Close { .. } => OpKind::Close,
            Self::Read { .. } => OpKind::Read,
            Self::Write { .. } => OpKind::Write,
            Self::ReadV { .. } => OpKind::ReadV,
            Self::WriteV { .. } => OpKind::WriteV,
            Self::ReadFixed { .. } => OpKind::ReadFixed,
            Self::WriteFixed { .. } => OpKind::WriteFixed,
            Self::Append { .. } => OpKind::Append,
            Self::Fsync { .. } => OpKind::Fsync,
            Self::SyncRange { .. } => OpKind::SyncRange,
            Self::Advise { .. } => OpKind::Advise,
            Self::Splice { .. } => OpKind::Splice,
            Self::Tee { .. } => OpKind::Tee,
            Self::OpenAt { .. } => OpKind::OpenAt,
            Self::Statx { .. } => OpKind::Statx,
            Self::AccessAt { .. } => OpKind::AccessAt,
            Self::Truncate { .. } => OpKind::Truncate,
            Self::Allocate { .. } => OpKind::Allocate,
            Self::MkdirAt { .. } => OpKind::MkdirAt,
            Self::UnlinkAt { .. } => OpKind::UnlinkAt,
            Self::RenameAt { .. } => OpKind::RenameAt,
            Self::LinkAt { .. } => OpKind::LinkAt,
            Self::SymlinkAt { .. } => OpKind::SymlinkAt,
            Self::ReadlinkAt { .. } => OpKind::ReadlinkAt,
            Self::Getdents { .. } => OpKind::Getdents,
            Self::SetTimes { .. } => OpKind::SetTimes,
            Self::Chmod { .. } => OpKind::Chmod,
            Self::GetXattr { .. } => OpKind::GetXattr,
            Self::SetXattr { .. } => OpKind::SetXattr,
            Self::ListXattr { .. } => OpKind::ListXattr,
            Self::RemoveXattr { .. } => OpKind::RemoveXattr,
            Self::Statfs { .. } => OpKind::Statfs,
        }
    }
}
