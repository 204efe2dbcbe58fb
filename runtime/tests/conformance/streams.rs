//! Operations that answer again and again: connections that come, bytes that come. How the bytes are
//! cut is nobody's promise; what they are is.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use ringway::OpKind;
use ringway::net::RecvPool;

use crate::case::{Bytes, Case, Stage, pattern};
use crate::world::{Listener, Stream, abort, later};

pub(crate) static CASES: [Case; 2] = [
    Case::new("incoming", &[OpKind::AcceptMulti], |stage| Box::pin(connections(stage))),
    Case::new("recv_stream", &[OpKind::RecvMulti], |stage| Box::pin(bytes(stage))),
];

/// The next `count` connections' peers.
async fn next(listener: &Listener, count: usize) -> io::Result<Vec<SocketAddr>> {
    let mut peers = Vec::new();
    match listener {
        Listener::Ringway(listener) => {
            let mut incoming = listener.incoming();
            while peers.len() < count {
                let stream = incoming.next().await.expect("there is always another")?;
                peers.push(stream.peer_addr()?);
            }
        }
        Listener::Kernel(listener) => {
            while peers.len() < count {
                peers.push(listener.accept()?.1);
            }
        }
    }
    Ok(peers)
}

async fn connections(stage: &Stage) {
    let (listener, addr) = stage.listen();
    let is_from = |accepted: io::Result<Vec<SocketAddr>>, peers: &[TcpStream]| {
        let peers: Vec<_> = peers.iter().map(|peer| peer.local_addr().unwrap()).collect();
        accepted.map(|accepted| accepted == peers)
    };
    let some: Vec<_> = (0..5).map(|_| TcpStream::connect(addr).unwrap()).collect();
    stage.tell("some", is_from(next(&listener, 5).await, &some));
    let late = later(move || [TcpStream::connect(addr), TcpStream::connect(addr)]);
    let accepted = next(&listener, 2).await;
    let late = late.join().unwrap().map(Result::unwrap);
    stage.tell("later", is_from(accepted, &late));
    match &listener {
        Listener::Ringway(listener) => rustix::net::shutdown(listener, rustix::net::Shutdown::Read),
        Listener::Kernel(listener) => rustix::net::shutdown(listener, rustix::net::Shutdown::Read),
    }
    .unwrap();
    stage.tell("no more", next(&listener, 1).await);
}

/// All bytes until the stream ends, and how it does.
async fn all(stream: &Stream, bufs: (u16, usize)) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let ended = match stream {
        Stream::Ringway(stream) => {
            let pool = RecvPool::new(bufs.0, bufs.1).unwrap();
            let mut stream = stream.recv_stream(&pool);
            loop {
                match stream.next().await {
                    Some(Ok(buf)) => bytes.extend_from_slice(&buf),
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                }
            }
        }
        Stream::Kernel(stream) => { stream }.read_to_end(&mut bytes).map(drop),
    };
    (bytes, ended)
}

async fn bytes(stage: &Stage) {
    for (len, bufs) in [(0, (4, 100)), (5, (4, 100)), (100_000, (8, 4096)), (3000, (1, 7))] {
        let (stream, mut peer) = stage.pair();
        let writing = later(move || {
            let _ = peer.write_all(&pattern(len)).and_then(|()| peer.shutdown(Shutdown::Write));
            peer
        });
        let (bytes, ended) = all(&stream, bufs).await;
        stage.tell(len, ended.map(|()| Bytes(bytes)));
        writing.join().unwrap();
    }
    let (stream, mut peer) = stage.pair();
    peer.write_all(b"some").unwrap();
    let breaking = later(move || abort(peer));
    let (bytes, ended) = all(&stream, (4, 100)).await;
    breaking.join().unwrap();
    stage.tell("until broken", Ok(Bytes(bytes)));
    stage.tell("how", ended);
}
