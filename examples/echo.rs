//! An echo server on every core: `cargo run --example echo -- [ADDRESS]`, then `nc 127.0.0.1 7007`.
//!
//! `RINGWAY_BACKEND=epoll` (or `hybrid`, `uring`) shows the same program on another backend.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringway::buf::IoBufExt;
use ringway::net::{TcpListener, TcpStream};
use ringway::{Builder, Cores, Runtime};

/// Each connection's only buffer.
const BUFFER_LEN: usize = 16 << 10;

/// How long to wait when no connection can be taken, for lack of descriptors most likely.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".to_owned()).parse()?;
    let builder = Builder::new();
    let workers = thread::available_parallelism()?.get();
    let cores = Arc::new(Cores::start(workers, &builder)?);
    println!("{}", cores.features());
    let runtime = builder.build()?;
    accept(&runtime, addr, &cores)
}

/// Deals connections out to the cores in turn.
fn accept(runtime: &Runtime, addr: SocketAddr, cores: &Cores) -> Result<(), Box<dyn Error>> {
    runtime.block_on(async {
        let listener = TcpListener::bind(addr)?;
        println!("listening on {}", listener.local_addr()?);
        for core in (0..cores.len()).cycle() {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let stream = stream.into_std()?;
                    cores.spawn_on(core, || serve(stream))?;
                }
                Err(error) => {
                    eprintln!("accept: {error}");
                    ringway::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    })
}

async fn serve(stream: std::net::TcpStream) {
    if let Err(error) = echo(stream).await {
        eprintln!("connection: {error}");
    }
}

async fn echo(stream: std::net::TcpStream) -> std::io::Result<()> {
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    let mut buf = Vec::with_capacity(BUFFER_LEN);
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
