//! Names: listed, renamed, deleted while open, linked; and those that SMB has no room for.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::mounted::{Place, When, fails, forget, mounted, same};
use crate::support::{Outcome, ensure};

/// More than one answer takes, in the largest that the client asks for.
const MANY: usize = 5000;

/// What SMB reserves, trailing dots and spaces, and what takes more than a unit of UTF-16.
const UNUSUAL: [&str; 15] = [
    "a:b",
    "a*b",
    "a?b",
    "a<b",
    "a>b",
    "a|b",
    "a\"b",
    "trailing dot.",
    "trailing space ",
    ".hidden",
    "..two",
    "Füße",
    "日本語",
    "🦀",
    "con",
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        mounted("five thousand names are listed, once each", "", many),
        mounted("unusual names are kept (mapposix)", "mapposix", unusual),
        mounted("unusual names are kept (mapchars)", "mapchars", |_, at| {
            // It has nothing in place of quotation marks.
            unusual_names(at, &UNUSUAL[..6])
        }),
        mounted("a name is the same in any case", "", case),
        mounted("a file that is open is renamed, and replaced", "", renamed),
        mounted("a directory with open files is renamed", "", directory_renamed),
        mounted("a file that is open is deleted", "", deleted),
        mounted("a hard link is another name", "", hard_link),
        mounted("native symbolic links are the server's", "symlink=native", native_links),
        mounted("symbolic links lead where they say (mfsymlinks)", "mfsymlinks", symbolic_links),
        mounted("symbolic links lead where they say (sfu)", "sfu,symlink=sfu", symbolic_links),
        mounted("links that are on disk are seen", "", links_on_disk),
        mounted("fifos and sockets are kept (sfu)", "sfu", special),
        mounted("fifos and sockets are kept (nfs)", "reparse=nfs", special),
        mounted("fifos and sockets are kept (wsl)", "reparse=wsl", special),
        mounted("a tree is made and removed", "", tree),
    ]
}

fn listed(at: &Path) -> Result<Vec<OsString>, Failed> {
    fs::read_dir(at)
        .when("opening")?
        .map(|it| it.map(|it| it.file_name()).when("listing"))
        .collect()
}

fn many(place: &Place, at: &Path) -> Outcome {
    let folder = place.folder.join("many");
    fs::create_dir(&folder)?;
    for number in 0..MANY {
        File::create(folder.join(format!("a file whose name is not short, number {number}")))?;
    }
    let names = listed(&at.join("many"))?;
    same("names", names.len(), MANY)?;
    same("different ones", names.iter().collect::<BTreeSet<_>>().len(), MANY)?;
    for name in names.iter().step_by(50) {
        fs::remove_file(at.join("many").join(name)).when("removing")?;
    }
    same("after removing", listed(&at.join("many"))?.len(), MANY - MANY / 50)
}

fn unusual(place: &Place, at: &Path) -> Outcome {
    unusual_names(at, &UNUSUAL)?;
    // As they are on disk: what the share maps is what the client has mapped.
    for name in UNUSUAL {
        fs::write(at.join(name), name).when(name)?;
        same(name, fs::read_to_string(place.folder.join(name)).when(name)?, name.into())?;
    }
    Ok(())
}

fn unusual_names(at: &Path, names: &[&str]) -> Outcome {
    for name in names {
        fs::write(at.join(name), name).when(name)?;
    }
    let wanted: BTreeSet<_> = names.iter().map(OsString::from).collect();
    same("names", listed(at)?.into_iter().collect(), wanted)?;
    forget()?;
    for name in names {
        same(name, fs::read_to_string(at.join(name)).when(name)?, (*name).into())?;
        fs::rename(at.join(name), at.join(format!("{name}{name}"))).when(name)?;
        fs::remove_file(at.join(format!("{name}{name}"))).when(name)?;
    }
    same("what is left", listed(at)?.len(), 0)
}

fn case(place: &Place, at: &Path) -> Outcome {
    fs::write(at.join("File"), "content")?;
    same(
        "by another case",
        fs::read_to_string(at.join("FILE")).when("opening")?,
        "content".into(),
    )?;
    fails("made anew", File::create_new(at.join("fILE")), &[libc::EEXIST])?;
    same("at the server", listed(&place.folder)?, vec![OsString::from("File")])
}

fn renamed(place: &Place, at: &Path) -> Outcome {
    fs::write(at.join("one"), "one")?;
    fs::write(at.join("two"), "two")?;
    let mut open = File::open(at.join("one"))?;
    fs::rename(at.join("one"), at.join("three")).when("renaming what is open")?;
    let mut read = String::new();
    open.read_to_string(&mut read).when("reading")?;
    same("what is open", read.as_str(), "one")?;
    drop(open);
    fs::rename(at.join("two"), at.join("three")).when("replacing")?;
    same("what is replaced", fs::read_to_string(place.folder.join("three"))?, "two".into())?;
    fs::write(at.join("four"), "four")?;
    let mut open = File::open(at.join("three"))?;
    fs::rename(at.join("four"), at.join("three")).when("replacing what is open")?;
    same("by name", fs::read_to_string(at.join("three")).when("reading")?, "four".into())?;
    // What was replaced may be gone for its reader, as on any file system without delete on last close.
    let _ = open.read_to_string(&mut read);
    drop(open);
    same("at the server", listed(&place.folder)?, vec![OsString::from("three")])
}

fn directory_renamed(place: &Place, at: &Path) -> Outcome {
    fs::create_dir(at.join("folder"))?;
    let mut file = File::create(at.join("folder/file"))?;
    file.write_all(b"before ")?;
    // SMB lets nobody rename a directory with something open in it; the client closes what it has kept open.
    let renamed = fs::rename(at.join("folder"), at.join("other"));
    if renamed.is_err() {
        fails("renaming", renamed, &[libc::EACCES, libc::EBUSY])?;
        drop(file);
        fs::rename(at.join("folder"), at.join("other")).when("renaming when it is closed")?;
    } else {
        file.write_all(b"after").when("writing after it")?;
        drop(file);
    }
    let read = fs::read_to_string(place.folder.join("other/file")).when("at the server")?;
    ensure(read.starts_with("before "), || read.clone())?;
    same("the old name", at.join("folder").exists(), false)
}

fn deleted(place: &Place, at: &Path) -> Outcome {
    fs::write(at.join("file"), "content")?;
    let mut file = super::contents::both(&at.join("file"))?;
    fs::remove_file(at.join("file")).when("deleting what is open")?;
    fails("opening it", File::open(at.join("file")), &[libc::ENOENT, libc::EBUSY])?;
    let mut read = String::new();
    file.read_to_string(&mut read).when("reading")?;
    same("what is open", read.as_str(), "content")?;
    file.write_all(b" and more").when("writing")?;
    drop(file);
    same("what is left", listed(&place.folder)?.len(), 0)?;
    fs::write(at.join("file"), "new").when("making it anew")?;
    fs::remove_file(at.join("file")).when("deleting")?;
    fs::create_dir(at.join("folder"))?;
    let open = File::open(at.join("folder"))?;
    fs::remove_dir(at.join("folder")).when("deleting a directory that is open")?;
    drop(open);
    same("what is left", listed(&place.folder)?.len(), 0)
}

fn hard_link(place: &Place, at: &Path) -> Outcome {
    fs::write(at.join("file"), "content")?;
    fs::hard_link(at.join("file"), at.join("link")).when("linking")?;
    forget()?;
    let (file, link) = (at.join("file").metadata()?, at.join("link").metadata()?);
    same("links", (file.nlink(), link.nlink()), (2, 2))?;
    same("inodes", file.ino(), link.ino())?;
    fs::write(at.join("link"), "changed").when("writing")?;
    forget()?;
    same("by the other name", fs::read_to_string(at.join("file"))?, "changed".into())?;
    fs::remove_file(at.join("file")).when("removing")?;
    same("what is left", fs::read_to_string(place.folder.join("link"))?, "changed".into())?;
    fails("what is there", fs::hard_link(at.join("link"), at.join("link")), &[libc::EEXIST])
}

fn symbolic_links(_: &Place, at: &Path) -> Outcome {
    fs::create_dir_all(at.join("folder/deeper"))?;
    fs::write(at.join("folder/file"), "content")?;
    let links = [
        ("link", "folder/file"),
        ("folder/up", "../folder/file"),
        ("dir", "folder"),
        ("nothing", "missing/x"),
    ];
    for (link, target) in links {
        symlink(target, at.join(link)).when(link)?;
    }
    forget()?;
    for (link, target) in links {
        ensure(at.join(link).symlink_metadata().when(link)?.is_symlink(), || {
            format!("{link} is no link")
        })?;
        same(link, fs::read_link(at.join(link)).when(link)?, PathBuf::from(target))?;
    }
    for link in ["link", "folder/up", "dir/file"] {
        same(link, fs::read_to_string(at.join(link)).when(link)?, "content".into())?;
    }
    fails("a link to nothing", File::open(at.join("nothing")), &[libc::ENOENT])?;
    fs::rename(at.join("link"), at.join("renamed")).when("renaming")?;
    same(
        "renamed",
        fs::read_link(at.join("renamed")).when("reading")?,
        PathBuf::from("folder/file"),
    )?;
    for link in ["renamed", "folder/up", "dir", "nothing"] {
        fs::remove_file(at.join(link)).when(link)?;
    }
    same("what is left", listed(at)?, vec![OsString::from("folder")])
}

/// What leads to something in the share the server follows, so a client sees that; the rest are links for it, too.
fn native_links(place: &Place, at: &Path) -> Outcome {
    fs::create_dir(at.join("folder"))?;
    fs::write(at.join("folder/file"), "content")?;
    let links =
        [("link", "folder/file"), ("folder/up", "../folder/file"), ("missing", "not/there")];
    for (link, target) in links {
        symlink(target, at.join(link)).when(link)?;
        same(link, fs::read_link(place.folder.join(link)).when(link)?, PathBuf::from(target))?;
    }
    forget()?;
    for link in ["link", "folder/up"] {
        same(link, fs::read_to_string(at.join(link)).when(link)?, "content".into())?;
    }
    same(
        "missing",
        fs::read_link(at.join("missing")).when("reading")?,
        PathBuf::from("not/there"),
    )?;
    fs::rename(at.join("link"), at.join("renamed")).when("renaming")?;
    ensure(place.folder.join("renamed").is_symlink(), || "what it leads to was renamed".into())?;
    for link in ["renamed", "folder/up", "missing"] {
        fs::remove_file(at.join(link)).when(link)?;
    }
    same("the target", fs::read_to_string(at.join("folder/file"))?, "content".into())?;
    same("what is left", listed(at)?, vec![OsString::from("folder")])
}

fn links_on_disk(place: &Place, at: &Path) -> Outcome {
    fs::write(place.folder.join("file"), "content")?;
    symlink("file", place.folder.join("inside"))?;
    symlink("missing", place.folder.join("dangling"))?;
    symlink("/etc/passwd", place.folder.join("outside"))?;
    same("names", listed(at)?.len(), 4)?;
    same("inside", fs::read_to_string(at.join("inside")).when("inside")?, "content".into())?;
    let dangling = at.join("dangling").symlink_metadata().when("dangling")?;
    ensure(dangling.is_symlink(), || "it is no link".into())?;
    same(
        "dangling",
        fs::read_link(at.join("dangling")).when("reading")?,
        PathBuf::from("missing"),
    )?;
    fs::remove_file(at.join("dangling")).when("removing")?;
    fs::remove_file(at.join("outside")).when("removing")
}

fn special(_: &Place, at: &Path) -> Outcome {
    let mode = Mode::from_raw_mode(0o644);
    mknodat(CWD, at.join("fifo"), FileType::Fifo, mode, 0).when("making a fifo")?;
    mknodat(CWD, at.join("device"), FileType::CharacterDevice, mode, rustix::fs::makedev(1, 3))
        .when("making a device")?;
    forget()?;
    let device = at.join("device").symlink_metadata().when("the device")?;
    ensure(device.file_type().is_char_device(), || "it is no device".into())?;
    same("its number", device.rdev(), rustix::fs::makedev(1, 3))?;
    let fifo = at.join("fifo").symlink_metadata().when("the fifo")?;
    ensure(fifo.file_type().is_fifo(), || format!("it is {:?}", fifo.file_type()))?;
    for name in ["fifo", "device"] {
        fs::remove_file(at.join(name)).when(name)?;
    }
    same("what is left", listed(at)?.len(), 0)
}

fn tree(place: &Place, at: &Path) -> Outcome {
    for folder in 0..8 {
        let folder = at.join(format!("tree/{folder}/a/b"));
        fs::create_dir_all(&folder).when("making directories")?;
        for file in 0..12 {
            fs::write(folder.join(format!("file {file}")), format!("content {file}"))
                .when("writing")?;
        }
    }
    fs::rename(at.join("tree/0/a"), at.join("tree/moved")).when("moving a directory")?;
    same("a moved file", fs::read_to_string(at.join("tree/moved/b/file 3"))?, "content 3".into())?;
    fs::remove_dir_all(at.join("tree")).when("removing all")?;
    same("what is left", listed(&place.folder)?.len(), 0)
}
