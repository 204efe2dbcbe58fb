//! The machine that the numbers are of, and the settings of what is measured.

use std::fmt;

use measure::run::Run;

use crate::cli::Options;
use crate::runtimes::CONTENDERS;

/// For the top of every report.
pub(crate) struct Machine {
    pub(crate) run: Run,
    /// Name and settings of each runtime.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Name and version of each package that matters.
    pub(crate) versions: Vec<(String, String)>,
}

pub(crate) fn describe(options: &Options) -> Machine {
    let run = Run::begin(options.command(), options.realtime);
    let settings = CONTENDERS.iter().map(|contender| (contender.name, (contender.settings)()));
    let settings = settings.collect();
    Machine { run, settings, versions: versions() }
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
        writeln!(f, "{}", self.run.sentence(""))?;
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
