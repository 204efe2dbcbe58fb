//! Watches of whole file systems on every backend.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringway::Runtime;
use ringway::fs::{Dir, FileHandle, FilesystemChange, FilesystemEvent, FilesystemWatch};
use ringway::time::timeout;
use support::files::scratch;

on_each_backend!(
    changes_are_told_with_the_process_and_the_directory,
    a_renaming_tells_both_names,
    nothing_is_told_while_it_is_stopped,
    a_handle_leads_to_its_directory_and_to_nothing_afterwards,
);

/// A watch of the file system that the directory is on; `None` where there can be none.
fn watch(dir: &Dir) -> Option<FilesystemWatch> {
    match FilesystemWatch::new(dir) {
        Ok(watch) => Some(watch),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

/// What happened so far in the directory, until something that `last` knows.
async fn events_in(
    watch: &mut FilesystemWatch,
    dir: &FileHandle,
    last: fn(FilesystemChange) -> bool,
) -> Vec<(FilesystemChange, String, Option<String>, u32)> {
    let mut found = Vec::new();
    loop {
        let events =
            timeout(Duration::from_secs(20), watch.next()).await.expect("within 20 s").unwrap();
        for event in events {
            let FilesystemEvent::Change { what, pid, place, renamed_to, .. } = event else {
                panic!("{event:?}")
            };
            if place.directory != *dir {
                continue;
            }
            let name = |name: std::ffi::OsString| name.into_string().unwrap();
            let to = renamed_to.and_then(|to| to.name).map(name);
            found.push((what, place.name.map(name).unwrap_or_default(), to, pid));
            if last(what) {
                return found;
            }
        }
    }
}

fn path_of(file: impl std::os::fd::AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())).unwrap()
}

/// Has another process make something, and tells its number.
fn other_process(dir: &Path, script: &str) -> u32 {
    let mut child = Command::new("sh").args(["-c", script]).current_dir(dir).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    pid
}

fn changes_are_told_with_the_process_and_the_directory(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let Some(mut watch) = watch(&dir) else { return };
        watch.start().unwrap();
        fs::create_dir(scratch.path().join("own")).unwrap();
        let pid = other_process(scratch.path(), "exec mkdir other");
        fs::write(scratch.path().join("last"), "").unwrap();
        let handle = FileHandle::of(&dir).unwrap();
        let events =
            events_in(&mut watch, &handle, |what| !what.contains(FilesystemChange::ONDIR)).await;
        let (made, own) = (FilesystemChange::CREATE | FilesystemChange::ONDIR, std::process::id());
        let expected = [(made, "own".into(), None, own), (made, "other".into(), None, pid)];
        assert_eq!(events[..2], expected);
        assert_eq!(path_of(handle.open(&dir).unwrap()), scratch.path().canonicalize().unwrap());
    });
}

fn a_renaming_tells_both_names(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let Some(mut watch) = watch(&dir) else { return };
        fs::write(scratch.path().join("old"), "").unwrap();
        watch.start().unwrap();
        fs::rename(scratch.path().join("old"), scratch.path().join("new")).unwrap();
        let handle = FileHandle::of(&dir).unwrap();
        let events = events_in(&mut watch, &handle, |_| true).await;
        let renamed = FilesystemChange::RENAME;
        assert_eq!(events, [(renamed, "old".into(), Some("new".into()), std::process::id())]);
    });
}

fn nothing_is_told_while_it_is_stopped(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let Some(mut watch) = watch(&dir) else { return };
        fs::write(scratch.path().join("before"), "").unwrap();
        watch.start().unwrap();
        fs::write(scratch.path().join("seen"), "").unwrap();
        watch.stop().unwrap();
        fs::write(scratch.path().join("between"), "").unwrap();
        watch.start().unwrap();
        fs::create_dir(scratch.path().join("last")).unwrap();
        let handle = FileHandle::of(&dir).unwrap();
        let events =
            events_in(&mut watch, &handle, |what| what.contains(FilesystemChange::ONDIR)).await;
        let names: Vec<_> = events.iter().map(|(_, name, ..)| name.as_str()).collect();
        assert_eq!(names, ["seen", "last"]);
    });
}

fn a_handle_leads_to_its_directory_and_to_nothing_afterwards(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        if watch(&dir).is_none() {
            return;
        }
        let (below, moved) = (scratch.path().join("below"), scratch.path().join("moved"));
        fs::create_dir(&below).unwrap();
        let handle = FileHandle::of(Dir::open_ambient(&below).unwrap()).unwrap();
        fs::rename(&below, &moved).unwrap();
        assert_eq!(path_of(handle.open(&dir).unwrap()), moved.canonicalize().unwrap());
        fs::remove_dir(&moved).unwrap();
        let error = handle.open(&dir).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESTALE));
    });
}
