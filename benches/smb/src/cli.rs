//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use measure::arguments::{number, seconds};
use regex_lite::Regex;
use smb_common::client::{Protection, Target};
use usmbd::wire::dialect::Dialect;

use crate::contenders::Contender;
use crate::load::Verify;
use crate::shape::{self, CIPHERS, DIALECTS, SIGNINGS, Shape, Workload};

const USAGE: &str = "\
usage: smb-bench [OPTION…]

Measures usmbd beside Samba, and floors below both, with bytes that are read and written and with small requests.
All rows take an hour and a half on a quiet machine.

  --rows REGEX      only rows whose names this matches
  --rounds N        samples of each (5)
  --seconds S       how long a server is under load for a sample (2)
  --only A,B,…      only these servers and floors
  --verify all      every answer is received in full and compared, not one in 64
  --threads N       threads of the load (1; of a server that is there already, as many as there are cores)
  --realtime        realtime scheduling, for a machine that others use too; they will wait (needs root)
  --folder FOLDER   below which the files are made: this decides about the file system (the build folder)
  --json FILE       where each sample goes, a line each
  --write-docs      when all is done, smb-server/docs/bytes.md is written anew, with its pictures; for a full run, which
                    --smbtorture is part of
  --smbtorture      Samba's own benches as a second client, in place of the rows
  --list            the names of rows, servers and floors

One row of your own, in place of those that there are:
  --workload WHAT   read, write, mixed, echo or open (read)
  --size BYTES      of a request, as in 4K or 1M; up to 8M (1M)
  --random          at places by chance, not one after the other
  --connections N   1 to 64 (1)
  --depth N         requests in flight on each (4)
  --sign HOW        every message is signed: gmac, cmac, hmac, or any, as the server likes
  --seal CIPHER     every message is encrypted: aes-128-gcm, aes-256-gcm, aes-128-ccm or aes-256-ccm
  --dialect D       3.1.1, 3.0.2, 3.0, 2.1 or 2.0.2 (3.1.1)
  --channels N      so many connections share a session, where the server offers that (1)

A server that is there already; it gets files in its share, which stay:
  --server HOST:PORT --share NAME --user NAME --password PASSWORD

What ./dev says itself:
  --usmbd FILE      the program
  --samba FOLDER    unpacked packages of Samba; without it, there is none
  --torture FOLDER  unpacked packages of its tests";

pub(crate) struct Options {
    pub(crate) rows: Vec<Shape>,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    /// Names; empty for all contenders.
    pub(crate) only: Vec<String>,
    pub(crate) verify: Verify,
    pub(crate) threads: usize,
    pub(crate) realtime: bool,
    pub(crate) folder: PathBuf,
    /// The build folder, for settings and logs of servers.
    pub(crate) out: PathBuf,
    pub(crate) json: Option<PathBuf>,
    pub(crate) write_docs: bool,
    pub(crate) smbtorture: bool,
    pub(crate) usmbd: PathBuf,
    pub(crate) samba: Option<PathBuf>,
    pub(crate) torture: Option<PathBuf>,
    /// A server that is not ours.
    pub(crate) foreign: Option<Foreign>,
    /// As it was said, without what `./dev` says.
    pub(crate) words: Vec<String>,
}

/// Where a server is that somebody else has started.
#[derive(Clone)]
pub(crate) struct Foreign {
    address: SocketAddr,
    share: String,
    user: String,
    password: String,
}

impl Foreign {
    pub(crate) fn target(&self, shape: &Shape) -> Target {
        Target {
            address: self.address,
            share: self.share.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            dialect: shape.dialect,
            protection: shape.protection,
        }
    }
}

/// What is said piece by piece.
#[derive(Default)]
struct Said {
    regex: Option<Regex>,
    custom: Option<Shape>,
    threads: Option<usize>,
    server: Option<SocketAddr>,
    share: Option<String>,
    user: Option<String>,
    password: Option<String>,
}

impl Options {
    /// # Errors
    /// A text for the user, who may just have asked for it.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let built = std::env::current_exe().ok();
        let built = built.as_deref().and_then(|program| Some(program.parent()?.to_owned()));
        let built = built.unwrap_or_else(|| PathBuf::from("."));
        let mut options = Self {
            rows: Vec::new(),
            rounds: 5,
            time: Duration::from_secs(2),
            only: Vec::new(),
            verify: Verify::Some,
            threads: 1,
            realtime: false,
            usmbd: built.join("usmbd"),
            folder: built.clone(),
            out: built,
            json: None,
            write_docs: false,
            smbtorture: false,
            samba: None,
            torture: None,
            foreign: None,
            words: Vec::new(),
        };
        let mut said = Said::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut taken = None;
            let mut value = || {
                let value = args.next().ok_or_else(|| format!("{arg} lacks its value"))?;
                taken = Some(value.clone());
                Ok::<_, String>(value.as_str())
            };
            if !options.take(arg, &mut value)?
                && !said.take(arg, &mut value)?
                && !said.take_shape(arg, &mut value)?
            {
                return Err(USAGE.to_owned());
            }
            options.note(arg, taken);
        }
        options.settle(said)
    }

    /// An option about the run; whether it was one.
    fn take<'a>(
        &mut self,
        arg: &str,
        value: &mut impl FnMut() -> Result<&'a str, String>,
    ) -> Result<bool, String> {
        match arg {
            "--rounds" => self.rounds = number(value()?)?,
            "--seconds" => self.time = seconds(value()?)?,
            "--only" => self.only = value()?.split(',').map(str::to_owned).collect(),
            "--verify" => {
                self.verify = named(value()?, &[("all", Verify::All), ("some", Verify::Some)])?
            }
            "--realtime" => self.realtime = true,
            "--folder" => self.folder = value()?.into(),
            "--json" => self.json = Some(value()?.into()),
            "--write-docs" => self.write_docs = true,
            "--smbtorture" => self.smbtorture = true,
            "--usmbd" => self.usmbd = value()?.into(),
            "--samba" => self.samba = Some(value()?.into()),
            "--torture" => self.torture = Some(value()?.into()),
            "--list" => return Err(list()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Keeps what the same run would need to be told again.
    fn note(&mut self, arg: &str, value: Option<String>) {
        let is_of_this_place =
            ["--usmbd", "--samba", "--torture", "--json", "--write-docs", "--password"];
        if !is_of_this_place.contains(&arg) {
            self.words.push(arg.to_owned());
            self.words.extend(value.map(|value| match value.contains([' ', '|', '*', '(']) {
                true => format!("'{value}'"),
                false => value,
            }));
        }
    }

    fn settle(mut self, said: Said) -> Result<Self, String> {
        let is_partial = said.regex.is_some() || said.custom.is_some() || !self.only.is_empty();
        self.rows = match said.custom {
            Some(shape) => vec![shape],
            None => shape::matrix(),
        };
        if let Some(regex) = said.regex {
            self.rows.retain(|row| regex.is_match(&row.to_string()));
        }
        if self.rows.is_empty() {
            return Err("no row has such a name; --list says which there are".to_owned());
        }
        self.rows.iter().try_for_each(Shape::check)?;
        let has_server = said.server.is_some();
        self.foreign = match (said.server, said.share, said.user, said.password) {
            (Some(address), Some(share), Some(user), Some(password)) => {
                Some(Foreign { address, share, user, password })
            }
            (None, None, None, None) => None,
            _ => return Err("--server, --share, --user and --password go together".to_owned()),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads = said.threads.unwrap_or(if has_server { cores } else { 1 });
        let has_all = self.samba.is_some() && self.torture.is_some();
        if self.write_docs && (is_partial || has_server || !has_all) {
            return Err(
                "--write-docs is for a full run, beside Samba and with its tests".to_owned()
            );
        }
        Ok(self)
    }

    /// The command line that measures the same again.
    pub(crate) fn command(&self) -> String {
        format!("./dev bench smb {}", self.words.join(" ")).trim_end().to_owned()
    }

    /// Whether a contender is to be measured.
    pub(crate) fn wants(&self, contender: Contender) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == contender.name())
    }
}

impl Said {
    /// An option about rows and servers; whether it was one.
    fn take<'a>(
        &mut self,
        arg: &str,
        value: &mut impl FnMut() -> Result<&'a str, String>,
    ) -> Result<bool, String> {
        match arg {
            "--rows" => {
                let regex = Regex::new(value()?).map_err(|error| error.to_string())?;
                self.regex = Some(regex);
            }
            "--threads" => self.threads = Some(number(value()?)?),
            "--server" => self.server = Some(address(value()?)?),
            "--share" => self.share = Some(value()?.to_owned()),
            "--user" => self.user = Some(value()?.to_owned()),
            "--password" => self.password = Some(value()?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// An option about the one row; whether it was one.
    fn take_shape<'a>(
        &mut self,
        arg: &str,
        value: &mut impl FnMut() -> Result<&'a str, String>,
    ) -> Result<bool, String> {
        let mut shape = self.custom.unwrap_or_default();
        match arg {
            "--workload" => {
                shape.workload = named(value()?, &Workload::ALL.map(|it| (it.name(), it)))?;
            }
            "--size" => shape.size = size(value()?)?,
            "--random" => shape.random = true,
            "--connections" => shape.connections = number(value()?)?,
            "--depth" => shape.depth = number(value()?)?,
            "--sign" => shape.protection = Protection::Signed(named(value()?, &SIGNINGS)?),
            "--seal" => shape.protection = Protection::Sealed(named(value()?, &CIPHERS)?),
            "--dialect" => shape.dialect = named::<Dialect>(value()?, &DIALECTS)?,
            "--channels" => shape.channels = number(value()?)?,
            _ => return Ok(false),
        }
        self.custom = Some(shape);
        Ok(true)
    }
}

fn named<T: Copy>(name: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(known, _)| *known == name).map(|it| it.1);
    found.ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|it| it.0).collect();
        format!("'{name}' is none of {}", known.join(", "))
    })
}

fn size(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    let size: u32 = number(digits)?;
    size.checked_mul(unit).ok_or_else(|| format!("{text} is too much"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("--server takes HOST:PORT: {why}");
    let mut found = text.to_socket_addrs().map_err(|error| wrong(&error))?;
    found.next().ok_or_else(|| wrong(&"there is no such host"))
}

fn list() -> String {
    let rows = shape::matrix().into_iter().map(|shape| shape.to_string());
    let contenders = Contender::all().into_iter().map(|it| it.name().to_owned());
    rows.chain(std::iter::once(String::new())).chain(contenders).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let args: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args)
    }

    #[test]
    fn a_row_of_ones_own_takes_the_place_of_the_others() {
        let line = "--workload write --size 64K --sign cmac --connections 4 --channels 2 --json x";
        let options = parse(line).unwrap();
        assert_eq!(options.rows.len(), 1);
        assert_eq!(options.rows[0].to_string(), "write 64 KiB, signed (cmac), 4 × 4, 2 channels");
        assert!(!options.command().contains("json"));
    }

    #[test]
    fn rows_are_chosen_by_their_names() {
        let options = parse("--rows ^read.*plain.*4$ --rounds 2").unwrap();
        assert!(!options.rows.is_empty() && options.rows.len() < shape::matrix().len());
        assert!(parse("--rows nothing").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for line in [
            "--size 9M",
            "--size 4096M",
            "--depth",
            "--sign rot13",
            "--server 127.0.0.1:445",
            "--write-docs --rows echo",
            "--seconds 0",
            "--rows (",
            "--nothing",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
