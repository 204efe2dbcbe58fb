//! Waiting for readiness: hang-ups of connections, and descriptors of others.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};

use ringway::{AsyncFd, OpKind};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::case::{Case, Stage, World};
use crate::world::{abort, later};

pub(crate) static CASES: [Case; 2] = [
    Case::new("hang_up", &[OpKind::Poll], |stage| Box::pin(hang_ups(stage))),
    Case::new("poll", &[OpKind::Poll], |stage| Box::pin(polls(stage))),
];

async fn hang_ups(stage: &Stage) {
    let (stream, peer) = stage.pair();
    drop(peer);
    stage.tell("gone already", stream.hang_up().await);
    stage.tell("and still", stream.hang_up().await);

    let (stream, mut peer) = stage.pair();
    peer.write_all(b"first").unwrap();
    let leaving = later(move || drop(peer));
    stage.tell("with bytes before it", stream.hang_up().await);
    leaving.join().unwrap();
    stage.tell("the bytes", stream.recv(100).await);

    let (stream, peer) = stage.pair();
    let leaving = later(move || {
        let _ = peer.shutdown(Shutdown::Write);
        peer
    });
    stage.tell("one direction", stream.hang_up().await);
    let mut peer = leaving.join().unwrap();
    stage.tell("the other", stream.send(b"yes").await);
    stage.tell("arrives", peer.read(&mut [0; 10]));

    let (stream, peer) = stage.pair();
    let breaking = later(move || abort(peer));
    stage.tell("broken", stream.hang_up().await);
    breaking.join().unwrap();
    stage.tell("why", stream.recv(10).await);
}

/// The events that end the wait.
async fn wait(stage: &Stage, fd: OwnedFd, events: PollFlags) -> (io::Result<i16>, OwnedFd) {
    match stage.world {
        World::Ringway => {
            let fd = AsyncFd::new(fd);
            let ready = fd.poll(events.bits().cast_signed()).await;
            (ready, fd.into_inner().expect("nothing else waits"))
        }
        World::Kernel => {
            let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), events)];
            let polled = poll(&mut fds, None).map_err(io::Error::from);
            let ready = fds[0].revents().bits().cast_signed();
            (polled.map(|_| ready), fd)
        }
    }
}

async fn polls(stage: &Stage) {
    let (both, input, output) = (PollFlags::IN | PollFlags::OUT, PollFlags::IN, PollFlags::OUT);
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let (ready, reader) = wait(stage, reader.into(), input | PollFlags::PRI).await;
    stage.tell("bytes", ready);
    let (ready, writer) = wait(stage, writer.into(), both).await;
    stage.tell("room", ready);
    drop(writer);
    let (ready, reader) = wait(stage, reader, input).await;
    stage.tell("bytes and the end", ready);
    rustix::io::read(&reader, &mut [0; 4]).unwrap();
    let (ready, _) = wait(stage, reader, input).await;
    stage.tell("the end", ready);

    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    stage.tell("no reader", wait(stage, writer.into(), output).await.0);

    let (reader, mut writer) = io::pipe().unwrap();
    let writing = later(move || {
        let _ = writer.write_all(b"x");
        writer
    });
    stage.tell("later", wait(stage, reader.into(), input).await.0);
    drop(writing.join().unwrap());

    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&vec![0; 65_536]).unwrap();
    let mut draining = reader.try_clone().unwrap();
    let reading = later(move || draining.read_exact(&mut vec![0; 65_536]));
    stage.tell("room later", wait(stage, writer.into(), output).await.0);
    reading.join().unwrap().unwrap();

    let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let (ready, counter) = wait(stage, counter, both).await;
    stage.tell("a counter at zero", ready);
    rustix::io::write(&counter, &[1; 8]).unwrap();
    let (ready, counter) = wait(stage, counter, both).await;
    stage.tell("a counter", ready);
    let (ready, counter) = wait(stage, counter, input).await;
    stage.tell("and still", ready);
    drop(counter);

    stage.file("file", b"");
    let file = std::fs::File::open(stage.path("file")).unwrap();
    stage.tell("a file", wait(stage, file.into(), input).await.0);
}
