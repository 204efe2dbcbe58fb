//! A script that tells what it sees, and the stage that it runs on.

use std::cell::RefCell;
use std::fmt::{Debug, Display};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use ringway::OpKind;
use ringway::fs::Dir;
use tempfile::TempDir;

/// A script about operations of some kinds.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kinds: &'static [OpKind],
    /// About streams: their last rung, which the table calls the pool, is waiting for readiness.
    pub(crate) streams: bool,
    /// Called for each run; everything that it compares goes through [`Stage::tell`].
    pub(crate) script: for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, ()>,
    /// What the kernel says, once it was asked.
    oracle: OnceLock<Vec<String>>,
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        kinds: &'static [OpKind],
        script: for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, ()>,
    ) -> Self {
        Self { name, kinds, streams: false, script, oracle: OnceLock::new() }
    }

    /// One about reads and writes of streams.
    pub(crate) const fn of_streams(
        name: &'static str,
        kinds: &'static [OpKind],
        script: for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, ()>,
    ) -> Self {
        Self { name, kinds, streams: true, script, oracle: OnceLock::new() }
    }

    /// What plain system calls answer.
    pub(crate) fn expected(&self) -> &[String] {
        self.oracle.get_or_init(|| {
            let stage = Stage::new(World::Kernel);
            (self.script)(&stage)
                .now_or_never()
                .expect("plain system calls block, they do not wait");
            stage.transcript()
        })
    }
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum World {
    /// The runtime that the script runs in.
    Ringway,
    /// The kernel, asked by blocking system calls that know nothing of Ringway's.
    Kernel,
}

/// A directory of its own and a pen. [`crate::world`] has the operations.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) dir: Dir,
    scratch: TempDir,
    transcript: RefCell<Vec<String>>,
}

impl Stage {
    pub(crate) fn new(world: World) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient(scratch.path()).unwrap();
        Self { world, dir, scratch, transcript: RefCell::default() }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Makes a file of `content`, behind the operations' back.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// One line of the transcript.
    pub(crate) fn tell<T: Debug>(&self, what: impl Display, answer: io::Result<T>) {
        let answer = match answer {
            Ok(value) => format!("{value:?}"),
            Err(error) => match error.raw_os_error() {
                Some(errno) => format!("errno {errno}, {:?}", error.kind()),
                None => format!("error {:?}", error.kind()),
            },
        };
        self.transcript.borrow_mut().push(format!("{what}: {answer}"));
    }

    pub(crate) fn transcript(self) -> Vec<String> {
        self.transcript.into_inner()
    }
}

/// Bytes, short enough for a transcript.
pub(crate) struct Bytes<B>(pub(crate) B);

impl<B: AsRef<[u8]>> Debug for Bytes<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.0.as_ref();
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        write!(f, "{} bytes, hash {:016x}", bytes.len(), hasher.finish())
    }
}

/// Bytes that differ from page to page and do not repeat in step with any power of two.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    static BYTES: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..PATTERN_MAX).map(|i| (i % 251) as u8 ^ (i / 4096) as u8).collect());
    BYTES[..len].to_vec()
}

/// The longest pattern.
const PATTERN_MAX: usize = 16 << 20;
