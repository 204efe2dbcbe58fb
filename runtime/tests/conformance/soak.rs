//! Many operations of all sorts, begun, awaited and dropped at random points, and nothing left.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use libtest_mimic::{Failed, Trial};
use ringway::fs::{AtFlags, Dir, File, Mode, OFlags, OpenHow, StatxFlags};
use ringway::net::{self, TcpListener};
use ringway::{Builder, Runtime};

use crate::case::pattern;
use crate::config::{self, BACKENDS};
use crate::connections::pair;
use crate::counts;
use crate::drops::drained;
use crate::emulated::is_emulated;

/// How much more memory there may be after the second half than after the first, in KiB: an allocator's
/// mood, also that of a sanitizer's. If what the operations own stayed, it would be several times this.
const GROWTH_MAX: u64 = 8192;

/// How many are under way at a time.
const SLOTS: usize = 64;

/// On each backend: a hundred thousand together.
fn operations() -> usize {
    if is_emulated() { 3_000 } else { 34_000 }
}

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |backend| config::alone_on_backend(format!("soak::{backend}"), backend, soak);
    BACKENDS.into_iter().map(trial).collect()
}

fn soak(builder: Builder) -> Result<(), Failed> {
    let (descriptors, threads) = (counts::descriptors(), counts::threads());
    // Half of what would be done at once is refused, so every rung has work.
    let policy = ringway::Policy::new().refuse_first_rung(50, 0x50a4);
    let runtime = builder.policy(policy).build()?;
    let stage = Rc::new(Ground::new(&runtime));
    let random = Random(Cell::new(0x5eed_50a4));
    round(&runtime, &stage, &random);
    drained(&runtime)?;
    let (halfway, with_runtime) = (counts::resident(), counts::descriptors());
    round(&runtime, &stage, &random);
    drained(&runtime)?;
    let growth = counts::resident().saturating_sub(halfway);
    counts::settles_at(with_runtime, counts::descriptors)?;
    drop(stage);
    let report = runtime.shutdown(Duration::from_secs(60));
    if report != ringway::ShutdownReport::default() {
        return Err(format!("{report:?}").into());
    }
    counts::settles_at(descriptors, counts::descriptors)?;
    counts::settles_at(threads, counts::threads).map_err(|left| format!("threads: {left}"))?;
    if growth > GROWTH_MAX {
        return Err(format!("{growth} KiB more in the second half").into());
    }
    Ok(())
}

/// Half of the operations.
fn round(runtime: &Runtime, ground: &Rc<Ground>, random: &Random) {
    let mut slots: Vec<Option<LocalBoxFuture<'static, ()>>> = Vec::new();
    slots.resize_with(SLOTS, || None);
    let mut begun = 0;
    runtime.block_on(poll_fn(|cx| {
        for _ in 0..SLOTS {
            let slot = &mut slots[random.below(SLOTS)];
            match slot {
                None => {
                    *slot = Some(Rc::clone(ground).operation(random));
                    begun += 1;
                }
                // Some for want of a first poll, some in flight, some over and not looked at yet.
                Some(_) if random.below(4) == 0 => *slot = None,
                Some(operation) => {
                    if operation.poll_unpin(cx).is_ready() {
                        *slot = None;
                    }
                }
            }
        }
        if begun >= operations() / 2 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
}

/// What the operations are about.
struct Ground {
    dir: Dir,
    file: File,
    stream: net::TcpStream,
    peer: TcpStream,
    listener: TcpListener,
    names: Cell<usize>,
    _scratch: tempfile::TempDir,
}

impl Ground {
    fn new(runtime: &Runtime) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("file"), pattern(100_000)).unwrap();
        let dir = Dir::open_ambient(scratch.path()).unwrap();
        let file = runtime.block_on(dir.open_at("file", &OpenHow::new(OFlags::RDWR))).unwrap();
        let (stream, peer) = pair();
        peer.set_nonblocking(true).unwrap();
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self { dir, file, stream, peer, listener, names: Cell::new(0), _scratch: scratch }
    }

    /// One, or a few in a row. Their answers do not matter: others drop things, too.
    fn operation(self: Rc<Self>, random: &Random) -> LocalBoxFuture<'static, ()> {
        let at = random.below(100_000) as u64;
        match random.below(12) {
            0 => later(async move { drop(self.file.read_at(vec![0; 4096], at).await) }),
            1 => later(async move { drop(self.file.write_at(vec![0; 4096], at).await) }),
            2 => {
                later(
                    async move { drop(self.dir.open_at("file", &OpenHow::new(OFlags::RDONLY)).await) },
                )
            }
            3 => later(async move {
                drop(self.dir.statx_at("file", AtFlags::empty(), StatxFlags::SIZE).await);
                drop(self.file.get_xattr(c"user.none", vec![0; 20]).await);
            }),
            4 => later(async move {
                let name = self.fresh_name();
                let how = OpenHow::new(OFlags::CREATE | OFlags::WRONLY).mode(Mode::RUSR);
                if let Ok(file) = self.dir.open_at(&name, &how).await {
                    drop(file.append(vec![0; 100]).await);
                    drop(file.close().await);
                }
                drop(self.dir.unlink_at(&name, false).await);
            }),
            5 => later(async move {
                let name = self.fresh_name();
                drop(self.dir.mkdir_at(&name, 0o700).await);
                drop(self.dir.unlink_at(&name, true).await);
            }),
            6 => later(async move { drop(self.stream.recv(vec![0; 4096]).await) }),
            7 => {
                drop({ &self.peer }.write(&[0; 100]));
                later(async move { drop(self.stream.recv(vec![0; 4096]).await) })
            }
            8 => {
                drop({ &self.peer }.read(&mut [0; 65_536]));
                later(async move { drop(self.stream.send(vec![0; 1000]).await) })
            }
            9 => later(async move { self.stream.hang_up().await.unwrap() }),
            10 => later(async move {
                let addr = self.listener.local_addr().unwrap();
                drop(net::TcpStream::connect(addr).await);
            }),
            _ => later(async move { drop(self.listener.accept().await) }),
        }
    }

    fn fresh_name(&self) -> String {
        self.names.set(self.names.get() + 1);
        self.names.get().to_string()
    }
}

fn later(future: impl Future<Output = ()> + 'static) -> LocalBoxFuture<'static, ()> {
    future.boxed_local()
}

/// xorshift64: the same every time.
struct Random(Cell<u64>);

impl Random {
    fn below(&self, limit: usize) -> usize {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        (state >> 33) as usize % limit
    }
}
