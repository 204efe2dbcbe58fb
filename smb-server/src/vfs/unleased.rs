//! Opening a file that somebody has a lease on, without keeping a thread waiting.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use ringway::fs::{Dir, File, OpenHow, ReadLease};
use ringway::time::sleep;

/// How soon the next attempt is made, at first and in the end. Mostly a lease is given up at once.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// No client waits longer for an answer, whatever the administrator lets others wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Opens something, and waits while somebody has a lease on it that is in the way: the server itself, until what is on
/// its way to clients has arrived, or another program. The first attempt has it asked to give the lease up. `how` says
/// `O_NONBLOCK`.
///
/// # Errors
/// Those of `openat2`; `WouldBlock` if the kernel does not take the lease when its time is over.
pub(super) async fn unleased(root: &Dir, path: &Path, how: &OpenHow) -> io::Result<File> {
    let mut pause = PAUSE_MIN;
    let mut deadline = None;
    loop {
        let error = match root.open_at(path, how).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => error,
            result => return result,
        };
        match deadline {
            Some(deadline) if Instant::now() >= deadline => return Err(error),
            Some(_) => {}
            None => deadline = Some(Instant::now() + longest_wait().await?),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Until the kernel takes a lease, and a little more.
async fn longest_wait() -> io::Result<Duration> {
    let break_time = ringway::spawn_blocking(ReadLease::break_time).await?;
    Ok(break_time.min(WAIT_MAX) + PAUSE_MAX)
}
