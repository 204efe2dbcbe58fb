//! tokio's current-thread scheduler, in the form that takes tasks which are not `Send`.
//!
//! Files: tokio has no positional read, and its files cost a hand-over to the pool per call in any case,
//! so the fastest way is the system call inside of `spawn_blocking`. Its io_uring is left out: it needs
//! an unstable cfg flag for the whole build.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::{spawn_blocking, spawn_local};

use super::{READ_AND_SEND, Runtime, Subject, full, read_and_send};
use crate::rows::files;

#[derive(Clone, Copy)]
pub(crate) struct Tokio;

impl Runtime for Tokio {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type File = Arc<File>;

    fn settings(self) -> String {
        "current_thread (LocalRuntime), defaults; files by spawn_blocking".to_owned()
    }

    fn ways(subject: Subject) -> &'static [&'static str] {
        match subject {
            Subject::ZeroCopy => &[],
            Subject::SendFile => &[READ_AND_SEND, "sendfile in async_io"],
            Subject::IdleWithoutBuffer => &["readable and try_read"],
        }
    }

    fn block_on<F: Future>(self, future: F) -> F::Output {
        let built = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        built.unwrap_or_else(|error| panic!("no tokio here: {error}")).block_on(future)
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        let task = spawn_local(future);
        async { task.await.unwrap_or_else(|error| panic!("{error}")) }
    }

    fn detach<F: Future<Output = ()> + 'static>(future: F) {
        drop(spawn_local(future));
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }

    async fn listen() -> io::Result<(TcpListener, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
        let mut buf = vec![0; size];
        loop {
            let count = stream.read(&mut buf).await?;
            if count == 0 {
                return Ok(());
            }
            stream.write_all(&buf[..count]).await?;
        }
    }

    async fn greet(mut stream: TcpStream) -> io::Result<()> {
        let mut buf = [0];
        if stream.read(&mut buf).await? == 1 {
            stream.write_all(&buf).await?;
        }
        Ok(())
    }

    async fn echo_without_buffer(mut stream: TcpStream, size: usize) -> io::Result<()> {
        loop {
            stream.readable().await?;
            let mut buf = Vec::with_capacity(size);
            match stream.try_read_buf(&mut buf) {
                Ok(0) => return Ok(()),
                Ok(_) => stream.write_all(&buf).await?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn send_all(stream: &mut TcpStream, buf: Vec<u8>) -> io::Result<Vec<u8>> {
        stream.write_all(&buf).await.map(|()| buf)
    }

    async fn pour_file(stream: TcpStream, size: usize, way: &str) -> io::Result<()> {
        if way == READ_AND_SEND {
            return read_and_send::<Self>(stream, size).await;
        }
        let file = Self::open(files::NAME).await?;
        for mut offset in files::pieces(size) {
            let end = offset + size as u64;
            while offset < end {
                let (wanted, file) = ((end - offset) as usize, file.as_ref().as_ref());
                // What is not in the page cache would be waited for by everybody.
                let send = || Ok(rustix::fs::sendfile(&stream, file, Some(&mut offset), wanted)?);
                stream.async_io(Interest::WRITABLE, send).await?;
            }
        }
        Ok(())
    }

    async fn open(name: &'static str) -> io::Result<Rc<Arc<File>>> {
        let file = blocking(move || File::open(name)).await?;
        Ok(Rc::new(Arc::new(file)))
    }

    async fn close(file: Arc<File>) -> io::Result<()> {
        // As tokio's own files do.
        drop(file);
        Ok(())
    }

    async fn read_at(file: &Arc<File>, mut buf: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
        let file = file.clone();
        blocking(move || {
            buf.resize(buf.capacity(), 0);
            full(file.read_at(&mut buf, offset)?, buf)
        })
        .await
    }

    async fn stat_file(file: &Arc<File>) -> io::Result<u64> {
        let file = file.clone();
        blocking(move || file.metadata()).await.map(|stat| stat.len())
    }

    async fn stat_path(name: &'static str) -> io::Result<u64> {
        blocking(move || fs::metadata(name)).await.map(|stat| stat.len())
    }
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(call).await?
}
