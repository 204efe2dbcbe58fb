//! A TCP proxy whose bytes never enter the program: `cargo run --example proxy -- LISTEN TARGET`.
//!
//! Each direction is spliced through a pipe out of a pool. Where one side ends its stream, so does the
//! other; where one breaks, both connections are closed.

use std::env;
use std::error::Error;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ringway::Builder;
use ringway::net::{TcpListener, TcpStream};
use ringway::pipe::{PipePool, copy_socket_to_socket};
use ringway::time::timeout;

/// What a pipe holds.
const PIPE_SIZE: usize = 256 << 10;

/// How many pipes there may be. A direction has one only while bytes are on their way through it.
const PIPES_MAX: usize = 64;

/// How long the target may take to accept.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be taken, for lack of descriptors most likely.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let (listen, target) = match env::args().collect::<Vec<_>>().as_slice() {
        [_, listen, target] => (listen.parse()?, target.parse()?),
        _ => return Err("usage: proxy LISTEN TARGET, each IP:PORT".into()),
    };
    let runtime = Builder::new().build()?;
    println!("{}", runtime.features());
    runtime.block_on(serve(listen, target))?;
    Ok(())
}

async fn serve(listen: SocketAddr, target: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    println!("listening on {}", listener.local_addr()?);
    let pipes = Rc::new(PipePool::new(PIPE_SIZE, PIPES_MAX));
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                let pipes = pipes.clone();
                drop(ringway::spawn(async move {
                    if let Err(error) = pass(client, target, pipes).await {
                        eprintln!("{peer}: {error}");
                    }
                }));
            }
            Err(error) => {
                eprintln!("accept: {error}");
                ringway::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One connection, both ways, to the end of both.
async fn pass(client: TcpStream, target: SocketAddr, pipes: Rc<PipePool>) -> io::Result<()> {
    let server = timeout(CONNECT_LIMIT, TcpStream::connect(target)).await??;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client, server) = (Rc::new(client), Rc::new(server));
    let up = ringway::spawn(one_way(client.clone(), server.clone(), pipes.clone()));
    let down = one_way(server.clone(), client.clone(), pipes).await;
    if down.is_err() {
        // Ends the other direction too, wherever it waits.
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
    up.await??;
    down
}

async fn one_way(from: Rc<TcpStream>, to: Rc<TcpStream>, pipes: Rc<PipePool>) -> io::Result<()> {
    match copy_socket_to_socket(&*from, &*to, u64::MAX, &pipes).await {
        Ok(_) => to.shutdown(Shutdown::Write),
        Err(error) => {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            Err(error)
        }
    }
}
