//! The machine and the programs that the numbers are of.

use std::fmt;
use std::path::Path;

use measure::host::{self, Host};
use measure::phase::Distance;

use crate::cli::Options;
use crate::servers::{CONTENDERS, LOAD_CORE, Places, SERVER_CORE, versions};

/// For the top of every report.
pub(crate) struct Machine {
    /// The day of the run.
    pub(crate) date: String,
    /// How to do it again.
    pub(crate) command: String,
    pub(crate) host: Host,
    pub(crate) distance: Distance,
    pub(crate) realtime: bool,
    pub(crate) signing: bool,
    pub(crate) file_system: String,
    pub(crate) versions: Vec<String>,
}

pub(crate) fn describe(options: &Options, places: &Places) -> Machine {
    Machine {
        date: host::today(),
        command: options.command(),
        host: Host::of_this(),
        distance: Distance::probe([SERVER_CORE, LOAD_CORE]),
        realtime: options.realtime,
        signing: options.signing,
        file_system: file_system(&places.share),
        versions: versions(places),
    }
}

/// Of which kind it is.
fn file_system(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let kinds = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        folder.starts_with(place).then_some((place.len(), kind))
    });
    kinds.max_by_key(|(length, _)| *length).map_or("an unknown one", |(_, kind)| kind).to_owned()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, command, host, distance, file_system, .. } = self;
        let realtime = if self.realtime { ", realtime scheduling" } else { "" };
        writeln!(
            f,
            "On {date}, on {host}, a cache line from core to core in {distance} at the start{realtime}, the files on \
             {file_system}, by\n\n    {command}\n\n{}, as a release build and as Debian has it.\n",
            self.versions.join(" and ")
        )?;
        let signing = if self.signing { "every message signed" } else { "no message signed" };
        writeln!(f, "Dialect 3.1.1, NTLMv2, {signing}, nothing encrypted.\n")?;
        for contender in &CONTENDERS {
            writeln!(f, "- {}: {}", contender.name, contender.settings)?;
        }
        Ok(())
    }
}
