//! Snapshots of a share's folder, found where the tools put them that make them: each in a folder of its own below one,
//! with its time, in UTC, in the name (`@GMT-2026.01.02-03.04.05`, `daily_2026-01-02_03:04:05`, `home.20260102T0304`), or
//! in snapper's `info.xml` beside the snapshot itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::calendar::Moment;

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
        Self { below: below.to_owned(), folder, known: Mutex::default() }
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
        let opened =
            ringway::spawn_blocking(move || Volume::open_below(&path, &below, mapping)).await;
        match opened.map_err(|_| Error::Busy)?.map_err(Error::from) {
            // It was deleted, or is from before there was the share's folder, or that was a link then.
            Err(Error::NotFound | Error::NotADirectory | Error::TooManyLinks) => Ok(None),
            result => result.map(Some),
        }
    }
}

fn found_in(folder: &Path) -> io::Result<Vec<Snapshot>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(SNAPSHOTS_MAX) {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match (date_of_snapper(&path), date_in(name)) {
            (Some(taken), _) => found.push(Snapshot { taken, path: path.join("snapshot") }),
            (None, Some(taken)) => found.push(Snapshot { taken, path }),
            (None, None) => tracing::debug!(?path, "a snapshot without a time"),
        }
    }
    found.sort_by(|a, b| (b.taken, &a.path).cmp(&(a.taken, &b.path)));
    found.dedup_by_key(|snapshot| snapshot.taken);
    Ok(found)
}

/// What snapper writes: `<date>2026-01-02 03:04:05</date>`.
fn date_of_snapper(path: &Path) -> Option<i64> {
    let file = std::fs::File::open(path.join("info.xml")).ok()?;
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
