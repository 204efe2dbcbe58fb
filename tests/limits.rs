//! Many clients at once, and clients that hold on to what the server has for all: what each costs, and that the others
//! are served.

mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use libtest_mimic::Failed;
use rustix::process::{Resource, getrlimit, setrlimit};
use support::content::Random;
use support::requests::{Create, access, nt, read};
use support::session::{HEADER, Session, Wire, command, expect, status, u64_at};
use support::transfers::READ_FIXED;
use support::{Need, Outcome, Serve, Server, ensure};

const BACKENDS: [(&str, &[Need]); 2] = [("uring", &[Need::IoUring]), ("epoll", &[])];

/// What a client who does nothing may cost: its tasks, its session, and room for its next requests.
const IDLE_MAX: u64 = 64 << 10;

const MIB: u64 = 1 << 20;

/// What the trial of memory lets the server have.
const MEMORY: u64 = 64;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (backend, needs) in BACKENDS {
        let mut trial = |name: &str, serve: Serve, body: fn(&Server) -> Outcome| {
            let serve = serve.backend(backend);
            trials.push(support::served(&format!("{name} ({backend})"), needs, serve, body));
        };
        let serve = || Serve::new().argument("--threads=2");
        trial("two thousand idle clients cost little", serve(), idle);
        trial("two hundred clients at once get their bytes", serve(), active);
        let bounded = serve().argument(&format!("--max-memory={MEMORY}"));
        trial("what all may hold together bounds what they do", bounded, together);
        let few = serve().argument("--max-connections=3");
        trial("who is one too many is turned away", few, too_many);
    }
    support::run(trials)
}

fn idle(server: &Server) -> Outcome {
    const CLIENTS: u64 = 2000;
    raise_descriptor_limit()?;
    let mut first = Session::in_share(server.address)?;
    let before = server.memory()?;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(client_of(server, number)?);
    }
    let each = server.memory()?.saturating_sub(before) / CLIENTS;
    ensure(each <= IDLE_MAX, || format!("{each} bytes for each"))?;
    ensure(first.echo()?, || "the first is not served any more".to_owned())?;
    for client in clients.iter_mut().step_by(100) {
        ensure(client.echo()?, || "one of them is not served".to_owned())?;
    }
    Ok(())
}

fn active(server: &Server) -> Outcome {
    const CLIENTS: u64 = 200;
    raise_descriptor_limit()?;
    let bytes = Random::new(1).bytes(1 << 20);
    fs::write(server.folder().join("file"), &bytes)?;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = busy_client_of(server, number)?;
        let file = client.opened(Create::open("file", access::READ))?;
        clients.push((client, file));
    }
    for (client, file) in &mut clients {
        let request = client.request_charged(command::READ, &read(*file, 0, 1 << 20), 1 << 20)?;
        client.wire.send(&request)?;
    }
    clients.iter_mut().try_for_each(|(client, _)| take(client, &bytes))
}

fn together(server: &Server) -> Outcome {
    const CLIENTS: u64 = 40;
    const READS: u64 = 8;
    let bytes = Random::new(2).bytes(1 << 20);
    fs::write(server.folder().join("file"), &bytes)?;
    let mut other = Session::in_share(server.address)?;
    let before = server.peak_memory()?;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = busy_client_of(server, number)?;
        let file = client.opened(Create::open("file", access::READ))?;
        for _ in 0..READS {
            let request =
                client.request_charged(command::READ, &read(file, 0, 1 << 20), 1 << 20)?;
            client.wire.send(&request)?;
        }
        clients.push(client);
    }
    ensure(other.echo()?, || "another client is not served".to_owned())?;
    // Beyond the bound each may begin one more, and each of the two threads keeps some for what comes next, as does
    // the allocator.
    let grown = server.peak_memory()?.saturating_sub(before);
    let most = (MEMORY + CLIENTS + 64 + 32) * MIB;
    ensure(grown <= most, || format!("{} MiB", grown / MIB))?;
    for mut client in clients {
        for _ in 0..READS {
            take(&mut client, &bytes)?;
        }
    }
    Ok(())
}

fn too_many(server: &Server) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Session::in_share(server.address)?);
    }
    ensure(Session::in_share(server.address).is_err(), || "a fourth got in".to_owned())?;
    for client in &mut clients {
        ensure(client.echo()?, || "one of the three was turned out".to_owned())?;
    }
    Ok(())
}

/// A READ's answer with these bytes.
fn take(client: &mut Session, bytes: &[u8]) -> Outcome {
    let answer = client.wire.receive()?.ok_or("closed instead of an answer")?;
    expect(status(&answer), nt::SUCCESS, "READ")?;
    ensure(u64_at(&answer, 24)? != u64::MAX, || "nobody has asked for that".to_owned())?;
    ensure(answer[HEADER + READ_FIXED..] == *bytes, || "other bytes".to_owned())
}

/// A client who has logged on. Each hundred have an address of their own.
fn client_of(server: &Server, number: u64) -> Result<Session, Failed> {
    let host = u8::try_from(number / 100 % 200)? + 2;
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
    Session::in_share_over(Wire::connect_from(from, server.address)?)
}

/// One that may have some megabytes in flight.
fn busy_client_of(server: &Server, number: u64) -> Result<Session, Failed> {
    let mut client = client_of(server, number)?;
    for _ in 0..3 {
        ensure(client.echo()?, || "no echo".to_owned())?;
    }
    Ok(client)
}

fn raise_descriptor_limit() -> Outcome {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
