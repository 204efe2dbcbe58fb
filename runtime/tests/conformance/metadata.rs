//! What files say about themselves, and take to be said: statx, access, times, mode, attributes, statfs.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;

use ringway::OpKind;
use ringway::fs::{Access, AtFlags, File, OFlags, SetTime, StatxFlags, Timespec};
use rustix::fs::statx;

use crate::case::{Case, Stage, pattern};

pub(crate) static CASES: [Case; 9] = [
    Case::new("statx", &[OpKind::Statx], |stage| Box::pin(statxs(stage))),
    Case::new("access", &[OpKind::AccessAt], |stage| Box::pin(accesses(stage))),
    Case::new("set_times", &[OpKind::SetTimes], |stage| Box::pin(times(stage))),
    Case::new("chmod", &[OpKind::Chmod], |stage| Box::pin(modes(stage))),
    Case::new("get_xattr", &[OpKind::GetXattr], |stage| Box::pin(attributes(stage))),
    Case::new("set_xattr", &[OpKind::SetXattr], |stage| Box::pin(attributes(stage))),
    Case::new("list_xattr", &[OpKind::ListXattr], |stage| Box::pin(attribute_lists(stage))),
    Case::new("remove_xattr", &[OpKind::RemoveXattr], |stage| Box::pin(attribute_lists(stage))),
    Case::new("statfs", &[OpKind::Statfs], |stage| Box::pin(file_systems(stage))),
];

const NAME_LEN_MAX: usize = 255;

async fn statxs(stage: &Stage) {
    stage.file("file", &pattern(1234));
    std::fs::create_dir(stage.path("dir")).unwrap();
    symlink("file", stage.path("link")).unwrap();
    symlink("nowhere", stage.path("dangling")).unwrap();
    symlink("loop", stage.path("loop")).unwrap();
    let file = stage.open("file", OFlags::RDONLY).await.unwrap();
    for mask in [
        StatxFlags::BASIC_STATS,
        StatxFlags::SIZE,
        StatxFlags::empty(),
        StatxFlags::from_bits_retain(1 << 31),
    ] {
        stage.tell(format!("the file, {mask:?}"), stage.statx(&file, mask).await);
    }
    let of = |fd: OwnedFd| File::from(fd);
    let (reader, _writer) = io::pipe().unwrap();
    let path = stage.open("dangling", OFlags::PATH | OFlags::NOFOLLOW).await.unwrap();
    let device = stage.open("/dev/null", OFlags::RDONLY).await.unwrap();
    for (what, file) in [("a pipe", &of(reader.into())), ("a path", &path), ("a device", &device)] {
        stage.tell(
            what,
            stage.statx(file, StatxFlags::TYPE | StatxFlags::MODE).await.map(|at| at.1),
        );
    }
    let (follow, nofollow) = (AtFlags::empty(), AtFlags::SYMLINK_NOFOLLOW);
    let (long, too_long) = ("n".repeat(NAME_LEN_MAX), "n".repeat(NAME_LEN_MAX + 1));
    for name in [
        "file",
        "dir",
        ".",
        "..",
        "dir/",
        "file/",
        "file/x",
        "link",
        "dangling",
        "loop",
        "missing",
        "",
        "/dev/null",
        &long,
        &too_long,
        &"d/".repeat(2100),
    ] {
        for flags in [follow, nofollow] {
            let found = stage.statx_at(name, flags).await.map(|(mask, mode, _, size)| match name {
                // Others are at work in the directory above.
                ".." => (mask, mode, 0),
                _ => (mask, mode, size),
            });
            stage.tell(format!("{} {flags:?}", &name[..name.len().min(20)]), found);
        }
    }
    stage.tell("of nothing", stage.statx_at("", AtFlags::EMPTY_PATH).await.map(|at| at.1));
    stage.tell("what no kernel knows", stage.statx_at("file", AtFlags::REMOVEDIR).await);
}

async fn accesses(stage: &Stage) {
    for mode in [0o644, 0o755, 0o000] {
        let path = stage.file("file", b"");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
        let file = stage.open("file", OFlags::PATH).await.unwrap();
        for access in [
            Access::EXISTS,
            Access::READ_OK,
            Access::WRITE_OK,
            Access::EXEC_OK,
            Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
        ] {
            stage.tell(format!("{access:?} of {mode:o}"), stage.access(&file, access).await);
        }
        std::fs::remove_file(&path).unwrap();
    }
    let dir = stage.dir.as_file();
    stage.tell("a directory", stage.access(dir, Access::EXEC_OK).await);
    stage.tell("nonsense", stage.access(dir, Access::from_bits_retain(0o100)).await);
    let version = stage.open("/proc/version", OFlags::RDONLY).await.unwrap();
    stage.tell("what nobody may write", stage.access(&version, Access::WRITE_OK).await);
}

async fn times(stage: &Stage) {
    stage.file("file", b"");
    let file = stage.open("file", OFlags::RDONLY).await.unwrap();
    let at = |tv_sec, tv_nsec| SetTime::At(Timespec { tv_sec, tv_nsec });
    for (accessed, modified) in [
        (at(1, 2), at(3, 4)),
        (SetTime::Omit, at(1_000_000_000, 999_999_999)),
        (at(2_000_000_000, 0), SetTime::Omit),
        (at(-1, 5), at(0, 0)),
        (SetTime::Omit, SetTime::Omit),
        (at(0, 1_000_000_000), at(0, 0)),
        (at(0, 0), at(0, -1)),
        (at(i64::MAX, 0), at(i64::MIN, 0)),
    ] {
        let what = format!("{accessed:?} {modified:?}");
        stage.tell(what, stage.set_times(&file, accessed, modified).await);
        let found = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
        let both = found.map(|found| (found.stx_atime, found.stx_mtime)).map_err(Into::into);
        stage.tell("then", both.map(|(a, m)| [(a.tv_sec, a.tv_nsec), (m.tv_sec, m.tv_nsec)]));
    }
    stage.tell("now", stage.set_times(&file, SetTime::Now, SetTime::Now).await);
    let path = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("of a path", stage.set_times(&path, at(1, 1), at(1, 1)).await);
    let (reader, _writer) = io::pipe().unwrap();
    let reader = File::from(OwnedFd::from(reader));
    stage.tell("of a pipe", stage.set_times(&reader, at(1, 1), at(1, 1)).await);
}

async fn modes(stage: &Stage) {
    stage.file("file", b"");
    let file = stage.open("file", OFlags::RDONLY).await.unwrap();
    for mode in [0o600, 0o000, 0o7777, 0o1755, 0o170_644] {
        stage.tell(format!("{mode:o}"), stage.chmod(&file, mode).await);
        let found = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::MODE);
        stage.tell("then", found.map(|found| found.stx_mode).map_err(Into::into));
    }
    let path = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("of a path", stage.chmod(&path, 0o644).await);
    stage.tell("of a directory", stage.chmod(stage.dir.as_file(), 0o750).await);
}

async fn attributes(stage: &Stage) {
    stage.file("file", b"");
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let name = c"user.ringway.test";
    stage.tell("before", stage.get_xattr(&file, name, 100).await);
    for value in [b"short".as_slice(), b"", &pattern(300), b"again"] {
        stage.tell(format!("set {}", value.len()), stage.set_xattr(&file, name, value).await);
        for room in [0, 1, 4, 5, 299, 300, 70_000] {
            stage.tell(format!("into {room}"), stage.get_xattr(&file, name, room).await);
        }
    }
    let long = format!("user.{}\0", "n".repeat(300));
    let long = CStr::from_bytes_with_nul(long.as_bytes()).unwrap();
    for name in [c"user.missing", c"user.", c"", c"nonsense", c"nonsense.x", long] {
        let what = &name.to_string_lossy()[..name.count_bytes().min(20)];
        stage.tell(format!("get {what}"), stage.get_xattr(&file, name, 100).await);
        stage.tell(format!("set {what}"), stage.set_xattr(&file, name, b"x").await);
    }
    stage.tell("too large", stage.set_xattr(&file, name, &pattern(65_537)).await);
    let path = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("get of a path", stage.get_xattr(&path, name, 100).await);
    stage.tell("set of a path", stage.set_xattr(&path, name, b"x").await);
    let read_only = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("set of read-only", stage.set_xattr(&read_only, name, b"allowed").await);
    stage.tell("get of read-only", stage.get_xattr(&read_only, name, 100).await);
    let device = stage.open("/dev/null", OFlags::RDWR).await.unwrap();
    stage.tell("get of a device", stage.get_xattr(&device, name, 100).await);
    stage.tell("set of a device", stage.set_xattr(&device, name, b"x").await);
}

async fn attribute_lists(stage: &Stage) {
    stage.file("file", b"");
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    stage.tell("none", stage.list_xattr(&file, 100).await);
    for name in [c"user.one", c"user.two"] {
        stage.tell("set", stage.set_xattr(&file, name, b"x").await);
    }
    for room in [0, 1, 17, 18, 19, 1000] {
        stage.tell(format!("two into {room}"), stage.list_xattr(&file, room).await);
    }
    for name in [c"user.one", c"user.one", c"user.none", c"", c"nonsense", c"nonsense.x"] {
        stage.tell(format!("remove {name:?}"), stage.remove_xattr(&file, name).await);
    }
    stage.tell("one", stage.list_xattr(&file, 1000).await);
    let path = stage.open("file", OFlags::PATH).await.unwrap();
    stage.tell("of a path", stage.list_xattr(&path, 100).await);
    stage.tell("remove of a path", stage.remove_xattr(&path, c"user.two").await);
    let device = stage.open("/dev/null", OFlags::RDWR).await.unwrap();
    stage.tell("remove of a device", stage.remove_xattr(&device, c"user.two").await);
}

async fn file_systems(stage: &Stage) {
    for name in [".", "/", "/proc", "/dev/null"] {
        let file = stage.open(name, OFlags::RDONLY).await.unwrap();
        stage.tell(name, stage.statfs(&file).await);
        let path = stage.open(name, OFlags::PATH).await.unwrap();
        stage.tell(format!("{name}, a path"), stage.statfs(&path).await);
    }
    let (reader, _writer) = io::pipe().unwrap();
    stage.tell("a pipe", stage.statfs(&File::from(OwnedFd::from(reader))).await);
}
