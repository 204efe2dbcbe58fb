//! The machine that the numbers are of.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is to be told of a machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// The kernel's version.
    pub kernel: String,
    /// The processor's name.
    pub cpu: String,
    /// How many of them.
    pub cores: usize,
    /// It is a guest.
    pub is_virtual: bool,
}

impl Host {
    /// This one; to be asked before the thread is bound to a core.
    pub fn of_this() -> Self {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        // What follows is the name that somebody has given to their build.
        let kernel = release.split('-').next().unwrap_or_default().to_owned();
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cpu = model.map_or_else(|| "unknown CPU".to_owned(), |(_, model)| model.to_owned());
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self { kernel, cpu, cores, is_virtual: info.contains(" hypervisor") }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, cpu, cores, is_virtual } = self;
        let machine = if *is_virtual { "a virtual machine" } else { "a machine" };
        write!(f, "{machine} with {cores} cores ({cpu}) and Linux {kernel}")
    }
}

/// Of which kind the file system is that a folder is on.
pub fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let kinds = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        folder.starts_with(place).then_some((place.len(), kind))
    });
    kinds.max_by_key(|(length, _)| *length).map_or("an unknown one", |(_, kind)| kind).to_owned()
}

/// The day by universal time, as in 2026-01-31.
pub fn today() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut days = since_epoch.as_secs() / 86_400;
    let mut year = 1970;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}
