//! One run of the system's smbclient, with nothing taken from /etc/samba or the user's home.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Failed;
use tempfile::TempDir;

use super::child::{Finished, Running};
use super::server::{PASSWORD, SHARE, Server, USER};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    address: SocketAddr,
    share: String,
    user: String,
    arguments: Vec<String>,
    local: Option<PathBuf>,
    limit: Duration,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            address: server.address,
            share: SHARE.into(),
            user: format!("{USER}%{PASSWORD}"),
            arguments: Vec::new(),
            local: None,
            limit: LIMIT,
        }
    }

    /// Another address than the server's own: a relay in between.
    pub(crate) fn through(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    pub(crate) fn share(mut self, share: &str) -> Self {
        self.share = share.into();
        self
    }

    /// `NAME%PASSWORD`.
    pub(crate) fn user(mut self, user: &str) -> Self {
        self.user = user.into();
        self
    }

    /// The local folder that put and get work in.
    pub(crate) fn local(mut self, folder: &Path) -> Self {
        self.local = Some(folder.into());
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// An smb.conf setting of the client.
    pub(crate) fn option(self, setting: &str) -> Self {
        self.argument(&format!("--option={setting}"))
    }

    pub(crate) fn only_dialect(self, dialect: &str) -> Self {
        self.option(&format!("client min protocol={dialect}"))
            .option(&format!("client max protocol={dialect}"))
    }

    /// Runs the commands, separated by semicolons, in the share.
    pub(crate) fn run(&self, commands: &str) -> Result<Run, Failed> {
        let started = self.start(commands)?;
        started.finish()
    }

    /// The same, to go on while it runs.
    pub(crate) fn start(&self, commands: &str) -> Result<Started, Failed> {
        let service = format!("//{}/{}", self.address.ip(), self.share);
        self.spawn("smbclient", |command| {
            command.args(["-t", "120"]).arg(service).args(["-c", commands]);
        })
    }

    /// `smbclient -L`: the list of shares.
    pub(crate) fn list(&self) -> Result<Run, Failed> {
        let host = self.address.ip().to_string();
        let started = self.spawn("smbclient", |command| {
            command.args(["-t", "120", "-L", &host]);
        })?;
        started.finish()
    }

    /// One command of rpcclient, which is smbclient's sibling.
    pub(crate) fn rpc(&self, rpc: &str) -> Result<Run, Failed> {
        let host = self.address.ip().to_string();
        let started = self.spawn("rpcclient", |command| {
            command.arg(host).args(["-c", rpc]);
        })?;
        started.finish()
    }

    fn spawn(&self, program: &str, what: impl FnOnce(&mut Command)) -> Result<Started, Failed> {
        let home = tempfile::Builder::new().prefix("smbclient-").tempdir()?;
        let configuration = write_configuration(home.path())?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs([
                ("PATH", std::env::var("PATH").unwrap_or_default()),
                ("LC_ALL", "C.UTF-8".into()),
            ])
            .env("HOME", home.path())
            .current_dir(self.local.as_deref().unwrap_or(home.path()))
            .arg("-s")
            .arg(configuration)
            .args(["-p", &self.address.port().to_string(), "-U", &self.user, "--use-kerberos=off"])
            .args(&self.arguments);
        what(&mut command);
        Ok(Started { child: Running::start(&mut command)?, limit: self.limit, _home: home })
    }
}

pub(crate) struct Started {
    child: Running,
    limit: Duration,
    _home: TempDir,
}

impl Started {
    pub(crate) fn finish(self) -> Result<Run, Failed> {
        Ok(Run(self.child.finish(self.limit)?))
    }
}

/// What a finished smbclient said.
pub(crate) struct Run(Finished);

impl Run {
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    /// Exit status zero and no error printed: smbclient forgets the failure of any command but the last.
    pub(crate) fn succeeded(&self) -> bool {
        self.0.status.success() && !self.0.text.contains("NT_STATUS_")
    }

    pub(crate) fn success(self) -> Result<Self, Failed> {
        if self.succeeded() { Ok(self) } else { Err(self.unexpected("success")) }
    }

    /// The run must have printed this status, or one of several.
    pub(crate) fn refused(self, statuses: &[&str]) -> Result<Self, Failed> {
        if statuses.iter().any(|status| self.0.text.contains(status)) {
            return Ok(self);
        }
        Err(self.unexpected(&statuses.join(" or ")))
    }

    pub(crate) fn says(self, text: &str) -> Result<Self, Failed> {
        if self.0.text.contains(text) {
            Ok(self)
        } else {
            Err(self.unexpected(&format!("{text:?} in its output")))
        }
    }

    fn unexpected(&self, wanted: &str) -> Failed {
        format!(
            "expected {wanted}; smbclient ended with {} and said:\n{}",
            self.0.status, self.0.text
        )
        .into()
    }
}

fn write_configuration(home: &Path) -> Result<PathBuf, Failed> {
    let path = home.join("smb.conf");
    let folders =
        ["private dir", "lock directory", "state directory", "cache directory", "pid directory"];
    let folders: String =
        folders.iter().map(|name| format!("{name} = {}\n", home.display())).collect();
    let text = format!("[global]\nclient min protocol = SMB2_02\nunix charset = UTF-8\n{folders}");
    fs::write(&path, text)?;
    Ok(path)
}
