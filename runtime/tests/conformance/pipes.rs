//! Pipes, and bytes that move between them, sockets and files.

use std::fs;
use std::io::{Read, Write};

use ringway::OpKind;
use ringway::fs::OFlags;
use rustix::event::PollFlags;

use crate::case::{Bytes, Case, Stage, pattern};
use crate::world::{abort, later, settled};

pub(crate) static CASES: [Case; 4] = [
    // Writes to a stream never go on the ring, whatever is asked for: they have no rung to force.
    Case::of_streams("pipe", &[OpKind::Read], |stage| Box::pin(bytes(stage))),
    Case::new("splice", &[OpKind::Splice], |stage| Box::pin(splices(stage))),
    Case::new("splice_files", &[OpKind::Splice], |stage| Box::pin(file_splices(stage))),
    Case::new("tee", &[OpKind::Tee], |stage| Box::pin(tees(stage))),
];

async fn bytes(stage: &Stage) {
    let (reader, mut writer) = stage.reader();
    stage.tell("nothing of nothing", reader.read(0).await);
    writer.write_all(&pattern(1000)).unwrap();
    stage.tell("some", reader.read(300).await);
    stage.tell("the rest", reader.read(5000).await);
    let writing = later(move || {
        let _ = writer.write_all(b"late");
        writer
    });
    stage.tell("later", reader.read(100).await);
    let ending = later(move || drop(writing));
    stage.tell("the end", reader.read(100).await);
    ending.join().unwrap();
    stage.tell("the end again", reader.read(100).await);

    let (mut reader, writer) = stage.writer();
    stage.tell("nothing", writer.write(b"").await);
    stage.tell("something", writer.write(&pattern(1000)).await);
    stage.tell("arrives", reader.read(&mut [0; 2000]));
    let reading = later(move || {
        let mut buf = vec![0; 1 << 20];
        let _ = reader.read_exact(&mut buf);
        (buf, reader)
    });
    stage.tell("much", writer.write_all(&pattern(1 << 20)).await);
    let (buf, reader) = reading.join().unwrap();
    stage.tell("arrives", Ok(Bytes(buf)));
    drop(reader);
    stage.tell("to nobody", writer.write(b"x").await);
    stage.tell("all to nobody", writer.write_all(b"x").await);
}

async fn splices(stage: &Stage) {
    let (from, mut source) = stage.reader();
    let (mut sink, to) = stage.writer();
    source.write_all(&pattern(5000)).unwrap();
    stage.tell("none", from.splice(&to, 0).await);
    stage.tell("some", from.splice(&to, 1000).await);
    stage.tell("the rest", from.splice(&to, 10_000).await);
    let mut buf = vec![0; 5000];
    sink.read_exact(&mut buf).unwrap();
    stage.tell("arrives", Ok(Bytes(buf)));
    let writing = later(move || {
        let _ = source.write_all(b"late");
        source
    });
    stage.tell("later", from.splice(&to, 100).await);
    drop(writing.join().unwrap());
    stage.tell("the end", from.splice(&to, 100).await);
    let (from, mut source) = stage.reader();
    source.write_all(b"x").unwrap();
    drop(sink);
    stage.tell("to nobody", from.splice(&to, 100).await);

    let (stream, mut peer) = stage.pair();
    source.write_all(&pattern(3000)).unwrap();
    stage.tell("to a socket", from.splice_out(&stream, 3001).await);
    let mut buf = vec![0; 3001];
    peer.read_exact(&mut buf).unwrap();
    stage.tell("arrives", Ok(Bytes(buf)));
    let (mut sink, to) = stage.writer();
    peer.write_all(b"answer").unwrap();
    settled(&stream, PollFlags::IN);
    stage.tell("from a socket", to.splice_in(&stream, 100).await);
    stage.tell("arrives", sink.read(&mut [0; 100]));
    let ending = later(move || drop(peer));
    stage.tell("the end of a socket", to.splice_in(&stream, 100).await);
    ending.join().unwrap();

    let (stream, peer) = stage.pair();
    abort(peer);
    settled(&stream, PollFlags::HUP);
    source.write_all(b"x").unwrap();
    stage.tell("from a broken one", to.splice_in(&stream, 100).await);
    stage.tell("to a broken one", from.splice_out(&stream, 100).await);
}

async fn file_splices(stage: &Stage) {
    let path = stage.file("file", &pattern(50_000));
    let file = stage.open("file", OFlags::RDWR).await.unwrap();
    let (mut sink, to) = stage.writer();
    for (offset, len) in
        [(0, 4096), (4096, 8192), (1, 10), (49_999, 100), (50_000, 100), (99_999, 1), (0, 0)]
    {
        let moved = stage.splice_to(&file, offset, &to, len).await;
        let mut buf = vec![0; *moved.as_ref().unwrap_or(&0)];
        sink.read_exact(&mut buf).unwrap();
        stage.tell(format!("{len} at {offset}"), moved.map(|moved| (moved, Bytes(buf))));
    }
    let write_only = stage.open("file", OFlags::WRONLY).await.unwrap();
    stage.tell("of write-only", stage.splice_to(&write_only, 0, &to, 10).await);
    stage.tell("of a directory", stage.splice_to(stage.dir.as_file(), 0, &to, 10).await);

    let (from, mut source) = stage.reader();
    for (offset, len) in [(0, 10), (100, 4096), (60_000, 100)] {
        source.write_all(&pattern(len)).unwrap();
        let moved = stage.splice_from(&file, &from, offset, len).await;
        stage.tell(format!("{len} to {offset}"), moved);
        stage.tell("then", fs::read(&path).map(Bytes));
    }
    source.write_all(b"x").unwrap();
    let appends = stage.open("file", OFlags::WRONLY | OFlags::APPEND).await.unwrap();
    stage.tell("to append", stage.splice_from(&appends, &from, 0, 10).await);
    let read_only = stage.open("file", OFlags::RDONLY).await.unwrap();
    stage.tell("to read-only", stage.splice_from(&read_only, &from, 0, 10).await);
    stage.tell("what was left", stage.splice_from(&file, &from, 0, 10).await);
    drop(source);
    stage.tell("the end", stage.splice_from(&file, &from, 0, 10).await);
    drop(sink);
    stage.tell("to nobody", stage.splice_to(&file, 0, &to, 10).await);
}

async fn tees(stage: &Stage) {
    let (from, mut source) = stage.reader();
    let (mut sink, to) = stage.writer();
    source.write_all(&pattern(5000)).unwrap();
    for len in [0, 100, 10_000] {
        let told = from.tee(&to, len).await;
        let mut buf = vec![0; *told.as_ref().unwrap_or(&0)];
        sink.read_exact(&mut buf).unwrap();
        stage.tell(len, told.map(|told| (told, Bytes(buf))));
    }
    stage.tell("it is all there", from.read(10_000).await);
    let writing = later(move || {
        let _ = source.write_all(b"late");
        source
    });
    stage.tell("later", from.tee(&to, 100).await);
    let mut source = writing.join().unwrap();
    from.read(100).await.unwrap();
    source.write_all(b"x").unwrap();
    drop(sink);
    stage.tell("to nobody", from.tee(&to, 100).await);
    from.read(100).await.unwrap();
    let (_sink, to) = stage.writer();
    drop(source);
    stage.tell("the end", from.tee(&to, 100).await);
}
