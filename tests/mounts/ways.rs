//! Ways to mount: dialects, protection, caching; and who may not.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::mounted::{Place, When, fails, forget, mounted, same, served};
use crate::support::content::Random;
use crate::support::{Need, Outcome, Serve, ensure};

const WAYS: [(&str, &str); 11] = [
    ("3.1.1", "vers=3.1.1"),
    ("3.1.1, signed", "vers=3.1.1,sign"),
    ("3.1.1, sealed", "vers=3.1.1,seal"),
    ("3.0.2", "vers=3.02"),
    ("3.0, signed", "vers=3.0,sign"),
    ("3.0, sealed", "vers=3.0,seal"),
    ("2.1", "vers=2.1"),
    ("2.1, signed", "vers=2.1,sign"),
    ("without a cache", "cache=none"),
    ("with a loose cache", "cache=loose"),
    ("in small pieces", "rsize=4096,wsize=4096"),
];

pub(crate) fn trials() -> Vec<Trial> {
    let ways =
        WAYS.map(|(way, options)| mounted(&format!("a share is used ({way})"), options, used));
    let mut trials = Vec::from(ways);
    let sealing = Serve::new().argument("--require-encryption");
    trials.extend([
        served("a server that wants all sealed is used so", sealing, &[Need::Cifs], |place| {
            used(place, &place.mount("vers=3.1.1,seal")?)
        }),
        served("who has the wrong password mounts nothing", Serve::new(), &[Need::Cifs], |place| {
            place.may_say("CIFS:");
            refused(place.mount_as("files", "username=alice,password=wrong"), "Permission denied")
        }),
        served("a share that is not there is not mounted", Serve::new(), &[Need::Cifs], |place| {
            place.may_say("CIFS:");
            refused(place.mount_share("nowhere", ""), "No such file or directory")
        }),
        served("a read-only share takes no changes", Serve::new(), &[Need::Cifs], read_only),
    ]);
    trials
}

/// What everybody does.
fn used(place: &Place, at: &Path) -> Outcome {
    let bytes = Random::new(1).bytes(3_000_001);
    fs::create_dir_all(at.join("a/b")).when("making directories")?;
    fs::write(at.join("a/b/file"), &bytes).when("writing")?;
    forget()?;
    let read = fs::read(at.join("a/b/file")).when("reading")?;
    ensure(read == bytes, || "not what was written is read".into())?;
    let stored = fs::read(place.folder.join("a/b/file")).when("reading at the server")?;
    ensure(stored == bytes, || "not what was written is at the server".into())?;
    fs::rename(at.join("a/b/file"), at.join("a/other")).when("renaming")?;
    let names: Vec<_> = fs::read_dir(at.join("a"))?
        .map(|it| it.map(|it| it.file_name()))
        .collect::<Result<_, _>>()?;
    same("names", names.len(), 2)?;
    fs::remove_dir_all(at.join("a")).when("removing all")?;
    same("what is left", fs::read_dir(&place.folder)?.count(), 0)
}

fn refused(mount: Result<PathBuf, Failed>, error: &str) -> Outcome {
    let said = mount.err().ok_or("it is mounted")?;
    let said = said.message().unwrap_or_default();
    ensure(said.contains(error), || format!("not '{error}' but '{said}'"))
}

fn read_only(place: &Place) -> Outcome {
    let stored = place.server().readonly_folder().join("file");
    fs::write(&stored, "as it was")?;
    let at = place.mount_share("readonly", "")?;
    same("content", fs::read_to_string(at.join("file")).when("reading")?, "as it was".into())?;
    let no = [libc::EACCES, libc::EPERM, libc::EROFS];
    fails("writing", fs::write(at.join("file"), "changed"), &no)?;
    fails("making", fs::write(at.join("new"), ""), &no)?;
    fails("making a directory", fs::create_dir(at.join("folder")), &no)?;
    fails("removing", fs::remove_file(at.join("file")), &no)?;
    same("what is stored", fs::read_to_string(stored)?, "as it was".into())
}
