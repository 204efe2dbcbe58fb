//! Connections: accepting, connecting, receiving, sending; ends and resets.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;

use ringway::OpKind;
use rustix::event::PollFlags;
use rustix::fs::fcntl_getfl;
use rustix::io::fcntl_getfd;

use crate::case::{Bytes, Case, Stage, pattern};
use crate::world::{Stream, abort, later, listener, settled};

pub(crate) static CASES: [Case; 5] = [
    Case::new("accept", &[OpKind::Accept], |stage| Box::pin(accepts(stage))),
    Case::new("connect", &[OpKind::Connect], |stage| Box::pin(connects(stage))),
    Case::new("recv", &[OpKind::Recv], |stage| Box::pin(receives(stage))),
    Case::new("send", &[OpKind::Send], |stage| Box::pin(sends(stage))),
    Case::new("stream", &[OpKind::Recv, OpKind::Send], |stage| Box::pin(large(stage))),
];

async fn accepts(stage: &Stage) {
    let (listening, addr) = stage.listen();
    let early = TcpStream::connect(addr).unwrap();
    let accepted = listening.accept().await;
    let is_peer = |accepted: &io::Result<(Stream, SocketAddr)>, peer: SocketAddr| {
        accepted.as_ref().is_ok_and(|(_, addr)| *addr == peer)
    };
    stage.tell("from whom", Ok(is_peer(&accepted, early.local_addr().unwrap())));
    let (stream, _) = accepted.unwrap();
    stage.tell("close on exec", Ok(!fcntl_getfd(stream.as_fd()).unwrap().is_empty()));
    let _ = fcntl_getfl(stream.as_fd()).unwrap();

    let late = later(move || TcpStream::connect(addr));
    let accepted = listening.accept().await;
    let late = late.join().unwrap().unwrap();
    stage.tell("later", Ok(is_peer(&accepted, late.local_addr().unwrap())));

    let mut gone = TcpStream::connect(addr).unwrap();
    gone.write_all(b"last words").unwrap();
    drop(gone);
    let (stream, _) = listening.accept().await.unwrap();
    stage.tell("what is gone", stream.recv(100).await);
    stage.tell("and ended", stream.recv(100).await);

    abort(TcpStream::connect(addr).unwrap());
    let (stream, _) = listening.accept().await.unwrap();
    stage.tell("what was broken", stream.recv(100).await);

    rustix::net::shutdown(listening.as_fd(), rustix::net::Shutdown::Read).unwrap();
    stage.tell("no more", listening.accept().await.map(drop));
    stage.tell("nor then", listening.accept().await.map(drop));
}

async fn connects(stage: &Stage) {
    let (listening, addr) = listener();
    let stream = stage.connect(addr).await.unwrap();
    let (mut peer, _) = listening.accept().unwrap();
    peer.write_all(b"hello").unwrap();
    stage.tell("connected", stream.recv(100).await);
    drop(listening);
    stage.tell("refused", stage.connect(addr).await.map(drop));
    let any = SocketAddr::from(([0, 0, 0, 0], addr.port()));
    stage.tell("refused by any", stage.connect(any).await.map(drop));
    for to in ["127.0.0.1:0", "255.255.255.255:1", "[::1]:1", "[ff02::1]:1"] {
        stage.tell(to, stage.connect(to.parse().unwrap()).await.map(drop));
    }
}

async fn receives(stage: &Stage) {
    let (stream, mut peer) = stage.pair();
    peer.write_all(&pattern(100)).unwrap();
    settled(&stream, PollFlags::IN);
    stage.tell("none of what is there", stream.recv(0).await);
    stage.tell("some of what is there", stream.recv(30).await);
    stage.tell("the rest", stream.recv(1000).await);
    let writing = later(move || {
        let _ = peer.write_all(b"late");
        peer
    });
    stage.tell("what comes later", stream.recv(100).await);
    let peer = writing.join().unwrap();
    let ending = later(move || {
        let _ = peer.shutdown(Shutdown::Write);
        peer
    });
    stage.tell("the end", stream.recv(100).await);
    stage.tell("the end again", stream.recv(100).await);
    let mut peer = ending.join().unwrap();
    stage.tell("the other way", stream.send(b"still open").await);
    stage.tell("arrives", peer.read(&mut [0; 100]));

    let (stream, mut peer) = stage.pair();
    peer.write_all(b"short").unwrap();
    drop(peer);
    stage.tell("more than there is", stream.recv_exact(10).await);

    let (stream, peer) = stage.pair();
    let breaking = later(move || abort(peer));
    stage.tell("broken", stream.recv(100).await);
    breaking.join().unwrap();
    stage.tell("then", stream.recv(100).await);

    let (stream, mut peer) = stage.pair();
    peer.write_all(b"unread").unwrap();
    abort(peer);
    settled(&stream, PollFlags::HUP);
    stage.tell("broken with bytes in it", stream.recv(100).await);

    let (stream, _peer) = stage.pair();
    stream.shutdown(Shutdown::Read).unwrap();
    stage.tell("shut", stream.recv(100).await);
}

async fn sends(stage: &Stage) {
    let (stream, mut peer) = stage.pair();
    stage.tell("nothing", stream.send(b"").await);
    stage.tell("something", stream.send(&pattern(1000)).await);
    let mut buf = vec![0; 1000];
    peer.read_exact(&mut buf).unwrap();
    stage.tell("arrives", Ok(Bytes(buf)));
    stream.shutdown(Shutdown::Write).unwrap();
    stage.tell("after the end", stream.send(b"x").await);
    stage.tell("all after the end", stream.send_all(b"x").await);
    stage.tell("nothing after the end", stream.send(b"").await);

    let (stream, peer) = stage.pair();
    abort(peer);
    settled(&stream, PollFlags::HUP);
    stage.tell("to a broken one", stream.send(b"x").await);
    stage.tell("and again", stream.send(b"x").await);

    let (stream, mut peer) = stage.pair();
    stream.send_all(b"answer me").await.unwrap();
    peer.read_exact(&mut [0; 9]).unwrap();
    drop(peer);
    settled(&stream, PollFlags::RDHUP);
    // Takes it, and is told of the reset after that.
    stage.tell("to one who has gone", stream.send(b"x").await);
    settled(&stream, PollFlags::HUP);
    stage.tell("and again", stream.send(b"x").await);
}

/// More than the socket's buffers hold, both ways, so that every part has to wait.
async fn large(stage: &Stage) {
    const LEN: usize = 3 << 20;
    let (stream, mut peer) = stage.pair();
    let reading = later(move || {
        let mut buf = vec![0; LEN];
        let _ = peer.read_exact(&mut buf);
        (buf, peer)
    });
    stage.tell("out", stream.send_all(&pattern(LEN)).await);
    let (buf, mut peer) = reading.join().unwrap();
    stage.tell("arrives", Ok(Bytes(&buf)));
    let writing = later(move || {
        let _ = peer.write_all(&buf);
        peer
    });
    stage.tell("in", stream.recv_exact(LEN).await);
    drop(writing.join().unwrap());
    stage.tell("the end", stream.recv(1).await);
    let (stream, peer) = stage.pair();
    let breaking = later(move || abort(peer));
    stage.tell("broken halfway", stream.send_all(&vec![0; 64 << 20]).await);
    breaking.join().unwrap();
}
