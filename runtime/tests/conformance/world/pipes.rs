//! Operations on pipes, one end of which is tried and the other is the standard library's; and splices.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use ringway::fs::File;
use ringway::pipe::{self, PipeReader, PipeWriter};
use rustix::pipe::{SpliceFlags, splice, tee};

use super::Stream;
use crate::case::{Bytes, Stage, World};

pub(crate) enum Reader {
    Ringway(PipeReader),
    Kernel(io::PipeReader),
}

pub(crate) enum Writer {
    Ringway(PipeWriter),
    Kernel(io::PipeWriter),
}

impl Stage {
    /// An end to read from, and its other end.
    pub(crate) fn reader(&self) -> (Reader, io::PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        let reader = match self.world {
            World::Kernel => Reader::Kernel(reader),
            World::Ringway => Reader::Ringway(PipeReader::from_fd(OwnedFd::from(reader)).unwrap()),
        };
        (reader, writer)
    }

    /// An end to write to, and its other end.
    pub(crate) fn writer(&self) -> (io::PipeReader, Writer) {
        let (reader, writer) = io::pipe().unwrap();
        let writer = match self.world {
            World::Kernel => Writer::Kernel(writer),
            World::Ringway => Writer::Ringway(PipeWriter::from_fd(OwnedFd::from(writer)).unwrap()),
        };
        (reader, writer)
    }

    pub(crate) async fn splice_to(
        &self,
        file: &File,
        offset: u64,
        to: &Writer,
        len: usize,
    ) -> io::Result<usize> {
        match to {
            Writer::Ringway(to) => file.splice_to(offset, to, len).await,
            Writer::Kernel(to) => {
                Ok(splice(file, Some(&mut { offset }), to, None, len, SpliceFlags::empty())?)
            }
        }
    }

    pub(crate) async fn splice_from(
        &self,
        file: &File,
        from: &Reader,
        offset: u64,
        len: usize,
    ) -> io::Result<usize> {
        match from {
            Reader::Ringway(from) => file.splice_from(from, offset, len).await,
            Reader::Kernel(from) => {
                Ok(splice(from, None, file, Some(&mut { offset }), len, SpliceFlags::empty())?)
            }
        }
    }
}

impl Reader {
    pub(crate) async fn read(&self, len: usize) -> io::Result<Bytes<Vec<u8>>> {
        let mut buf = vec![0; len];
        let count = match self {
            Self::Ringway(reader) => {
                let (count, back) = reader.read(buf).await;
                buf = back;
                count?
            }
            Self::Kernel(reader) => { reader }.read(&mut buf)?,
        };
        buf.truncate(count);
        Ok(Bytes(buf))
    }

    pub(crate) async fn splice(&self, to: &Writer, len: usize) -> io::Result<usize> {
        match (self, to) {
            (Self::Ringway(from), Writer::Ringway(to)) => pipe::splice(from, to, len).await,
            (Self::Kernel(from), Writer::Kernel(to)) => {
                Ok(splice(from, None, to, None, len, SpliceFlags::empty())?)
            }
            _ => panic!("ends of two worlds"),
        }
    }

    pub(crate) async fn splice_out(&self, to: &Stream, len: usize) -> io::Result<usize> {
        match (self, to) {
            (Self::Ringway(from), Stream::Ringway(to)) => pipe::splice(from, to, len).await,
            (Self::Kernel(from), Stream::Kernel(to)) => {
                Ok(splice(from, None, to, None, len, SpliceFlags::empty())?)
            }
            _ => panic!("ends of two worlds"),
        }
    }

    pub(crate) async fn tee(&self, to: &Writer, len: usize) -> io::Result<usize> {
        match (self, to) {
            (Self::Ringway(from), Writer::Ringway(to)) => pipe::tee(from, to, len).await,
            (Self::Kernel(from), Writer::Kernel(to)) => {
                Ok(tee(from, to, len, SpliceFlags::empty())?)
            }
            _ => panic!("ends of two worlds"),
        }
    }
}

impl Writer {
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Ringway(writer) => writer.write(bytes.to_vec()).await.0,
            Self::Kernel(writer) => { writer }.write(bytes),
        }
    }

    pub(crate) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Ringway(writer) => writer.write_all(bytes.to_vec()).await.0,
            Self::Kernel(writer) => { writer }.write_all(bytes),
        }
    }

    pub(crate) async fn splice_in(&self, from: &Stream, len: usize) -> io::Result<usize> {
        match (from, self) {
            (Stream::Ringway(from), Self::Ringway(to)) => pipe::splice(from, to, len).await,
            (Stream::Kernel(from), Self::Kernel(to)) => {
                Ok(splice(from, None, to, None, len, SpliceFlags::empty())?)
            }
            _ => panic!("ends of two worlds"),
        }
    }
}
