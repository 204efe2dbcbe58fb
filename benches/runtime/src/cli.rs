//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use measure::arguments::{number, seconds};

use crate::rows::{self, Scale};

const USAGE: &str = "\
usage: runtime-bench [OPTION…] [ROW…]

Measures Ringway beside its peers. ROW is a part of a row's name; without any, all rows.
All rows take an hour on a quiet machine; 40 minutes with --seconds 1, 25 with --rounds 3 as well; and up to
three times that where samples have to be taken again. What is measured is written after each row.

  --quick           everything in a few minutes, to see that it works; the numbers mean nothing
  --rounds N        samples of each (5; 1 with --quick)
  --seconds S       how long a server is under load for a sample (2)
  --only A,B,…      only these runtimes
  --realtime        realtime scheduling, for a machine that others use too; they will wait (needs root)
  --out FOLDER      where results.json and results.md go, after each row (the build folder)
  --write-docs      when all is done, results.md replaces runtime/docs/benches.md; for all rows and runtimes
  --list            the names of rows and runtimes";

pub(crate) struct Options {
    pub(crate) scale: Scale,
    pub(crate) rounds: usize,
    /// Parts of names; empty for all rows.
    pub(crate) rows: Vec<String>,
    /// Names; empty for all runtimes.
    pub(crate) only: Vec<String>,
    pub(crate) realtime: bool,
    pub(crate) out: PathBuf,
    /// What is measured is to be kept with the sources.
    pub(crate) write_docs: bool,
}

impl Options {
    /// # Errors
    /// A text for the user, who may just have asked for it.
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let out = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target"));
        let (rows, only) = (Vec::new(), Vec::new());
        let mut options = Self {
            scale: Scale::Full(Duration::from_secs(2)),
            rounds: 0,
            rows,
            only,
            realtime: false,
            out,
            write_docs: false,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} lacks its value"));
            match arg.as_str() {
                "--quick" => options.scale = Scale::Quick,
                "--seconds" => options.scale = Scale::Full(seconds(value()?)?),
                "--rounds" => options.rounds = number(value()?)?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--realtime" => options.realtime = true,
                "--out" => options.out = value()?.into(),
                "--write-docs" => options.write_docs = true,
                "--list" => return Err(list()),
                _ if arg.starts_with('-') => return Err(USAGE.to_owned()),
                _ => options.rows.push(arg.clone()),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.scale == Scale::Quick { 1 } else { 5 };
        }
        let is_partial = !options.rows.is_empty() || !options.only.is_empty();
        if options.write_docs && (is_partial || options.scale == Scale::Quick) {
            return Err("--write-docs is for a full run of all rows and runtimes".to_owned());
        }
        Ok(options)
    }

    /// The command line that measures the same again.
    pub(crate) fn command(&self) -> String {
        let mut words = vec!["./dev bench runtime".to_owned()];
        match self.scale {
            Scale::Quick => words.push("--quick".to_owned()),
            Scale::Full(time) => words.push(format!("--seconds {}", time.as_secs_f64())),
        }
        words.push(format!("--rounds {}", self.rounds));
        if !self.only.is_empty() {
            words.push(format!("--only {}", self.only.join(",")));
        }
        words.extend(self.realtime.then(|| "--realtime".to_owned()));
        words.extend(self.rows.iter().map(|row| format!("'{row}'")));
        words.join(" ")
    }
}

fn list() -> String {
    let rows = rows::all();
    let names = rows.iter().map(|row| row.name());
    let runtimes = crate::runtimes::CONTENDERS.iter().map(|contender| contender.name.to_owned());
    names.chain(std::iter::once(String::new())).chain(runtimes).collect::<Vec<_>>().join("\n")
}
