//! Operations as submission queue entries.
//!
//! One arm per operation, in the order of [`Op`]: the twin of `ringway-epoll`'s `syscall.rs`.

use io_uring::opcode::{
    Accept, Close, Connect, FGetXattr, FSetXattr, Fallocate, Fsync, Ftruncate, MkDirAt, Nop,
    OpenAt2, PollAdd, Read, Recv, RecvMsg, RenameAt, Send, SendMsg, Shutdown, Statx, UnlinkAt,
    Write,
};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use libc::{MSG_NOSIGNAL, RWF_APPEND, SOCK_CLOEXEC, SOCK_NONBLOCK};
use ringway_driver::{Op, OpKind};

/// The entry for `op`, without user data; `None` for an operation that has no form on a ring.
pub(super) fn encode(op: &Op) -> Option<Entry> {
    let entry = match *op {
        Op::Nop => Nop::new().build(),
        Op::Accept { fd, addr, addr_len } => {
            Accept::new(Fd(fd), addr.cast(), addr_len).flags(SOCK_CLOEXEC | SOCK_NONBLOCK).build()
        }
        Op::Connect { fd, addr, addr_len } => Connect::new(Fd(fd), addr.cast(), addr_len).build(),
        Op::Recv { fd, buf, len, flags } => Recv::new(Fd(fd), buf, len).flags(flags).build(),
        Op::Send { fd, buf, len, flags } => {
            Send::new(Fd(fd), buf, len).flags(flags | MSG_NOSIGNAL).build()
        }
        Op::RecvMsg { fd, msg, flags } => {
            RecvMsg::new(Fd(fd), msg).flags(flags.cast_unsigned()).build()
        }
        Op::SendMsg { fd, msg, flags } => {
            SendMsg::new(Fd(fd), msg).flags((flags | MSG_NOSIGNAL).cast_unsigned()).build()
        }
        // Through u16: the sign must not spread into the upper half, where other flags live.
        Op::Poll { fd, events } => PollAdd::new(Fd(fd), u32::from(events.cast_unsigned())).build(),
        Op::Shutdown { fd, how } => Shutdown::new(Fd(fd), how).build(),
        Op::Close { fd } => Close::new(Fd(fd)).build(),
        Op::Read { fd, buf, len, offset } => Read::new(Fd(fd), buf, len).offset(offset).build(),
        Op::Write { fd, buf, len, offset } => Write::new(Fd(fd), buf, len).offset(offset).build(),
        // Not tried without blocking first: the kernel completes what that leaves over in a second
        // write, and appends it behind what others have written in between.
        Op::Append { fd, buf, len } => {
            Write::new(Fd(fd), buf, len).rw_flags(RWF_APPEND).build().flags(Flags::ASYNC)
        }
        Op::Fsync { fd, data_only: false } => Fsync::new(Fd(fd)).build(),
        Op::Fsync { fd, data_only: true } => Fsync::new(Fd(fd)).flags(FsyncFlags::DATASYNC).build(),
        Op::OpenAt { path, how } => OpenAt2::new(Fd(path.dir), path.name, how.cast()).build(),
        Op::Statx { path, flags, mask, out } => {
            Statx::new(Fd(path.dir), path.name, out.cast()).flags(flags).mask(mask).build()
        }
        Op::AccessAt { .. } => return None,
        Op::Truncate { fd, len } => Ftruncate::new(Fd(fd), len).build(),
        Op::Allocate { fd, mode, offset, len } => {
            Fallocate::new(Fd(fd), len).offset(offset).mode(mode).build()
        }
        Op::MkdirAt { path, mode } => MkDirAt::new(Fd(path.dir), path.name).mode(mode).build(),
        Op::UnlinkAt { path, flags } => UnlinkAt::new(Fd(path.dir), path.name).flags(flags).build(),
        Op::RenameAt { from, to, flags } => {
            RenameAt::new(Fd(from.dir), from.name, Fd(to.dir), to.name).flags(flags).build()
        }
        Op::ReadlinkAt { .. } | Op::Getdents { .. } | Op::SetTimes { .. } | Op::Chmod { .. } => {
            return None;
        }
        Op::GetXattr { fd, name, buf, len } => {
            FGetXattr::new(Fd(fd), name, buf.cast(), len).build()
        }
        Op::SetXattr { fd, name, buf, len, flags } => {
            FSetXattr::new(Fd(fd), name, buf.cast_mut().cast(), len).flags(flags).build()
        }
        Op::Statfs { .. } => return None,
    };
    Some(entry)
}

/// The opcode that [`encode`] uses for `kind`, to ask the kernel whether it has it.
pub(super) fn opcode(kind: OpKind) -> Option<u8> {
    match kind {
        OpKind::Nop => Some(Nop::CODE),
        OpKind::Accept => Some(Accept::CODE),
        OpKind::Connect => Some(Connect::CODE),
        OpKind::Recv => Some(Recv::CODE),
        OpKind::Send => Some(Send::CODE),
        OpKind::RecvMsg => Some(RecvMsg::CODE),
        OpKind::SendMsg => Some(SendMsg::CODE),
        OpKind::Poll => Some(PollAdd::CODE),
        OpKind::Shutdown => Some(Shutdown::CODE),
        OpKind::Close => Some(Close::CODE),
        OpKind::Read => Some(Read::CODE),
        OpKind::Write | OpKind::Append => Some(Write::CODE),
        OpKind::Fsync => Some(Fsync::CODE),
        OpKind::OpenAt => Some(OpenAt2::CODE),
        OpKind::Statx => Some(Statx::CODE),
        OpKind::AccessAt => None,
        OpKind::Truncate => Some(Ftruncate::CODE),
        OpKind::Allocate => Some(Fallocate::CODE),
        OpKind::MkdirAt => Some(MkDirAt::CODE),
        OpKind::UnlinkAt => Some(UnlinkAt::CODE),
        OpKind::RenameAt => Some(RenameAt::CODE),
        OpKind::ReadlinkAt | OpKind::Getdents | OpKind::SetTimes | OpKind::Chmod => None,
        OpKind::GetXattr => Some(FGetXattr::CODE),
        OpKind::SetXattr => Some(FSetXattr::CODE),
        OpKind::Statfs => None,
    }
}
