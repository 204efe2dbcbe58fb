//! Ringway, on one of its backends.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use ringway::buf::IoBufExt;
use ringway::fs::{AtFlags, Dir, File, OFlags, OpenHow, StatxFlags};
use ringway::net::{TcpListener, TcpStream};
use ringway::{Backend, Builder};

use super::Runtime;

#[derive(Clone, Copy)]
pub(crate) struct Ringway(pub(crate) Backend);

impl Ringway {
    fn build(self) -> ringway::Runtime {
        let built = Builder::new().backend(self.0).build();
        built.unwrap_or_else(|error| panic!("no {} backend here: {error}", self.0))
    }
}

thread_local! {
    /// The current folder.
    static HERE: Option<Dir> = Dir::open_ambient(".").ok();
}

fn here() -> io::Result<Dir> {
    HERE.with(Clone::clone).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Runtime for Ringway {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type File = File;

    fn settings(self) -> String {
        self.build().features().to_string()
    }

    fn block_on<F: Future>(self, future: F) -> F::Output {
        self.build().block_on(future)
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        let task = ringway::spawn(future);
        async { task.await.unwrap_or_else(|error| panic!("{error}")) }
    }

    fn detach<F: Future<Output = ()> + 'static>(future: F) {
        drop(ringway::spawn(future));
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        ringway::time::sleep(duration)
    }

    async fn listen() -> io::Result<(TcpListener, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn echo(stream: TcpStream, size: usize) -> io::Result<()> {
        let mut buf = Vec::with_capacity(size);
        loop {
            let (received, filled) = stream.recv(buf).await;
            let count = received?;
            if count == 0 {
                return Ok(());
            }
            let (sent, part) = stream.send_all(filled.slice(..count)).await;
            sent?;
            buf = part.into_inner();
        }
    }

    async fn greet(stream: TcpStream) -> io::Result<()> {
        let (received, buf) = stream.recv(Vec::with_capacity(1)).await;
        if received? == 1 {
            stream.send_all(buf).await.0?;
        }
        Ok(())
    }

    async fn pour(stream: TcpStream, size: usize) -> io::Result<()> {
        let mut buf = vec![0x5a; size];
        loop {
            let (sent, back) = stream.send_all(buf).await;
            sent?;
            buf = back;
        }
    }

    async fn open(name: &'static str) -> io::Result<Rc<File>> {
        here()?.open_at(name, &OpenHow::new(OFlags::RDONLY | OFlags::CLOEXEC)).await.map(Rc::new)
    }

    async fn close(file: File) -> io::Result<()> {
        // As tokio's: on the spot. `File::close` would wait for a slow file system elsewhere.
        drop(file);
        Ok(())
    }

    async fn read_at(file: &File, buf: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
        let (read, buf) = file.read_at(buf, offset).await;
        read.map(|_| buf)
    }

    async fn stat_file(file: &File) -> io::Result<u64> {
        Ok(file.statx(StatxFlags::BASIC_STATS).await?.stx_size)
    }

    async fn stat_path(name: &'static str) -> io::Result<u64> {
        let stat = here()?.statx_at(name, AtFlags::empty(), StatxFlags::BASIC_STATS).await?;
        Ok(stat.stx_size)
    }
}
