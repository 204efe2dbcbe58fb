//! Contents past the page cache.

use ringway::buf::{FixedPool, IoBufExt};

use super::blocks::Mounted;
use super::*;

on_each_backend! {
    a_file_has_the_same_contents_past_the_page_cache,
    only_what_a_file_was_opened_for_is_done_past_the_page_cache,
    whole_blocks_from_the_beginning_of_one_go_past_the_page_cache,
    who_has_refused_is_not_asked_again,
    what_has_no_contents_of_a_files_own_does_not_go_past_the_page_cache,
    btrfs_has_it_too,
}

const LEN: usize = 1 << 20;

/// `None`, and says so, where the file system has no such thing.
async fn direct(handle: &Handle) -> Option<&Direct> {
    let direct = handle.direct().await;
    if direct.is_none() {
        eprintln!("SKIPPED: no O_DIRECT here");
    }
    direct
}

async fn a_file_has_the_same_contents_past_the_page_cache(bench: Bench) {
    same_contents(&bench, "file").await;
}

async fn btrfs_has_it_too(bench: Bench) {
    if is_root()
        && let Some(_mounted) = Mounted::new(&bench, "btrfs")
    {
        same_contents(&bench, "other\\file").await;
    }
}

async fn same_contents(bench: &Bench, name: &str) {
    let handle = bench.open(name, writing(Disposition::Create)).await.unwrap().handle;
    let Some(direct) = direct(&handle).await else { return };
    let pool = FixedPool::new(2, LEN).unwrap();
    let mut ours = pool.try_get().unwrap();
    ours.resize(LEN, b'd');
    assert!(direct.takes_from(&ours) && direct.takes(0, LEN) == LEN);
    let (written, ours) = direct.file().write_fixed_at(ours, 0).await;
    assert_eq!(written.unwrap(), LEN);
    let cached = handle.file().unwrap();
    cached.write_all_at(b"c".repeat(100), 5000).await.0.unwrap();
    let (read, found) = direct.file().read_fixed_at(pool.try_get().unwrap(), 0).await;
    assert_eq!(read.unwrap(), LEN);
    let expected = [&ours[..5000], &b"c".repeat(100), &ours[5100..]].concat();
    assert!(*found == expected);
    // It is the open file, whatever has its name.
    assert_eq!(direct.file().write_fixed_at(ours, 0).await.0.unwrap(), LEN);
    let on_disk = fs::read(bench.on_disk(&name.replace('\\', "/"))).unwrap();
    assert!(on_disk == b"d".repeat(LEN));
}

async fn only_what_a_file_was_opened_for_is_done_past_the_page_cache(bench: Bench) {
    bench.write("file", &"x".repeat(LEN));
    let reading = bench.open("file", Open::TO_READ).await.unwrap().handle;
    let Some(direct) = direct(&reading).await else { return };
    let pool = FixedPool::new(1, LEN).unwrap();
    let (read, buf) = direct.file().read_fixed_at(pool.try_get().unwrap(), 0).await;
    assert_eq!(read.unwrap(), LEN);
    let refused = direct.file().write_fixed_at(buf.slice(..), 0).await.0.unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
}

async fn whole_blocks_from_the_beginning_of_one_go_past_the_page_cache(bench: Bench) {
    bench.write("file", "x");
    let handle = bench.open("file", Open::TO_READ).await.unwrap().handle;
    let Some(direct) = direct(&handle).await else { return };
    let (first, far) = (direct.takes(0, LEN + 1), direct.takes(3 << 40, LEN - 1));
    assert_eq!(first, LEN);
    assert!(far < LEN && far > LEN / 2);
    assert_eq!((direct.takes(1, LEN), direct.takes(LEN as u64 - 1, LEN)), (0, 0));
    assert_eq!(direct.takes(0, 0), 0);
}

async fn who_has_refused_is_not_asked_again(bench: Bench) {
    bench.write("file", "x");
    let handle = bench.open("file", Open::TO_READ).await.unwrap().handle;
    let Some(direct) = direct(&handle).await else { return };
    direct.give_up();
    assert!(handle.direct().await.is_none());
}

async fn what_has_no_contents_of_a_files_own_does_not_go_past_the_page_cache(bench: Bench) {
    fs::create_dir(bench.on_disk("dir")).unwrap();
    bench.write("file", "x");
    assert!(bench.existing("dir").await.direct().await.is_none());
    let stream = bench.open("file:stream", writing(Disposition::Create)).await.unwrap().handle;
    assert!(stream.direct().await.is_none());
}
