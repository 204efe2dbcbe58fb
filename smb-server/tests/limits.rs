//! Limits that protect the server from its clients, with a server in this process and short times.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use ringway::Backend;
use usmbd::config::{ByName, Config, Limits, Secret, ShareConfig, UserConfig};
use usmbd::server::Server;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn server(limits: Limits) -> (Server, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let share = ShareConfig::new("files".parse().unwrap(), folder.path(), false).unwrap();
    let user =
        UserConfig { name: "alice".parse().unwrap(), password: Secret::new("secret1".to_owned()) };
    let config = Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        shares: ByName::new(vec![share]).unwrap(),
        users: ByName::new(vec![user]).unwrap(),
        backend: Backend::Auto,
        threads: NonZeroUsize::MIN,
        require_signing: false,
        require_encryption: false,
        limits,
    };
    let server = Server::start(config).unwrap();
    let address = server.local_addrs()[0];
    (server, address, folder)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether the server has closed, or closes within [`PATIENCE`].
fn is_closed(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Whether the server keeps the connection for `time`.
fn stays(mut stream: &TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).unwrap();
    stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_connection_on_which_nobody_logs_on_is_closed() {
    let unauthenticated_timeout = Duration::from_millis(300);
    let (server, address, _folder) =
        server(Limits { unauthenticated_timeout, ..Limits::default() });
    let started = Instant::now();
    let stream = connect(address);
    assert!(is_closed(&stream));
    assert!(started.elapsed() >= unauthenticated_timeout);
    server.shutdown(PATIENCE);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_a_free_place_can_be_taken() {
    let (server, address, _folder) = server(Limits { connections_max: 2, ..Limits::default() });
    let (first, second) = (connect(address), connect(address));
    assert!(
        stays(&first, Duration::from_millis(200)) && stays(&second, Duration::from_millis(200))
    );
    assert!(is_closed(&connect(address)));
    drop(first);
    // The place is free when the server has noticed.
    let deadline = Instant::now() + PATIENCE;
    while !stays(&connect(address), Duration::from_millis(200)) {
        assert!(Instant::now() < deadline, "no place was freed");
    }
    assert!(stays(&second, Duration::from_millis(10)));
    server.shutdown(PATIENCE);
}

#[test]
fn one_address_cannot_take_every_place() {
    let limits = Limits { connections_per_address_max: 1, ..Limits::default() };
    let (server, address, _folder) = server(limits);
    let first = connect(address);
    assert!(stays(&first, Duration::from_millis(200)));
    assert!(is_closed(&connect(address)));
    server.shutdown(PATIENCE);
}

#[test]
fn a_shutdown_closes_idle_connections_and_the_port() {
    let (server, address, _folder) = server(Limits::default());
    let stream = connect(address);
    assert!(stays(&stream, Duration::from_millis(100)));
    let started = Instant::now();
    server.shutdown(PATIENCE);
    assert!(started.elapsed() < PATIENCE, "an idle connection held it up");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(is_closed(&stream));
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
