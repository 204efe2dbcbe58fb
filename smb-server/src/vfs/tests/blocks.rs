//! What is done with blocks, on file systems that can and on others.

use std::process::Command;

use super::*;

on_each_backend! {
    what_a_file_system_can_do_is_found_out,
    a_range_is_shared_and_takes_no_room,
    a_range_that_cannot_be_shared_is_refused,
    what_is_trimmed_is_zeros_and_the_rest_stays,
    compression_is_an_attribute_that_new_files_inherit,
    what_is_compressed_takes_less_room,
}

/// A new file system in the share, at `other`, in an image beside it. It goes with its guard.
pub(super) struct Mounted(std::path::PathBuf);

impl Mounted {
    /// `None`, and says so, where that cannot be had.
    pub(super) fn new(bench: &Bench, kind: &str) -> Option<Self> {
        let (at, image) = (bench.on_disk("other"), bench.dir.path().join("image"));
        fs::create_dir(&at).unwrap();
        let run = |command: &mut Command| {
            let done = command.output().map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            if done.status.success() { Ok(()) } else { Err(said) }
        };
        let mounted =
            fs::File::create(&image).map_err(|error| error.to_string()).and_then(|file| {
                file.set_len(256 << 20).unwrap();
                run(Command::new(format!("/usr/sbin/mkfs.{kind}")).arg("-q").arg(&image))?;
                run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))
            });
        if let Err(why) = &mounted {
            eprintln!("SKIPPED: no {kind}: {why}");
        }
        mounted.is_ok().then_some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Bytes that do not repeat and cannot be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(next).take(length).collect()
}

async fn made(bench: &Bench, name: &str, content: Vec<u8>) -> Arc<Handle> {
    let handle = bench.open(name, writing(Disposition::Create)).await.unwrap().handle;
    handle.file().unwrap().write_all_at(content, 0).await.0.unwrap();
    handle
}

async fn what_a_file_system_can_do_is_found_out(bench: Bench) {
    if !is_root() {
        return;
    }
    let expected = |clones, compresses| Abilities { clones, punches: true, compresses };
    // ext4 takes the flag of a compressed file and compresses nothing.
    for (kind, expected) in [("btrfs", expected(true, true)), ("ext4", expected(false, false))] {
        let Some(mounted) = Mounted::new(&bench, kind) else { return };
        bench.write("other/file", "data");
        // Through the file, through its directory, and as what is known already.
        for name in ["other\\file", "other", "other\\file"] {
            assert_eq!(bench.existing(name).await.abilities().await, expected, "{kind} {name}");
        }
        assert_eq!(bench.names("other").iter().filter(|name| *name != "lost+found").count(), 1);
        drop(mounted);
        fs::remove_dir(bench.on_disk("other")).unwrap();
    }
}

async fn a_range_is_shared_and_takes_no_room(bench: Bench) {
    const LENGTH: usize = 16 << 20;
    if !is_root() {
        return;
    }
    let Some(_mounted) = Mounted::new(&bench, "btrfs") else { return };
    let content = noise(LENGTH);
    let source = made(&bench, "other\\source", content.clone()).await;
    let target = made(&bench, "other\\target", Vec::new()).await;
    source.sync().await.unwrap();
    let free = || rustix::fs::statvfs(bench.on_disk("other")).unwrap();
    let before = free();
    assert_eq!(target.block_size().await.unwrap(), before.f_bsize);
    target.clone_range(0, &source, 0, LENGTH as u64).await.unwrap();
    target.sync().await.unwrap();
    let taken = before.f_bfree.saturating_sub(free().f_bfree) * before.f_frsize;
    assert!(taken < 1 << 20, "{taken} bytes");
    assert!(fs::read(bench.on_disk("other/target")).unwrap() == content);
    // Written to, it is the other's no longer.
    target.file().unwrap().write_all_at(b"other".as_slice(), 0).await.0.unwrap();
    assert!(fs::read(bench.on_disk("other/source")).unwrap() == content);
}

async fn a_range_that_cannot_be_shared_is_refused(bench: Bench) {
    if !is_root() {
        return;
    }
    let Some(_mounted) = Mounted::new(&bench, "btrfs") else { return };
    let source = made(&bench, "other\\source", noise(16384)).await;
    let target = made(&bench, "other\\target", vec![7; 16384]).await;
    let elsewhere = made(&bench, "elsewhere", vec![7; 16384]).await;
    assert_error!(target.clone_range(1, &source, 0, 4096).await, Error::Invalid);
    assert_error!(target.clone_range(0, &source, 0, 100).await, Error::Invalid);
    assert_error!(target.clone_range(4096, &target, 0, 8192).await, Error::Invalid);
    assert_error!(elsewhere.clone_range(0, &source, 0, 4096).await, Error::CrossDevice);
    let stream = bench.open("other\\target:s", writing(Disposition::Create)).await.unwrap().handle;
    assert_error!(stream.clone_range(0, &source, 0, 4096).await, Error::NotSupported);
    assert!(fs::read(bench.on_disk("other/target")).unwrap() == [7; 16384]);
}

async fn what_is_trimmed_is_zeros_and_the_rest_stays(bench: Bench) {
    let block = bench.volume.statfs().await.unwrap().block_size as usize;
    let content = noise(3 * block);
    let file = made(&bench, "file", content.clone()).await;
    let middle = block as u64..2 * block as u64;
    match file.trim(middle).await {
        Err(Error::NotSupported) => return eprintln!("SKIPPED: blocks cannot be given back here"),
        trimmed => trimmed.unwrap(),
    }
    let now = fs::read(bench.on_disk("file")).unwrap();
    assert!(now == [&content[..block], &vec![0; block], &content[2 * block..]].concat());
    file.trim(5..5).await.unwrap();
    let stream = bench.open("file:s", writing(Disposition::Create)).await.unwrap().handle;
    stream.write_stream(None, Bytes::from_static(b"kept")).await.unwrap();
    stream.trim(0..4).await.unwrap();
    assert_eq!(stream.read_stream(0, 9).await.unwrap(), b"kept");
}

async fn compression_is_an_attribute_that_new_files_inherit(bench: Bench) {
    if !is_root() {
        return;
    }
    let Some(_mounted) = Mounted::new(&bench, "btrfs") else { return };
    let compressed = async |name| bench.attributes(name).await.contains(Attributes::COMPRESSED);
    let make = Open { kind: Kind::Directory, ..writing(Disposition::Create) };
    let directory = bench.open("other\\d", make).await.unwrap().handle;
    assert!(!compressed("other\\d").await);
    directory.set_compressed(true).await.unwrap();
    // With something stored of it, in which this is not.
    let hidden = Open { attributes: Attributes::HIDDEN, ..writing(Disposition::Create) };
    let file = bench.open("other\\d\\file", hidden).await.unwrap().handle;
    let attributes = Attributes::ARCHIVE | Attributes::HIDDEN;
    assert_eq!(bench.attributes("other\\d\\file").await, attributes | Attributes::COMPRESSED);
    let change = Change { attributes: Some(attributes), ..Change::default() };
    file.change(&change).await.unwrap();
    let mut stored = [0; 64];
    let on_disk = bench.on_disk("other/d/file");
    let length = rustix::fs::getxattr(&on_disk, c"user.DOSATTRIB", &mut stored).unwrap();
    assert_eq!(stored[..length], *b"0x22");
    // Asked for not to be, in either kind.
    let plain = Open { uncompressed: true, ..writing(Disposition::Create) };
    bench.open("other\\d\\plain", plain).await.unwrap();
    bench.open("other\\d\\e", Open { kind: Kind::Directory, ..plain }).await.unwrap();
    let listed = bench.list("other\\d").await;
    let mut listed: Vec<_> = listed
        .iter()
        .map(|entry| (&*entry.name, entry.metadata.attributes.contains(Attributes::COMPRESSED)))
        .collect();
    listed.sort_unstable();
    let expected = [(".", true), ("..", false), ("e", false), ("file", true), ("plain", false)];
    assert_eq!(listed, expected);
    directory.set_compressed(false).await.unwrap();
    assert!(!compressed("other\\d").await && compressed("other\\d\\file").await);
    file.set_compressed(false).await.unwrap();
    assert!(!compressed("other\\d\\file").await);
}

async fn what_is_compressed_takes_less_room(bench: Bench) {
    const LENGTH: usize = 16 << 20;
    if !is_root() {
        return;
    }
    let Some(_mounted) = Mounted::new(&bench, "btrfs") else { return };
    let free = || rustix::fs::statvfs(bench.on_disk("other")).unwrap();
    for (name, compressed) in [("other\\plain", false), ("other\\packed", true)] {
        let before = free();
        let file = made(&bench, name, Vec::new()).await;
        file.set_compressed(compressed).await.unwrap();
        let text = b"as compressible as can be ".repeat(LENGTH.div_ceil(26));
        file.file().unwrap().write_all_at(text, 0).await.0.unwrap();
        file.sync().await.unwrap();
        let taken = before.f_bfree.saturating_sub(free().f_bfree) * before.f_frsize;
        assert_eq!(taken < LENGTH as u64 / 2, compressed, "{name}: {taken} bytes");
    }
}
