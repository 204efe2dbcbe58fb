//! Times that a client has set are left alone by what it does afterwards by the same open: what the file
//! system makes of them is put right. MS-FSA 2.1.4.17, 2.1.5.15.2.
//!
//! Only that: what another open writes meanwhile counts, and so does a time that a program beside the server
//! sets. Not known is that such a program writes during the very system call, or between it and this; its time
//! is then put back with our own.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway::time::timeout;

use crate::state::{Changing, FileOpen, Keeping, StickyTimes, Times};
use crate::vfs::{Change, Handle, Metadata, Time};
use crate::wire::filetime::FileTime;

/// How long to wait until another open's change, whose times are put back too, is over. That is a system call, or
/// the bytes of a WRITE still have to come, from a client that nobody should have to wait for; then this change
/// counts.
const TURN_MAX: Duration = Duration::from_secs(1);

/// What a change does to a file's times, as far as unix is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Touches {
    /// The last write, and the last change.
    Both,
    /// The last change.
    Changed,
}

/// An open changes its file.
#[derive(Debug)]
pub(super) enum Held {
    /// It has set no times, or there is nobody to know of it.
    Nothing { _change: Option<Changing> },
    /// These are to be again.
    Times { keeping: Keeping, before: Metadata, sticky: StickyTimes },
}

impl Held {
    async fn new(
        handle: &Handle,
        times: Option<Arc<Times>>,
        sticky: StickyTimes,
        touches: Touches,
    ) -> Self {
        let writes = touches == Touches::Both;
        let sticky = StickyTimes { modified: sticky.modified && writes, ..sticky };
        if let Some(times) = &times
            && sticky != StickyTimes::default()
            && let Ok(keeping) = timeout(TURN_MAX, times.keep()).await
            && let Ok(before) = handle.metadata().await
        {
            return Self::Times { keeping, before, sticky };
        }
        Self::Nothing { _change: times.filter(|_| writes).map(|times| times.change()) }
    }

    /// The time of change that it is to have again.
    pub(super) fn changed(&self) -> Option<Time> {
        match self {
            Self::Times { before, sticky, .. } => sticky.changed.then_some(before.changed),
            Self::Nothing { .. } => None,
        }
    }

    async fn put_back(self, handle: &Handle) -> Result<(), crate::vfs::Error> {
        let Self::Times { keeping, before, sticky } = self else { return Ok(()) };
        let now = handle.metadata().await?;
        // A write leaves the same in both; whatever else has come since, it is not the time that we have made.
        let is_written = now.modified != before.modified;
        if keeping.is_disturbed() || (is_written && now.modified != now.changed) {
            return Ok(());
        }
        // Also where it is the same: to set it is a change.
        let modified = sticky.modified.then_some(before.modified);
        let changed = sticky.changed.then_some(before.changed);
        handle.change(&Change { modified, changed, ..Change::default() }).await?;
        if modified.is_some() && keeping.is_disturbed() {
            // Whose time that was is not known any more, but that it was about now.
            let modified = Some(now_unix());
            handle.change(&Change { modified, ..Change::default() }).await?;
        }
        Ok(())
    }
}

/// Before an open changes its file.
pub(super) async fn hold(file: &FileOpen, touches: Touches) -> Held {
    let times = file.with_ticket(|ticket| Arc::clone(ticket.times()));
    Held::new(&file.handle, times, file.with_sticky(|sticky| *sticky), touches).await
}

/// Before an open does to its file what is no write but to unix.
pub(super) async fn hold_modified(file: &FileOpen) -> Held {
    let times = file.with_ticket(|ticket| Arc::clone(ticket.times()));
    let sticky = file.with_sticky(|sticky| StickyTimes { modified: true, ..*sticky });
    Held::new(&file.handle, times, sticky, Touches::Both).await
}

/// Afterwards.
pub(super) async fn restore(file: &FileOpen, held: Held) {
    if let Err(error) = held.put_back(&file.handle).await {
        tracing::debug!(path = file.handle.path(), %error, "times are not as the client has set them");
    }
}

/// The client sets times, or says what is to become of them: 0 leaves it at that, -1 is to keep the time,
/// -2 is not. MS-FSCC 2.4.7.
pub(super) fn note(file: &FileOpen, modified: FileTime, changed: FileTime) {
    let kept = |time, before| match time {
        FileTime::OMIT => before,
        FileTime::THAW => false,
        _ => true,
    };
    file.with_sticky(|sticky| {
        sticky.modified = kept(modified, sticky.modified);
        sticky.changed = kept(changed, sticky.changed);
    });
}

fn now_unix() -> Time {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    (seconds, since_1970.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::path::Path;

    use super::*;
    use crate::vfs::{Disposition, Kind, Mapping, Open, SharePath, Volume};

    const STICKY: StickyTimes = StickyTimes { modified: true, changed: false };

    /// Of a file that was last written long ago.
    fn with_file(test: impl AsyncFnOnce(&Path, &Handle, &Arc<Times>)) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open_root(folder.path(), Mapping::default()).unwrap();
        let disposition = Disposition::OpenIf;
        let how = Open { write: true, kind: Kind::File, disposition, ..Open::TO_READ };
        let name = SharePath::parse("file", Mapping::default()).unwrap();
        ringway::Builder::new().build().unwrap().block_on(async {
            let handle = volume.open(None, &name, &how, &()).await.unwrap().handle;
            let path = folder.path().join("file");
            set_modified(&path, long_ago());
            test(&path, &handle, &Arc::default()).await;
        });
    }

    fn long_ago() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000_000)
    }

    fn write(path: &Path) {
        std::fs::write(path, "text").unwrap();
    }

    fn modified(path: &Path) -> SystemTime {
        path.metadata().unwrap().modified().unwrap()
    }

    fn set_modified(path: &Path, time: SystemTime) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    async fn hold(handle: &Handle, times: &Arc<Times>) -> Held {
        Held::new(handle, Some(Arc::clone(times)), STICKY, Touches::Both).await
    }

    #[test]
    fn what_the_open_itself_writes_does_not_change_the_time_of_the_last_write() {
        with_file(async |path, handle, times| {
            let held = hold(handle, times).await;
            write(path);
            held.put_back(handle).await.unwrap();
            assert_eq!(modified(path), long_ago());
        });
    }

    #[test]
    fn what_another_open_writes_meanwhile_changes_it() {
        with_file(async |path, handle, times| {
            let held = hold(handle, times).await;
            let other =
                Held::new(handle, Some(Arc::clone(times)), StickyTimes::default(), Touches::Both);
            let other = other.await;
            write(path);
            other.put_back(handle).await.unwrap();
            let written = modified(path);
            held.put_back(handle).await.unwrap();
            assert_eq!(modified(path), written);
        });
    }

    #[test]
    fn who_does_not_get_a_turn_does_not_wait_for_ever_and_its_change_counts() {
        with_file(async |path, handle, times| {
            let slow = hold(handle, times).await;
            let other = hold(handle, times).await;
            write(path);
            other.put_back(handle).await.unwrap();
            slow.put_back(handle).await.unwrap();
            assert_ne!(modified(path), long_ago());
        });
    }

    #[test]
    fn a_time_that_a_program_beside_the_server_sets_meanwhile_stays() {
        with_file(async |path, handle, times| {
            let held = hold(handle, times).await;
            write(path);
            let theirs = long_ago() + Duration::from_secs(1);
            set_modified(path, theirs);
            held.put_back(handle).await.unwrap();
            assert_eq!(modified(path), theirs);
        });
    }

    #[test]
    fn what_writes_nothing_leaves_the_time_of_the_last_write_to_others() {
        with_file(async |path, handle, times| {
            let held = Held::new(handle, Some(Arc::clone(times)), STICKY, Touches::Changed).await;
            write(path);
            held.put_back(handle).await.unwrap();
            assert_ne!(modified(path), long_ago());
        });
    }
}
