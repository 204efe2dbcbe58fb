//! The machine that the numbers are of, and the settings of what is measured.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::child::{LOAD_CORE, SERVER_CORE};
use crate::cli::Options;
use crate::phase::Distance;
use crate::runtimes::CONTENDERS;

/// For the top of every report.
pub(crate) struct Machine {
    /// The day of the run.
    pub(crate) date: String,
    /// How to do it again.
    pub(crate) command: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) is_virtual: bool,
    pub(crate) distance: Distance,
    pub(crate) realtime: bool,
    /// Name and settings of each runtime.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Name and version of each package that matters.
    pub(crate) versions: Vec<(String, String)>,
}

pub(crate) fn describe(options: &Options) -> Machine {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    // What follows is the name that somebody has given to their build.
    let kernel = release.split('-').next().unwrap_or_default().to_owned();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = model.map_or_else(|| "unknown CPU".to_owned(), |(_, model)| model.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let distance = Distance::probe([SERVER_CORE, LOAD_CORE]);
    let settings = CONTENDERS.iter().map(|contender| (contender.name, (contender.settings)()));
    let settings = settings.collect();
    Machine {
        date: today(),
        command: options.command(),
        kernel,
        cpu,
        cores,
        is_virtual: info.contains(" hypervisor"),
        distance,
        realtime: options.realtime,
        settings,
        versions: versions(),
    }
}

/// The day by universal time, as in 2026-01-31.
fn today() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut days = since_epoch.as_secs() / 86_400;
    let mut year = 1970;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

/// From the lock file that this program was built with.
fn versions() -> Vec<(String, String)> {
    let lock = include_str!("../Cargo.lock");
    let packages = lock.split("[[package]]").filter_map(|package| {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name));
            Some(line?.trim_start_matches(" = ").trim_matches('"').to_owned())
        };
        Some((field("name")?, field("version")?))
    });
    let named = ["ringway", "tokio", "monoio", "compio", "glommio"];
    packages.filter(|(name, _)| named.contains(&name.as_str())).collect()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, command, kernel, cpu, cores, distance, .. } = self;
        let machine = if self.is_virtual { "a virtual machine" } else { "a machine" };
        let realtime = if self.realtime { ", realtime scheduling" } else { "" };
        writeln!(
            f,
            "On {date}, on {machine} with {cores} cores ({cpu}) and Linux {kernel}, a cache line from \
             core to core in {distance} at the start{realtime}, by\n\n    {command}\n"
        )?;
        writeln!(
            f,
            "Everything was built in one build, with one profile: release, thin link-time optimization, \
             one code generation unit. All have the system's allocator."
        )?;
        let versions = self.versions.iter().map(|(name, version)| format!("{name} {version}"));
        writeln!(f, "{}.\n", versions.collect::<Vec<_>>().join(", "))?;
        for (name, settings) in &self.settings {
            writeln!(f, "- {name}: {settings}")?;
        }
        Ok(())
    }
}
