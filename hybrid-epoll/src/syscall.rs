//! Operations as system calls: the twin of the ring's entries, arms in the order of [`Op`].
//!
//! [`run`] is each operation as its manual page has it. [`try_now`] is the same where that cannot
//! block. Neither waits for readiness or knows of threads.

#![allow(unsafe_code, reason = "makes the system calls")]

use std::mem::size_of;
use std::os::fd::RawFd;

use libc::c_int;
use ringway_driver::{Identity, Op, Path};

use crate::cached;
use crate::descriptor::{
    is_file, is_nonblocking, outcome, poll, read, read_vectored, set_status_flags, socket_error,
    splice, status_flags, tee, write, write_vectored,
};

/// The offset by which `Read` and `Write` say "no offset": the descriptor is a stream.
pub(crate) const STREAM: u64 = u64::MAX;

/// Runs `op` as a plain system call that may block. The result, or a negated errno.
///
/// A descriptor with `O_NONBLOCK` keeps its nature: a socket without data answers `-EAGAIN`. Only
/// `Connect` and `Poll` wait in any case. Interrupted calls are repeated.
///
/// # Safety
/// As for [`Driver::submit`](ringway_driver::Driver::submit), until the call returns.
#[must_use]
pub unsafe fn run(op: &Op) -> i32 {
    loop {
        // SAFETY: handed down from this function's caller; an interrupted call has done nothing.
        let result = unsafe { call(op) };
        match *op {
            // Linux has released the descriptor even when it says EINTR; it may be another's now.
            Op::Close { .. } => return result,
            Op::Connect { fd, .. } if [-libc::EINPROGRESS, -libc::EINTR].contains(&result) => {
                poll(fd, libc::POLLOUT, -1);
                return socket_error(fd);
            }
            _ if result == -libc::EINTR => {}
            _ => return result,
        }
    }
}

/// # Safety
/// As for [`run`].
unsafe fn call(op: &Op) -> i32 {
    // SAFETY: the caller of `run` keeps every address and descriptor in `op` valid for the call.
    // Lengths are those of the buffers they came with, and structures are of the kernel's layout.
    let result: i64 = unsafe {
        match *op {
            Op::Nop => 0,
            Op::Accept { fd, addr, addr_len } => {
                let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
                libc::accept4(fd, addr.cast(), addr_len, flags).into()
            }
            // One system call cannot answer more than once.
            Op::AcceptMulti { .. } | Op::RecvMulti { .. } => return -libc::EOPNOTSUPP,
            Op::Connect { fd, addr, addr_len } => libc::connect(fd, addr.cast(), addr_len).into(),
            Op::Recv { fd, buf, len, flags } => {
                libc::recv(fd, buf.cast(), len as usize, flags) as i64
            }
            Op::Send { fd, buf, len, flags } => {
                libc::send(fd, buf.cast(), len as usize, flags | libc::MSG_NOSIGNAL) as i64
            }
            // The kernel's MSG_ZEROCOPY answers through the socket's error queue, not here.
            Op::SendZc { .. } | Op::SendMsgZc { .. } => return -libc::EOPNOTSUPP,
            Op::RecvMsg { fd, msg, flags } => libc::recvmsg(fd, msg, flags) as i64,
            Op::SendMsg { fd, msg, flags } => {
                libc::sendmsg(fd, msg, flags | libc::MSG_NOSIGNAL) as i64
            }
            Op::Poll { fd, events } => return poll(fd, events, -1),
            Op::Shutdown { fd, how } => libc::shutdown(fd, how).into(),
            Op::Close { fd } => libc::close(fd).into(),
            Op::Read { fd, buf, len, offset } => return read(fd, buf, len, offset, 0),
            Op::Write { fd, buf, len, offset } => return write(fd, buf, len, offset, 0),
            Op::ReadV { fd, iov, count, offset } => {
                return read_vectored(fd, iov, count, offset, 0);
            }
            Op::WriteV { fd, iov, count, offset } => {
                return write_vectored(fd, iov, count, offset, 0);
            }
            // To a system call a registered buffer is memory like any other.
            Op::ReadFixed { fd, buf, len, offset, .. } => return read(fd, buf, len, offset, 0),
            Op::WriteFixed { fd, buf, len, offset, .. } => return write(fd, buf, len, offset, 0),
            // pwritev2(2): the offset is ignored, except that -1 would move the position.
            Op::Append { fd, buf, len } => return write(fd, buf, len, 0, libc::RWF_APPEND),
            Op::Fsync { fd, data_only: false } => libc::fsync(fd).into(),
            Op::Fsync { fd, data_only: true } => libc::fdatasync(fd).into(),
            Op::SyncRange { fd, offset, len, flags } => {
                libc::sync_file_range(fd, offset.cast_signed(), len.into(), flags).into()
            }
            // It returns its error instead of setting errno.
            Op::Advise { fd, offset, len, advice } => {
                return -libc::posix_fadvise(fd, offset.cast_signed(), len.into(), advice);
            }
            Op::Splice { from, from_offset, to, to_offset, len, flags, .. } => {
                let flags = flags | libc::SPLICE_F_NONBLOCK;
                return splice(from, from_offset, to, to_offset, len, flags);
            }
            Op::Tee { from, to, len, flags } => {
                return tee(from, to, len, flags | libc::SPLICE_F_NONBLOCK);
            }
            Op::OpenAt { path, how } => {
                let size = size_of::<libc::open_how>();
                libc::syscall(libc::SYS_openat2, path.dir, path.name, how, size)
            }
            Op::Statx { path, flags, mask, out } => {
                libc::statx(path.dir, path.name, flags, mask, out).into()
            }
            // The C library's faccessat imitates the flags, out of the wrong ids, where the kernel
            // has none.
            Op::AccessAt { path, mode, flags } => {
                let flags = flags | libc::AT_EACCESS;
                libc::syscall(libc::SYS_faccessat2, path.dir, path.name, mode, flags)
            }
            // A length or offset beyond i64 turns negative and is refused by the kernel.
            Op::Truncate { fd, len } => libc::ftruncate(fd, len.cast_signed()).into(),
            Op::Allocate { fd, mode, offset, len } => {
                libc::fallocate(fd, mode, offset.cast_signed(), len.cast_signed()).into()
            }
            Op::MkdirAt { path, mode } => libc::mkdirat(path.dir, path.name, mode).into(),
            Op::UnlinkAt { path, flags } => libc::unlinkat(path.dir, path.name, flags).into(),
            Op::RenameAt { from, to, flags } => {
                libc::syscall(libc::SYS_renameat2, from.dir, from.name, to.dir, to.name, flags)
            }
            Op::LinkAt { from, to, flags } => {
                libc::linkat(from.dir, from.name, to.dir, to.name, flags).into()
            }
            Op::SymlinkAt { target, link } => libc::symlinkat(target, link.dir, link.name).into(),
            Op::ReadlinkAt { path, buf, len } => {
                libc::readlinkat(path.dir, path.name, buf.cast(), len as usize) as i64
            }
            Op::Getdents { fd, buf, len } => libc::syscall(libc::SYS_getdents64, fd, buf, len),
            // The C library's utimensat refuses the NULL path that its futimens stands for.
            Op::SetTimes { fd, times } => libc::futimens(fd, times).into(),
            Op::Chmod { fd, mode } => libc::fchmod(fd, mode).into(),
            Op::GetXattr { fd, name, buf, len } => {
                libc::fgetxattr(fd, name, buf.cast(), len as usize) as i64
            }
            Op::SetXattr { fd, name, buf, len, flags } => {
                libc::fsetxattr(fd, name, buf.cast(), len as usize, flags).into()
            }
            Op::ListXattr { fd, buf, len } => libc::flistxattr(fd, buf.cast(), len as usize) as i64,
            Op::RemoveXattr { fd, name } => libc::fremovexattr(fd, name).into(),
            Op::Statfs { fd, out } => libc::fstatfs(fd, out).into(),
        }
    };
    outcome(result)
}

/// Runs `op` if that cannot block. `None`: it would block, or has no such form; nothing has
/// happened then, except that a `Connect` has begun.
///
/// "Cannot block" is as the kernel means it: file systems on this machine answer for an open inode
/// from memory; one across a network may take its round trip.
///
/// # Safety
/// As for [`run`].
#[must_use]
#[inline(always)]
pub unsafe fn try_now(op: &Op) -> Option<i32> {
    // The two whose system call takes no longer than a few returns: each function that returns after
    // a system call is a branch that the processor has guessed wrong (some 15 ns), so these are made
    // without any between the call and the caller's own.
    match *op {
        // SAFETY: handed down from this function's caller.
        Op::Statx { path, flags, mask, out } if unsafe { is_itself(path, flags) } => {
            // SAFETY: as above.
            let result = unsafe { libc::statx(path.dir, path.name, flags, mask, out) };
            Some(outcome(result.into()))
        }
        Op::Read { fd, buf, len, offset } if offset != STREAM => {
            // SAFETY: as above.
            unsafe { cached::read(fd, buf, len, offset) }
        }
        // SAFETY: as above.
        _ => unsafe { try_any_now(op) },
    }
}

/// # Safety
/// As for [`run`].
unsafe fn try_any_now(op: &Op) -> Option<i32> {
    // SAFETY: handed down from this function's caller. The operations that are made here differ
    // from `op` in flags only, or name a shorter part of its buffer.
    unsafe {
        match *op {
            Op::Nop => Some(0),
            // accept4 has no flag of its own for "do not wait". Where the listener would, ask
            // first; another thread could still take the connection in between.
            Op::Accept { fd, .. } if !is_nonblocking(fd) && poll(fd, libc::POLLIN, 0) == 0 => None,
            Op::Accept { .. } => unless_again(run(op)),
            Op::AcceptMulti { .. } | Op::RecvMulti { .. } => Some(-libc::EOPNOTSUPP),
            Op::Connect { fd, .. } => start_connect(fd, op),
            Op::Recv { fd, buf, len, flags } => {
                let flags_now = flags | libc::MSG_DONTWAIT;
                unless_waiting(flags, run(&Op::Recv { fd, buf, len, flags: flags_now }))
            }
            Op::Send { fd, buf, len, flags } => {
                let flags_now = flags | libc::MSG_DONTWAIT;
                unless_waiting(flags, run(&Op::Send { fd, buf, len, flags: flags_now }))
            }
            Op::SendZc { .. } | Op::SendMsgZc { .. } => Some(-libc::EOPNOTSUPP),
            Op::RecvMsg { fd, msg, flags } => {
                let flags_now = flags | libc::MSG_DONTWAIT;
                unless_waiting(flags, run(&Op::RecvMsg { fd, msg, flags: flags_now }))
            }
            Op::SendMsg { fd, msg, flags } => {
                let flags_now = flags | libc::MSG_DONTWAIT;
                unless_waiting(flags, run(&Op::SendMsg { fd, msg, flags: flags_now }))
            }
            Op::Poll { fd, events } => Some(poll(fd, events, 0)).filter(|ready| *ready != 0),
            // Both only change state in memory. A socket told to linger would wait in close; who
            // asks for that wants it.
            Op::Shutdown { .. } | Op::Close { .. } => Some(run(op)),
            Op::Read { fd, buf, len, offset: STREAM } => {
                let result = read(fd, buf, len, STREAM, libc::RWF_NOWAIT);
                unless_refused(result, || stream_now(fd, libc::POLLIN, op))
            }
            Op::Read { fd, buf, len, offset } => cached::read(fd, buf, len, offset),
            Op::Write { fd, buf, len, offset: STREAM } => {
                let result = write(fd, buf, len, STREAM, libc::RWF_NOWAIT);
                // A blocking pipe that polls as writable takes this much at once, maybe not more.
                let len = len.min(libc::PIPE_BUF as u32);
                let part = Op::Write { fd, buf, len, offset: STREAM };
                unless_refused(result, || stream_now(fd, libc::POLLOUT, &part))
            }
            // A short count is an honest answer: repeating the whole could append twice.
            Op::Write { fd, buf, len, offset } => {
                unless_refused(write(fd, buf, len, offset, libc::RWF_NOWAIT), || None)
            }
            Op::ReadV { fd, iov, count, offset: STREAM } => {
                let result = read_vectored(fd, iov, count, STREAM, libc::RWF_NOWAIT);
                unless_refused(result, || stream_now(fd, libc::POLLIN, op))
            }
            Op::ReadV { fd, iov, count, offset } => cached::read_vectored(fd, iov, count, offset),
            Op::ReadFixed { fd, buf, len, offset, .. } => {
                try_now(&Op::Read { fd, buf, len, offset })
            }
            // A stream's share of several parts is not known beforehand, so a blocking one waits.
            Op::WriteV { fd, offset: STREAM, .. } if !is_nonblocking(fd) => None,
            Op::WriteV { offset: STREAM, .. } => unless_again(run(op)),
            Op::WriteV { fd, iov, count, offset } => {
                let result = write_vectored(fd, iov, count, offset, libc::RWF_NOWAIT);
                unless_refused(result, || None)
            }
            Op::WriteFixed { fd, buf, len, offset, .. } => {
                try_now(&Op::Write { fd, buf, len, offset })
            }
            // What cannot block may write a part, and the rest would land behind somebody else's.
            Op::Append { .. } => None,
            // Waits for the device by its nature.
            Op::Fsync { .. } => None,
            // Start writing, or wait for it; drop pages, or read them.
            Op::SyncRange { .. } | Op::Advise { .. } => None,
            // Between streams the flag, and their own O_NONBLOCK, suffice. A file has no such form.
            Op::Splice { .. } if !has_form_now(op) => None,
            Op::Splice { .. } | Op::Tee { .. } => Some(run(op)),
            Op::OpenAt { path, how } => cached::open(path, how),
            // The inode of an open descriptor is in memory; a path may lead through cold directories.
            Op::Statx { path, flags, mask, out } if !is_itself(path, flags) => {
                cached::statx(path, flags, mask, out)
            }
            Op::AccessAt { path, flags, .. } if !is_itself(path, flags) => None,
            Op::Statx { .. } | Op::AccessAt { .. } => Some(run(op)),
            // These may read or allocate blocks, or look up a path, and have no flag against it.
            Op::Truncate { .. }
            | Op::Allocate { .. }
            | Op::MkdirAt { .. }
            | Op::UnlinkAt { .. }
            | Op::RenameAt { .. }
            | Op::LinkAt { .. }
            | Op::SymlinkAt { .. }
            | Op::ReadlinkAt { .. }
            | Op::Getdents { .. } => None,
            // Change the inode in memory; its way to the device is write-back's.
            Op::SetTimes { .. } | Op::Chmod { .. } => Some(run(op)),
            // The value may have a block of its own, to be read or allocated.
            Op::GetXattr { .. }
            | Op::SetXattr { .. }
            | Op::ListXattr { .. }
            | Op::RemoveXattr { .. } => None,
            // Counters that a mounted file system keeps in memory.
            Op::Statfs { .. } => Some(run(op)),
        }
    }
}

/// Whether [`try_now`] has more to say about `op` than `None`: worth asking before it costs a switch
/// of credentials.
///
/// # Safety
/// As for [`run`].
#[must_use]
pub unsafe fn has_form_now(op: &Op) -> bool {
    match *op {
        Op::Append { .. }
        | Op::Fsync { .. }
        | Op::SyncRange { .. }
        | Op::Advise { .. }
        | Op::Truncate { .. }
        | Op::Allocate { .. }
        | Op::MkdirAt { .. }
        | Op::UnlinkAt { .. }
        | Op::RenameAt { .. }
        | Op::LinkAt { .. }
        | Op::SymlinkAt { .. }
        | Op::ReadlinkAt { .. }
        | Op::Getdents { .. }
        | Op::GetXattr { .. }
        | Op::SetXattr { .. }
        | Op::ListXattr { .. }
        | Op::RemoveXattr { .. } => false,
        // SAFETY: the caller keeps `how` valid.
        Op::OpenAt { how, .. } => unsafe { cached::may_open(how) },
        Op::AccessAt { flags, .. } => flags & libc::AT_EMPTY_PATH != 0,
        Op::Splice { from_offset, to_offset, resident, .. } => {
            resident || (from_offset, to_offset) == (STREAM, STREAM)
        }
        _ => true,
    }
}

/// Runs `f` while the kernel's permission checks see this thread as `credentials` says; `None`, or
/// an identity that the thread already has, changes nothing.
///
/// The switch is of file system user, group and groups, of this thread alone, and takes its
/// capabilities with it unless the user is 0. It is verified by reading back; if it fails, `f` does
/// not run and the result is `-EPERM`. The thread's own identity is back when this returns or
/// unwinds; should that fail, the process aborts, for nothing else would be safe.
///
/// As after any change of identity, the kernel stops writing core dumps of the process
/// (`PR_SET_DUMPABLE`) and forgets the thread's `PR_SET_PDEATHSIG`.
///
/// A ring without `IORING_SETUP_DEFER_TASKRUN` that this thread has submitted to may carry its
/// operations on meanwhile, under the borrowed identity: beside one, call this on another thread.
#[inline]
pub fn with_credentials(credentials: Option<&Identity>, f: impl FnOnce() -> i32) -> i32 {
    match credentials {
        None => f(),
        Some(_) => crate::credentials::with_credentials(credentials, f),
    }
}

/// Whether an operation is about `path.dir`, with nothing to look up.
///
/// # Safety
/// The path's name is valid, or null.
#[inline(always)]
unsafe fn is_itself(path: Path, flags: c_int) -> bool {
    // SAFETY: the caller's promise; a string has at least its NUL.
    let empty = path.name.is_null() || unsafe { *path.name } == 0;
    empty && flags & libc::AT_EMPTY_PATH != 0
}

fn unless_again(result: i32) -> Option<i32> {
    (result != -libc::EAGAIN).then_some(result)
}

/// Receiving from the error queue or out of band never waits (recv(2)), nor does one told not to:
/// there "nothing now" is the answer.
fn unless_waiting(flags: c_int, result: i32) -> Option<i32> {
    let never_waits = libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE | libc::MSG_OOB;
    if flags & never_waits != 0 { Some(result) } else { unless_again(result) }
}

/// `None` for would-block; `otherwise` when the file or the kernel has no `RWF_NOWAIT`.
#[inline(always)]
pub(crate) fn unless_refused(result: i32, otherwise: impl FnOnce() -> Option<i32>) -> Option<i32> {
    match -result {
        libc::EAGAIN => None,
        libc::EOPNOTSUPP | libc::ENOSYS => otherwise(),
        _ => Some(result),
    }
}

/// A stream that does not know `RWF_NOWAIT`: asks for readiness, then trusts it.
///
/// # Safety
/// As for [`run`].
unsafe fn stream_now(fd: RawFd, events: i16, op: &Op) -> Option<i32> {
    if is_file(fd) || poll(fd, events, 0) == 0 {
        return None;
    }
    // SAFETY: handed down.
    unless_again(unsafe { run(op) })
}

/// # Safety
/// As for [`run`].
unsafe fn start_connect(fd: RawFd, op: &Op) -> Option<i32> {
    let flags = status_flags(fd);
    let blocking = flags >= 0 && flags & libc::O_NONBLOCK == 0;
    if blocking {
        set_status_flags(fd, flags | libc::O_NONBLOCK);
    }
    // SAFETY: handed down.
    let result = unsafe { call(op) };
    if blocking {
        set_status_flags(fd, flags);
    }
    // EAGAIN is final: a local listener's backlog is full, and nothing will tell when it is not.
    let under_way = [libc::EINPROGRESS, libc::EALREADY, libc::EINTR].contains(&-result);
    (!under_way).then_some(result)
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn operations_without_a_form_that_does_not_block_are_known_beforehand() {
        let (fd, buf, len, name) = (-1, ptr::dangling_mut::<u8>(), 0, c"".as_ptr());
        let path = Path { dir: fd, name: c"x".as_ptr() };
        // SAFETY: a structure of numbers.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = libc::O_CREAT as u64;
        for op in [
            Op::Append { fd, buf, len },
            Op::Fsync { fd, data_only: false },
            Op::OpenAt { path, how: &raw const how },
            Op::AccessAt { path, mode: 0, flags: 0 },
            Op::Truncate { fd, len: 0 },
            Op::Allocate { fd, mode: 0, offset: 0, len: 1 },
            Op::MkdirAt { path, mode: 0 },
            Op::UnlinkAt { path, flags: 0 },
            Op::RenameAt { from: path, to: path, flags: 0 },
            Op::ReadlinkAt { path, buf, len },
            Op::Getdents { fd, buf, len },
            Op::GetXattr { fd, name, buf, len },
            Op::SetXattr { fd, name, buf, len, flags: 0 },
        ] {
            // SAFETY: nothing is written to a buffer of no bytes, and -1 is no descriptor.
            unsafe {
                assert!(!has_form_now(&op), "{op:?}");
                assert_eq!(try_now(&op), None, "{op:?}");
            }
        }
        // SAFETY: as above.
        assert_eq!(unsafe { try_now(&Op::Chmod { fd, mode: 0 }) }, Some(-libc::EBADF));
    }
}
