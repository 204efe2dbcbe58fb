//! Behaviour on real files, on each backend.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ringway::{Backend, Builder, Identity};
use tempfile::TempDir;

use super::*;

/// A directory with a share in it, `share`, and room beside it for what must not be reached.
struct Bench {
    dir: TempDir,
    mapping: Mapping,
    volume: Volume,
}

impl Bench {
    fn new() -> Self {
        Self::with(Mapping::default())
    }

    fn with(mapping: Mapping) -> Self {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("share");
        fs::create_dir(&root).unwrap();
        for open in [dir.path(), &root] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let volume = Volume::open_root(&root, mapping).unwrap();
        Self { dir, mapping, volume }
    }

    fn on_disk(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("share").join(name)
    }

    fn write(&self, name: &str, data: &str) {
        fs::write(self.on_disk(name), data).unwrap();
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.on_disk(name)).unwrap()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.on_disk(directory)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    async fn open(&self, name: &str, how: Open) -> Result<Opened, Error> {
        let path = SharePath::parse(name, self.mapping)?;
        self.volume.open(None, &path, &how, &()).await
    }

    /// Opens what exists, with the right to remove it.
    async fn existing(&self, name: &str) -> Arc<Handle> {
        self.open(name, ATTRIBUTES).await.unwrap().handle
    }

    async fn attributes(&self, name: &str) -> Attributes {
        let handle = self.open(name, ATTRIBUTES).await.unwrap().handle;
        handle.metadata().await.unwrap().attributes
    }

    async fn list(&self, name: &str) -> Vec<DirEntry> {
        let how = Open { read: true, kind: Kind::Directory, ..ATTRIBUTES };
        let handle = self.open(name, how).await.unwrap().handle;
        all(&mut handle.read_dir().unwrap()).await
    }
}

/// Opens what exists, for what is told of it.
const ATTRIBUTES: Open = Open { read: false, ..Open::TO_READ };

fn path(name: &str) -> SharePath {
    SharePath::parse(name, Mapping::default()).unwrap()
}

fn writing(disposition: Disposition) -> Open {
    Open { read: true, write: true, disposition, ..ATTRIBUTES }
}

async fn all(stream: &mut DirStream) -> Vec<DirEntry> {
    let mut entries = Vec::new();
    while let Some(entry) = stream.next_matching(|_| true).await.unwrap() {
        entries.push(entry);
    }
    entries
}

fn names(entries: &[DirEntry]) -> Vec<&str> {
    let mut names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    names
}

macro_rules! assert_error {
    ($result:expr, $error:pat) => {
        match $result {
            Err($error) => {}
            other => panic!("expected {}, got {other:?}", stringify!($error)),
        }
    };
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: takes root");
    }
    root
}

/// Runs a test on one backend; says so and does not, where the kernel gives no ring.
fn on<F: Future<Output = ()>>(backend: Backend, test: fn(Bench) -> F) {
    match Builder::new().backend(backend).build() {
        Ok(runtime) => runtime.block_on(test(Bench::new())),
        Err(error) if backend != Backend::Epoll => eprintln!("SKIPPED: {error}"),
        Err(error) => panic!("{error}"),
    }
}

macro_rules! on_each_backend {
    ($($name:ident),* $(,)?) => {
        mod uring { $(#[test] fn $name() { super::on(ringway::Backend::Uring, super::$name); })* }
        mod hybrid { $(#[test] fn $name() { super::on(ringway::Backend::Hybrid, super::$name); })* }
        mod epoll { $(#[test] fn $name() { super::on(ringway::Backend::Epoll, super::$name); })* }
    };
}

mod blocks;
mod direct;
mod names;
mod store;

on_each_backend! {
    each_disposition_does_what_it_says,
    kinds_are_told_apart,
    names_are_found_in_any_case_and_keep_theirs,
    an_exact_name_wins_over_one_in_another_case,
    a_missing_parent_is_told_from_a_missing_name,
    links_out_of_the_share_are_refused,
    links_inside_the_share_are_followed,
    a_link_to_nothing_is_not_found_and_not_created_through,
    a_link_is_opened_itself_if_told,
    the_link_in_the_way_is_the_first_that_leads_nowhere_or_out,
    who_changes_a_link_meanwhile_does_not_lead_an_open_out,
    an_empty_file_or_directory_becomes_a_link_and_again_what_it_was,
    what_would_be_lost_does_not_become_a_link,
    no_link_is_made_that_leads_out_of_the_share,
    a_reparse_point_is_kept_as_samba_keeps_it,
    special_files_are_refused_without_waiting,
    an_open_file_waits_for_the_disk_as_files_do,
    opens_race_to_create_and_one_wins,
    what_another_program_has_just_made_is_not_made_again,
    a_rename_moves_and_tells_the_new_path,
    a_rename_may_change_only_the_case,
    a_rename_replaces_only_files_and_only_if_told,
    a_directory_is_renamed_with_what_is_in_it,
    a_link_is_another_name_of_the_open_file,
    a_link_takes_the_place_of_a_file_only_if_told,
    what_is_linked_is_the_file_whatever_has_its_name,
    removal_takes_the_name_only_while_it_is_this_file,
    removal_refuses_a_directory_with_entries_and_the_root,
    removal_takes_the_link_and_not_its_target,
    five_thousand_entries_are_listed_once_each,
    a_listing_shows_links_and_leaves_out_what_cannot_be_spelled_or_is_special,
    attributes_are_kept_and_listed,
    times_are_kept_to_100_ns,
    times_that_a_file_system_keeps_to_itself_are_set,
    a_stream_is_an_attribute_as_samba_has_it,
    streams_are_found_in_any_case_and_by_each_disposition,
    a_name_that_is_too_long_for_a_stream_is_refused,
    writers_of_streams_do_not_lose_each_others_bytes,
    an_ea_is_an_attribute_as_samba_has_it,
    a_change_of_eas_happens_whole_or_not_at_all,
    a_new_file_comes_with_its_eas_or_not_at_all,
    eas_are_read_and_changed_as_unix_lets_the_user,
    an_identity_is_held_to_its_permissions,
    attributes_are_told_to_who_may_write_a_file_and_not_read_it,
    an_open_file_has_its_name_whatever_becomes_of_the_way_to_it,
    who_cannot_list_a_directory_does_not_hide_its_names_from_others,
    who_may_not_search_a_directory_learns_nothing_of_what_is_in_it,
    a_link_and_its_target_do_not_replace_each_other,
    a_full_file_system_is_no_space,
    space_is_that_of_the_file_system,
    a_handle_works_on_another_thread,
    who_opens_to_write_waits_for_a_lease_and_keeps_nobody_waiting,
}

async fn each_disposition_does_what_it_says(bench: Bench) {
    let open = async |name: &str, disposition| bench.open(name, writing(disposition)).await;
    assert_error!(open("file", Disposition::Open).await, Error::NotFound);
    assert!(bench.names("").is_empty());
    for disposition in [Disposition::Create, Disposition::OpenIf] {
        let opened = open("file", disposition).await.unwrap();
        assert_eq!(opened.action, Action::Created);
        opened.handle.file().unwrap().write_all_at(b"data".to_vec(), 0).await.0.unwrap();
        assert_eq!(bench.content("file"), "data");
        assert_error!(open("file", Disposition::Create).await, Error::Exists);
        assert_error!(open("FILE", Disposition::Create).await, Error::Exists);
        for name in ["file", "FILE"] {
            for disposition in [Disposition::Open, Disposition::OpenIf] {
                assert_eq!(open(name, disposition).await.unwrap().action, Action::Opened);
            }
        }
        assert_eq!(bench.content("file"), "data");
        fs::remove_file(bench.on_disk("file")).unwrap();
    }
    let directory = Open { kind: Kind::Directory, ..writing(Disposition::Create) };
    let opened = bench.open("dir", directory).await.unwrap();
    assert_eq!((opened.action, opened.handle.is_directory()), (Action::Created, true));
    assert_error!(bench.open("Dir", directory).await, Error::Exists);
}

async fn kinds_are_told_apart(bench: Bench) {
    bench.write("file", "");
    fs::create_dir(bench.on_disk("dir")).unwrap();
    let kind = |kind| Open { read: true, kind, ..ATTRIBUTES };
    assert_error!(bench.open("file", kind(Kind::Directory)).await, Error::NotADirectory);
    assert_error!(bench.open("dir", kind(Kind::File)).await, Error::IsDirectory);
    assert!(bench.open("dir", kind(Kind::Any)).await.unwrap().handle.is_directory());
    assert!(!bench.open("file", kind(Kind::Any)).await.unwrap().handle.is_directory());
    assert!(bench.open("", kind(Kind::Any)).await.unwrap().handle.is_directory());
    // A name that ends as a directory's does.
    assert!(bench.open("dir\\", kind(Kind::Any)).await.unwrap().handle.is_directory());
    assert_error!(bench.open("file\\", kind(Kind::Any)).await, Error::NotADirectory);
    assert_error!(bench.open("dir\\", kind(Kind::File)).await, Error::NameInvalid);
    // To write to a directory is to add entries.
    assert!(bench.open("dir", writing(Disposition::Open)).await.unwrap().handle.is_directory());
}

async fn names_are_found_in_any_case_and_keep_theirs(bench: Bench) {
    fs::create_dir_all(bench.on_disk("Été/Deep")).unwrap();
    bench.write("Été/Deep/ReadMe.txt", "here");
    let handle = bench.existing("éTÉ\\DEEP\\README.TXT").await;
    assert_eq!(handle.path(), "Été\\Deep\\ReadMe.txt");
    assert_eq!(bench.existing("éTÉ").await.path(), "Été");
    // A new file gets its own case, in the directory as it is.
    let opened = bench.open("ÉTÉ\\deep\\NEW", writing(Disposition::OpenIf)).await.unwrap();
    assert_eq!((opened.action, opened.handle.path().as_str()), (Action::Created, "Été\\Deep\\NEW"));
    let opened = bench.open("été\\deep\\new", writing(Disposition::OpenIf)).await.unwrap();
    assert_eq!(opened.action, Action::Opened);
    assert_eq!(bench.names("Été/Deep"), ["NEW", "ReadMe.txt"]);
}

async fn an_exact_name_wins_over_one_in_another_case(bench: Bench) {
    for name in ["abc", "ABC", "aBc"] {
        bench.write(name, name);
        assert_eq!(bench.existing(name).await.path(), name);
    }
    // Otherwise the first in byte order, capitals before small letters.
    assert_eq!(bench.existing("AbC").await.path(), "ABC");
}

async fn a_missing_parent_is_told_from_a_missing_name(bench: Bench) {
    bench.write("file", "");
    for how in [ATTRIBUTES, writing(Disposition::Create), writing(Disposition::OpenIf)] {
        for name in ["no\\file", "no\\such\\file", "file\\below", "FILE\\below\\that"] {
            assert_error!(bench.open(name, how).await, Error::PathNotFound);
        }
    }
    let directory = Open { kind: Kind::Directory, ..writing(Disposition::Create) };
    assert_error!(bench.open("file\\below", directory).await, Error::PathNotFound);
    assert_error!(bench.open("no", ATTRIBUTES).await, Error::NotFound);
}

async fn links_out_of_the_share_are_refused(bench: Bench) {
    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink("../outside/secret", bench.on_disk("Relative")).unwrap();
    symlink(outside.join("secret"), bench.on_disk("Absolute")).unwrap();
    symlink("../outside", bench.on_disk("Up")).unwrap();
    symlink("/proc/self/root", bench.on_disk("Magic")).unwrap();
    let hows = [
        ATTRIBUTES,
        Open { read: true, ..ATTRIBUTES },
        writing(Disposition::OpenIf),
        writing(Disposition::OpenIf),
    ];
    for how in hows {
        for name in
            ["Relative", "relative", "Absolute", "Up", "Up\\secret", "up\\SECRET", "Magic\\etc"]
        {
            assert_error!(bench.open(name, how).await, Error::Escapes);
        }
    }
    for name in ["Up\\new", "up\\new"] {
        assert_error!(bench.open(name, writing(Disposition::Create)).await, Error::Escapes);
    }
    let to = path("Up\\stolen");
    bench.write("mine", "");
    let moved = bench.existing("mine").await.rename(&to, true, &()).await;
    assert_error!(moved, Error::Escapes);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
}

async fn links_inside_the_share_are_followed(bench: Bench) {
    fs::create_dir_all(bench.on_disk("a/b")).unwrap();
    fs::create_dir(bench.on_disk("c")).unwrap();
    bench.write("c/File", "c");
    // Out of its own directory, but not out of the share.
    symlink("../../c", bench.on_disk("a/b/to-c")).unwrap();
    symlink("../c/File", bench.on_disk("a/to-file")).unwrap();
    let direct = bench.existing("c\\File").await;
    for name in ["a\\b\\to-c\\File", "A\\B\\TO-C\\FILE", "a\\to-file", "a\\TO-FILE"] {
        assert_eq!(bench.existing(name).await.id(), direct.id(), "{name}");
    }
    let created = bench.open("a\\b\\TO-C\\new", writing(Disposition::Create)).await.unwrap();
    assert_eq!(created.action, Action::Created);
    assert_eq!(bench.names("c"), ["File", "new"]);
}

async fn a_link_to_nothing_is_not_found_and_not_created_through(bench: Bench) {
    symlink("nothing", bench.on_disk("link")).unwrap();
    assert_error!(bench.open("link", ATTRIBUTES).await, Error::LeadsNowhere);
    assert_error!(bench.open("LINK\\file", ATTRIBUTES).await, Error::LeadsNowhere);
    assert_error!(bench.open("link", writing(Disposition::Create)).await, Error::Exists);
    assert_error!(bench.open("link", writing(Disposition::OpenIf)).await, Error::LeadsNowhere);
    assert_eq!(bench.names(""), ["link"]);
}

const LINK: Open = Open { open_link: true, ..ATTRIBUTES };

async fn a_link_is_opened_itself_if_told(bench: Bench) {
    bench.write("file", "data");
    fs::create_dir(bench.on_disk("dir")).unwrap();
    let links = [
        ("to-file", "file", false),
        ("to-dir", "dir", true),
        ("to-nothing", "nothing", false),
        ("outward", "../outside", false),
        ("circle", "circle", false),
    ];
    fs::create_dir(bench.dir.path().join("outside")).unwrap();
    for (name, target, to_directory) in links {
        symlink(target, bench.on_disk(name)).unwrap();
        let kind = |kind| Open { kind, ..LINK };
        let (is, is_not) = if to_directory {
            (Kind::Directory, Kind::File)
        } else {
            (Kind::File, Kind::Directory)
        };
        assert!(bench.open(name, kind(is_not)).await.is_err(), "{name}");
        let handle = bench.open(&name.to_uppercase(), kind(is)).await.unwrap().handle;
        assert_eq!((handle.path().as_str(), handle.is_link()), (name, true));
        let metadata = handle.metadata().await.unwrap();
        let own = fs::symlink_metadata(bench.on_disk(name)).unwrap();
        assert_eq!((metadata.key.ino, metadata.size), (own.ino(), 0), "{name}");
        assert_eq!(
            (metadata.reparse_tag, metadata.is_directory),
            (Some(0xa000_000c), to_directory)
        );
        let point = handle.reparse_point().await.unwrap();
        assert_eq!(point, Some(ReparsePoint::Link(target.to_owned())));
        assert_error!(handle.read_dir(), Error::NotADirectory);
        assert!(handle.set_len(0).await.is_err() && handle.streams().await.unwrap().is_empty());
        // Renamed and removed, it is the link that is.
        handle.rename(&path("Renamed"), false, &()).await.unwrap();
        assert_eq!(fs::read_link(bench.on_disk("Renamed")).unwrap(), Path::new(target));
        handle.rename(&path("renamed"), false, &()).await.unwrap();
        handle.remove().await.unwrap();
        assert_eq!(bench.names(""), bench_without(&links, name));
        symlink(target, bench.on_disk(name)).unwrap();
    }
    assert_eq!(bench.content("file"), "data");
    // And it is the link that gets another name.
    bench
        .open("outward", LINK)
        .await
        .unwrap()
        .handle
        .link(&path("twin"), false, &())
        .await
        .unwrap();
    assert_eq!(fs::read_link(bench.on_disk("twin")).unwrap(), Path::new("../outside"));
    // What is no link is what it is.
    assert!(!bench.open("file", LINK).await.unwrap().handle.is_link());
    // A link that leads nowhere gives way as a file does.
    bench.existing("file").await.rename(&path("circle"), true, &()).await.unwrap();
    assert_eq!(bench.content("circle"), "data");
}

/// The names of a bench with these links, those up to `last` made, and that one gone.
fn bench_without(links: &[(&str, &str, bool)], last: &str) -> Vec<String> {
    let made = links.iter().map(|link| link.0).take_while(|name| *name != last);
    let mut names: Vec<_> = made.chain(["dir", "file"]).map(str::to_owned).collect();
    names.sort();
    names
}

async fn the_link_in_the_way_is_the_first_that_leads_nowhere_or_out(bench: Bench) {
    fs::create_dir_all(bench.on_disk("Dir/sub")).unwrap();
    symlink("sub", bench.on_disk("Dir/inward")).unwrap();
    symlink("../../../outside/x", bench.on_disk("Dir/sub/outward")).unwrap();
    symlink("circle", bench.on_disk("circle")).unwrap();
    symlink("Dir/sub/outward", bench.on_disk("chain")).unwrap();
    bench.write("file", "");
    let in_the_way = async |name| bench.volume.link_in_the_way(None, &path(name)).await.unwrap();
    let found = |target: &str, behind| Some(LinkInTheWay { target: target.to_owned(), behind });
    let outward = "../../../outside/x";
    assert_eq!(in_the_way("dir\\INWARD\\Outward\\a\\b").await, found(outward, 2));
    assert_eq!(in_the_way("dir\\sub\\outward").await, found(outward, 0));
    assert_eq!(in_the_way("circle\\x").await, found("circle", 1));
    assert_eq!(in_the_way("chain").await, found("Dir/sub/outward", 0));
    for none in ["", "file", "dir\\inward", "dir\\inward\\no", "no\\such"] {
        assert_eq!(in_the_way(none).await, None, "{none}");
    }
}

async fn an_empty_file_or_directory_becomes_a_link_and_again_what_it_was(bench: Bench) {
    fs::create_dir_all(bench.on_disk("dir/folder")).unwrap();
    bench.write("dir/new", "");
    for (name, target, to_directory) in
        [("new", "x/y", false), ("folder", "..", true), ("folder", "../dir", true)]
    {
        let on_disk = bench.on_disk("dir").join(name);
        let old = bench.existing(&format!("dir\\{name}")).await;
        let link = old.become_link(target).await.unwrap();
        assert_eq!(fs::read_link(&on_disk).unwrap(), Path::new(target));
        assert_eq!((link.is_link(), link.path()), (true, old.path()));
        assert_eq!(link.metadata().await.unwrap().is_directory, to_directory);
        assert!(!old.has_its_name().await.unwrap() && link.has_its_name().await.unwrap());
        // A link becomes another.
        let other = link.become_link("other").await.unwrap();
        assert_eq!(fs::read_link(&on_disk).unwrap(), Path::new("other"));
        let link = other.become_link(target).await.unwrap();
        let ordinary = link.become_ordinary().await.unwrap();
        assert_eq!(ordinary.is_directory(), to_directory);
        assert!(!ordinary.is_link() && ordinary.is_directory() == on_disk.is_dir());
        assert!(ordinary.reparse_point().await.unwrap().is_none());
        assert_eq!(bench.names("dir"), ["folder", "new"]);
    }
}

async fn what_would_be_lost_does_not_become_a_link(bench: Bench) {
    bench.write("full", "data");
    for name in ["linked", "replaced", "streamed", "target"] {
        bench.write(name, "");
    }
    fs::hard_link(bench.on_disk("linked"), bench.on_disk("other name")).unwrap();
    bench.open("streamed:stream", writing(Disposition::Create)).await.unwrap();
    fs::create_dir_all(bench.on_disk("dir/sub")).unwrap();
    symlink("target", bench.on_disk("through")).unwrap();
    let before = bench.names("");
    for name in ["full", "linked", "streamed", "dir"] {
        assert_error!(bench.existing(name).await.become_link("x").await, Error::NotEmpty);
    }
    // Neither is what has the name by now, nor a link that was followed.
    let replaced = bench.existing("replaced").await;
    fs::rename(bench.on_disk("full"), bench.on_disk("replaced")).unwrap();
    assert_error!(replaced.become_link("x").await, Error::NotFound);
    assert_error!(bench.existing("through").await.become_link("x").await, Error::NotFound);
    assert_eq!(bench.content("replaced"), "data");
    let after: Vec<_> = before.into_iter().filter(|name| name != "full").collect();
    assert_eq!(bench.names(""), after);
}

async fn no_link_is_made_that_leads_out_of_the_share(bench: Bench) {
    let target = |target, folder| unix_target(target, &path(folder), Mapping::PrivateUse);
    for (windows, folder, unix) in [
        (r"a", "", "a"),
        (r"..\b\c", "dir", "../b/c"),
        (r".\a\..\ü\", r"a\b", "./a/../ü"),
        (r"..\..", r"a\b", "../.."),
    ] {
        assert_eq!(target(windows, folder).as_deref(), Some(unix));
    }
    for windows in [
        r"..",
        r"a\..\..\b",
        r"\a",
        r"\\server\share",
        r"\??\C:\a",
        r"C:\a",
        r"C:a",
        "/etc",
        "a/b",
        "",
        r"a\\b",
        "a\0",
    ] {
        assert_eq!(target(windows, ""), None, "{windows}");
    }
    // What the names alone do not tell: the folder is not where its path says.
    fs::create_dir_all(bench.on_disk("a/b")).unwrap();
    symlink("..", bench.on_disk("a/b/up")).unwrap();
    bench.write("a/new", "");
    let new = bench.existing(r"a\b\up\new").await;
    assert_error!(new.become_link("../../outside").await, Error::Escapes);
    assert_eq!(bench.names("a"), ["b", "new"]);
    assert!(fs::symlink_metadata(bench.on_disk("a/new")).unwrap().is_file());
}

async fn a_reparse_point_is_kept_as_samba_keeps_it(bench: Bench) {
    const ATTRIBUTE: &str = "user.SmbReparse";
    // Of a FIFO as NFS has them, MS-FSCC 2.1.2.6.
    let data = b"\x14\0\0\x80\x08\0\0\0OFIF\0\0\0\0".to_vec();
    bench.write("file", "data");
    let handle = bench.open("file", writing(Disposition::Open)).await.unwrap().handle;
    handle.set_reparse_point(data.clone()).await.unwrap();
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(bench.on_disk("file"), ATTRIBUTE, &mut value).unwrap();
    assert_eq!(&value[..length], data);
    assert_eq!(handle.reparse_point().await.unwrap(), Some(ReparsePoint::Stored(data.clone())));
    // It stays so whatever attributes a client sets.
    let change = Change { attributes: Some(Attributes::HIDDEN), ..Change::default() };
    handle.change(&change).await.unwrap();
    let is_one = Attributes::HIDDEN | Attributes::REPARSE_POINT;
    for metadata in [handle.metadata().await.unwrap(), bench.list("").await[2].metadata] {
        assert_eq!((metadata.attributes, metadata.reparse_tag), (is_one, Some(0x8000_0014)));
    }
    handle.remove_reparse_point().await.unwrap();
    assert_eq!(handle.reparse_point().await.unwrap(), None);
    for metadata in [handle.metadata().await.unwrap(), bench.list("").await[2].metadata] {
        assert_eq!((metadata.attributes, metadata.reparse_tag), (Attributes::HIDDEN, None));
    }
    // As Samba leaves it: its attributes in the fifth form of its structure, REPARSE_POINT and ARCHIVE.
    bench.write("samba", "");
    let attributes = b"\0\0\x05\0\x05\0\0\0\x01\0\0\0\x20\x04\0\0\0\0\0\0\0\0\0\0";
    let flags = rustix::fs::XattrFlags::empty();
    let at = bench.on_disk("samba");
    rustix::fs::setxattr(&at, "user.DOSATTRIB", attributes, flags).unwrap();
    assert_eq!(bench.attributes("samba").await, Attributes::ARCHIVE, "no data, no reparse point");
    rustix::fs::setxattr(&at, ATTRIBUTE, &data, flags).unwrap();
    let metadata = bench.existing("samba").await.metadata().await.unwrap();
    assert_eq!(metadata.reparse_tag, Some(0x8000_0014));
}

/// The link is at one moment one that leads inside, at the next one that leads outside, or a file.
async fn who_changes_a_link_meanwhile_does_not_lead_an_open_out(bench: Bench) {
    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "secret").unwrap();
    fs::create_dir(bench.on_disk("inside")).unwrap();
    bench.write("inside/file", "data");
    symlink("inside", bench.on_disk("link")).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (stopped, at) = (Arc::clone(&stop), bench.on_disk(""));
    let changing = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            for target in ["../outside", "inside"] {
                symlink(target, at.join("new")).unwrap();
                fs::rename(at.join("new"), at.join("link")).unwrap();
            }
        }
    });
    let mut reached = 0;
    for _ in 0..300 {
        for how in [Open { read: true, ..ATTRIBUTES }, Open { read: true, ..LINK }] {
            let Ok(opened) = bench.open("link\\file", how).await else { continue };
            let file = opened.handle.file().unwrap();
            assert_eq!(read_contents(file, 0, 6, Vec::with_capacity(6)).await.unwrap(), b"data");
            reached += 1;
        }
        let opened = bench.open("link", LINK).await.unwrap().handle;
        assert!(opened.is_link());
        for entry in bench.list("").await {
            let outward = entry.name == "link" && entry.metadata.reparse_tag.is_some();
            assert!(outward || entry.metadata.key.ino != fs::metadata(&outside).unwrap().ino());
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    changing.join().unwrap();
    assert!(reached > 0);
}

async fn special_files_are_refused_without_waiting(bench: Bench) {
    let fifo = CString::new(bench.on_disk("fifo").to_str().unwrap()).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.on_disk("socket")).unwrap();
    let hows = [
        ATTRIBUTES,
        Open { read: true, ..ATTRIBUTES },
        Open { write: true, ..ATTRIBUTES },
        writing(Disposition::OpenIf),
    ];
    for how in hows {
        for name in ["fifo", "socket"] {
            let open = bench.open(name, how);
            let opened = ringway::time::timeout(std::time::Duration::from_secs(5), open).await;
            assert_error!(opened.expect("the open waits"), Error::AccessDenied);
        }
    }
}

async fn an_open_file_waits_for_the_disk_as_files_do(bench: Bench) {
    let created = bench.open("file", writing(Disposition::Create)).await.unwrap().handle;
    let opened = bench.open("file", writing(Disposition::Open)).await.unwrap().handle;
    for handle in [created, opened] {
        let flags = rustix::fs::fcntl_getfl(handle.file().unwrap()).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    }
}

async fn opens_race_to_create_and_one_wins(bench: Bench) {
    for round in 0..20 {
        let (a, b) = (format!("file{round}"), format!("both{round}"));
        let how = writing(Disposition::Create);
        let (one, two) = futures_util::future::join(bench.open(&a, how), bench.open(&a, how)).await;
        assert_eq!(one.is_ok() as u8 + two.is_ok() as u8, 1);
        assert_error!(one.and(two), Error::Exists);
        let how = writing(Disposition::OpenIf);
        let (one, two) = futures_util::future::join(bench.open(&b, how), bench.open(&b, how)).await;
        let actions = [one.unwrap().action, two.unwrap().action];
        assert!(actions.contains(&Action::Created) && actions.contains(&Action::Opened));
    }
}

/// Mostly within one tick of the directory's clock, so that an index of it is still believed.
async fn what_another_program_has_just_made_is_not_made_again(bench: Bench) {
    let create = writing(Disposition::Create);
    for turn in 0..100 {
        bench.open(&format!("ours {turn}"), create).await.unwrap();
        let theirs = format!("theirs {turn}");
        bench.write(&theirs, "theirs");
        assert_error!(bench.open(&theirs, create).await, Error::Exists);
        assert_eq!(bench.content(&theirs), "theirs");
        fs::remove_file(bench.on_disk(&theirs)).unwrap();
        bench.open(&theirs, create).await.unwrap();
    }
}

async fn a_rename_moves_and_tells_the_new_path(bench: Bench) {
    fs::create_dir(bench.on_disk("Dir")).unwrap();
    bench.write("file", "data");
    let handle = bench.existing("FILE").await;
    handle.rename(&path("dir\\New"), false, &()).await.unwrap();
    assert_eq!(handle.path(), "Dir\\New");
    assert_eq!(bench.content("Dir/New"), "data");
    assert_eq!(bench.names(""), ["Dir"]);
    let to = path("no\\where");
    assert_error!(handle.rename(&to, false, &()).await, Error::PathNotFound);
}

async fn a_rename_may_change_only_the_case(bench: Bench) {
    bench.write("readme", "data");
    fs::create_dir(bench.on_disk("dir")).unwrap();
    for replace in [false, true] {
        for name in ["README", "ReadMe", "ReadMe", "readme"] {
            let handle = bench.existing("readme").await;
            handle.rename(&path(name), replace, &()).await.unwrap();
            assert_eq!(
                (handle.path().as_str(), bench.names("")),
                (
                    name,
                    vec![
                        if name < "dir" { name } else { "dir" }.to_owned(),
                        if name < "dir" { "dir" } else { name }.to_owned(),
                    ]
                )
            );
        }
    }
    let handle = bench.existing("dir").await;
    handle.rename(&path("DIR"), false, &()).await.unwrap();
    assert_eq!(bench.names(""), ["DIR", "readme"]);
}

async fn a_rename_replaces_only_files_and_only_if_told(bench: Bench) {
    bench.write("from", "from");
    bench.write("To", "to");
    bench.write("fixed", "fixed");
    fs::set_permissions(bench.on_disk("fixed"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::create_dir(bench.on_disk("dir")).unwrap();
    fs::hard_link(bench.on_disk("from"), bench.on_disk("twin")).unwrap();
    let handle = bench.existing("from").await;
    for name in ["to", "dir", "fixed", "twin"] {
        assert_error!(handle.rename(&path(name), false, &()).await, Error::Exists);
    }
    for name in ["dir", "FIXED"] {
        assert_error!(handle.rename(&path(name), true, &()).await, Error::AccessDenied);
    }
    let over_file = bench.existing("dir").await.rename(&path("to"), true, &()).await;
    assert_error!(over_file, Error::AccessDenied);
    assert_eq!(bench.names(""), ["To", "dir", "fixed", "from", "twin"]);

    handle.rename(&path("TO"), true, &()).await.unwrap();
    assert_eq!((handle.path().as_str(), bench.content("TO").as_str()), ("TO", "from"));
    // Onto another name of the same file: one of the two goes.
    handle.rename(&path("twin"), true, &()).await.unwrap();
    assert_eq!(bench.names(""), ["dir", "fixed", "twin"]);
    assert_eq!(bench.content("twin"), "from");
}

async fn a_directory_is_renamed_with_what_is_in_it(bench: Bench) {
    fs::create_dir_all(bench.on_disk("a/inner")).unwrap();
    bench.write("a/file", "data");
    let handle = bench.existing("a").await;
    let below = path("a\\inner\\a");
    assert_error!(handle.rename(&below, false, &()).await, Error::Invalid);
    handle.rename(&path("b"), false, &()).await.unwrap();
    assert_eq!(bench.content("b/file"), "data");
    assert_eq!(bench.names(""), ["b"]);
}

async fn a_link_is_another_name_of_the_open_file(bench: Bench) {
    bench.write("file", "data");
    fs::create_dir(bench.on_disk("Dir")).unwrap();
    let handle = bench.existing("file").await;
    let (linked, _) = handle.link(&path("dir\\Twin"), false, &()).await.unwrap();
    assert_eq!((linked, handle.path().as_str()), (path("Dir\\Twin"), "file"));
    assert_eq!(handle.metadata().await.unwrap().links, 2);
    assert_eq!(bench.existing("DIR\\TWIN").await.id(), handle.id());
    handle.remove().await.unwrap();
    assert_eq!((bench.names(""), bench.content("Dir/Twin")), (vec!["Dir".into()], "data".into()));
    assert_error!(handle.link(&path("no\\such"), false, &()).await, Error::PathNotFound);
    let directory = bench.existing("Dir").await;
    assert_error!(directory.link(&path("other"), false, &()).await, Error::IsDirectory);
    // Of which no name is left.
    bench.existing("dir\\twin").await.remove().await.unwrap();
    assert_error!(handle.link(&path("again"), false, &()).await, Error::NotFound);
    assert_eq!(bench.names(""), ["Dir"]);
}

async fn a_link_takes_the_place_of_a_file_only_if_told(bench: Bench) {
    bench.write("file", "data");
    bench.write("Other", "other");
    bench.write("kept", "kept");
    fs::set_permissions(bench.on_disk("kept"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::create_dir(bench.on_disk("dir")).unwrap();
    let handle = bench.existing("file").await;
    for name in ["other", "OTHER", "file", "dir"] {
        assert_error!(handle.link(&path(name), false, &()).await, Error::Exists);
    }
    for name in ["dir", "kept"] {
        assert_error!(handle.link(&path(name), true, &()).await, Error::AccessDenied);
    }
    let linked = handle.link(&path("other"), true, &()).await.unwrap();
    assert_eq!(linked, (path("Other"), true));
    assert_eq!(bench.content("Other"), "data");
    // What is its name already stays so.
    for name in ["file", "Other"] {
        handle.link(&path(name), true, &()).await.unwrap();
    }
    assert_eq!(handle.metadata().await.unwrap().links, 2);
    assert_eq!(bench.names(""), ["Other", "dir", "file", "kept"]);
}

/// A descriptor leads to the file, not a name that could have become another's, or a symbolic link's, since.
async fn what_is_linked_is_the_file_whatever_has_its_name(bench: Bench) {
    bench.write("file", "data");
    fs::write(bench.dir.path().join("outside"), "secret").unwrap();
    let handle = bench.existing("file").await;
    fs::rename(bench.on_disk("file"), bench.on_disk("moved")).unwrap();
    symlink("../outside", bench.on_disk("file")).unwrap();
    handle.link(&path("twin"), false, &()).await.unwrap();
    assert_eq!(bench.content("twin"), "data");
    // And a link on the way to the new name does not lead it out.
    symlink("..", bench.on_disk("up")).unwrap();
    assert_error!(handle.link(&path("up\\twin"), false, &()).await, Error::Escapes);
    assert!(!bench.dir.path().join("twin").exists());
}

async fn removal_takes_the_name_only_while_it_is_this_file(bench: Bench) {
    bench.write("Mine", "old");
    let handle = bench.existing("mine").await;
    fs::remove_file(bench.on_disk("Mine")).unwrap();
    assert_error!(handle.remove().await, Error::NotFound);
    bench.write("Mine", "another");
    assert_error!(handle.remove().await, Error::NotFound);
    assert_eq!(bench.content("Mine"), "another");
    let other = bench.existing("mine").await;
    other.remove().await.unwrap();
    assert!(bench.names("").is_empty());
    // It is still there for those who have it open.
    let metadata = other.metadata().await.unwrap();
    assert_eq!((metadata.links, metadata.size), (0, 7));
}

async fn removal_refuses_a_directory_with_entries_and_the_root(bench: Bench) {
    fs::create_dir(bench.on_disk("dir")).unwrap();
    bench.write("dir/file", "");
    let handle = bench.existing("dir").await;
    assert_error!(handle.remove().await, Error::NotEmpty);
    fs::remove_file(bench.on_disk("dir/file")).unwrap();
    handle.remove().await.unwrap();
    assert!(bench.names("").is_empty());
    let root = bench.existing("").await;
    assert_error!(root.remove().await, Error::AccessDenied);
    assert_error!(root.rename(&path("x"), false, &()).await, Error::AccessDenied);
}

async fn removal_takes_the_link_and_not_its_target(bench: Bench) {
    fs::create_dir(bench.on_disk("dir")).unwrap();
    bench.write("dir/file", "data");
    symlink("dir", bench.on_disk("to-dir")).unwrap();
    symlink("dir/file", bench.on_disk("to-file")).unwrap();
    for link in ["to-dir", "to-file"] {
        bench.existing(link).await.remove().await.unwrap();
    }
    assert_eq!(bench.names(""), ["dir"]);
    assert_eq!(bench.content("dir/file"), "data");
}

async fn five_thousand_entries_are_listed_once_each(bench: Bench) {
    fs::create_dir(bench.on_disk("dir")).unwrap();
    let mut expected: Vec<String> =
        (0..5000).map(|i| format!("a file with a longer name, number {i}")).collect();
    for (i, name) in expected.iter().enumerate() {
        let data = "x".repeat(i % 7);
        bench.write(&format!("dir/{name}"), &data);
    }
    let entries = bench.list("dir").await;
    assert_eq!((entries[0].name.as_str(), entries[1].name.as_str()), (".", ".."));
    expected.extend([".".to_owned(), "..".to_owned()]);
    expected.sort();
    assert_eq!(names(&entries), expected);
    for entry in &entries[2..] {
        let number: usize = entry.name.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(entry.metadata.size, number as u64 % 7);
        assert!(!entry.metadata.is_directory);
    }
    // Above the root there is nothing to be known.
    let root = bench.list("").await;
    assert_eq!(root[0].metadata.key, root[1].metadata.key);
    assert_eq!(root[0].metadata.key, bench.existing("").await.id());
    assert_eq!(entries[1].metadata.key, bench.existing("").await.id());
}

async fn a_listing_shows_links_and_leaves_out_what_cannot_be_spelled_or_is_special(bench: Bench) {
    use std::os::unix::ffi::OsStrExt;
    fs::create_dir(bench.on_disk("Dir")).unwrap();
    bench.write("file", "12345");
    symlink("file", bench.on_disk("good")).unwrap();
    symlink("Dir", bench.on_disk("good-dir")).unwrap();
    symlink("nothing", bench.on_disk("dangling")).unwrap();
    symlink("/etc/passwd", bench.on_disk("outward")).unwrap();
    symlink("loop", bench.on_disk("loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.on_disk("socket")).unwrap();
    symlink("socket", bench.on_disk("to-socket")).unwrap();
    bench.write("a:b", "");
    bench.write("back\\slash", "");
    fs::write(bench.on_disk("").join(std::ffi::OsStr::from_bytes(b"latin\xe9")), "").unwrap();
    let how = Open { read: true, ..ATTRIBUTES };
    let mut stream = bench.open("", how).await.unwrap().handle.read_dir().unwrap();
    let entries = all(&mut stream).await;
    let links = ["dangling", "loop", "outward", "to-socket"];
    let files = ["a\u{f022}b", "back\u{f026}slash", "file", "good"];
    let mut shown = [&[".", "..", "Dir", "good-dir"], &links[..], &files[..]].concat();
    shown.sort_unstable();
    assert_eq!(names(&entries), shown);
    assert_eq!(stream.unpresentable(), 1);
    let of = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap().metadata;
    assert_eq!(of("good").size, 5);
    assert!(of("good-dir").is_directory);
    for entry in &entries {
        let is_link = links.contains(&entry.name.as_str());
        let metadata = entry.metadata;
        assert_eq!(metadata.reparse_tag, is_link.then_some(0xa000_000c), "{}", entry.name);
        assert_eq!(metadata.attributes.contains(Attributes::REPARSE_POINT), is_link);
        assert!(!is_link || (metadata.size == 0 && !metadata.is_directory));
    }
}

async fn attributes_are_kept_and_listed(bench: Bench) {
    bench.write("file", "");
    fs::create_dir(bench.on_disk("dir")).unwrap();
    assert_eq!(bench.attributes("file").await, Attributes::ARCHIVE);
    assert_eq!(bench.attributes("dir").await, Attributes::empty());
    let wanted = Attributes::HIDDEN | Attributes::SYSTEM;
    for (name, set) in [
        ("file", wanted),
        ("file", Attributes::READONLY | wanted),
        ("file", Attributes::READONLY),
        ("file", Attributes::empty()),
        ("dir", wanted),
        ("dir", Attributes::empty()),
    ] {
        let handle = bench.existing(name).await;
        let change = Change { attributes: Some(set), ..Change::default() };
        handle.change(&change).await.unwrap();
        assert_eq!(bench.attributes(name).await, set, "{name}");
        let listed = bench.list("").await;
        let entry = listed.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry.metadata, handle.metadata().await.unwrap(), "{name} {set:?}");
    }
    // READONLY is the mode, as local users see it; a folder's is stored, and nothing to them.
    let mode = |name: &str| fs::metadata(bench.on_disk(name)).unwrap().mode() & 0o777;
    let set = Attributes::READONLY | Attributes::HIDDEN;
    let read_only = Change { attributes: Some(set), ..Change::default() };
    bench.existing("file").await.change(&read_only).await.unwrap();
    bench.existing("dir").await.change(&read_only).await.unwrap();
    assert_eq!((mode("file"), mode("dir")), (0o444, 0o755));
    // The value is the one that Samba reads.
    let mut value = [0; 16];
    let len = rustix::fs::getxattr(bench.on_disk("dir"), "user.DOSATTRIB", &mut value).unwrap();
    assert_eq!(&value[..len], b"0x3");
    assert_eq!(bench.attributes("dir").await, set);
}

/// It is kept until something else changes the file, and so is the time of creation, for good.
async fn times_that_a_file_system_keeps_to_itself_are_set(bench: Bench) {
    bench.write("file", "");
    let handle = bench.existing("file").await;
    let (created, changed) = ((1_000_000_000, 500), (1_100_000_000, 600));
    let change = Change { created: Some(created), changed: Some(changed), ..Change::default() };
    handle.change(&change).await.unwrap();
    let told = bench.existing("file").await.metadata().await.unwrap();
    assert_eq!((told.created, told.changed), (created, changed));
    assert_eq!(bench.list("").await.last().unwrap().metadata, told);

    let later = (1_200_000_000, 0);
    handle.change(&Change { modified: Some(later), ..Change::default() }).await.unwrap();
    let on_disk = fs::metadata(bench.on_disk("file")).unwrap();
    let told = handle.metadata().await.unwrap();
    assert_eq!(told.changed, (on_disk.ctime(), on_disk.ctime_nsec() as u32));
    handle.change(&change).await.unwrap();
    assert_eq!(handle.metadata().await.unwrap().changed, changed);
    handle.set_sparse(true).await.unwrap();
    let on_disk = fs::metadata(bench.on_disk("file")).unwrap();
    let told = handle.metadata().await.unwrap();
    assert_eq!(told.changed, (on_disk.ctime(), on_disk.ctime_nsec() as u32));
    assert_eq!(told.created, created);
}

async fn times_are_kept_to_100_ns(bench: Bench) {
    bench.write("file", "");
    let handle = bench.existing("file").await;
    let before = handle.metadata().await.unwrap();
    assert_eq!(before.created, {
        let born = fs::metadata(bench.on_disk("file")).unwrap().created().unwrap();
        let born = born.duration_since(std::time::UNIX_EPOCH).unwrap();
        (born.as_secs() as i64, born.subsec_nanos())
    });
    let modified = (1_234_567_890, 123_456_700);
    let accessed = (-86_400, 999_999_900);
    let change = Change { modified: Some(modified), ..Change::default() };
    handle.change(&change).await.unwrap();
    let after = handle.metadata().await.unwrap();
    assert_eq!((after.modified, after.accessed), (modified, before.accessed));
    let change = Change { accessed: Some(accessed), ..Change::default() };
    handle.change(&change).await.unwrap();
    let after = handle.metadata().await.unwrap();
    assert_eq!((after.modified, after.accessed), (modified, accessed));
    assert_eq!(after.created, before.created);
}

async fn a_stream_is_an_attribute_as_samba_has_it(bench: Bench) {
    let made = bench.open("file:One", writing(Disposition::Create)).await.unwrap();
    assert!(made.with_file);
    assert_eq!(made.action, Action::Created);
    let one = made.handle;
    one.write_stream(Some(3), Bytes::from_static(b"data")).await.unwrap();
    one.write_stream(None, Bytes::from_static(b"!")).await.unwrap();
    assert_eq!(one.read_stream(2, 4).await.unwrap(), b"\0dat");
    assert_eq!(one.read_stream(9, 4).await.unwrap(), b"");
    assert_eq!(one.metadata().await.unwrap().size, 8);
    let mut value = [0; 16];
    let name = "user.DosStream.One:$DATA";
    let len = rustix::fs::getxattr(bench.on_disk("file"), name, &mut value).unwrap();
    assert_eq!(&value[..len], b"\0\0\0data!\0");
    one.set_len(4).await.unwrap();
    assert_eq!(one.read_stream(0, 99).await.unwrap(), b"\0\0\0d");
    // The file has contents of its own.
    assert_eq!(bench.content("file"), "");
    let file = bench.existing("file").await;
    let expected = [StreamInfo { name: "One".into(), size: 4, allocated: 4 }];
    assert_eq!(file.streams().await.unwrap(), expected);
    assert_eq!(file.metadata().await.unwrap().size, 0);
}

async fn streams_are_found_in_any_case_and_by_each_disposition(bench: Bench) {
    bench.write("file", "");
    let open = async |name: &str, disposition| bench.open(name, writing(disposition)).await;
    assert_error!(open("file:a", Disposition::Open).await, Error::NotFound);
    assert!(!open("file:a", Disposition::OpenIf).await.unwrap().with_file);
    assert_error!(open("file:A", Disposition::Create).await, Error::Exists);
    let same = open("FILE:A:$data", Disposition::OpenIf).await.unwrap();
    assert_eq!((same.action, same.handle.path().as_str()), (Action::Opened, "file:a"));
    let other = open("file:b", Disposition::Create).await.unwrap().handle;
    assert_ne!(same.handle.stream_key(), other.stream_key());
    assert_error!(other.rename_stream("A", false).await, Error::Exists);
    other.rename_stream("B", false).await.unwrap();
    other.rename_stream("A", true).await.unwrap();
    let names = async || {
        let streams = bench.existing("file").await.streams().await.unwrap();
        streams.into_iter().map(|stream| stream.name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["A"]);
    other.remove().await.unwrap();
    assert_eq!(names().await, [""; 0]);
    fs::create_dir(bench.on_disk("dir")).unwrap();
    open("dir:a", Disposition::Create).await.unwrap();
    let directory = Open { kind: Kind::Directory, ..writing(Disposition::OpenIf) };
    assert_error!(bench.open("dir:a", directory).await, Error::NotADirectory);
    assert_error!(bench.open("dir::$DATA", ATTRIBUTES).await, Error::IsDirectory);
}

async fn a_name_that_is_too_long_for_a_stream_is_refused(bench: Bench) {
    let long = "file:".to_owned() + &"n".repeat(250);
    let long = bench.open(&long, writing(Disposition::OpenIf)).await;
    assert_error!(long, Error::NameTooLong);
}

async fn writers_of_streams_do_not_lose_each_others_bytes(bench: Bench) {
    let stream = bench.open("file:a", writing(Disposition::Create)).await.unwrap().handle;
    let writers = (0..20).map(|at| {
        let stream = Arc::clone(&stream);
        ringway::spawn(async move { stream.write_stream(Some(at), Bytes::from_static(b"x")).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(stream.read_stream(0, 99).await.unwrap(), [b'x'; 20]);
}

fn ea(name: &str, value: &[u8]) -> Ea {
    Ea { name: name.into(), value: value.to_vec() }
}

/// Sorted by name: the file system has an order of its own.
async fn eas(handle: &Handle) -> Vec<Ea> {
    let mut eas = handle.eas().await.unwrap();
    eas.sort_by(|a, b| a.name.cmp(&b.name));
    eas
}

/// The sizes as Samba 4.25.1 tells them of these EAs.
async fn an_ea_is_an_attribute_as_samba_has_it(bench: Bench) {
    bench.write("file", "");
    bench.write("none", "");
    let file = bench.existing("file").await;
    assert_eq!((file.eas().await.unwrap(), file.ea_size().await), (Vec::new(), 0));
    let set = [ea("ONE", b"first"), ea("two", b"v2"), ea("three", b"3333333333")];
    file.change_eas(&set).await.unwrap();
    let mut value = [0; 16];
    let len = rustix::fs::getxattr(bench.on_disk("file"), "user.ONE", &mut value).unwrap();
    assert_eq!(&value[..len], b"first");
    // What the server keeps itself, and what is no EA.
    file.change(&Change { attributes: Some(Attributes::HIDDEN), ..Change::default() })
        .await
        .unwrap();
    bench.open("file:stream", writing(Disposition::Create)).await.unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    for (name, value) in [("user.empty", &b""[..]), ("user.a:b", b"x"), ("user.NTACL", b"x")] {
        rustix::fs::setxattr(bench.on_disk("file"), name, value, flags).unwrap();
    }
    assert_eq!(
        eas(&file).await,
        [ea("ONE", b"first"), ea("three", b"3333333333"), ea("two", b"v2")]
    );
    assert_eq!(file.ea_size().await, 60);
    let listed = bench.list("").await;
    let sizes = ["file", "none"]
        .map(|name| listed.iter().find(|entry| entry.name == name).unwrap().ea_size);
    assert_eq!(sizes, [60, 0]);
    let file = listed.iter().find(|entry| entry.name == "file").unwrap();
    assert_eq!(file.metadata.attributes, Attributes::HIDDEN);
}

async fn a_change_of_eas_happens_whole_or_not_at_all(bench: Bench) {
    bench.write("file", "");
    let file = bench.existing("file").await;
    let before = [ea("keep", b"it"), ea("lose", b"it")];
    file.change_eas(&before).await.unwrap();
    for (wrong, expected) in [
        (ea("DosAttrib", b"x"), "AccessDenied"),
        (ea("a:b", b"x"), "NameInvalid"),
        // More than an extended attribute holds, and so than any file system takes.
        (ea("large", &[0; 65_537]), "EaTooLarge"),
    ] {
        let changes = [ea("KEEP", b"not"), ea("lose", b""), ea("new", b"x"), wrong];
        let error = file.change_eas(&changes).await.unwrap_err();
        assert_eq!(format!("{error:?}"), expected);
        assert_eq!(eas(&file).await, before);
    }
    // One that is read-only keeps that, and changes all the same, as on Windows.
    file.change(&Change { attributes: Some(Attributes::READONLY), ..Change::default() })
        .await
        .unwrap();
    file.change_eas(&[ea("Lose", b"")]).await.unwrap();
    assert_eq!(eas(&file).await, before[..1]);
    assert_eq!(fs::metadata(bench.on_disk("file")).unwrap().permissions().mode() & 0o222, 0);
    file.replace_eas(&[ea("other", b"x")]).await.unwrap();
    assert_eq!(eas(&file).await, [ea("other", b"x")]);
}

/// Makes what comes with these EAs.
struct With(Vec<Ea>);

impl Guard for With {
    fn admit(&self, _: Option<&[u8]>, _: bool) -> Result<Option<Security>, Error> {
        Ok(None)
    }

    fn replace(&self, _: Option<&[u8]>, _: &Replaced) -> Result<(), Error> {
        Ok(())
    }

    fn eas(&self) -> &[Ea] {
        &self.0
    }
}

async fn a_new_file_comes_with_its_eas_or_not_at_all(bench: Bench) {
    let open = async |name: &str, kind, eas: Vec<Ea>| {
        let how = Open { kind, ..writing(Disposition::OpenIf) };
        bench.volume.open(None, &path(name), &how, &With(eas)).await
    };
    for (name, kind) in [("file", Kind::File), ("dir", Kind::Directory), ("base:stream", Kind::Any)]
    {
        open(name, kind, vec![ea("a", b"1")]).await.unwrap();
        // What is there keeps its own.
        let handle = open(name, kind, vec![ea("b", b"2")]).await.unwrap().handle;
        assert_eq!(eas(&handle).await, [ea("a", b"1")], "{name}");
    }
    assert_error!(open("no", Kind::File, vec![ea("ntacl", b"x")]).await, Error::AccessDenied);
    assert_eq!(bench.names(""), ["base", "dir", "file"]);
}

async fn eas_are_read_and_changed_as_unix_lets_the_user(bench: Bench) {
    if !is_root() {
        return;
    }
    let nobody = Identity::new(65534, 65534, &[]).unwrap();
    let open = async |name: &str, mode, owner| {
        bench.write(name, "");
        bench.existing(name).await.change_eas(&[ea("a", b"1")]).await.unwrap();
        std::os::unix::fs::chown(bench.on_disk(name), Some(owner), Some(owner)).unwrap();
        fs::set_permissions(bench.on_disk(name), fs::Permissions::from_mode(mode)).unwrap();
        bench.volume.open(Some(&nobody), &path(name), &ATTRIBUTES, &()).await.unwrap().handle
    };
    let change = [ea("b", b"2")];
    let secret = open("secret", 0o600, 0).await;
    assert_error!(secret.eas().await, Error::AccessDenied);
    assert_error!(secret.change_eas(&change).await, Error::AccessDenied);
    for mode in [0o644, 0o444] {
        let readable = open("readable", mode, 0).await;
        assert_eq!(readable.eas().await.unwrap(), [ea("a", b"1")]);
        assert_error!(readable.change_eas(&change).await, Error::AccessDenied);
        assert_eq!(readable.eas().await.unwrap(), [ea("a", b"1")]);
    }
    let own = open("own", 0o444, 65534).await;
    own.change_eas(&change).await.unwrap();
    assert_eq!(eas(&own).await, [ea("a", b"1"), ea("b", b"2")]);
    let mode = fs::metadata(bench.on_disk("own")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o444);
}

async fn an_identity_is_held_to_its_permissions(bench: Bench) {
    if !is_root() {
        return;
    }
    let nobody = Identity::new(65534, 65534, &[]).unwrap();
    let open = async |name: &str, how: Open| {
        bench.volume.open(Some(&nobody), &path(name), &how, &()).await
    };
    bench.write("private", "root's");
    fs::set_permissions(bench.on_disk("private"), fs::Permissions::from_mode(0o600)).unwrap();
    let read = Open { read: true, ..ATTRIBUTES };
    assert_error!(open("private", read).await, Error::AccessDenied);
    assert_error!(open("private", writing(Disposition::OpenIf)).await, Error::AccessDenied);
    assert_error!(open("new", writing(Disposition::Create)).await, Error::AccessDenied);
    // What it is may be known, as `ls` would tell; nothing more.
    let handle = open("PRIVATE", ATTRIBUTES).await.unwrap().handle;
    assert_eq!(handle.metadata().await.unwrap().size, 6);
    let hide = Change { attributes: Some(Attributes::HIDDEN), ..Change::default() };
    assert_error!(handle.change(&hide).await, Error::AccessDenied);
    assert_error!(handle.remove().await, Error::AccessDenied);
    assert_eq!(bench.content("private"), "root's");

    fs::create_dir(bench.on_disk("open")).unwrap();
    fs::set_permissions(bench.on_disk("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let how = Open {
        attributes: Attributes::READONLY | Attributes::HIDDEN,
        ..writing(Disposition::Create)
    };
    let handle = open("open\\mine", how).await.unwrap().handle;
    let metadata = fs::metadata(bench.on_disk("open/mine")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (65534, 65534));
    let set = Change { attributes: Some(Attributes::SYSTEM | Attributes::READONLY), ..hide };
    handle.change(&set).await.unwrap();
    let expected = Attributes::SYSTEM | Attributes::READONLY;
    assert_eq!(handle.metadata().await.unwrap().attributes, expected);
    handle.remove().await.unwrap();
    assert!(bench.names("open").is_empty());
    let how = Open { kind: Kind::Directory, ..writing(Disposition::Create) };
    open("open\\dir", how).await.unwrap();
    assert_eq!(fs::metadata(bench.on_disk("open/dir")).unwrap().uid(), 65534);
}

async fn attributes_are_told_to_who_may_write_a_file_and_not_read_it(bench: Bench) {
    if !is_root() {
        return;
    }
    let nobody = Identity::new(65534, 65534, &[]).unwrap();
    bench.write("file", "");
    let hide = Change { attributes: Some(Attributes::HIDDEN), ..Change::default() };
    bench.existing("file").await.change(&hide).await.unwrap();
    fs::set_permissions(bench.on_disk("file"), fs::Permissions::from_mode(0o622)).unwrap();
    let how = Open { write: true, ..ATTRIBUTES };
    let opened = bench.volume.open(Some(&nobody), &path("file"), &how, &()).await.unwrap();
    assert_eq!(opened.metadata().await.unwrap().attributes, Attributes::HIDDEN);
    assert_eq!(opened.handle.metadata().await.unwrap().attributes, Attributes::HIDDEN);
}

async fn an_open_file_has_its_name_whatever_becomes_of_the_way_to_it(bench: Bench) {
    if !is_root() {
        return;
    }
    let nobody = Identity::new(65534, 65534, &[]).unwrap();
    fs::create_dir_all(bench.on_disk("above/dir")).unwrap();
    let allow = |name: &str, mode| {
        fs::set_permissions(bench.on_disk(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    bench.write("above/dir/File", "");
    let how = path("above\\dir\\File");
    let handle = bench.volume.open(Some(&nobody), &how, &ATTRIBUTES, &()).await.unwrap().handle;
    allow("above", 0o700);
    assert!(handle.has_its_name().await.unwrap());
    // Whether it may go, its own directory says.
    assert!(!handle.may_remove().await);
    assert_error!(handle.remove().await, Error::AccessDenied);
    allow("above/dir", 0o777);
    assert!(handle.may_remove().await);
    fs::rename(bench.on_disk("above/dir/File"), bench.on_disk("above/dir/FILE")).unwrap();
    assert!(handle.has_its_name().await.unwrap());
    bench.write("above/dir/File", "another");
    assert!(!handle.has_its_name().await.unwrap());
    assert_error!(handle.remove().await, Error::NotFound);
    fs::remove_file(bench.on_disk("above/dir/File")).unwrap();
    handle.remove().await.unwrap();
    assert!(bench.names("above/dir").is_empty());
}

async fn who_cannot_list_a_directory_does_not_hide_its_names_from_others(bench: Bench) {
    if !is_root() {
        return;
    }
    fs::create_dir(bench.on_disk("dir")).unwrap();
    bench.write("dir/File", "");
    fs::set_permissions(bench.on_disk("dir"), fs::Permissions::from_mode(0o711)).unwrap();
    let nobody = Identity::new(65534, 65534, &[]).unwrap();
    let open = async |who, name: &str| bench.volume.open(who, &path(name), &ATTRIBUTES, &()).await;
    open(Some(&nobody), "dir\\File").await.unwrap();
    assert_error!(open(Some(&nobody), "dir\\FILE").await, Error::NotFound);
    assert_eq!(open(None, "dir\\FILE").await.unwrap().handle.path(), "dir\\File");
}

async fn who_may_not_search_a_directory_learns_nothing_of_what_is_in_it(bench: Bench) {
    if !is_root() {
        return;
    }
    let mode = |mode| {
        fs::set_permissions(bench.on_disk("dir"), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(bench.on_disk("dir")).unwrap();
    (0..1500).for_each(|number| bench.write(&format!("dir/{number}"), ""));
    let nobody = Identity::new(65534, 65534, &[]).unwrap();
    let read = Open { read: true, ..ATTRIBUTES };
    let stream = async || {
        let opened = bench.volume.open(Some(&nobody), &path("dir"), &read, &()).await.unwrap();
        opened.handle.read_dir().unwrap()
    };
    mode(0o755);
    assert_eq!(all(&mut stream().await).await.len(), 1502);
    // The share's root he knows.
    mode(0o744);
    assert_eq!(names(&all(&mut stream().await).await), [".."]);
    // Under way it is what holds by then.
    mode(0o755);
    let mut stream = stream().await;
    stream.next_matching(|_| true).await.unwrap().unwrap();
    mode(0o744);
    let rest = all(&mut stream).await.len();
    assert!(rest < 1000, "{rest}");
}

async fn a_link_and_its_target_do_not_replace_each_other(bench: Bench) {
    bench.write("file", "data");
    symlink("file", bench.on_disk("link")).unwrap();
    for (from, to) in [("link", "file"), ("file", "link")] {
        let renamed = bench.existing(from).await.rename(&path(to), true, &()).await;
        assert_error!(renamed, Error::AccessDenied);
    }
    assert_eq!(bench.names(""), ["file", "link"]);
    assert_eq!((bench.content("file"), bench.content("link")), ("data".into(), "data".into()));
}

/// A tmpfs that goes with its guard.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(at: &'a Path, size: &str) -> std::io::Result<Self> {
        let options = format!("size={size}");
        let mut mount = std::process::Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output()?;
        let refused = || std::io::Error::other(String::from_utf8_lossy(&mount.stderr).into_owned());
        if mount.status.success() { Ok(Self(at)) } else { Err(refused()) }
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

async fn a_full_file_system_is_no_space(bench: Bench) {
    if !is_root() {
        return;
    }
    let small = bench.on_disk("small");
    fs::create_dir(&small).unwrap();
    let _mounted = match Tmpfs::mount(&small, "1m") {
        Ok(mounted) => mounted,
        Err(error) => return eprintln!("SKIPPED: no tmpfs: {error}"),
    };
    let handle = bench.open("small\\file", writing(Disposition::Create)).await.unwrap().handle;
    let (result, _) = handle.file().unwrap().write_all_at(vec![1; 2 << 20], 0).await;
    assert_error!(result.map_err(Error::from), Error::NoSpace);
    handle.set_len(0).await.unwrap();
    assert_error!(handle.allocate(2 << 20).await, Error::NoSpace);
    assert_error!(handle.check_room(2 << 20).await, Error::NoSpace);
    handle.set_len(600 << 10).await.unwrap();
    handle.allocate(600 << 10).await.unwrap();
    // A part of it is what the old contents take.
    handle.check_room(1000 << 10).await.unwrap();
    handle.set_len(0).await.unwrap();
    // What could not be had as asked for does not stay behind.
    let how = Open { allocation_size: 2 << 20, ..writing(Disposition::Create) };
    assert_error!(bench.open("small\\large", how).await, Error::NoSpace);
    assert_eq!(bench.names("small"), ["file"]);
}

async fn space_is_that_of_the_file_system(bench: Bench) {
    let space = bench.volume.statfs().await.unwrap();
    let stat = rustix::fs::statvfs(bench.dir.path()).unwrap();
    assert_eq!(space.block_size, stat.f_frsize);
    assert_eq!(space.total_bytes, stat.f_blocks * stat.f_frsize);
    assert!(space.available_bytes <= space.free_bytes && space.free_bytes <= space.total_bytes);
}

async fn a_handle_works_on_another_thread(bench: Bench) {
    bench.write("file", "data");
    let handle = bench.existing("file").await;
    let elsewhere = handle.clone();
    let size = std::thread::spawn(move || {
        let runtime = Builder::new().backend(Backend::Epoll).build().unwrap();
        runtime.block_on(async { elsewhere.metadata().await.unwrap().size })
    });
    assert_eq!(size.join().unwrap(), 4);
    let file = fs::File::open(bench.on_disk("file")).unwrap();
    file.read_exact_at(&mut [0; 4], 0).unwrap();
    assert_eq!(handle.metadata().await.unwrap().size, 4);
}

async fn who_opens_to_write_waits_for_a_lease_and_keeps_nobody_waiting(bench: Bench) {
    use std::time::{Duration, Instant};

    use futures_util::future::join;
    use ringway::time::{sleep, timeout};

    const HELD: Duration = Duration::from_millis(100);
    bench.write("file", "before");
    for name in ["file", "FILE"] {
        let reader = bench.open("file", Open::TO_READ).await.unwrap().handle;
        let lease = reader.file().unwrap().read_lease().unwrap();
        let begun = Instant::now();
        let opening = timeout(HELD * 100, bench.open(name, writing(Disposition::OpenIf)));
        let giving_up = async {
            sleep(HELD).await;
            assert!(lease.is_broken());
            drop(lease);
        };
        let (opened, ()) = join(opening, giving_up).await;
        assert!(begun.elapsed() >= HELD);
        opened.expect("it goes on").unwrap();
    }
}
