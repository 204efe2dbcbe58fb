//! monoio with its io_uring driver: as it comes, and with the ring flags that suit it best.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use monoio::fs::File;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::{READ_AND_SEND, Runtime, Subject, full};

#[derive(Clone, Copy)]
pub(crate) struct Monoio {
    /// `IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN`, which monoio does not set by itself
    /// but takes.
    pub(crate) defer_taskrun: bool,
}

impl Runtime for Monoio {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type File = File;

    fn settings(self) -> String {
        let flags = if self.defer_taskrun { "SINGLE_ISSUER, DEFER_TASKRUN" } else { "no flags" };
        format!("IoUringDriver with timer, 1024 entries, {flags}; feature sync")
    }

    fn ways(subject: Subject) -> &'static [&'static str] {
        match subject {
            Subject::ZeroCopy => &[],
            // Its splice takes no files.
            Subject::SendFile => &[READ_AND_SEND],
            Subject::IdleWithoutBuffer => &["readable and read"],
        }
    }

    fn block_on<F: Future>(self, future: F) -> F::Output {
        let mut ring = monoio_io_uring::IoUring::builder();
        if self.defer_taskrun {
            ring.setup_single_issuer().setup_defer_taskrun();
        }
        let built =
            RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).enable_timer().build();
        built.unwrap_or_else(|error| panic!("no monoio here: {error}")).block_on(future)
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        monoio::spawn(future)
    }

    fn detach<F: Future<Output = ()> + 'static>(future: F) {
        drop(monoio::spawn(future));
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(duration)
    }

    async fn listen() -> io::Result<(TcpListener, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
        let mut buf = Vec::with_capacity(size);
        loop {
            let (received, filled) = stream.read(buf).await;
            if received? == 0 {
                return Ok(());
            }
            let (sent, back) = stream.write_all(filled).await;
            sent?;
            buf = back;
        }
    }

    async fn greet(mut stream: TcpStream) -> io::Result<()> {
        let (received, buf) = stream.read(Vec::with_capacity(1)).await;
        if received? == 1 {
            stream.write_all(buf).await.0?;
        }
        Ok(())
    }

    async fn echo_without_buffer(mut stream: TcpStream, size: usize) -> io::Result<()> {
        loop {
            stream.readable(false).await?;
            if Box::pin(answer(&mut stream, size)).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn send_all(stream: &mut TcpStream, buf: Vec<u8>) -> io::Result<Vec<u8>> {
        let (sent, buf) = stream.write_all(buf).await;
        sent.map(|_| buf)
    }

    async fn open(name: &'static str) -> io::Result<Rc<File>> {
        File::open(name).await.map(Rc::new)
    }

    async fn close(file: File) -> io::Result<()> {
        // No slower than a mere drop, which goes through the ring too.
        file.close().await
    }

    async fn read_at(file: &File, buf: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
        let (read, buf) = file.read_at(buf, offset).await;
        full(read?, buf)
    }

    async fn stat_file(file: &File) -> io::Result<u64> {
        file.metadata().await.map(|stat| stat.len())
    }

    async fn stat_path(name: &'static str) -> io::Result<u64> {
        monoio::fs::metadata(name).await.map(|stat| stat.len())
    }
}

/// Sends back what has come; tells how much.
async fn answer(stream: &mut TcpStream, size: usize) -> io::Result<usize> {
    let (received, buf) = stream.read(Vec::with_capacity(size)).await;
    let count = received?;
    stream.write_all(buf).await.0?;
    Ok(count)
}
