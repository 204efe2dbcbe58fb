//! The server as a process: stopping, a taken port, who owns what it makes.

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use support::child::Running;
use support::content::{same_file, write_file};
use support::session::{Session, command, utf16};
use support::{Client, Need, Outcome, Serve, Server};

/// nobody, who owns nothing else here.
const NOBODY: u32 = 65_534;
const STOP_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    support::run(vec![
        support::trial("SIGTERM stops an idle server with status 0", &[], stop_idle),
        support::trial(
            "SIGTERM during a transfer ends it cleanly with status 0",
            &[Need::Smbclient],
            stop_busy,
        ),
        support::trial("a second SIGTERM ends a server that waits for a client", &[], stop_twice),
        support::trial("a port in use is named in the error", &[], port_in_use),
        support::trial("a share without a folder is named in the error", &[], no_folder),
        support::served(
            "files of a user without a unix account belong to the folder's owner",
            &[Need::Smbclient, Need::Root],
            Serve::new().share_owner(NOBODY),
            ownership,
        ),
    ])
}

fn stop_idle() -> Outcome {
    let mut server = Serve::new().start()?;
    expect_zero(&mut server)
}

fn expect_zero(server: &mut Server) -> Outcome {
    let status = server.terminate(STOP_LIMIT)?;
    server.check_no_panic()?;
    if status.code() == Some(0) {
        Ok(())
    } else {
        Err(server.explain(&format!("ended with {status}").into()))
    }
}

/// What the client was told is done must be on the disk; anything else it must have seen as an error, in time.
fn stop_busy() -> Outcome {
    let mut server = Serve::new().start()?;
    let local = server.scratch("local")?;
    write_file(&local.join("f"), 256 << 20, 41)?;
    let stored = server.folder().join("f");
    let client = Client::new(&server).local(&local).limit(STOP_LIMIT).start("put f")?;
    let deadline = Instant::now() + STOP_LIMIT;
    while fs::metadata(&stored).map_or(0, |metadata| metadata.len()) < 1 << 20 {
        if Instant::now() > deadline {
            return Err(server.explain(&"the transfer did not begin".into()));
        }
        thread::sleep(Duration::from_millis(1));
    }
    expect_zero(&mut server)?;
    if client.finish()?.succeeded() { same_file(&local.join("f"), &stored) } else { Ok(()) }
}

/// A client that takes no responses holds the stop up; a second signal does not wait for it.
fn stop_twice() -> Outcome {
    const CHUNK: usize = 64 * 1024;
    const SIGTERM_STATUS: i32 = 128 + 15;
    let mut server = Serve::new().start()?;
    fs::File::create(server.folder().join("f"))?.set_len(1 << 20)?;
    let mut session = Session::in_share(server.address)?;
    let file = session.create(&utf16("f"), false)?.map_err(|status| format!("{status:#x}"))?;
    // More than the sockets' buffers hold.
    for _ in 0..400 {
        let mut request = session.header(command::READ);
        request.extend_from_slice(&[49, 0, 0, 0]);
        request.extend_from_slice(&u32::try_from(CHUNK)?.to_le_bytes());
        request.extend_from_slice(&[0; 8]); // from the beginning
        request.extend_from_slice(&file);
        request.extend_from_slice(&[0; 17]); // no minimum, no channel
        session.wire.send(&request)?;
    }
    thread::sleep(Duration::from_millis(500));
    server.ask_to_stop()?;
    thread::sleep(Duration::from_millis(500));
    server.check_alive().map_err(|_| "the first signal did not wait for the client")?;
    let status = server.terminate(Duration::from_secs(5))?;
    match status.code() {
        Some(SIGTERM_STATUS) => Ok(()),
        _ => Err(server.explain(&format!("ended with {status}").into())),
    }
}

fn port_in_use() -> Outcome {
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let address = taken.local_addr()?.to_string();
    expect_failed_start(&address, "share", &[&address, "in use"])
}

fn no_folder() -> Outcome {
    expect_failed_start("127.0.0.1:0", "elsewhere", &["share"])
}

/// Starts with the share's folder under another name than the one expected, and looks for `words` in what is said.
fn expect_failed_start(listen: &str, folder: &str, words: &[&str]) -> Outcome {
    let root = tempfile::tempdir()?;
    fs::create_dir(root.path().join(folder))?;
    fs::create_dir(root.path().join("readonly"))?;
    let finished =
        Running::start(&mut Serve::new().command(listen, root.path())?)?.finish(STOP_LIMIT)?;
    let text = finished.text.to_lowercase();
    if finished.status.success()
        || text.contains("panicked")
        || !words.iter().all(|word| text.contains(word))
    {
        return Err(
            format!("ended with {}, expected {words:?} in:\n{text}", finished.status).into()
        );
    }
    Ok(())
}

fn ownership(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    fs::write(local.join("f"), "x")?;
    Client::new(server).local(&local).run("put f; mkdir d; put f d\\g")?.success()?;
    for name in ["f", "d", "d/g"] {
        let metadata = fs::metadata(server.folder().join(name))?;
        if (metadata.uid(), metadata.gid()) != (NOBODY, NOBODY) {
            return Err(format!("{name} belongs to {}:{}", metadata.uid(), metadata.gid()).into());
        }
    }
    Ok(())
}
