//! Limits that protect the server from its clients, with a server in this process and short times.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringway::Backend;
use usmbd::auth::client::Client;
use usmbd::config::{ByName, Config, Limits, Secret, ShareConfig, ShareOptions, UserConfig};
use usmbd::server::Server;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn server(limits: Limits) -> (Server, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let share =
        ShareConfig::new("files".parse().unwrap(), folder.path(), ShareOptions::default()).unwrap();
    let user =
        UserConfig { name: "alice".parse().unwrap(), password: Secret::new("secret1".to_owned()) };
    let config = Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        shares: ByName::new(vec![share]).unwrap(),
        users: ByName::new(vec![user]).unwrap(),
        backend: Backend::Auto,
        threads: NonZeroUsize::MIN,
        helping: usmbd::cores::Helping::Auto,
        require_signing: false,
        require_encryption: false,
        assume_remote_peers: false,
        without: Vec::new(),
        guest: None,
        anonymous: true,
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

const SESSION_SETUP: u8 = 1;
const ECHO: u8 = 13;

/// One message with its frame header: SMB 2.1, a charge of one credit and 64 asked for, `next` bytes to the next of a
/// compound.
fn framed(command: u8, message_id: u64, session_id: u64, body: &[u8]) -> Vec<u8> {
    let mut message = b"\xfeSMB\x40\0\x01\0\0\0\0\0".to_vec();
    message.extend_from_slice(&[command, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&message_id.to_le_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&session_id.to_le_bytes());
    message.extend_from_slice(&[0; 16]);
    message.extend_from_slice(body);
    let length = u32::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), &message[..]].concat()
}

fn receive(mut stream: &TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message).unwrap();
    message
}

/// MS-SMB2 2.2.5.
fn session_setup(token: &[u8]) -> Vec<u8> {
    let length = u16::try_from(token.len()).unwrap().to_le_bytes();
    [&[25, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 88, 0], &length[..], &[0; 8], token].concat()
}

/// Logs on with messages 0 to 2 and gives the session's id.
fn log_on(mut stream: &TcpStream) -> u64 {
    let mut negotiate = vec![36, 0, 1, 0, 1, 0, 0, 0];
    negotiate.extend_from_slice(&[0; 28]);
    negotiate.extend_from_slice(&[0x10, 0x02]); // the only dialect
    stream.write_all(&framed(0, 0, 0, &negotiate)).unwrap();
    receive(stream);
    let mut client = Client::new("alice", "", "secret1");
    let first = session_setup(&client.negotiate());
    stream.write_all(&framed(SESSION_SETUP, 1, 0, &first)).unwrap();
    let answer = receive(stream);
    let session_id = u64::from_le_bytes(answer[40..48].try_into().unwrap());
    let token = usize::from(u16::from_le_bytes([answer[68], answer[69]]));
    let second = client.authenticate(&answer[token..], [7; 8], [9; 16]).unwrap();
    stream.write_all(&framed(SESSION_SETUP, 2, session_id, &session_setup(&second))).unwrap();
    assert_eq!(receive(stream)[8..12], [0; 4], "the log-on");
    session_id
}

/// Sends ECHOs and receives nothing, until the server closes the connection.
fn flood(mut stream: &TcpStream, session_id: u64) {
    let echo = |message_id| framed(ECHO, message_id, session_id, &[4, 0, 0, 0]);
    let _ = (3..).try_for_each(|message_id| stream.write_all(&echo(message_id)));
}

#[test]
fn a_client_that_takes_no_responses_is_closed_after_the_send_timeout() {
    let send_timeout = Duration::from_millis(500);
    let (server, address, _folder) = server(Limits { send_timeout, ..Limits::default() });
    let (stream, witness) = (connect(address), connect(address));
    let session_id = log_on(&stream);
    let (done, closed) = mpsc::channel();
    // It waits as long as the server lets it.
    let client = thread::spawn(move || {
        flood(&stream, session_id);
        done.send(Instant::now()).unwrap();
    });
    let started = Instant::now();
    let ended = closed.recv_timeout(PATIENCE).expect("the server keeps it");
    assert!(ended.duration_since(started) >= send_timeout, "closed for another reason");
    client.join().unwrap();
    log_on(&witness);
    server.shutdown(PATIENCE);
}
