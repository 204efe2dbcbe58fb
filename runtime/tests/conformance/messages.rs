//! Datagrams; and sends whose buffers the kernel keeps for a while, or has known before.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, UdpSocket};

use ringway::OpKind;
use ringway::fs::OFlags;
use rustix::event::PollFlags;

use crate::case::{Bytes, Case, Stage, pattern};
use crate::world::{abort, later, settled};

pub(crate) static CASES: [Case; 4] = [
    Case::new("datagram", &[OpKind::RecvMsg, OpKind::SendMsg], |stage| Box::pin(datagrams(stage))),
    Case::new("send_zc", &[OpKind::SendZc], |stage| Box::pin(zero_copy(stage))),
    Case::new("sendmsg_zc", &[OpKind::SendMsgZc], |stage| Box::pin(zero_copy_parts(stage))),
    Case::new("fixed", &[OpKind::ReadFixed, OpKind::WriteFixed], |stage| Box::pin(fixed(stage))),
];

async fn datagrams(stage: &Stage) {
    let (socket, addr) = stage.datagrams();
    let peer = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let other = peer.local_addr().unwrap();
    for len in [0, 1, 1000, 20_000] {
        peer.send_to(&pattern(len), addr).unwrap();
        for room in [30_000, 10] {
            let received = socket.recv_from(room).await;
            stage.tell(
                format!("{len} into {room}"),
                received.map(|(bytes, from)| (bytes, from == other)),
            );
            peer.send_to(&pattern(len), addr).unwrap();
        }
        let _ = socket.recv_from(1).await;
    }
    let sending = later(move || peer.send_to(b"late", addr).map(|_| peer));
    stage.tell("later", socket.recv_from(100).await.map(|(bytes, from)| (bytes, from == other)));
    let peer = sending.join().unwrap().unwrap();
    for len in [0, 1, 20_000, 65_507, 65_508] {
        stage.tell(format!("send {len}"), socket.send_to(&pattern(len), other).await);
    }
    let mut buf = vec![0; 70_000];
    for _ in 0..4 {
        stage.tell("arrives", peer.recv(&mut buf));
    }
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    stage.tell("to no port", socket.send_to(b"x", nowhere).await);
    stage.tell("to all", socket.send_to(b"x", ([255, 255, 255, 255], 9).into()).await);
    stage.tell("to another family", socket.send_to(b"x", "[::1]:9".parse().unwrap()).await);
}

/// Above what is sent plainly.
const LARGE: usize = 200_000;

async fn zero_copy(stage: &Stage) {
    let (stream, mut peer) = stage.pair();
    for len in [0, 100, LARGE, LARGE] {
        let reading = later(move || {
            let mut buf = vec![0; len];
            let _ = peer.read_exact(&mut buf);
            (buf, peer)
        });
        stage.tell(len, stream.send_zc(&pattern(len)).await);
        let (buf, back) = reading.join().unwrap();
        peer = back;
        stage.tell("arrives", Ok(Bytes(buf)));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    stage.tell("after the end", stream.send_zc(&pattern(LARGE)).await);
    let (stream, peer) = stage.pair();
    abort(peer);
    settled(&stream, PollFlags::HUP);
    stage.tell("to a broken one", stream.send_zc(&pattern(LARGE)).await);
    stage.tell("and again", stream.send_zc(&pattern(LARGE)).await);
}

async fn zero_copy_parts(stage: &Stage) {
    let (stream, mut peer) = stage.pair();
    for parts in [vec![], vec![pattern(LARGE)], vec![pattern(10), vec![], pattern(LARGE)]] {
        let len = parts.iter().map(Vec::len).sum();
        let reading = later(move || {
            let mut buf = vec![0; len];
            let _ = peer.read_exact(&mut buf);
            (buf, peer)
        });
        stage.tell(format!("{} parts", parts.len()), stream.sendmsg_zc(&parts).await);
        let (buf, back) = reading.join().unwrap();
        peer = back;
        stage.tell("arrives", Ok(Bytes(buf)));
    }
    abort(peer);
    settled(&stream, PollFlags::HUP);
    stage.tell("to a broken one", stream.sendmsg_zc(&[pattern(LARGE)]).await);
    stage.tell("and again", stream.sendmsg_zc(&[pattern(LARGE)]).await);
}

async fn fixed(stage: &Stage) {
    let path = stage.file("file", &pattern(10_000));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let far = [i64::MAX as u64 - 5, i64::MAX as u64 + 1, u64::MAX];
    for offset in [0, 5, 9_999, 10_000].into_iter().chain(far) {
        stage.tell(format!("read at {offset}"), stage.read_fixed(&file, 4096, offset).await);
    }
    for offset in [0, 9_999, 20_000].into_iter().chain(far) {
        stage.tell(
            format!("write at {offset}"),
            stage.write_fixed(&file, &pattern(3000), offset).await,
        );
        stage.tell("then", std::fs::read(&path).map(Bytes));
    }
    let other = stage.open("file", OFlags::WRONLY).await.unwrap();
    stage.tell("read of write-only", stage.read_fixed(&other, 10, 0).await);
    let other = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("write of read-only", stage.write_fixed(&other, b"x", 0).await);
    let device = stage.open("/dev/full", OFlags::RDWR).await.unwrap();
    stage.tell("write to a full device", stage.write_fixed(&device, b"x", 0).await);
}
