//! compio with its io_uring driver and the best ring flags that its builder offers.
//!
//! Its polling driver is left out: compiled in beside this one it would slow this one down.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use compio::buf::{BufResult, IntoInner, IoBuf};
use compio::driver::ProactorBuilder;
use compio::fs::File;
use compio::io::{AsyncRead, AsyncReadAt, AsyncWriteExt, AsyncWriteZerocopy};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;

use super::{Runtime, ZERO_COPY_AT_ONCE};

#[derive(Clone, Copy)]
pub(crate) struct Compio;

impl Runtime for Compio {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type File = File;

    fn settings(self) -> String {
        "io-uring driver, 1024 entries, single_issuer, defer_taskrun, taskrun_flag".to_owned()
    }

    fn block_on<F: Future>(self, future: F) -> F::Output {
        let mut proactor = ProactorBuilder::new();
        proactor.single_issuer(true).defer_taskrun(true).taskrun_flag(true);
        let built = RuntimeBuilder::new().with_proactor(proactor).build();
        built.unwrap_or_else(|error| panic!("no compio here: {error}")).block_on(future)
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        let task = compio::runtime::spawn(future);
        async { task.await.unwrap_or_else(|_| panic!("a task panicked")) }
    }

    fn detach<F: Future<Output = ()> + 'static>(future: F) {
        compio::runtime::spawn(future).detach();
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        compio::time::sleep(duration)
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
        let mut buf = Vec::with_capacity(size);
        loop {
            let BufResult(received, filled) = stream.read(buf).await;
            let count = received?;
            if count == 0 {
                return Ok(());
            }
            let BufResult(sent, part) = stream.write_all(filled.slice(..count)).await;
            sent?;
            buf = part.into_inner();
        }
    }

    async fn greet(mut stream: TcpStream) -> io::Result<()> {
        let BufResult(received, buf) = stream.read(Vec::with_capacity(1)).await;
        if received? == 1 {
            stream.write_all(buf).await.0?;
        }
        Ok(())
    }

    async fn pour(mut stream: TcpStream, size: usize) -> io::Result<()> {
        let mut buf = vec![0x5a; size];
        loop {
            let BufResult(sent, back) = stream.write_all(buf).await;
            sent?;
            buf = back;
        }
    }

    const SEND_ZC: bool = true;

    async fn pour_zc(mut stream: TcpStream, size: usize) -> io::Result<()> {
        let mut waiting = VecDeque::new();
        loop {
            let buf = match waiting.pop_front() {
                Some(oldest) if waiting.len() + 1 >= ZERO_COPY_AT_ONCE => oldest.await,
                oldest => {
                    waiting.extend(oldest);
                    vec![0x5a; size]
                }
            };
            let BufResult(sent, back) = stream.write_zerocopy(buf).await;
            sent?;
            waiting.push_back(back);
        }
    }

    async fn open(name: &'static str) -> io::Result<Rc<File>> {
        File::open(name).await.map(Rc::new)
    }

    async fn close(file: File) -> io::Result<()> {
        // Quicker than its `close`, which goes through the ring.
        drop(file);
        Ok(())
    }

    async fn read_at(file: &File, buf: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
        let BufResult(read, buf) = file.read_at(buf, offset).await;
        read.map(|_| buf)
    }

    async fn stat_file(file: &File) -> io::Result<u64> {
        file.metadata().await.map(|stat| stat.len())
    }

    async fn stat_path(name: &'static str) -> io::Result<u64> {
        compio::fs::metadata(name).await.map(|stat| stat.len())
    }
}
