//! Mappings of files, which are sent without being looked at, or under a lease, on every backend.

#[path = "support/policies.rs"]
mod policies;
mod support;

use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use ringway::Runtime;
use ringway::fs::{Dir, File, OFlags, OpenHow, ReadLease};
use ringway::net::TcpStream;
use ringway::time::sleep;
use support::files::{create, scratch};
use support::{pair, pattern, poll_once, yield_now};

const PAGE: usize = 4096;

on_each_backend!(
    a_mapped_part_is_sent_wherever_it_begins,
    what_is_sent_is_the_file_as_it_is_by_then,
    sending_what_has_been_cut_off_is_an_error_and_no_signal,
    a_file_that_is_cut_off_while_a_send_waits_ends_it_with_an_error,
    behind_the_end_there_are_zeros_to_the_end_of_the_page_and_no_more,
    a_range_that_is_not_within_the_mapping_is_refused,
    a_send_that_is_dropped_keeps_the_memory_as_long_as_it_goes_on,
    a_mapping_outlives_its_file_and_goes_with_its_last_clone,
    what_was_not_opened_for_reading_is_not_mapped,
    cached_bytes_are_counted_up_to_the_end_of_the_file,
    what_is_detached_stays_as_it_was_also_while_it_is_sent,
    what_is_missing_cannot_be_detached,
    a_leased_mapping_is_seen_behind_a_head_and_sent_then,
    a_leased_mapping_of_which_something_was_missing_is_not_looked_at_again,
    a_leased_mapping_is_looked_at_by_several_in_turn,
    a_leased_mapping_is_not_looked_at_by_whoever_may_not,
    an_old_lease_is_not_counted_on,
);

refused_on_each_backend!(
    a_mapped_part_is_sent_wherever_it_begins,
    sending_what_has_been_cut_off_is_an_error_and_no_signal,
    a_file_that_is_cut_off_while_a_send_waits_ends_it_with_an_error,
);

/// A file of `bytes`, which are in the page cache.
async fn file_of(bytes: &[u8]) -> (tempfile::TempDir, File) {
    let (guard, dir) = scratch();
    fs::write(guard.path().join("file"), bytes).unwrap();
    let file = dir.open_at("file", &create()).await.unwrap();
    (guard, file)
}

async fn received(stream: &TcpStream, len: usize) -> Vec<u8> {
    let (result, bytes) = stream.recv_exact(Vec::with_capacity(len)).await;
    result.unwrap();
    bytes
}

/// How often the process has mapped something in this directory.
fn mapped_in(guard: &tempfile::TempDir) -> usize {
    // The kernel names what is mounted somewhere else by another path.
    let name = guard.path().file_name().unwrap().to_str().unwrap();
    fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|it| it.contains(name)).count()
}

fn a_mapped_part_is_sent_wherever_it_begins(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern(300 * PAGE + 77);
        let (_guard, file) = file_of(&bytes).await;
        let (client, mut server) = pair().await;
        for (offset, len) in
            [(0, bytes.len()), (1, 1), (PAGE, PAGE), (PAGE + 5, 200 * PAGE), (12_345, 9)]
        {
            let mapping = file.map(u64::try_from(offset).unwrap(), len).unwrap();
            assert_eq!(mapping.len(), len);
            let sending = ringway::spawn(async move {
                server.send_mapped(&mapping, 0..len / 2, true).await.unwrap();
                server.send_mapped(&mapping, len / 2..len, false).await.unwrap();
                server
            });
            assert!(
                received(&client, len).await == bytes[offset..offset + len],
                "{len} at {offset}"
            );
            server = sending.await.unwrap();
        }
    });
}

fn what_is_sent_is_the_file_as_it_is_by_then(rt: Runtime) {
    rt.block_on(async {
        let (_guard, file) = file_of(&[1; 2 * PAGE]).await;
        let (client, server) = pair().await;
        let mapping = file.map(0, 2 * PAGE).unwrap();
        file.write_all_at(vec![2; PAGE], 0).await.0.unwrap();
        server.send_mapped(&mapping, 0..2 * PAGE, false).await.unwrap();
        // It has been copied: what comes after the send changes nothing.
        file.write_all_at(vec![3; 2 * PAGE], 0).await.0.unwrap();
        assert!(received(&client, 2 * PAGE).await == [[2; PAGE], [1; PAGE]].concat());
    });
}

fn sending_what_has_been_cut_off_is_an_error_and_no_signal(rt: Runtime) {
    rt.block_on(async {
        let (_guard, file) = file_of(&pattern(4 * PAGE)).await;
        let (_client, server) = pair().await;
        let mapping = file.map(0, 4 * PAGE).unwrap();
        file.set_len(0).await.unwrap();
        let error = server.send_mapped(&mapping, 0..4 * PAGE, false).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    });
}

fn a_file_that_is_cut_off_while_a_send_waits_ends_it_with_an_error(rt: Runtime) {
    const LEN: usize = 64 << 20;
    rt.block_on(async {
        let (_guard, file) = file_of(&vec![7; LEN]).await;
        let (client, server) = pair().await;
        let mapping = file.map(0, LEN).unwrap();
        let sending =
            ringway::spawn(async move { server.send_mapped(&mapping, 0..LEN, false).await });
        // As much as the sockets take has been sent.
        received(&client, PAGE).await;
        sleep(Duration::from_millis(20)).await;
        file.set_len(0).await.unwrap();
        let mut came = PAGE;
        loop {
            let (result, _) = client.recv(Vec::with_capacity(1 << 20)).await;
            match result.unwrap() {
                0 => break,
                count => came += count,
            }
        }
        assert!(came < LEN, "all of it was sent");
        let error = sending.await.unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    });
}

fn behind_the_end_there_are_zeros_to_the_end_of_the_page_and_no_more(rt: Runtime) {
    rt.block_on(async {
        let (_guard, file) = file_of(&[9; 100]).await;
        let (client, server) = pair().await;
        let mapping = file.map(0, 2 * PAGE).unwrap();
        server.send_mapped(&mapping, 0..PAGE, false).await.unwrap();
        let page = received(&client, PAGE).await;
        assert_eq!((&page[..100], &page[100..]), (&[9; 100][..], &[0; PAGE - 100][..]));
        let error = server.send_mapped(&mapping, PAGE..2 * PAGE, false).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    });
}

fn a_range_that_is_not_within_the_mapping_is_refused(rt: Runtime) {
    rt.block_on(async {
        let (_guard, file) = file_of(&pattern(PAGE)).await;
        let (_client, server) = pair().await;
        let mapping = file.map(10, 90).unwrap();
        #[expect(clippy::reversed_empty_ranges, reason = "what a caller may get wrong")]
        for range in [0..91, 91..92, 50..40, 0..usize::MAX] {
            let error = server.send_mapped(&mapping, range, false).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        for (offset, len) in [(0, 0), (1, usize::MAX), (u64::MAX, 1), (1 << 62, usize::MAX / 2)] {
            assert!(file.map(offset, len).is_err(), "{len} at {offset}");
        }
    });
}

fn a_send_that_is_dropped_keeps_the_memory_as_long_as_it_goes_on(rt: Runtime) {
    const LEN: usize = 64 << 20;
    rt.block_on(async {
        let (guard, file) = file_of(&vec![7; LEN]).await;
        let (client, server) = pair().await;
        let mapping = file.map(0, LEN).unwrap();
        {
            let send = Box::pin(server.send_mapped(&mapping, 0..LEN, false));
            let (polled, send) = poll_once(send).await;
            assert!(polled.is_pending());
            drop(send);
        }
        drop((server, mapping));
        let mut came = 0;
        loop {
            let (result, bytes) = client.recv(Vec::with_capacity(1 << 20)).await;
            match result {
                Ok(0) | Err(_) => break,
                Ok(count) => came += count,
            }
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
        assert!(came < LEN);
        while mapped_in(&guard) > 0 {
            yield_now().await;
        }
    });
}

fn a_mapping_outlives_its_file_and_goes_with_its_last_clone(rt: Runtime) {
    rt.block_on(async {
        let (guard, file) = file_of(&[4; PAGE]).await;
        let (client, server) = pair().await;
        let mapping = file.map(0, PAGE).unwrap();
        let clone = mapping.clone();
        drop((file, mapping));
        assert_eq!(mapped_in(&guard), 1);
        server.send_mapped(&clone, 0..PAGE, false).await.unwrap();
        assert_eq!(received(&client, PAGE).await, [4; PAGE]);
        drop(clone);
        assert_eq!(mapped_in(&guard), 0);
    });
}

fn what_was_not_opened_for_reading_is_not_mapped(rt: Runtime) {
    rt.block_on(async {
        let (guard, dir) = scratch();
        fs::write(guard.path().join("file"), [1; PAGE]).unwrap();
        let file = dir.open_at("file", &OpenHow::new(OFlags::WRONLY)).await.unwrap();
        assert_eq!(file.map(0, PAGE).unwrap_err().kind(), ErrorKind::PermissionDenied);
    });
}

fn cached_bytes_are_counted_up_to_the_end_of_the_file(rt: Runtime) {
    const LEN: usize = 3 * PAGE + 5;
    rt.block_on(async {
        let (_guard, file) = file_of(&[1; LEN]).await;
        for (offset, len, there) in [
            (0, 3 * PAGE, 3 * PAGE),
            (100, LEN - 100, LEN - 100),
            (LEN as u64 - 1, 1, 1),
            (7, 0, 0),
            (100, 1 << 20, LEN - 100),
            (LEN as u64, 10, 0),
            (1 << 40, 10, 0),
        ] {
            assert_eq!(file.cached_len(offset, len), Some(there), "{len} at {offset}");
        }
        assert_eq!(file.cached_len(u64::MAX, 2), None);
    });
}

fn what_is_detached_stays_as_it_was_also_while_it_is_sent(rt: Runtime) {
    const LEN: usize = 32 << 20;
    rt.block_on(async {
        let (guard, file) = file_of(&vec![7; LEN]).await;
        let (client, server) = pair().await;
        let mapping = file.map(5, LEN - 5).unwrap();
        let clone = mapping.clone();
        let sending = ringway::spawn(async move {
            server.send_mapped(&clone, 0..LEN - 5, false).await.unwrap();
            server
        });
        // As much as the sockets take has been sent.
        received(&client, PAGE).await;
        sleep(Duration::from_millis(20)).await;
        mapping.detach().unwrap();
        assert_eq!(mapped_in(&guard), 0);
        file.write_all_at(vec![8; LEN], 0).await.0.unwrap();
        file.set_len(0).await.unwrap();
        assert!(received(&client, LEN - 5 - PAGE).await.iter().all(|byte| *byte == 7));
        let server = sending.await.unwrap();
        mapping.detach().expect("twice is once");
        server.send_mapped(&mapping, 0..PAGE, false).await.unwrap();
        assert_eq!(received(&client, PAGE).await, [7; PAGE]);
    });
}

fn what_is_missing_cannot_be_detached(rt: Runtime) {
    rt.block_on(async {
        let (_guard, file) = file_of(&[9; 2 * PAGE]).await;
        let mapping = file.map(0, 2 * PAGE).unwrap();
        file.set_len(100).await.unwrap();
        assert_eq!(mapping.detach().unwrap_err().raw_os_error(), Some(libc::EIO));
    });
}

/// The same file, which nobody writes to.
async fn leased(guard: &tempfile::TempDir, file: File) -> ReadLease {
    drop(file);
    let dir = Dir::open_ambient(guard.path()).unwrap();
    let file = dir.open_at("file", &OpenHow::new(OFlags::RDONLY)).await.unwrap();
    // Others may fork meanwhile, and have it open until they are what they are to be.
    loop {
        match file.read_lease() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
            lease => return lease.unwrap(),
        }
    }
}

fn a_leased_mapping_is_seen_behind_a_head_and_sent_then(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern(5 * PAGE + 77);
        let (guard, file) = file_of(&bytes).await;
        let lease = leased(&guard, file).await;
        let (client, server) = pair().await;
        for (offset, len) in [(0, 1), (0, PAGE), (PAGE, 3 * PAGE), (2 * PAGE, 3 * PAGE + 77)] {
            for head in [&b""[..], b"head", &[7; PAGE]] {
                let mapping = lease.map(offset as u64, len).unwrap();
                assert_eq!(mapping.len(), len);
                let part = &bytes[offset..offset + len];
                for times in 0..2 {
                    let head = &head[..head.len() >> times];
                    let seen = lease.look(&mapping, head, <[u8]>::to_vec).unwrap();
                    assert_eq!(seen, [head, part].concat());
                    server.send_mapped(mapping.mapping(), 0..len, false).await.unwrap();
                    assert_eq!(received(&client, len).await, part);
                }
            }
        }
        drop(lease);
        assert_eq!(mapped_in(&guard), 0);
    });
}

/// As where a disk fails. What was found in its place is zeros, which are not the file's.
fn a_leased_mapping_of_which_something_was_missing_is_not_looked_at_again(rt: Runtime) {
    rt.block_on(async {
        let (guard, file) = file_of(&pattern(2 * PAGE)).await;
        let lease = leased(&guard, file).await;
        // Nothing of a file lies there.
        let behind = lease.map(8 * PAGE as u64, PAGE).unwrap();
        for _ in 0..2 {
            let error = lease.look(&behind, b"", <[u8]>::to_vec).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
            assert_eq!(behind.mapping().detach().unwrap_err().raw_os_error(), Some(libc::EIO));
        }
        let whole = lease.map(0, PAGE).unwrap();
        assert_eq!(lease.look(&whole, b"", <[u8]>::to_vec).unwrap(), pattern(PAGE));
    });
}

fn a_leased_mapping_is_looked_at_by_several_in_turn(rt: Runtime) {
    rt.block_on(async {
        let (guard, file) = file_of(&pattern(5 * PAGE)).await;
        let lease = leased(&guard, file).await;
        let mapping = lease.map(0, 5 * PAGE).unwrap();
        thread::scope(|scope| {
            for mark in 0..4 {
                let (lease, mapping) = (&lease, mapping.clone());
                scope.spawn(move || {
                    for _ in 0..500 {
                        let seen = lease.look(&mapping, &[mark; 80], <[u8]>::to_vec).unwrap();
                        assert!(seen[..80] == [mark; 80] && seen[80..] == pattern(5 * PAGE));
                    }
                });
            }
            for _ in 0..50 {
                mapping.mapping().detach().unwrap();
            }
        });
    });
}

fn a_leased_mapping_is_not_looked_at_by_whoever_may_not(rt: Runtime) {
    rt.block_on(async {
        let (guard, file) = file_of(&pattern(2 * PAGE)).await;
        let lease = leased(&guard, file).await;
        let other_file = file_of(&pattern(2 * PAGE)).await;
        let other = leased(&other_file.0, other_file.1).await;
        for (offset, len) in [(1, PAGE), (PAGE as u64 + 100, 5), (0, 0), (0, usize::MAX)] {
            assert!(lease.map(offset, len).is_err(), "{len} at {offset}");
        }
        let refused = [
            other.look(&lease.map(0, PAGE).unwrap(), b"", <[u8]>::len),
            lease.look(&lease.map(0, PAGE).unwrap(), &[0; PAGE + 1], <[u8]>::len),
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    });
}

fn an_old_lease_is_not_counted_on(rt: Runtime) {
    rt.block_on(async {
        let (guard, file) = file_of(&pattern(PAGE)).await;
        let lease = leased(&guard, file).await;
        let (early, late) = (lease.map(0, PAGE).unwrap(), lease.map(0, PAGE).unwrap());
        // Asks for it, and does not wait.
        let how = OpenHow::new(OFlags::WRONLY | OFlags::NONBLOCK);
        Dir::open_ambient(guard.path()).unwrap().open_at("file", &how).await.unwrap_err();
        assert!(lease.is_broken());
        lease.look(&early, b"", <[u8]>::len).expect("he who asks waits for a while");
        sleep(Duration::from_millis(700)).await;
        let error = lease.look(&late, b"", <[u8]>::len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}
