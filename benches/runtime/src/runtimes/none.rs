//! No runtime: the same work in plain system calls, as a floor to see the others above.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use rustix::event::epoll;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::pipe::{PipeFlags, SpliceFlags};

use super::ZERO_COPY_AT_ONCE;
use crate::child;
use crate::rows::files::{self, NAME, PAGE, PAGES, pieces};
use crate::rows::{Counter, Job, transfer};
use crate::sys;

pub(super) fn settings() -> String {
    "plain system calls; servers with many connections: a level-triggered epoll loop".to_owned()
}

pub(super) fn run(job: &Job) {
    let number = |index| job.number(index);
    let result = match job.name.as_str() {
        "echo" => echo(number(0)),
        "accept" => accept(),
        "read" => read(number(0), number(2) == 1),
        "stat-file" => stat_file(number(0)),
        "stat-path" => repeat(number(0), usize::MAX, |_| stat(NAME)),
        "open" => repeat(number(0), usize::MAX, |_| open().map(drop)),
        way => pour(way, number(0)),
    };
    // A connection that ends is the normal end of a server.
    drop(result);
}

fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    child::ready(listener.local_addr()?.port());
    Ok(listener)
}

fn echo(buffer_len: usize) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let event = epoll::EventFlags::IN;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), event)?;
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut buf = vec![0; buffer_len];
    let mut events = Vec::with_capacity(256);
    loop {
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for ready in events.drain(..) {
            let key = ready.data;
            if let Some(stream) = streams.get_mut(key.u64() as usize) {
                if let Ok(count) = stream.read(&mut buf) {
                    stream.write_all(&buf[..count])?;
                }
                continue;
            }
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                let key = epoll::EventData::new_u64(streams.len() as u64);
                epoll::add(&poll, &stream, key, event)?;
                streams.push(stream);
            }
        }
    }
}

fn accept() -> io::Result<()> {
    let listener = listen()?;
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut buf = [0];
        if stream.read(&mut buf)? == 1 {
            stream.write_all(&buf)?;
        }
    }
}

/// Runs `work` for `millis`, or `limit` times.
fn repeat(
    millis: usize,
    limit: usize,
    mut work: impl FnMut(usize) -> io::Result<()>,
) -> io::Result<()> {
    child::ready(0);
    let counter = Counter::new(millis, limit);
    let start = Instant::now();
    while let Some(index) = counter.next() {
        work(index)?;
    }
    child::done(counter.given() as u64, start.elapsed(), 0.0);
    Ok(())
}

fn read(millis: usize, cold: bool) -> io::Result<()> {
    files::set_cached(!cold)?;
    let file = open()?;
    let mut buf = vec![0; PAGE];
    let limit = if cold { PAGES } else { usize::MAX };
    repeat(millis, limit, |index| file.read_at(&mut buf, files::offset(index)).map(drop))
}

fn open() -> io::Result<File> {
    Ok(rustix::fs::openat(CWD, NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into())
}

fn stat(name: &str) -> io::Result<()> {
    rustix::fs::statx(CWD, name, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    Ok(())
}

fn stat_file(millis: usize) -> io::Result<()> {
    let file = open()?;
    repeat(millis, usize::MAX, |_| {
        rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(())
    })
}

/// One of [`transfer::BARE`]: sends `size` bytes at a time until the client is gone.
fn pour(way: &str, size: usize) -> io::Result<()> {
    files::set_cached(true)?;
    let (stream, _) = listen()?.accept()?;
    stream.set_nodelay(true)?;
    let [send, zero_copy, sendfile, splice, copy] = transfer::BARE;
    match way {
        _ if way == send => pour_memory(stream, size),
        _ if way == zero_copy => pour_zero_copy(&stream, size),
        _ if way == sendfile => pour_sendfile(&stream, size),
        _ if way == splice => pour_splice(&stream, size),
        _ if way == copy => pour_copy(stream, size),
        _ => panic!("there is no job '{way}' without a runtime"),
    }
}

fn pour_memory(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let buf = vec![0x5a; size];
    loop {
        stream.write_all(&buf)?;
    }
}

fn pour_zero_copy(stream: &TcpStream, size: usize) -> io::Result<()> {
    let buf = vec![0x5a; size];
    sys::allow_zero_copy(stream)?;
    let mut held = 0;
    loop {
        while held >= ZERO_COPY_AT_ONCE {
            held -= sys::zero_copies_done(stream)? as usize;
        }
        let mut rest = buf.as_slice();
        while !rest.is_empty() {
            rest = &rest[sys::send_zero_copy(stream, rest)?..];
            held += 1;
        }
    }
}

fn pour_sendfile(stream: &TcpStream, size: usize) -> io::Result<()> {
    let file = open()?;
    for mut offset in pieces(size) {
        let end = offset + size as u64;
        while offset < end {
            let wanted = (end - offset) as usize;
            rustix::fs::sendfile(stream, &file, Some(&mut offset), wanted)?;
        }
    }
    Ok(())
}

fn pour_splice(stream: &TcpStream, size: usize) -> io::Result<()> {
    let file = open()?;
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::pipe::fcntl_setpipe_size(&writer, size)?;
    let (flags, more) = (SpliceFlags::MOVE, SpliceFlags::MOVE | SpliceFlags::MORE);
    for mut offset in pieces(size) {
        let end = offset + size as u64;
        while offset < end {
            let wanted = (end - offset) as usize;
            let mut held =
                rustix::pipe::splice(&file, Some(&mut offset), &writer, None, wanted, flags)?;
            while held > 0 {
                let flags = if offset < end { more } else { flags };
                held -= rustix::pipe::splice(&reader, None, stream, None, held, flags)?;
            }
        }
    }
    Ok(())
}

fn pour_copy(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let file = open()?;
    let mut buf = vec![0; size];
    for offset in pieces(size) {
        file.read_exact_at(&mut buf, offset)?;
        stream.write_all(&buf)?;
    }
    Ok(())
}
