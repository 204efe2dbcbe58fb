//! compio with its io_uring driver and the best ring flags that its builder offers.
//!
//! Its polling driver is left out: compiled in beside this one it would slow this one down.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::rc::Rc;
use std::time::Duration;

use compio::buf::{BufResult, IntoInner, IoBuf};
use compio::driver::ProactorBuilder;
use compio::fs::{File, pipe};
use compio::io::{AsyncRead, AsyncReadAt, AsyncReadManaged, AsyncWriteExt, AsyncWriteZerocopy};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;
use rustix::pipe::SpliceFlags;

use super::{READ_AND_SEND, Runtime, Subject, ZERO_COPY_AT_ONCE, full, read_and_send};
use crate::rows::files;

#[derive(Clone, Copy)]
pub(crate) struct Compio;

/// As many as Ringway's pool has.
const MANAGED_BUFFERS: NonZero<u16> = NonZero::new(256).unwrap();

/// That of Ringway's pipes, and the most that anybody may have.
const PIPE_SIZE: usize = 1 << 20;

impl Runtime for Compio {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type File = File;

    fn settings(self) -> String {
        "io-uring driver, 1024 entries, single_issuer, defer_taskrun, taskrun_flag; \
         256 managed buffers of 16 KiB"
            .to_owned()
    }

    fn ways(subject: Subject) -> &'static [&'static str] {
        match subject {
            Subject::ZeroCopy => &[""],
            Subject::SendFile => &[READ_AND_SEND, "splice"],
            Subject::IdleWithoutBuffer => &["read_managed"],
        }
    }

    fn block_on<F: Future>(self, future: F) -> F::Output {
        let mut proactor = ProactorBuilder::new();
        proactor.single_issuer(true).defer_taskrun(true).taskrun_flag(true);
        // They are made when one is used first.
        proactor.buffer_pool_size(MANAGED_BUFFERS).buffer_pool_buffer_len(16 << 10);
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

    async fn echo_without_buffer(mut stream: TcpStream, _size: usize) -> io::Result<()> {
        while let Some(bytes) = stream.read_managed(0).await? {
            Box::pin(stream.write_all(bytes)).await.0?;
        }
        Ok(())
    }

    async fn send_all(stream: &mut TcpStream, buf: Vec<u8>) -> io::Result<Vec<u8>> {
        let BufResult(sent, buf) = stream.write_all(buf).await;
        sent.map(|()| buf)
    }

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

    async fn pour_file(stream: TcpStream, size: usize, way: &str) -> io::Result<()> {
        if way == READ_AND_SEND {
            return read_and_send::<Self>(stream, size).await;
        }
        let file = Self::open(files::NAME).await?;
        let (reader, writer) = pipe::anonymous().await?;
        rustix::pipe::fcntl_setpipe_size(&writer, PIPE_SIZE)?;
        for offset in files::pieces(size) {
            let mut done = 0;
            while done < size {
                let at = offset as i64 + done as i64;
                let mut held = pipe::splice(&*file, &writer, size - done).offset_in(at).await?;
                done += held;
                while held > 0 {
                    let more = if done < size { SpliceFlags::MORE } else { SpliceFlags::empty() };
                    held -= pipe::splice(&reader, &stream, held).flags(more.bits()).await?;
                }
            }
        }
        Ok(())
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
        full(read?, buf)
    }

    async fn stat_file(file: &File) -> io::Result<u64> {
        file.metadata().await.map(|stat| stat.len())
    }

    async fn stat_path(name: &'static str) -> io::Result<u64> {
        compio::fs::metadata(name).await.map(|stat| stat.len())
    }
}
