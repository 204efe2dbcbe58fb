//! Cancels that come too late, and drops of what the kernel is at: bytes are neither lost nor written
//! where they no longer belong.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use libtest_mimic::{Failed, Trial};
use ringway::cancel::CancelToken;
use ringway::fs::{Dir, File, Mode, OFlags, OpenHow, StatxFlags};
use ringway::time::sleep;
use ringway::{Builder, OpKind, Policy, Rung};
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::case::pattern;
use crate::config::{self, BACKENDS};
use crate::connections::{begin, pair};
use crate::drops::{drained, never_inline};
use crate::emulated::is_emulated;
use crate::watched::Watched;

const CANCELS: usize = 200;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, backend, run: fn(Builder) -> Result<(), Failed>| {
        config::on_backend(format!("cancels::{name}::{backend}"), backend, run)
    };
    let of = |backend| {
        [
            trial("receives_that_have_their_bytes", backend, late_for_receives),
            trial("reads_that_are_over_or_on_their_way", backend, late_for_reads),
            trial("a_dropped_read_keeps_its_buffer", backend, dropped_reads),
            trial("a_dropped_append_keeps_its_buffer", backend, dropped_appends),
            trial("appends_behind_dropped_ones_are_made", backend, appends_behind_dropped),
        ]
    };
    BACKENDS.into_iter().flat_map(of).collect()
}

/// A receive answers with its bytes, or was cancelled and has left them where they were.
fn late_for_receives(builder: Builder) -> Result<(), Failed> {
    let runtime = builder.build()?;
    let pairs: Vec<_> = (0..CANCELS).map(|_| pair()).collect();
    let token = CancelToken::new();
    runtime.block_on(async {
        let mut receives: Vec<_> = pairs
            .iter()
            .map(|(stream, _)| Box::pin(token.run(stream.recv(vec![0; 100]))))
            .collect();
        receives.iter_mut().for_each(|receive| assert!(!begin(receive)));
        sleep(Duration::from_millis(5)).await;
        for (number, (_, peer)) in pairs.iter().enumerate() {
            { peer }.write_all(&[number as u8; 9]).unwrap();
        }
        token.cancel();
        let answers = join_all(receives).await;
        for (number, ((result, buf), (stream, _))) in answers.into_iter().zip(&pairs).enumerate() {
            let received = match result {
                Ok(count) => buf[..count].to_vec(),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                    let (count, buf) = stream.recv(vec![0; 100]).await;
                    buf[..count.unwrap()].to_vec()
                }
            };
            assert_eq!(received, [number as u8; 9]);
        }
    });
    drained(&runtime)
}

/// A read answers with all its bytes, or was cancelled.
fn late_for_reads(builder: Builder) -> Result<(), Failed> {
    let runtime = builder.policy(never_inline()).build()?;
    let (scratch, content) = scratch("file", 20_000)?;
    let dir = Dir::open_ambient(scratch.path())?;
    runtime.block_on(async {
        let file = open(&dir, "file", OFlags::RDONLY).await;
        for pause in [0, 1, 20] {
            let token = CancelToken::new();
            let mut reads: Vec<_> = (0..CANCELS)
                .map(|_| Box::pin(token.run(file.read_at(vec![0; 20_000], 0))))
                .collect();
            reads.iter_mut().for_each(|read| assert!(!begin(read)));
            sleep(Duration::from_millis(pause)).await;
            token.cancel();
            for (result, buf) in join_all(reads).await {
                match result {
                    Ok(count) => assert!(buf[..count] == content),
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
                }
            }
        }
    });
    drained(&runtime)
}

/// A directory beside the executable, for a temporary one may be in memory, where nothing takes time;
/// and a file in it.
fn scratch(name: &str, len: usize) -> Result<(TempDir, Vec<u8>), Failed> {
    let beside = std::env::current_exe()?;
    let scratch = tempfile::tempdir_in(beside.parent().unwrap_or(Path::new("/")))?;
    let content = pattern(len);
    let mut file = std::fs::File::create(scratch.path().join(name))?;
    file.write_all(&content)?;
    file.sync_all()?;
    Ok((scratch, content))
}

async fn open(dir: &Dir, name: &str, flags: OFlags) -> File {
    dir.open_at(name, &OpenHow::new(flags)).await.unwrap()
}

/// Reads of what is not in the page cache, dropped while they run, on every rung that can wait.
fn dropped_reads(builder: Builder) -> Result<(), Failed> {
    let len = if is_emulated() { 2 << 20 } else { 16 << 20 };
    let (scratch, _) = scratch("large", len)?;
    let dir = Dir::open_ambient(scratch.path())?;
    for rung in [Rung::Ring, Rung::Pool] {
        let policy = Policy::new().prefer(OpKind::Read, &[rung, Rung::Pool]);
        let runtime = builder.clone().policy(policy).build()?;
        let file = runtime.block_on(open(&dir, "large", OFlags::RDONLY));
        for pause in [0, 1, 5] {
            fadvise(&file, 0, None, Advice::DontNeed)?;
            let (buf, after) = Watched::new(len);
            runtime.block_on(async {
                let mut read = Box::pin(file.read_at(buf, 0));
                assert!(!begin(&mut read));
                sleep(Duration::from_millis(pause)).await;
            });
            drained(&runtime)?;
            let at_drop = after.lock().unwrap().pop().ok_or("the buffer was not freed")?;
            let copy = at_drop.clone();
            std::thread::sleep(Duration::from_millis(20));
            if at_drop != copy {
                return Err("the buffer was freed while the kernel wrote to it".into());
            }
        }
    }
    Ok(())
}

/// An append always runs on a kernel thread or the pool: what lands in the file is what was in the
/// buffer, though its owner has long been gone and the memory is in demand.
fn dropped_appends(builder: Builder) -> Result<(), Failed> {
    let runtime = builder.build()?;
    let len = if is_emulated() { 1 << 20 } else { 8 << 20 };
    let content = pattern(len);
    for pause in [0, 0, 1, 5] {
        let (scratch, _) = scratch("file", 0)?;
        let dir = Dir::open_ambient(scratch.path())?;
        runtime.block_on(async {
            let file = open(&dir, "file", OFlags::WRONLY).await;
            let mut append = Box::pin(file.append(content.clone()));
            assert!(!begin(&mut append));
            sleep(Duration::from_millis(pause)).await;
            drop(append);
            // If the buffer were free, this would be its successor.
            let successor = vec![0xff; len];
            sleep(Duration::from_millis(1)).await;
            drop(successor);
        });
        drained(&runtime)?;
        let written = std::fs::read(scratch.path().join("file"))?;
        if !content.starts_with(&written) {
            return Err("the file has bytes that were never in the buffer".into());
        }
    }
    Ok(())
}

/// Appends are dropped in the queue for the kernel's threads, each behind something that is not one. Those to the same
/// files after them are all made: a kernel that loses them (`uring::is_hashed`) is not given the chance.
fn appends_behind_dropped(builder: Builder) -> Result<(), Failed> {
    // The kernel loses those of one in 64 files.
    const FILES: usize = 300;
    // Two entries for each, and a cancel if there is one, go to the kernel at once.
    const AT_ONCE: usize = 60;
    let runtime = builder.policy(never_inline()).build()?;
    let (scratch, _) = scratch("file", 0)?;
    let dir = Dir::open_ambient(scratch.path())?;
    let how = OpenHow::new(OFlags::CREATE | OFlags::WRONLY).mode(Mode::RUSR | Mode::WUSR);
    runtime.block_on(async {
        let open = (0..FILES).map(|number| dir.open_at(number.to_string(), &how));
        let files: Vec<_> = join_all(open).await.into_iter().map(Result::unwrap).collect();
        for files in files.chunks(AT_ONCE) {
            let (mut looks, mut dropped) = (Vec::new(), Vec::new());
            for file in files {
                let mut look = Box::pin(file.statx(StatxFlags::SIZE));
                let mut append = Box::pin(file.append(b"dropped".to_vec()));
                assert!(!begin(&mut look) && !begin(&mut append));
                looks.push(look);
                dropped.push(append);
            }
            drop(dropped);
            assert!(join_all(looks).await.iter().all(Result::is_ok));
        }
        for file in &files {
            assert!(matches!(file.append(b"kept".to_vec()).await, (Ok(4), _)));
        }
    });
    drained(&runtime)?;
    for number in 0..FILES {
        let written = std::fs::read(scratch.path().join(number.to_string()))?;
        if ![&b"kept"[..], b"droppedkept", b"keptdropped"].contains(&&written[..]) {
            return Err(format!("{number} has {}", written.escape_ascii()).into());
        }
    }
    Ok(())
}
