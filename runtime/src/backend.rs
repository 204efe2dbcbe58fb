//! The choice of a backend: override, then environment, then what the kernel takes.

use std::env;
use std::fmt;
use std::io;
use std::str::FromStr;

use ringway_epoll::{EpollDriver, Options};

use crate::drivers::{Drivers, Parking};
use crate::features::{Features, OpSet};
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
    /// Operations go on a ring and the thread sleeps in it.
    Uring,
    /// Operations go on a ring and the thread sleeps in epoll.
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

/// Opens the drivers for `wanted`. With [`Backend::Auto`] and nothing in the environment, it fails
/// only if epoll itself does not work.
pub(crate) fn open(wanted: Backend, options: &Options) -> io::Result<(Drivers, Features, OpSet)> {
    let epoll = EpollDriver::new(options)?;
    let (wanted, chosen_by) = overridden(wanted)?;
    let mut features = Features { backend: wanted, chosen_by, reasons: Vec::new(), ring: None };
    let sleep = if wanted == Backend::Hybrid { Sleep::InEpoll } else { Sleep::InRing };
    let parking = match (wanted != Backend::Epoll).then(|| UringDriver::open(sleep)) {
        None => Parking::Epoll,
        Some(Ok((ring, found))) => {
            features.ring = Some(found);
            if wanted == Backend::Hybrid { Parking::Hybrid(ring) } else { Parking::Uring(ring) }
        }
        Some(Err(error)) if wanted == Backend::Auto => {
            features.reasons.push(format!("no ring: {error}"));
            Parking::Epoll
        }
        Some(Err(error)) => {
            let text = format!("backend {wanted} ({chosen_by}) cannot run: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
    };
    features.backend = match parking {
        Parking::Uring(_) => Backend::Uring,
        Parking::Hybrid(_) => Backend::Hybrid,
        Parking::Epoll => Backend::Epoll,
    };
    let ring = features.ring.as_ref().map(|ring| ring.ops).unwrap_or_default();
    Ok((Drivers::new(epoll, parking)?, features, ring))
}

fn overridden(wanted: Backend) -> io::Result<(Backend, &'static str)> {
    if wanted != Backend::Auto {
        return Ok((wanted, "asked for by the program"));
    }
    match env::var(VARIABLE) {
        Err(env::VarError::NotPresent) => Ok((Backend::Auto, "chosen by probing")),
        Ok(name) => match name.parse().map_err(invalid)? {
            Backend::Auto => Ok((Backend::Auto, "chosen by probing")),
            backend => Ok((backend, "asked for by RINGWAY_BACKEND")),
        },
        Err(error) => Err(invalid(error)),
    }
}

fn invalid(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{VARIABLE}: {error}"))
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
