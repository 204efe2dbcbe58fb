//! TCP listeners and streams.

#![allow(unsafe_code, reason = "makes operations out of descriptors and buffers")]

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;

use ringway_driver::Op;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::buf::{BufResult, IoBuf, IoBufExt, IoBufMut, filled, op_len};
use crate::op;

/// How many connections the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;

/// A socket that accepts connections.
pub struct TcpListener {
    socket: Rc<OwnedFd>,
}

impl TcpListener {
    /// Listens on `addr`, with `SO_REUSEADDR`; an IPv6 socket takes no IPv4 connections.
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `listen`.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = new_socket(addr)?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self { socket: Rc::new(socket.into()) })
    }

    /// The address that this listens on, with the port that the kernel chose for port 0.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.socket)
    }

    /// Waits for a connection. A connection won by a dropped call is closed.
    ///
    /// # Errors
    /// Those of `accept4`. After most of them (`ECONNABORTED`, `EMFILE`, …) the listener still works;
    /// pause before trying again when descriptors have run out.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let peer = SockAddrStorage::zeroed();
        let len = peer.size_of();
        // SAFETY: socket, address and length belong to the parts, and `SockAddrStorage` is a
        // transparent `sockaddr_storage`. The result is a descriptor that nobody else has, with an
        // address of the length that the kernel wrote, which is never more than the storage's.
        let accept = unsafe {
            op::submit(
                None,
                (self.socket.clone(), peer, len),
                |(socket, peer, len)| Op::Accept {
                    fd: socket.as_raw_fd(),
                    addr: peer.view_as(),
                    addr_len: len,
                },
                |(_, peer, len), result| {
                    let socket = OwnedFd::from_raw_fd(result?.cast_signed());
                    let peer = ip_address(&SockAddr::new(peer, len))?;
                    Ok((TcpStream { socket: Rc::new(socket) }, peer))
                },
            )
        };
        accept.await
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("fd", &self.socket.as_raw_fd()).finish()
    }
}

/// A connection. Its methods take `&self`: one task may receive while another sends.
///
/// Dropping it cancels what is in flight and closes it, so that the peer sees the end.
pub struct TcpStream {
    socket: Rc<OwnedFd>,
}

impl TcpStream {
    /// Connects to `addr`.
    ///
    /// # Errors
    /// Those of `socket` and `connect`.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = Rc::new(OwnedFd::from(new_socket(addr)?));
        // SAFETY: socket and address belong to the parts; a box keeps the address where it is.
        let connect = unsafe {
            op::submit(
                None,
                (socket, Box::new(SockAddr::from(addr))),
                |(socket, addr)| Op::Connect {
                    fd: socket.as_raw_fd(),
                    addr: addr.as_ptr().cast(),
                    addr_len: addr.len(),
                },
                |(socket, _), result| result.map(|_| Self { socket }),
            )
        };
        connect.await
    }

    /// Takes a connection over, from another runtime for example.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { socket: Rc::new(stream.into()) })
    }

    /// Gives the connection out, for another core's runtime. It stays non-blocking.
    ///
    /// # Errors
    /// `ResourceBusy` if operations are in flight; the connection is closed then.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        if Rc::strong_count(&self.socket) > 1 {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: the value is not used again, nor dropped.
        let socket = unsafe { ptr::read(&this.socket) };
        Rc::into_inner(socket).map(Into::into).ok_or_else(|| io::ErrorKind::ResourceBusy.into())
    }

    /// Receives some bytes into the start of `buf`; 0 at the end of the stream.
    ///
    /// Not cancel safe: bytes that a dropped call has received are lost.
    ///
    /// # Errors
    /// Those of `recv`.
    pub async fn recv<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        // SAFETY: socket and buffer belong to the parts; a receive's result is how many bytes it wrote
        // from the buffer's start.
        let recv = unsafe {
            op::submit(
                None,
                (self.socket.clone(), buf),
                |(socket, buf)| Op::Recv {
                    fd: socket.as_raw_fd(),
                    buf: buf.stable_mut_ptr(),
                    len: op_len(buf.bytes_total()),
                    flags: 0,
                },
                |(_, buf), result| filled(result, buf),
            )
        };
        recv.await
    }

    /// Receives until `buf` is full (all its [`IoBufMut::bytes_total`]).
    ///
    /// Not cancel safe: bytes that a dropped call has received are lost.
    ///
    /// # Errors
    /// Those of `recv`; `UnexpectedEof` if the stream ends before.
    pub async fn recv_exact<B: IoBufMut>(&self, mut buf: B) -> BufResult<(), B> {
        let total = buf.bytes_total();
        let mut done = 0;
        while done < total {
            let (result, part) = self.recv(buf.slice(done..total)).await;
            buf = part.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
                Ok(n) => done += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Sends some of `buf`'s initialised bytes.
    ///
    /// # Errors
    /// Those of `send`; a closed connection is `BrokenPipe`, never a signal.
    pub async fn send<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        // SAFETY: socket and buffer belong to the parts.
        let send = unsafe {
            op::submit(
                None,
                (self.socket.clone(), buf),
                |(socket, buf)| Op::Send {
                    fd: socket.as_raw_fd(),
                    buf: buf.stable_ptr(),
                    len: op_len(buf.bytes_init()),
                    flags: 0,
                },
                |(_, buf), result| (result.map(|n| n as usize), buf),
            )
        };
        send.await
    }

    /// Sends all of `buf`'s initialised bytes.
    ///
    /// # Errors
    /// Those of `send`. How much went out before an error is not told.
    pub async fn send_all<B: IoBuf>(&self, mut buf: B) -> BufResult<(), B> {
        let total = buf.bytes_init();
        let mut done = 0;
        while done < total {
            let (result, part) = self.send(buf.slice(done..)).await;
            buf = part.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(n) => done += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Ends one direction or both; what waits in it ends too.
    ///
    /// # Errors
    /// Those of `shutdown`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        shutdown(&self.socket, how)
    }

    /// Sends small segments at once (`TCP_NODELAY`), or lets the kernel gather them.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(&self.socket, nodelay)?)
    }

    /// The other end's address.
    ///
    /// # Errors
    /// Those of `getpeername`; `NotConnected` once the peer is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let addr = rustix::net::getpeername(&self.socket)?;
        addr.and_then(|addr| addr.try_into().ok()).ok_or_else(not_an_ip_address)
    }

    /// This end's address.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.socket)
    }
}

impl Drop for TcpStream {
    /// Operations in flight hold the socket, and closing it under them would tell the peer nothing,
    /// so the connection is ended first.
    fn drop(&mut self) {
        if Rc::strong_count(&self.socket) > 1 {
            let _ = shutdown(&self.socket, Shutdown::Both);
        }
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream").field("fd", &self.socket.as_raw_fd()).finish()
    }
}

/// A socket for `addr`'s family. Non-blocking, as every socket here: readiness may lie.
fn new_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn shutdown(socket: &OwnedFd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => rustix::net::Shutdown::Read,
        Shutdown::Write => rustix::net::Shutdown::Write,
        Shutdown::Both => rustix::net::Shutdown::Both,
    };
    Ok(rustix::net::shutdown(socket, how)?)
}

fn local_addr(socket: &OwnedFd) -> io::Result<SocketAddr> {
    rustix::net::getsockname(socket)?.try_into().map_err(|_| not_an_ip_address())
}

fn ip_address(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(not_an_ip_address)
}

fn not_an_ip_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an IP address")
}
