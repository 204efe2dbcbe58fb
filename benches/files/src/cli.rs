//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use measure::arguments::{number, seconds};
use smb_common::client::{Protection, Target};
use usmbd::wire::dialect::Dialect;

use crate::contenders::CONTENDERS;
use crate::workloads::{self, Scale};

const USAGE: &str = "\
usage: files-bench [OPTION…] [ROW…]

Measures usmbd beside Samba with many files. ROW is a part of a workload's name; without any, all of them. What
belongs together, as making and deleting, is measured together.
A full run takes half an hour on a quiet machine.

  --quick           everything in a few minutes, to see that it works; the numbers mean nothing
  --rounds N        samples of each (5; 1 with --quick)
  --seconds S       how long a server is under load for a sample, where the work has no end of its own (2)
  --only A,B,…      only these servers
  --signing         every message is signed, as some clients insist
  --realtime        realtime scheduling, for a machine that others use too; they will wait (needs root)
  --usmbd FILE      the program
  --samba FOLDER    unpacked packages of Samba; without it, there is none
  --folder FOLDER   below which the files are made: this decides about the file system (--out)
  --out FOLDER      where results.json and results.md go, after each row (the build folder)
  --write-docs      when all is done, results.md replaces smb-server/docs/benches.md; for a full run
  --against ADDR:PORT/SHARE USER:PASSWORD
                    only the load, on a server that is there already; its share has to have the folder `big`,
                    and gets another one, which stays
  --make-big FOLDER makes the folder `big` in there, and nothing else
  --list            the names of rows and servers";

pub(crate) struct Options {
    pub(crate) scale: Scale,
    pub(crate) rounds: usize,
    /// Parts of names; empty for all workloads.
    pub(crate) rows: Vec<String>,
    /// Names; empty for all servers.
    pub(crate) only: Vec<String>,
    pub(crate) signing: bool,
    pub(crate) realtime: bool,
    pub(crate) usmbd: PathBuf,
    pub(crate) samba: Option<PathBuf>,
    /// As it was said, if it was.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) out: PathBuf,
    /// What is measured is to be kept with the sources.
    pub(crate) write_docs: bool,
    /// A server that is not ours.
    pub(crate) external: Option<Target>,
    pub(crate) make_big: Option<PathBuf>,
}

impl Options {
    /// # Errors
    /// A text for the user, who may just have asked for it.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let built = std::env::current_exe().ok();
        let built = built.as_deref().and_then(|program| Some(program.parent()?.to_owned()));
        let built = built.unwrap_or_else(|| PathBuf::from("."));
        let mut options = Self {
            scale: Scale::Full(Duration::from_secs(2)),
            rounds: 0,
            rows: Vec::new(),
            only: Vec::new(),
            signing: false,
            realtime: false,
            usmbd: built.join("usmbd"),
            samba: None,
            folder: None,
            out: built,
            write_docs: false,
            external: None,
            make_big: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} lacks its value"));
            match arg.as_str() {
                "--quick" => options.scale = Scale::Quick,
                "--seconds" => options.scale = Scale::Full(seconds(value()?)?),
                "--rounds" => options.rounds = number(value()?)?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--signing" => options.signing = true,
                "--realtime" => options.realtime = true,
                "--usmbd" => options.usmbd = value()?.into(),
                "--samba" => options.samba = Some(value()?.into()),
                "--folder" => options.folder = Some(value()?.into()),
                "--out" => options.out = value()?.into(),
                "--write-docs" => options.write_docs = true,
                "--against" => options.external = Some(target(value()?, value()?)?),
                "--make-big" => options.make_big = Some(value()?.into()),
                "--list" => return Err(list()),
                _ if arg.starts_with('-') => return Err(USAGE.to_owned()),
                _ => options.rows.push(arg.clone()),
            }
        }
        options.settle()
    }

    fn settle(mut self) -> Result<Self, String> {
        if self.rounds == 0 {
            self.rounds = if self.scale == Scale::Quick { 1 } else { 5 };
        }
        let protection = self.protection();
        if let Some(target) = &mut self.external {
            target.protection = protection;
        }
        let is_partial = !self.rows.is_empty() || !self.only.is_empty() || self.samba.is_none();
        if self.write_docs && (is_partial || self.scale == Scale::Quick) {
            return Err("--write-docs is for a full run, beside Samba".to_owned());
        }
        Ok(self)
    }

    /// Of every message.
    pub(crate) const fn protection(&self) -> Protection {
        if self.signing { Protection::Signed(None) } else { Protection::Plain }
    }

    /// The command line that measures the same again.
    pub(crate) fn command(&self) -> String {
        let mut words = vec!["./dev bench files".to_owned()];
        match self.scale {
            Scale::Quick => words.push("--quick".to_owned()),
            Scale::Full(time) => words.push(format!("--seconds {}", time.as_secs_f64())),
        }
        words.push(format!("--rounds {}", self.rounds));
        if !self.only.is_empty() {
            words.push(format!("--only {}", self.only.join(",")));
        }
        words.extend(self.signing.then(|| "--signing".to_owned()));
        words.extend(self.realtime.then(|| "--realtime".to_owned()));
        words.extend(self.folder.as_ref().map(|folder| format!("--folder {}", folder.display())));
        words.extend(self.rows.iter().map(|row| format!("'{row}'")));
        words.join(" ")
    }

    /// Whether a workload is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| name.contains(part.as_str()))
    }
}

fn target(place: &str, account: &str) -> Result<Target, String> {
    let wrong = || "--against takes ADDRESS:PORT/SHARE and USER:PASSWORD".to_owned();
    let (address, share) = place.split_once('/').ok_or_else(wrong)?;
    let (user, password) = account.split_once(':').ok_or_else(wrong)?;
    Ok(Target {
        address: address.parse().map_err(|_| wrong())?,
        share: share.to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
        dialect: Dialect::SMB_3_1_1,
        protection: Protection::Plain,
    })
}

fn list() -> String {
    let scenarios = workloads::all();
    let names = scenarios.iter().flat_map(|scenario| &scenario.workloads);
    let names = names.map(|workload| workload.name().to_owned());
    let servers = CONTENDERS.iter().map(|contender| contender.name.to_owned());
    names.chain(std::iter::once(String::new())).chain(servers).collect::<Vec<_>>().join("\n")
}
