//! Snapshots of a share's folder, found where the tools put them that make them: each in a folder of its own below one,
//! with its time, in UTC, in the name (`@GMT-2026.01.02-03.04.05`, `daily_2026-01-02_03:04:05`, `home.20260102T0304`), or
//! in snapper's `info.xml` beside the snapshot itself.

use std::collections::HashMap;
use std::fs::{DirEntry, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use crate::calendar::Moment;

use super::volume::WeakTree;
use super::{Error, Mapping, Volume};

/// How many are looked at. Tools keep some hundreds, and clients show all of them in one list.
const SNAPSHOTS_MAX: usize = 4096;

/// How long a list is good for those who open files by it, one after the other.
const FRESH: Duration = Duration::from_secs(10);

/// How much of an `info.xml` is read.
const INFO_MAX: u64 = 64 * 1024;

/// Where a share's snapshots are.
#[derive(Debug)]
pub struct Snapshots {
    folder: PathBuf,
    /// Where the share's folder is in each.
    below: PathBuf,
    known: Mutex<Option<(Instant, Arc<[Snapshot]>)>>,
    /// Of those that somebody has open, so that a directory's names are kept once, however often that is.
    trees: Mutex<HashMap<PathBuf, WeakTree>>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// When it was taken, in seconds since 1970.
    pub taken: i64,
    path: PathBuf,
}

impl Snapshots {
    /// Those in `folder`. They are of the folder `share`; those in a `.snapshots` or `.zfs/snapshot`, of what has that,
    /// which may be above the share.
    #[must_use]
    pub fn new(folder: &Path, share: &Path) -> Self {
        let folder = share.join(folder);
        let of = match () {
            () if folder.ends_with(".snapshots") => folder.parent(),
            () if folder.ends_with(".zfs/snapshot") => folder.ancestors().nth(2),
            () => None,
        };
        let below = of.and_then(|of| share.strip_prefix(of).ok()).unwrap_or(Path::new(""));
        Self { below: below.to_owned(), folder, known: Mutex::default(), trees: Mutex::default() }
    }

    /// All of them, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn list(&self) -> Result<Arc<[Snapshot]>, Error> {
        let folder = self.folder.clone();
        let found = ringway::spawn_blocking(move || found_in(&folder)).await;
        let found: Arc<[Snapshot]> = found.map_err(|_| Error::Busy)??.into();
        let known = Some((Instant::now(), Arc::clone(&found)));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(found)
    }

    /// The share's folder as it was then, if there is a snapshot of just that time.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open(&self, taken: i64, mapping: Mapping) -> Result<Option<Volume>, Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = match known {
            Some((when, known)) if when.elapsed() < FRESH => known,
            _ => self.list().await?,
        };
        let Some(snapshot) = known.iter().find(|snapshot| snapshot.taken == taken) else {
            return Ok(None);
        };
        let (path, below) = (snapshot.path.clone(), self.below.clone());
        let of = path.clone();
        let opened =
            ringway::spawn_blocking(move || Volume::open_below(&path, &below, mapping)).await;
        match opened.map_err(|_| Error::Busy)?.map_err(Error::from) {
            // It was deleted, or is from before there was the share's folder, or that was a link then.
            Err(Error::NotFound | Error::NotADirectory | Error::TooManyLinks) => Ok(None),
            result => Ok(Some(self.one_tree(of, result?))),
        }
    }

    /// As one tree with those who have the same open.
    fn one_tree(&self, path: PathBuf, volume: Volume) -> Volume {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(volume) = trees.get(&path).and_then(|tree| volume.in_tree(tree)) {
            return volume;
        }
        trees.retain(|_, tree| tree.is_open());
        trees.insert(path, volume.weak_tree());
        volume
    }
}

fn found_in(folder: &Path) -> io::Result<Vec<Snapshot>> {
    let mut found = Vec::new();
    // Snapshots are opened without following links, so that none leads anywhere but those followed here.
    for entry in std::fs::read_dir(folder.canonicalize()?)?.take(SNAPSHOTS_MAX) {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let Some(path) = real_path(&entry) else { continue };
        match date_in(name) {
            Some(taken) => found.push(Snapshot { taken, path }),
            // What is in any other is what was in the share, where users may have files of this name.
            None if name.bytes().all(|byte| byte.is_ascii_digit()) => {
                let snapshot = path.join("snapshot");
                found
                    .extend(date_of_snapper(&path).map(|taken| Snapshot { taken, path: snapshot }));
            }
            None => tracing::debug!(?path, "a snapshot without a time"),
        }
    }
    found.sort_by(|a, b| (b.taken, &a.path).cmp(&(a.taken, &b.path)));
    found.dedup_by_key(|snapshot| snapshot.taken);
    Ok(found)
}

/// Where an entry is, or where it leads if it is an administrator's link.
fn real_path(entry: &DirEntry) -> Option<PathBuf> {
    if !entry.file_type().ok()?.is_symlink() {
        return Some(entry.path());
    }
    let made_by = entry.metadata().ok()?.uid();
    let trusted = made_by == 0 || made_by == geteuid().as_raw();
    entry.path().canonicalize().ok().filter(|_| trusted)
}

/// What snapper writes: `<date>2026-01-02 03:04:05</date>`.
fn date_of_snapper(path: &Path) -> Option<i64> {
    // Nothing that waits for somebody to write.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path.join("info.xml")).ok()?;
    let file = file.metadata().ok()?.is_file().then_some(file)?;
    let info = io::read_to_string(io::Read::take(file, INFO_MAX)).ok()?;
    let (_, after) = info.split_once("<date>")?;
    date_in(after.split_once("</date>")?.0)
}

/// The first date with a time in a text.
fn date_in(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let starts = (0..bytes.len()).filter(|at| {
        // Not within a number.
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        !before.is_some_and(u8::is_ascii_digit)
    });
    starts.filter_map(|at| date_at(bytes.get(at..)?)).next()
}

/// Numbers of a fixed width, with at most one separator between two; the seconds may be missing.
fn date_at(text: &[u8]) -> Option<i64> {
    let mut rest = text;
    let mut number = |width: usize| {
        if let [b'-' | b'.' | b'_' | b':' | b' ' | b'T', after @ ..] = rest {
            rest = after;
        }
        let (digits, after) = rest.split_at_checked(width)?;
        rest = after;
        let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
        std::str::from_utf8(digits).ok()?.parse::<i64>().ok()
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    let (hour, minute) = (number(2)?, number(2)?);
    let second = number(2).unwrap_or(0);
    Moment { year, month, day, hour, minute, second }.to_unix()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date -u -d '2026-01-02 03:04:05' +%s`.
    const TAKEN: i64 = 1_767_323_045;

    #[test]
    fn times_are_found_in_the_names_that_tools_give() {
        for name in [
            "@GMT-2026.01.02-03.04.05",
            "autosnap_2026-01-02_03:04:05_daily",
            "20260102T030405",
            "data.20260102-030405",
        ] {
            assert_eq!(date_in(name), Some(TAKEN), "{name}");
        }
        for name in
            ["zfs-auto-snap_hourly-2026-01-02-0304", "home.20260102T0304", "x.20260102T0304_1"]
        {
            assert_eq!(date_in(name), Some(TAKEN - 5), "{name}");
        }
        for name in
            ["", "17", "before-update", "2026-01-02", "2026-13-02-0304", "20260102", "é2026"]
        {
            assert_eq!(date_in(name), None, "{name}");
        }
    }

    #[test]
    fn a_file_in_a_snapshot_does_not_say_when_it_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["daily_2026-01-02_03:04:05", "before", "17"] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("info.xml"), "<date>2000-01-01 00:00:00</date>").unwrap();
        }
        let by_snapper = date_in("2000-01-01 00:00:00").unwrap();
        let found: Vec<_> =
            found_in(folder.path()).unwrap().iter().map(|found| found.taken).collect();
        assert_eq!(found, [TAKEN, by_snapper]);
        let info = folder.path().join("17/info.xml");
        std::fs::remove_file(&info).unwrap();
        // Opening this to read would wait for a writer.
        nix::unistd::mkfifo(&info, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(found_in(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn who_has_the_same_snapshot_open_is_in_one_tree() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["2026-01-02_03:04:05", "2026-01-02_03:04:06"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let snapshots = Snapshots::new(folder.path(), Path::new("/srv"));
        let runtime = ringway::Builder::new().build().unwrap();
        runtime.block_on(async {
            let open =
                async |taken| snapshots.open(taken, Mapping::default()).await.unwrap().unwrap();
            let (one, other) = (open(TAKEN).await, open(TAKEN + 1).await);
            assert_eq!(one.tree_id(), open(TAKEN).await.tree_id());
            assert_ne!(one.tree_id(), other.tree_id());
            drop(one);
            // What nobody has open is forgotten with the next.
            drop(other);
            open(TAKEN).await;
            assert_eq!(snapshots.trees.lock().unwrap().len(), 1);
        });
    }

    #[test]
    fn what_has_the_snapshots_may_be_above_the_share() {
        let below = |folder: &str, share: &str| {
            let snapshots = Snapshots::new(Path::new(folder), Path::new(share));
            (snapshots.folder, snapshots.below)
        };
        let expected = |folder: &str, below: &str| (folder.into(), below.into());
        assert_eq!(below(".snapshots", "/srv"), expected("/srv/.snapshots", ""));
        assert_eq!(below("/.snapshots", "/srv/a"), expected("/.snapshots", "srv/a"));
        assert_eq!(below("/tank/.zfs/snapshot", "/tank/a"), expected("/tank/.zfs/snapshot", "a"));
        assert_eq!(below("/mnt/snaps", "/srv/a"), expected("/mnt/snaps", ""));
        assert_eq!(below("/tank/.zfs/snapshot", "/srv"), expected("/tank/.zfs/snapshot", ""));
    }
}
