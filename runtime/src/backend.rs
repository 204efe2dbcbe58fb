//! The choice of a backend: override, then environment, then what the kernel takes.

use std::env;
use std::fmt;
use std::io;
use std::str::FromStr;

use ringway_epoll::{EpollDriver, Options};

use crate::drivers::{Drivers, Parking};
use crate::faults::Faults;
use crate::features::{Feature, Features, Mask};
use crate::ladder::Ladder;
use crate::policy::Policy;
use crate::sockets;
use crate::uring::{Sleep, UringDriver};

/// The environment variable that overrides [`Backend::Auto`].
const VARIABLE: &str = "RINGWAY_BACKEND";

/// How a runtime waits and runs operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Backend {
    /// The best that works: `RINGWAY_BACKEND` if it is set, else [`Backend::Uring`] where the kernel
    /// gives a ring, else [`Backend::Epoll`].
    #[default]
    Auto,
    /// Operations go on a ring and the thread sleeps in it. Needs the io_uring
    /// of Linux 5.11.
    Uring,
    /// Operations go on a ring and the thread sleeps in epoll. Needs what [`Backend::Uring`] does.
    Hybrid,
    /// No ring: readiness from epoll, and threads for what can only block.
    Epoll,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Hybrid => "hybrid",
            Self::Epoll => "epoll",
        })
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(s: &str) -> Result<Self, UnknownBackend> {
        match s {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "hybrid" => Ok(Self::Hybrid),
            "epoll" => Ok(Self::Epoll),
            _ => Err(UnknownBackend(s.to_owned())),
        }
    }
}

/// A name that is no backend's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownBackend(String);

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no backend is named {:?}; there are auto, uring, hybrid and epoll", self.0)
    }
}

impl std::error::Error for UnknownBackend {}

/// Opens the drivers for `wanted`, to sleep in epoll if they are a `guest`'s. With [`Backend::Auto`] and
/// nothing in the environment, it fails only if epoll itself does not work.
pub(crate) fn open(
    wanted: Backend,
    guest: bool,
    options: &Options,
    mask: Mask,
    policy: &Policy,
) -> io::Result<(Drivers, Features)> {
    let mask = mask.and(masked_by_environment()?);
    let epoll = EpollDriver::new(options)?;
    let (wanted, chosen_by) = if guest { as_guest(wanted)? } else { overridden(wanted)? };
    let (mut reasons, mut ring) = (Vec::new(), None);
    let in_epoll = guest || wanted == Backend::Hybrid;
    let sleep = if in_epoll { Sleep::InEpoll } else { Sleep::InRing };
    let open = || UringDriver::open(sleep, mask, options.pool_cpus.len());
    let parking = match (wanted != Backend::Epoll).then(open) {
        None => Parking::Epoll,
        Some(Ok((driver, found))) => {
            ring = Some(found);
            if in_epoll { Parking::Hybrid(driver) } else { Parking::Uring(driver) }
        }
        Some(Err(error)) if wanted == Backend::Auto => {
            reasons.push(format!("no ring: {error}"));
            Parking::Epoll
        }
        Some(Err(error)) => {
            let text = format!("backend {wanted} ({chosen_by}) cannot run: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
    };
    let backend = match parking {
        Parking::Uring(_) => Backend::Uring,
        Parking::Hybrid(_) => Backend::Hybrid,
        Parking::Epoll => Backend::Epoll,
    };
    let ops = ring.as_ref().map(|ring| ring.ops).unwrap_or_default();
    let personalities = ring.as_ref().is_some_and(|ring| ring.has(Feature::Personality));
    let switches_here = ring.as_ref().is_none_or(|ring| ring.has(Feature::DeferTaskrun));
    let workers = ring.as_ref().is_some_and(|ring| ring.has(Feature::UnboundWorkers));
    let ladder =
        Ladder::new(ops, personalities, switches_here, policy).with_unbound_workers(workers);
    let found = sockets::features(mask);
    let features = Features { backend, chosen_by, reasons, ring, found, ladder };
    Ok((Drivers::new(epoll, parking)?, features))
}

/// [`overridden`] for a guest. The environment speaks to all runtimes of a process: what it says of
/// a ring, a guest without one does without.
///
/// # Errors
/// `InvalidInput` for a backend that the program asked for and that does not sleep in epoll.
fn as_guest(wanted: Backend) -> io::Result<(Backend, &'static str)> {
    match (wanted, overridden(wanted)?) {
        (Backend::Uring, _) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a guest sleeps in epoll, so its backend cannot be uring",
        )),
        (Backend::Auto, (Backend::Uring | Backend::Hybrid, by)) => Ok((Backend::Auto, by)),
        (_, chosen) => Ok(chosen),
    }
}

/// The environment variable that makes features absent.
const MASK_VARIABLE: &str = "RINGWAY_MASK";

fn masked_by_environment() -> io::Result<Mask> {
    by_environment(MASK_VARIABLE)
}

/// The environment variable that makes operations fail.
const FAULTS_VARIABLE: &str = "RINGWAY_FAULTS";

/// What the environment has go wrong.
///
/// # Errors
/// `InvalidInput` for text that is not understood.
pub(crate) fn faults_by_environment() -> io::Result<Faults> {
    by_environment(FAULTS_VARIABLE)
}

/// What a variable says; without it, nothing.
fn by_environment<T>(variable: &str) -> io::Result<T>
where
    T: Default + FromStr<Err: fmt::Display>,
{
    match env::var(variable) {
        Err(env::VarError::NotPresent) => Ok(T::default()),
        Ok(text) => text.parse().map_err(|error| invalid(variable, error)),
        Err(error) => Err(invalid(variable, error)),
    }
}

fn overridden(wanted: Backend) -> io::Result<(Backend, &'static str)> {
    if wanted != Backend::Auto {
        return Ok((wanted, "asked for by the program"));
    }
    match env::var(VARIABLE) {
        Err(env::VarError::NotPresent) => Ok((Backend::Auto, "chosen by probing")),
        Ok(name) => match name.parse().map_err(|error| invalid(VARIABLE, error))? {
            Backend::Auto => Ok((Backend::Auto, "chosen by probing")),
            backend => Ok((backend, "asked for by RINGWAY_BACKEND")),
        },
        Err(error) => Err(invalid(VARIABLE, error)),
    }
}

fn invalid(variable: &str, error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{variable}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backends_name_fills_the_width_asked_for() {
        assert_eq!(
            format!("{:<6}|{:>7}|{}", Backend::Auto, Backend::Uring, Backend::Epoll),
            "auto  |  uring|epoll"
        );
    }
}
