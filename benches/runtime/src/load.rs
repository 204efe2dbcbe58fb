//! The one load generator that all servers get: a plain epoll loop on the load's core.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::meter::{Meter, Usage};

/// How long a server may be silent before it counts as dead.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Events taken in one call.
const EVENTS: usize = 256;

/// When the load starts to count and when it ends.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What a load did while it counted.
pub(crate) struct Loaded {
    pub(crate) ops: u64,
    pub(crate) usage: Usage,
    /// The load's own CPU time per wall time: near 1, the load was the limit, not the server.
    pub(crate) load_busy: f64,
}

/// Starts the clocks at the window's begin and stops them at its end.
struct Timer<F> {
    window: Window,
    begin: Instant,
    start: Option<F>,
    running: Option<(Meter, Duration, u64)>,
}

impl<F: FnOnce() -> io::Result<Meter>> Timer<F> {
    fn new(window: Window, start: F) -> Self {
        Self { window, begin: Instant::now(), start: Some(start), running: None }
    }

    /// To be called now and then with the number of operations so far; gives the result at the end.
    fn tick(&mut self, ops: u64) -> io::Result<Option<Loaded>> {
        let elapsed = self.begin.elapsed();
        if elapsed >= self.window.warm_up
            && let Some(start) = self.start.take()
        {
            self.running = Some((start()?, thread_cpu(), ops));
            self.begin = Instant::now();
            self.window.warm_up = Duration::ZERO;
        } else if self.start.is_none()
            && elapsed >= self.window.time
            && let Some((meter, cpu, before)) = self.running.take()
        {
            let usage = meter.stop()?;
            let load_busy = (thread_cpu() - cpu).as_secs_f64() / usage.wall.as_secs_f64();
            return Ok(Some(Loaded { ops: ops - before, usage, load_busy }));
        }
        Ok(None)
    }
}

/// Sends `size` bytes on each of `connections` connections, and the same again when they are back.
pub(crate) fn echo(
    port: u16,
    connections: usize,
    size: usize,
    window: Window,
    start: impl FnOnce() -> io::Result<Meter>,
) -> io::Result<Loaded> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut sockets = Vec::with_capacity(connections);
    for index in 0..connections {
        let socket = connect(port)?;
        socket.set_nonblocking(true)?;
        add(&poll, &socket, index)?;
        sockets.push((socket, 0_usize));
    }
    let message = vec![0x5a; size];
    let mut buf = vec![0; size.max(1)];
    for (socket, _) in &mut sockets {
        send_all(socket, &message)?;
    }
    let mut timer = Timer::new(window, start);
    let mut events = Vec::with_capacity(EVENTS);
    let mut ops = 0;
    loop {
        wait(&poll, &mut events)?;
        for event in events.drain(..) {
            let Some((socket, received)) = sockets.get_mut(index_of(event)) else { continue };
            *received += receive(socket, &mut buf)?;
            if *received == size {
                *received = 0;
                ops += 1;
                send_all(socket, &message)?;
            }
        }
        if let Some(loaded) = timer.tick(ops)? {
            return Ok(loaded);
        }
    }
}

/// Connects, sends a byte, gets a byte, closes, `at_once` at a time.
///
/// A connection is ended by a reset, so that no port stays occupied for a minute.
pub(crate) fn connects(
    port: u16,
    at_once: usize,
    window: Window,
    start: impl FnOnce() -> io::Result<Meter>,
) -> io::Result<Loaded> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let open = |index| -> io::Result<TcpStream> {
        let mut socket = connect(port)?;
        socket.write_all(b"?")?;
        add(&poll, &socket, index)?;
        Ok(socket)
    };
    let mut sockets = (0..at_once).map(open).collect::<io::Result<Vec<_>>>()?;
    let mut timer = Timer::new(window, start);
    let mut events = Vec::with_capacity(EVENTS);
    let mut ops = 0;
    loop {
        wait(&poll, &mut events)?;
        for event in events.drain(..) {
            let index = index_of(event);
            let Some(socket) = sockets.get_mut(index) else { continue };
            receive(socket, &mut [0])?;
            rustix::net::sockopt::set_socket_linger(&*socket, Some(Duration::ZERO))?;
            *socket = open(index)?;
            ops += 1;
        }
        if let Some(loaded) = timer.tick(ops)? {
            return Ok(loaded);
        }
    }
}

/// Receives whatever comes, and counts bytes.
pub(crate) fn sink(
    port: u16,
    window: Window,
    start: impl FnOnce() -> io::Result<Meter>,
) -> io::Result<Loaded> {
    let mut socket = connect(port)?;
    let mut buf = vec![0; 1 << 20];
    let mut timer = Timer::new(window, start);
    let mut bytes = 0;
    loop {
        match socket.read(&mut buf)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes += n as u64,
        }
        if let Some(loaded) = timer.tick(bytes)? {
            return Ok(loaded);
        }
    }
}

/// A connection to the server under test.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn add(poll: &OwnedFd, socket: &TcpStream, index: usize) -> io::Result<()> {
    let data = epoll::EventData::new_u64(index as u64);
    Ok(epoll::add(poll, socket, data, epoll::EventFlags::IN)?)
}

fn wait(poll: &OwnedFd, events: &mut Vec<epoll::Event>) -> io::Result<()> {
    match epoll::wait(poll, rustix::buffer::spare_capacity(events), Some(&PATIENCE)) {
        // A stopped and continued process, or a machine that was: the caller looks and waits again.
        Err(rustix::io::Errno::INTR) => return Ok(()),
        waited => waited?,
    };
    if events.is_empty() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the server is silent"));
    }
    Ok(())
}

fn index_of(event: epoll::Event) -> usize {
    let data = event.data;
    data.u64() as usize
}

fn receive(socket: &mut TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    match socket.read(buf) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

fn send_all(socket: &mut TcpStream, mut message: &[u8]) -> io::Result<()> {
    while !message.is_empty() {
        match socket.write(message) {
            Ok(n) => message = &message[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}
