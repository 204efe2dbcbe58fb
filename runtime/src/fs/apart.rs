//! Reads and writes that another thread carries out, although this one could do them at once.
//!
//! Copying a mebibyte out of the page cache keeps a thread from everything else for some 100 µs. A runtime with more to
//! do may have it copied by one of the ring's threads, or the pool's, on another processor: in more time altogether,
//! for going there and back takes some 15 µs and the bytes are not in this processor's cache then.

#![allow(unsafe_code, reason = "makes operations out of descriptors and buffers")]

use std::os::fd::AsRawFd;
use std::thread::available_parallelism;

use super::File;
use super::file::{read, write};
use crate::buf::{BufResult, IoBuf, IoBufMut, filled};
use crate::op::{self, Begun};
use crate::permits::{Permit, Permits};
use crate::task::coop;

thread_local! {
    /// How many threads copy for this one at a time: one for each other processor, as more would take turns, and no
    /// more than four. A ring has threads for twice as many operations as there are processors and no fewer than
    /// four, of which this leaves some for what has to wait for a disk.
    static WORKERS: Permits =
        Permits::new(available_parallelism().map_or(1, |n| n.get().saturating_sub(1)).clamp(1, 4));
}

impl File {
    /// The same open file, of which [`read_at`](Self::read_at) and [`write_at`](Self::write_at), and what is made of
    /// them, do not take this thread's time: a thread of the ring's copies the bytes, or one of the pool's where those
    /// are bound as this one is, without a try here before. As many as there are other processors do so at a time, and no more than four; what comes
    /// beyond that goes the usual way.
    ///
    /// Alone, a transfer takes longer so: it is for large ones, while there is something else to do and a processor
    /// that has nothing. [`Metrics`](crate::Metrics) counts them under [`Rung::Worker`](crate::Rung::Worker), or
    /// [`Rung::Pool`](crate::Rung::Pool).
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { apart: true, ..self.clone() }
    }

    /// A thread to copy, if that is wanted and one is free.
    pub(super) fn worker(&self) -> Option<Permit> {
        self.apart.then(|| WORKERS.with(Permits::try_get))?
    }

    pub(super) async fn read_by_worker<B: IoBufMut>(
        &self,
        permit: Permit,
        mut buf: B,
        offset: u64,
    ) -> BufResult<usize, B> {
        coop::proceed().await;
        let rung = match op::begin_apart(&read(self.fd.as_raw_fd(), &mut buf, offset), None) {
            Begun::Done(answer) => return (op::result(answer).map(|n| n as usize), buf),
            Begun::GoTo(rung) => rung,
        };
        // SAFETY: file and buffer belong to the parts; a read's result is how many bytes it wrote from
        // the buffer's start.
        let read = unsafe {
            op::submit(
                None,
                (self.fd.clone(), buf, permit),
                move |(fd, buf, _)| read(fd.as_raw_fd(), buf, offset),
                |(_, buf, _), result| filled(result, buf),
            )
        };
        read.going_to(rung).await
    }

    pub(super) async fn write_by_worker<B: IoBuf>(
        &self,
        permit: Permit,
        buf: B,
        offset: u64,
    ) -> BufResult<usize, B> {
        coop::proceed().await;
        let identity = self.identity.clone();
        let op = write(self.fd.as_raw_fd(), &buf, offset);
        let rung = match op::begin_apart(&op, identity.as_ref()) {
            Begun::Done(answer) => return (op::result(answer).map(|n| n as usize), buf),
            Begun::GoTo(rung) => rung,
        };
        // SAFETY: file and buffer belong to the parts.
        let write = unsafe {
            op::submit(
                identity,
                (self.fd.clone(), buf, permit),
                move |(fd, buf, _)| write(fd.as_raw_fd(), buf, offset),
                |(_, buf, _), result| (result.map(|n| n as usize), buf),
            )
        };
        write.going_to(rung).await
    }
}
