//! What has to be known about a run, whatever it measures.

use serde_json::{Value, json};

use crate::cores;
use crate::host::{self, Host};
use crate::phase::Distance;

/// For the top of every report.
pub struct Run {
    /// The day.
    pub date: String,
    /// How to do it again.
    pub command: String,
    /// Where.
    pub host: Host,
    /// At the start.
    pub distance: Distance,
    /// Nobody else could get at the cores.
    pub realtime: bool,
}

impl Run {
    /// This one; to be asked before the thread is bound to a core.
    pub fn begin(command: String, realtime: bool) -> Self {
        let distance = Distance::probe(cores::ALL);
        Self { date: host::today(), command, host: Host::of_this(), distance, realtime }
    }

    /// The sentence about it, with what else there is to tell before the command.
    pub fn sentence(&self, more: &str) -> String {
        let Self { date, command, host, distance, realtime } = self;
        let realtime = if *realtime { ", realtime scheduling" } else { "" };
        format!(
            "On {date}, on {host}, a cache line from core to core in {distance} at the start{realtime}{more}, by\n\n    \
             {command}\n"
        )
    }

    /// The same, with the fields of `more`.
    pub fn json(&self, mut more: Value) -> Value {
        let own = [
            ("date", json!(self.date)),
            ("command", json!(self.command)),
            ("kernel", json!(self.host.kernel)),
            ("cpu", json!(self.host.cpu)),
            ("cores", json!(self.host.cores)),
            ("realtime", json!(self.realtime)),
        ];
        if let Some(fields) = more.as_object_mut() {
            fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
        }
        more
    }
}
