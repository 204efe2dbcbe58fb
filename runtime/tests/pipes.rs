//! Pipes, splices and whole copies on every backend, and with half of what is tried first refused.

#![allow(unsafe_code, reason = "sets what a signal does in a child process")]

#[path = "support/policies.rs"]
mod policies;
mod support;

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use ringway::fs::{Dir, File, OFlags, OpenHow};
use ringway::net::TcpStream;
use ringway::pipe::{
    PipePool, PipeReader, PipeWriter, copy_file_to_socket, copy_socket_to_file,
    copy_socket_to_socket, pipe, pipe_with_size, splice, tee,
};
use ringway::time::{sleep, timeout};
use ringway::{Builder, OpKind, Policy, Rung, Runtime};
use support::files::{create, scratch};
use support::{pair, pattern, poll_now, yield_now};

/// What one page-sized pipe holds.
const PAGE: usize = 4096;

on_each_backend!(
    what_is_written_to_a_pipe_is_read,
    a_pipe_ends_with_its_last_writer_and_breaks_with_its_last_reader,
    a_pipe_from_elsewhere_is_made_non_blocking,
    a_pipe_tells_the_size_that_it_was_given,
    bytes_pass_from_socket_to_pipe_to_socket,
    a_splice_waits_for_the_side_that_is_not_ready,
    a_splice_between_two_that_are_no_pipes_is_refused,
    a_splice_to_a_closed_socket_is_a_broken_pipe,
    a_dropped_splice_has_taken_nothing,
    tee_leaves_the_bytes_and_stops_where_the_second_pipe_is_full,
    a_tee_waits_for_both,
    a_file_goes_into_a_pipe_and_out_again,
    a_file_that_is_not_cached_goes_into_a_pipe,
    a_file_in_memory_goes_into_a_pipe,
    only_what_is_cached_goes_into_a_pipe_without_waiting,
    a_head_and_a_full_pipe_are_sent_as_one,
    a_splice_from_a_file_waits_for_room_in_the_pipe,
    a_splice_into_a_file_waits_for_the_pipe,
    a_file_is_sent_whole,
    a_file_is_sent_through_a_pipe_of_one_page,
    a_file_that_ends_early_is_sent_as_far_as_it_goes,
    an_error_in_mid_copy_leaves_no_bytes_for_the_next,
    a_socket_is_written_to_a_file,
    a_socket_is_passed_on_to_another,
    a_pool_gives_out_no_more_than_its_limit_and_only_empty_pipes,
    a_pipe_that_a_dropped_call_may_yet_fill_does_not_come_back,
    two_hundred_idle_transfers_take_no_thread_and_starve_nobody,
    receivers_that_take_nothing_do_not_keep_the_pipes_of_those_who_do,
);

refused_on_each_backend!(
    what_is_written_to_a_pipe_is_read,
    bytes_pass_from_socket_to_pipe_to_socket,
    a_splice_waits_for_the_side_that_is_not_ready,
    tee_leaves_the_bytes_and_stops_where_the_second_pipe_is_full,
    a_file_goes_into_a_pipe_and_out_again,
    a_file_is_sent_whole,
    a_head_and_a_full_pipe_are_sent_as_one,
    a_file_that_ends_early_is_sent_as_far_as_it_goes,
    a_socket_is_written_to_a_file,
    a_socket_is_passed_on_to_another,
);

/// A file in the page cache.
async fn file_of(dir: &Dir, bytes: &[u8]) -> File {
    let file = dir.open_at("file", &create()).await.unwrap();
    file.write_all_at(bytes.to_vec(), 0).await.0.unwrap();
    file
}

/// More than sockets hold, and mostly holes.
const MORE_THAN_FITS: u64 = 256 << 20;

/// A file of [`MORE_THAN_FITS`] bytes that begins with `bytes`.
async fn large_file_of(dir: &Dir, bytes: &[u8]) -> File {
    let file = file_of(dir, bytes).await;
    file.set_len(MORE_THAN_FITS).await.unwrap();
    file
}

async fn read_to_end(reader: &PipeReader) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (read, buf) = reader.read(Vec::with_capacity(1 << 16)).await;
        if read.unwrap() == 0 {
            return all;
        }
        all.extend(buf);
    }
}

/// Receives `len` bytes, in pieces of `piece`, with a yield after each.
async fn receive_slowly(stream: &TcpStream, len: usize, piece: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        let (received, buf) = stream.recv(vec![0; piece.min(len - all.len())]).await;
        let received = received.unwrap();
        assert!(received > 0, "the stream ended after {} bytes", all.len());
        all.extend(&buf[..received]);
        yield_now().await;
    }
    all
}

async fn receive_to_end(stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (received, buf) = stream.recv(Vec::with_capacity(1 << 16)).await;
        if received.unwrap() == 0 {
            return all;
        }
        all.extend(buf);
    }
}

/// Sends until the socket takes no more, and goes on not to take any.
async fn fill(stream: &TcpStream) {
    let socket = std::net::TcpStream::from(stream_fd(stream));
    loop {
        let mut sent = 0;
        while let Ok(n) = (&socket).write(&[7; 1 << 16]) {
            sent += n;
        }
        if sent == 0 {
            return;
        }
        // What it holds goes over to the receiver, as far as that has room.
        sleep(Duration::from_millis(10)).await;
    }
}

fn stream_fd(stream: &TcpStream) -> OwnedFd {
    use std::os::fd::AsFd;
    stream.as_fd().try_clone_to_owned().unwrap()
}

/// How many threads `rt`, which is this thread's, has: the pool's, and the ring's.
fn threads(rt: &Runtime) -> usize {
    // The kernel names those of a ring after the thread that made it.
    let name = format!("iou-wrk-{}", rustix::thread::gettid().as_raw_nonzero());
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    rt.metrics().pool_threads + names.filter(|comm| comm.trim() == name).count()
}

/// Lets this process have as many descriptors as it may.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("within 20 seconds")
}

fn what_is_written_to_a_pipe_is_read(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern((1 << 20) + 77);
        let (reader, writer) = pipe().unwrap();
        let copy = bytes.clone();
        let writing = ringway::spawn(async move { writer.write_all(copy).await.0.unwrap() });
        let (read, head) = reader.read_exact(vec![0; 99]).await;
        read.unwrap();
        let rest = read_to_end(&reader).await;
        writing.await.unwrap();
        assert!([head, rest].concat() == bytes);
    });
}

fn a_pipe_ends_with_its_last_writer_and_breaks_with_its_last_reader(rt: Runtime) {
    rt.block_on(async {
        let (reader, writer) = pipe().unwrap();
        let reading = ringway::spawn(async move { reader.read(vec![0; 9]).await.0 });
        yield_now().await;
        drop(writer);
        assert_eq!(soon(reading).await.unwrap().unwrap(), 0);

        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let broken = writer.write(b"x".as_slice()).await.0.unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        let (reader, writer) = pipe().unwrap();
        let writing = ringway::spawn(async move { writer.write_all(vec![0; 1 << 20]).await.0 });
        yield_now().await;
        drop(reader);
        assert_eq!(soon(writing).await.unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

fn a_pipe_from_elsewhere_is_made_non_blocking(rt: Runtime) {
    rt.block_on(async {
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let writer = PipeWriter::from_fd(child.stdin.take().unwrap().into()).unwrap();
        let reader = PipeReader::from_fd(child.stdout.take().unwrap().into()).unwrap();
        let reading = ringway::spawn(async move { read_to_end(&reader).await });
        yield_now().await;
        writer.write_all(b"through a cat".as_slice()).await.0.unwrap();
        drop(writer);
        assert_eq!(soon(reading).await.unwrap(), b"through a cat");
        child.wait().unwrap();
    });
}

fn a_pipe_tells_the_size_that_it_was_given(rt: Runtime) {
    rt.block_on(async {
        let (reader, writer) = pipe_with_size(PAGE).unwrap();
        assert_eq!((reader.capacity().unwrap(), writer.capacity().unwrap()), (PAGE, PAGE));
        let (written, _) = writer.write(pattern(3 * PAGE)).await;
        assert_eq!(written.unwrap(), PAGE);
        assert_eq!((reader.len().unwrap(), reader.is_empty().unwrap()), (PAGE as u64, false));
        // More than anybody gets: the pipe is as it was.
        let (reader, _writer) = pipe_with_size(1 << 40).unwrap();
        assert_eq!(reader.capacity().unwrap(), pipe().unwrap().0.capacity().unwrap());
    });
}

fn bytes_pass_from_socket_to_pipe_to_socket(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern(3 << 20);
        let ((client, server), (next_client, next_server)) = (pair().await, pair().await);
        let copy = bytes.clone();
        let sending = ringway::spawn(async move { client.send_all(copy).await.0.unwrap() });
        let passing = ringway::spawn(async move {
            let (reader, writer) = pipe_with_size(PAGE).unwrap();
            loop {
                let mut left = splice(&server, &writer, 1 << 20).await.unwrap();
                if left == 0 {
                    return;
                }
                while left > 0 {
                    left -= splice(&reader, &next_client, left).await.unwrap();
                }
            }
        });
        let received = soon(receive_to_end(&next_server)).await;
        assert!(received == bytes);
        sending.await.unwrap();
        passing.await.unwrap();
    });
}

fn a_splice_waits_for_the_side_that_is_not_ready(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let (reader, writer) = pipe_with_size(PAGE).unwrap();
        // For the source.
        let taking = ringway::spawn(async move {
            let first = splice(&server, &writer, 100).await.unwrap();
            // For room: the pipe has one place, and it is taken.
            let second = splice(&server, &writer, 100).await.unwrap();
            (first, second)
        });
        sleep(Duration::from_millis(20)).await;
        client.send_all(b"hello".as_slice()).await.0.unwrap();
        sleep(Duration::from_millis(20)).await;
        client.send_all(b"again".as_slice()).await.0.unwrap();
        sleep(Duration::from_millis(20)).await;
        assert!(!taking.is_finished());
        let mut all = reader.read(vec![0; 5]).await.1;
        all.extend(soon(reader.read(vec![0; 5])).await.1);
        assert_eq!(soon(taking).await.unwrap(), (5, 5));
        assert_eq!(all, b"helloagain");

        // For a receiver.
        let (client, server) = pair().await;
        fill(&client).await;
        let (reader, writer) = pipe().unwrap();
        writer.write_all(b"tail".as_slice()).await.0.unwrap();
        let giving = ringway::spawn(async move { splice(&reader, &client, 9).await });
        // Long enough to have begun to wait, unless the sockets have found room after all.
        sleep(Duration::from_millis(20)).await;
        let received = soon(receive_to_end(&server)).await;
        assert_eq!(giving.await.unwrap().unwrap(), 4);
        assert!(
            received.ends_with(b"tail") && received[..received.len() - 4].iter().all(|&b| b == 7)
        );
    });
}

fn a_splice_between_two_that_are_no_pipes_is_refused(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let refused = splice(&client, &server, 1).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(splice(&client, &server, 0).await.unwrap(), 0);
    });
}

fn a_splice_to_a_closed_socket_is_a_broken_pipe(rt: Runtime) {
    rt.block_on(async {
        let (client, _server) = pair().await;
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let (reader, writer) = pipe().unwrap();
        writer.write_all(b"lost".as_slice()).await.0.unwrap();
        let broken = splice(&reader, &client, 4).await.unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        let (other, other_writer) = pipe().unwrap();
        drop(other);
        assert_eq!(
            splice(&reader, &other_writer, 4).await.unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        assert_eq!(tee(&reader, &other_writer, 4).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(reader.len().unwrap(), 4);
    });
}

fn a_dropped_splice_has_taken_nothing(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let (reader, writer) = pipe().unwrap();
        let mut splicing = Box::pin(splice(&server, &writer, 9));
        assert!(poll_now(splicing.as_mut()).is_pending());
        drop(splicing);
        client.send_all(b"all of it".as_slice()).await.0.unwrap();
        assert_eq!(splice(&server, &writer, 9).await.unwrap(), 9);
        assert_eq!(reader.read(vec![0; 9]).await.1, b"all of it");
    });
}

fn tee_leaves_the_bytes_and_stops_where_the_second_pipe_is_full(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern(4 * PAGE);
        let (from, from_writer) = pipe_with_size(4 * PAGE).unwrap();
        from_writer.write_all(bytes.clone()).await.0.unwrap();
        let (to, to_writer) = pipe_with_size(2 * PAGE).unwrap();
        assert_eq!(tee(&from, &to_writer, 4 * PAGE).await.unwrap(), 2 * PAGE);
        assert_eq!((from.len().unwrap(), to.len().unwrap()), (4 * PAGE as u64, 2 * PAGE as u64));
        drop(to_writer);
        assert!(read_to_end(&to).await == bytes[..2 * PAGE]);
        drop(from_writer);
        assert!(read_to_end(&from).await == bytes);
        let (_to, to_writer) = pipe().unwrap();
        assert_eq!(tee(&from, &to_writer, 9).await.unwrap(), 0);
    });
}

fn a_tee_waits_for_both(rt: Runtime) {
    rt.block_on(async {
        let (from, from_writer) = pipe().unwrap();
        let (to, to_writer) = pipe_with_size(PAGE).unwrap();
        let teeing = ringway::spawn(async move {
            let first = tee(&from, &to_writer, 9).await.unwrap();
            (first, tee(&from, &to_writer, 9).await.unwrap())
        });
        sleep(Duration::from_millis(20)).await;
        from_writer.write_all(b"twice".as_slice()).await.0.unwrap();
        sleep(Duration::from_millis(20)).await;
        assert!(!teeing.is_finished(), "the second pipe has one place, and it is taken");
        assert_eq!(to.read(vec![0; 5]).await.1, b"twice");
        assert_eq!(soon(teeing).await.unwrap(), (5, 5));
        assert_eq!(to.read(vec![0; 5]).await.1, b"twice");
    });
}

fn a_file_goes_into_a_pipe_and_out_again(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let bytes = pattern(10 * PAGE + 33);
        let file = file_of(&dir, &bytes).await;
        let copy = dir.open_at("copy", &create()).await.unwrap();
        let (reader, writer) = pipe_with_size(4 * PAGE).unwrap();
        let mut at = 0;
        loop {
            let n = file.splice_to(at, &writer, 1 << 20).await.unwrap();
            assert!(n <= 4 * PAGE);
            if n == 0 {
                break;
            }
            let mut written = 0;
            while written < n {
                let here = at + written as u64;
                written += copy.splice_from(&reader, here, n - written).await.unwrap();
            }
            at += n as u64;
        }
        assert!(std::fs::read(scratch.path().join("copy")).unwrap() == bytes);
        assert_eq!(file.splice_to(1 << 40, &writer, 9).await.unwrap(), 0);
        assert_eq!(file.splice_to(0, &writer, 0).await.unwrap(), 0);
        let absurd = file.splice_to(u64::MAX, &writer, 9).await.unwrap_err();
        assert_eq!(absurd.kind(), ErrorKind::InvalidInput);
        drop(writer);
        assert_eq!(copy.splice_from(&reader, 0, 9).await.unwrap(), 0);
        let appended = OpenHow::new(OFlags::WRONLY | OFlags::APPEND);
        let appended = dir.open_at("copy", &appended).await.unwrap();
        let (reader, writer) = pipe().unwrap();
        writer.write_all(b"x".as_slice()).await.0.unwrap();
        let refused = appended.splice_from(&reader, 0, 1).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
    });
}

fn a_file_that_is_not_cached_goes_into_a_pipe(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let bytes = pattern(8 * PAGE);
        let file = file_of(&dir, &bytes).await;
        file.sync_all().await.unwrap();
        file.advise(0, 0, ringway::fs::Advice::DontNeed).await.unwrap();
        let (reader, writer) = pipe_with_size(8 * PAGE).unwrap();
        let mut moved = 0;
        while moved < bytes.len() {
            moved += file.splice_to(moved as u64, &writer, bytes.len() - moved).await.unwrap();
        }
        drop(writer);
        assert!(read_to_end(&reader).await == bytes);
    });
}

fn a_file_in_memory_goes_into_a_pipe(rt: Runtime) {
    rt.block_on(async {
        let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
        let dir = Dir::open_ambient(scratch.path()).unwrap();
        let bytes = pattern(4 * PAGE);
        let file = file_of(&dir, &bytes).await;
        let (reader, writer) = pipe().unwrap();
        assert_eq!(file.splice_to(0, &writer, 9 * PAGE).await.unwrap(), bytes.len());
        drop(writer);
        assert!(read_to_end(&reader).await == bytes);
    });
}

fn only_what_is_cached_goes_into_a_pipe_without_waiting(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let bytes = pattern(8 * PAGE);
        let file = file_of(&dir, &bytes).await;
        let (reader, writer) = pipe_with_size(4 * PAGE).unwrap();
        let whole = bytes.len();
        assert_eq!(file.splice_cached_to(PAGE as u64, &writer, 5 * PAGE).await.unwrap(), 4 * PAGE);
        let full = file.splice_cached_to(0, &writer, PAGE).await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        drop(writer);
        assert!(read_to_end(&reader).await == bytes[PAGE..5 * PAGE]);

        let (_reader, writer) = pipe().unwrap();
        // Linux 5.10 cannot tell the end of a file from what is not there.
        let at_the_end = file.splice_cached_to(whole as u64, &writer, PAGE).await;
        assert!(at_the_end.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |n| n == 0));
        file.sync_all().await.unwrap();
        // Others, such as who keeps the pages busy, may keep them where they are.
        for _ in 0..200 {
            file.advise(0, 0, ringway::fs::Advice::DontNeed).await.unwrap();
            match file.splice_cached_to(0, &writer, whole).await {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                moved => drop(moved),
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("what was dropped from the cache went into the pipe without waiting");
    });
}

fn a_head_and_a_full_pipe_are_sent_as_one(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let (near, far) = pair().await;
        let bytes = pattern(3 << 20);
        let file = large_file_of(&dir, &bytes).await;
        let pool = PipePool::new(1 << 18, 2);
        let len = bytes.len() + 12 * 4;
        let receiver = ringway::spawn(async move { receive_slowly(&far, len, 100_000).await });
        let mut expected = Vec::new();
        for part in bytes.chunks(1 << 18) {
            let pipe = pool.get().await.unwrap();
            let at = (expected.len() - 4 * (expected.len() >> 18)) as u64;
            let mut filled = 0;
            while filled < part.len() {
                let left = part.len() - filled;
                filled += file.splice_to(at + filled as u64, pipe.writer(), left).await.unwrap();
            }
            near.send_all_more(b"head".as_slice()).await.0.unwrap();
            pipe.drain_to(&near, filled, false).await.unwrap();
            expected.extend_from_slice(b"head");
            expected.extend_from_slice(part);
        }
        assert!(soon(receiver).await.unwrap() == expected);

        let pipe = pool.get().await.unwrap();
        pipe.writer().write_all(b"six".as_slice()).await.0.unwrap();
        let short = soon(pipe.drain_to(&near, 6, false)).await.unwrap_err();
        assert_eq!(short.kind(), ErrorKind::WriteZero, "three are not there");
    });
}

fn a_splice_from_a_file_waits_for_room_in_the_pipe(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = file_of(&dir, &pattern(2 * PAGE)).await;
        let (reader, writer) = pipe_with_size(PAGE).unwrap();
        writer.write_all(vec![1; PAGE]).await.0.unwrap();
        let splicing = ringway::spawn(async move { file.splice_to(0, &writer, PAGE).await });
        sleep(Duration::from_millis(20)).await;
        assert!(!splicing.is_finished());
        assert_eq!(reader.read(vec![0; PAGE]).await.0.unwrap(), PAGE);
        assert_eq!(soon(splicing).await.unwrap().unwrap(), PAGE);
        assert!(read_to_end(&reader).await == pattern(2 * PAGE)[..PAGE]);
    });
}

fn a_splice_into_a_file_waits_for_the_pipe(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let file = file_of(&dir, b"").await;
        let (reader, writer) = pipe().unwrap();
        let splicing = ringway::spawn(async move { file.splice_from(&reader, 2, 100).await });
        sleep(Duration::from_millis(20)).await;
        assert!(!splicing.is_finished());
        writer.write_all(b"late".as_slice()).await.0.unwrap();
        assert_eq!(soon(splicing).await.unwrap().unwrap(), 4);
        assert_eq!(std::fs::read(scratch.path().join("file")).unwrap(), b"\0\0late");
    });
}

/// Sends `len` bytes from `offset` of a file of `bytes`, and gives what came and how much was claimed.
async fn send_file(
    bytes: &[u8],
    offset: u64,
    len: u64,
    pool: PipePool,
    receive: impl AsyncFn(&TcpStream) -> Vec<u8>,
) -> (u64, Vec<u8>) {
    let (_scratch, dir) = scratch();
    let file = file_of(&dir, bytes).await;
    let (client, server) = pair().await;
    let sending = ringway::spawn(async move {
        copy_file_to_socket(&file, offset, len, &client, &pool).await.unwrap()
    });
    let received = soon(receive(&server)).await;
    (sending.await.unwrap(), received)
}

fn a_file_is_sent_whole(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern((5 << 20) + 333);
        let all = bytes.len() as u64;
        let pool = PipePool::new(1 << 18, 2);
        let (sent, received) = send_file(&bytes, 0, all, pool, receive_to_end).await;
        assert!(sent == all && received == bytes);
        let pool = PipePool::default();
        let (sent, received) = send_file(&bytes, 4097, 2 << 20, pool, receive_to_end).await;
        assert!(sent == 2 << 20 && received == bytes[4097..4097 + (2 << 20)]);
    });
}

fn a_file_is_sent_through_a_pipe_of_one_page(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern((1 << 20) + 1);
        let len = bytes.len();
        let pool = PipePool::new(PAGE, 1);
        let receive = async |stream: &TcpStream| receive_slowly(stream, len, 50_000).await;
        let (sent, received) = send_file(&bytes, 0, len as u64, pool, receive).await;
        assert!(sent == len as u64 && received == bytes);
    });
}

fn a_file_that_ends_early_is_sent_as_far_as_it_goes(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern(100_000);
        for (offset, len, there) in
            [(0, 200_000, 100_000), (90_000, u64::MAX, 10_000), (1 << 40, 9, 0)]
        {
            let pool = PipePool::new(1 << 16, 1);
            let (sent, received) = send_file(&bytes, offset, len, pool, receive_to_end).await;
            assert_eq!((sent, received.len()), (there, there as usize));
            assert!(there == 0 || received == bytes[offset as usize..]);
        }
        // Cut while it is being sent.
        let (scratch, dir) = scratch();
        let file = large_file_of(&dir, &pattern(1 << 20)).await;
        let (client, server) = pair().await;
        let sending = ringway::spawn(async move {
            let pool = PipePool::new(1 << 16, 1);
            copy_file_to_socket(&file, 0, MORE_THAN_FITS, &client, &pool).await.unwrap()
        });
        let head = receive_slowly(&server, 1 << 20, 1 << 16).await;
        let file = std::fs::File::options().write(true).open(scratch.path().join("file")).unwrap();
        file.set_len(1 << 20).unwrap();
        let tail = soon(receive_to_end(&server)).await;
        let sent = soon(sending).await.unwrap();
        assert!(sent < MORE_THAN_FITS && sent == (head.len() + tail.len()) as u64);
        assert!(head == pattern(1 << 20));
    });
}

fn an_error_in_mid_copy_leaves_no_bytes_for_the_next(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = large_file_of(&dir, b"some").await;
        let pool = PipePool::new(1 << 16, 1);
        let (client, server) = pair().await;
        let (file_here, pool_here) = (file.clone(), pool.clone());
        let sending = ringway::spawn(async move {
            copy_file_to_socket(&file_here, 0, MORE_THAN_FITS, &client, &pool_here).await
        });
        receive_slowly(&server, 1000, 1000).await;
        drop(server);
        let error = soon(sending).await.unwrap().unwrap_err();
        assert!(
            [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()),
            "{error}"
        );
        let pipe = pool.try_get().unwrap().expect("the only pipe is back");
        assert!(pipe.reader().is_empty().unwrap());
        drop(pipe);
        // The source fails: no readable file.
        let write_only = dir.open_at("file", &OpenHow::new(OFlags::WRONLY)).await.unwrap();
        let (client, _server) = pair().await;
        let refused = copy_file_to_socket(&write_only, 0, 9, &client, &pool).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
        assert!(pool.try_get().unwrap().is_some());
    });
}

fn a_socket_is_written_to_a_file(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let bytes = pattern((3 << 20) + 5);
        let file = file_of(&dir, b"").await;
        let pool = PipePool::new(1 << 16, 1);
        let (client, server) = pair().await;
        let copy = bytes.clone();
        let sending = ringway::spawn(async move {
            // Small segments take a place each.
            for piece in copy[..20_000].chunks(100) {
                client.send_all(piece.to_vec()).await.0.unwrap();
            }
            client.send_all(copy[20_000..].to_vec()).await.0.unwrap();
            client
        });
        let some = copy_socket_to_file(&server, &file, 7, 1_000_000, &pool);
        assert_eq!(soon(some).await.unwrap(), 1_000_000);
        let rest = ringway::spawn(async move {
            copy_socket_to_file(&server, &file, 1_000_007, u64::MAX, &pool).await.unwrap()
        });
        drop(sending.await.unwrap());
        assert_eq!(soon(rest).await.unwrap(), bytes.len() as u64 - 1_000_000);
        assert!(std::fs::read(scratch.path().join("file")).unwrap()[7..] == bytes);
    });
}

fn a_socket_is_passed_on_to_another(rt: Runtime) {
    rt.block_on(async {
        let bytes = pattern((4 << 20) + 5);
        let ((client, server), (next_client, next_server)) = (pair().await, pair().await);
        let copy = bytes.clone();
        ringway::spawn(async move { client.send_all(copy).await.0.unwrap() });
        let passing = ringway::spawn(async move {
            let pool = PipePool::new(1 << 16, 1);
            let some = copy_socket_to_socket(&server, &next_client, 77, &pool).await.unwrap();
            some + copy_socket_to_socket(&server, &next_client, u64::MAX, &pool).await.unwrap()
        });
        let received = soon(receive_slowly(&next_server, bytes.len(), 70_000)).await;
        assert_eq!(soon(passing).await.unwrap(), bytes.len() as u64);
        assert!(received == bytes);
    });
}

fn a_pool_gives_out_no_more_than_its_limit_and_only_empty_pipes(rt: Runtime) {
    rt.block_on(async {
        let pool = PipePool::new(2 * PAGE, 2);
        let (first, second) = (pool.get().await.unwrap(), pool.get().await.unwrap());
        assert_eq!(first.capacity(), 2 * PAGE);
        assert!(pool.try_get().unwrap().is_none());
        let order = Rc::new(Cell::new(0));
        let waiting = [1, 2].map(|place| {
            let (pool, order) = (pool.clone(), order.clone());
            ringway::spawn(async move {
                let pipe = pool.get().await.unwrap();
                assert_eq!(order.replace(place), place - 1, "first come, first served");
                assert!(pipe.reader().is_empty().unwrap());
            })
        });
        yield_now().await;
        let secret = first.writer().write(b"secret".as_slice()).await.0;
        assert_eq!(secret.unwrap(), 6);
        drop(first);
        for waiting in waiting {
            soon(waiting).await.unwrap();
        }
        drop(second);
        let both = [pool.get().await.unwrap(), pool.get().await.unwrap()];
        assert!(both.iter().all(|pipe| pipe.reader().is_empty().unwrap()));
    });
}

fn a_pipe_that_a_dropped_call_may_yet_fill_does_not_come_back(rt: Runtime) {
    rt.block_on(async {
        let pool = PipePool::new(PAGE, 1);
        let pipe = pool.get().await.unwrap();
        let mut reading = Box::pin(pipe.reader().read(vec![0; 1]));
        assert!(poll_now(reading.as_mut()).is_pending());
        // The operation has the descriptor until its cancellation is through.
        drop(reading);
        drop(pipe);
        let pipe = pool.get().await.unwrap();
        pipe.writer().write_all(b"x".as_slice()).await.0.unwrap();
        sleep(Duration::from_millis(20)).await;
        assert_eq!(pipe.reader().len().unwrap(), 1, "nobody else reads from it");
    });
}

fn two_hundred_idle_transfers_take_no_thread_and_starve_nobody(rt: Runtime) {
    raise_descriptor_limit();
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let bytes = pattern(300_000);
        // Not by the runtime, which might need a thread for it.
        std::fs::write(scratch.path().join("file"), &bytes).unwrap();
        let file = dir.open_at("file", &OpenHow::new(OFlags::RDONLY)).await.unwrap();
        let pool = PipePool::new(1 << 16, 4);
        let mut peers = Vec::new();
        let mut idle = Vec::new();
        for i in 0..200 {
            let ((client, server), (next, next_peer)) = (pair().await, pair().await);
            let (pool, file) = (pool.clone(), file.clone());
            if i % 2 == 1 {
                fill(&next).await;
            }
            idle.push(ringway::spawn(async move {
                match i % 4 {
                    0 => copy_socket_to_socket(&server, &next, u64::MAX, &pool).await.map(drop),
                    1 => copy_file_to_socket(&file, 0, 300_000, &next, &pool).await.map(drop),
                    2 => {
                        let (_reader, writer) = pipe().unwrap();
                        splice(&server, &writer, 9).await.map(drop)
                    }
                    _ => {
                        let (reader, writer) = pipe().unwrap();
                        writer.write_all(b"waits".as_slice()).await.0.unwrap();
                        splice(&reader, &next, 9).await.map(drop)
                    }
                }
            }));
            peers.push((client, next_peer));
        }
        sleep(Duration::from_millis(50)).await;
        assert_eq!(threads(&rt), 0);
        let ready = (0..50).map(async |_| {
            let (client, server) = pair().await;
            let sending = copy_file_to_socket(&file, 0, 300_000, &client, &pool);
            let (sent, received) =
                futures_util::future::join(sending, receive_slowly(&server, 300_000, 1 << 16))
                    .await;
            assert!(sent.unwrap() == 300_000 && received == bytes);
        });
        soon(join_all(ready)).await;
        // Those that wait for data. A socket that was full may have found room for a few bytes since.
        assert!(idle.iter().step_by(2).all(|task| !task.is_finished()));
        assert_eq!(threads(&rt), 0);
        drop(peers);
        for task in idle {
            task.abort();
        }
    });
}

fn receivers_that_take_nothing_do_not_keep_the_pipes_of_those_who_do(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let bytes = pattern(16 << 20);
        let file = file_of(&dir, &bytes).await;
        let pool = PipePool::new(1 << 16, 2);
        let mut peers = Vec::new();
        for _ in 0..8 {
            let (client, server) = pair().await;
            let (pool, file) = (pool.clone(), file.clone());
            peers.push(server);
            ringway::spawn(
                async move { copy_file_to_socket(&file, 0, 16 << 20, &client, &pool).await },
            );
        }
        sleep(Duration::from_millis(50)).await;
        let (client, server) = pair().await;
        let (pool_here, file_here) = (pool.clone(), file.clone());
        let sending = ringway::spawn(async move {
            copy_file_to_socket(&file_here, 0, 1 << 20, &client, &pool_here).await.unwrap()
        });
        let received = soon(receive_to_end(&server)).await;
        assert!(soon(sending).await.unwrap() == 1 << 20 && received == bytes[..1 << 20]);
        // And what was given up in between goes on where it was.
        let received = soon(receive_slowly(&peers[3], 16 << 20, 1 << 18)).await;
        assert!(received == bytes);
    });
}

/// Each test above that moves bytes, with half of what is tried first refused.
/// A ring that takes no splices, and a policy that wants them there.
#[test]
fn splices_work_where_the_ring_takes_none_and_where_it_gets_all() {
    for (masked, policy) in [
        (true, Policy::new()),
        (false, Policy::new().prefer(OpKind::Splice, &[Rung::Ring])),
        (false, Policy::new().prefer(OpKind::Splice, &[Rung::Pool])),
        (false, Policy::new().prefer(OpKind::Read, &[Rung::Ring])),
    ] {
        let mut builder = Builder::new().policy(policy);
        if masked {
            builder = builder.mask(ringway::Mask::none().without_on_ring(OpKind::Splice));
        }
        a_file_is_sent_through_a_pipe_of_one_page(builder.build().unwrap());
    }
}

const ROLE: &str = "RINGWAY_TEST_ROLE";

#[test]
fn no_broken_pipe_kills_a_program_that_has_the_signal_back() {
    for backend in ["uring", "hybrid", "epoll"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child", "--nocapture", "--test-threads=1"])
            .env(ROLE, backend)
            .output()
            .unwrap();
        let (told, log) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(
            output.status.success() && told.contains("ALIVE"),
            "{}\n{told}\n{log}",
            output.status
        );
    }
}

#[test]
fn the_child() {
    let Ok(backend) = std::env::var(ROLE) else { return };
    // SAFETY: no memory is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    match Builder::new().backend(backend.parse().unwrap()).build() {
        Ok(rt) => {
            rt.block_on(async {
                let (reader, writer) = pipe().unwrap();
                drop(reader);
                assert!(writer.write(b"x".as_slice()).await.0.is_err());
            });
            a_splice_to_a_closed_socket_is_a_broken_pipe(rt);
        }
        Err(error) => eprintln!("SKIPPED: {error}"),
    }
    // The thread is as it was: a pipe outside of the runtime does raise the signal.
    let mut blocked = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    blocked = blocked.lines().find(|line| line.starts_with("SigBlk")).unwrap().to_owned();
    assert!(blocked.ends_with("0000000000000000"), "{blocked}");
    println!("ALIVE");
}
