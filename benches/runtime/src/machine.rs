//! The machine that the numbers are of, and the settings of what is measured.

use std::fmt;
use std::fs;

use crate::child::{LOAD_CORE, SERVER_CORE};
use crate::phase::Distance;
use crate::runtimes::CONTENDERS;

/// For the top of every report.
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) distance: Distance,
    pub(crate) realtime: bool,
    /// Name and settings of each runtime.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Name and version of each package that matters.
    pub(crate) versions: Vec<(String, String)>,
}

pub(crate) fn describe(realtime: bool) -> Machine {
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy().into_owned();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = model.map_or_else(|| "unknown CPU".to_owned(), |(_, model)| model.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let distance = Distance::probe([SERVER_CORE, LOAD_CORE]);
    let settings = CONTENDERS.iter().map(|contender| (contender.name, (contender.settings)()));
    let settings = settings.collect();
    Machine { kernel, cpu, cores, distance, realtime, settings, versions: versions() }
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
        let Self { kernel, cpu, cores, distance, realtime, .. } = self;
        write!(
            f,
            "Linux {kernel}, {cpu}, {cores} cores, a cache line from core to core in {distance}"
        )?;
        writeln!(f, "{}.", if *realtime { ", realtime scheduling" } else { "" })?;
        let versions = self.versions.iter().map(|(name, version)| format!("{name} {version}"));
        writeln!(f, "{}.\n", versions.collect::<Vec<_>>().join(", "))?;
        for (name, settings) in &self.settings {
            writeln!(f, "- {name}: {settings}")?;
        }
        Ok(())
    }
}
