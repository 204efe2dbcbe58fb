//! Operations on somebody's behalf: what they may, what they may not, and that it ends with them.

#[path = "support/ways.rs"]
mod ways;

use std::env;
use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::thread;

use futures_util::future::join_all;
use ringway::fs::{
    Access, AtFlags, Dir, FallocateFlags, File, Mode, OFlags, OpenHow, RenameFlags, StatxFlags,
};
use ringway::pipe::pipe;
use ringway::{Identity, OpKind, Rung};
use rustix::fs::XattrFlags;
use ways::{Stage, become_for_good, errno};

on_each_way!(
    permission_is_the_users,
    what_is_made_belongs_to_the_user,
    groups_are_the_users_and_replace_the_processes,
    a_directory_hands_its_group_on,
    security_and_trusted_attributes_are_out_of_reach,
    access_is_asked_for_the_user,
    who_does_not_own_a_file_leaves_traces_in_it,
    names_are_made_moved_and_removed_by_the_user,
    who_acts_for_root_has_the_processes_capabilities,
    a_written_file_loses_its_setuid_bit,
    the_reserve_of_a_file_system_is_not_the_users,
    several_identities_in_one_batch_stay_apart,
    more_identities_than_a_ring_is_told_of_stay_apart,
    who_may_not_act_for_others_fails_and_runs_nothing,
    what_the_process_has_given_up_its_runtimes_have_lost,
);

const ALICE: u32 = 4001;
const BOB: u32 = 4002;
const STAFF: u32 = 4100;

fn user(uid: u32) -> Identity {
    member(uid, &[])
}

fn member(uid: u32, groups: &[u32]) -> Identity {
    Identity::new(uid, uid, groups).unwrap()
}

const READ: OpenHow = OpenHow::new(OFlags::RDONLY);
const READ_WRITE: OpenHow = OpenHow::new(OFlags::RDWR);

fn creating(mode: u32) -> OpenHow {
    OpenHow::new(OFlags::RDWR.union(OFlags::CREATE)).mode(Mode::from_raw_mode(mode))
}

async fn open(dir: &Dir, name: &str, how: OpenHow) -> i32 {
    errno(dir.open_at(name, &how).await)
}

fn permission_is_the_users(stage: &Stage) {
    stage.file("alices", ALICE, ALICE, 0o600);
    stage.file("roots", 0, 0, 0o600);
    let (alice, bob) = (stage.as_user(&user(ALICE)), stage.as_user(&user(BOB)));
    stage.rt.block_on(async {
        assert_eq!(open(&alice, "alices", READ).await, 0);
        assert_eq!(open(&bob, "alices", READ).await, libc::EACCES);
        assert_eq!(open(&alice, "roots", READ).await, libc::EACCES);
    });
    let metrics = stage.rt.metrics();
    let used = |rung| metrics.of(OpKind::OpenAt, rung).map_or(0, |op| op.count) > 0;
    let mut expected = stage.way.rung();
    if expected == Rung::Inline && !used(expected) {
        // Before Linux 5.12 no open says that it would wait, so none is tried inline.
        eprintln!("SKIPPED: this kernel has no opens out of its caches");
        expected = Rung::Pool;
    }
    for rung in [Rung::Inline, Rung::Ring, Rung::Pool] {
        assert_eq!(used(rung), rung == expected, "{metrics}");
    }
    // The server itself is not held to any of that.
    assert_eq!(stage.rt.block_on(open(&stage.dir, "alices", READ)), 0);
}

fn what_is_made_belongs_to_the_user(stage: &Stage) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    let umask = u32::from_str_radix(umask.trim(), 8).unwrap();
    let alice = stage.as_user(&Identity::new(ALICE, STAFF, &[]).unwrap());
    stage.rt.block_on(async {
        assert_eq!(open(&alice, "file", creating(0o666)).await, 0);
        alice.mkdir_at("dir", 0o777).await.unwrap();
    });
    for (name, mode) in [("file", 0o666), ("dir", 0o777)] {
        let made = fs::metadata(stage.path(name)).unwrap();
        assert_eq!((made.uid(), made.gid()), (ALICE, STAFF), "{name}");
        assert_eq!(made.mode() & 0o7777, mode & !umask, "{name}");
    }
}

fn groups_are_the_users_and_replace_the_processes(stage: &Stage) {
    stage.file("staffs", 0, STAFF, 0o640);
    stage.file("wheels", 0, 0, 0o640);
    let (member, other) = (member(ALICE, &[7, STAFF]), member(ALICE, &[7, STAFF + 1]));
    let (member, other) = (stage.as_user(&member), stage.as_user(&other));
    stage.rt.block_on(async {
        assert_eq!(open(&member, "staffs", READ).await, 0);
        assert_eq!(open(&member, "staffs", READ_WRITE).await, libc::EACCES);
        assert_eq!(open(&other, "staffs", READ).await, libc::EACCES);
        assert_eq!(open(&member, "wheels", READ).await, libc::EACCES);
    });
}

fn a_directory_hands_its_group_on(stage: &Stage) {
    stage.folder("shared", 0, STAFF, 0o2777);
    let alice = stage.as_user(&user(ALICE));
    stage.rt.block_on(async {
        assert_eq!(open(&alice, "shared/file", creating(0o2771)).await, 0);
        alice.mkdir_at("shared/dir", 0o755).await.unwrap();
    });
    let of = |name: &str| fs::metadata(stage.path(name)).unwrap();
    assert_eq!((of("shared/file").uid(), of("shared/file").gid()), (ALICE, STAFF));
    // To run as a group takes being in it, or CAP_FSETID: inode_init_owner(9), as chmod(2) has it.
    assert_eq!(of("shared/file").mode() & 0o2000, 0);
    assert_eq!((of("shared/dir").gid(), of("shared/dir").mode() & 0o2000), (STAFF, 0o2000));
}

fn security_and_trusted_attributes_are_out_of_reach(stage: &Stage) {
    stage.file("alices", ALICE, ALICE, 0o600);
    let alice = stage.as_user(&user(ALICE));
    stage.rt.block_on(async {
        let hers = alice.open_at("alices", &READ_WRITE).await.unwrap();
        let servers = hers.with_identity(None);
        hers.set_xattr(c"user.ringway", vec![1]).await.unwrap();
        for name in [c"security.ringway", c"trusted.ringway"] {
            let refused = errno(hers.set_xattr(name, vec![1]).await);
            let set = errno(servers.set_xattr(name, vec![2]).await);
            if set == libc::EOPNOTSUPP {
                eprintln!("NOT TESTED: {name:?} is unknown to this file system");
                continue;
            }
            let expected = set_as_alice(&hers, name);
            assert_eq!((refused, set), (expected, 0), "{name:?}");
            if expected == 0 {
                // Linux with a BPF security module, before 6.10, asks for no capability here.
                eprintln!("SKIPPED: this kernel lets anybody set {name:?}");
            }
        }
        // xattr(7): who lacks CAP_SYS_ADMIN does not even see trusted ones.
        let seen = hers.get_xattr(c"trusted.ringway", Vec::with_capacity(9)).await.0;
        assert_eq!(errno(seen), libc::ENODATA);
        let seen = servers.get_xattr(c"trusted.ringway", Vec::with_capacity(9)).await;
        assert_eq!((errno(seen.0), seen.1), (0, vec![2]));
    });
}

/// The same by a thread that is Alice and nobody else.
fn set_as_alice(file: &File, name: &CStr) -> i32 {
    thread::scope(|scope| {
        let set = || {
            become_for_good(ALICE, ALICE, &[]);
            rustix::fs::fsetxattr(file, name, &[1], XattrFlags::empty())
                .map_or_else(rustix::io::Errno::raw_os_error, |()| 0)
        };
        scope.spawn(set).join().unwrap()
    })
}

fn access_is_asked_for_the_user(stage: &Stage) {
    stage.file("roots", 0, 0, 0o604);
    let alice = stage.as_user(&user(ALICE));
    stage.rt.block_on(async {
        let file = alice.open_at("roots", &OpenHow::new(OFlags::PATH)).await.unwrap();
        file.access(Access::READ_OK).await.unwrap();
        assert_eq!(errno(file.access(Access::WRITE_OK).await), libc::EACCES);
        file.with_identity(None).access(Access::WRITE_OK).await.unwrap();
    });
}

fn who_does_not_own_a_file_leaves_traces_in_it(stage: &Stage) {
    stage.file("bobs", BOB, BOB, 0o644);
    let quietly = OpenHow::new(OFlags::RDONLY.union(OFlags::NOATIME));
    let (alice, bob) = (stage.as_user(&user(ALICE)), stage.as_user(&user(BOB)));
    stage.rt.block_on(async {
        assert_eq!(open(&alice, "bobs", quietly).await, libc::EPERM);
        assert_eq!(open(&bob, "bobs", quietly).await, 0);
    });
}

/// The ring gives all of these to kernel threads.
fn names_are_made_moved_and_removed_by_the_user(stage: &Stage) {
    stage.folder("alices", ALICE, ALICE, 0o700);
    let (alice, bob) = (stage.as_user(&user(ALICE)), stage.as_user(&user(BOB)));
    let all = async |dir: &Dir| {
        let none = RenameFlags::empty();
        [
            errno(dir.mkdir_at("alices/a", 0o755).await),
            errno(dir.statx_at("alices/a", AtFlags::empty(), StatxFlags::MODE).await),
            errno(dir.rename_at("alices/a", dir, "alices/b", none).await),
            errno(dir.unlink_at("alices/b", true).await),
        ]
    };
    stage.rt.block_on(async {
        assert_eq!(all(&bob).await, [libc::EACCES; 4]);
        assert_eq!(all(&alice).await, [0; 4]);
    });
}

fn who_acts_for_root_has_the_processes_capabilities(stage: &Stage) {
    stage.file("alices", ALICE, ALICE, 0o600);
    let root = stage.as_user(&Identity::new(0, STAFF, &[STAFF]).unwrap());
    stage.rt.block_on(async {
        let file = root.open_at("alices", &READ_WRITE).await.unwrap();
        file.set_xattr(c"security.ringway", vec![1]).await.unwrap();
        assert_eq!(open(&root, "new", creating(0o600)).await, 0);
    });
    let made = fs::metadata(stage.path("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, STAFF));
}

fn a_written_file_loses_its_setuid_bit(stage: &Stage) {
    const SETUID: u32 = 0o4777;
    async fn change(file: &File, how: usize) {
        match how {
            0 => assert_eq!(file.write_at(b"x".to_vec(), 3).await.0.unwrap(), 1),
            1 => assert_eq!(file.append(b"x".to_vec()).await.0.unwrap(), 1),
            2 => file.set_len(5).await.unwrap(),
            3 => {
                let (reader, writer) = pipe().unwrap();
                writer.write(b"x".to_vec()).await.0.unwrap();
                assert_eq!(file.splice_from(&reader, 3, 1).await.unwrap(), 1);
            }
            _ => file.allocate(FallocateFlags::empty(), 0, 20_000).await.unwrap(),
        }
    }
    let alice = stage.as_user(&user(ALICE));
    stage.rt.block_on(async {
        for how in 0..5 {
            for (whose, mode) in [(Some(user(ALICE)), SETUID & 0o777), (None, SETUID)] {
                stage.file("program", ALICE, ALICE, SETUID);
                let file = alice.open_at("program", &READ_WRITE).await.unwrap();
                assert_eq!(file.identity(), Some(user(ALICE)));
                change(&file.with_identity(whose.clone()), how).await;
                let after = fs::metadata(stage.path("program")).unwrap().mode() & 0o7777;
                assert_eq!(after, mode, "change {how} by {whose:?}");
            }
        }
    });
}

/// A file system of 16 MiB, half of it in reserve for root.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(image: &Path, at: &'a Path) -> Result<Self, String> {
        let run = |command: &mut Command| match command.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("{command:?}: {error}")),
        };
        fs::File::create(image).unwrap().set_len(16 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "50"]).arg(image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))?;
        Ok(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn the_reserve_of_a_file_system_is_not_the_users(stage: &Stage) {
    stage.folder("mnt", 0, 0, 0o755);
    let at = stage.path("mnt");
    let _mounted = match Mounted::new(&stage.path("image"), &at) {
        Ok(mounted) => mounted,
        Err(why) => return eprintln!("SKIPPED: no file system of its own: {why}"),
    };
    fs::set_permissions(&at, PermissionsExt::from_mode(0o777)).unwrap();
    let alice = Dir::open_ambient(&at).unwrap().with_identity(Some(user(ALICE)));
    stage.rt.block_on(async {
        let file = alice.open_at("file", &creating(0o600)).await.unwrap();
        let mut size = 0;
        let refused = loop {
            match file.write_at(vec![1; 1 << 16], size).await.0 {
                Ok(count) => size += count as u64,
                Err(error) => break error.raw_os_error(),
            }
            assert!(size < 12 << 20, "she got {size} bytes");
        };
        assert_eq!(refused, Some(libc::ENOSPC));
        let more = FallocateFlags::empty();
        assert_eq!(errno(file.allocate(more, size, 1 << 20).await), libc::ENOSPC);
        assert_eq!(errno(file.append(vec![1; 1 << 16]).await.0), libc::ENOSPC);
        // There is room, for others.
        let servers = file.with_identity(None);
        assert_eq!(servers.write_at(vec![1; 1 << 16], size).await.0.unwrap(), 1 << 16);
        servers.allocate(more, size, 1 << 20).await.unwrap();
    });
}

fn several_identities_in_one_batch_stay_apart(stage: &Stage) {
    stage.file("alices", ALICE, ALICE, 0o600);
    stage.file("bobs", BOB, BOB, 0o600);
    stage.file("roots", 0, 0, 0o600);
    let dirs = [stage.as_user(&user(ALICE)), stage.as_user(&user(BOB)), stage.dir.clone()];
    let names = ["alices", "bobs", "roots"];
    let each = |i: usize| {
        let (who, whose) = (i % 3, i / 3 % 3);
        let dir = dirs[who].clone();
        async move {
            let expected = if who == whose || who == 2 { 0 } else { libc::EACCES };
            assert_eq!(open(&dir, names[whose], READ).await, expected, "{who} {whose}");
            // And by way of a name that is looked up, which no thread does inline.
            let made = format!("{i}");
            dir.mkdir_at(&made, 0o700).await.unwrap();
            made
        }
    };
    let made = stage.rt.block_on(join_all((0..500).map(each)));
    for (i, name) in made.iter().enumerate() {
        assert_eq!(fs::metadata(stage.path(name)).unwrap().uid(), [ALICE, BOB, 0][i % 3]);
    }
}

/// A ring is told of 1,024 at a time; these are all under way at once. Each is in the groups that the
/// bits of its number name, and no two in the same ones.
fn more_identities_than_a_ring_is_told_of_stay_apart(stage: &Stage) {
    const USERS: u32 = 2000;
    const BITS: u32 = 11;
    for bit in 0..BITS {
        stage.file(&bit.to_string(), 0, STAFF + bit, 0o640);
    }
    let each = |i: u32| {
        let is_set = move |bit: &u32| i >> bit & 1 == 1;
        let groups: Vec<u32> = (0..BITS).filter(is_set).map(|bit| STAFF + bit).collect();
        let dir = stage.as_user(&member(ALICE, &groups));
        async move {
            for bit in [i % BITS, i / BITS % BITS] {
                let expected = if is_set(&bit) { 0 } else { libc::EACCES };
                assert_eq!(open(&dir, &bit.to_string(), READ).await, expected, "{i}: {bit}");
            }
        }
    };
    for _ in 0..2 {
        stage.rt.block_on(join_all((0..USERS).map(each)));
    }
}

fn who_may_not_act_for_others_fails_and_runs_nothing(stage: &Stage) {
    let (way, dir) = (stage.way, stage.dir.clone());
    // The threads of its pool are its children.
    let thread = thread::spawn(move || {
        become_for_good(BOB, BOB, &[]);
        let rt = way.runtime().unwrap();
        rt.block_on(async {
            let alice = dir.with_identity(Some(user(ALICE)));
            assert_eq!(errno(alice.mkdir_at("hers", 0o755).await), libc::EPERM);
            assert_eq!(open(&alice, ".", READ).await, libc::EPERM);
            let root = dir.with_identity(Some(user(0)));
            assert_eq!(errno(root.mkdir_at("roots", 0o755).await), libc::EPERM);
            // Who is there already needs no right to become it.
            let bob = dir.with_identity(Some(user(BOB)));
            bob.mkdir_at("his", 0o755).await.unwrap();
        });
    });
    thread.join().unwrap();
    let made: Vec<_> = fs::read_dir(stage.scratch.path()).unwrap().collect();
    assert_eq!(made.len(), 1, "{made:?}");
}

/// What the ring was told of while the process was privileged must not outlive that.
fn what_the_process_has_given_up_its_runtimes_have_lost(stage: &Stage) {
    const MARK: &str = "RINGWAY_TEST_GIVES_UP";
    if env::var_os(MARK).is_none() {
        let name = "what_the_process_has_given_up_its_runtimes_have_lost";
        let test = format!("{}::{name}", stage.way.module());
        let mut child = Command::new(env::current_exe().unwrap());
        let child = child.args(["--exact", &test, "--nocapture"]).env(MARK, "1");
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("ALICE IS GONE"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    stage.folder("alices", ALICE, ALICE, 0o700);
    let (alice, bob) = (stage.as_user(&user(ALICE)), stage.as_user(&user(BOB)));
    stage.rt.block_on(async {
        alice.mkdir_at("alices/before", 0o755).await.unwrap();
        bob.mkdir_at("before", 0o755).await.unwrap();
        give_up_everything();
        assert_eq!(errno(alice.mkdir_at("alices/after", 0o755).await), libc::EPERM);
        assert_eq!(open(&alice, "alices", READ).await, libc::EPERM);
        assert_eq!(errno(stage.dir.mkdir_at("alices/after", 0o755).await), libc::EACCES);
        bob.mkdir_at("after", 0o755).await.unwrap();
    });
    assert!(!stage.path("alices/after").exists());
    println!("ALICE IS GONE");
    // Neither can it clean up, nor does it have the identity that it began with.
    std::process::exit(0);
}

/// Makes the whole process Bob's.
#[allow(unsafe_code, reason = "the C library's calls, which change all threads")]
fn give_up_everything() {
    // SAFETY: they take numbers; no groups are named.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(BOB, BOB, BOB), 0);
        assert_eq!(libc::setresuid(BOB, BOB, BOB), 0);
    }
}
