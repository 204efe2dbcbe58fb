//! Watches on every backend.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use ringway::Runtime;
use ringway::fs::{ChangeFlags, Dir, OFlags, OpenHow, Watch, WatchEvent, WatchFlags, WatchId};
use ringway::time::timeout;
use support::files::scratch;
use support::{poll_now, yield_now};

on_each_backend!(
    what_happens_in_a_directory_is_told_in_order,
    a_renaming_has_two_halves_with_one_cookie,
    what_there_is_is_taken_at_once_even_if_somebody_has_begun_to_wait,
    one_waits_until_something_happens,
    a_dropped_wait_loses_nothing,
    a_watch_ends_when_it_is_removed_or_the_file_is,
    asking_again_replaces_what_was_asked_for,
    a_file_is_watched_without_permission_to_read_through_its_handle,
    too_many_events_are_an_event,
    long_names_come_in_batches,
    a_watch_is_a_stream,
);

async fn next(watch: &mut Watch) -> Vec<WatchEvent> {
    timeout(Duration::from_secs(20), watch.next()).await.expect("within 20 seconds").unwrap()
}

fn change(id: WatchId, what: ChangeFlags, name: &str) -> WatchEvent {
    WatchEvent::Change { id, what, cookie: 0, name: Some(name.into()) }
}

fn touch(dir: &Path, name: impl AsRef<OsStr>) {
    fs::write(dir.join(name.as_ref()), "").unwrap();
}

const NAMES: WatchFlags = WatchFlags::CREATE.union(WatchFlags::DELETE).union(WatchFlags::MOVE);

fn what_happens_in_a_directory_is_told_in_order(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let mut watch = Watch::new().unwrap();
        let id = watch.add(&dir, NAMES).unwrap();
        touch(scratch.path(), "file");
        fs::create_dir(scratch.path().join("below")).unwrap();
        touch(&scratch.path().join("below"), "unseen");
        fs::remove_file(scratch.path().join("file")).unwrap();
        assert_eq!(
            next(&mut watch).await,
            [
                change(id, ChangeFlags::CREATE, "file"),
                change(id, ChangeFlags::CREATE | ChangeFlags::ISDIR, "below"),
                change(id, ChangeFlags::DELETE, "file"),
            ]
        );
    });
}

fn a_renaming_has_two_halves_with_one_cookie(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        touch(scratch.path(), "old");
        let mut watch = Watch::new().unwrap();
        watch.add(&dir, NAMES).unwrap();
        fs::rename(scratch.path().join("old"), scratch.path().join("new")).unwrap();
        let events = next(&mut watch).await;
        let [
            WatchEvent::Change { what: from, cookie, name: old, .. },
            WatchEvent::Change { what: to, cookie: same, name: new, .. },
        ] = events.as_slice()
        else {
            panic!("{events:?}")
        };
        assert_eq!((*from, *to), (ChangeFlags::MOVED_FROM, ChangeFlags::MOVED_TO));
        assert_eq!((old.as_deref(), new.as_deref()), (Some("old".as_ref()), Some("new".as_ref())));
        assert!(cookie == same && *cookie != 0);
    });
}

fn what_there_is_is_taken_at_once_even_if_somebody_has_begun_to_wait(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let mut watch = Watch::new().unwrap();
        let id = watch.add(&dir, NAMES).unwrap();
        assert_eq!(watch.take_ready().unwrap(), []);
        assert!(poll_now(std::pin::pin!(watch.next())).is_pending());
        touch(scratch.path(), "file");
        // The loop has not looked at the kernel since.
        assert_eq!(watch.take_ready().unwrap(), [change(id, ChangeFlags::CREATE, "file")]);
        assert_eq!(watch.take_ready().unwrap(), []);
        touch(scratch.path(), "late");
        assert_eq!(next(&mut watch).await, [change(id, ChangeFlags::CREATE, "late")]);
    });
}

fn one_waits_until_something_happens(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let mut watch = Watch::new().unwrap();
        let id = watch.add(&dir, NAMES).unwrap();
        let waiting = ringway::spawn(async move { next(&mut watch).await });
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!waiting.is_finished());
        touch(scratch.path(), "late");
        assert_eq!(waiting.await.unwrap(), [change(id, ChangeFlags::CREATE, "late")]);
    });
}

fn a_dropped_wait_loses_nothing(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let mut watch = Watch::new().unwrap();
        let id = watch.add(&dir, NAMES).unwrap();
        let mut waiting = Box::pin(watch.next());
        assert!(poll_now(waiting.as_mut()).is_pending());
        touch(scratch.path(), "meanwhile");
        ringway::time::sleep(Duration::from_millis(10)).await;
        drop(waiting);
        assert_eq!(next(&mut watch).await, [change(id, ChangeFlags::CREATE, "meanwhile")]);
    });
}

fn a_watch_ends_when_it_is_removed_or_the_file_is(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let below = scratch.path().join("below");
        fs::create_dir(&below).unwrap();
        let mut watch = Watch::new().unwrap();
        let id = watch.add(&dir, NAMES).unwrap();
        watch.remove(id).unwrap();
        assert_eq!(next(&mut watch).await, [WatchEvent::Ended(id)]);
        assert_eq!(watch.remove(id).unwrap_err().kind(), ErrorKind::InvalidInput);
        touch(scratch.path(), "unseen");

        let id = watch.add(Dir::open_ambient(&below).unwrap(), NAMES).unwrap();
        fs::remove_dir(&below).unwrap();
        assert_eq!(next(&mut watch).await, [WatchEvent::Ended(id)]);
    });
}

fn asking_again_replaces_what_was_asked_for(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let mut watch = Watch::new().unwrap();
        let id = watch.add(&dir, WatchFlags::CREATE).unwrap();
        assert_eq!(watch.add(&dir, WatchFlags::DELETE).unwrap(), id);
        touch(scratch.path(), "file");
        fs::remove_file(scratch.path().join("file")).unwrap();
        assert_eq!(next(&mut watch).await, [change(id, ChangeFlags::DELETE, "file")]);
    });
}

fn a_file_is_watched_without_permission_to_read_through_its_handle(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        touch(scratch.path(), "file");
        let file = dir.open_at("file", &OpenHow::new(OFlags::PATH)).await.unwrap();
        let mut watch = Watch::new().unwrap();
        let id = watch.add(&file, WatchFlags::MODIFY | WatchFlags::ATTRIB).unwrap();
        // The file is watched, whatever it is called.
        fs::rename(scratch.path().join("file"), scratch.path().join("moved")).unwrap();
        fs::write(scratch.path().join("moved"), "x").unwrap();
        let modified = WatchEvent::Change { id, what: ChangeFlags::MODIFY, cookie: 0, name: None };
        assert_eq!(next(&mut watch).await, [modified]);
    });
}

fn too_many_events_are_an_event(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        if limit > 50_000 {
            return eprintln!("SKIPPED: the limit is {limit} here");
        }
        let mut watch = Watch::new().unwrap();
        // Two kinds that alternate: the kernel merges an event with an equal one before it.
        watch.add(&dir, WatchFlags::CREATE | WatchFlags::DELETE).unwrap();
        for _ in 0..=limit / 2 {
            touch(scratch.path(), "file");
            fs::remove_file(scratch.path().join("file")).unwrap();
        }
        let mut events = Vec::new();
        while events.last() != Some(&WatchEvent::Overflow) {
            events.extend(next(&mut watch).await);
        }
        assert_eq!(events.len(), limit + 1);
        // And it goes on.
        touch(scratch.path(), "file");
        assert_eq!(next(&mut watch).await.len(), 1);
    });
}

fn long_names_come_in_batches(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let mut watch = Watch::new().unwrap();
        let id = watch.add(&dir, WatchFlags::CREATE).unwrap();
        let names: Vec<_> = (0..200).map(|i| format!("{i:0>255}")).collect();
        names.iter().for_each(|name| touch(scratch.path(), name));
        let mut events = next(&mut watch).await;
        assert!((1..200).contains(&events.len()), "{} events at once", events.len());
        while events.len() < 200 {
            events.extend(next(&mut watch).await);
        }
        let expected: Vec<_> =
            names.iter().map(|name| change(id, ChangeFlags::CREATE, name)).collect();
        assert!(events == expected);
    });
}

fn a_watch_is_a_stream(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let watch = Watch::new().unwrap();
        let id = watch.add(&dir, NAMES).unwrap();
        let events = watch.flat_map(|batch| futures_util::stream::iter(batch.unwrap()));
        touch(scratch.path(), "one");
        touch(scratch.path(), "two");
        let events: Vec<_> = events.take(2).collect().await;
        assert_eq!(events, ["one", "two"].map(|name| change(id, ChangeFlags::CREATE, name)));
    });
}
