//! An open file past the page cache (`O_DIRECT`): a second description of it, which takes whole blocks from whole
//! blocks of memory only.
//!
//! Both ways lead to one file. Before bytes are read past the cache, the kernel writes what the cache has of them to the
//! disk; when bytes are written past it, the cache forgets them. So what is done by one description after the other has
//! done something shows that, and what is done at the same time may show either, as it may anyway.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use ringway::fs::{Dir, File, OFlags, OpenHow, StatxFlags};

use super::Handle;
use super::handle::What;

/// Of places in the file and in memory, where the file system does not say (before Linux 6.1, which knows no disks with
/// larger blocks). Of memory it is the most that ours has.
const ALIGNMENT: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Direct {
    file: File,
    /// What places and lengths in the file are to be multiples of.
    block: usize,
    /// What addresses in memory are to be multiples of.
    memory: usize,
    /// It has refused what it should take, and is not asked again.
    refused: AtomicBool,
}

impl Handle {
    /// The file past the page cache, if its file system has such a thing; not that of a named stream.
    pub async fn direct(&self) -> Option<&Direct> {
        if self.direct.get().is_none() {
            let direct = match self.file() {
                Some(file) if self.what == What::File => open(file, &self.tree.root).await,
                _ => None,
            };
            // Somebody else may have been faster.
            let _ = self.direct.set(direct);
        }
        self.direct.get()?.as_ref().filter(|direct| !direct.refused.load(Ordering::Relaxed))
    }
}

impl Direct {
    /// Where its bytes are read and written.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// How many of so many bytes, there, it takes: those that are whole blocks, at the beginning.
    #[must_use]
    pub fn takes(&self, offset: u64, length: usize) -> usize {
        let begins = offset.is_multiple_of(self.block as u64);
        if begins { length - length % self.block } else { 0 }
    }

    /// Whether it takes bytes that are in memory there.
    #[must_use]
    pub fn takes_from(&self, bytes: &[u8]) -> bool {
        bytes.as_ptr().addr().is_multiple_of(self.memory)
    }

    /// It has refused what it should take: nobody is to try again.
    pub fn give_up(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }
}

/// Opens a file once more, for what it has been opened for. That is by way of `/proc`, so that it is the open file
/// whatever its name leads to by now; the user has been asked about when it was opened first.
async fn open(file: &File, root: &Dir) -> Option<Direct> {
    let flags = rustix::fs::fcntl_getfl(file).ok()?;
    if flags.contains(OFlags::PATH) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let how = OpenHow::new((flags & OFlags::RWMODE) | OFlags::DIRECT | OFlags::NOCTTY);
    let opened = root.with_identity(None).open_at(path, &how).await;
    let opened = opened
        .inspect_err(|error| tracing::debug!(%error, "a file cannot be opened past the page cache"))
        .ok()?;
    let (block, memory) = alignment(&opened).await?;
    // What is written counts as its user's.
    let file = opened.with_identity(file.identity());
    Some(Direct { file, block, memory, refused: AtomicBool::new(false) })
}

/// Of the file and of memory; `None` if there is none that works, or none that memory of ours has.
async fn alignment(file: &File) -> Option<(usize, usize)> {
    let stat = file.statx(StatxFlags::DIOALIGN).await.ok()?;
    if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        return Some((ALIGNMENT, ALIGNMENT));
    }
    let block = usize::try_from(stat.stx_dio_offset_align).ok()?;
    let memory = usize::try_from(stat.stx_dio_mem_align).ok()?;
    (block > 0 && memory > 0 && ALIGNMENT.is_multiple_of(memory)).then_some((block, memory))
}
