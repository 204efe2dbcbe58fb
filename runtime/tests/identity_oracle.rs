//! Random operations for random users, against the kernel's own word: two trees that are alike, one
//! changed through a runtime by identities, the other by threads that have become those users for good.

#[path = "support/ways.rs"]
mod ways;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::thread;

use ringway::Identity;
use ringway::fs::{
    Access, AtFlags, Dir, FallocateFlags, Mode, OFlags, OpenHow, RenameFlags, SetTime, StatxFlags,
};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use ways::{Stage, become_for_good};

on_each_way!(every_answer_is_what_the_user_would_get);

/// How many operations each way is compared in; enough to reach each kind for each user many times.
const ROUNDS: usize = 600;
const SEED: u64 = 0x1d_e471;
const USERS: [u32; 4] = [0, 5001, 5002, 5003];
const GROUPS: [u32; 3] = [5100, 5101, 5102];
const NAMES: [&str; 12] = [
    "a", "b", "c", "link", "open", "open/x", "open/y", "sgid", "sgid/x", "sticky/x", "own/x", "own",
];
const ATTRIBUTES: [&str; 3] = ["user.ringway", "security.ringway", "trusted.ringway"];
const FLAGS: [OFlags; 9] = [
    OFlags::RDONLY,
    OFlags::WRONLY,
    OFlags::RDWR,
    OFlags::PATH,
    OFlags::RDONLY.union(OFlags::NOATIME),
    OFlags::RDONLY.union(OFlags::DIRECTORY),
    OFlags::WRONLY.union(OFlags::TRUNC),
    OFlags::WRONLY.union(OFlags::CREATE),
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL),
];

/// xorshift64: the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn mode(&mut self) -> u32 {
        let set = if self.below(3) == 0 { self.below(8) << 9 } else { 0 };
        (self.below(0o1000) | set) as u32
    }

    fn user(&mut self) -> Identity {
        let (uid, gid) = (self.of(&USERS), self.of(&GROUPS));
        let groups: Vec<u32> = GROUPS.into_iter().filter(|_| self.below(2) == 0).collect();
        Identity::new(uid, gid, &groups).unwrap()
    }

    fn act(&mut self) -> Act {
        let (name, mode) = (self.of(&NAMES), self.mode());
        let flags = OFlags::NOFOLLOW | self.of(&FLAGS);
        let then = match self.below(11) {
            0 | 1 => Then::Nothing,
            2 => Then::Write,
            3 => Then::Append,
            4 => Then::Truncate,
            5 => Then::Allocate,
            6 => Then::Chmod(mode),
            7 => Then::Touch,
            8 => Then::SetXattr(self.of(&ATTRIBUTES)),
            9 => Then::GetXattr(self.of(&ATTRIBUTES)),
            _ => Then::Access(Access::from_bits_retain(self.below(8) as u32)),
        };
        match self.below(12) {
            0 => Act::Mkdir(name, mode & 0o777),
            1 => Act::Unlink(name, self.below(3) == 0),
            2 => Act::Rename(name, self.of(&NAMES)),
            3 => Act::Stat(name),
            4 => Act::Readlink(name),
            _ => Act::Open(name, flags, mode, then),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Open(&'static str, OFlags, u32, Then),
    Mkdir(&'static str, u32),
    Unlink(&'static str, bool),
    Rename(&'static str, &'static str),
    Stat(&'static str),
    Readlink(&'static str),
}

/// What is done with what was opened.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Write,
    Append,
    Truncate,
    Allocate,
    Chmod(u32),
    Touch,
    SetXattr(&'static str),
    GetXattr(&'static str),
    Access(Access),
}

/// Through the runtime, for the directory's identity.
async fn by_runtime(dir: &Dir, act: Act) -> io::Result<u64> {
    match act {
        Act::Mkdir(name, mode) => dir.mkdir_at(name, mode).await.map(|()| 0),
        Act::Unlink(name, is_dir) => dir.unlink_at(name, is_dir).await.map(|()| 0),
        Act::Rename(from, to) => {
            dir.rename_at(from, dir, to, RenameFlags::empty()).await.map(|()| 0)
        }
        Act::Stat(name) => {
            let stat = dir.statx_at(name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MODE).await?;
            Ok(stat.stx_mode.into())
        }
        Act::Readlink(name) => Ok(dir.readlink_at(name).await?.as_os_str().len() as u64),
        Act::Open(name, flags, mode, then) => {
            let how = OpenHow::new(flags).mode(Mode::from_raw_mode(mode));
            let file = dir.open_at(name, &how).await?;
            let name = |name: &str| std::ffi::CString::new(name).unwrap();
            match then {
                Then::Nothing => Ok(0),
                Then::Write => file.write_at(vec![7; 10], 5).await.0.map(|n| n as u64),
                Then::Append => file.append(vec![7; 10]).await.0.map(|n| n as u64),
                Then::Truncate => file.set_len(3).await.map(|()| 0),
                Then::Allocate => {
                    file.allocate(FallocateFlags::KEEP_SIZE, 0, 9000).await.map(|()| 0)
                }
                Then::Chmod(mode) => file.chmod(mode).await.map(|()| 0),
                Then::Touch => file.set_times(SetTime::Now, SetTime::Now).await.map(|()| 0),
                Then::SetXattr(key) => file.set_xattr(&name(key), vec![1]).await.map(|()| 0),
                Then::GetXattr(key) => {
                    file.get_xattr(&name(key), Vec::with_capacity(64)).await.0.map(|n| n as u64)
                }
                Then::Access(mode) => file.access(mode).await.map(|()| 0),
            }
        }
    }
}

/// By plain system calls of the calling thread.
fn by_kernel(dir: &fs::File, act: Act) -> rustix::io::Result<u64> {
    use rustix::fs as sys;
    match act {
        Act::Mkdir(name, mode) => sys::mkdirat(dir, name, Mode::from_raw_mode(mode)).map(|()| 0),
        Act::Unlink(name, is_dir) => {
            let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            sys::unlinkat(dir, name, flags).map(|()| 0)
        }
        Act::Rename(from, to) => sys::renameat(dir, from, dir, to).map(|()| 0),
        Act::Stat(name) => {
            let stat = sys::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MODE)?;
            Ok(stat.stx_mode.into())
        }
        Act::Readlink(name) => Ok(sys::readlinkat(dir, name, [])?.as_bytes().len() as u64),
        Act::Open(name, flags, mode, then) => {
            let creates = flags.contains(OFlags::CREATE);
            let mode = if creates { Mode::from_raw_mode(mode) } else { Mode::empty() };
            let none = sys::ResolveFlags::empty();
            let file = sys::openat2(dir, name, flags | OFlags::CLOEXEC, mode, none)?;
            let (now, mut value) = (sys::UTIME_NOW, [0; 64]);
            let now = sys::Timespec { tv_sec: 0, tv_nsec: now };
            match then {
                Then::Nothing => Ok(0),
                Then::Write => rustix::io::pwrite(&file, &[7; 10], 5).map(|n| n as u64),
                Then::Append => {
                    let part = [io::IoSlice::new(&[7; 10])];
                    let append = rustix::io::ReadWriteFlags::APPEND;
                    rustix::io::pwritev2(&file, &part, 0, append).map(|n| n as u64)
                }
                Then::Truncate => sys::ftruncate(&file, 3).map(|()| 0),
                Then::Allocate => {
                    sys::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 9000).map(|()| 0)
                }
                Then::Chmod(mode) => sys::fchmod(&file, Mode::from_raw_mode(mode)).map(|()| 0),
                Then::Touch => {
                    let times = sys::Timestamps { last_access: now, last_modification: now };
                    sys::futimens(&file, &times).map(|()| 0)
                }
                Then::SetXattr(key) => {
                    sys::fsetxattr(&file, key, &[1], XattrFlags::empty()).map(|()| 0)
                }
                Then::GetXattr(key) => sys::fgetxattr(&file, key, &mut value[..]).map(|n| n as u64),
                Then::Access(mode) => {
                    // Real ids are effective ids here, so it is the same question.
                    let flags = AtFlags::EMPTY_PATH | AtFlags::EACCESS;
                    raw_access(&file, mode, flags)
                }
            }
        }
    }
}

/// `faccessat2`: the C library would rather imitate it.
#[allow(unsafe_code, reason = "a system call without a wrapper")]
fn raw_access(
    file: &impl std::os::fd::AsRawFd,
    mode: Access,
    flags: AtFlags,
) -> rustix::io::Result<u64> {
    let (fd, name) = (file.as_raw_fd(), c"".as_ptr());
    // SAFETY: the name is static; the others are numbers.
    let result =
        unsafe { libc::syscall(libc::SYS_faccessat2, fd, name, mode.bits(), flags.bits()) };
    if result == 0 {
        Ok(0)
    } else {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap())
    }
}

/// The same for every seed, but for where it is.
fn plant(at: &Path, random: &mut Random) {
    for (name, mode) in [("open", 0o777), ("sgid", 0o2777), ("sticky", 0o1777), ("own", 0o755)] {
        fs::create_dir(at.join(name)).unwrap();
        belongs(&at.join(name), random, mode);
    }
    for name in ["a", "b", "c", "open/x", "sgid/x", "sticky/x", "own/x"] {
        fs::write(at.join(name), b"0123456789").unwrap();
        let mode = random.mode() | 0o400;
        belongs(&at.join(name), random, mode);
    }
    symlink("a", at.join("link")).unwrap();
    fs::set_permissions(at, PermissionsExt::from_mode(0o777)).unwrap();
}

fn belongs(path: &Path, random: &mut Random, mode: u32) {
    chown(path, Some(random.of(&USERS)), Some(random.of(&GROUPS))).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// All that permissions decide about: by name, type and mode, owner, group, contents, attributes.
fn harvest(at: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![at.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = meta.is_file().then(|| fs::read(&path).unwrap());
            let has = |name: &&str| rustix::fs::lgetxattr(&path, *name, &mut [0_u8; 64]).is_ok();
            let attributes: Vec<_> = ATTRIBUTES.iter().filter(|name| has(name)).collect();
            let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
            let name = path.strip_prefix(at).unwrap().display().to_string();
            found.insert(name, format!("{mode:o} {uid} {gid} {content:?} {attributes:?}"));
            if meta.is_dir() {
                left.push(path);
            }
        }
    }
    found
}

fn every_answer_is_what_the_user_would_get(stage: &Stage) {
    for tree in ["ours", "kernels"] {
        fs::create_dir(stage.path(tree)).unwrap();
        plant(&stage.path(tree), &mut Random(SEED));
    }
    let ours = Dir::open_ambient(stage.path("ours")).unwrap();
    let kernels = fs::File::open(stage.path("kernels")).unwrap();
    let mut random = Random(SEED);
    let mut granted = 0;
    for round in 0..ROUNDS {
        let (user, act) = (random.user(), random.act());
        let as_user = ours.with_identity(Some(user.clone()));
        let answer = stage.rt.block_on(by_runtime(&as_user, act));
        let answer = answer.map_err(|error| Errno::from_io_error(&error).unwrap());
        let expected = thread::scope(|scope| {
            let become_and_act = || {
                become_for_good(user.uid(), user.gid(), user.groups());
                by_kernel(&kernels, act)
            };
            scope.spawn(become_and_act).join().unwrap()
        });
        assert_eq!(answer, expected, "round {round}: {act:?} for {user:?}");
        granted += usize::from(answer.is_ok());
    }
    assert_eq!(harvest(&stage.path("ours")), harvest(&stage.path("kernels")));
    // Neither all nor nothing: the comparison says something.
    assert!((ROUNDS / 10..ROUNDS * 9 / 10).contains(&granted), "{granted} of {ROUNDS} granted");
}
