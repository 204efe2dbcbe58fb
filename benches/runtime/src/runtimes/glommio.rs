//! glommio's executor with its defaults, bound to no core of its own since its process is.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::io::{BufferedFile, ReadResult};
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::Timer;
use glommio::{LocalExecutorBuilder, Placement};

use super::Runtime;
use crate::rows::files;

#[derive(Clone, Copy)]
pub(crate) struct Glommio;

impl Runtime for Glommio {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type File = BufferedFile;

    fn settings(self) -> String {
        "LocalExecutor, defaults (no spinning); files are BufferedFile".to_owned()
    }

    fn block_on<F: Future>(self, future: F) -> F::Output {
        let made = LocalExecutorBuilder::new(Placement::Unbound).make();
        made.unwrap_or_else(|error| panic!("no glommio here: {error}")).run(future)
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        glommio::spawn_local(future)
    }

    fn detach<F: Future<Output = ()> + 'static>(future: F) {
        glommio::spawn_local(future).detach();
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        let timer = Timer::new(duration);
        async {
            timer.await;
        }
    }

    async fn listen() -> io::Result<(TcpListener, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let stream = listener.accept().await?;
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

    async fn send_all(stream: &mut TcpStream, buf: Vec<u8>) -> io::Result<Vec<u8>> {
        stream.write_all(&buf).await.map(|()| buf)
    }

    async fn pour_file(mut stream: TcpStream, size: usize, _way: &str) -> io::Result<()> {
        let file = Self::open(files::NAME).await?;
        for offset in files::pieces(size) {
            let buf = read_full(&file, offset, size).await?;
            stream.write_all(&buf).await?;
        }
        Ok(())
    }

    async fn open(name: &'static str) -> io::Result<Rc<BufferedFile>> {
        Ok(Rc::new(BufferedFile::open(name).await?))
    }

    async fn close(file: BufferedFile) -> io::Result<()> {
        Ok(file.close().await?)
    }

    async fn read_at(file: &BufferedFile, buf: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
        read_full(file, offset, buf.capacity()).await.map(|_| buf)
    }

    async fn stat_file(file: &BufferedFile) -> io::Result<u64> {
        Ok(file.file_size().await?)
    }

    /// It has none.
    async fn stat_path(_name: &'static str) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

async fn read_full(file: &BufferedFile, offset: u64, len: usize) -> io::Result<ReadResult> {
    let read = file.read_at(offset, len).await?;
    if read.len() == len { Ok(read) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
