//! The machine and the programs that the numbers are of.

use std::fmt;

use measure::host;
use measure::run::Run;
use serde_json::{Value, json};
use smb_common::servers::{Places, versions};

use crate::cli::Options;
use crate::contenders::SERVERS;

/// For the top of every report.
pub(crate) struct Machine {
    run: Run,
    file_system: String,
    versions: Vec<String>,
}

pub(crate) fn describe(options: &Options, places: &Places) -> Machine {
    Machine {
        run: Run::begin(options.command(), options.realtime),
        file_system: host::file_system(&places.share),
        versions: versions(places),
    }
}

impl Machine {
    pub(crate) fn json(&self) -> Value {
        let servers = SERVERS.iter().map(|it| json!({"name": it.name, "settings": it.settings}));
        self.run.json(json!({
            "file_system": self.file_system,
            "versions": self.versions,
            "servers": servers.collect::<Vec<_>>(),
        }))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = format!(", the files on {} and in the page cache", self.file_system);
        let versions = self.versions.join(" and ");
        writeln!(f, "{}", self.run.sentence(&files))?;
        writeln!(f, "{versions}, as a release build and as Debian has it. NTLMv2.\n")?;
        for server in &SERVERS {
            writeln!(f, "- {}: {}", server.name, server.settings)?;
        }
        Ok(())
    }
}
