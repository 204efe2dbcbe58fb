//! A static file server by splice: `cargo run --example files -- FOLDER [ADDRESS]`, then
//! `curl http://127.0.0.1:8080/name`.
//!
//! It speaks as much HTTP/1.1 as a download needs: GET and HEAD, one request after the other. The
//! files' bytes go from the page cache to the socket through a pipe. No path leads out of the folder:
//! the kernel sees to that (`RESOLVE_BENEATH`).

use std::env;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway::Builder;
use ringway::buf::IoBufExt;
use ringway::fs::{Dir, File, OpenHow};
use ringway::net::{TcpListener, TcpStream};
use ringway::pipe::{PipePool, copy_file_to_socket};
use ringway::time::timeout;
use rustix::fs::{FileType, OFlags, ResolveFlags, StatxFlags};

/// The longest request head. Browsers send less than half of it.
const HEAD_MAX: usize = 16 << 10;

/// How long a connection may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait when no connection can be taken, for lack of descriptors most likely.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let folder = args.next().ok_or("usage: files FOLDER [ADDRESS]")?;
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned()).parse()?;
    let folder = Dir::open_ambient(folder)?;
    let runtime = Builder::new().build()?;
    println!("{}", runtime.features());
    runtime.block_on(serve(addr, folder))?;
    Ok(())
}

async fn serve(addr: SocketAddr, folder: Dir) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let pipes = Rc::new(PipePool::new(256 << 10, 64));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (folder, pipes) = (folder.clone(), pipes.clone());
                drop(ringway::spawn(async move {
                    // A client that goes away in mid-file is nothing to tell.
                    let _ = converse(&stream, &folder, &pipes).await;
                }));
            }
            Err(error) => {
                eprintln!("accept: {error}");
                ringway::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers requests until the client has no more.
async fn converse(stream: &TcpStream, folder: &Dir, pipes: &PipePool) -> io::Result<()> {
    let mut received = Vec::with_capacity(HEAD_MAX);
    loop {
        let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            if received.len() == HEAD_MAX {
                return refuse(stream, "431 Request Header Fields Too Large").await;
            }
            let (at, part) = (received.len(), received.slice(..HEAD_MAX));
            let (n, part) =
                timeout(PATIENCE, stream.recv(part.into_inner().slice(at..HEAD_MAX))).await?;
            received = part.into_inner();
            if n? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end + 4);
        answer(&head, stream, folder, pipes).await?;
    }
}

async fn answer(head: &str, stream: &TcpStream, folder: &Dir, pipes: &PipePool) -> io::Result<()> {
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (words.next(), words.next().unwrap_or_default());
    if !matches!(method, Some("GET" | "HEAD")) {
        return refuse(stream, "405 Method Not Allowed").await;
    }
    let (file, len) = match open(folder, path.trim_start_matches('/')).await {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return refuse(stream, "404 Not Found").await;
        }
        Err(_) => return refuse(stream, "403 Forbidden").await,
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
    stream.send_all(head.into_bytes()).await.0?;
    if method == Some("GET") && copy_file_to_socket(&file, 0, len, stream, pipes).await? < len {
        // It has become shorter since: the promise cannot be kept.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A regular file below the folder, and its length.
async fn open(folder: &Dir, path: &str) -> io::Result<(File, u64)> {
    // A FIFO must not keep us waiting for its other end.
    let how = OpenHow::new(OFlags::RDONLY | OFlags::NONBLOCK);
    let file = folder.open_at(path, &how.resolve(ResolveFlags::BENEATH)).await?;
    let stat = file.statx(StatxFlags::TYPE | StatxFlags::SIZE).await?;
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile => Ok((file, stat.stx_size)),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

async fn refuse(stream: &TcpStream, status: &str) -> io::Result<()> {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    stream.send_all(answer.into_bytes()).await.0
}
