//! Byte-range locks between clients: who waits, what ends a wait, and what a lock forbids. Over raw SMB, since
//! smbclient sets none.

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use support::requests::{Create, FileId, access, nt, read};
use support::server::Server;
use support::session::{HEADER, Session, command, expect, status, u64_at};
use support::{BACKENDS, Outcome, Serve, ensure};

const SHARED: u32 = 1;
const EXCLUSIVE: u32 = 2;
const UNLOCK: u32 = 4;
const AT_ONCE: u32 = 16;

fn main() -> ExitCode {
    let trial =
        |name, body: fn(&Server) -> Outcome| support::on_each_backend(name, &[], Serve::new, body);
    let trials = [
        trial("a lock forbids others to read, write and lock", a_lock_forbids),
        trial("who waits for a lock gets it when it is given up", given_up),
        trial("who waits for a lock gets it when its holder is gone", holder_gone),
        trial("a wait ends when it is taken back", taken_back),
        trial("a wait ends with the file", file_closed),
        trial("a wait does not keep a client that has gone", client_gone),
    ];
    let stops = |(backend, needs)| {
        let name = format!("a wait does not keep the server from stopping ({backend})");
        support::trial(&name, needs, move || server_stops(&Serve::new().backend(backend)))
    };
    support::run(trials.into_iter().flatten().chain(BACKENDS.map(stops)).collect())
}

/// Two clients with the same file open.
fn two(server: &Server) -> Result<[(Session, FileId); 2], Failed> {
    let open = || {
        let mut session = Session::in_share(server.address)?;
        let file = session.opened(Create::open("file", access::READ_AND_WRITE).or_create())?;
        Ok::<_, Failed>((session, file))
    };
    let (mut one, file) = open()?;
    expect(one.write(file, 0, &[7; 100])?, nt::SUCCESS, "WRITE")?;
    Ok([(one, file), open()?])
}

/// MS-SMB2 2.2.26, of one range.
fn lock(file: FileId, offset: u64, length: u64, flags: u32) -> Vec<u8> {
    let mut body = vec![48, 0, 1, 0, 0, 0, 0, 0];
    body.extend_from_slice(&file);
    body.extend_from_slice(&offset.to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&flags.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body
}

fn lock_now(client: &mut (Session, FileId), offset: u64, flags: u32) -> Result<u32, Failed> {
    let body = lock(client.1, offset, 10, flags);
    Ok(status(&client.0.call(command::LOCK, &body)?))
}

/// Asks for ten bytes from `offset` and sees that it has to wait; tells the MessageId and the AsyncId.
fn wait_for(client: &mut (Session, FileId), offset: u64) -> Result<(u64, u64), Failed> {
    let message = client.0.request(command::LOCK, &lock(client.1, offset, 10, EXCLUSIVE));
    let start = Instant::now();
    client.0.wire.send(&message)?;
    let interim = client.0.wire.receive()?.ok_or("closed instead of an interim response")?;
    expect(status(&interim), nt::PENDING, "a lock that has to wait")?;
    // At once, not only when it has taken long.
    ensure(start.elapsed() < Duration::from_millis(400), || format!("{:?}", start.elapsed()))?;
    Ok((u64_at(&message, 24)?, u64_at(&interim, 32)?))
}

fn answer(client: &mut (Session, FileId), id: u64) -> Result<u32, Failed> {
    let answer = client.0.answer(id)?.ok_or("closed instead of an answer")?;
    Ok(status(&answer))
}

fn a_lock_forbids(server: &Server) -> Outcome {
    let [mut one, mut other] = two(server)?;
    expect(lock_now(&mut one, 0, EXCLUSIVE | AT_ONCE)?, nt::SUCCESS, "the first lock")?;
    for flags in [SHARED, EXCLUSIVE] {
        let status = lock_now(&mut other, 9, flags | AT_ONCE)?;
        expect(status, nt::LOCK_NOT_GRANTED, "a lock in its way")?;
    }
    let read_at = |client: &mut (Session, FileId), offset| {
        let answer = client.0.call(command::READ, &read(client.1, offset, 1))?;
        Ok::<_, Failed>(status(&answer))
    };
    expect(read_at(&mut other, 9)?, nt::FILE_LOCK_CONFLICT, "another's READ")?;
    expect(read_at(&mut other, 10)?, nt::SUCCESS, "a READ beside it")?;
    expect(other.0.write(other.1, 0, b"x")?, nt::FILE_LOCK_CONFLICT, "another's WRITE")?;
    expect(read_at(&mut one, 9)?, nt::SUCCESS, "the holder's READ")?;
    expect(one.0.write(one.1, 0, b"x")?, nt::SUCCESS, "the holder's WRITE")?;
    expect(lock_now(&mut one, 0, UNLOCK)?, nt::SUCCESS, "the unlocking")?;
    expect(lock_now(&mut one, 0, UNLOCK)?, nt::RANGE_NOT_LOCKED, "another unlocking")?;
    expect(other.0.write(other.1, 0, b"x")?, nt::SUCCESS, "a WRITE afterwards")
}

fn given_up(server: &Server) -> Outcome {
    let [mut one, mut other] = two(server)?;
    expect(lock_now(&mut one, 0, EXCLUSIVE)?, nt::SUCCESS, "the first lock")?;
    let (id, _) = wait_for(&mut other, 5)?;
    ensure(other.0.echo()?, || "a waiting client is not served".into())?;
    expect(lock_now(&mut one, 0, UNLOCK)?, nt::SUCCESS, "the unlocking")?;
    expect(answer(&mut other, id)?, nt::SUCCESS, "the lock that waited")?;
    expect(one.0.write(one.1, 5, b"x")?, nt::FILE_LOCK_CONFLICT, "a WRITE against it")
}

fn holder_gone(server: &Server) -> Outcome {
    let [mut one, mut other] = two(server)?;
    expect(lock_now(&mut one, 0, EXCLUSIVE)?, nt::SUCCESS, "the first lock")?;
    let (id, _) = wait_for(&mut other, 0)?;
    drop(one);
    expect(answer(&mut other, id)?, nt::SUCCESS, "the lock that waited")
}

fn taken_back(server: &Server) -> Outcome {
    let [mut one, mut other] = two(server)?;
    expect(lock_now(&mut one, 0, EXCLUSIVE)?, nt::SUCCESS, "the first lock")?;
    let (id, async_id) = wait_for(&mut other, 0)?;
    // MS-SMB2 3.2.4.24: by the AsyncId, which takes the place of process and tree.
    let mut cancel = other.0.request(command::CANCEL, &[4, 0, 0, 0]);
    cancel[16] = 2;
    cancel[24..32].copy_from_slice(&id.to_le_bytes());
    cancel[32..40].copy_from_slice(&async_id.to_le_bytes());
    other.0.wire.send(&cancel)?;
    expect(answer(&mut other, id)?, nt::CANCELLED, "the lock that waited")?;
    expect(lock_now(&mut one, 0, UNLOCK)?, nt::SUCCESS, "the unlocking")?;
    expect(one.0.write(one.1, 0, b"x")?, nt::SUCCESS, "a WRITE afterwards")
}

fn file_closed(server: &Server) -> Outcome {
    let [mut one, mut other] = two(server)?;
    expect(lock_now(&mut one, 0, EXCLUSIVE)?, nt::SUCCESS, "the first lock")?;
    let (id, _) = wait_for(&mut other, 0)?;
    let close = other.0.request(command::CLOSE, &support::requests::close(other.1));
    other.0.wire.send(&close)?;
    // In either order.
    let mut told = Vec::new();
    for _ in 0..2 {
        let message = other.0.wire.receive()?.ok_or("closed instead of an answer")?;
        ensure(message.len() >= HEADER, || "a message without a header".into())?;
        told.push((u64_at(&message, 24)?, status(&message)));
    }
    told.sort_unstable();
    let expected = [(id, nt::RANGE_NOT_LOCKED), (u64_at(&close, 24)?, nt::SUCCESS)];
    ensure(told == expected, || format!("{told:x?} in place of {expected:x?}"))
}

fn client_gone(server: &Server) -> Outcome {
    let [mut one, mut other] = two(server)?;
    expect(lock_now(&mut one, 0, EXCLUSIVE)?, nt::SUCCESS, "the first lock")?;
    wait_for(&mut other, 0)?;
    drop(other);
    expect(lock_now(&mut one, 0, UNLOCK)?, nt::SUCCESS, "the unlocking")?;
    expect(lock_now(&mut one, 0, EXCLUSIVE)?, nt::SUCCESS, "a lock afterwards")
}

fn server_stops(serve: &Serve) -> Outcome {
    let mut server = serve.start()?;
    let [mut one, mut other] = two(&server)?;
    expect(lock_now(&mut one, 0, EXCLUSIVE)?, nt::SUCCESS, "the first lock")?;
    wait_for(&mut other, 0)?;
    let status = server.terminate(Duration::from_secs(10))?;
    ensure(status.success(), || format!("it ended with {status}"))
}
