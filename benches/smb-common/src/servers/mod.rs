//! The servers that are measured: usmbd's program and Samba's, each pinned to the core that the load does not have.

mod processes;
mod samba;
mod usage;
mod usmbd;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use measure::cores;
use ringway::Backend;
pub use usage::{Usage, Used};

/// The share that each has.
pub const SHARE: &str = "bench";
/// Who may log on.
pub const USER: &str = "bench";
/// Of a server on loopback that lives for some minutes, and serves nothing but files of `x`.
pub const PASSWORD: &str = "measured";

/// The account that the user works as with every server. usmbd takes the owner of the folder for a user who has none;
/// to Samba's tree it is made known.
pub const ACCOUNT: u32 = 54_321;

/// How long a server may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What may be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// On this backend, with these arguments.
    Usmbd(Backend, &'static [&'static str]),
    /// With these lines in the share's part of its settings.
    Samba(&'static str),
}

/// A server by its name in the tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contender {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What has to be known about how it is set up.
    pub settings: &'static str,
}

/// Where servers find what they need.
pub struct Places {
    /// usmbd's program.
    pub usmbd: PathBuf,
    /// The unpacked packages, if they are to be had.
    pub samba: Option<PathBuf>,
    /// The folder that all of them share.
    pub share: PathBuf,
    /// For settings and logs.
    pub settings: PathBuf,
}

/// A running server. Dropping it ends it.
pub struct Server {
    /// Which one it is.
    pub contender: Contender,
    /// Where it listens.
    pub address: SocketAddr,
    process: Child,
}

impl Server {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// Where it does not; its log is below the settings.
    pub fn start(contender: Contender, places: &Places) -> io::Result<Self> {
        let (process, address) = match contender.kind {
            Kind::Usmbd(backend, more) => usmbd::start(backend, more, contender.name, places)?,
            Kind::Samba(lines) => samba::start(lines, contender.name, places)?,
        };
        Ok(Self { contender, address, process })
    }

    /// Its processes: a server may have one for each connection.
    pub fn processes(&self) -> Vec<u32> {
        processes::with_descendants(self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        processes::end(&mut self.process, PATIENCE);
    }
}

/// The version that each program has of itself.
pub fn versions(places: &Places) -> Vec<String> {
    let samba = places.samba.as_deref().and_then(samba::version);
    [usmbd::version(&places.usmbd), samba].into_iter().flatten().collect()
}

/// What runs `program` on the server's core, and ends it with us.
fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args([
        "--cpu-list",
        &cores::SERVER.to_string(),
        "setpriv",
        "--pdeathsig",
        "TERM",
        "--",
    ]);
    command.arg(program);
    command
}

fn first_line_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
