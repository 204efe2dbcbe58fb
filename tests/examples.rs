//! Each example as its reader would try it: started, talked to, and what it answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const BACKENDS: [&str; 3] = ["uring", "hybrid", "epoll"];

/// More than sockets and pipes hold together.
const MUCH: usize = 8 << 20;

/// A running example. It is killed in the end.
struct Example {
    process: Child,
    addr: SocketAddr,
}

impl Example {
    /// Starts `name`; `None`, with a word about it, where the kernel has no such backend.
    fn start(name: &str, backend: &str, args: &[&str]) -> Option<Self> {
        let mut process = Command::new(program(name))
            .args(args)
            .env("RINGWAY_BACKEND", backend)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let lines = output.lines().map(Result::unwrap);
        let addr = lines.filter_map(|line| line.strip_prefix("listening on ")?.parse().ok()).next();
        let Some(addr) = addr else {
            let said = process.wait_with_output().unwrap().stderr;
            let said = String::from_utf8_lossy(&said);
            assert!(backend != "epoll" && said.contains("cannot run"), "{name}: {said}");
            println!("SKIPPED: {said}");
            return None;
        };
        Some(Self { process, addr })
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Cargo builds examples beside the tests.
fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    this.ancestors().nth(2).unwrap().join("examples").join(name)
}

fn on_each_backend(name: &str, args: &[&str], test: impl Fn(&Example)) {
    for backend in BACKENDS {
        if let Some(example) = Example::start(name, backend, args) {
            test(&example);
        }
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8 ^ (i >> 12) as u8).collect()
}

/// Sends `MUCH` bytes, ends the stream, and gives what came back until its end.
fn there_and_back(stream: &TcpStream) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(|| {
            (&*stream).write_all(&bytes(MUCH)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        (&*stream).read_to_end(&mut back).unwrap();
        back
    })
}

/// The status line and the body that a request gets.
fn ask(stream: &mut TcpStream, request: &str) -> (String, Vec<u8>) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_ascii_lowercase());
    }
    let len = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; if request.starts_with("HEAD") { 0 } else { len.parse().unwrap() }];
    stream.read_exact(&mut body).unwrap();
    (lines[0].clone(), body)
}

#[test]
fn echo_gives_back_what_it_gets() {
    on_each_backend("echo", &["127.0.0.1:0"], |echo| {
        assert!(there_and_back(&echo.connect()) == bytes(MUCH));
    });
}

#[test]
fn proxy_passes_both_directions_and_their_ends_on() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = target.local_addr().unwrap().to_string();
    let echo = thread::spawn(move || {
        for _ in BACKENDS {
            let (stream, _) = target.accept().unwrap();
            std::io::copy(&mut &stream, &mut &stream).unwrap();
        }
    });
    on_each_backend("proxy", &["127.0.0.1:0", &to], |proxy| {
        assert!(there_and_back(&proxy.connect()) == bytes(MUCH));
    });
    // Where a backend was skipped, the target still waits.
    drop(echo);
}

#[test]
fn proxy_closes_the_connection_when_the_target_refuses() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    on_each_backend("proxy", &["127.0.0.1:0", &nobody], |proxy| {
        assert_eq!(proxy.connect().read(&mut [0]).unwrap_or(0), 0);
    });
}

#[test]
fn files_serves_whole_files_and_nothing_outside_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let served = folder.path().join("served");
    std::fs::create_dir(&served).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::write(served.join("large"), bytes(MUCH)).unwrap();
    std::fs::write(served.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("../secret", served.join("link")).unwrap();
    on_each_backend("files", &[served.to_str().unwrap(), "127.0.0.1:0"], |files| {
        let mut stream = files.connect();
        let mut get = |what: &str| ask(&mut stream, &format!("{what} HTTP/1.1\r\n\r\n"));
        let (status, body) = get("GET /large");
        assert!(status.contains("200") && body == bytes(MUCH), "{status}");
        assert_eq!(get("GET /empty"), ("http/1.1 200 ok".into(), Vec::new()));
        assert!(get("HEAD /large").0.contains("200"));
        for path in ["GET /../secret", "GET /link", "GET /", "POST /large"] {
            let (status, body) = get(path);
            assert!(status.contains(" 40") && body.is_empty(), "{path}: {status}");
        }
        assert!(get("GET /missing").0.contains("404"));
    });
}

#[test]
fn http_answers_and_ends_on_a_signal_when_its_requests_are_answered() {
    on_each_backend("http", &["127.0.0.1:0"], |http| {
        let mut stream = http.connect();
        let head = "HTTP/1.1\r\nHost: here\r\n";
        assert_eq!(ask(&mut stream, &format!("GET / {head}\r\n")).1, b"hello\n");
        let echo = format!("POST /echo {head}Content-Length: 5\r\n\r\nround");
        assert_eq!(ask(&mut stream, &echo).1, b"round");
        let metrics = ask(&mut stream, &format!("GET /metrics {head}\r\n")).1;
        assert!(String::from_utf8(metrics).unwrap().contains("Recv"));
        assert!(ask(&mut stream, &format!("GET /missing {head}\r\n")).0.contains("404"));
        let pid = rustix::process::Pid::from_child(&http.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "an idle connection is ended");
        while TcpStream::connect(http.addr).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn udp_gives_every_datagram_back_as_it_was() {
    on_each_backend("udp", &["127.0.0.1:0"], |udp| {
        let senders: Vec<_> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for (number, sender) in senders.iter().enumerate() {
            sender.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            sender.connect(udp.addr).unwrap();
            for len in [1, 0, 1200, 1200, 1200, 7, 60_000] {
                let datagram = vec![number as u8; len];
                sender.send(&datagram).unwrap();
                let mut back = vec![0xff; 65_536];
                let n = sender.recv(&mut back).unwrap();
                assert!(back[..n] == datagram, "{len} bytes came back as {n}");
            }
        }
    });
}
