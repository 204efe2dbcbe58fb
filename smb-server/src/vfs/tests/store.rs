//! What fits no extended attribute: streams and descriptors in a place of their own. The file systems of tests take far
//! less than 64 KiB of attributes a file, or that much in each; what is stored here is longer than either.

use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};

use super::blocks::Mounted;
use super::*;

on_each_backend! {
    a_stream_that_fits_no_attribute_is_stored,
    a_stream_that_grows_moves_once_and_loses_nothing,
    a_pointer_finds_room_where_the_contents_were,
    what_is_stored_goes_with_the_stream_and_with_the_file,
    what_is_replaced_leaves_nothing_in_the_store,
    a_stored_stream_is_renamed_and_replaced,
    a_stored_stream_that_is_emptied_begins_anew,
    a_copy_made_without_smb_reads_the_original_and_changes_its_own,
    an_attribute_counts_before_what_is_stored,
    what_has_not_come_along_is_no_stream,
    nobody_but_root_points_at_what_is_stored,
    what_others_get_into_is_not_used,
    a_full_store_changes_nothing,
    a_stream_is_stored_beside_attributes_and_belongs_to_the_owner,
    who_may_not_write_a_file_changes_nothing_that_is_stored,
    clients_neither_see_nor_reach_the_store,
    a_long_descriptor_is_stored_once_for_all_files_that_have_it,
    a_stored_descriptor_that_is_damaged_or_gone_lets_nobody_in,
    what_comes_from_another_share_brings_what_is_stored,
    a_snapshot_has_what_was_stored,
    a_sweep_removes_what_no_file_refers_to,
    a_sweep_that_does_not_know_what_is_in_use_removes_nothing,
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// A stream's contents, which need not be in one file.
async fn contents(handle: &Handle) -> Vec<u8> {
    let size = handle.metadata().await.unwrap().size;
    handle.read_stream(0, usize::try_from(size).unwrap() + 1).await.unwrap()
}

impl Bench {
    async fn stream(&self, name: &str) -> Arc<Handle> {
        self.open(name, writing(Disposition::OpenIf)).await.unwrap().handle
    }

    /// One with so many bytes, which are too many for an attribute.
    async fn long_stream(&self, name: &str, len: usize) -> Arc<Handle> {
        let stream = self.stream(name).await;
        stream.write_stream(Some(0), bytes(len).into()).await.unwrap();
        stream
    }

    /// The files in the store.
    fn stored(&self, section: &str) -> Vec<std::path::PathBuf> {
        let entries = |path: &Path| {
            let entries = fs::read_dir(path).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        let fans = entries(&self.on_disk(":usmbd:store").join(section));
        fans.iter().flat_map(|fan| entries(fan)).collect()
    }

    fn attribute(&self, file: &str, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 65_536];
        let len = getxattr(self.on_disk(file), name, &mut value).ok()?;
        value.truncate(len);
        Some(value)
    }

    fn set_attribute(&self, file: &str, name: &str, value: &[u8]) {
        setxattr(self.on_disk(file), name, value, XattrFlags::empty()).unwrap();
    }

    async fn streams(&self, file: &str) -> Vec<(String, u64)> {
        let streams = self.existing(file).await.streams().await.unwrap();
        streams.into_iter().map(|stream| (stream.name, stream.size)).collect()
    }
}

/// As who runs the tests has it.
fn pointer(stream: &str) -> String {
    let namespace = if rustix::process::geteuid().is_root() { "security" } else { "user" };
    format!("{namespace}.usmbd.ads.{stream}")
}

fn attribute(stream: &str) -> String {
    format!("user.DosStream.{stream}:$DATA")
}

async fn a_stream_that_fits_no_attribute_is_stored(bench: Bench) {
    bench.write("file", "contents");
    let stream = bench.long_stream("file:one", 1 << 20).await;
    assert_eq!(contents(&stream).await, bytes(1 << 20));
    let metadata = stream.metadata().await.unwrap();
    assert_eq!((metadata.size, metadata.is_directory), (1 << 20, false));
    assert!(metadata.allocation_size >= 1 << 20);
    assert_eq!(bench.attribute("file", &attribute("one")), None);
    // The version, and 16 bytes.
    assert_eq!(bench.attribute("file", &pointer("one")).unwrap().len(), 17);
    assert_eq!(bench.streams("file").await, [("one".to_owned(), 1 << 20)]);
    let [stored] = bench.stored("streams").try_into().unwrap();
    assert_eq!(fs::read(stored).unwrap(), bytes(1 << 20));
    // By another open, in another case; and in its middle, at its end and far behind that.
    let again = bench.open("FILE:ONE", writing(Disposition::Open)).await.unwrap().handle;
    again.write_stream(Some(5), Bytes::from_static(b"12345")).await.unwrap();
    again.write_stream(None, Bytes::from_static(b"end")).await.unwrap();
    assert_eq!(stream.read_stream(4, 7).await.unwrap(), b"\x0412345\x0a");
    assert_eq!(stream.read_stream(1 << 20, 9).await.unwrap(), b"end");
    assert_eq!(stream.read_stream(1 << 40, 9).await.unwrap(), b"");
    again.write_stream(Some(1 << 33), Bytes::from_static(b"far")).await.unwrap();
    assert_eq!(stream.metadata().await.unwrap().size, (1 << 33) + 3);
    assert_eq!(stream.read_stream((1 << 33) - 1, 9).await.unwrap(), b"\0far");
    let parts = stream.allocated(0..1 << 34, 9).await.unwrap();
    assert!(parts.len() == 2 && parts[1].end == (1 << 33) + 3, "{parts:?}");
    again.set_len(7).await.unwrap();
    assert_eq!(contents(&stream).await, b"\0\x01\x02\x03\x0412");
    stream.sync().await.unwrap();
    assert_eq!(bench.content("file"), "contents");
    // A directory has streams, too.
    fs::create_dir(bench.on_disk("dir")).unwrap();
    let of_directory = bench.long_stream("dir:one", 70_000).await;
    assert_eq!(contents(&of_directory).await, bytes(70_000));
    bench.existing("dir").await.remove().await.unwrap();
    assert_eq!(bench.stored("streams").len(), 1);
}

async fn a_stream_that_grows_moves_once_and_loses_nothing(bench: Bench) {
    let stream = bench.stream("file:log").await;
    let all = bytes(70_000);
    for part in all.chunks(97) {
        let before = bench.stored("streams").first().cloned();
        stream.write_stream(None, Bytes::copy_from_slice(part)).await.unwrap();
        assert!(bench.stored("streams").len() <= 1);
        assert!(before.is_none() || bench.stored("streams").first().cloned() == before);
    }
    assert_eq!(contents(&stream).await, all);
    assert!(bench.attribute("file", &pointer("log")).is_some());
    assert_eq!(bench.attribute("file", &attribute("log")), None);
    let longer = bench.stream("file:longer").await;
    longer.write_stream(Some(0), Bytes::from_static(b"short")).await.unwrap();
    longer.set_len(100_000).await.unwrap();
    let expected = [b"short".as_slice(), &[0; 99_995]].concat();
    assert_eq!(contents(&longer).await, expected);
}

/// On ext4, where all attributes of a file share a block.
async fn a_pointer_finds_room_where_the_contents_were(bench: Bench) {
    let name = "a name that takes more room than the rest of a block has left";
    let stream = bench.stream(&format!("file:{name}")).await;
    let mut held = Vec::new();
    // As long as the attribute will become in small steps.
    while bench.stored("streams").is_empty() && held.len() < 65_000 {
        stream.write_stream(None, Bytes::from_static(b"x")).await.unwrap();
        held.push(b'x');
        // What else there is room for now, down to the last bytes, is taken by others.
        if held.len() == 2000 {
            for (number, size) in [1024, 256, 64, 16, 4].into_iter().cycle().take(40).enumerate() {
                let value = vec![b'o'; size];
                let name = format!("user.other{number}");
                let _ = setxattr(bench.on_disk("file"), name, &value, XattrFlags::empty());
            }
        }
    }
    if bench.stored("streams").is_empty() {
        return eprintln!("SKIPPED: attributes have room for all of a stream here");
    }
    assert_eq!(contents(&stream).await, held);
    assert_eq!(bench.streams("file").await, [(name.to_owned(), held.len() as u64)]);
    // There is none but what it had: the pointer, or what stands for it.
    let value = bench.attribute("file", &attribute(name));
    assert!(value.is_none_or(|value| value.len() < 40));
    stream.write_stream(None, Bytes::from_static(b"more")).await.unwrap();
    assert!(contents(&stream).await.ends_with(b"xmore"));
    stream.remove().await.unwrap();
    assert!(bench.stored("streams").is_empty() && bench.streams("file").await.is_empty());
}

async fn what_is_stored_goes_with_the_stream_and_with_the_file(bench: Bench) {
    let stream = bench.long_stream("file:one", 70_000).await;
    bench.long_stream("file:two", 70_000).await;
    bench.stream("file:short").await;
    stream.remove().await.unwrap();
    assert_eq!(bench.stored("streams").len(), 1);
    assert_error!(stream.read_stream(0, 1).await, Error::NotFound);
    assert_error!(stream.write_stream(None, Bytes::from_static(b"x")).await, Error::NotFound);
    fs::hard_link(bench.on_disk("file"), bench.on_disk("other")).unwrap();
    bench.existing("file").await.remove().await.unwrap();
    assert_eq!(bench.stored("streams").len(), 1);
    bench.existing("other").await.remove().await.unwrap();
    assert!(bench.stored("streams").is_empty());
    bench.long_stream("file:one", 70_000).await;
    bench.existing("file").await.remove_streams().await.unwrap();
    assert!(bench.stored("streams").is_empty() && bench.streams("file").await.is_empty());
    assert!(listxattr(bench.on_disk("file"), &mut [0_u8; 100]).unwrap() == 0);
}

async fn what_is_replaced_leaves_nothing_in_the_store(bench: Bench) {
    bench.write("new", "");
    bench.long_stream("old:one", 70_000).await;
    let new = bench.existing("new").await;
    new.rename(&path("old"), true, &()).await.unwrap();
    assert!(bench.stored("streams").is_empty());
    bench.long_stream("other:one", 70_000).await;
    new.link(&path("other"), true, &()).await.unwrap();
    assert!(bench.stored("streams").is_empty());
    // A file takes its own along.
    bench.long_stream("old:one", 70_000).await;
    new.rename(&path("newer"), true, &()).await.unwrap();
    assert_eq!(bench.streams("newer").await, [("one".to_owned(), 70_000)]);
}

async fn a_stored_stream_is_renamed_and_replaced(bench: Bench) {
    let one = bench.long_stream("file:one", 70_000).await;
    one.rename_stream("ONE", false).await.unwrap();
    assert_eq!(bench.streams("file").await, [("ONE".to_owned(), 70_000)]);
    let two = bench.stream("file:two").await;
    two.write_stream(Some(0), Bytes::from_static(b"two")).await.unwrap();
    assert_error!(one.rename_stream("two", false).await, Error::Exists);
    one.rename_stream("Two", true).await.unwrap();
    assert_eq!(bench.streams("file").await, [("Two".to_owned(), 70_000)]);
    assert_eq!(contents(&one).await, bytes(70_000));
    assert_eq!(bench.stored("streams").len(), 1);
    let short = bench.stream("file:short").await;
    short.write_stream(Some(0), Bytes::from_static(b"short")).await.unwrap();
    short.rename_stream("Two", true).await.unwrap();
    assert_eq!(bench.streams("file").await, [("Two".to_owned(), 5)]);
    assert_eq!(contents(&short).await, b"short");
    assert!(bench.stored("streams").is_empty());
    bench.long_stream("file:a", 70_000).await;
    let other = bench.long_stream("file:b", 80_000).await;
    other.rename_stream("a", true).await.unwrap();
    let expected = [("Two".to_owned(), 5), ("a".to_owned(), 80_000)];
    assert_eq!(bench.streams("file").await, expected);
    assert_eq!(bench.stored("streams").len(), 1);
}

async fn a_stored_stream_that_is_emptied_begins_anew(bench: Bench) {
    let stream = bench.long_stream("file:one", 70_000).await;
    let reader = bench.stream("file:one").await;
    assert_eq!(contents(&reader).await.len(), 70_000);
    stream.set_len(0).await.unwrap();
    assert!(bench.stored("streams").is_empty());
    assert_eq!(bench.attribute("file", &attribute("one")).unwrap(), b"\0");
    assert_eq!(bench.attribute("file", &pointer("one")), None);
    assert_eq!(contents(&reader).await, b"");
    reader.write_stream(None, bytes(70_000).into()).await.unwrap();
    assert_eq!(contents(&stream).await, bytes(70_000));
}

/// `cp -a` and whatever restores a backup copy the attributes.
async fn a_copy_made_without_smb_reads_the_original_and_changes_its_own(bench: Bench) {
    bench.long_stream("file:one", 70_000).await;
    for copy in ["copy", "other"] {
        bench.write(copy, "");
        let value = bench.attribute("file", &pointer("one")).unwrap();
        bench.set_attribute(copy, &pointer("one"), &value);
        let copy = bench.stream(&format!("{copy}:one")).await;
        assert_eq!(contents(&copy).await, bytes(70_000));
    }
    assert_eq!(bench.stored("streams").len(), 1);
    let copy = bench.stream("copy:one").await;
    copy.write_stream(Some(1), Bytes::from_static(b"own")).await.unwrap();
    let original = bench.stream("file:one").await;
    assert_eq!(original.read_stream(0, 5).await.unwrap(), b"\0\x01\x02\x03\x04");
    assert_eq!(contents(&copy).await[..5], *b"\0own\x04");
    assert_eq!(contents(&copy).await[5..], bytes(70_000)[5..]);
    assert_eq!(bench.stored("streams").len(), 2);
    let other = bench.stream("other:one").await;
    other.rename_stream("two", false).await.unwrap();
    assert_eq!(contents(&other).await, bytes(70_000));
    assert_eq!(bench.stored("streams").len(), 3);
    other.remove().await.unwrap();
    let value = bench.attribute("file", &pointer("one")).unwrap();
    bench.set_attribute("other", &pointer("one"), &value);
    // What belongs to the original outlives a copy that has none of its own.
    bench.existing("other").await.remove().await.unwrap();
    assert_eq!(bench.stored("streams").len(), 2);
    bench.existing("file").await.remove().await.unwrap();
    bench.existing("copy").await.remove().await.unwrap();
    assert!(bench.stored("streams").is_empty());
}

/// As after a move that was cut off, and where somebody has written who knows attributes only.
async fn an_attribute_counts_before_what_is_stored(bench: Bench) {
    let stream = bench.long_stream("file:one", 70_000).await;
    bench.set_attribute("file", &attribute("one"), b"newer\0");
    let again = bench.stream("file:one").await;
    assert_eq!(contents(&again).await, b"newer");
    assert_eq!(bench.streams("file").await, [("one".to_owned(), 5)]);
    again.write_stream(None, bytes(70_000).into()).await.unwrap();
    assert_eq!(contents(&stream).await[..7], *b"newer\0\x01");
    bench.set_attribute("file", &attribute("one"), b"newest\0");
    bench.stream("file:one").await.remove().await.unwrap();
    assert!(bench.streams("file").await.is_empty());
    assert_eq!(bench.attribute("file", &pointer("one")), None);
}

async fn what_has_not_come_along_is_no_stream(bench: Bench) {
    bench.write("file", "");
    bench.set_attribute("file", &pointer("one"), &[&[1], [7; 16].as_slice()].concat());
    bench.set_attribute("file", &pointer("two"), b"no pointer");
    assert!(bench.streams("file").await.is_empty());
    let existing = bench.open("file:one", writing(Disposition::Open)).await;
    assert_error!(existing, Error::NotFound);
    for name in ["file:one", "file:two"] {
        let made = bench.open(name, writing(Disposition::Create)).await.unwrap().handle;
        made.write_stream(None, bytes(70_000).into()).await.unwrap();
        assert_eq!(contents(&made).await, bytes(70_000));
    }
    bench.set_attribute("file", &pointer("two"), b"no pointer");
    bench.existing("file").await.remove_streams().await.unwrap();
    assert_eq!(listxattr(bench.on_disk("file"), &mut [0_u8; 99]).unwrap(), 0);
}

async fn nobody_but_root_points_at_what_is_stored(bench: Bench) {
    if !is_root() {
        return;
    }
    bench.long_stream("file:one", 70_000).await;
    bench.write("forged", "");
    let value = bench.attribute("file", &pointer("one")).unwrap();
    bench.set_attribute("forged", "user.usmbd.ads.one", &value);
    assert!(bench.streams("forged").await.is_empty());
    // What stands for a pointer for a while counts for what belongs to the file only.
    let interim = [b"\0usmbd: stored\0", value.as_slice()].concat();
    bench.set_attribute("forged", &attribute("two"), &interim);
    let stream = bench.stream("forged:two").await;
    assert_eq!(contents(&stream).await, interim[..interim.len() - 1]);
    bench.set_attribute("file", &attribute("one"), &interim);
    removexattr(bench.on_disk("file"), pointer("one")).unwrap();
    assert_eq!(bench.streams("file").await, [("one".to_owned(), 70_000)]);
    let own = bench.stream("file:one").await;
    own.write_stream(Some(0), Bytes::from_static(b"own")).await.unwrap();
    assert_eq!(contents(&own).await[..4], *b"own\x03");
}

async fn what_others_get_into_is_not_used(bench: Bench) {
    let store = bench.on_disk(":usmbd:store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    let stream = bench.stream("file:one").await;
    stream.write_stream(None, Bytes::from_static(b"before")).await.unwrap();
    let long = stream.write_stream(None, bytes(70_000).into()).await;
    assert_error!(long, Error::NoSpace);
    fs::remove_dir(&store).unwrap();
    symlink(bench.dir.path(), &store).unwrap();
    assert_error!(stream.write_stream(None, bytes(70_000).into()).await, Error::NoSpace);
    assert_error!(stream.set_len(70_000).await, Error::NoSpace);
    assert_eq!(contents(&stream).await, b"before");
}

async fn a_full_store_changes_nothing(bench: Bench) {
    if !is_root() {
        return;
    }
    let Some(_mounted) = Mounted::new(&bench, "ext4") else { return };
    let volume = Volume::open_root(&bench.on_disk("other"), bench.mapping).unwrap();
    let how = writing(Disposition::OpenIf);
    let stream = volume.open(None, &path("file:one"), &how, &()).await.unwrap().handle;
    stream.write_stream(None, Bytes::from_static(b"before")).await.unwrap();
    let filler = fs::File::create(bench.on_disk("other/filler")).unwrap();
    let room = volume.statfs().await.unwrap().free_bytes;
    for size in [room / 2, 1 << 20, 4096].into_iter().flat_map(|size| [size; 300]) {
        let end = filler.metadata().unwrap().len();
        let _ = rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), end, size);
    }
    assert_error!(stream.write_stream(None, bytes(1 << 20).into()).await, Error::NoSpace);
    assert_eq!(contents(&stream).await, b"before");
    let store = bench.on_disk("other/:usmbd:store/streams");
    let fans = fs::read_dir(store).into_iter().flatten();
    let stored = fans.flat_map(|fan| fs::read_dir(fan.unwrap().path()).unwrap());
    assert_eq!(stored.count(), 0);
}

async fn a_stream_is_stored_beside_attributes_and_belongs_to_the_owner(bench: Bench) {
    if !is_root() {
        return;
    }
    bench.write("file", "");
    std::os::unix::fs::chown(bench.on_disk("file"), Some(12_345), Some(23_456)).unwrap();
    bench.long_stream("file:one", 70_000).await;
    let [stored] = bench.stored("streams").try_into().unwrap();
    let stat = fs::metadata(&stored).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o777), (12_345, 23_456, 0o600));
    assert_eq!(fs::metadata(bench.on_disk(":usmbd:store")).unwrap().mode() & 0o777, 0o700);
}

async fn who_may_not_write_a_file_changes_nothing_that_is_stored(bench: Bench) {
    if !is_root() {
        return;
    }
    bench.write("file", "");
    bench.long_stream("file:one", 70_000).await;
    let user = Identity::new(12_345, 12_345, &[]).unwrap();
    let path = path("file:one");
    let how = Open { read: true, ..ATTRIBUTES };
    let stream = bench.volume.open(Some(&user), &path, &how, &()).await.unwrap().handle;
    assert_eq!(contents(&stream).await, bytes(70_000));
    assert_error!(stream.set_len(0).await, Error::AccessDenied);
    assert_error!(stream.set_len(5).await, Error::AccessDenied);
    assert_error!(stream.rename_stream("two", false).await, Error::AccessDenied);
    assert_error!(stream.remove().await, Error::AccessDenied);
    assert_eq!(bench.streams("file").await, [("one".to_owned(), 70_000)]);
    // To write to a directory's stream takes nothing when it is opened.
    fs::create_dir(bench.on_disk("dir")).unwrap();
    bench.long_stream("dir:one", 70_000).await;
    let of_directory = self::path("dir:one");
    let how = writing(Disposition::Open);
    let stream = bench.volume.open(Some(&user), &of_directory, &how, &()).await.unwrap().handle;
    for offset in [Some(0), None] {
        let written = stream.write_stream(offset, Bytes::from_static(b"x")).await;
        assert_error!(written, Error::AccessDenied);
    }
    assert_error!(stream.zero(0, 5).await, Error::AccessDenied);
    assert_eq!(contents(&stream).await, bytes(70_000));
    fs::set_permissions(bench.on_disk("file"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_error!(bench.volume.open(Some(&user), &path, &how, &()).await, Error::AccessDenied);
}

async fn clients_neither_see_nor_reach_the_store(bench: Bench) {
    bench.long_stream("file:one", 70_000).await;
    assert_eq!(names(&bench.list("").await), [".", "..", "file"]);
    for name in ["\u{f022}usmbd\u{f022}store", "\u{f022}USMBD\u{f022}store\\streams"] {
        assert_error!(bench.open(name, ATTRIBUTES).await, Error::NameInvalid);
    }
    assert!(!is_presentable(":usmbd:store", Mapping::default()));
}

// ---- descriptors

/// One with so many entries for everybody. MS-DTYP 2.4.6, 2.4.5, 2.4.4.2.
fn descriptor(entries: u16) -> Vec<u8> {
    let sid = b"\x01\x01\0\0\0\0\0\x01\0\0\0\0";
    let ace = [b"\0\0\x14\0\xff\x01\x1f\0".as_slice(), sid].concat();
    let size = 8 + ace.len() as u16 * entries;
    let header = [b"\x01\0\x04\x80\x14\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0".as_slice(), sid].concat();
    let acl = [[2, 0], size.to_le_bytes(), entries.to_le_bytes(), [0; 2]].concat();
    [header, acl, ace.repeat(entries.into())].concat()
}

async fn keep(bench: &Bench, file: &str, descriptor: &[u8]) -> Result<(), Error> {
    let security = Security { descriptor: descriptor.to_vec(), acl: None, default_acl: None };
    bench.existing(file).await.set_security(&security).await
}

async fn a_long_descriptor_is_stored_once_for_all_files_that_have_it(bench: Bench) {
    // More than a file has attributes for on any file system.
    let long = descriptor(3276);
    assert!(long.len() > 65_536);
    for file in ["one", "two"] {
        bench.write(file, "");
        keep(&bench, file, &long).await.unwrap();
        assert_eq!(bench.existing(file).await.security().await.unwrap().as_ref(), Some(&long));
    }
    let [stored] = bench.stored("descriptors").try_into().unwrap();
    assert_eq!(fs::read(&stored).unwrap(), long);
    // Out of the way again.
    let short = descriptor(1);
    keep(&bench, "one", &short).await.unwrap();
    assert_eq!(bench.existing("one").await.security().await.unwrap(), Some(short));
    assert_eq!(bench.existing("two").await.security().await.unwrap(), Some(long));
}

async fn a_stored_descriptor_that_is_damaged_or_gone_lets_nobody_in(bench: Bench) {
    bench.write("file", "");
    let long = descriptor(3276);
    keep(&bench, "file", &long).await.unwrap();
    let [stored] = bench.stored("descriptors").try_into().unwrap();
    let mut damaged = long.clone();
    damaged[100] ^= 1;
    for contents in [damaged, long[..long.len() - 1].to_vec(), Vec::new()] {
        fs::write(&stored, &contents).unwrap();
        assert_error!(bench.existing("file").await.security().await, Error::AccessDenied);
    }
    fs::remove_file(&stored).unwrap();
    assert_error!(bench.existing("file").await.security().await, Error::AccessDenied);
    keep(&bench, "file", &long).await.unwrap();
    assert_eq!(bench.existing("file").await.security().await.unwrap(), Some(long));
}

// ---- several shares, snapshots, and what is left behind

/// Of which one is in the other.
async fn what_comes_from_another_share_brings_what_is_stored(bench: Bench) {
    fs::create_dir(bench.on_disk("inner")).unwrap();
    let inner = Volume::open_root(&bench.on_disk("inner"), bench.mapping).unwrap();
    inner.know_others([&bench.volume, &inner].into_iter());
    bench.volume.know_others([&bench.volume, &inner].into_iter());
    let how = writing(Disposition::OpenIf);
    let by_inner = async |name| inner.open(None, &path(name), &how, &()).await.unwrap().handle;
    let made = by_inner("file:one").await;
    made.write_stream(None, bytes(70_000).into()).await.unwrap();
    assert!(bench.stored("streams").is_empty());
    let same = bench.stream("inner\\file:one").await;
    assert_eq!(contents(&same).await, bytes(70_000));
    same.write_stream(Some(0), Bytes::from_static(b"x")).await.unwrap();
    bench.existing("inner\\file").await.rename(&path("file"), false, &()).await.unwrap();
    let moved = bench.stream("file:one").await;
    assert_eq!(contents(&moved).await[..2], *b"x\x01");
    fs::rename(bench.on_disk("file"), bench.on_disk("inner/back")).unwrap();
    let back = by_inner("back:one").await;
    assert_eq!(contents(&back).await.len(), 70_000);
    bench.existing("inner\\back").await.remove().await.unwrap();
    let store = bench.on_disk("inner/:usmbd:store/streams");
    let fans = fs::read_dir(store).unwrap();
    assert!(fans.flat_map(|fan| fs::read_dir(fan.unwrap().path()).unwrap()).next().is_none());
}

/// As tools make them that copy a tree, with all of its attributes.
async fn a_snapshot_has_what_was_stored(bench: Bench) {
    bench.long_stream("file:one", 70_000).await;
    let taken = bench.dir.path().join("@GMT-2026.01.02-03.04.05");
    let copy = std::process::Command::new("cp")
        .args(["-a", "--preserve=all"])
        .arg(bench.on_disk(""))
        .arg(&taken)
        .status();
    assert!(copy.unwrap().success());
    bench.existing("file").await.remove().await.unwrap();
    assert!(bench.stored("streams").is_empty());
    let snapshots = Snapshots::new(bench.dir.path(), &bench.on_disk(""));
    let [snapshot] = <[_; 1]>::try_from(snapshots.list().await.unwrap().to_vec()).unwrap();
    let volume = snapshots.open(snapshot.taken, bench.mapping).await.unwrap().unwrap();
    let how = Open { read: true, ..ATTRIBUTES };
    let stream = volume.open(None, &path("file:one"), &how, &()).await.unwrap().handle;
    assert_eq!(contents(&stream).await, bytes(70_000));
}

async fn a_sweep_removes_what_no_file_refers_to(bench: Bench) {
    let folders = [bench.on_disk("")];
    let day = std::time::Duration::from_secs(24 * 3600);
    let none = std::time::Duration::ZERO;
    assert_eq!(sweep(&folders, none, false).unwrap(), Swept::default());
    fs::create_dir(bench.on_disk("dir")).unwrap();
    let kept = bench.long_stream("dir:kept", 70_000).await;
    for name in ["gone", "dir\\file"] {
        bench.long_stream(&format!("{name}:one"), 70_000).await;
        keep(&bench, name, &descriptor(if name == "gone" { 3276 } else { 3275 })).await.unwrap();
    }
    // As if a writer had been stopped.
    let fan = bench.stored("streams")[0].parent().unwrap().to_owned();
    let unfinished = fan.join("0123456789abcdef0123456789abcdef.0123");
    fs::write(&unfinished, "unfinished").unwrap();
    fs::remove_file(bench.on_disk("gone")).unwrap();
    let all = || bench.stored("streams").len() + bench.stored("descriptors").len();
    assert_eq!(all(), 6);
    let early = sweep(&folders, day, false).unwrap();
    assert_eq!((early.removed.len(), early.kept, all()), (0, 6, 6));
    let dry = sweep(&folders, none, true).unwrap();
    assert_eq!((dry.removed.len(), dry.kept, all()), (3, 3, 6));
    // The same folder twice, and one in another.
    let folders = [bench.on_disk(""), bench.on_disk(""), bench.on_disk("dir")];
    let swept = sweep(&folders, none, false).unwrap();
    assert_eq!((&swept.removed, swept.kept, all()), (&dry.removed, 3, 3));
    assert!(!unfinished.exists());
    assert_eq!(contents(&kept).await, bytes(70_000));
    let other = bench.stream("dir\\file:one").await;
    assert_eq!(contents(&other).await, bytes(70_000));
    let descriptor = bench.existing("dir\\file").await.security().await.unwrap();
    assert_eq!(descriptor.unwrap().len(), self::descriptor(3275).len());
}

async fn a_sweep_that_does_not_know_what_is_in_use_removes_nothing(bench: Bench) {
    let none = std::time::Duration::ZERO;
    let missing = sweep(&[bench.on_disk(""), bench.on_disk("missing")], none, false);
    assert!(missing.unwrap_err().to_string().contains("missing"));
    bench.long_stream("file:one", 70_000).await;
    fs::remove_file(bench.on_disk("file")).unwrap();
    let store = bench.on_disk(":usmbd:store");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o750)).unwrap();
    let another = sweep(&[bench.on_disk("")], none, false);
    assert!(matches!(another, Err(SweepError::Another { .. })));
    assert_eq!(bench.stored("streams").len(), 1);
}
