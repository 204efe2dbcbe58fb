//! A UDP service on every core: `cargo run --example udp -- [ADDRESS]`, then `nc -u 127.0.0.1 7007`.
//!
//! It is the echo service of RFC 862, in batches: the kernel joins datagrams of one sender on their way
//! in (`UDP_GRO`) and cuts the answer into datagrams on its way out (`UDP_SEGMENT`), so that a burst
//! costs two system calls. Where it cannot, each datagram is on its own, and nothing here differs. Each
//! core has a socket of its own on the same port; the kernel deals the senders out among them.

use std::env;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringway::buf::IoBufExt;
use ringway::net::{SendMeta, UdpOptions, UdpSocket};
use ringway::{Builder, Cores};

/// The most that one receive brings: as many datagrams as the kernel joins.
const BUFFER_LEN: usize = 64 << 10;

/// How long to wait when the network is unwell.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let mut addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".to_owned()).parse()?;
    let cores = Cores::start(thread::available_parallelism()?.get(), &Builder::new())?;
    println!("{}", cores.features());
    for core in 0..cores.len() {
        let (bound, result) = mpsc::sync_channel(1);
        cores.spawn_on(core, move || async move {
            match bind(addr) {
                Ok(socket) => {
                    let _ = bound.send(socket.local_addr());
                    serve(socket).await;
                }
                Err(error) => drop(bound.send(Err(error))),
            }
        })?;
        // Port 0 is a free one, and the same for all.
        addr = result.recv()??;
    }
    println!("listening on {addr}");
    loop {
        thread::park();
    }
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind_with(addr, &UdpOptions::new().reuse_port(true))?;
    socket.set_gro(true)?;
    // The answer comes from the address that was asked, though the host have many.
    socket.set_recv_destination(true)?;
    Ok(socket)
}

/// Gives back what comes, for ever.
async fn serve(socket: UdpSocket) {
    let mut buf = Vec::with_capacity(BUFFER_LEN);
    loop {
        buf.clear();
        let (received, filled) = socket.recv_from(buf).await;
        buf = filled;
        let answer = match received {
            Ok(meta) if !meta.truncated => {
                let to = SendMeta {
                    to: Some(meta.from),
                    from: meta.to,
                    segment_size: meta.segment_size,
                    ..SendMeta::default()
                };
                let (sent, part) = socket.send_with(buf.slice(..meta.len), &to).await;
                buf = part.into_inner();
                sent
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        // An answer to an earlier datagram that nobody took (ICMP) is told here; it is not ours.
        if let Err(error) = answer
            && error.kind() != io::ErrorKind::ConnectionRefused
        {
            eprintln!("udp: {error}");
            ringway::time::sleep(PAUSE).await;
        }
    }
}
