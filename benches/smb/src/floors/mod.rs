//! The least that could be done: a process that moves the same bytes by plain system calls, without any protocol but
//! sixteen bytes that say where and how much. No server can be expected to reach it where it does more.

mod cipher;
mod mapping;
mod serve;

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use measure::cores;

use crate::shape::Workload;

pub(crate) use cipher::{CIPHERS, Cipher};
use mapping::Mapping;

/// How the bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Sendfile,
    /// File to pipe, pipe to socket.
    Splice,
    /// `send` from a mapping of the file.
    Mapped,
    /// `pread` and `send`.
    Copy,
    /// `recv` and `pwrite`.
    Receive,
    /// `recv` and `send` of what has come, however many orders that are.
    Echo,
}

impl Way {
    pub(crate) const ALL: [Self; 6] =
        [Self::Sendfile, Self::Splice, Self::Mapped, Self::Copy, Self::Receive, Self::Echo];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sendfile => "sendfile loop",
            Self::Splice => "splice loop",
            Self::Mapped => "mapped send",
            Self::Copy => "pread+send loop",
            Self::Receive => "recv+pwrite loop",
            Self::Echo => "recv+send loop",
        }
    }

    /// What it is a floor of.
    pub(crate) const fn workload(self) -> Workload {
        match self {
            Self::Sendfile | Self::Splice | Self::Mapped | Self::Copy => Workload::Read,
            Self::Receive => Workload::Write,
            Self::Echo => Workload::Echo,
        }
    }

    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::Receive)
    }
}

/// What is wanted: so much of this file, from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) file: u16,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl Order {
    pub(crate) const SIZE: usize = 16;

    /// The file's number is in the upper bits of the offset, which no file is large enough for.
    pub(crate) fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let place = u64::from(self.file) << 48 | self.offset;
        bytes[..8].copy_from_slice(&place.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; Self::SIZE]) -> Self {
        let [place, length] = [0, 8].map(|at| {
            let word = bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
            u64::from_le_bytes(word.unwrap_or_default())
        });
        let offset = place & ((1 << 48) - 1);
        Self { file: (place >> 48) as u16, offset, length: length as u32 }
    }
}

/// A running floor. Dropping it ends it.
pub(crate) struct Floor {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Floor {
    /// Starts a process that has the files of this folder.
    pub(crate) fn start(way: Way, folder: &Path) -> io::Result<Self> {
        let mut command = ourselves()?;
        command.args(["floor", way.name()]).arg(folder).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let said = process.stdout.take().and_then(|out| BufReader::new(out).lines().next());
        match said.and_then(Result::ok).and_then(|line| line.parse().ok()) {
            Some(address) => Ok(Self { process, address }),
            None => Err(io::Error::other(format!("the {} does not start", way.name()))),
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program again, on the server's core, until we end.
fn ourselves() -> io::Result<Command> {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &cores::SERVER.to_string()]);
    command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(std::env::current_exe()?);
    command.stdin(Stdio::null());
    Ok(command)
}

/// Ciphers for so long; how often, and the time that it took.
pub(crate) fn encipher(cipher: Cipher, size: usize, time: Duration) -> io::Result<(u64, Duration)> {
    let mut command = ourselves()?;
    let output = command
        .args(["cipher", cipher.name(), &size.to_string(), &time.as_secs_f64().to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = said.split_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(operations)), Some(Ok(nanos))) => Ok((operations, Duration::from_nanos(nanos))),
        _ => Err(io::Error::other("the cipher does not start")),
    }
}

/// The process's own side.
pub(crate) fn run(args: &[String]) -> Option<io::Result<()>> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["floor", name, folder] => {
            let way = Way::ALL.into_iter().find(|way| way.name() == name)?;
            Some(serve::serve(way, Path::new(folder)))
        }
        ["cipher", name, size, seconds] => {
            let cipher = CIPHERS.into_iter().find(|cipher| cipher.name() == name)?;
            let time = Duration::from_secs_f64(seconds.parse().ok()?);
            Some(cipher.run(size.parse().ok()?, time))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_what_it_was() {
        let order = Order { file: 513, offset: (1 << 40) + 7, length: 8 << 20 };
        assert_eq!(Order::decode(order.encode()), order);
    }
}
