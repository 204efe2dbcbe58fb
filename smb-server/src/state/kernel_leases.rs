//! Leases of the kernel, by which what is in a file stays as it is: whoever wants to write to it, be it a program
//! beside the server or another client, waits until the lease is given up. They are no leases of SMB.
//!
//! An open that is read often enough gets one. When somebody wants to write, it is taken from the open at once; what is
//! on its way to a client with it keeps it until it has arrived.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ringway::fs::{File, LeasedMapping, ReadLease};

use crate::transport::Kept;

use super::{FileOpen, Open, lock};

/// How many opens may have one. When one is broken, each is asked, by a system call.
const LEASES_MAX: usize = 1024;

/// How many READs an open has before one is tried: who reads a little does not pay for it.
const READS_BEFORE: u32 = 2;

/// How many READs there are before one is tried again, after somebody wanted to write, or might have.
const READS_BEFORE_AGAIN: u32 = 64;

/// The opens that have leases.
#[derive(Debug, Default)]
pub struct KernelLeases {
    opens: Mutex<Vec<Weak<Open>>>,
    /// Somebody hears when leases are broken. Without, there are none.
    is_watched: AtomicBool,
    /// How long writers wait, in milliseconds.
    break_time: AtomicU64,
}

/// A lease. It is given up when the last who keeps it drops it.
#[derive(Debug)]
pub struct KernelLease {
    lease: ReadLease,
    /// What has been mapped under it, and goes with it.
    mappings: Arc<Kept<LeasedMapping>>,
    /// Dropped after the lease.
    _place: Place,
}

/// Kept by the lease of an open. Until it has been given up there is no other: the kernel does not tell them apart.
#[derive(Debug)]
struct Place(Arc<AtomicBool>);

/// What an open has to do with leases.
#[derive(Debug)]
pub struct Leasing(Mutex<Lessee>);

#[derive(Debug)]
struct Lessee {
    /// READs to come before a lease is tried.
    to_come: u32,
    lease: Option<Arc<KernelLease>>,
    /// There is one, though perhaps not here any more.
    is_out: Arc<AtomicBool>,
    /// The file is being closed.
    ended: bool,
}

/// What a READ finds.
#[derive(Debug)]
pub enum Leased {
    /// What it reads stays as it is while it keeps this.
    Yes(Arc<KernelLease>),
    /// It is time to try.
    NotYet,
    /// Not now.
    No,
}

impl KernelLeases {
    /// From now on somebody calls [`Self::give_up_broken`] in time; writers wait for so long.
    pub fn watch(&self, break_time: Duration) {
        let millis = u64::try_from(break_time.as_millis()).unwrap_or(u64::MAX);
        self.break_time.store(millis, Ordering::Relaxed);
        self.is_watched.store(true, Ordering::Relaxed);
    }

    /// How long those who want to write wait, and no longer.
    #[must_use]
    pub fn break_time(&self) -> Duration {
        Duration::from_millis(self.break_time.load(Ordering::Relaxed))
    }

    /// Tries to get a lease for an open.
    pub fn take(&self, open: &Arc<Open>, file: &FileOpen) -> Option<Arc<KernelLease>> {
        let on_disk = file.handle.file()?;
        if !self.is_watched.load(Ordering::Relaxed) || !self.enter(open) {
            return None;
        }
        file.leasing.take(on_disk)
    }

    /// Remembers that an open may have a lease, if there is room.
    fn enter(&self, open: &Arc<Open>) -> bool {
        let mut opens = lock(&self.opens);
        opens.retain(|known| known.strong_count() > 0);
        let has_room = opens.len() < LEASES_MAX;
        if has_room && !opens.iter().any(|known| known.as_ptr() == Arc::as_ptr(open)) {
            opens.push(Arc::downgrade(open));
        }
        has_room
    }

    /// Takes broken leases from the opens that have them.
    pub fn give_up_broken(&self) {
        let opens: Vec<_> = lock(&self.opens).iter().filter_map(Weak::upgrade).collect();
        let files = opens.iter().filter_map(|open| open.file());
        let broken: Vec<_> = files.filter_map(|file| file.leasing.take_broken()).collect();
        // Who waits for several does not wait until what was mapped under them has been taken apart.
        let mappings: Vec<_> = broken.into_iter().map(KernelLease::given_up).collect();
        mappings.iter().for_each(|mappings| mappings.end());
    }
}

impl KernelLease {
    /// Gives it up, unless it is kept elsewhere; and what has been mapped under it is of no use any more.
    fn given_up(self: Arc<Self>) -> Arc<Kept<LeasedMapping>> {
        Arc::clone(&self.mappings)
    }

    /// What is kept of what has been mapped under it.
    #[must_use]
    pub fn mappings(&self) -> &Arc<Kept<LeasedMapping>> {
        &self.mappings
    }
}

impl Deref for KernelLease {
    type Target = ReadLease;

    fn deref(&self) -> &ReadLease {
        &self.lease
    }
}

impl Default for Leasing {
    fn default() -> Self {
        Self(Mutex::new(Lessee {
            to_come: READS_BEFORE,
            lease: None,
            is_out: Arc::default(),
            ended: false,
        }))
    }
}

impl Leasing {
    /// One more READ.
    pub fn next_read(&self) -> Leased {
        let mut lessee = lock(&self.0);
        let broken = lessee.take_broken();
        if let Some(lease) = &lessee.lease {
            return Leased::Yes(Arc::clone(lease));
        }
        let found = match lessee.to_come.checked_sub(1) {
            Some(left) => {
                lessee.to_come = left;
                Leased::No
            }
            None => Leased::NotYet,
        };
        drop(lessee);
        if let Some(broken) = broken {
            broken.given_up().end();
        }
        found
    }

    /// There is no point in trying for a while.
    pub fn wait_longer(&self) {
        lock(&self.0).to_come = READS_BEFORE_AGAIN;
    }

    /// The file is being closed.
    pub fn end(&self) {
        let lease = {
            let mut lessee = lock(&self.0);
            lessee.ended = true;
            lessee.lease.take()
        };
        if let Some(lease) = lease {
            lease.given_up().end();
        }
    }

    /// The call does not wait, and is made under the lock, so that nobody else makes it for the same open file.
    fn take(&self, file: &File) -> Option<Arc<KernelLease>> {
        let mut lessee = lock(&self.0);
        if lessee.ended || lessee.is_out.load(Ordering::Acquire) {
            return lessee.lease.clone();
        }
        match file.read_lease() {
            Ok(lease) => lessee.keep(lease),
            // Somebody has the file open for writing, it belongs to somebody else, or its file system has no leases:
            // each is usual, and costs no more than a copy.
            Err(error) => tracing::trace!(%error, "no lease"),
        }
        lessee.lease.clone()
    }

    fn take_broken(&self) -> Option<Arc<KernelLease>> {
        lock(&self.0).take_broken()
    }
}

impl Lessee {
    fn keep(&mut self, lease: ReadLease) {
        self.is_out.store(true, Ordering::Release);
        let place = Place(Arc::clone(&self.is_out));
        self.lease = Some(Arc::new(KernelLease { lease, mappings: Arc::default(), _place: place }));
    }

    fn take_broken(&mut self) -> Option<Arc<KernelLease>> {
        let broken = self.lease.take_if(|lease| lease.is_broken());
        if broken.is_some() {
            self.to_come = READS_BEFORE_AGAIN;
        }
        broken
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    struct Bench {
        folder: TempDir,
        leasing: Leasing,
        file: File,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("file"), b"contents").unwrap();
            let file = fs::File::open(folder.path().join("file")).unwrap();
            let file = std::os::fd::OwnedFd::from(file).into();
            Self { folder, leasing: Leasing::default(), file }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("file")
        }

        fn take(&self) -> Option<Arc<KernelLease>> {
            self.leasing.take(&self.file)
        }

        /// Whether somebody who wants to write gets in without waiting.
        fn can_be_written(&self) -> bool {
            let mut how = fs::OpenOptions::new();
            how.write(true).custom_flags(libc::O_NONBLOCK).open(self.path()).is_ok()
        }
    }

    #[test]
    fn who_reads_a_little_gets_none() {
        let bench = Bench::new();
        for _ in 0..READS_BEFORE {
            assert!(matches!(bench.leasing.next_read(), Leased::No));
        }
        assert!(matches!(bench.leasing.next_read(), Leased::NotYet));
        bench.take().expect("a lease");
        assert!(matches!(bench.leasing.next_read(), Leased::Yes(_)));
    }

    #[test]
    fn it_is_given_up_when_the_last_drops_it() {
        let bench = Bench::new();
        let on_its_way = bench.take().expect("a lease");
        assert!(on_its_way.broken_since().is_none());
        assert!(!bench.can_be_written());
        let since = on_its_way.broken_since().expect("it is broken");
        assert_eq!(on_its_way.broken_since(), Some(since));
        assert!(matches!(bench.leasing.next_read(), Leased::No), "the open has none any more");
        assert!(!bench.can_be_written(), "what is on its way keeps it");
        assert!(bench.take().is_none(), "there is one at a time");
        drop(on_its_way);
        assert!(bench.can_be_written());
        assert!(bench.take().is_some());
    }

    #[test]
    fn a_closed_file_gets_none_and_keeps_what_is_on_its_way() {
        let bench = Bench::new();
        let on_its_way = bench.take().expect("a lease");
        bench.leasing.end();
        assert!(!bench.can_be_written());
        drop(on_its_way);
        assert!(bench.can_be_written());
        assert!(bench.take().is_none());
    }

    #[test]
    fn after_somebody_might_have_written_it_is_long_until_the_next_try() {
        let bench = Bench::new();
        let writer = fs::OpenOptions::new().write(true).open(bench.path()).unwrap();
        assert!(bench.take().is_none());
        drop(writer);
        bench.leasing.wait_longer();
        let reads = (0..).take_while(|_| matches!(bench.leasing.next_read(), Leased::No));
        assert_eq!(reads.count(), READS_BEFORE_AGAIN as usize);
    }
}
