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

use crate::rows::{self, Job, files};

/// A runtime with its settings. The methods with `self` make one; the others are called inside of it.
///
/// Each is written as that runtime's own users would write it for speed, and as little as it can be.
pub(crate) trait Runtime: Copy + Send + 'static {
    type Listener: 'static;
    type Stream: 'static;
    type File: 'static;

    /// The settings, for the table.
    fn settings(self) -> String;

    /// The ways in which it can do that, by name, the one that its users would take first. An empty name
    /// is enough for the only one.
    fn ways(subject: Subject) -> &'static [&'static str] {
        match subject {
            Subject::ZeroCopy | Subject::IdleWithoutBuffer => &[],
            Subject::SendFile => &[READ_AND_SEND],
        }
    }

    /// Made for one of its ways to send by zero copy.
    fn for_zero_copy(self, _way: &str) -> Self {
        self
    }

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

    /// The same, without having a buffer where nothing has come; with one of `size` bytes where something
    /// has, or one out of a pool.
    async fn echo_without_buffer(_stream: Self::Stream, _size: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends all of `buf`, and gives it back.
    async fn send_all(stream: &mut Self::Stream, buf: Vec<u8>) -> io::Result<Vec<u8>>;

    /// Sends `size` bytes again and again by the zero-copy send, with up to [`ZERO_COPY_AT_ONCE`] buffers
    /// in the kernel's hands.
    async fn pour_zc(_stream: Self::Stream, _size: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends the file that is there for it, `size` bytes at a time, again and again, in one of its ways.
    async fn pour_file(stream: Self::Stream, size: usize, _way: &str) -> io::Result<()> {
        read_and_send::<Self>(stream, size).await
    }

    /// Opens a file of the current folder for reading.
    async fn open(name: &'static str) -> io::Result<Rc<Self::File>>;

    async fn close(file: Self::File) -> io::Result<()>;

    /// Reads into `buf`, all its capacity, and gives it back full; where the interface has buffers of its
    /// own, they stand for it.
    async fn read_at(file: &Self::File, buf: Vec<u8>, offset: u64) -> io::Result<Vec<u8>>;

    /// The attributes of an open file; tells its size.
    async fn stat_file(file: &Self::File) -> io::Result<u64>;

    /// The attributes of a file of the current folder; tells its size.
    async fn stat_path(name: &'static str) -> io::Result<u64>;
}

/// What there is more than one way to do, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// [`Runtime::pour_zc`].
    ZeroCopy,
    /// [`Runtime::pour_file`].
    SendFile,
    /// [`Runtime::echo_without_buffer`].
    IdleWithoutBuffer,
}

/// The way to send a file that everybody has: into a buffer and out of it.
pub(crate) const READ_AND_SEND: &str = "read and send";

/// [`READ_AND_SEND`].
async fn read_and_send<R: Runtime>(mut stream: R::Stream, size: usize) -> io::Result<()> {
    let file = R::open(files::NAME).await?;
    let mut buf = Vec::with_capacity(size);
    for offset in files::pieces(size) {
        buf = R::read_at(&file, buf, offset).await?;
        buf = R::send_all(&mut stream, buf).await?;
    }
    Ok(())
}

/// A buffer, after `count` bytes were read, if they fill it.
fn full(count: usize, buf: Vec<u8>) -> io::Result<Vec<u8>> {
    let is_full = count == buf.capacity() && count == buf.len();
    if is_full { Ok(buf) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
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
    /// In which ways it can do that, if at all.
    pub(crate) ways: fn(Subject) -> &'static [&'static str],
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
            ways: |subject| ways_of($runtime, subject),
            run: |job| rows::run($runtime, job),
        }
    };
}

/// Everything that is measured, Ringway first.
pub(crate) const CONTENDERS: [Contender; 9] = {
    use ::ringway::Backend;
    use Kind::{Floor, Peer, Ringway};
    [
        contender!("ringway-uring", Ringway, ringway::Ringway::on(Backend::Uring)),
        contender!("ringway-hybrid", Ringway, ringway::Ringway::on(Backend::Hybrid)),
        contender!("ringway-epoll", Ringway, ringway::Ringway::on(Backend::Epoll)),
        contender!("tokio", Peer, tokio::Tokio),
        contender!("monoio", Peer, monoio::Monoio { defer_taskrun: false }),
        contender!("monoio-defer", Peer, monoio::Monoio { defer_taskrun: true }),
        contender!("compio", Peer, compio::Compio),
        contender!("glommio", Peer, glommio::Glommio),
        Contender {
            name: "none",
            kind: Floor,
            settings: none::settings,
            ways: |_| &[],
            run: none::run,
        },
    ]
};

fn ways_of<R: Runtime>(_: R, subject: Subject) -> &'static [&'static str] {
    R::ways(subject)
}

pub(crate) fn find(name: &str) -> Option<&'static Contender> {
    CONTENDERS.iter().find(|contender| contender.name == name)
}
