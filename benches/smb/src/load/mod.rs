//! The load: connections with some requests in flight on each, spread over threads, each of which is a plain loop on epoll.
//!
//! `smb` and `floor` are what is said on a connection; `outbox` and `inbox` move it.

mod floor;
mod inbox;
mod offsets;
mod outbox;
mod smb;
mod tally;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use smb_common::client::{Blocking, Target};
use usmbd::wire::echo::EchoRequest;
use usmbd::wire::status::NtStatus;

use crate::files::{Name, Role};
use crate::floors::Way;
use crate::pattern::{LENGTH_MAX, Pattern};
use crate::shape::Shape;

use floor::Floor;
use outbox::Outbox;
use smb::{Open, Smb, Subject};
pub(crate) use tally::{Done, Tally};

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a thread that waits looks whether the time is over.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How often one asks for more credits, in vain or not.
const TRIES: usize = 512;

/// Which answers are received in full and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    /// One of [`Self::ONE_OF`], by chance.
    Some,
    All,
}

impl Verify {
    pub(crate) const ONE_OF: u64 = 64;

    /// With a number that chance has made, below [`Self::ONE_OF`].
    const fn takes(self, chance: u64) -> bool {
        matches!(self, Self::All) || chance == 0
    }
}

/// Connections with what is said on them.
pub(crate) struct Load {
    lanes: Vec<Lane>,
    depth: usize,
    pattern: &'static Pattern,
}

struct Lane {
    socket: TcpStream,
    out: Outbox,
    speech: Speech,
}

enum Speech {
    Smb(Box<Smb>),
    Floor(Box<Floor>),
}

impl Load {
    /// Logs on to a server and opens the files, which are there. What is written has to do with `sample`, so that it is
    /// something new each time.
    pub(crate) fn of_smb(
        target: &Target,
        shape: &Shape,
        sample: u64,
        verify: Verify,
        pattern: &'static Pattern,
    ) -> io::Result<Self> {
        let mut lanes = Vec::with_capacity(shape.connections);
        for first in (0..shape.connections).step_by(shape.channels) {
            let main = Blocking::connect(target)?;
            let mut channels = Vec::with_capacity(shape.channels);
            for _ in 1..shape.channels {
                channels.push(main.session(|session| Blocking::bind(target, session))?);
            }
            channels.insert(0, main);
            for (index, connection) in channels.into_iter().enumerate() {
                lanes.push(smb_lane(connection, shape, (first + index, sample), verify, pattern)?);
            }
        }
        Ok(Self { lanes, depth: shape.depth, pattern })
    }

    /// Connects to a floor.
    pub(crate) fn of_floor(
        (way, address): (Way, SocketAddr),
        shape: &Shape,
        sample: u64,
        verify: Verify,
        pattern: &'static Pattern,
    ) -> io::Result<Self> {
        let lane = |number: usize| -> io::Result<Lane> {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            let file = number % shape.files();
            let seed = if way.writes() { written_seed(file, sample) } else { file as u64 };
            let file = (u16::try_from(file).map_err(io::Error::other)?, seed);
            let floor = Floor::new(way, *shape, file, number, verify, pattern);
            Lane::new(socket, Speech::Floor(Box::new(floor)))
        };
        let lanes = (0..shape.connections).map(lane).collect::<io::Result<_>>()?;
        Ok(Self { lanes, depth: shape.depth, pattern })
    }

    /// Runs on this many threads: for `warm_up`, then for `time`, at whose begin and end the mark is made. It takes its
    /// own time at both, so what is between two marks is as long as what the threads count. What was asked is answered
    /// before it ends.
    pub(crate) fn run<M>(
        self,
        threads: usize,
        (warm_up, time): (Duration, Duration),
        mark: impl Fn() -> M,
    ) -> io::Result<(Done, M, M)> {
        let phase = Phase(AtomicU8::new(Phase::WARM_UP));
        let (depth, pattern) = (self.depth, self.pattern);
        let mut shares: Vec<Vec<Lane>> = Vec::new();
        shares.resize_with(threads.clamp(1, self.lanes.len().max(1)), Vec::new);
        let count = shares.len();
        for (index, lane) in self.lanes.into_iter().enumerate() {
            shares[index % count].push(lane);
        }
        thread::scope(|scope| {
            let work = |lanes| scope.spawn(|| Thread::new(lanes, depth, pattern)?.run(&phase));
            let workers: Vec<_> = shares.into_iter().map(work).collect();
            let is_over = |workers: &[ScopedJoinHandle<'_, _>]| {
                workers.iter().any(ScopedJoinHandle::is_finished)
            };
            wait(warm_up, || is_over(&workers));
            let begin = mark();
            phase.set(Phase::MEASURE);
            wait(time, || is_over(&workers));
            // Before the threads know, as a server may have a process for each connection, which ends with it.
            let end = mark();
            phase.set(Phase::END);
            let mut done = Done::default();
            for worker in workers {
                let result = worker.join().map_err(|_| io::Error::other("a thread panicked"))?;
                done.merge(&result?);
            }
            Ok((done, begin, end))
        })
    }
}

/// Sleeps, unless a thread has ended, which it does on an error.
fn wait(time: Duration, is_over: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_over() {
        let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
            return;
        };
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// What a file is to hold, other than what any sample before has written there.
fn written_seed(file: usize, sample: u64) -> u64 {
    1 + sample * crate::files::COUNT_MAX as u64 + file as u64
}

fn smb_lane(
    connection: Blocking,
    shape: &Shape,
    (number, sample): (usize, u64),
    verify: Verify,
    pattern: &'static Pattern,
) -> io::Result<Lane> {
    check_sizes(&connection, shape)?;
    let file = number % shape.files();
    let name = |role| Name { role, number: file };
    let open = |role, seed| -> io::Result<Open> {
        let file_id = connection.create(&name(role).request())?.file_id;
        Ok(Open { file_id, seed })
    };
    let source = name(Role::Source);
    let has_source = shape.workload.moves_bytes() && shape.workload.reads();
    let subject = Subject {
        source: has_source.then(|| open(Role::Source, source.seed())).transpose()?,
        target: shape
            .workload
            .writes()
            .then(|| open(Role::Target, written_seed(file, sample)))
            .transpose()?,
        name: source,
        number,
    };
    gather_credits(&connection, shape)?;
    let (socket, session) = connection.into_parts();
    let smb = Smb::new(session, *shape, subject, verify, pattern);
    Lane::new(socket, Speech::Smb(Box::new(smb)))
}

fn check_sizes(connection: &Blocking, shape: &Shape) -> io::Result<()> {
    let limits = connection.session(|session| session.agreed().cloned());
    let limits = limits.ok_or_else(|| io::Error::other("nothing was agreed on"))?;
    let is_too_much = (shape.workload.reads() && limits.read_max < shape.size)
        || (shape.workload.writes() && limits.write_max < shape.size);
    if shape.workload.moves_bytes() && is_too_much {
        let (read, write) = (limits.read_max, limits.write_max);
        return Err(io::Error::other(format!(
            "the server reads at most {read} bytes and writes at most {write} at once"
        )));
    }
    Ok(())
}

/// Enough for all that is to be in flight: a server grants them little by little.
fn gather_credits(connection: &Blocking, shape: &Shape) -> io::Result<()> {
    let size = if shape.workload.moves_bytes() { shape.size } else { 1 };
    let charge = u64::from(size.saturating_sub(1) / 65_536 + 1);
    let wanted = (charge * shape.depth as u64).max(2 * shape.depth as u64);
    for _ in 0..TRIES {
        if connection.session(|session| session.can_pay(wanted)) {
            return Ok(());
        }
        connection.call(&EchoRequest)?.expect(NtStatus::SUCCESS)?;
    }
    Err(io::Error::other(format!("the server does not grant {wanted} credits; less depth may do")))
}

impl Lane {
    fn new(socket: TcpStream, speech: Speech) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, out: Outbox::default(), speech })
    }

    fn in_flight(&self) -> usize {
        match &self.speech {
            Speech::Smb(smb) => smb.in_flight(),
            Speech::Floor(floor) => floor.in_flight(),
        }
    }

    fn tally(&mut self) -> &mut Tally {
        match &mut self.speech {
            Speech::Smb(smb) => smb.tally(),
            Speech::Floor(floor) => floor.tally(),
        }
    }

    fn receive(&mut self, sink: &mut [u8]) -> io::Result<()> {
        match &mut self.speech {
            Speech::Smb(smb) => smb.receive(&self.socket, sink),
            Speech::Floor(floor) => floor.receive(&self.socket, sink),
        }
    }

    /// Asks until enough is in flight, and sends as much of it as goes.
    fn fill(&mut self, depth: usize, pattern: &Pattern) -> io::Result<()> {
        while self.in_flight() < depth {
            match &mut self.speech {
                Speech::Smb(smb) => {
                    if !smb.ask(&mut self.out)? {
                        return match self.in_flight() {
                            0 => Err(io::Error::other("the server grants no credits any more")),
                            _ => self.out.send(&self.socket, pattern),
                        };
                    }
                }
                Speech::Floor(floor) => floor.ask(&mut self.out),
            }
        }
        self.out.send(&self.socket, pattern)
    }

    /// What remains to be seen to when nothing is in flight.
    fn end(self) -> io::Result<Tally> {
        match self.speech {
            Speech::Smb(smb) => smb.check_written(self.socket),
            Speech::Floor(mut floor) => Ok(std::mem::take(floor.tally())),
        }
    }
}

/// What the threads are to do.
struct Phase(AtomicU8);

impl Phase {
    const WARM_UP: u8 = 0;
    const MEASURE: u8 = 1;
    const END: u8 = 2;

    fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Release);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// A thread's part of the connections.
struct Thread {
    lanes: Vec<Lane>,
    /// Whether each waits to send.
    blocked: Vec<bool>,
    poll: OwnedFd,
    depth: usize,
    /// Where dropped bytes are not written to; the kernel is told how long it is.
    sink: Vec<u8>,
    pattern: &'static Pattern,
}

impl Thread {
    fn new(lanes: Vec<Lane>, depth: usize, pattern: &'static Pattern) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, lane) in lanes.iter().enumerate() {
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&poll, &lane.socket, data, epoll::EventFlags::IN)?;
        }
        let blocked = vec![false; lanes.len()];
        Ok(Self { lanes, blocked, poll, depth, sink: vec![0; LENGTH_MAX], pattern })
    }

    fn run(mut self, phase: &Phase) -> io::Result<Done> {
        for index in 0..self.lanes.len() {
            self.fill(index)?;
        }
        self.turn_while(|_| phase.get() == Phase::WARM_UP, self.depth)?;
        self.lanes.iter_mut().for_each(|lane| *lane.tally() = Tally::default());
        let start = Instant::now();
        self.turn_while(|_| phase.get() == Phase::MEASURE, self.depth)?;
        let time = start.elapsed();
        let measured: Vec<_> = self.lanes.iter_mut().map(|lane| lane.tally().clone()).collect();
        self.turn_while(|lanes| lanes.iter().any(|lane| lane.in_flight() > 0), 0)?;
        let mut sum = Tally::default();
        for (mut lane, measured) in self.lanes.into_iter().zip(measured) {
            *lane.tally() = measured;
            sum.merge(&lane.end()?);
        }
        Ok(Done { tally: sum, time })
    }

    /// Deals with what happens for as long as the condition holds, keeping that much in flight.
    fn turn_while(&mut self, is_on: impl Fn(&[Lane]) -> bool, depth: usize) -> io::Result<()> {
        self.depth = depth;
        let mut events = Vec::with_capacity(64);
        let mut heard = Instant::now();
        while is_on(&self.lanes) {
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&LOOK))
            {
                Ok(0) if heard.elapsed() > PATIENCE => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the server is silent"));
                }
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => heard = Instant::now(),
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let data = event.data;
                let index = data.u64() as usize;
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.receive(&mut self.sink)?;
                    self.fill(index)?;
                }
            }
        }
        Ok(())
    }

    fn fill(&mut self, index: usize) -> io::Result<()> {
        let lane = &mut self.lanes[index];
        lane.fill(self.depth, self.pattern)?;
        let is_blocked = !lane.out.is_empty();
        if std::mem::replace(&mut self.blocked[index], is_blocked) != is_blocked {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, is_blocked);
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.poll, &lane.socket, data, flags)?;
        }
        Ok(())
    }
}
