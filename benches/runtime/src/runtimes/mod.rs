//! The runtimes: what each must be able to do to be measured, and the list of them.
//!
//! To add one, write its file, with its best settings, and enter it in [`CONTENDERS`].

mod compio;
mod glommio;
mod monoio;
mod none;
mod ringway;
mod tokio;

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::rows::{self, Job};

/// A runtime with its settings. The methods with `self` make one; the others are called inside of it.
///
/// Each is written as that runtime's own users would write it for speed, and as little as it can be.
pub(crate) trait Runtime: Copy + Send + 'static {
    type Listener: 'static;
    type Stream: 'static;
    type File: 'static;

    /// The settings, for the table.
    fn settings(self) -> String;

    /// Runs `future` to its end on a new runtime of this thread.
    fn block_on<F: Future>(self, future: F) -> F::Output;

    /// Starts a task; the result waits for its end.
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static;

    /// Starts a task that nobody waits for.
    fn detach<F: Future<Output = ()> + 'static>(future: F);

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;

    /// Listens on a free port of the loopback interface.
    async fn listen() -> io::Result<(Self::Listener, u16)>;

    /// Takes a connection, and sets `TCP_NODELAY`.
    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream>;

    /// Sends back what comes, through one buffer of `size` bytes, until the other end is gone.
    async fn echo(stream: Self::Stream, size: usize) -> io::Result<()>;

    /// Receives one byte, sends it back, closes.
    async fn greet(stream: Self::Stream) -> io::Result<()>;

    /// Sends `size` bytes again and again.
    async fn pour(stream: Self::Stream, size: usize) -> io::Result<()>;

    /// Whether there is a zero-copy send.
    const SEND_ZC: bool = false;

    /// The same by the zero-copy send, with up to [`ZERO_COPY_AT_ONCE`] buffers in the kernel's hands.
    async fn pour_zc(_stream: Self::Stream, _size: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens a file of the current folder for reading.
    async fn open(name: &'static str) -> io::Result<Rc<Self::File>>;

    async fn close(file: Self::File) -> io::Result<()>;

    /// Reads into `buf`, all its capacity, and gives it back; where the interface has buffers of its own,
    /// they stand for it.
    async fn read_at(file: &Self::File, buf: Vec<u8>, offset: u64) -> io::Result<Vec<u8>>;

    /// The attributes of an open file; tells its size.
    async fn stat_file(file: &Self::File) -> io::Result<u64>;

    /// The attributes of a file of the current folder; tells its size.
    async fn stat_path(name: &'static str) -> io::Result<u64>;
}

/// Buffers that the kernel may have at once in a zero-copy job; the oldest must be back before the next
/// goes out.
pub(crate) const ZERO_COPY_AT_ONCE: usize = 16;

/// A runtime by name.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) settings: fn() -> String,
    pub(crate) send_zc: fn() -> bool,
    /// Runs a job in this process.
    pub(crate) run: fn(&Job),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ringway,
    Peer,
    /// System calls without a runtime.
    Floor,
}

/// An entry of the list below.
macro_rules! contender {
    ($name:literal, $kind:expr, $runtime:expr) => {
        Contender {
            name: $name,
            kind: $kind,
            settings: || $runtime.settings(),
            send_zc: || has_send_zc($runtime),
            run: |job| rows::run($runtime, job),
        }
    };
}

/// Everything that is measured, Ringway first.
pub(crate) const CONTENDERS: [Contender; 9] = {
    use ::ringway::Backend;
    use Kind::{Floor, Peer, Ringway};
    [
        contender!("ringway-uring", Ringway, ringway::Ringway(Backend::Uring)),
        contender!("ringway-hybrid", Ringway, ringway::Ringway(Backend::Hybrid)),
        contender!("ringway-epoll", Ringway, ringway::Ringway(Backend::Epoll)),
        contender!("tokio", Peer, tokio::Tokio),
        contender!("monoio", Peer, monoio::Monoio { defer_taskrun: false }),
        contender!("monoio-defer", Peer, monoio::Monoio { defer_taskrun: true }),
        contender!("compio", Peer, compio::Compio),
        contender!("glommio", Peer, glommio::Glommio),
        Contender {
            name: "none",
            kind: Floor,
            settings: none::settings,
            send_zc: || false,
            run: none::run,
        },
    ]
};

fn has_send_zc<R: Runtime>(_: R) -> bool {
    R::SEND_ZC
}

pub(crate) fn find(name: &str) -> Option<&'static Contender> {
    CONTENDERS.iter().find(|contender| contender.name == name)
}
