//! What moves bytes between memory and files: reads, writes, appends, lengths, allocation, syncing.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use ringway::OpKind;
use ringway::fs::{FallocateFlags, File, OFlags, SyncRange};
use rustix::fs::{Advice, MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, memfd_create, seek};

use crate::case::{Bytes, Case, Stage, pattern};

pub(crate) static CASES: [Case; 10] = [
    Case::new("read", &[OpKind::Read], |stage| Box::pin(reads(stage))),
    Case::new("write", &[OpKind::Write], |stage| Box::pin(writes(stage))),
    Case::new("append", &[OpKind::Append], |stage| Box::pin(appends(stage))),
    Case::new("truncate", &[OpKind::Truncate], |stage| Box::pin(truncates(stage))),
    Case::new("allocate", &[OpKind::Allocate], |stage| Box::pin(allocates(stage))),
    Case::new("fsync", &[OpKind::Fsync], |stage| Box::pin(syncs(stage))),
    Case::new("read_vectored", &[OpKind::ReadV], |stage| Box::pin(vectored_reads(stage))),
    Case::new("write_vectored", &[OpKind::WriteV], |stage| Box::pin(vectored_writes(stage))),
    Case::new("sync_range", &[OpKind::SyncRange], |stage| Box::pin(range_syncs(stage))),
    Case::new("advise", &[OpKind::Advise], |stage| Box::pin(advices(stage))),
];

/// The largest offset of a file, and those around it that the kernel tells apart.
const FAR: [u64; 5] = [
    i64::MAX as u64 - 8192,
    i64::MAX as u64 - 5,
    i64::MAX as u64,
    i64::MAX as u64 + 1,
    u64::MAX - 1,
];

fn pipe() -> (File, File) {
    let (reader, writer) = io::pipe().unwrap();
    (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)))
}

/// A file in memory that can neither grow nor shrink.
fn sealed(len: u64, seals: SealFlags) -> File {
    let fd = memfd_create("sealed", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, len).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    File::from(fd)
}

async fn reads(stage: &Stage) {
    const LEN: u64 = 300_000;
    stage.file("file", &pattern(LEN as usize));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    for (len, offset) in [
        (0, 0),
        (1, 0),
        (10, 5),
        (4096, 4096),
        (LEN as usize, 0),
        (LEN as usize, 1),
        (1 << 20, 0),
        (100, LEN - 1),
        (100, LEN),
        (100, LEN + 1),
        (0, LEN + 1),
    ] {
        stage.tell(format!("{len} at {offset}"), stage.read_at(&file, len, offset).await);
    }
    for offset in FAR {
        stage.tell(format!("10 at {offset}"), stage.read_at(&file, 10, offset).await);
    }
    stage.tell("0 at the end of the world", stage.read_at(&file, 0, i64::MAX as u64).await);
    stage.tell("10 at -1", stage.read_at(&file, 10, u64::MAX).await);
    stage.tell("the position", seek(&file, SeekFrom::Current(0)).map_err(Into::into));

    stage.file("hole", b"");
    let hole = stage.open("hole", OFlags::RDWR).await.unwrap();
    rustix::fs::ftruncate(&hole, 100_000).unwrap();
    stage.tell("a hole", stage.read_at(&hole, 200_000, 0).await);

    let other = stage.open("file", OFlags::WRONLY).await.unwrap();
    stage.tell("of write-only", stage.read_at(&other, 10, 0).await);
    let other = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("of a path", stage.read_at(&other, 10, 0).await);
    stage.tell("of a directory", stage.read_at(stage.dir.as_file(), 10, 0).await);
    // Less than a page: between two of them a device may stop early, for a signal or a ring's work.
    for name in ["/dev/null", "/dev/zero", "/dev/full", "/proc/version"] {
        let device = stage.open(name, OFlags::RDONLY).await.unwrap();
        stage.tell(name, stage.read_at(&device, 4000, 3).await);
    }
}

async fn writes(stage: &Stage) {
    let path = stage.file("file", b"0123456789");
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    for (len, offset) in
        [(0, 0), (3, 0), (5, 8), (0, 1000), (1, 5000), (70_000, 4095), (1 << 20, 100)]
    {
        let written = stage.write_at(&file, &pattern(len), offset).await;
        stage.tell(format!("{len} at {offset}"), written);
        stage.tell("then", fs::read(&path).map(Bytes));
    }
    for offset in FAR {
        stage.tell(format!("10 at {offset}"), stage.write_at(&file, &pattern(10), offset).await);
    }
    stage.tell("0 at the end of the world", stage.write_at(&file, b"", i64::MAX as u64).await);
    stage.tell("10 at -1", stage.write_at(&file, &pattern(10), u64::MAX).await);
    stage.tell("the position", seek(&file, SeekFrom::Current(0)).map_err(Into::into));
    stage.tell("the length", fs::metadata(&path).map(|metadata| metadata.len()));

    let appends = stage.open("file", OFlags::WRONLY | OFlags::APPEND).await.unwrap();
    stage.tell("with O_APPEND, anywhere", stage.write_at(&appends, b"end", 0).await);
    stage.tell("then", fs::read(&path).map(Bytes));
    let other = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("of read-only", stage.write_at(&other, b"x", 0).await);
    let other = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("of a path", stage.write_at(&other, b"x", 0).await);
    stage.tell("of a directory", stage.write_at(stage.dir.as_file(), b"x", 0).await);
    for name in ["/dev/null", "/dev/zero", "/dev/full"] {
        let device = stage.open(name, OFlags::RDWR).await.unwrap();
        // Not of nothing: pwrite asks the device even then, pwritev2 and the ring do not.
        stage.tell(name, stage.write_at(&device, b"some", 3).await);
    }
    let full = sealed(6000, SealFlags::GROW);
    stage.tell("up to a seal", stage.write_at(&full, &pattern(6000), 0).await);
    stage.tell("across a seal", stage.write_at(&full, &pattern(20_000), 1000).await);
    stage.tell("behind a seal", stage.write_at(&full, &pattern(10), 8192).await);
    let closed = sealed(6000, SealFlags::WRITE);
    stage.tell("against a seal", stage.write_at(&closed, &pattern(10), 0).await);
}

async fn appends(stage: &Stage) {
    let path = stage.file("file", b"0123456789");
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    for len in [1, 0, 5000, 300_000] {
        stage.tell(len, stage.append(&file, &pattern(len)).await);
        stage.tell("then", fs::read(&path).map(Bytes));
    }
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(7).unwrap();
    stage.tell("after a cut", stage.append(&file, b"end").await);
    stage.tell("then", fs::read(&path).map(Bytes));
    stage.tell("the position", seek(&file, SeekFrom::Current(0)).map_err(Into::into));
    let other = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("to read-only", stage.append(&other, b"x").await);
    let other = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("to a path", stage.append(&other, b"x").await);
    stage.tell("to a directory", stage.append(stage.dir.as_file(), b"x").await);
    // Not to /dev/full: pwritev2 refuses flags to a device that knows no vectors, the ring writes.
    let device = stage.open("/dev/null", OFlags::RDWR).await.unwrap();
    stage.tell("to a device", stage.append(&device, b"some").await);
    let full = sealed(6000, SealFlags::GROW);
    stage.tell("against a seal", stage.append(&full, &pattern(20_000)).await);
}

async fn truncates(stage: &Stage) {
    let path = stage.file("file", &pattern(10_000));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    for len in [10_000, 5000, 0, 100_000, 1] {
        stage.tell(len, stage.set_len(&file, len).await);
        stage.tell("then", fs::read(&path).map(Bytes));
    }
    for len in FAR.into_iter().chain([u64::MAX]) {
        // Some file systems take the largest of all.
        stage.tell(len, stage.set_len(&file, len).await);
        stage.tell("then", fs::metadata(&path).map(|metadata| metadata.len()));
    }
    let other = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("of read-only", stage.set_len(&other, 0).await);
    let other = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("of a path", stage.set_len(&other, 0).await);
    stage.tell("of a directory", stage.set_len(stage.dir.as_file(), 0).await);
    let (reader, writer) = pipe();
    stage.tell("of a pipe", stage.set_len(&reader, 0).await);
    stage.tell("of a pipe", stage.set_len(&writer, 0).await);
    let device = stage.open("/dev/null", OFlags::RDWR).await.unwrap();
    stage.tell("of a device", stage.set_len(&device, 0).await);
    let full = sealed(6000, SealFlags::GROW | SealFlags::SHRINK);
    stage.tell("longer than a seal", stage.set_len(&full, 6001).await);
    stage.tell("shorter than a seal", stage.set_len(&full, 5999).await);
}

async fn allocates(stage: &Stage) {
    let path = stage.file("file", &pattern(20_000));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let (keep, punch) = (FallocateFlags::KEEP_SIZE, FallocateFlags::PUNCH_HOLE);
    let none = FallocateFlags::empty();
    for (mode, offset, len) in [
        (none, 0, 100),
        (none, 19_000, 11_000),
        (keep, 40_000, 10_000),
        (punch | keep, 4096, 8192),
        (punch | keep, 1, 5),
        (punch, 0, 4096),
        (FallocateFlags::ZERO_RANGE, 8192, 100),
        (FallocateFlags::COLLAPSE_RANGE, 1, 2),
        (FallocateFlags::INSERT_RANGE, 1, 2),
        (none, 0, 0),
        (none, i64::MAX as u64, 1),
        (none, i64::MAX as u64 - 5, 10),
        (none, u64::MAX, 10),
        (none, 0, u64::MAX),
    ] {
        let what = format!("{mode:?} at {offset} for {len}");
        stage.tell(what, stage.allocate(&file, mode, offset, len).await);
        stage.tell("then", fs::read(&path).map(Bytes));
    }
    let other = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("of read-only", stage.allocate(&other, none, 0, 1).await);
    let other = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("of a path", stage.allocate(&other, none, 0, 1).await);
    stage.tell("of a directory", stage.allocate(stage.dir.as_file(), none, 0, 1).await);
    let (_reader, writer) = pipe();
    stage.tell("of a pipe", stage.allocate(&writer, none, 0, 1).await);
    let device = stage.open("/dev/null", OFlags::RDWR).await.unwrap();
    stage.tell("of a device", stage.allocate(&device, none, 0, 1).await);
    let full = sealed(6000, SealFlags::GROW);
    stage.tell("behind a seal", stage.allocate(&full, none, 6000, 6000).await);
}

async fn syncs(stage: &Stage) {
    stage.file("file", &pattern(10));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let path = stage.open("file", OFlags::PATH).await.unwrap();
    let device = stage.open("/dev/null", OFlags::RDWR).await.unwrap();
    let (_reader, writer) = pipe();
    for data_only in [false, true] {
        stage.tell("a file", stage.sync(&file, data_only).await);
        stage.tell("a directory", stage.sync(stage.dir.as_file(), data_only).await);
        stage.tell("a path", stage.sync(&path, data_only).await);
        stage.tell("a device", stage.sync(&device, data_only).await);
        stage.tell("a pipe", stage.sync(&writer, data_only).await);
    }
}

async fn vectored_reads(stage: &Stage) {
    stage.file("file", &pattern(100_000));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let parts: [&[usize]; 6] = [&[], &[0], &[10], &[1, 0, 4096, 7], &[99_990, 20], &[3; 1024]];
    for lens in parts {
        for offset in [0, 5, 99_999, 100_000] {
            let what = format!("{} parts at {offset}", lens.len());
            stage.tell(what, stage.read_vectored(&file, lens, offset).await);
        }
    }
    for offset in FAR.into_iter().chain([u64::MAX]) {
        let read = stage.read_vectored(&file, &[5, 5], offset).await;
        stage.tell(format!("2 parts at {offset}"), read);
    }
    let other = stage.open("file", OFlags::WRONLY).await.unwrap();
    stage.tell("of write-only", stage.read_vectored(&other, &[1], 0).await);
    stage.tell("of a directory", stage.read_vectored(stage.dir.as_file(), &[1], 0).await);
}

async fn vectored_writes(stage: &Stage) {
    let path = stage.file("file", b"0123456789");
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let large = pattern(70_000);
    let parts: [&[&[u8]]; 5] =
        [&[], &[b""], &[b"abc"], &[b"a", b"", &large, b"z"], &[b"xy".as_slice(); 1024]];
    for bytes in parts {
        for offset in [0, 5, 80_000] {
            let what = format!("{} parts at {offset}", bytes.len());
            stage.tell(what, stage.write_vectored(&file, bytes, offset).await);
            stage.tell("then", fs::read(&path).map(Bytes));
        }
    }
    for offset in FAR.into_iter().chain([u64::MAX]) {
        let written = stage.write_vectored(&file, &[b"abc", b"defghi"], offset).await;
        stage.tell(format!("2 parts at {offset}"), written);
    }
    stage.tell("the length", fs::metadata(&path).map(|metadata| metadata.len()));
    let other = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("of read-only", stage.write_vectored(&other, &[b"x"], 0).await);
    let device = stage.open("/dev/full", OFlags::RDWR).await.unwrap();
    stage.tell("of a full device", stage.write_vectored(&device, &[b"x", b"y"], 0).await);
    let full = sealed(6000, SealFlags::GROW);
    stage.tell("across a seal", stage.write_vectored(&full, &[&large, &large], 1000).await);
}

async fn range_syncs(stage: &Stage) {
    stage.file("file", &pattern(100_000));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let path = stage.open("file", OFlags::PATH).await.unwrap();
    let device = stage.open("/dev/null", OFlags::RDWR).await.unwrap();
    let (_reader, writer) = pipe();
    for how in [SyncRange::Start, SyncRange::Wait] {
        for (offset, len) in [(0, 0), (5, 50_000), (200_000, 1), (i64::MAX as u64, 1)] {
            let what = format!("{how:?} {len} at {offset}");
            stage.tell(what, stage.sync_range(&file, offset, len, how).await);
        }
        for offset in FAR.into_iter().chain([u64::MAX]) {
            let synced = stage.sync_range(&file, offset, u32::MAX, how).await;
            stage.tell(format!("{how:?} much at {offset}"), synced);
        }
        stage.tell("a directory", stage.sync_range(stage.dir.as_file(), 0, 0, how).await);
        stage.tell("a path", stage.sync_range(&path, 0, 0, how).await);
        stage.tell("a device", stage.sync_range(&device, 0, 0, how).await);
        stage.tell("a pipe", stage.sync_range(&writer, 0, 0, how).await);
    }
}

async fn advices(stage: &Stage) {
    stage.file("file", &pattern(100_000));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let path = stage.open("file", OFlags::PATH).await.unwrap();
    let (_reader, writer) = pipe();
    for advice in [
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::NoReuse,
        Advice::WillNeed,
        Advice::DontNeed,
    ] {
        for (offset, len) in [(0, 0), (5, 50_000), (200_000, 1), (u64::MAX, 1)] {
            let what = format!("{advice:?} {len} at {offset}");
            stage.tell(what, stage.advise(&file, offset, len, advice).await);
        }
        stage.tell("a directory", stage.advise(stage.dir.as_file(), 0, 0, advice).await);
        stage.tell("a path", stage.advise(&path, 0, 0, advice).await);
        stage.tell("a pipe", stage.advise(&writer, 0, 0, advice).await);
    }
    stage.tell("it is still readable", stage.read_at(&file, 100_000, 0).await);
}
