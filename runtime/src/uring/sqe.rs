//! Operations as submission queue entries.
//!
//! One arm per operation, in the order of [`Op`]: the twin of `ringway-epoll`'s `syscall.rs`.

use io_uring::opcode::{
    Accept, AcceptMulti, Close, Connect, FGetXattr, FSetXattr, Fadvise, Fallocate, Fsync,
    Ftruncate, LinkAt, MkDirAt, Nop, OpenAt2, PollAdd, Read, ReadFixed, Readv, Recv, RecvMsg,
    RecvMulti, RecvMultiBundle, RenameAt, Send, SendMsg, SendMsgZc, SendZc, Shutdown, Splice,
    Statx, SymlinkAt, SyncFileRange, Tee, UnlinkAt, Write, WriteFixed, Writev,
};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use libc::{MSG_NOSIGNAL, RWF_APPEND, SOCK_CLOEXEC, SOCK_NONBLOCK, SPLICE_F_NONBLOCK};
use ringway_driver::{Op, OpKind};

/// `IORING_SEND_ZC_REPORT_USAGE`: the notification is to say whether the bytes were copied after all.
pub(super) const REPORT_USAGE: u16 = 1 << 3;

/// The entry for `op`, without user data; `None` for an operation that has no form on a ring.
/// `zc_flags` go with zero-copy sends.
pub(super) fn encode(op: &Op, zc_flags: u16) -> Option<Entry> {
    let entry = match *op {
        Op::Nop => Nop::new().build(),
        Op::Accept { fd, addr, addr_len } => {
            Accept::new(Fd(fd), addr.cast(), addr_len).flags(SOCK_CLOEXEC | SOCK_NONBLOCK).build()
        }
        Op::AcceptMulti { fd } => {
            AcceptMulti::new(Fd(fd)).flags(SOCK_CLOEXEC | SOCK_NONBLOCK).build()
        }
        Op::Connect { fd, addr, addr_len } => Connect::new(Fd(fd), addr.cast(), addr_len).build(),
        Op::Recv { fd, buf, len, flags } => Recv::new(Fd(fd), buf, len).flags(flags).build(),
        Op::RecvMulti { fd, group, bundle: false } => RecvMulti::new(Fd(fd), group).build(),
        Op::RecvMulti { fd, group, bundle: true } => RecvMultiBundle::new(Fd(fd), group).build(),
        Op::Send { fd, buf, len, flags } => {
            Send::new(Fd(fd), buf, len).flags(flags | MSG_NOSIGNAL).build()
        }
        Op::SendZc { fd, buf, len, flags, fixed } => SendZc::new(Fd(fd), buf, len)
            .flags(flags | MSG_NOSIGNAL)
            .buf_index(fixed)
            .zc_flags(zc_flags)
            .build(),
        Op::RecvMsg { fd, msg, flags } => {
            RecvMsg::new(Fd(fd), msg).flags(flags.cast_unsigned()).build()
        }
        Op::SendMsg { fd, msg, flags } => {
            SendMsg::new(Fd(fd), msg).flags((flags | MSG_NOSIGNAL).cast_unsigned()).build()
        }
        Op::SendMsgZc { fd, msg, flags } => {
            let flags = (flags | MSG_NOSIGNAL).cast_unsigned();
            SendMsgZc::new(Fd(fd), msg).flags(flags).ioprio(zc_flags).build()
        }
        // Through u16: the sign must not spread into the upper half, where other flags live.
        Op::Poll { fd, events } => PollAdd::new(Fd(fd), u32::from(events.cast_unsigned())).build(),
        Op::Shutdown { fd, how } => Shutdown::new(Fd(fd), how).build(),
        Op::Close { fd } => Close::new(Fd(fd)).build(),
        Op::Read { fd, buf, len, offset } => Read::new(Fd(fd), buf, len).offset(offset).build(),
        Op::Write { fd, buf, len, offset } => Write::new(Fd(fd), buf, len).offset(offset).build(),
        Op::ReadV { fd, iov, count, offset } => {
            Readv::new(Fd(fd), iov, count).offset(offset).build()
        }
        Op::WriteV { fd, iov, count, offset } => {
            Writev::new(Fd(fd), iov, count).offset(offset).build()
        }
        Op::ReadFixed { fd, buf, len, offset, index } => {
            ReadFixed::new(Fd(fd), buf, len, index).offset(offset).build()
        }
        Op::WriteFixed { fd, buf, len, offset, index } => {
            WriteFixed::new(Fd(fd), buf, len, index).offset(offset).build()
        }
        // Not tried without blocking first: the kernel completes what that leaves over in a second
        // write, and appends it behind what others have written in between.
        Op::Append { fd, buf, len } => {
            Write::new(Fd(fd), buf, len).rw_flags(RWF_APPEND).build().flags(Flags::ASYNC)
        }
        Op::Fsync { fd, data_only: false } => Fsync::new(Fd(fd)).build(),
        Op::Fsync { fd, data_only: true } => Fsync::new(Fd(fd)).flags(FsyncFlags::DATASYNC).build(),
        Op::SyncRange { fd, offset, len, flags } => {
            SyncFileRange::new(Fd(fd), len).offset(offset).flags(flags).build()
        }
        Op::Advise { fd, offset, len, advice } => {
            Fadvise::new(Fd(fd), len as libc::off_t, advice).offset(offset).build()
        }
        // An offset of `u64::MAX` is the -1 that stands for none.
        Op::Splice { from, from_offset, to, to_offset, len, flags, .. } => {
            let (from_offset, to_offset) = (from_offset.cast_signed(), to_offset.cast_signed());
            Splice::new(Fd(from), from_offset, Fd(to), to_offset, len)
                .flags(flags | SPLICE_F_NONBLOCK)
                .build()
        }
        Op::Tee { from, to, len, flags } => {
            Tee::new(Fd(from), Fd(to), len).flags(flags | SPLICE_F_NONBLOCK).build()
        }
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
        Op::LinkAt { from, to, flags } => {
            LinkAt::new(Fd(from.dir), from.name, Fd(to.dir), to.name).flags(flags).build()
        }
        Op::SymlinkAt { target, link } => SymlinkAt::new(Fd(link.dir), target, link.name).build(),
        Op::ReadlinkAt { .. } | Op::Getdents { .. } | Op::SetTimes { .. } | Op::Chmod { .. } => {
            return None;
        }
        Op::GetXattr { fd, name, buf, len } => {
            FGetXattr::new(Fd(fd), name, buf.cast(), len).build()
        }
        Op::SetXattr { fd, name, buf, len, flags } => {
            FSetXattr::new(Fd(fd), name, buf.cast_mut().cast(), len).flags(flags).build()
        }
        Op::ListXattr { .. } | Op::RemoveXattr { .. } | Op::Statfs { .. } => return None,
    };
    Some(entry)
}

/// The same entry for one of the ring's threads to carry out, without a try of the submitting one's before.
pub(super) fn by_worker(entry: Entry) -> Entry {
    entry.flags(Flags::ASYNC)
}

/// Whether the kernel queues `op` for its threads by file, if it goes to them, so that those of one file come in turn.
///
/// To cancel such a one in that queue is a danger: before Linux 7.1 (and the stable kernels of June 2026) the queue may
/// then keep a pointer to another entry, and when that is freed what comes later is written through it and lost, with
/// whatever follows ("io-wq: check that the predecessor is hashed in `io_wq_remove_pending()`"). Nobody can see where
/// an operation is, nor what the kernel has been mended of. Each of these ends without being asked, for it waits for
/// its file system only.
pub(crate) fn is_hashed(op: &Op) -> bool {
    match *op {
        // Streams have no offsets; only regular files have such queues.
        Op::Write { offset, .. } | Op::WriteV { offset, .. } => offset != u64::MAX,
        Op::Splice { to_offset, .. } => to_offset != u64::MAX,
        Op::WriteFixed { .. } | Op::Append { .. } | Op::Allocate { .. } | Op::Truncate { .. } => {
            true
        }
        _ => false,
    }
}

/// The opcode that [`encode`] uses for `kind`, to ask the kernel whether it has it.
pub(super) fn opcode(kind: OpKind) -> Option<u8> {
    match kind {
        OpKind::Nop => Some(Nop::CODE),
        OpKind::Accept => Some(Accept::CODE),
        OpKind::AcceptMulti => Some(Accept::CODE),
        OpKind::Connect => Some(Connect::CODE),
        OpKind::Recv => Some(Recv::CODE),
        OpKind::RecvMulti => Some(Recv::CODE),
        OpKind::Send => Some(Send::CODE),
        OpKind::SendZc => Some(SendZc::CODE),
        OpKind::RecvMsg => Some(RecvMsg::CODE),
        OpKind::SendMsg => Some(SendMsg::CODE),
        OpKind::SendMsgZc => Some(SendMsgZc::CODE),
        OpKind::Poll => Some(PollAdd::CODE),
        OpKind::Shutdown => Some(Shutdown::CODE),
        OpKind::Close => Some(Close::CODE),
        OpKind::Read => Some(Read::CODE),
        OpKind::Write => Some(Write::CODE),
        OpKind::ReadV => Some(Readv::CODE),
        OpKind::WriteV => Some(Writev::CODE),
        OpKind::ReadFixed => Some(ReadFixed::CODE),
        OpKind::WriteFixed => Some(WriteFixed::CODE),
        OpKind::Append => Some(Write::CODE),
        OpKind::Fsync => Some(Fsync::CODE),
        OpKind::SyncRange => Some(SyncFileRange::CODE),
        OpKind::Advise => Some(Fadvise::CODE),
        OpKind::Splice => Some(Splice::CODE),
        OpKind::Tee => Some(Tee::CODE),
        OpKind::OpenAt => Some(OpenAt2::CODE),
        OpKind::Statx => Some(Statx::CODE),
        OpKind::Truncate => Some(Ftruncate::CODE),
        OpKind::Allocate => Some(Fallocate::CODE),
        OpKind::MkdirAt => Some(MkDirAt::CODE),
        OpKind::UnlinkAt => Some(UnlinkAt::CODE),
        OpKind::RenameAt => Some(RenameAt::CODE),
        OpKind::LinkAt => Some(LinkAt::CODE),
        OpKind::SymlinkAt => Some(SymlinkAt::CODE),
        OpKind::GetXattr => Some(FGetXattr::CODE),
        OpKind::SetXattr => Some(FSetXattr::CODE),
        OpKind::AccessAt
        | OpKind::ReadlinkAt
        | OpKind::Getdents
        | OpKind::SetTimes
        | OpKind::Chmod
        | OpKind::ListXattr
        | OpKind::RemoveXattr
        | OpKind::Statfs => None,
    }
}
