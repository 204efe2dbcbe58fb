//! What is done by names: opening, making, removing, renaming, reading links and directories; and closing.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};

use ringway::OpKind;
use ringway::fs::{AtFlags, Dir, File, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::fs::{CWD, fcntl_getfl, mknodat};
use rustix::io::fcntl_getfd;

use crate::case::{Bytes, Case, Stage};

pub(crate) static CASES: [Case; 10] = [
    Case::new("open", &[OpKind::OpenAt], |stage| Box::pin(opens(stage))),
    Case::new("resolve", &[OpKind::OpenAt], |stage| Box::pin(resolves(stage))),
    Case::new("close", &[OpKind::Close], |stage| Box::pin(closes(stage))),
    Case::new("mkdir", &[OpKind::MkdirAt], |stage| Box::pin(makes(stage))),
    Case::new("unlink", &[OpKind::UnlinkAt], |stage| Box::pin(unlinks(stage))),
    Case::new("rename", &[OpKind::RenameAt], |stage| Box::pin(renames(stage))),
    Case::new("link", &[OpKind::LinkAt], |stage| Box::pin(links(stage))),
    Case::new("symlink", &[OpKind::SymlinkAt], |stage| Box::pin(symlinks(stage))),
    Case::new("readlink", &[OpKind::ReadlinkAt], |stage| Box::pin(readlinks(stage))),
    Case::new("getdents", &[OpKind::Getdents], |stage| Box::pin(lists(stage))),
];

/// A tree with something of each kind.
fn furnish(stage: &Stage) {
    stage.file("file", b"0123456789");
    fs::create_dir_all(stage.path("dir/inner")).unwrap();
    stage.file("dir/file", b"");
    symlink("file", stage.path("link")).unwrap();
    symlink("dir", stage.path("dir_link")).unwrap();
    symlink("nowhere", stage.path("dangling")).unwrap();
    symlink("loop", stage.path("loop")).unwrap();
    symlink("../..", stage.path("dir/out")).unwrap();
    symlink("/dev", stage.path("absolute")).unwrap();
    mknodat(CWD, stage.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    std::os::unix::net::UnixListener::bind(stage.path("socket")).unwrap();
}

/// Names of every kind of thing, and of nothing.
const NAMES: [&str; 18] = [
    "file",
    "dir",
    "dir/",
    "file/",
    "file/x",
    "dir/inner",
    "dir/missing",
    "link",
    "dir_link/file",
    "dangling",
    "loop",
    "missing",
    "missing/x",
    "",
    ".",
    "..",
    "socket",
    "/dev/null",
];

/// What is to be seen of an open file.
fn seen(file: File) -> io::Result<(u32, bool, String)> {
    let at = rustix::fs::fstat(&file)?;
    Ok((at.st_mode, !fcntl_getfd(&file)?.is_empty(), format!("{:?}", fcntl_getfl(&file)?)))
}

async fn opens(stage: &Stage) {
    furnish(stage);
    let sets = [
        OFlags::RDONLY,
        OFlags::WRONLY,
        OFlags::RDWR,
        OFlags::PATH,
        OFlags::RDONLY | OFlags::NONBLOCK,
        OFlags::RDONLY | OFlags::DIRECTORY,
        OFlags::RDONLY | OFlags::NOFOLLOW,
        OFlags::PATH | OFlags::NOFOLLOW,
        OFlags::WRONLY | OFlags::APPEND,
        OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        OFlags::RDONLY | OFlags::CREATE | OFlags::DIRECTORY,
        OFlags::WRONLY | OFlags::RDWR,
    ];
    for flags in sets {
        // Of two errors the ring sees the empty name first, the system call the flags.
        let both_wrong = OFlags::CREATE | OFlags::DIRECTORY;
        for name in NAMES.into_iter().filter(|name| !name.is_empty() || !flags.contains(both_wrong))
        {
            let opened = stage.open(name, flags).await.and_then(seen);
            stage.tell(format!("{name:?} {flags:?}"), opened);
        }
    }
    for name in ["link", "new", "dir/new", "dangling", "loop", "file/x", "."] {
        let opened = stage.open(name, OFlags::RDWR | OFlags::CREATE).await.and_then(seen);
        stage.tell(format!("make {name:?}"), opened);
    }
    let cut = stage.open("file", OFlags::WRONLY | OFlags::TRUNC).await.and_then(seen);
    stage.tell("cut", cut);
    stage.tell("then", fs::read(stage.path("file")).map(Bytes));
    let hidden = stage.open("dir", OFlags::TMPFILE | OFlags::RDWR).await.and_then(seen);
    stage.tell("a file without a name", hidden);
    stage.tell(
        "the same of no directory",
        stage.open("file", OFlags::TMPFILE | OFlags::RDWR).await.map(drop),
    );
    let flags = OFlags::NONBLOCK | OFlags::RDONLY;
    stage.tell("a FIFO to read", stage.open("fifo", flags).await.and_then(seen));
    let flags = OFlags::NONBLOCK | OFlags::WRONLY;
    stage.tell("a FIFO without a reader", stage.open("fifo", flags).await.map(drop));
    let _reader = stage.open("fifo", OFlags::NONBLOCK | OFlags::RDONLY).await.unwrap();
    stage.tell("a FIFO with one", stage.open("fifo", flags).await.and_then(seen));
    stage.tell("too long", stage.open("n".repeat(256), OFlags::RDONLY).await.map(drop));
    stage.tell("too far", stage.open("d/".repeat(2100), OFlags::RDONLY).await.map(drop));
    let file = stage.open("file", OFlags::PATH).await.unwrap();
    let none = ResolveFlags::empty();
    let below = stage.open_with(&Dir::from_file(file), "x", OFlags::RDONLY, none).await;
    stage.tell("below a file", below.map(drop));
}

async fn resolves(stage: &Stage) {
    furnish(stage);
    let dir = stage.open("dir", OFlags::RDONLY).await.map(Dir::from_file).unwrap();
    let names = [
        "file",
        "inner",
        "missing",
        "..",
        "../file",
        "inner/../file",
        "out",
        "out/file",
        "/",
        "/dev/null",
    ];
    let sets = [
        ResolveFlags::empty(),
        ResolveFlags::BENEATH,
        ResolveFlags::IN_ROOT,
        ResolveFlags::NO_SYMLINKS,
        ResolveFlags::NO_MAGICLINKS,
        ResolveFlags::NO_XDEV,
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        ResolveFlags::BENEATH | ResolveFlags::IN_ROOT,
        ResolveFlags::from_bits_retain(1 << 40),
    ];
    for resolve in sets {
        for name in names {
            let opened = stage.open_with(&dir, name, OFlags::PATH, resolve).await;
            stage.tell(format!("{name:?} {resolve:?}"), opened.and_then(seen));
        }
    }
    let whole = &stage.dir;
    for name in ["absolute/null", "/proc/self/fd/0", "/proc/version", "link", "dir_link/file"] {
        for resolve in [ResolveFlags::NO_XDEV, ResolveFlags::NO_MAGICLINKS, ResolveFlags::BENEATH] {
            let opened = stage.open_with(whole, name, OFlags::PATH, resolve).await;
            stage.tell(format!("{name:?} {resolve:?}"), opened.and_then(seen));
        }
    }
    let create = OFlags::CREATE | OFlags::WRONLY;
    let made = stage.open_with(&dir, "../escaped", create, ResolveFlags::BENEATH).await;
    stage.tell("made outside", made.map(drop));
    stage.tell("then", fs::metadata(stage.path("escaped")).map(drop));
    let made = stage.open_with(&dir, "new", create, ResolveFlags::BENEATH).await;
    stage.tell("made inside", made.map(drop));
}

async fn closes(stage: &Stage) {
    stage.file("file", b"");
    for name in ["file", ".", "/dev/null"] {
        let file = stage.open(name, OFlags::RDONLY).await.unwrap();
        stage.tell(name, stage.close(file).await);
    }
    // That it was closed shows at the other end.
    let (mut reader, writer) = io::pipe().unwrap();
    stage.tell("a pipe", stage.close(File::from(OwnedFd::from(writer))).await);
    stage.tell("its end", reader.read(&mut [0; 4]));
    let (mut reader, writer) = io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    let other = writer.clone();
    stage.tell("one of two handles", stage.close(writer).await);
    rustix::io::write(&other, b"still").unwrap();
    stage.tell("its end", reader.read(&mut [0; 9]));
}

async fn makes(stage: &Stage) {
    furnish(stage);
    for (name, mode) in [("new", 0o755), ("new", 0o755), ("private", 0o700), ("sticky", 0o1777)] {
        stage.tell(format!("{name} {mode:o}"), stage.mkdir(name, mode).await);
        let mode = rustix::fs::stat(stage.path(name)).map(|at| at.st_mode);
        stage.tell("then", mode.map_err(Into::into));
    }
    for name in NAMES {
        stage.tell(format!("{name:?}"), stage.mkdir(name, 0o755).await);
    }
    stage.tell("with a slash", stage.mkdir("slash/", 0o755).await);
    stage.tell("too long", stage.mkdir("n".repeat(256), 0o755).await);
    stage.tell("where nobody may", stage.mkdir("/proc/new", 0o755).await);
}

async fn unlinks(stage: &Stage) {
    furnish(stage);
    for name in ["dangling", "loop", "link", "dir_link"] {
        stage.tell(format!("rmdir of {name}"), stage.unlink(name, true).await);
        stage.tell(format!("unlink of {name}"), stage.unlink(name, false).await);
        stage.tell(format!("{name} again"), stage.unlink(name, false).await);
    }
    for name in
        ["file/", "file/x", "dir", "dir/inner/", "", ".", "..", "missing", "fifo", "/proc/version"]
    {
        stage.tell(format!("unlink of {name:?}"), stage.unlink(name, false).await);
    }
    for name in
        ["file", "file/", "dir", "", ".", "..", "dir/inner/..", "missing", "dir/inner/", "/"]
    {
        stage.tell(format!("rmdir of {name:?}"), stage.unlink(name, true).await);
    }
    stage.tell("of an open file", {
        let _open = stage.open("file", OFlags::RDONLY).await.unwrap();
        stage.unlink("file", false).await
    });
    stage.tell("what is left", left(stage));
}

/// The names in the stage's directory and below.
fn left(stage: &Stage) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for dir in ["", "dir"] {
        let Ok(entries) = fs::read_dir(stage.path(dir)) else { continue };
        for entry in entries {
            names.push(format!("{dir}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    names.sort();
    Ok(names)
}

async fn renames(stage: &Stage) {
    furnish(stage);
    stage.file("other", b"other");
    fs::create_dir(stage.path("empty")).unwrap();
    let (plain, keep) = (RenameFlags::empty(), RenameFlags::NOREPLACE);
    let swap = RenameFlags::EXCHANGE;
    for (from, to, flags) in [
        ("file", "other", keep),
        ("file", "fresh", keep),
        ("fresh", "file", plain),
        ("file", "other", plain),
        ("file", "other", plain),
        ("other", "other", plain),
        ("other", "link", swap),
        ("other", "missing", swap),
        ("other", "dir", plain),
        ("dir", "other", plain),
        ("dir", "empty", swap),
        ("dir", "empty", plain),
        ("empty", "dir", plain),
        ("dir", "dir/inner", plain),
        ("missing", "x", plain),
        ("missing/x", "x", plain),
        ("link/x", "x", plain),
        ("link", "x/y", plain),
        (".", "x", plain),
        ("..", "x", plain),
        ("link", ".", plain),
        ("", "x", plain),
        ("link", "", plain),
        ("link", "/proc/x", plain),
        ("loop/x", "x", plain),
        ("loop", "unlooped", plain),
        ("link", "dir/link", plain),
        ("link", "x/", plain),
        ("link", "x", keep | swap),
        ("link", "x", RenameFlags::from_bits_retain(1 << 20)),
    ] {
        let what = format!("{from:?} to {to:?} {flags:?}");
        stage.tell(what, stage.rename(from, to, flags).await);
    }
    stage.tell("too long", stage.rename("fifo", "n".repeat(256), plain).await);
    stage.tell("what is left", left(stage));
}

async fn links(stage: &Stage) {
    furnish(stage);
    let (none, follow) = (AtFlags::empty(), AtFlags::SYMLINK_FOLLOW);
    for (from, to, flags) in [
        ("file", "second", none),
        ("file", "second", none),
        ("link", "of_link", none),
        ("link", "of_target", follow),
        ("dangling", "of_dangling", none),
        ("dangling", "of_nowhere", follow),
        ("loop", "of_loop", follow),
        ("dir", "of_dir", none),
        ("missing", "x", none),
        ("file", "missing/x", none),
        ("file", "file/x", none),
        ("file/", "x", none),
        ("file", "x/", none),
        ("", "x", none),
        ("file", "", none),
        ("file", "/proc/x", none),
        ("file", "x", AtFlags::REMOVEDIR),
    ] {
        let what = format!("{from:?} to {to:?} {flags:?}");
        stage.tell(what, stage.link(from, to, flags).await);
    }
    stage.tell("how many", fs::metadata(stage.path("file")).map(|at| at.nlink()));
    stage.tell("what is there", left(stage));
}

async fn symlinks(stage: &Stage) {
    furnish(stage);
    for (target, name) in [
        ("file", "fresh"),
        ("file", "fresh"),
        ("anything at all", "odd"),
        ("", "empty"),
        ("file", ""),
        ("file", "dir/inner/deep"),
        ("file", "missing/x"),
        ("file", "file/x"),
        ("file", "slash/"),
        ("file", "loop"),
        ("file", "."),
        ("file", "/proc/x"),
    ] {
        stage.tell(format!("{name:?} to {target:?}"), stage.symlink(target, name).await);
        stage.tell("then", fs::read_link(stage.path(name)));
    }
    stage.tell("too long", stage.symlink("t".repeat(4096), "long").await);
    stage.tell("what is there", left(stage));
}

async fn readlinks(stage: &Stage) {
    furnish(stage);
    let long = "t".repeat(4095);
    // Not every file system takes one as long.
    let made = symlink(&long, stage.path("long")).is_ok();
    for name in NAMES.iter().copied().chain(["absolute", "dir/out", "dir_link", "dir_link/"]) {
        stage.tell(format!("{name:?}"), stage.readlink(name).await);
    }
    if made {
        stage.tell("a long one", stage.readlink("long").await.map(Bytes));
    }
}

async fn lists(stage: &Stage) {
    let empty = stage.open(".", OFlags::RDONLY).await.unwrap();
    stage.tell("empty", stage.read_dir(&empty, 4096).await);
    furnish(stage);
    let dir = stage.open(".", OFlags::RDONLY | OFlags::DIRECTORY).await.unwrap();
    stage.tell("full", stage.read_dir(&dir, 32_768).await);
    stage.tell("at the end", stage.read_dir(&dir, 32_768).await);
    dir.rewind().unwrap();
    stage.tell("again", stage.read_dir(&dir, 32_768).await);
    dir.rewind().unwrap();
    for room in [0, 1, 16, 24] {
        stage.tell(format!("into {room}"), stage.read_dir(&dir, room).await);
    }
    for number in 0..100 {
        stage.file(&format!("dir/{number}"), b"");
    }
    let many = stage.open("dir", OFlags::RDONLY).await.unwrap();
    let mut names = Vec::new();
    let ended = loop {
        match stage.read_dir(&many, 600).await {
            Ok(Some(some)) => names.extend(some),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    names.sort();
    stage.tell("many", ended.map(|()| names));
    let file = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("a file", stage.read_dir(&file, 4096).await);
    let path = stage.open("dir", OFlags::PATH).await.unwrap();
    stage.tell("a path", stage.read_dir(&path, 4096).await);
    let gone = stage.open("dir/inner", OFlags::RDONLY).await.unwrap();
    fs::remove_dir(stage.path("dir/inner")).unwrap();
    stage.tell("removed", stage.read_dir(&gone, 4096).await);
}
