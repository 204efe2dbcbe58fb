//! Files and directories on every backend.

mod support;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringway::buf::IoBufExt;
use ringway::fs::{
    Access, AtFlags, Dir, FallocateFlags, OFlags, OpenHow, RenameFlags, ResolveFlags, SetTime,
    StatxFlags, Timespec, dir_entries,
};
use ringway::{Identity, Runtime};
use rustix::fs::SeekFrom;
use support::files::{create, new_file, scratch};
use support::pattern;

on_each_backend!(
    what_is_written_is_read_back,
    a_read_ends_where_the_file_does,
    an_append_goes_to_the_end_and_leaves_the_position,
    appends_through_two_handles_stay_whole,
    a_file_changes_length_and_gets_storage,
    syncing_works_on_files,
    times_and_mode_are_set,
    extended_attributes_are_kept,
    names_are_made_renamed_and_removed,
    a_directory_of_3000_entries_is_listed_and_listed_again,
    beneath_refuses_to_leave_the_directory,
    links_are_read,
    a_name_with_a_nul_is_refused,
    an_identity_is_checked_in_place_of_the_process,
    access_is_that_of_the_handles_identity,
    access_needs_no_file_that_can_be_read,
    a_dropped_open_leaves_no_descriptor_behind,
    a_file_works_on_another_threads_runtime,
    files_close_and_file_systems_tell_of_themselves,
);

fn what_is_written_is_read_back(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let bytes = pattern((1 << 20) + 7);
        file.write_all_at(bytes.clone(), 5).await.0.unwrap();
        let on_disk = std::fs::read(scratch.path().join("file")).unwrap();
        assert!(on_disk[..5] == [0; 5] && on_disk[5..] == bytes);
        let (read, buf) = file.read_at(Vec::with_capacity(bytes.len()), 5).await;
        assert!(read.unwrap() == bytes.len() && buf == bytes);
    });
}

fn a_read_ends_where_the_file_does(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        file.write_all_at(b"0123456789".as_slice().slice(..7), 0).await.0.unwrap();
        let (read, buf) = file.read_at(vec![b'-'; 10], 4).await;
        assert_eq!((read.unwrap(), buf.as_slice()), (3, b"456-------".as_slice()));
        assert_eq!(file.read_at(vec![0; 10], 7).await.0.unwrap(), 0);
        assert_eq!(file.read_at(vec![0; 10], 1 << 40).await.0.unwrap(), 0);
    });
}

fn an_append_goes_to_the_end_and_leaves_the_position(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let path = scratch.path().join("file");
        let file = new_file(&dir, "file").await;
        file.write_all_at(b"head".as_slice(), 0).await.0.unwrap();
        let (appended, buf) = file.append(b"tail, unused".to_vec().slice(..4)).await;
        assert_eq!((appended.unwrap(), buf.into_inner().as_slice()), (4, &b"tail, unused"[..]));
        assert_eq!(std::fs::read(&path).unwrap(), b"headtail");
        assert_eq!(rustix::fs::seek(&file, SeekFrom::Current(0)).unwrap(), 0);
        file.set_len(2).await.unwrap();
        assert_eq!(file.append(b"y".as_slice()).await.0.unwrap(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), b"hey");
        let read_only = dir.open_at("file", &OpenHow::new(OFlags::RDONLY)).await.unwrap();
        let (refused, buf) = read_only.append(b"no".to_vec()).await;
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!((std::fs::read(&path).unwrap(), buf), (b"hey".to_vec(), b"no".to_vec()));
    });
}

fn appends_through_two_handles_stay_whole(rt: Runtime) {
    const RECORDS: u8 = 60;
    const LEN: usize = 40_000;
    let (scratch, dir) = scratch();
    rt.block_on(async {
        let files = [new_file(&dir, "file").await, new_file(&dir, "file").await];
        let appending = (0..RECORDS).map(|record| {
            let file = files[usize::from(record % 2)].clone();
            ringway::spawn(async move { file.append(vec![record; LEN]).await.0.unwrap() })
        });
        for appended in appending.collect::<Vec<_>>() {
            assert_eq!(appended.await.unwrap(), LEN);
        }
    });
    let bytes = std::fs::read(scratch.path().join("file")).unwrap();
    let mut found: Vec<_> = bytes.chunk_by(|a, b| a == b).map(|one| (one[0], one.len())).collect();
    found.sort_unstable();
    assert_eq!(found, (0..RECORDS).map(|record| (record, LEN)).collect::<Vec<_>>());
}

fn a_file_changes_length_and_gets_storage(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        file.set_len(12_345).await.unwrap();
        assert_eq!(file.statx(StatxFlags::BASIC_STATS).await.unwrap().stx_size, 12_345);
        match file.allocate(FallocateFlags::KEEP_SIZE, 0, 1 << 20).await {
            Ok(()) => {
                let stat = file.statx(StatxFlags::BASIC_STATS).await.unwrap();
                assert_eq!(stat.stx_size, 12_345);
                assert!(stat.stx_blocks * 512 >= 1 << 20);
            }
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(file.set_len(u64::MAX).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

fn syncing_works_on_files(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        file.write_all_at(pattern(100_000), 0).await.0.unwrap();
        file.sync_data().await.unwrap();
        file.sync_all().await.unwrap();
    });
}

fn times_and_mode_are_set(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let at = Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_700 };
        file.set_times(SetTime::Omit, SetTime::At(at)).await.unwrap();
        file.chmod(0o604).await.unwrap();
        let stat = file.statx(StatxFlags::BASIC_STATS | StatxFlags::BTIME).await.unwrap();
        assert_eq!((stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec), (at.tv_sec, 123_456_700));
        assert_ne!(stat.stx_atime.tv_sec, at.tv_sec);
        assert_eq!(stat.stx_mode & 0o7777, 0o604);
        file.set_times(SetTime::At(at), SetTime::Now).await.unwrap();
        let stat = file.statx(StatxFlags::BASIC_STATS).await.unwrap();
        assert_eq!(stat.stx_atime.tv_sec, at.tv_sec);
        assert!(stat.stx_mtime.tv_sec > at.tv_sec);
    });
}

fn extended_attributes_are_kept(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        match file.set_xattr(c"user.test", b"a value".to_vec()).await {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                return eprintln!("SKIPPED: no extended attributes on this file system");
            }
            set => set.unwrap(),
        }
        let (got, value) = file.get_xattr(c"user.test", Vec::with_capacity(100)).await;
        assert_eq!((got.unwrap(), value.as_slice()), (7, b"a value".as_slice()));
        let (got, value) = file.get_xattr(c"user.test", Vec::new()).await;
        assert_eq!((got.unwrap(), value.len()), (7, 0));
        let short = file.get_xattr(c"user.test", Vec::with_capacity(3)).await.0.unwrap_err();
        assert_eq!(short.raw_os_error(), Some(libc::ERANGE));
        let none = file.get_xattr(c"user.none", Vec::with_capacity(9)).await.0.unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::ENODATA));
    });
}

fn names_are_made_renamed_and_removed(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        dir.mkdir_at("one", 0o755).await.unwrap();
        let again = dir.mkdir_at("one", 0o755).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let how = OpenHow::new(OFlags::RDONLY | OFlags::DIRECTORY);
        let one = Dir::from_file(dir.open_at("one", &how).await.unwrap());
        new_file(&one, "a").await;
        new_file(&dir, "b").await;
        let taken = one.rename_at("a", &dir, "b", RenameFlags::NOREPLACE).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        one.rename_at("a", &dir, "c", RenameFlags::NOREPLACE).await.unwrap();
        assert!(scratch.path().join("c").exists() && !scratch.path().join("one/a").exists());
        let stat = dir.statx_at("c", AtFlags::empty(), StatxFlags::BASIC_STATS).await.unwrap();
        assert_eq!(stat.stx_mode & 0o170_000, 0o100_000);
        assert!(dir.unlink_at("one", false).await.is_err());
        dir.unlink_at("one", true).await.unwrap();
        dir.unlink_at("c", false).await.unwrap();
        let gone = dir.statx_at("c", AtFlags::empty(), StatxFlags::BASIC_STATS).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        assert_eq!(dir.unlink_at("c", false).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

fn a_directory_of_3000_entries_is_listed_and_listed_again(rt: Runtime) {
    let (scratch, dir) = scratch();
    let mut expected: HashSet<_> = (0..3000).map(|i| format!("entry number {i}")).collect();
    for name in &expected {
        std::fs::write(scratch.path().join(name), []).unwrap();
    }
    expected.extend([".".to_owned(), "..".to_owned()]);
    rt.block_on(async {
        for _ in 0..2 {
            dir.as_file().rewind().unwrap();
            let mut found = HashSet::new();
            let mut buf = Vec::with_capacity(8192);
            loop {
                let (read, filled) = dir.as_file().read_dir(buf).await;
                if read.unwrap() == 0 {
                    break;
                }
                for entry in dir_entries(&filled) {
                    let name = entry.name.to_str().unwrap().to_owned();
                    assert!(found.insert(name), "{:?} came twice", entry.name);
                }
                buf = filled;
            }
            assert!(found == expected, "{} of {} entries", found.len(), expected.len());
        }
    });
}

fn beneath_refuses_to_leave_the_directory(rt: Runtime) {
    rt.block_on(async {
        let (scratch, _) = scratch();
        std::fs::create_dir(scratch.path().join("share")).unwrap();
        std::fs::write(scratch.path().join("secret"), "secret").unwrap();
        std::fs::write(scratch.path().join("share/plain"), "plain").unwrap();
        symlink("../secret", scratch.path().join("share/outward")).unwrap();
        symlink("plain", scratch.path().join("share/inward")).unwrap();
        let share = Dir::open_ambient(scratch.path().join("share")).unwrap();
        let how = OpenHow::new(OFlags::RDONLY).resolve(ResolveFlags::BENEATH);
        for path in ["../secret", "outward", "/etc/passwd", "./../share/plain"] {
            let error = share.open_at(path, &how).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{path}");
        }
        let file = share.open_at("inward", &how).await.unwrap();
        assert_eq!(file.read_at(Vec::with_capacity(9), 0).await.1, b"plain");
    });
}

fn links_are_read(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let long = "x".repeat(300);
        symlink(&long, scratch.path().join("link")).unwrap();
        assert_eq!(dir.readlink_at("link").await.unwrap(), Path::new(&long));
        new_file(&dir, "file").await;
        assert_eq!(dir.readlink_at("file").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

fn a_name_with_a_nul_is_refused(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let name = Path::new(OsStr::from_bytes(b"a\0b"));
        assert_eq!(dir.mkdir_at(name, 0o755).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// A directory that all may look into, as its owner and as nobody; none for who may not act for others.
fn scratch_for_nobody() -> Option<(tempfile::TempDir, Dir, Dir)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root may act for others");
        return None;
    }
    let (scratch, dir) = scratch();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(scratch.path(), mode).unwrap();
    let as_nobody = dir.with_identity(Some(Identity::new(65_534, 65_534, &[]).unwrap()));
    Some((scratch, dir, as_nobody))
}

fn an_identity_is_checked_in_place_of_the_process(rt: Runtime) {
    let Some((_scratch, dir, as_nobody)) = scratch_for_nobody() else { return };
    rt.block_on(async {
        new_file(&dir, "roots").await.chmod(0o600).await.unwrap();
        let how = OpenHow::new(OFlags::RDONLY);
        let refused = as_nobody.open_at("roots", &how).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        for refused in [
            as_nobody.mkdir_at("new", 0o777).await.unwrap_err(),
            as_nobody.unlink_at("roots", false).await.unwrap_err(),
            as_nobody.open_at("new", &create()).await.unwrap_err(),
        ] {
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        }
        let roots = dir.open_at("roots", &how).await.unwrap();
        roots.chmod(0o644).await.unwrap();
        let readable = as_nobody.open_at("roots", &how).await.unwrap();
        // The file keeps the identity: nobody may read it, but does not own it.
        assert_eq!(readable.chmod(0o666).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        let mine = as_nobody.with_identity(None);
        mine.unlink_at("roots", false).await.unwrap();
    });
}

fn access_is_that_of_the_handles_identity(rt: Runtime) {
    let Some((_scratch, dir, as_nobody)) = scratch_for_nobody() else { return };
    rt.block_on(async {
        let roots = new_file(&dir, "roots").await;
        roots.chmod(0o600).await.unwrap();
        // Opened without asking for anything, which needs no permission on the file itself.
        let theirs = as_nobody.open_at("roots", &OpenHow::new(OFlags::PATH)).await.unwrap();
        roots.access(Access::READ_OK | Access::WRITE_OK).await.unwrap();
        theirs.access(Access::EXISTS).await.unwrap();
        for mode in [Access::READ_OK, Access::WRITE_OK] {
            let refused = theirs.access(mode).await.unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EACCES), "{mode:?}");
        }
        // The permissions that count are those of now.
        roots.chmod(0o604).await.unwrap();
        theirs.access(Access::READ_OK).await.unwrap();
        assert!(theirs.access(Access::READ_OK | Access::WRITE_OK).await.is_err());
        as_nobody.access(Access::READ_OK | Access::EXEC_OK).await.unwrap();
        let refused = as_nobody.access(Access::WRITE_OK).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
        dir.access(Access::WRITE_OK).await.unwrap();
    });
}

fn access_needs_no_file_that_can_be_read(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        new_file(&dir, "file").await.chmod(0o600).await.unwrap();
        let file = dir.open_at("file", &OpenHow::new(OFlags::PATH)).await.unwrap();
        assert_eq!(
            file.read_at(vec![0; 1], 0).await.0.unwrap_err().raw_os_error(),
            Some(libc::EBADF)
        );
        file.access(Access::READ_OK | Access::WRITE_OK).await.unwrap();
        // Not even root may execute what is nobody's to execute.
        let refused = file.access(Access::EXEC_OK).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
        let invalid = file.access(Access::from_bits_retain(1 << 3)).await.unwrap_err();
        assert_eq!(invalid.raw_os_error(), Some(libc::EINVAL));
    });
}

fn a_dropped_open_leaves_no_descriptor_behind(rt: Runtime) {
    let (_scratch, dir) = scratch();
    let marks = |name: &str| {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        targets.filter(|target| target.ends_with(name)).count()
    };
    rt.block_on(async {
        for _ in 0..50 {
            let how = create();
            let opening = Box::pin(dir.open_at("never kept", &how));
            // Creating is never done at once, so this is in flight and may well succeed.
            let (polled, opening) = support::poll_once(opening).await;
            assert!(polled.is_pending());
            drop(opening);
            support::yield_now().await;
        }
    });
    let report = rt.shutdown(std::time::Duration::from_secs(5));
    assert_eq!(report.leaked, 0);
    assert_eq!(marks("never kept"), 0);
}

fn a_file_works_on_another_threads_runtime(rt: Runtime) {
    let backend = rt.features().backend();
    let (_scratch, dir) = scratch();
    let file = rt.block_on(async {
        let file = new_file(&dir, "file").await;
        file.write_all_at(b"from one".as_slice(), 0).await.0.unwrap();
        file
    });
    let other = std::thread::spawn(move || {
        let rt = ringway::Builder::new().backend(backend).build().unwrap();
        rt.block_on(async { file.read_at(Vec::with_capacity(20), 5).await.1 })
    });
    assert_eq!(other.join().unwrap(), b"one");
}

fn files_close_and_file_systems_tell_of_themselves(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let expected = rustix::fs::fstatfs(&file).unwrap();
        let told = file.statfs().await.unwrap();
        assert_eq!((told.f_type, told.f_bsize), (expected.f_type, expected.f_bsize));
        assert_eq!(told.f_blocks, expected.f_blocks);
        let clone = file.clone();
        file.close().await.unwrap();
        clone.write_all_at(b"open".as_slice(), 0).await.0.unwrap();
        clone.close().await.unwrap();
        assert_eq!(new_file(&dir, "file").await.read_at(vec![0; 4], 0).await.1, b"open");
    });
}
