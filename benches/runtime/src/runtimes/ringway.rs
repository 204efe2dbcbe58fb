//! Ringway, on one of its backends.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use ringway::buf::IoBufExt;
use ringway::fs::{AtFlags, Dir, File, OFlags, OpenHow, StatxFlags};
use ringway::net::{RecvPool, TcpListener, TcpStream, ZcNotify};
use ringway::pipe::{PipePool, copy_file_to_socket};
use ringway::{Backend, Builder, Policy, ZeroCopyPolicy};

use super::{READ_AND_SEND, Runtime, Subject, ZERO_COPY_AT_ONCE, full, read_and_send};
use crate::rows::files;

#[derive(Clone, Copy)]
pub(crate) struct Ringway {
    backend: Backend,
    policy: Option<ZeroCopyPolicy>,
}

/// Zero copy wherever it is asked for, whatever the kernel has said about it, as in the other runtimes.
const ALWAYS: ZeroCopyPolicy = ZeroCopyPolicy {
    threshold: 0,
    per_connection: usize::MAX,
    per_runtime: usize::MAX,
    copied_limit: u32::MAX,
};

const BY_DEFAULT: &str = "by default";
const INSISTING: &str = "insisting";

impl Ringway {
    pub(crate) const fn on(backend: Backend) -> Self {
        Self { backend, policy: None }
    }

    fn build(self) -> ringway::Runtime {
        let mut builder = Builder::new().backend(self.backend);
        if let Some(policy) = self.policy {
            builder = builder.policy(Policy::new().zero_copy(policy));
        }
        builder.build().unwrap_or_else(|error| panic!("no {} backend here: {error}", self.backend))
    }
}

thread_local! {
    /// The current folder.
    static HERE: Option<Dir> = Dir::open_ambient(".").ok();

    /// For connections that have no buffer.
    static POOL: Option<RecvPool> = RecvPool::new(256, 16 << 10).ok();
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

    fn ways(subject: Subject) -> &'static [&'static str] {
        match subject {
            Subject::ZeroCopy => &[BY_DEFAULT, INSISTING],
            Subject::SendFile => &["splice", READ_AND_SEND],
            Subject::IdleWithoutBuffer => &["receive pool"],
        }
    }

    fn for_zero_copy(self, way: &str) -> Self {
        Self { policy: (way == INSISTING).then_some(ALWAYS), ..self }
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

    async fn echo_without_buffer(stream: TcpStream, _size: usize) -> io::Result<()> {
        let pool = POOL.with(Clone::clone).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut received = stream.recv_stream(&pool);
        while let Some(bytes) = received.next().await {
            // What it takes to answer is in memory while there is something to answer.
            Box::pin(stream.send_all(bytes?)).await.0?;
        }
        Ok(())
    }

    async fn send_all(stream: &mut TcpStream, buf: Vec<u8>) -> io::Result<Vec<u8>> {
        let (sent, buf) = stream.send_all(buf).await;
        sent.map(|()| buf)
    }

    async fn pour_zc(stream: TcpStream, size: usize) -> io::Result<()> {
        let mut waiting = VecDeque::<ZcNotify<Vec<u8>>>::new();
        loop {
            let buf = match waiting.pop_front() {
                Some(oldest) if waiting.len() + 1 >= ZERO_COPY_AT_ONCE => oldest.await.buf,
                oldest => {
                    waiting.extend(oldest);
                    vec![0x5a; size]
                }
            };
            let sent = stream.send_zc_all(buf).await;
            sent.result?;
            waiting.push_back(sent.notify);
        }
    }

    async fn pour_file(stream: TcpStream, size: usize, way: &str) -> io::Result<()> {
        if way == READ_AND_SEND {
            return read_and_send::<Self>(stream, size).await;
        }
        let (file, pool) = (Self::open(files::NAME).await?, PipePool::default());
        for offset in files::pieces(size) {
            copy_file_to_socket(&file, offset, size as u64, &stream, &pool).await?;
        }
        Ok(())
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
        full(read?, buf)
    }

    async fn stat_file(file: &File) -> io::Result<u64> {
        Ok(file.statx(StatxFlags::BASIC_STATS).await?.stx_size)
    }

    async fn stat_path(name: &'static str) -> io::Result<u64> {
        let stat = here()?.statx_at(name, AtFlags::empty(), StatxFlags::BASIC_STATS).await?;
        Ok(stat.stx_size)
    }
}
