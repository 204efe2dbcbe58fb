//! Faults on purpose: what the kernel may do to an operation and seldom does, done to it by chance. For
//! tests of how a program fares then.

#![allow(unsafe_code, reason = "asks what an operation's descriptor is")]

use std::array;
use std::cell::Cell;
use std::fmt;
use std::os::fd::{BorrowedFd, RawFd};
use std::str::FromStr;

use ringway_driver::{Op, OpKind};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::net::{SocketType, sockopt};

use crate::features::op_named;
use crate::metrics::FaultMetrics;
use crate::random::Random;

/// What may be done to an operation. Never to a close: that has happened, whatever its answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// `short`: it moves less than it was asked to and could, and at least a byte. Of files, pipes and streams
    /// only: half a datagram is no short one. Operations with several buffers get fewer of them.
    Short,
    /// `interrupted`: it is answered with `EINTR`, having done nothing. The runtime makes it again, so nobody
    /// else sees that. Of operations that are not done at once, since system calls are repeated where they are made.
    Interrupted,
    /// `no-memory`: it is answered with `ENOMEM`, having done nothing. On the ring that is a refusal, and the next
    /// rung is asked.
    NoMemory,
    /// `cancelled`: as if a [`CancelToken`](crate::cancel::CancelToken) had asked for its end, before it began
    /// or as soon as it was in flight; what comes of it is up to the kernel.
    Cancelled,
}

impl Fault {
    /// Every fault, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Short, Self::Interrupted, Self::NoMemory, Self::Cancelled];

    fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Interrupted => "interrupted",
            Self::NoMemory => "no-memory",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it can happen to operations of `kind`.
    fn can_befall(self, kind: OpKind) -> bool {
        match (self, kind) {
            (_, OpKind::Nop | OpKind::Close | OpKind::Shutdown) => false,
            (Self::Short, _) => moves_parts(kind),
            // It goes on by itself, and a second one would only say so.
            (Self::Interrupted, OpKind::Connect) => false,
            (Self::Interrupted | Self::NoMemory | Self::Cancelled, _) => true,
        }
    }
}

/// Whether operations of `kind` may do a part of what they were asked to, and be asked again for the rest. What appends does
/// so only where there is room for no more, and then the rest fails.
fn moves_parts(kind: OpKind) -> bool {
    use OpKind::{
        Read, ReadFixed, ReadV, Recv, Send, SendMsgZc, SendZc, Splice, Tee, Write, WriteFixed,
        WriteV,
    };
    let to_and_from_files = matches!(kind, Read | Write | ReadFixed | WriteFixed);
    let several = matches!(kind, ReadV | WriteV);
    to_and_from_files || several || matches!(kind, Recv | Send | SendZc | SendMsgZc | Splice | Tee)
}

/// So many times out of so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Chance {
    times: u32,
    of: u32,
}

impl Chance {
    /// `times` out of `of`; never if that is 0.
    #[must_use]
    pub const fn new(times: u32, of: u32) -> Self {
        Self { times, of }
    }
}

/// Which faults happen, and how often. None by default, and then they cost nothing.
///
/// A runtime draws what happens from a sequence that the seed determines. It is the same every time; which operation
/// meets which part of it depends on their order.
///
/// As text, and in the environment variable `RINGWAY_FAULTS`: `seed=7,short=1/3,splice.short=1/2`, with the names at
/// [`Fault`], operations ([`OpKind`]) as `Debug` prints them, in any case, and what comes later above what came before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    seed: Option<u64>,
    chances: Vec<(Option<OpKind>, Fault, Chance)>,
}

impl Faults {
    /// Nothing happens.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// By another sequence than the usual one.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// `fault` happens to all operations that it can happen to.
    #[must_use]
    pub fn with(mut self, fault: Fault, chance: Chance) -> Self {
        self.chances.push((None, fault, chance));
        self
    }

    /// `fault` happens to operations of `kind`, if it can.
    #[must_use]
    pub fn with_for(mut self, kind: OpKind, fault: Fault, chance: Chance) -> Self {
        self.chances.push((Some(kind), fault, chance));
        self
    }

    /// Both, with `other` above this.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.chances.extend(other.chances);
        Self { seed: other.seed.or(self.seed), chances: self.chances }
    }

    /// What makes them happen; `None` if nothing does.
    pub(crate) fn injector(&self) -> Option<Injector> {
        let mut chances = Chances::default();
        for &(only, fault, chance) in &self.chances {
            for kind in OpKind::ALL {
                let meant = only.is_none_or(|only| only == kind) && fault.can_befall(kind);
                if meant {
                    chances.0[kind as usize][fault as usize] = chance;
                }
            }
        }
        let some = chances.0.iter().flatten().any(|chance| chance.times > 0 && chance.of > 0);
        let random = Random::new(self.seed.unwrap_or_default());
        some.then(|| Injector { chances, random, counts: Default::default() })
    }
}

impl FromStr for Faults {
    type Err = UnknownFault;

    fn from_str(s: &str) -> Result<Self, UnknownFault> {
        let mut faults = Self::none();
        for part in s.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let unknown = || UnknownFault(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(unknown)?;
            if name == "seed" {
                faults = faults.seed(value.parse().map_err(|_| unknown())?);
                continue;
            }
            let (only, name) = match name.split_once('.') {
                Some((kind, name)) => (Some(op_named(kind).ok_or_else(unknown)?), name),
                None => (None, name),
            };
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            let fault = fault.ok_or_else(unknown)?;
            let (times, of) = value.split_once('/').ok_or_else(unknown)?;
            let times = times.parse().map_err(|_| unknown())?;
            let of = of.parse().ok().filter(|of| *of > 0).ok_or_else(unknown)?;
            faults.chances.push((only, fault, Chance { times, of }));
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={}", self.seed.unwrap_or_default())?;
        for (only, fault, Chance { times, of }) in &self.chances {
            f.write_str(",")?;
            if let Some(kind) = only {
                write!(f, "{kind:?}.")?;
            }
            write!(f, "{}={times}/{of}", fault.name())?;
        }
        Ok(())
    }
}

/// A part of the text of [`Faults`] that is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownFault(String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is neither a fault, as short=1/3 or splice.no-memory=1/50, nor a seed",
            self.0
        )
    }
}

impl std::error::Error for UnknownFault {}

/// By kind of operation and fault.
struct Chances([[Chance; Fault::ALL.len()]; OpKind::ALL.len()]);

impl Default for Chances {
    fn default() -> Self {
        Self([[Chance::default(); Fault::ALL.len()]; OpKind::ALL.len()])
    }
}

/// What becomes of an operation on its way to a driver.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is submitted.
    Runs(Op),
    /// It is submitted, and then asked to end.
    IsCancelled(Op),
    /// It is not, and this is the answer.
    Fails(i32),
}

/// Makes the faults of one runtime happen.
pub(crate) struct Injector {
    chances: Chances,
    random: Random,
    counts: [Cell<u64>; Fault::ALL.len()],
}

impl Injector {
    /// What an operation that is done at once becomes, or its answer.
    pub(crate) fn at_once(&self, op: &Op) -> Result<Op, i32> {
        let kind = op.kind();
        if self.strikes(Fault::NoMemory, kind) {
            return Err(-libc::ENOMEM);
        }
        if self.strikes(Fault::Cancelled, kind) {
            return Err(-libc::ECANCELED);
        }
        Ok(self.shortened(*op))
    }

    /// What becomes of an operation that is submitted. `again`: it was interrupted, which does not happen to the
    /// same one for ever.
    pub(crate) fn submitted(&self, op: Op, again: bool) -> Fate {
        let kind = op.kind();
        if !again && self.strikes(Fault::Interrupted, kind) {
            return Fate::Fails(-libc::EINTR);
        }
        if self.strikes(Fault::NoMemory, kind) {
            return Fate::Fails(-libc::ENOMEM);
        }
        let op = self.shortened(op);
        if self.strikes(Fault::Cancelled, kind) { Fate::IsCancelled(op) } else { Fate::Runs(op) }
    }

    /// How many of `len` bytes a send without a copy is to try, whichever way it takes.
    pub(crate) fn cut(&self, kind: OpKind, len: usize) -> usize {
        match u32::try_from(len) {
            Ok(all) if all > 1 && self.strikes(Fault::Short, kind) => self.part_of(all) as usize,
            _ => len,
        }
    }

    pub(crate) fn measure(&self) -> FaultMetrics {
        let [short, interrupted, no_memory, cancelled] = array::from_fn(|at| self.counts[at].get());
        FaultMetrics { short, interrupted, no_memory, cancelled }
    }

    fn strikes(&self, fault: Fault, kind: OpKind) -> bool {
        let Chance { times, of } = self.chances.0[kind as usize][fault as usize];
        let struck = of > 0 && times > 0 && self.random.below(of) < times;
        let count = &self.counts[fault as usize];
        count.set(count.get() + u64::from(struck));
        struck
    }

    fn shortened(&self, op: Op) -> Op {
        let mut short = op;
        let Some((len, grain)) = shortest(&mut short) else { return op };
        let pieces = *len / grain;
        if pieces < 2 || !self.strikes(Fault::Short, op.kind()) {
            return op;
        }
        *len = self.part_of(pieces) * grain;
        short
    }

    /// At least 1 of `all`, and not all. Every other time a few: those are the ones that are forgotten.
    fn part_of(&self, all: u32) -> u32 {
        const FEW: u32 = 16;
        let limit = if self.random.below(2) == 0 { all.min(FEW) } else { all };
        1 + self.random.below(limit - 1)
    }
}

/// The length of an operation that the kernel may cut short, and what it is then a multiple of.
fn shortest(op: &mut Op) -> Option<(&mut u32, u32)> {
    match op {
        Op::Recv { fd, len, .. }
        | Op::Send { fd, len, .. }
        | Op::Read { fd, len, .. }
        | Op::Write { fd, len, .. }
        | Op::ReadFixed { fd, len, .. }
        | Op::WriteFixed { fd, len, .. } => Some((len, grain(*fd)?)),
        Op::ReadV { fd, count, .. } | Op::WriteV { fd, count, .. } => {
            grain(*fd).filter(|grain| *grain == 1).map(|grain| (count, grain))
        }
        Op::Splice { from, to, len, .. } | Op::Tee { from, to, len, .. } => {
            let grain = grain(*from)?.max(grain(*to)?);
            Some((len, grain))
        }
        _ => None,
    }
}

/// What a transfer to or from a descriptor may be cut down to a multiple of; `None` for what comes and goes as a whole,
/// as datagrams and events do.
fn grain(fd: RawFd) -> Option<u32> {
    /// As large as a device's blocks are.
    const BLOCK: u32 = 4096;
    if fd < 0 {
        return None;
    }
    // SAFETY: it is that of an operation which is about to be made, whose owner has it open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let direct = || fcntl_getfl(fd).map_or(true, |flags| flags.contains(OFlags::DIRECT));
    match FileType::from_raw_mode(fstat(fd).ok()?.st_mode) {
        FileType::RegularFile | FileType::BlockDevice => Some(if direct() { BLOCK } else { 1 }),
        FileType::Fifo => (!direct()).then_some(1),
        FileType::Socket => (sockopt::socket_type(fd) == Ok(SocketType::STREAM)).then_some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::ptr;

    use super::*;

    fn read(fd: RawFd, len: u32) -> Op {
        Op::Read { fd, buf: ptr::null_mut(), len, offset: 0 }
    }

    #[test]
    fn faults_are_read_from_text_and_print_as_they_are_read() {
        let text = "seed=7, short=1/3,,no-memory=1/50,send_zc.short=1/2";
        let faults: Faults = text.parse().unwrap();
        let expected = Faults::none()
            .seed(7)
            .with(Fault::Short, Chance::new(1, 3))
            .with(Fault::NoMemory, Chance::new(1, 50))
            .with_for(OpKind::SendZc, Fault::Short, Chance::new(1, 2));
        assert_eq!(faults, expected);
        assert_eq!(faults.to_string().parse(), Ok(expected));
    }

    #[test]
    fn text_that_is_no_fault_is_told() {
        for text in [
            "short",
            "short=1",
            "short=1/0",
            "short=-1/2",
            "long=1/2",
            "sendfile.short=1/2",
            "seed=x",
        ] {
            let parsed = format!("seed=1,{text}").parse::<Faults>();
            assert_eq!(parsed, Err(UnknownFault(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn without_a_chance_there_is_nothing_to_ask() {
        for none in ["", "seed=3", "short=0/5", "close.no-memory=1/1", "statx.short=1/1"] {
            assert!(none.parse::<Faults>().unwrap().injector().is_none(), "{none}");
        }
    }

    #[test]
    fn what_comes_later_counts() {
        let faults: Faults = "no-memory=1/1,read.no-memory=0/1".parse().unwrap();
        let injector = faults.injector().unwrap();
        assert!(injector.at_once(&read(-1, 10)).is_ok());
        let answer = injector.at_once(&Op::Fsync { fd: -1, data_only: true }).unwrap_err();
        assert_eq!(answer, -libc::ENOMEM);
        assert_eq!(injector.measure(), FaultMetrics { no_memory: 1, ..Default::default() });
    }

    #[test]
    fn a_short_one_is_shorter_and_not_nothing() {
        let file = tempfile::tempfile().unwrap();
        let injector = Faults::none().with(Fault::Short, Chance::new(1, 1)).injector().unwrap();
        for len in [2, 3, 17, 1 << 20].into_iter().cycle().take(1000) {
            let Ok(Op::Read { len: cut, .. }) = injector.at_once(&read(file.as_raw_fd(), len))
            else {
                panic!("a read became something else")
            };
            assert!((1..len).contains(&cut), "{cut} of {len}");
        }
        assert!(matches!(
            injector.at_once(&read(file.as_raw_fd(), 1)),
            Ok(Op::Read { len: 1, .. })
        ));
        assert_eq!(injector.measure().short, 1000);
    }

    #[test]
    fn datagrams_and_events_stay_whole() {
        let (datagrams, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let events = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        assert_eq!(grain(datagrams.as_raw_fd()), None);
        assert_eq!(grain(events.as_raw_fd()), None);
        assert_eq!(grain(stream.as_raw_fd()), Some(1));
    }

    #[test]
    fn what_was_interrupted_is_not_interrupted_again() {
        let injector =
            Faults::none().with(Fault::Interrupted, Chance::new(1, 1)).injector().unwrap();
        let first = injector.submitted(read(-1, 1), false);
        assert!(matches!(first, Fate::Fails(errno) if errno == -libc::EINTR));
        assert!(matches!(injector.submitted(read(-1, 1), true), Fate::Runs(_)));
    }
}
