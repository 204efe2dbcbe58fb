//! What the server is told to do, parsed into types that cannot hold an invalid value.
//!
//! It reads no command line and starts nothing: [`Config`] is where the outside world's strings have already become
//! names that SMB can carry, folders that exist and limits that have reasons. Start from [`Config`] and [`Limits`].

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ringway::Backend;
use zeroize::Zeroizing;

use crate::cores::Helping;
use crate::datapath::plan::Without;
use crate::vfs::Mapping;

/// Everything the server needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 lets the kernel choose one.
    pub listen: Vec<SocketAddr>,
    /// The folders to serve. IPC$ is not among them: every server has it.
    pub shares: ByName<ShareConfig>,
    /// Who may log on.
    pub users: ByName<UserConfig>,
    /// Which backend the runtime is to use.
    pub backend: Backend,
    /// How many cores serve connections, one runtime on each.
    pub threads: NonZeroUsize,
    /// When a core leaves some of its work to others.
    pub helping: Helping,
    /// Refuse requests that are not signed.
    pub require_signing: bool,
    /// Refuse sessions that cannot encrypt.
    pub require_encryption: bool,
    /// The unix account that guests work as. With one, everybody whom the server does not know comes in as a guest;
    /// without, nobody does.
    pub guest: Option<UserName>,
    /// Set up sessions of clients that are nobody. They get at the named pipes, and at what is for guests.
    pub anonymous: bool,
    /// Treat every client as one on another host, whatever the routes say: for measurements and trials, in which there
    /// is no other host. A client on this host would get what is written to a file after it was sent and before it was
    /// received.
    pub assume_remote_peers: bool,
    /// What bytes are moved without, whether the host has it or not.
    pub without: Vec<Without>,
    /// How much of everything one server, one connection and one session may hold.
    pub limits: Limits,
}

/// One folder, served under one name.
///
/// Made by [`ShareConfig::new`], so the path was absolute, free of symbolic links and a folder when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareConfig {
    /// The name clients connect to.
    pub name: ShareName,
    /// The folder: absolute and canonical.
    pub path: PathBuf,
    /// How it is served.
    pub options: ShareOptions,
}

/// How a folder is served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareOptions {
    /// No change is accepted, whatever the file permissions say.
    pub read_only: bool,
    /// Files may have named streams.
    pub streams: bool,
    /// Listings, and what is told of changes, leave out what the user may not read.
    pub hide_unreadable: bool,
    /// What stands for characters that names in SMB cannot have.
    pub mapping: Mapping,
    /// The folder that has snapshots of it, which are served as previous versions; if relative, below the folder.
    pub snapshots: Option<PathBuf>,
    /// Guests and sessions without a user may use it.
    pub guests: bool,
    /// Clients may keep copies of what is in files, by oplocks.
    pub oplocks: bool,
    /// Large transfers go past the page cache, where they can.
    pub direct: bool,
}

impl Default for ShareOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            streams: true,
            hide_unreadable: false,
            mapping: Mapping::default(),
            snapshots: None,
            guests: false,
            oplocks: true,
            direct: false,
        }
    }
}

impl ShareOptions {
    /// The words for what is not as usual, as they stand behind a folder on the command line.
    pub const WORDS: [&str; 9] = [
        "ro",
        "no-streams",
        "no-oplocks",
        "hide-unreadable",
        "catia",
        "no-mapping",
        "guest",
        "direct",
        "snapshots=FOLDER",
    ];

    /// Applies one of the words; `false` if it is none.
    pub fn apply(&mut self, word: &str) -> bool {
        match word {
            "ro" => self.read_only = true,
            "no-streams" => self.streams = false,
            "no-oplocks" => self.oplocks = false,
            "hide-unreadable" => self.hide_unreadable = true,
            "catia" => self.mapping = Mapping::Catia,
            "no-mapping" => self.mapping = Mapping::None,
            "guest" => self.guests = true,
            "direct" => self.direct = true,
            _ => match word.strip_prefix("snapshots=") {
                Some(folder) if !folder.is_empty() => self.snapshots = Some(folder.into()),
                _ => return false,
            },
        }
        true
    }
}

impl ShareConfig {
    /// Looks `path` up and makes it absolute; blocks, so this is for start-up.
    ///
    /// # Errors
    /// When `path` cannot be resolved or is not a folder.
    pub fn new(name: ShareName, path: &Path, options: ShareOptions) -> Result<Self, ConfigError> {
        let unusable = |source| ConfigError::Folder { path: path.to_path_buf(), source };
        let canonical = path.canonicalize().map_err(unusable)?;
        if !canonical.metadata().map_err(unusable)?.is_dir() {
            return Err(unusable(std::io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { name, path: canonical, options })
    }
}

/// Somebody who may log on.
#[derive(Clone, Debug)]
pub struct UserConfig {
    /// The name, compared without regard to case.
    pub name: UserName,
    /// The password.
    pub password: Secret,
}

/// A text that is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the code that hashes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The name of a share: 1 to [`ShareName::CHARS_MAX`] characters that a UNC path can carry, and not `IPC$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareName(String);

impl ShareName {
    /// NNLEN of lmcons.h, the longest share name Windows accepts.
    pub const CHARS_MAX: usize = 80;
    /// Characters that end a component of a UNC path, are wildcards, or that Windows refuses in a share name.
    pub const FORBIDDEN: &str = "\\/:*?\"<>|";
}

impl FromStr for ShareName {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let refuse = |reason| Err(ConfigError::ShareName { name: name.to_owned(), reason });
        if name.trim().is_empty() {
            refuse("it is empty")
        } else if name.chars().count() > Self::CHARS_MAX {
            refuse("it is longer than 80 characters")
        } else if name.chars().any(|c| Self::FORBIDDEN.contains(c) || c.is_control()) {
            refuse("it contains a control character or one of \\ / : * ? \" < > |")
        } else if matches!(name, "." | "..") {
            refuse("it means a folder in every path")
        } else if same_name(name, "IPC$") {
            refuse("IPC$ is reserved for named pipes")
        } else {
            Ok(Self(name.to_owned()))
        }
    }
}

/// The name of a user: 1 to [`UserName::CHARS_MAX`] characters that Windows accepts in an account name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

impl UserName {
    /// UNLEN of lmcons.h is 256; a Linux login name ends at 32. Twice that leaves room for names in other scripts.
    pub const CHARS_MAX: usize = 64;
    /// What Windows refuses in an account name, and `@` and `%`, which clients read as the start of a domain or password.
    pub const FORBIDDEN: &str = "\"/\\[]:;|=,+*?<>@%";
}

impl FromStr for UserName {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let refuse = |reason| Err(ConfigError::UserName { name: name.to_owned(), reason });
        if name.trim().is_empty() {
            refuse("it is empty")
        } else if name.chars().count() > Self::CHARS_MAX {
            refuse("it is longer than 64 characters")
        } else if name.chars().any(|c| Self::FORBIDDEN.contains(c) || c.is_control()) {
            refuse("it contains a control character or one of \" / \\ [ ] : ; | = , + * ? < > @ %")
        } else {
            Ok(Self(name.to_owned()))
        }
    }
}

impl Deref for ShareName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Deref for UserName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that clients ask for by name.
pub trait Named {
    /// What messages call it: "share", "user".
    const KIND: &'static str;
    /// The name, as it was given.
    fn name(&self) -> &str;
}

impl Named for ShareConfig {
    const KIND: &'static str = "share";
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for UserConfig {
    const KIND: &'static str = "user";
    fn name(&self) -> &str {
        &self.name
    }
}

/// A list in which no two names are equal without regard to case; reads as a slice.
#[derive(Clone, Debug)]
pub struct ByName<T>(Vec<T>);

impl<T: Named> ByName<T> {
    /// Takes the list over, in its order.
    ///
    /// # Errors
    /// [`ConfigError::Duplicate`] when two names are equal without regard to case.
    pub fn new(items: Vec<T>) -> Result<Self, ConfigError> {
        let list = Self(items);
        for (i, item) in list.iter().enumerate() {
            if list.iter().take(i).any(|earlier| same_name(earlier.name(), item.name())) {
                return Err(ConfigError::Duplicate { kind: T::KIND, name: item.name().to_owned() });
            }
        }
        Ok(list)
    }

    /// The one called `name`, in any case.
    pub fn find(&self, name: &str) -> Option<&T> {
        self.iter().find(|item| same_name(item.name(), name))
    }
}

impl<T> Deref for ByName<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a ByName<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Equality of share and user names. NTLM hashes the user name in upper case, so that is the case to compare in.
fn same_name(a: &str, b: &str) -> bool {
    a.chars().flat_map(char::to_uppercase).eq(b.chars().flat_map(char::to_uppercase))
}

/// How much of everything may be held. Each bound keeps one client from taking the server from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections of the whole server.
    pub connections_max: usize,
    /// The memory that requests and answers of all connections may hold, in bytes. What is known of clients, sessions
    /// and open files comes on top.
    pub memory_max: usize,
    /// TCP connections from one address.
    pub connections_per_address_max: usize,
    /// How long a connection may live without a session that has logged on.
    pub unauthenticated_timeout: Duration,
    /// How long a connection without open files may stay silent.
    pub idle_timeout: Duration,
    /// How long a reply may wait for a client that does not read.
    pub send_timeout: Duration,
    /// Credits one connection may hold: the number of 64 KiB units it may have in flight.
    pub credits_max: u16,
    /// The largest READ, WRITE and transaction, in bytes.
    pub io_size_max: u32,
    /// Sessions on one connection.
    pub sessions_per_connection_max: usize,
    /// Tree connects of one session.
    pub trees_per_session_max: usize,
    /// Open files, folders and pipes of one session.
    pub opens_per_session_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // One descriptor each: a small part of the hard limit that systemd sets (524,288), the rest is for files.
            connections_max: 4096,
            // Sixteen clients that take their answers as slowly as they may; others have a megabyte or two in flight.
            memory_max: 1 << 30,
            // A client uses up to 32 channels; several clients behind one NAT still fit, one machine cannot take all.
            connections_per_address_max: 256,
            // A person does not type a password inside the protocol: a log-on takes a few round trips.
            unauthenticated_timeout: Duration::from_secs(30),
            // What Windows servers do ("autodisconnect"): clients are prepared for it and reconnect unseen.
            idle_timeout: Duration::from_secs(15 * 60),
            // Longer than a client's TCP needs to come back from a roaming pause, shorter than anybody waits for a file.
            send_timeout: Duration::from_secs(60),
            // What Samba and Windows grant; 8192 units of 64 KiB keep any link full.
            credits_max: 8192,
            // The largest that Windows clients ask for; larger ones gain nothing and hold more memory.
            io_size_max: 8 * 1024 * 1024,
            // A terminal server has one session per person on one connection.
            sessions_per_connection_max: 256,
            // There are never more useful tree connects than shares, and a client may connect to each a few times.
            trees_per_session_max: 256,
            // What Windows accepts of one client, and far below a descriptor table's end.
            opens_per_session_max: 16_384,
        }
    }
}

/// Why something from the outside world is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A share cannot have this name.
    #[error("'{}' cannot be the name of a share: {reason}", .name.escape_debug())]
    ShareName {
        /// The name as it was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A user cannot have this name.
    #[error("'{}' cannot be the name of a user: {reason}", .name.escape_debug())]
    UserName {
        /// The name as it was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two of a kind have the same name.
    #[error("there are two {kind}s named '{name}' (case makes no difference)")]
    Duplicate {
        /// "share" or "user".
        kind: &'static str,
        /// The second one's name.
        name: String,
    },
    /// A folder that cannot be served.
    #[error("cannot share '{}': {source}", .path.display())]
    Folder {
        /// The path as it was given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_names_are_what_a_unc_path_can_carry() {
        let longest = "x".repeat(80);
        for name in ["a", "my music", "C$", "größe", "ipc", "a.b", &longest] {
            assert_eq!(&*name.parse::<ShareName>().unwrap(), name);
        }
        let too_long = "x".repeat(81);
        for name in ["", " ", ".", "..", "IPC$", "ipc$", "a\0b", "a\nb", &too_long] {
            assert!(name.parse::<ShareName>().is_err(), "{name:?}");
        }
        for forbidden in r#"\/:*?"<>|"#.chars() {
            assert!(format!("a{forbidden}b").parse::<ShareName>().is_err(), "{forbidden}");
        }
    }

    #[test]
    fn user_names_do_not_hold_what_clients_read_as_something_else() {
        for name in ["ann", "Ann Lee", "müller", "o'brien", "a.b-c_d"] {
            assert_eq!(&*name.parse::<UserName>().unwrap(), name);
        }
        let too_long = "x".repeat(65);
        for name in ["", "a/b", "DOMAIN\\ann", "ann@home", "ann%pw", "ann:pw", "a,b", &too_long] {
            assert!(name.parse::<UserName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_that_differ_only_in_case_are_the_same() {
        let share = |name: &str| {
            ShareConfig::new(name.parse().unwrap(), Path::new("/"), ShareOptions::default())
        };
        let list = ByName::new(vec![share("Data").unwrap(), share("größe").unwrap()]).unwrap();
        assert_eq!(list.find("dATA").map(|share| &*share.name), Some("Data"));
        assert_eq!(list.find("GRÖSSE").map(|share| &*share.name), Some("größe"));
        assert!(list.find("dat").is_none());
        let error = ByName::new(vec![share("Data").unwrap(), share("data").unwrap()]).unwrap_err();
        assert!(matches!(error, ConfigError::Duplicate { kind: "share", .. }));
    }

    #[test]
    fn a_share_leads_to_a_folder_by_its_real_path() {
        let top = tempfile::tempdir().unwrap();
        let real = top.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, top.path().join("link")).unwrap();
        std::fs::write(top.path().join("file"), "").unwrap();
        let share = |path: &str| {
            ShareConfig::new(
                "data".parse().unwrap(),
                &top.path().join(path),
                ShareOptions::default(),
            )
        };
        assert_eq!(share("link").unwrap().path, real);
        assert!(matches!(share("file"), Err(ConfigError::Folder { .. })));
        assert!(matches!(share("missing"), Err(ConfigError::Folder { .. })));
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let name = "ann".parse().unwrap();
        let user = UserConfig { name, password: Secret::new("hunter2".into()) };
        assert!(!format!("{user:?}").contains("hunter2"));
    }
}
