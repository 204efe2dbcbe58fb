//! A part of a file as memory, out of which only the kernel reads.
//!
//! A send copies from there what the page cache has, and no buffer lies between. That memory changes whenever
//! somebody writes to the file, and where the file has been cut off it is gone: a program that looks is ended by
//! `SIGBUS`, while the kernel only says `EFAULT`. So it is no slice, and no [`IoBuf`] to others.

#![allow(unsafe_code, reason = "maps memory, and hands its address to sends")]

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::mem;
use std::ops::Range;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap, mmap_anonymous, mremap_fixed, munmap};

use super::File;
use super::bus_error::caught;
use crate::buf::IoBuf;

/// A part of a file, to be sent with [`TcpStream::send_mapped`](crate::net::TcpStream::send_mapped). Clones are
/// the same memory, which is given back with the last of them, and after the last send.
///
/// It holds the file open, whatever becomes of the [`File`], and counts as an area of the process, of which there
/// may be 65,530.
#[derive(Clone)]
pub struct Mapping {
    area: Arc<Area>,
    /// Where the part begins in the area, which begins with a page.
    start: usize,
    len: usize,
}

struct Area {
    address: *mut c_void,
    len: usize,
    /// Held by whoever of this program reads in it, or puts something else there.
    contents: Mutex<Contents>,
}

/// What an area has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contents {
    /// What the file has there.
    OfFile,
    /// What the file had there.
    Copied,
    /// Nothing that could be read: something was missing.
    Lost,
}

impl Area {
    fn of(address: *mut c_void, len: usize) -> Self {
        Self { address, len, contents: Mutex::new(Contents::OfFile) }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: an address, which any thread may hand to the kernel, and give back when nobody else has it.
unsafe impl Send for Area {}

// SAFETY: so also; what lies at the address changes under the lock only.
unsafe impl Sync for Area {}

impl File {
    /// Maps `len` bytes from byte `offset` on, for the kernel to read. That takes a few microseconds, with giving them
    /// back, if they are in the page cache; [`File::cached_len`] tells. What is not is read from the disk, meanwhile.
    ///
    /// What lies behind the end of the file cannot be sent, but for zeros up to the end of its last page.
    ///
    /// # Errors
    /// Those of `mmap`: `EACCES` for a file that was not opened for reading, `ENODEV` where the file system has
    /// no such thing, `ENOMEM` where the process has too many areas; `InvalidInput` for no bytes, or more than
    /// there are addresses.
    pub fn map(&self, offset: u64, len: usize) -> io::Result<Mapping> {
        let page = rustix::param::page_size() as u64;
        let start = (offset % page) as usize;
        let area = start.checked_add(len).filter(|_| len > 0).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the kernel chooses the address, so nothing else is there.
        let address =
            unsafe { mmap(ptr::null_mut(), area, PROT, FLAGS, self, offset - start as u64)? };
        Ok(Mapping { area: Arc::new(Area::of(address, area)), start, len })
    }

    /// The same with memory in front of the first byte, to be written to: a page of it. `offset` begins a page, too.
    pub(super) fn map_behind_page(&self, offset: u64, len: usize) -> io::Result<Mapping> {
        let page = rustix::param::page_size();
        let area = len.checked_add(page).filter(|_| len > 0 && offset.is_multiple_of(page as u64));
        let area = area.ok_or(io::ErrorKind::InvalidInput)?;
        let both = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so nothing else is there.
        let address = unsafe { mmap_anonymous(ptr::null_mut(), area, both, MapFlags::PRIVATE)? };
        let mapping = Mapping { area: Arc::new(Area::of(address, area)), start: page, len };
        let behind = address.wrapping_byte_add(page);
        // SAFETY: takes the place of what has just been mapped there, and nobody else knows of it.
        unsafe { mmap(behind, len, PROT, FLAGS | MapFlags::FIXED, self, offset)? };
        Ok(mapping)
    }
}

/// Found at once, in one go, where a fault for every few pages takes twice as long.
const FLAGS: MapFlags = MapFlags::SHARED.union(MapFlags::POPULATE);

/// For everybody, the kernel included.
const PROT: ProtFlags = ProtFlags::READ;

impl Mapping {
    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether a copy has taken the place of the part of the file.
    ///
    /// # Errors
    /// `EIO` where something of it was missing when it was looked at, or copied: nothing of it can be sent.
    pub fn is_detached(&self) -> io::Result<bool> {
        match *self.area.contents() {
            Contents::OfFile => Ok(false),
            Contents::Copied => Ok(true),
            Contents::Lost => Err(lost()),
        }
    }

    /// Puts a copy in the place of the part of the file: what becomes of the file from here on changes nothing. Whatever is
    /// being sent of it goes on. It takes as much memory as the mapping has bytes. Who looks at it is waited for.
    ///
    /// # Errors
    /// `EIO` where something of it is missing, or was: nothing of it can be sent any more. Those of `mmap`, which leave it
    /// as it was.
    pub fn detach(&self) -> io::Result<()> {
        self.looked_at(|contents| match contents {
            Contents::Copied => Ok(()),
            _ => self.put_copy().map(|()| *contents = Contents::Copied),
        })
    }

    fn put_copy(&self) -> io::Result<()> {
        let page = rustix::param::page_size();
        let first = self.area.address.wrapping_byte_add(self.start - self.start % page);
        let len = (self.start % page + self.len).next_multiple_of(page);
        let both = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so nothing else is there.
        let copy = unsafe { mmap_anonymous(ptr::null_mut(), len, both, MapFlags::PRIVATE)? };
        let copy = Area::of(copy, len);
        // SAFETY: both are mapped, and as long; nobody else knows of the copy. Other programs may write to what is copied,
        // which tears it as it would a read.
        caught(first.addr()..first.addr() + len, || unsafe {
            copy.address.cast::<u8>().copy_from_nonoverlapping(first.cast::<u8>(), len);
        })?;
        // SAFETY: what is there belongs to this mapping, whose address and length stay; the kernel, which may read from it
        // meanwhile, waits, and finds the same bytes.
        unsafe { mremap_fixed(copy.address, len, len, MremapFlags::MAYMOVE, first)? };
        // It is not there any more.
        mem::forget(copy);
        Ok(())
    }

    /// Has `look` look at the memory, by [`caught`], and nobody else meanwhile: where something is missing, zeros take the
    /// place of all, under whoever looks.
    ///
    /// # Errors
    /// Those of `look`; `EIO` where something was missing before.
    pub(super) fn look<T>(&self, look: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.looked_at(|_| look())
    }

    fn looked_at<T>(&self, look: impl FnOnce(&mut Contents) -> io::Result<T>) -> io::Result<T> {
        /// Also where `look` panics: nobody knows what it has missed.
        struct LoseUnlessSeen<'a>(&'a Area, MutexGuard<'a, Contents>);
        impl Drop for LoseUnlessSeen<'_> {
            fn drop(&mut self) {
                if *self.1 == Contents::Lost {
                    self.0.make_unreadable();
                }
            }
        }

        let mut looking = LoseUnlessSeen(&self.area, self.area.contents());
        if *looking.1 == Contents::Lost {
            return Err(lost());
        }
        let mut contents = mem::replace(&mut *looking.1, Contents::Lost);
        let seen = look(&mut contents);
        if !seen.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EIO)) {
            *looking.1 = contents;
        }
        seen
    }

    /// Where it begins.
    pub(super) fn address(&self) -> *mut u8 {
        self.area.address.cast::<u8>().wrapping_add(self.start)
    }

    /// A part of it, for a send that copies.
    ///
    /// # Errors
    /// `InvalidInput` for what is not within it.
    pub(crate) fn part(&self, range: Range<usize>) -> io::Result<MappedPart> {
        let len = range.end.checked_sub(range.start).filter(|_| range.end <= self.len);
        let len = len.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(MappedPart { area: Arc::clone(&self.area), start: self.start + range.start, len })
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Area {
    /// What would be sent of it would not be the file's.
    fn make_unreadable(&self) {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: the whole area, which is this value's; nobody looks at it, and the kernel answers sends with an error.
        let _ = unsafe { mmap_anonymous(self.address, self.len, ProtFlags::empty(), flags) };
    }
}

fn lost() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: `File::map` got it from the kernel, with this length; who has its address has a share of this
        // value, too, and that was the last.
        let _ = unsafe { munmap(self.address, self.len) };
    }
}

/// What [`Socket::send`](crate::net) is given of a [`Mapping`]. Never made public: whoever has an [`IoBuf`] may
/// look at its bytes.
pub(crate) struct MappedPart {
    area: Arc<Area>,
    start: usize,
    len: usize,
}

// SAFETY: the area stays where it is until the value is dropped, `Mapping::part` keeps to it, and a file's pages are
// initialised. They may change or go; the value is given to `Op::Send` only, whose kernel copies what there is.
unsafe impl IoBuf for MappedPart {
    fn stable_ptr(&self) -> *const u8 {
        self.area.address.cast::<u8>().cast_const().wrapping_add(self.start)
    }

    fn bytes_init(&self) -> usize {
        self.len
    }
}
