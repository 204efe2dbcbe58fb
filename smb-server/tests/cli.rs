//! The program as a person meets it: exit codes, one-line errors, the banner, and the end on a signal.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

fn usmbd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usmbd"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    usmbd(arguments).output().expect("the program starts")
}

/// Runs into an error: its exit code, and the only line it says.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments);
    let text = String::from_utf8(output.stderr).expect("messages are text");
    assert!(output.stdout.is_empty(), "nothing was started");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    assert!(text.starts_with("usmbd: "), "{text}");
    (output.status.code(), text)
}

#[test]
fn version_names_the_program() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    let expected = format!("usmbd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn help_warns_that_passwords_on_the_command_line_are_visible() {
    for help in [&["serve", "--help"][..], &["serve", "-h"]] {
        let output = run(help);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(text.contains("visible to other users of this host"), "{text}");
    }
}

#[test]
fn without_arguments_the_help_is_shown_as_an_error() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("serve"));
}

#[test]
fn probe_has_a_line_for_every_backend() {
    let output = run(&["probe"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tried: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(tried, ["auto", "uring", "hybrid", "epoll"]);
}

#[test]
fn probe_tells_which_way_bytes_take_with_the_files_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let output = run(&["probe", "--routes", path]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("files in {path}:")), "{text}");
    // Every kernel that the runtime takes has these for the files of its own disks.
    for found in ["  pipes                    yes: ", "  mappings                 yes\n"] {
        assert!(text.contains(found), "{text}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    let (code, text) = refused(&["probe", "--routes", "/missing"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("/missing"), "{text}");
    let (code, text) = refused(&["probe", path]);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn nothing_to_serve_is_a_usage_error() {
    let (code, text) = refused(&["serve"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("--share"), "{text}");
}

#[test]
fn bad_options_are_usage_errors() {
    for (arguments, named) in [
        (&["serve", "--fast"][..], "--fast"),
        (&["frobnicate"], "frobnicate"),
        (&["serve", "/", "--listen", "here"], "here"),
        (&["serve", "--share", "a/b=/"], "a/b"),
        (&["serve", "--share", "IPC$=/"], "IPC$"),
        (&["serve", "--share", "a=/", "--share", "A=/"], "'A'"),
        (&["serve", "/", "--user", "ann"], "--user"),
        (&["serve", "/", "--backend", "fast"], "fast"),
    ] {
        let (code, text) = refused(arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn a_folder_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [folder.path().join("missing"), file] {
        let (code, text) = refused(&["serve", path.to_str().unwrap()]);
        assert_eq!(code, Some(1));
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (code, text) = refused(&["serve", path, "--listen", &address, "--log", "off"]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&address), "{text}");
}

/// A server that was started, and is killed if the test fails.
struct Running {
    child: Child,
    banner: String,
    address: SocketAddr,
}

impl Running {
    /// Starts on a port of the kernel's choice and reads the banner up to its last line.
    fn start(arguments: &[&str]) -> Self {
        let mut child = usmbd(arguments)
            .args(["--listen", "127.0.0.1:0", "--threads", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut banner = String::new();
        while !banner.contains("  Windows ") {
            let read = stdout.read_line(&mut banner).expect("the banner is text");
            assert_ne!(read, 0, "the banner ends early: {banner}");
        }
        let listening = banner.lines().find_map(|line| line.strip_prefix("listening on "));
        let address = listening.expect("it says where").parse().expect("an address");
        Self { child, banner, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// The exit code and what went to stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut text).expect("the log is text");
        (self.child.wait().expect("it ends").code(), text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_banner_tells_the_port_that_the_kernel_chose() {
    let folder = tempfile::tempdir().unwrap();
    let share = format!("music={},ro", folder.path().display());
    let server = Running::start(&["serve", "--share", &share, "--user", "ann:secret"]);
    assert_ne!(server.address.port(), 0);
    TcpStream::connect_timeout(&server.address, Duration::from_secs(5)).expect("somebody listens");
    let port = server.address.port();
    for part in [format!("smbclient //127.0.0.1/music -p {port} -U ann"), "(read-only)".into()] {
        assert!(server.banner.contains(&part), "{part:?} is missing in {}", server.banner);
    }
    assert!(!server.banner.contains("secret"), "a given password is not printed");
}

#[test]
fn a_signal_stops_the_server_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let server = Running::start(&["serve", folder.path().to_str().unwrap()]);
        let address = server.address;
        server.signal(signal);
        let (code, log) = server.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopping"), "{log}");
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}

#[test]
fn the_log_has_no_colours_where_there_is_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&["serve", folder.path().to_str().unwrap(), "--log", "trace"]);
    server.signal(Signal::TERM);
    let (_, log) = server.end();
    assert!(log.contains("stopping") && !log.contains('\u{1b}'), "{log:?}");
}
