//! Operations on sockets. The end that is tried is Ringway's or a blocking one; its peer is always a
//! blocking socket of the standard library's, so that it behaves the same in both worlds.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway::net;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

use crate::case::{Bytes, Stage, World};

pub(crate) enum Stream {
    Ringway(net::TcpStream),
    Kernel(TcpStream),
}

pub(crate) enum Listener {
    Ringway(net::TcpListener),
    Kernel(TcpListener),
}

/// A listener for peers.
pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Does something when the other side has had time to begin waiting for it. Whatever the order, the
/// answers are the same. What `act` does may fail: the other side may be gone.
pub(crate) fn later<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(15));
        act()
    })
}

/// Ends a connection with a reset.
pub(crate) fn abort(stream: TcpStream) {
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
}

/// Blocks until `fd` polls as `events`: what a peer has done has arrived.
pub(crate) fn settled(fd: impl AsFd, events: PollFlags) {
    let mut fds = [PollFd::new(&fd, events)];
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "nothing arrived");
}

impl Stage {
    pub(crate) fn listen(&self) -> (Listener, SocketAddr) {
        match self.world {
            World::Ringway => {
                let listener = net::TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
                let addr = listener.local_addr().unwrap();
                (Listener::Ringway(listener), addr)
            }
            World::Kernel => {
                let (listener, addr) = listener();
                (Listener::Kernel(listener), addr)
            }
        }
    }

    pub(crate) async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        match self.world {
            World::Ringway => net::TcpStream::connect(addr).await.map(Stream::Ringway),
            World::Kernel => TcpStream::connect(addr).map(Stream::Kernel),
        }
    }

    /// The end that is tried, and its peer.
    pub(crate) fn pair(&self) -> (Stream, TcpStream) {
        let (listener, addr) = listener();
        let peer = TcpStream::connect(addr).unwrap();
        peer.set_nodelay(true).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let stream = match self.world {
            World::Ringway => Stream::Ringway(net::TcpStream::from_std(stream).unwrap()),
            World::Kernel => Stream::Kernel(stream),
        };
        (stream, peer)
    }
}

impl Listener {
    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Ringway(listener) => {
                listener.accept().await.map(|(stream, peer)| (Stream::Ringway(stream), peer))
            }
            Self::Kernel(listener) => {
                listener.accept().map(|(stream, peer)| (Stream::Kernel(stream), peer))
            }
        }
    }
}

impl Stream {
    pub(crate) async fn recv(&self, len: usize) -> io::Result<Bytes<Vec<u8>>> {
        let mut buf = vec![0; len];
        let count = match self {
            Self::Ringway(stream) => {
                let (count, back) = stream.recv(buf).await;
                buf = back;
                count?
            }
            Self::Kernel(stream) => { stream }.read(&mut buf)?,
        };
        buf.truncate(count);
        Ok(Bytes(buf))
    }

    pub(crate) async fn recv_exact(&self, len: usize) -> io::Result<Bytes<Vec<u8>>> {
        let mut buf = vec![0; len];
        match self {
            Self::Ringway(stream) => {
                let (done, back) = stream.recv_exact(buf).await;
                buf = back;
                done?;
            }
            Self::Kernel(stream) => { stream }.read_exact(&mut buf).map_err(|error| {
                // The standard library's has a text of its own.
                match error.raw_os_error() {
                    Some(_) => error,
                    None => error.kind().into(),
                }
            })?,
        }
        Ok(Bytes(buf))
    }

    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Ringway(stream) => stream.send(bytes.to_vec()).await.0,
            Self::Kernel(stream) => { stream }.write(bytes),
        }
    }

    pub(crate) async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Ringway(stream) => stream.send_all(bytes.to_vec()).await.0,
            Self::Kernel(stream) => { stream }.write_all(bytes),
        }
    }

    pub(crate) async fn hang_up(&self) -> io::Result<()> {
        match self {
            Self::Ringway(stream) => stream.hang_up().await,
            Self::Kernel(stream) => {
                poll(&mut [PollFd::new(stream, PollFlags::RDHUP)], None)?;
                Ok(())
            }
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Ringway(stream) => stream.shutdown(how),
            Self::Kernel(stream) => stream.shutdown(how),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ringway(stream) => stream.as_fd(),
            Self::Kernel(stream) => stream.as_fd(),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ringway(listener) => listener.as_fd(),
            Self::Kernel(listener) => listener.as_fd(),
        }
    }
}
