//! What is about files: times, modes, extended attributes, room; and what the client says of itself.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use libtest_mimic::Trial;
use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr, statvfs};

use crate::mounted::{Place, When, fails, forget, mounted, same};
use crate::support::{Outcome, ensure};

/// The room for what the client has to list.
const ROOM: usize = 65_536;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        mounted("times are kept to 100 ns", "", times),
        mounted("times move with what is done", "actimeo=0", times_move),
        mounted("a mode makes a file read-only", "noperm", read_only_by_mode),
        mounted("modes are kept as a SID", "modefromsid,noperm", modes),
        mounted("modes are kept as a descriptor", "cifsacl,noperm", modes),
        mounted("the mode of what is made is kept as a SID", "modefromsid,noperm", mode_of_new),
        mounted("extended attributes are kept", "", attributes),
        mounted("an inode is the file's, on each mount", "", inodes),
        mounted("room is told as the file system has it", "", room),
        mounted("the client's account of itself has the session", "", account),
    ]
}

fn nanoseconds(seconds: u64, nanoseconds: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
}

fn times(place: &Place, at: &Path) -> Outcome {
    // The client shows no file as last read before it was last written.
    let accessed = nanoseconds(6_000_000_000, 123_456_700);
    // One of them beyond 2038, which others take for the end of time.
    for modified in [
        nanoseconds(1_234_567_890, 987_654_300),
        nanoseconds(5_000_000_000, 100),
        nanoseconds(86_400, 0),
    ] {
        let file = File::create(at.join("file"))?;
        let times = FileTimes::new().set_accessed(accessed).set_modified(modified);
        file.set_times(times).when("setting times")?;
        drop(file);
        forget()?;
        let is = at.join("file").metadata()?;
        same("modified", is.modified()?, modified)?;
        same("accessed", is.accessed()?, accessed)?;
        same("at the server", place.folder.join("file").metadata()?.modified()?, modified)?;
    }
    let file = File::create(at.join("file"))?;
    file.set_modified(nanoseconds(1_000_000, 155)).when("setting 155 ns")?;
    drop(file);
    forget()?;
    same("in steps", at.join("file").metadata()?.mtime_nsec(), 100)
}

fn times_move(place: &Place, at: &Path) -> Outcome {
    fs::write(at.join("file"), "content")?;
    let old = nanoseconds(1_000_000_000, 0);
    File::options().write(true).open(at.join("file"))?.set_modified(old)?;
    same("set", at.join("file").metadata()?.modified()?, old)?;
    fs::write(at.join("file"), "changed")?;
    let modified = at.join("file").metadata()?.modified()?;
    ensure(modified > old, || "a write has not moved it".into())?;
    let stored = place.folder.join("file").metadata()?;
    same("seconds at the server", stored.mtime(), at.join("file").metadata()?.mtime())?;
    let folder = at.metadata()?.modified()?;
    std::thread::sleep(Duration::from_millis(20));
    File::create(at.join("new"))?;
    ensure(at.metadata()?.modified()? > folder, || {
        "a new name has not moved the directory's".into()
    })
}

fn read_only_by_mode(place: &Place, at: &Path) -> Outcome {
    let path = at.join("file");
    fs::write(&path, "content")?;
    fs::set_permissions(&path, PermissionsExt::from_mode(0o444))
        .when("taking the right to write")?;
    forget()?;
    same("mode", path.metadata()?.mode() & 0o222, 0)?;
    fails("writing", fs::write(&path, "changed"), &[libc::EACCES])?;
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).when("giving it back")?;
    fs::write(&path, "changed").when("writing")?;
    same("content", fs::read_to_string(place.folder.join("file"))?, "changed".into())
}

fn modes(_: &Place, at: &Path) -> Outcome {
    let path = at.join("file");
    fs::write(&path, "content")?;
    for mode in [0o600, 0o640, 0o755, 0o664] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).when("setting a mode")?;
        forget()?;
        let is = path.metadata().when("looking")?.mode() & 0o7777;
        ensure(is == mode, || format!("mode {is:o}, not {mode:o}"))?;
        same("content", fs::read_to_string(&path).when("reading")?, "content".into())?;
    }
    fs::remove_file(&path).when("removing")
}

fn mode_of_new(_: &Place, at: &Path) -> Outcome {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    for mode in [0o600, 0o755, 0o440] {
        let name = format!("{mode:o}");
        let mut options = File::options();
        options.write(true).create_new(true).mode(mode);
        drop(options.open(at.join(&name)).when(&name)?);
        fs::DirBuilder::new().mode(mode | 0o300).create(at.join(format!("d{name}"))).when(&name)?;
        forget()?;
        let is = at.join(&name).metadata()?.mode() & 0o7777;
        ensure(is == mode, || format!("mode {is:o}, not {mode:o}"))?;
        let is = at.join(format!("d{name}")).metadata()?.mode() & 0o7777;
        ensure(is == mode | 0o300, || {
            format!("a directory's mode {is:o}, not {:o}", mode | 0o300)
        })?;
    }
    Ok(())
}

fn attributes(_: &Place, at: &Path) -> Outcome {
    let path = at.join("file");
    fs::write(&path, "content")?;
    let long = vec![7; 1500];
    for (name, value) in
        [("user.one", &b"first"[..]), ("user.Two", b"second"), ("user.long", &long)]
    {
        setxattr(&path, name, value, XattrFlags::empty()).when(name)?;
    }
    let mut value = vec![0; ROOM];
    for (name, wanted) in
        [("user.one", &b"first"[..]), ("user.Two", b"second"), ("user.long", &long)]
    {
        // SMB's are of any case; this client sees them as the server has them.
        let length = getxattr(&path, name, &mut value).when(name)?;
        same(name, &value[..length], wanted)?;
    }
    let length = listxattr(&path, &mut value).when("listing")?;
    let names = String::from_utf8_lossy(&value[..length]).to_lowercase();
    for name in ["user.one\0", "user.two\0", "user.long\0"] {
        ensure(names.contains(name), || format!("{names:?} is without {name:?}"))?;
    }
    setxattr(&path, "user.one", b"changed", XattrFlags::empty()).when("changing")?;
    let length = getxattr(&path, "user.one", &mut value).when("reading")?;
    same("changed", &value[..length], b"changed")?;
    removexattr(&path, "user.one").when("removing")?;
    let removed = getxattr(&path, "user.one", &mut value).map_err(std::io::Error::from);
    fails("what is removed", removed, &[libc::ENODATA])
}

fn inodes(place: &Place, at: &Path) -> Outcome {
    fs::write(at.join("file"), "")?;
    let (other, stored) = (place.mount("")?, place.folder.join("file").metadata()?.ino());
    same("here", at.join("file").metadata()?.ino(), stored)?;
    same("there", other.join("file").metadata()?.ino(), stored)
}

fn room(place: &Place, at: &Path) -> Outcome {
    let (is, stored) = (statvfs(at).when("asking")?, statvfs(&place.folder)?);
    same("size", is.f_blocks * is.f_frsize, stored.f_blocks * stored.f_frsize)?;
    let (free, wanted) = (is.f_bavail * is.f_frsize, stored.f_bavail * stored.f_frsize);
    ensure(free.abs_diff(wanted) < 64 << 20, || format!("{free} bytes are free, not {wanted}"))?;
    same("the longest name", is.f_namemax, 255)
}

fn account(_: &Place, _: &Path) -> Outcome {
    let said = fs::read_to_string("/proc/fs/cifs/DebugData").when("reading")?;
    for words in ["Dialect 0x311", "User: ", "files"] {
        ensure(said.contains(words), || format!("no '{words}' in:\n{said}"))?;
    }
    ensure(!said.contains("DISCONNECTED"), || said.clone())
}
