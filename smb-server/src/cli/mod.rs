//! The command line: what may be said, and what a [`Config`] makes of it.
//!
//! Nothing is started here, and nothing printed: `main` does both.

pub(crate) mod banner;
pub(crate) mod quote;
pub(crate) mod routes;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use nix::unistd::{User, getuid};
use ringway::Backend;
use tracing_subscriber::filter::LevelFilter;
use usmbd::config::{
    ByName, Config, ConfigError, Limits, Secret, ShareConfig, ShareName, ShareOptions, UserConfig,
    UserName,
};
use usmbd::cores::Helping;
use usmbd::datapath::plan::Without;

/// The port that is used when none is named: 445 needs privilege, and one more 4 is easy to keep in mind.
const DEFAULT_LISTEN: &str = "127.0.0.1:4450";
/// More runtimes than any machine has cores; a slip of the finger should not start a million threads.
const THREADS_MAX: usize = 1024;

/// Serve folders over SMB3, on io_uring where the kernel has it.
#[derive(Debug, Parser)]
#[command(name = "usmbd", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve folders until SIGINT or SIGTERM
    Serve(ServeArgs),
    /// Say what this machine's kernel offers each backend
    Probe(ProbeArgs),
    /// Remove what is left of streams and security descriptors that were too long for extended attributes, and whose
    /// files have been deleted without SMB
    Sweep(SweepArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// Say which way the bytes of READs and WRITEs take on this host, and why
    #[arg(long)]
    pub(crate) routes: bool,
    /// A folder to be served: what its file system has of that is tried, on a file without a name [default: where
    /// temporary files are]
    #[arg(requires = "routes")]
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// The folders that are served: name all between which files may have been moved
    #[arg(required = true, value_name = "FOLDER")]
    pub(crate) folders: Vec<PathBuf>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave what has changed in the last so many hours
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub(crate) hours: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A folder to serve under its own name
    dir: Option<PathBuf>,
    /// Where to listen; port 0 takes any free port [default: 127.0.0.1:4450]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// A folder to serve under a name of your choice, with options behind it: "ro" for read-only,
    /// "no-streams" for files without named streams, "no-oplocks" for files of which clients keep no copies,
    /// "hide-unreadable" for listings without what the user may not read, "catia" or "no-mapping" for other
    /// characters, or none, in place of those that names in SMB cannot have, "guest" for one that guests and
    /// anonymous sessions may use, too, "direct" for large transfers past the page cache of this host,
    /// "snapshots=FOLDER" for previous versions out of a folder of snapshots
    #[arg(long, value_name = "NAME=PATH[,OPTION...]")]
    share: Vec<ShareArg>,
    /// Somebody who may log on. The password is visible to other users of this host (in ps) while
    /// the server runs: this is meant for trying things out
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Vec<String>,
    /// How to do I/O: auto, uring, hybrid or epoll
    #[arg(long, default_value_t)]
    backend: Backend,
    /// How many cores serve [default: all there are]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,
    /// When one connection's encryption and copies take several cores: auto, where some are idle, never or always
    #[arg(long, value_name = "WHEN", default_value_t)]
    helpers: Helping,
    /// Refuse requests that are not signed
    #[arg(long)]
    require_signing: bool,
    /// Refuse sessions that cannot encrypt
    #[arg(long)]
    require_encryption: bool,
    /// Let everybody whom the server does not know in as a guest, who works as the unix account NAME and
    /// gets at the shares that have the option "guest"
    #[arg(long, value_name = "NAME")]
    guest: Option<UserName>,
    /// Refuse sessions without a user. By default they are set up, as clients that only ask for the list of
    /// shares use them, and get at files only in shares that have the option "guest"
    #[arg(long)]
    no_anonymous: bool,
    /// For measurements and trials: treat every client as one on another host. Clients on this host may get wrong
    /// signatures
    #[arg(long, hide = true)]
    assume_remote_peers: bool,
    /// What to do without, to see what it is worth, or that it is not to blame: pipes or mappings, and the other ways of
    /// `usmbd probe --routes` are taken then; or kept-mappings, and each READ that takes one has its own
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    without: Vec<Without>,
    /// How many connections there may be; 256 of them from one address
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections_max)]
    max_connections: usize,
    /// How many MiB the requests and answers of all connections may hold; who would need more waits
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().memory_max >> 20)]
    max_memory: usize,
    /// What to log to stderr: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: LevelFilter,
}

/// What `--share` names; whether there is such a folder is found out later.
#[derive(Clone, Debug)]
struct ShareArg {
    name: ShareName,
    path: PathBuf,
    options: ShareOptions,
}

impl FromStr for ShareArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or("it should be NAME=PATH, or NAME=PATH,ro")?;
        let name = name.parse().map_err(|error: ConfigError| error.to_string())?;
        let (mut path, mut options) = (path, ShareOptions::default());
        // From the end, so that a comma may be in the path itself.
        while let Some((before, word)) = path.rsplit_once(',')
            && options.apply(word)
        {
            path = before;
        }
        if path.is_empty() {
            return Err("the path is missing".to_owned());
        }
        Ok(Self { name, path: path.into(), options })
    }
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= THREADS_MAX => Ok(count),
        _ => Err(format!("it should be a number from 1 to {THREADS_MAX}")),
    }
}

/// Why a command line is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("nothing to serve: name a folder, or use --share NAME=PATH")]
    NothingToServe,
    // The text that was given is not repeated: it may hold a password.
    #[error("--user should be NAME:PASSWORD, with neither of them empty")]
    User,
    #[error(
        "guests can neither sign nor encrypt: --guest and the option \"guest\" of a share do not go with \
         --require-signing and --require-encryption"
    )]
    ProtectedGuests,
    #[error("cannot make up a password: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Error {
    /// 2 where the command line is at fault, 1 where the machine is.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NothingToServe | Self::User | Self::ProtectedGuests => 2,
            Self::Random(_) | Self::Config(ConfigError::Folder { .. }) => 1,
            Self::Config(_) => 2,
        }
    }
}

impl ServeArgs {
    /// Looks the folders up. The second value is the password of a user that was made up, for the person at the
    /// terminal.
    pub(crate) fn config(self) -> Result<(Config, Option<Secret>), Error> {
        let shares = shares(self.dir.as_deref(), self.share)?;
        let guests = self.guest.is_some() || shares.iter().any(|share| share.options.guests);
        if guests && (self.require_signing || self.require_encryption) {
            return Err(Error::ProtectedGuests);
        }
        let mut users: Vec<UserConfig> =
            self.user.iter().map(|text| user(text)).collect::<Result<_, _>>()?;
        let mut made_up = None;
        if users.is_empty() {
            let password = random_password()?;
            made_up = Some(password.clone());
            users.push(UserConfig { name: login_name()?, password });
        }
        let config = Config {
            listen: or_default(self.listen),
            shares: ByName::new(shares)?,
            users: ByName::new(users)?,
            backend: self.backend,
            threads: self.threads.unwrap_or_else(cores),
            helping: self.helpers,
            require_signing: self.require_signing,
            require_encryption: self.require_encryption,
            assume_remote_peers: self.assume_remote_peers,
            without: self.without,
            guest: self.guest,
            anonymous: !self.no_anonymous,
            limits: Limits {
                connections_max: self.max_connections,
                memory_max: self.max_memory.saturating_mul(1 << 20),
                ..Limits::default()
            },
        };
        Ok((config, made_up))
    }
}

fn shares(dir: Option<&Path>, named: Vec<ShareArg>) -> Result<Vec<ShareConfig>, Error> {
    let own_name = dir.map(|path| {
        let share = ShareConfig::new(fallback_name()?, path, ShareOptions::default())?;
        Ok(ShareConfig::new(name_of(&share.path)?, &share.path, ShareOptions::default())?)
    });
    let named = named
        .into_iter()
        .map(|share| ShareConfig::new(share.name, &share.path, share.options).map_err(Error::from));
    let shares = own_name.into_iter().chain(named).collect::<Result<Vec<_>, Error>>()?;
    if shares.is_empty() { Err(Error::NothingToServe) } else { Ok(shares) }
}

/// The folder's name without the characters that a share's name cannot have.
fn name_of(path: &Path) -> Result<ShareName, ConfigError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let usable = |c: &char| !ShareName::FORBIDDEN.contains(*c) && !c.is_control();
    let name: String = name.chars().filter(usable).take(ShareName::CHARS_MAX).collect();
    name.trim().parse().or_else(|_| fallback_name())
}

fn fallback_name() -> Result<ShareName, ConfigError> {
    "share".parse()
}

fn user(text: &str) -> Result<UserConfig, Error> {
    let (name, password) = text.split_once(':').ok_or(Error::User)?;
    if name.is_empty() || password.is_empty() {
        return Err(Error::User);
    }
    Ok(UserConfig { name: name.parse()?, password: Secret::new(password.to_owned()) })
}

/// Whoever starts the server: that is who will try it.
fn login_name() -> Result<UserName, ConfigError> {
    let account = || User::from_uid(getuid()).ok().flatten().map(|user| user.name);
    let by_environment = std::env::var("USER").ok().and_then(|name| name.parse().ok());
    match by_environment.or_else(|| account().and_then(|name| name.parse().ok())) {
        Some(name) => Ok(name),
        None => "usmbd".parse(),
    }
}

/// 80 random bits in characters that are not mistaken for each other.
fn random_password() -> Result<Secret, Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(Error::Random)?;
    let text = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    Ok(Secret::new(text))
}

fn or_default(listen: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if listen.is_empty() { DEFAULT_LISTEN.parse().into_iter().collect() } else { listen }
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use usmbd::vfs::Mapping;

    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, Error> {
        let arguments = ["usmbd", "serve"].iter().chain(arguments);
        let Command::Serve(serve) = Cli::try_parse_from(arguments).expect("it parses").command
        else {
            unreachable!("the command is serve")
        };
        serve.config().map(|(config, _)| config)
    }

    fn refused(arguments: &[&str]) -> String {
        let arguments = ["usmbd", "serve"].iter().chain(arguments);
        Cli::try_parse_from(arguments).expect_err("it does not parse").to_string()
    }

    #[test]
    fn a_folder_is_served_under_its_name_without_what_names_cannot_have() {
        let top = tempfile::tempdir().unwrap();
        for (folder, expected) in
            [("music", "music"), ("a:b?c", "abc"), ("***", "share"), ("IPC$", "share")]
        {
            let path = top.path().join(folder);
            std::fs::create_dir(&path).unwrap();
            let config = config(&[path.to_str().unwrap()]).unwrap();
            assert_eq!(&*config.shares[0].name, expected);
            assert_eq!(config.shares[0].path, path.canonicalize().unwrap());
        }
    }

    #[test]
    fn a_folder_and_named_shares_are_served_together() {
        let config = config(&["/tmp", "--share", "logs=/,ro", "--share", "all=/"]).unwrap();
        let shares: Vec<_> =
            config.shares.iter().map(|s| (&*s.name, s.options.read_only)).collect();
        assert_eq!(shares, [("tmp", false), ("logs", true), ("all", false)]);
    }

    #[test]
    fn options_stand_behind_the_folder_and_commas_may_be_in_it() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a,b");
        std::fs::create_dir(&folder).unwrap();
        let share = format!("x={},no-streams,no-oplocks,catia,direct,ro", folder.display());
        let config = config(&["--share", &share]).unwrap();
        assert!(config.shares[0].path.ends_with("a,b"));
        let expected = ShareOptions {
            read_only: true,
            streams: false,
            hide_unreadable: false,
            mapping: Mapping::Catia,
            snapshots: None,
            guests: false,
            oplocks: false,
            direct: true,
        };
        assert_eq!(config.shares[0].options, expected);
    }

    #[test]
    fn without_a_user_whoever_starts_the_server_gets_a_fresh_password() {
        let (a, b) = (config(&["/tmp"]).unwrap(), config(&["/tmp"]).unwrap());
        assert_eq!(a.users.len(), 1);
        assert_eq!(a.users[0].password.expose().len(), 16);
        assert_ne!(a.users[0].password.expose(), b.users[0].password.expose());
    }

    #[test]
    fn a_password_may_contain_colons() {
        let config = config(&["/tmp", "--user", "ann:a:b"]).unwrap();
        assert_eq!((&*config.users[0].name, config.users[0].password.expose()), ("ann", "a:b"));
    }

    #[test]
    fn defaults_are_loopback_and_all_cores() {
        let config = config(&["/tmp"]).unwrap();
        assert_eq!(config.listen, ["127.0.0.1:4450".parse().unwrap()]);
        assert_eq!(config.threads, std::thread::available_parallelism().unwrap());
        assert_eq!(config.backend, Backend::Auto);
        assert!(!config.require_signing && !config.require_encryption);
    }

    #[test]
    fn guests_come_in_only_where_the_administrator_said_so() {
        let usual = config(&["/tmp"]).unwrap();
        assert_eq!(
            (usual.guest, usual.shares[0].options.guests, usual.anonymous),
            (None, false, true)
        );
        let open = config(&["--share", "all=/,ro,guest", "--guest", "nobody", "--no-anonymous"]);
        let open = open.unwrap();
        assert_eq!(open.guest.as_deref(), Some("nobody"));
        assert!(open.shares[0].options.guests && open.shares[0].options.read_only);
        assert!(!open.anonymous);
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_the_right_exit_code() {
        for (arguments, code) in [
            (&[][..], 2),
            (&["/no/such/folder"], 1),
            (&["/etc/passwd"], 1),
            (&["/tmp", "--share", "TMP=/"], 2),
            (&["/tmp", "--user", "nobody"], 2),
            (&["/tmp", "--guest", "nobody", "--require-signing"], 2),
            (&["--share", "all=/,guest", "--require-encryption"], 2),
            (&["/tmp", "--user", "a:1", "--user", "A:2"], 2),
        ] {
            assert_eq!(config(arguments).expect_err("refused").exit_code(), code, "{arguments:?}");
        }
    }

    #[test]
    fn options_that_say_nothing_are_refused_by_name() {
        for (arguments, reason) in [
            (&["--share", "x"][..], "NAME=PATH"),
            (&["--share", "a/b=/tmp"], "'a/b' cannot be the name of a share"),
            (&["--share", "x=,ro"], "path is missing"),
            (&["--listen", "here"], "--listen"),
            (&["--backend", "fast"], "epoll"),
            (&["--threads", "0"], "1 to 1024"),
            (&["--log", "loud"], "--log"),
        ] {
            let message = refused(arguments);
            assert!(message.lines().next().unwrap().contains(reason), "{message}");
        }
    }

    #[test]
    fn no_error_about_a_user_repeats_the_password() {
        for text in ["ann", ":hunter2", "hunter2", "a/b:hunter2"] {
            let error = config(&["/tmp", "--user", text]).expect_err("refused").to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
