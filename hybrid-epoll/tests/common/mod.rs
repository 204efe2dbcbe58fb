//! A driver with tokens handed out in order, and short ways to say an operation.

#![allow(
    unsafe_code,
    reason = "submits operations whose memory the tests own, replaces descriptors"
)]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::ffi::CStr;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use ringway_driver::{Completion, Driver, Identity, Op, Path, Token};
use ringway_epoll::{EpollDriver, Options};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bench {
    pub(crate) driver: EpollDriver,
    pub(crate) arrived: Vec<Completion>,
    next: u32,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options) -> Self {
        Self { driver: EpollDriver::new(options).unwrap(), arrived: Vec::new(), next: 0 }
    }

    fn token(&mut self) -> Token {
        self.next += 1;
        Token::new(self.next, 7)
    }

    pub(crate) fn submit(&mut self, op: Op) -> Token {
        self.submit_as(op, None)
    }

    pub(crate) fn submit_as(&mut self, op: Op, credentials: Option<Identity>) -> Token {
        let token = self.token();
        // SAFETY: each test keeps what it submits alive until it has the completion or has dropped
        // the driver.
        unsafe { self.driver.submit(token, op, credentials) };
        token
    }

    pub(crate) fn submit_blocking(&mut self, op: Op) -> Token {
        let token = self.token();
        // SAFETY: as above.
        unsafe { self.driver.submit_blocking(token, op, None) };
        token
    }

    pub(crate) fn try_now(&mut self, op: Op) -> Option<i32> {
        // SAFETY: the tests keep what they try alive.
        unsafe { self.driver.try_now(&op, None) }
    }

    /// [`Driver::adopt`], where a test runs both ways.
    pub(crate) fn adopt_if(&mut self, adopted: bool, fd: &impl AsRawFd) {
        if adopted {
            self.driver.adopt(fd.as_raw_fd());
        }
    }

    /// One turn; what it brought.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Vec<Completion> {
        let mut out = Vec::new();
        self.driver.turn(Some(timeout), &mut out).unwrap();
        out
    }

    /// One turn that does not sleep, of one who has other work or not; what it brought.
    pub(crate) fn turn_beside(&mut self, busy: bool) -> Vec<Completion> {
        let mut out = Vec::new();
        self.driver.turn_beside(busy, Some(Duration::ZERO), &mut out).unwrap();
        out
    }

    /// Whether `token` is still unanswered after a while.
    pub(crate) fn waits(&mut self, token: Token) -> bool {
        for _ in 0..3 {
            let out = self.turn(Duration::from_millis(10));
            self.arrived.extend(out);
        }
        self.arrived.iter().all(|completion| completion.token != token)
    }

    /// Turns until `token` is answered.
    pub(crate) fn result(&mut self, token: Token) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(at) = self.arrived.iter().position(|arrived| arrived.token == token) {
                let completion = self.arrived.remove(at);
                assert_eq!(completion, Completion::last(token, completion.result));
                return completion.result;
            }
            assert!(start.elapsed() < PATIENCE, "no answer to {token:?}");
            let out = self.turn(Duration::from_secs(1));
            self.arrived.extend(out);
        }
    }

    pub(crate) fn run(&mut self, op: Op) -> i32 {
        let token = self.submit(op);
        self.result(token)
    }
}

pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Closes with a reset in place of an end.
pub(crate) fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(&stream, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

pub(crate) fn set_option<T>(socket: &impl AsRawFd, level: i32, name: i32, value: &T) {
    let (value, len) = (std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: the length is the value's.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, len) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

pub(crate) fn recv(from: &impl AsRawFd, buf: &mut [u8], flags: i32) -> Op {
    Op::Recv { fd: from.as_raw_fd(), buf: buf.as_mut_ptr(), len: buf.len() as u32, flags }
}

pub(crate) fn send(to: &impl AsRawFd, buf: &[u8]) -> Op {
    Op::Send { fd: to.as_raw_fd(), buf: buf.as_ptr(), len: buf.len() as u32, flags: 0 }
}

pub(crate) fn read(from: &impl AsRawFd, buf: &mut [u8], offset: u64) -> Op {
    Op::Read { fd: from.as_raw_fd(), buf: buf.as_mut_ptr(), len: buf.len() as u32, offset }
}

pub(crate) fn write(to: &impl AsRawFd, buf: &[u8], offset: u64) -> Op {
    Op::Write { fd: to.as_raw_fd(), buf: buf.as_ptr(), len: buf.len() as u32, offset }
}

pub(crate) fn poll(fd: &impl AsRawFd, events: i16) -> Op {
    Op::Poll { fd: fd.as_raw_fd(), events }
}

pub(crate) fn at(dir: RawFd, name: &CStr) -> Path {
    Path { dir, name: name.as_ptr() }
}

pub(crate) fn how(flags: i32, resolve: u64) -> libc::open_how {
    // SAFETY: the structure is numbers, zero being "nothing asked".
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = resolve;
    how
}

/// Puts `new` in the place of `old`, whose number is used again.
pub(crate) fn replace(old: impl IntoRawFd, new: &impl AsRawFd) -> OwnedFd {
    let number = old.into_raw_fd();
    // SAFETY: the number was given up by its owner and belongs to what is put in its place.
    unsafe {
        assert_eq!(libc::dup2(new.as_raw_fd(), number), number);
        OwnedFd::from_raw_fd(number)
    }
}

/// What `poll(2)` says about `fd` right now.
pub(crate) fn polled(fd: &impl AsRawFd, events: i16) -> i16 {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, on the stack.
    assert!(unsafe { libc::poll(&raw mut entry, 1, 0) } >= 0);
    entry.revents
}
