//! Vectored transfers, advice, links and attributes on every backend, and with half of what is tried
//! first refused.

#[path = "support/policies.rs"]
mod policies;
mod support;

use std::ffi::CStr;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use ringway::buf::{FixedPool, IoBufExt};
use ringway::fs::{Advice, AtFlags, Dir, File, FileType, Mode, OFlags, OpenHow, SyncRange};
use ringway::pipe::{PipeReader, PipeWriter};
use ringway::{OpKind, Rung, Runtime};
use rustix::fs::CWD;
use rustix::io::ReadWriteFlags;
use support::files::{new_file, scratch};
use support::pattern;

const MIB: u64 = 1 << 20;

on_each_backend_and_rung!(
    several_buffers_are_written_and_read_as_one,
    a_vectored_read_ends_where_the_file_does,
    a_vectored_read_of_what_is_not_cached_is_whole,
    more_buffers_than_the_kernel_takes_are_a_short_transfer,
    an_exact_read_fills_its_buffer_or_says_that_the_file_ended,
    ranges_are_synced_and_advised,
    what_is_read_ahead_is_there_and_not_asked_for_again,
    a_range_is_shared_with_another_file_or_refused_whole,
    hard_and_symbolic_links_are_made,
    attributes_are_listed_and_removed,
    a_fifo_has_no_positions_to_read_or_write_at,
    what_goes_past_the_page_cache_is_never_waited_for_at_once,
);

fn several_buffers_are_written_and_read_as_one(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let parts = (b"head".as_slice(), pattern(5000), b"-tail-".to_vec().slice(1..5));
        let (written, parts) = file.write_vectored_at(parts, 3).await;
        assert_eq!(written.unwrap(), 5008);
        assert_eq!(parts.1, pattern(5000));
        let whole = [b"\0\0\0head".as_slice(), &pattern(5000), b"tail"].concat();
        assert!(std::fs::read(scratch.path().join("file")).unwrap() == whole);
        let bufs = vec![Vec::with_capacity(7), Vec::with_capacity(0), Vec::with_capacity(6000)];
        let (read, bufs) = file.read_vectored_at(bufs, 0).await;
        assert_eq!(read.unwrap(), whole.len());
        assert_eq!(bufs[0], b"\0\0\0head");
        assert!(bufs[1].is_empty() && bufs[2] == whole[7..]);
    });
}

fn a_vectored_read_ends_where_the_file_does(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        file.write_all_at(b"0123456789".as_slice(), 0).await.0.unwrap();
        let bufs = [vec![b'-'; 4], vec![b'-'; 4], vec![b'-'; 4]];
        let (read, bufs) = file.read_vectored_at(bufs, 5).await;
        assert_eq!(read.unwrap(), 5);
        assert_eq!(bufs, [b"5678".to_vec(), b"9---".to_vec(), b"----".to_vec()]);
        assert_eq!(file.read_vectored_at([vec![0; 4]], 10).await.0.unwrap(), 0);
        assert_eq!(file.read_vectored_at(Vec::<Vec<u8>>::new(), 0).await.0.unwrap(), 0);
    });
}

fn a_vectored_read_of_what_is_not_cached_is_whole(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let bytes = pattern(1 << 20);
        file.write_all_at(bytes.clone(), 0).await.0.unwrap();
        file.sync_all().await.unwrap();
        // Not at the beginning, so that what is cached comes first.
        file.advise(8192, 0, Advice::DontNeed).await.unwrap();
        let bufs = (vec![0; 100_000], vec![0; 900_000]);
        let (read, bufs) = file.read_vectored_at(bufs, 0).await;
        assert_eq!(read.unwrap(), 1_000_000);
        assert!([bufs.0, bufs.1].concat() == bytes[..1_000_000]);
    });
}

fn more_buffers_than_the_kernel_takes_are_a_short_transfer(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let parts: Vec<_> = (0..2000).map(|i| vec![i as u8]).collect();
        let (written, parts) = file.write_vectored_at(parts, 0).await;
        assert_eq!((written.unwrap(), parts.len()), (1024, 2000));
        let (read, parts) = file.read_vectored_at(vec![vec![9]; 2000], 0).await;
        assert_eq!(read.unwrap(), 1024);
        assert!(parts.iter().take(1024).enumerate().all(|(i, part)| part[0] == i as u8));
    });
}

fn an_exact_read_fills_its_buffer_or_says_that_the_file_ended(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        file.write_all_at(b"0123456789".as_slice(), 0).await.0.unwrap();
        let (read, buf) = file.read_exact_at(vec![0; 4], 6).await;
        read.unwrap();
        assert_eq!(buf, b"6789");
        let (read, buf) = file.read_exact_at(vec![b'-'; 4], 8).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(buf, b"89--");
    });
}

fn ranges_are_synced_and_advised(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let bytes = pattern(100_000);
        file.write_all_at(bytes.clone(), 0).await.0.unwrap();
        file.sync_range(0, 50_000, SyncRange::Start).await.unwrap();
        file.sync_range(0, 0, SyncRange::Wait).await.unwrap();
        for advice in [Advice::Sequential, Advice::WillNeed, Advice::DontNeed, Advice::Normal] {
            file.advise(4096, 8192, advice).await.unwrap();
        }
        let (read, buf) = file.read_at(vec![0; 100_000], 0).await;
        assert!(read.unwrap() == 100_000 && buf == bytes);
        let (reader, _writer) = std::io::pipe().unwrap();
        let no_file = File::from(OwnedFd::from(reader));
        let refused = no_file.advise(0, 0, Advice::Normal).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ESPIPE));
        let refused = no_file.sync_range(0, 0, SyncRange::Start).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ESPIPE));
    });
}

fn what_is_read_ahead_is_there_and_not_asked_for_again(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        file.write_all_at(pattern(4 << 20), 0).await.0.unwrap();
        file.sync_all().await.unwrap();
        if file.statfs().await.unwrap().f_type == 0x0102_1994 {
            return eprintln!("SKIPPED: temporary files are in memory");
        }
        // Advice is all it is: pages that somebody else is at stay.
        eventually(async || {
            file.advise(0, 0, Advice::DontNeed).await.unwrap();
            !is_cached(&file, 2 * MIB)
        })
        .await;
        assert!(file.read_ahead(MIB, 2 * MIB).await.unwrap());
        eventually(async || (MIB..3 * MIB).step_by(4096).all(|at| is_cached(&file, at))).await;
        assert!(!file.read_ahead(MIB, 2 * MIB).await.unwrap(), "it is there");
        assert!(!file.read_ahead(0, 0).await.unwrap(), "nothing");
    });
}

async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20));
        ringway::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a byte can be read without waiting.
fn is_cached(file: &File, at: u64) -> bool {
    let mut byte = [0_u8];
    let mut part = [std::io::IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(file, &mut part, at, ReadWriteFlags::NOWAIT).is_ok_and(|read| read == 1)
}

/// Which of the two depends on the file system below the folder for temporary files.
fn a_range_is_shared_with_another_file_or_refused_whole(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let (source, target) = (new_file(&dir, "source").await, new_file(&dir, "target").await);
        let block = usize::try_from(source.statfs().await.unwrap().f_bsize).unwrap();
        source.write_all_at(pattern(3 * block), 0).await.0.unwrap();
        let old = vec![7; 2 * block];
        target.write_all_at(old.clone(), 0).await.0.unwrap();
        let on_disk = || std::fs::read(scratch.path().join("target")).unwrap();
        // Nothing, and not, as the kernel has it, everything.
        target.clone_range(0, &source, 0, 0).await.unwrap();
        assert!(on_disk() == old);
        let block = block as u64;
        match target.clone_range(block, &source, block, 2 * block).await {
            Ok(()) => {
                let whole = pattern(3 * block as usize);
                assert!(on_disk() == [&old[..block as usize], &whole[block as usize..]].concat());
                let odd = target.clone_range(1, &source, 0, block).await;
                assert_eq!(odd.unwrap_err().raw_os_error(), Some(libc::EINVAL));
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
                assert!(on_disk() == old);
            }
        }
    });
}

fn hard_and_symbolic_links_are_made(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        new_file(&dir, "file").await;
        dir.mkdir_at("below", 0o755).await.unwrap();
        let open = OpenHow::new(OFlags::DIRECTORY);
        let below = Dir::from_file(dir.open_at("below", &open).await.unwrap());
        dir.link_at("file", &below, "other", AtFlags::empty()).await.unwrap();
        let inode =
            |name: &str| std::fs::symlink_metadata(scratch.path().join(name)).unwrap().ino();
        assert_eq!(inode("file"), inode("below/other"));
        let again = dir.link_at("file", &below, "other", AtFlags::empty()).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);

        dir.symlink_at("no/such thing", "dangling").await.unwrap();
        dir.symlink_at("file", "link").await.unwrap();
        let target = std::fs::read_link(scratch.path().join("dangling")).unwrap();
        assert_eq!(target.as_os_str(), "no/such thing");
        let again = dir.symlink_at("x", "link").await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);

        dir.link_at("link", &below, "itself", AtFlags::empty()).await.unwrap();
        dir.link_at("link", &below, "followed", AtFlags::SYMLINK_FOLLOW).await.unwrap();
        assert_eq!(inode("below/itself"), inode("link"));
        assert_eq!(inode("below/followed"), inode("file"));
        assert_eq!(dir.symlink_at("a\0b", "c").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

fn attributes_are_listed_and_removed(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let (one, two): (&CStr, &CStr) = (c"user.one", c"user.two");
        match file.set_xattr(one, b"1".to_vec()).await {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                return eprintln!("SKIPPED: no user attributes here");
            }
            set => set.unwrap(),
        }
        file.set_xattr(two, b"2".to_vec()).await.unwrap();
        let (measured, buf) = file.list_xattr(Vec::new()).await;
        let measured = measured.unwrap();
        assert!(buf.is_empty());
        let (len, list) = file.list_xattr(Vec::with_capacity(measured)).await;
        assert_eq!((len.unwrap(), list.len()), (measured, measured));
        let mut names: Vec<_> =
            list.split(|&b| b == 0).filter(|name| name.starts_with(b"user.")).collect();
        names.sort();
        assert_eq!(names, [one.to_bytes(), two.to_bytes()]);
        let short = file.list_xattr(Vec::with_capacity(3)).await.0.unwrap_err();
        assert_eq!(short.raw_os_error(), Some(libc::ERANGE));

        file.remove_xattr(one).await.unwrap();
        let gone = file.remove_xattr(one).await.unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ENODATA));
        assert_eq!(file.get_xattr(two, Vec::with_capacity(9)).await.1, b"2");
    });
}

fn a_fifo_has_no_positions_to_read_or_write_at(rt: Runtime) {
    // pread(2), pwrite(2): ESPIPE for a pipe, whatever is in it.
    const ESPIPE: Option<i32> = Some(libc::ESPIPE);
    let told = |result: std::io::Result<usize>| result.unwrap_err().raw_os_error();
    let (scratch, _) = scratch();
    let path = scratch.path().join("fifo");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let both = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &both, b"in it").unwrap();
    let (reader, writer) = (both.try_clone().unwrap(), both.try_clone().unwrap());
    let [reader, writer] = [reader, writer].map(|file| File::from(OwnedFd::from(file)));
    rt.block_on(async {
        let pool = FixedPool::new(1, 100).unwrap();
        for offset in [0, 3, u64::MAX] {
            assert_eq!(told(reader.read_at(vec![0; 9], offset).await.0), ESPIPE);
            assert_eq!(told(reader.read_vectored_at([vec![0; 9]], offset).await.0), ESPIPE);
            assert_eq!(told(writer.write_at(b"more".to_vec(), offset).await.0), ESPIPE);
            assert_eq!(told(writer.write_vectored_at([b"more".to_vec()], offset).await.0), ESPIPE);
            let fixed = pool.get().await;
            assert_eq!(told(reader.read_fixed_at(fixed, offset).await.0), ESPIPE);
            let mut fixed = pool.get().await;
            fixed.extend_from_slice(b"more");
            assert_eq!(told(writer.write_fixed_at(fixed, offset).await.0), ESPIPE);
        }
        assert_eq!(told(writer.append(b"more".to_vec()).await.0), ESPIPE);
        // As a pipe it is read and written.
        let own = |file: &std::fs::File| OwnedFd::from(file.try_clone().unwrap());
        let (reader, writer) = (PipeReader::from_fd(own(&both)), PipeWriter::from_fd(own(&both)));
        writer.unwrap().write_all(b", and on".to_vec()).await.0.unwrap();
        let (n, buf) = reader.unwrap().read(vec![0; 100]).await;
        assert_eq!(&buf[..n.unwrap()], b"in it, and on");
    });
}

fn what_goes_past_the_page_cache_is_never_waited_for_at_once(rt: Runtime) {
    const LEN: usize = 8192;
    let done = rt.block_on(async {
        let (scratch, dir) = scratch();
        let how = OpenHow::new(OFlags::RDWR | OFlags::CREATE | OFlags::DIRECT)
            .mode(Mode::from_raw_mode(0o600));
        let Ok(file) = dir.open_at("file", &how).await else { return false };
        let pool = FixedPool::new(2, LEN).unwrap();
        let mut buf = pool.get().await;
        buf.extend_from_slice(&pattern(LEN));
        let (written, buf) = file.write_fixed_at(buf, 0).await;
        assert_eq!(written.unwrap(), LEN);
        assert_eq!(file.write_at(buf, LEN as u64).await.0.unwrap(), LEN);
        let (read, mut buf) = file.read_fixed_at(pool.get().await, 0).await;
        assert!(read.unwrap() == LEN && *buf == pattern(LEN));
        buf.clear();
        let (read, buf) = file.read_at(buf, LEN as u64).await;
        assert!(read.unwrap() == LEN && *buf == pattern(LEN));
        // One that was opened elsewhere is known by its flags.
        let path = scratch.path().join("file");
        let other = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECT, Mode::empty()).unwrap();
        assert_eq!(File::from(other).read_at(buf, 0).await.0.unwrap(), LEN);
        true
    });
    if !done {
        return eprintln!("SKIPPED: no O_DIRECT here");
    }
    let metrics = rt.metrics();
    let moves = [OpKind::Read, OpKind::ReadFixed, OpKind::Write, OpKind::WriteFixed];
    let at_once = moves.into_iter().find(|&kind| metrics.of(kind, Rung::Inline).is_some());
    assert_eq!(at_once, None, "{metrics}");
}
