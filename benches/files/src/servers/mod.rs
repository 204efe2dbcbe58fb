//! The servers that are measured: usmbd's program and Samba's, each pinned to the core that the load does not have.

mod processes;
mod samba;
mod usmbd;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

pub(crate) use processes::{cpu_time, run_delay, syscall_counters};
use ringway::Backend;

/// The core of the server; the other has the load.
pub(crate) const SERVER_CORE: usize = 0;

/// The core of the load, and of the process that measures.
pub(crate) const LOAD_CORE: usize = 1;

pub(crate) const SHARE: &str = "bench";
pub(crate) const USER: &str = "bench";
/// Of a server on loopback that lives for some minutes, and serves nothing but files of `x`.
pub(crate) const PASSWORD: &str = "measured";

/// The account that the user works as with every server. usmbd takes the owner of the folder for a user who has none;
/// to Samba's tree it is made known.
pub(crate) const ACCOUNT: u32 = 54_321;

/// How long a server may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What may be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Usmbd(Backend),
    Samba(samba::Modules),
}

/// A server by its name in the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What has to be known about how it is set up.
    pub(crate) settings: &'static str,
}

pub(crate) const CONTENDERS: [Contender; 4] = [
    Contender {
        name: "usmbd",
        kind: Kind::Usmbd(Backend::Uring),
        settings: "as it is, on io_uring: named streams, creation times, DOS attributes and security descriptors are \
                   kept",
    },
    Contender {
        name: "usmbd-epoll",
        kind: Kind::Usmbd(Backend::Epoll),
        settings: "the same on epoll",
    },
    Contender {
        name: "samba",
        kind: Kind::Samba(samba::Modules::None),
        settings: "a share with nothing set but its path and `read only = no`: DOS attributes and extended \
                   attributes are kept, named streams and security descriptors are not",
    },
    Contender {
        name: "samba-windows",
        kind: Kind::Samba(samba::Modules::Windows),
        settings: "`vfs objects = acl_xattr streams_xattr io_uring` and `map acl inherit = yes`, for what Windows \
                   expects and usmbd has",
    },
];

/// Where servers find what they need.
pub(crate) struct Places {
    /// usmbd's program.
    pub(crate) usmbd: PathBuf,
    /// The unpacked packages, if they are to be had.
    pub(crate) samba: Option<PathBuf>,
    /// The folder that all of them share.
    pub(crate) share: PathBuf,
    /// For settings and logs.
    pub(crate) settings: PathBuf,
}

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    pub(crate) contender: Contender,
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Server {
    pub(crate) fn start(contender: Contender, places: &Places) -> io::Result<Self> {
        let (process, address) = match contender.kind {
            Kind::Usmbd(backend) => usmbd::start(backend, contender.name, places)?,
            Kind::Samba(modules) => samba::start(modules, contender.name, places)?,
        };
        Ok(Self { contender, address, process })
    }

    /// Its processes: a server may have one for each connection.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes::with_descendants(self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        processes::end(&mut self.process, PATIENCE);
    }
}

/// The version that each program has of itself.
pub(crate) fn versions(places: &Places) -> Vec<String> {
    let samba = places.samba.as_deref().and_then(samba::version);
    [usmbd::version(&places.usmbd), samba].into_iter().flatten().collect()
}

/// What runs `program` on the server's core, and ends it with us.
fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &SERVER_CORE.to_string(), "setpriv", "--pdeathsig", "TERM", "--"]);
    command.arg(program);
    command
}

fn first_line_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
