//! Datagrams, sends without copying, and registered buffers.

use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};

use ringway::buf::FixedPool;
use ringway::fs::File;
use ringway::net;

use super::Stream;
use crate::case::{Bytes, Stage, World};

pub(crate) enum Datagrams {
    Ringway(net::UdpSocket),
    Kernel(UdpSocket),
}

impl Stage {
    /// A socket that is tried, and its address.
    pub(crate) fn datagrams(&self) -> (Datagrams, SocketAddr) {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let addr = socket.local_addr().unwrap();
        let socket = match self.world {
            World::Ringway => Datagrams::Ringway(net::UdpSocket::from_std(socket).unwrap()),
            World::Kernel => Datagrams::Kernel(socket),
        };
        (socket, addr)
    }

    /// By way of a registered buffer of `len` bytes.
    pub(crate) async fn read_fixed(
        &self,
        file: &File,
        len: usize,
        offset: u64,
    ) -> io::Result<Bytes<Vec<u8>>> {
        match self.world {
            World::Ringway => {
                let pool = FixedPool::new(1, len)?;
                let buf = pool.try_get().expect("nobody else has one");
                let (count, buf) = file.read_fixed_at(buf, offset).await;
                Ok(Bytes(buf[..count?].to_vec()))
            }
            World::Kernel => self.read_at(file, len, offset).await,
        }
    }

    /// By way of a registered buffer of 4096 bytes.
    pub(crate) async fn write_fixed(
        &self,
        file: &File,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        match self.world {
            World::Ringway => {
                let pool = FixedPool::new(1, 4096)?;
                let mut buf = pool.try_get().expect("nobody else has one");
                buf.extend_from_slice(bytes);
                file.write_fixed_at(buf, offset).await.0
            }
            World::Kernel => self.write_at(file, bytes, offset).await,
        }
    }
}

impl Datagrams {
    /// The bytes, and who sent them.
    pub(crate) async fn recv_from(&self, len: usize) -> io::Result<(Bytes<Vec<u8>>, SocketAddr)> {
        let mut buf = vec![0; len];
        let (count, from) = match self {
            Self::Ringway(socket) => {
                let (meta, back) = socket.recv_from(buf).await;
                buf = back;
                meta.map(|meta| (meta.len, meta.from))?
            }
            Self::Kernel(socket) => socket.recv_from(&mut buf)?,
        };
        buf.truncate(count);
        Ok((Bytes(buf), from))
    }

    pub(crate) async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        match self {
            Self::Ringway(socket) => socket.send_to(bytes.to_vec(), to).await.0,
            Self::Kernel(socket) => socket.send_to(bytes, to),
        }
    }
}

impl Stream {
    /// All of `bytes` without copying them, and until the buffer is back; it comes back unchanged.
    pub(crate) async fn send_zc(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Ringway(stream) => {
                let sent = stream.send_zc_all(bytes.to_vec()).await;
                assert!(sent.notify.await.buf == bytes, "the buffer has changed");
                sent.result
            }
            Self::Kernel(stream) => { stream }.write_all(bytes).map(|()| bytes.len()),
        }
    }

    /// The same of several parts.
    pub(crate) async fn sendmsg_zc(&self, parts: &[Vec<u8>]) -> io::Result<usize> {
        match self {
            Self::Ringway(stream) => {
                let sent = stream.sendmsg_zc_all(parts.to_vec()).await;
                assert!(sent.notify.await.buf == parts, "the buffers have changed");
                sent.result
            }
            Self::Kernel(stream) => {
                let bytes = parts.concat();
                { stream }.write_all(&bytes).map(|()| bytes.len())
            }
        }
    }
}
