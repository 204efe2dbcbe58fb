//! What is in files: written, cut, punched, mapped, copied.
#![allow(unsafe_code, reason = "a file is mapped by system calls alone")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use rustix::fs::{FallocateFlags, SeekFrom as To, copy_file_range, fallocate, ioctl_ficlone, seek};

use crate::mounted::{Place, When, fails, forget, mounted, same, served};
use crate::support::content::Random;
use crate::support::{Need, Outcome, Serve, ensure};

const BLOCK: u64 = 65_536;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        mounted("what is appended comes behind what is there", "", appended),
        mounted("a file is cut and made longer", "", cut),
        mounted("room is taken for a file", "", room),
        mounted("a hole is punched, and found", "", punched),
        mounted("a range is made zero", "", zeroed),
        mounted("a range is taken out of a file, and one put in", "", collapsed),
        mounted("a sparse file beyond 4 GiB is read where it has something", "", far),
        mounted("a file is read and written without the cache", "cache=none", direct),
        mounted("what is written into a mapping is stored", "", mapped),
        mounted("a range is copied by the server", "", copied),
        mounted("what cannot be is refused", "", refused),
        served("a file is cloned on btrfs", Serve::new(), &[Need::Cifs, Need::Btrfs], cloned),
    ]
}

pub(crate) fn both(path: &Path) -> Result<File, Failed> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .when("opening")
}

/// What the server's folder has in place of this.
fn stored(place: &Place, name: &str) -> Result<Vec<u8>, Failed> {
    fs::read(place.folder.join(name)).when("reading at the server")
}

fn is_stored(place: &Place, name: &str, wanted: &[u8]) -> Outcome {
    let is = stored(place, name)?;
    same("stored length", is.len(), wanted.len())?;
    let differs = is.iter().zip(wanted).position(|(is, wanted)| is != wanted);
    ensure(differs.is_none(), || format!("{name} differs at {differs:?}"))
}

fn appended(place: &Place, at: &Path) -> Outcome {
    let path = at.join("log");
    for line in ["first\n", "second\n", "third\n"] {
        let mut file = OpenOptions::new().append(true).create(true).open(&path).when("opening")?;
        file.write_all(line.as_bytes()).when("appending")?;
    }
    is_stored(place, "log", b"first\nsecond\nthird\n")?;
    let mut file = OpenOptions::new().append(true).open(&path)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(b"last\n").when("appending after a seek")?;
    file.sync_all().when("syncing")?;
    is_stored(place, "log", b"first\nsecond\nthird\nlast\n")
}

fn cut(place: &Place, at: &Path) -> Outcome {
    let mut bytes = Random::new(2).bytes(200_000);
    fs::write(at.join("file"), &bytes)?;
    let file = both(&at.join("file"))?;
    for length in [150_001, 4096, 4097, 300_000, 0, 70_000] {
        file.set_len(length as u64).when("setting the length")?;
        bytes.resize(length, 0);
        same("length", file.metadata()?.len(), length as u64)?;
        is_stored(place, "file", &bytes)?;
    }
    file.write_all_at(b"end", 69_999)?;
    drop(file);
    bytes.resize(69_999, 0);
    bytes.extend_from_slice(b"end");
    is_stored(place, "file", &bytes)?;
    drop(OpenOptions::new().write(true).truncate(true).open(at.join("file")).when("emptying")?);
    is_stored(place, "file", b"")
}

fn room(place: &Place, at: &Path) -> Outcome {
    let file = both(&at.join("file"))?;
    file.write_all_at(b"content", 0)?;
    file.sync_all()?;
    fallocate(&file, FallocateFlags::empty(), 0, 1 << 20).when("allocating")?;
    same("length", file.metadata()?.len(), 1 << 20)?;
    let mut wanted = vec![0; 1 << 20];
    wanted[..7].copy_from_slice(b"content");
    is_stored(place, "file", &wanted)?;
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20).when("allocating what there is")?;
    same("length after", file.metadata()?.len(), 1 << 20)
}

/// Where data begins and ends, from the start.
fn extents(file: &File) -> Result<Vec<(u64, u64)>, Failed> {
    let (length, mut extents, mut from) = (file.metadata()?.len(), Vec::new(), 0);
    while from < length {
        let start = match seek(file, To::Data(from)) {
            Err(rustix::io::Errno::NXIO) => break,
            other => other.when("looking for data")?,
        };
        from = seek(file, To::Hole(start)).when("looking for a hole")?;
        extents.push((start, from));
    }
    Ok(extents)
}

fn punched(place: &Place, at: &Path) -> Outcome {
    let mut bytes = Random::new(3).bytes(8 * 65_536);
    let file = both(&at.join("file"))?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, flags, 2 * BLOCK, 3 * BLOCK).when("punching")?;
    bytes[2 * 65_536..5 * 65_536].fill(0);
    let mut read = vec![0; bytes.len()];
    file.read_exact_at(&mut read, 0)?;
    ensure(read == bytes, || "the hole reads wrong".into())?;
    is_stored(place, "file", &bytes)?;
    same("extents", extents(&file)?, vec![(0, 2 * BLOCK), (5 * BLOCK, 8 * BLOCK)])?;
    let blocks = place.folder.join("file").metadata()?.blocks() * 512;
    ensure(blocks < 6 * BLOCK, || format!("{blocks} bytes are still taken"))
}

fn zeroed(place: &Place, at: &Path) -> Outcome {
    let mut bytes = Random::new(4).bytes(300_000);
    let file = both(&at.join("file"))?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()?;
    let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, flags, 1000, 100_000).when("zeroing")?;
    bytes[1000..101_000].fill(0);
    is_stored(place, "file", &bytes)?;
    fallocate(&file, FallocateFlags::ZERO_RANGE, 250_000, 100_000)
        .when("zeroing beyond the end")?;
    bytes[250_000..].fill(0);
    bytes.resize(350_000, 0);
    is_stored(place, "file", &bytes)
}

fn collapsed(place: &Place, at: &Path) -> Outcome {
    let mut bytes = Random::new(5).bytes(8 * 65_536);
    let file = both(&at.join("file"))?;
    file.write_all_at(&bytes, 0)?;
    fallocate(&file, FallocateFlags::COLLAPSE_RANGE, BLOCK, 2 * BLOCK).when("taking out")?;
    bytes.drain(65_536..3 * 65_536);
    is_stored(place, "file", &bytes)?;
    fallocate(&file, FallocateFlags::INSERT_RANGE, BLOCK, BLOCK).when("putting in")?;
    bytes.splice(65_536..65_536, vec![0; 65_536]);
    is_stored(place, "file", &bytes)
}

fn far(place: &Place, at: &Path) -> Outcome {
    let file = both(&at.join("file"))?;
    let far = 5 << 30;
    file.write_all_at(b"near", 0)?;
    file.write_all_at(b"far", far).when("writing far out")?;
    file.sync_all()?;
    forget()?;
    let mut read = [1; 7];
    file.read_exact_at(&mut read, far - 4)?;
    same("far out", &read, b"\0\0\0\0far")?;
    same("length", place.folder.join("file").metadata()?.len(), far + 3)?;
    let blocks = place.folder.join("file").metadata()?.blocks() * 512;
    ensure(blocks < 10 << 20, || format!("it takes {blocks} bytes"))
}

fn direct(place: &Place, at: &Path) -> Outcome {
    let bytes = Random::new(6).bytes(1_000_000);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DIRECT)
        .open(at.join("file"))
        .when("opening with O_DIRECT")?;
    file.write_all_at(&bytes, 0).when("writing")?;
    is_stored(place, "file", &bytes)?;
    let mut read = vec![0; bytes.len() + 1];
    let count = (&file).read(&mut read).when("reading")?;
    ensure(count > 0 && read[..count] == bytes[..count], || "not what was written is read".into())
}

fn mapped(place: &Place, at: &Path) -> Outcome {
    let mut bytes = Random::new(7).bytes(100_000);
    fs::write(at.join("file"), &bytes)?;
    let file = both(&at.join("file"))?;
    let mut mapping = Mapping::new(&file, bytes.len())?;
    ensure(mapping.bytes() == bytes, || "the mapping shows something else".into())?;
    bytes[5000..5004].copy_from_slice(b"here");
    mapping.bytes()[5000..5004].copy_from_slice(b"here");
    mapping.sync()?;
    is_stored(place, "file", &bytes)
}

/// The whole of a file in memory, shared.
pub(crate) struct Mapping {
    start: *mut libc::c_void,
    length: usize,
}

impl Mapping {
    pub(crate) fn new(file: &File, length: usize) -> Result<Self, Failed> {
        use std::os::fd::AsRawFd;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice replaces nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).when("mapping");
        }
        Ok(Self { start, length })
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the kernel mapped `length` bytes, until the drop; the trials change the file by nothing else
        // meanwhile, nor make it shorter.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.length) }
    }

    pub(crate) fn sync(&self) -> Outcome {
        // SAFETY: the range is the mapping's.
        let result = unsafe { libc::msync(self.start, self.length, libc::MS_SYNC) };
        ensure(result == 0, || format!("msync: {}", std::io::Error::last_os_error()))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing else points into the mapping: what `bytes` lends ends before this.
        unsafe { libc::munmap(self.start, self.length) };
    }
}

fn copied(place: &Place, at: &Path) -> Outcome {
    let bytes = Random::new(8).bytes(2_500_000);
    fs::write(at.join("from"), &bytes)?;
    let (from, to) = (File::open(at.join("from"))?, both(&at.join("to"))?);
    let mut done = 0;
    while done < bytes.len() {
        let count = copy_file_range(&from, None, &to, None, bytes.len() - done).when("copying")?;
        ensure(count > 0, || format!("nothing is copied at {done}"))?;
        done += count;
    }
    is_stored(place, "to", &bytes)?;
    let mut read = vec![0; bytes.len()];
    to.read_exact_at(&mut read, 0)?;
    ensure(read == bytes, || "the copy reads as something else".into())?;
    let (mut start, mut target) = (100_000, 10);
    copy_file_range(&from, Some(&mut start), &to, Some(&mut target), 5000)
        .when("copying a part")?;
    let mut wanted = bytes.clone();
    wanted[10..5010].copy_from_slice(&bytes[100_000..105_000]);
    is_stored(place, "to", &wanted)
}

fn refused(_: &Place, at: &Path) -> Outcome {
    fs::create_dir(at.join("folder"))?;
    fs::write(at.join("folder/file"), "content")?;
    fails("no file", File::open(at.join("nothing")), &[libc::ENOENT])?;
    fails("below a file", File::open(at.join("folder/file/x")), &[libc::ENOTDIR])?;
    fails("below nothing", fs::write(at.join("nothing/x"), ""), &[libc::ENOENT])?;
    fails("writing a directory", fs::write(at.join("folder"), ""), &[libc::EISDIR])?;
    fails("what is there", File::create_new(at.join("folder/file")), &[libc::EEXIST])?;
    fails("a directory that is there", fs::create_dir(at.join("folder")), &[libc::EEXIST])?;
    fails("removing a full directory", fs::remove_dir(at.join("folder")), &[libc::ENOTEMPTY])?;
    fails(
        "removing a file as a directory",
        fs::remove_dir(at.join("folder/file")),
        &[libc::ENOTDIR],
    )?;
    fails(
        "removing a directory as a file",
        fs::remove_file(at.join("folder")),
        &[libc::EISDIR, libc::EPERM],
    )?;
    fails(
        "a directory into itself",
        fs::rename(at.join("folder"), at.join("folder/in")),
        &[libc::EINVAL],
    )?;
    let long = "n".repeat(256);
    fails("a long name", fs::write(at.join(long), ""), &[libc::ENAMETOOLONG])?;
    fs::write(at.join("n".repeat(255)), "").when("the longest name")?;
    fs::create_dir(at.join("other"))?;
    fs::rename(at.join("other"), at.join("folder")).err().ok_or("a full directory is replaced")?;
    fails(
        "a file over a directory",
        fs::rename(at.join("folder/file"), at.join("other")),
        &[libc::EISDIR, libc::EEXIST, libc::EACCES],
    )
}

/// The share's root says what its file system can do, so that is a btrfs here.
fn cloned(place: &Place) -> Outcome {
    let image = place.server().scratch("image")?.join("btrfs");
    File::create(&image)?.set_len(256 << 20)?;
    run(Command::new("/usr/sbin/mkfs.btrfs").arg("-q").arg(&image))?;
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place.folder))?;
    let [on_it, after] = [0; 2].map(|_| place.server().successor(&Serve::new()));
    place.server().replace(on_it?)?;
    let outcome = place.mount("").and_then(|at| cloned_in(&at));
    place.let_go()?;
    place.server().stop_at_once();
    run(Command::new("umount").arg(&place.folder))?;
    place.server().replace(after?)?;
    outcome
}

fn cloned_in(at: &Path) -> Outcome {
    let bytes = Random::new(9).bytes(1 << 20);
    fs::write(at.join("from"), &bytes)?;
    let (from, to) = (File::open(at.join("from"))?, both(&at.join("to"))?);
    ioctl_ficlone(&to, &from).when("cloning")?;
    forget()?;
    ensure(fs::read(at.join("to"))? == bytes, || "the clone is something else".into())?;
    to.write_all_at(b"changed", 0)?;
    drop(to);
    ensure(fs::read(at.join("from"))? == bytes, || "the first has changed with its clone".into())
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output().when("starting")?;
    ensure(output.status.success(), || format!("{command:?}: {output:?}"))
}
