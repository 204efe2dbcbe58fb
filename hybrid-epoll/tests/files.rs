//! Files and pipes: inline from the cache, on the pool otherwise, waiting where there is a stream.

#![allow(
    unsafe_code,
    reason = "adopts descriptors that operations returned, reads what they wrote"
)]

mod common;

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, SystemTime};

use common::{Bench, at, how, read, write};
use libc::{O_DIRECTORY, O_RDONLY, O_RDWR, POLLIN};
use ringway_driver::{Driver, Op};
use ringway_epoll::syscall;

const STREAM: u64 = u64::MAX;

#[test]
fn a_pipe_read_waits_and_ends_with_its_writer() {
    let mut bench = Bench::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut buf = [0; 8];
    let token = bench.submit(read(&reader, &mut buf, STREAM));
    assert!(bench.waits(token));
    writer.write_all(b"data").unwrap();
    assert_eq!(bench.result(token), 4);
    let token = bench.submit(read(&reader, &mut buf, STREAM));
    drop(writer);
    assert_eq!(bench.result(token), 0);
}

#[test]
fn a_pipe_write_waits_for_room_even_if_the_pipe_is_blocking() {
    let mut bench = Bench::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let page = [5_u8; 4096];
    let mut filled = 0;
    let token = loop {
        let token = bench.submit(write(&writer, &page, STREAM));
        if bench.waits(token) {
            break token;
        }
        filled += bench.result(token);
    };
    assert_eq!(filled, 65536, "pipe(7): the capacity of a pipe");
    let mut buf = [0; 4096];
    assert_eq!(bench.run(read(&reader, &mut buf, STREAM)), 4096);
    assert_eq!(bench.result(token), 4096);
}

#[test]
fn a_cached_file_is_read_at_once_and_a_file_on_the_pool_reads_the_same() {
    let mut bench = Bench::new();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let mut buf = [0; 4];
    bench.submit(read(&file, &mut buf, 3));
    assert_eq!(bench.turn(Duration::ZERO)[0].result, 4, "no thread was needed");
    assert_eq!(&buf, b"3456");
    let token = bench.submit_blocking(read(&file, &mut buf, 5));
    assert_eq!(bench.result(token), 4);
    assert_eq!(&buf, b"5678");
    assert_eq!(bench.run(read(&file, &mut buf, 8)), 2, "up to the end");
    assert_eq!(bench.run(read(&file, &mut buf, 10)), 0, "at the end");
    assert_eq!(bench.run(read(&file, &mut buf, STREAM - 1)), -libc::EINVAL);
}

#[test]
fn a_written_file_holds_the_bytes_at_the_offset() {
    let mut bench = Bench::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(bench.run(write(file.as_file(), b"xyz", 2)), 3);
    let token = bench.submit_blocking(write(file.as_file(), b"AB", 0));
    assert_eq!(bench.result(token), 2);
    assert_eq!(bench.run(Op::Fsync { fd: file.as_raw_fd(), data_only: true }), 0);
    assert_eq!(fs::read(file.path()).unwrap(), b"ABxyz");
    assert_eq!(bench.run(Op::Truncate { fd: file.as_raw_fd(), len: 3 }), 0);
    assert_eq!(fs::read(file.path()).unwrap(), b"ABx");
}

#[test]
fn an_append_lands_at_the_end_and_leaves_the_position() {
    let mut bench = Bench::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"abc").unwrap();
    let append = Op::Append { fd: file.as_raw_fd(), buf: b"de".as_ptr(), len: 2 };
    assert_eq!(bench.run(append), 2);
    assert_eq!(fs::read(file.path()).unwrap(), b"abcde");
    let mut buf = [0; 8];
    assert_eq!(bench.run(read(file.as_file(), &mut buf, STREAM)), 5, "from the start");
    let (pipe, writer) = std::io::pipe().unwrap();
    let append = Op::Append { fd: writer.as_raw_fd(), buf: b"de".as_ptr(), len: 2 };
    assert_eq!(bench.run(append), -libc::ESPIPE);
    drop(pipe);
}

#[test]
fn a_file_used_as_a_stream_moves_its_position() {
    let mut bench = Bench::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"abcdef").unwrap();
    let mut buf = [0; 4];
    assert_eq!(bench.run(read(file.as_file(), &mut buf, STREAM)), 4);
    assert_eq!(bench.run(read(file.as_file(), &mut buf, STREAM)), 2);
    assert_eq!(&buf[..2], b"ef");
}

struct Tree {
    root: tempfile::TempDir,
    dir: File,
}

fn tree() -> Tree {
    let root = tempfile::tempdir().unwrap();
    let share = root.path().join("share");
    fs::create_dir(&share).unwrap();
    fs::write(share.join("file"), b"inside").unwrap();
    fs::write(root.path().join("secret"), b"outside").unwrap();
    symlink("../secret", share.join("escape")).unwrap();
    let dir = File::open(share).unwrap();
    Tree { root, dir }
}

fn open(bench: &mut Bench, tree: &Tree, name: &str, flags: i32, resolve: u64) -> i32 {
    let (name, how) = (CString::new(name).unwrap(), how(flags, resolve));
    bench.run(Op::OpenAt { path: at(tree.dir.as_raw_fd(), &name), how: &raw const how })
}

#[test]
fn resolve_beneath_refuses_to_leave_the_directory() {
    let (mut bench, tree) = (Bench::new(), tree());
    for name in ["../secret", "escape", "/etc/passwd"] {
        let result = open(&mut bench, &tree, name, O_RDONLY, libc::RESOLVE_BENEATH);
        assert_eq!(result, -libc::EXDEV, "{name}");
    }
    let fd = open(&mut bench, &tree, "file", O_RDONLY, libc::RESOLVE_BENEATH);
    // SAFETY: a new descriptor, which nobody else owns; an error is no descriptor and fails here.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut buf = [0; 16];
    assert_eq!(bench.run(read(&file, &mut buf, 0)), 6);
}

#[test]
fn an_open_from_the_cache_keeps_the_flags_that_were_asked_for() {
    let (mut bench, tree) = (Bench::new(), tree());
    for flags in [0, libc::O_NONBLOCK, libc::O_APPEND] {
        let fd = open(&mut bench, &tree, "file", O_RDWR | flags, 0);
        // SAFETY: a new descriptor, which nobody else owns.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: asks for numbers.
        let now = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
        assert_eq!(now & (libc::O_NONBLOCK | libc::O_APPEND | libc::O_ACCMODE), O_RDWR | flags);
    }
    assert_eq!(open(&mut bench, &tree, "absent", O_RDONLY, 0), -libc::ENOENT);
    let fd = open(&mut bench, &tree, "new", O_RDWR | libc::O_CREAT | libc::O_EXCL, 0);
    assert!(fd >= 0 && tree.root.path().join("share/new").exists());
    assert_eq!(bench.run(Op::Close { fd }), 0);
    assert_eq!(bench.run(Op::Close { fd }), -libc::EBADF);
}

#[test]
fn opening_a_fifo_for_writing_waits_for_its_reader_and_not_in_the_loop() {
    let (mut bench, tree) = (Bench::new(), tree());
    let name = c"fifo";
    // SAFETY: a string that lives for the call.
    assert_eq!(unsafe { libc::mkfifoat(tree.dir.as_raw_fd(), name.as_ptr(), 0o600) }, 0);
    let how = how(libc::O_WRONLY, 0);
    let path = at(tree.dir.as_raw_fd(), name);
    let token = bench.submit(Op::OpenAt { path, how: &raw const how });
    assert!(bench.waits(token));
    let fifo = tree.root.path().join("share/fifo");
    let reader = thread::spawn(move || File::open(fifo).unwrap());
    let fd = bench.result(token);
    assert!(fd >= 0);
    drop(reader.join().unwrap());
    assert_eq!(bench.run(Op::Close { fd }), 0);
}

#[test]
fn getdents_lists_a_directory_and_then_ends() {
    let (mut bench, tree) = (Bench::new(), tree());
    let mut buf = [0_u8; 4096];
    let (fd, len) = (tree.dir.as_raw_fd(), buf.len() as u32);
    let filled = bench.run(Op::Getdents { fd, buf: buf.as_mut_ptr(), len });
    // getdents(2): d_ino 8 bytes, d_off 8, d_reclen 2, d_type 1, then the name and a NUL.
    let (mut rest, mut names) = (&buf[..usize::try_from(filled).unwrap()], Vec::new());
    while !rest.is_empty() {
        let length = usize::from(rest[16]) | usize::from(rest[17]) << 8;
        let name: Vec<u8> = rest[19..].iter().copied().take_while(|byte| *byte != 0).collect();
        names.push(String::from_utf8(name).unwrap());
        rest = &rest[length..];
    }
    names.sort();
    assert_eq!(names, [".", "..", "escape", "file"]);
    assert_eq!(bench.run(Op::Getdents { fd, buf: buf.as_mut_ptr(), len }), 0);
}

#[test]
fn names_can_be_made_renamed_read_and_removed() {
    let (mut bench, tree) = (Bench::new(), tree());
    let dir = tree.dir.as_raw_fd();
    let share = tree.root.path().join("share");
    assert_eq!(bench.run(Op::MkdirAt { path: at(dir, c"sub"), mode: 0o700 }), 0);
    assert_eq!(bench.run(Op::MkdirAt { path: at(dir, c"sub"), mode: 0o700 }), -libc::EEXIST);
    let (from, to) = (at(dir, c"file"), at(dir, c"sub/moved"));
    assert_eq!(bench.run(Op::RenameAt { from, to, flags: libc::RENAME_NOREPLACE }), 0);
    assert_eq!(fs::read(share.join("sub/moved")).unwrap(), b"inside");
    let mut buf = [0_u8; 32];
    let (path, len) = (at(dir, c"escape"), buf.len() as u32);
    assert_eq!(bench.run(Op::ReadlinkAt { path, buf: buf.as_mut_ptr(), len }), 9);
    assert_eq!(&buf[..9], b"../secret");
    assert_eq!(bench.run(Op::UnlinkAt { path: at(dir, c"sub/moved"), flags: 0 }), 0);
    let flags = libc::AT_REMOVEDIR;
    assert_eq!(bench.run(Op::UnlinkAt { path: at(dir, c"sub"), flags }), 0);
    assert!(!share.join("sub").exists());
}

#[test]
fn an_open_file_answers_about_itself_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"abcdef").unwrap();
    let fd = file.as_raw_fd();
    // SAFETY: structures of numbers; each lives until its call has returned.
    unsafe {
        let mut out: libc::statx = std::mem::zeroed();
        let (path, mask) = (at(fd, c""), libc::STATX_SIZE);
        let op = Op::Statx { path, flags: libc::AT_EMPTY_PATH, mask, out: &raw mut out };
        assert_eq!(syscall::try_now(&op), Some(0));
        assert_eq!(out.stx_size, 6);
        let path = at(libc::AT_FDCWD, c"/tmp");
        let op = Op::Statx { path, flags: 0, mask: libc::STATX_TYPE, out: &raw mut out };
        // A name in the caches; a kernel before 5.12 cannot be asked about those alone.
        assert!([None, Some(0)].contains(&syscall::try_now(&op)));
        assert_eq!(syscall::try_now(&Op::Fsync { fd, data_only: false }), None);
        assert_eq!(syscall::try_now(&Op::Poll { fd, events: POLLIN }), Some(i32::from(POLLIN)));

        let op = Op::AccessAt { path: at(fd, c""), mode: libc::R_OK, flags: libc::AT_EMPTY_PATH };
        assert_eq!(syscall::try_now(&op), Some(0));
        let op = Op::AccessAt { path, mode: libc::R_OK, flags: libc::AT_EMPTY_PATH };
        assert_eq!(syscall::try_now(&op), None);

        let mut counters: libc::statfs = std::mem::zeroed();
        assert_eq!(syscall::try_now(&Op::Statfs { fd, out: &raw mut counters }), Some(0));
        assert!(counters.f_bsize > 0);

        let stamp = libc::timespec { tv_sec: 1_000_000, tv_nsec: 500 };
        let times = [stamp, stamp];
        let op = Op::SetTimes { fd, times: times.as_ptr() };
        assert_eq!(syscall::try_now(&op), Some(0));
        assert_eq!(syscall::try_now(&Op::Chmod { fd, mode: 0o640 }), Some(0));
    }
    let metadata = file.as_file().metadata().unwrap();
    let expected = SystemTime::UNIX_EPOCH + Duration::new(1_000_000, 500);
    assert_eq!(metadata.modified().unwrap(), expected);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o640);
}

#[test]
fn attributes_can_be_set_and_read_where_the_file_system_has_them() {
    let mut bench = Bench::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let (fd, name, value) = (file.as_raw_fd(), c"user.note".as_ptr(), b"blue");
    let set = Op::SetXattr { fd, name, buf: value.as_ptr(), len: 4, flags: 0 };
    let result = bench.run(set);
    if result == -libc::EOPNOTSUPP {
        eprintln!("no user attributes below {:?}: nothing tested", file.path());
        return;
    }
    assert_eq!(result, 0);
    let mut buf = [0_u8; 16];
    let get = Op::GetXattr { fd, name, buf: buf.as_mut_ptr(), len: 16 };
    assert_eq!(bench.run(get), 4);
    assert_eq!(&buf[..4], value);
    let name = c"user.none".as_ptr();
    let get = Op::GetXattr { fd, name, buf: buf.as_mut_ptr(), len: 16 };
    assert_eq!(bench.run(get), -libc::ENODATA);
}

#[test]
fn what_a_file_cannot_do_is_the_kernels_error() {
    let mut bench = Bench::new();
    let file = tempfile::tempfile().unwrap();
    let mut buf = [0; 4];
    assert_eq!(bench.run(common::recv(&file, &mut buf, 0)), -libc::ENOTSOCK);
    let dir = File::open("/").unwrap();
    assert_eq!(bench.run(read(&dir, &mut buf, 0)), -libc::EISDIR);
    let (pipe, _writer) = std::io::pipe().unwrap();
    assert_eq!(bench.run(read(&pipe, &mut buf, 0)), -libc::ESPIPE);
    assert_eq!(bench.run(Op::Nop), 0);
    assert_eq!(bench.driver.in_flight(), 0);
    let how = how(O_RDONLY | O_DIRECTORY, 0);
    let op = Op::OpenAt { path: at(libc::AT_FDCWD, c"/dev/null"), how: &raw const how };
    assert_eq!(bench.run(op), -libc::ENOTDIR);
}

/// What `stat` answers, and what `try_now` says, about each of these.
#[test]
fn a_path_in_the_caches_is_looked_at_as_stat_would() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"abcdef").unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    symlink("loop", dir.path().join("loop")).unwrap();
    for name in ["file", "link", "loop", "missing", "file/below", "", "."] {
        let path = CString::new(dir.path().join(name).into_os_string().into_vec()).unwrap();
        for flags in [0, libc::AT_SYMLINK_NOFOLLOW] {
            // SAFETY: structures of numbers; names and structures live until their calls have returned.
            unsafe {
                let mut out: libc::statx = std::mem::zeroed();
                let mut expected: libc::statx = std::mem::zeroed();
                let mask = libc::STATX_BASIC_STATS;
                let path = at(libc::AT_FDCWD, &path);
                let op = Op::Statx { path, flags, mask, out: &raw mut expected };
                let answer = syscall::run(&op);
                let op = Op::Statx { path, flags, mask, out: &raw mut out };
                let Some(now) = syscall::try_now(&op) else {
                    eprintln!("SKIPPED: {name:?} cannot be looked up without waiting here");
                    continue;
                };
                assert_eq!(now, answer, "{name:?} {flags:#x}");
                if answer == 0 {
                    let facts =
                        |statx: &libc::statx| (statx.stx_ino, statx.stx_size, statx.stx_mode);
                    assert_eq!(facts(&out), facts(&expected), "{name:?} {flags:#x}");
                }
            }
        }
    }
}
