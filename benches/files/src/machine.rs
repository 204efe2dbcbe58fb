//! The machine and the programs that the numbers are of.

use std::fmt;

use measure::host;
use measure::run::Run;
use smb_common::servers::{Places, versions};

use crate::cli::Options;
use crate::contenders::CONTENDERS;

/// For the top of every report.
pub(crate) struct Machine {
    pub(crate) run: Run,
    pub(crate) signing: bool,
    pub(crate) file_system: String,
    pub(crate) versions: Vec<String>,
}

pub(crate) fn describe(options: &Options, places: &Places) -> Machine {
    Machine {
        run: Run::begin(options.command(), options.realtime),
        signing: options.signing,
        file_system: host::file_system(&places.share),
        versions: versions(places),
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = format!(", the files on {}", self.file_system);
        let versions = self.versions.join(" and ");
        writeln!(f, "{}", self.run.sentence(&files))?;
        writeln!(f, "{versions}, as a release build and as Debian has it.\n")?;
        let signing = if self.signing { "every message signed" } else { "no message signed" };
        writeln!(f, "Dialect 3.1.1, NTLMv2, {signing}, nothing encrypted.\n")?;
        for contender in &CONTENDERS {
            writeln!(f, "- {}: {}", contender.name, contender.settings)?;
        }
        Ok(())
    }
}
