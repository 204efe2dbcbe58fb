//! The machine and the programs that the numbers are of.

use std::fmt;

use measure::host;
use measure::run::Run;
use serde_json::{Value, json};
use smb_common::servers::{Places, versions};

use crate::cli::Options;
use crate::contenders::{SERVERS, WAYS};

/// For the top of every report.
pub(crate) struct Machine {
    run: Run,
    /// The file system, and the versions of the servers, if they are ours.
    ours: Option<(String, Vec<String>)>,
}

pub(crate) fn describe(options: &Options, places: Option<&Places>) -> Machine {
    let ours = places.map(|places| (host::file_system(&places.share), versions(places)));
    Machine { run: Run::begin(options.command(), options.realtime), ours }
}

impl Machine {
    pub(crate) fn json(&self) -> Value {
        let Some((file_system, versions)) = &self.ours else { return self.run.json(json!({})) };
        let servers =
            SERVERS.iter().chain(&WAYS).map(|it| json!({"name": it.name, "settings": it.settings}));
        self.run.json(json!({
            "file_system": file_system,
            "versions": versions,
            "servers": servers.collect::<Vec<_>>(),
        }))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((file_system, versions)) = &self.ours else {
            return writeln!(f, "{}", self.run.sentence(""));
        };
        let files = format!(", the files on {file_system} and in the page cache");
        let versions = versions.join(" and ");
        writeln!(f, "{}", self.run.sentence(&files))?;
        writeln!(f, "{versions}, as a release build and as Debian has it. NTLMv2.\n")?;
        for server in SERVERS.iter().chain(&WAYS) {
            writeln!(f, "- {}: {}", server.name, server.settings)?;
        }
        Ok(())
    }
}
