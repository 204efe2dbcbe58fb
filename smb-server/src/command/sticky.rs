//! Times that a client has set are left alone by what it does afterwards by the same open: what the file
//! system makes of them is put right. MS-FSA 2.1.4.17, 2.1.5.15.2.

use crate::state::{FileOpen, StickyTimes};
use crate::vfs::{Change, Time};
use crate::wire::filetime::FileTime;

/// The times that a file is to have again.
pub(super) type Held = Option<Change>;

/// Before an open changes its file.
pub(super) async fn hold(file: &FileOpen) -> Held {
    let sticky = file.with_sticky(|sticky| *sticky);
    if sticky == StickyTimes::default() {
        return None;
    }
    let now = file.handle.metadata().await.ok()?;
    let modified = sticky.modified.then_some(now.modified);
    let changed = sticky.changed.then_some(now.changed);
    Some(Change { modified, changed, ..Change::default() })
}

/// Afterwards.
pub(super) async fn restore(file: &FileOpen, held: Held) {
    let Some(change) = held else { return };
    if let Err(error) = file.handle.change(&change).await {
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

/// The time of change that a file keeps while other things of it are set.
pub(super) async fn changed(file: &FileOpen) -> Option<Time> {
    hold(file).await.and_then(|held| held.changed)
}
