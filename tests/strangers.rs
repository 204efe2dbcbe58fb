//! Clients that the server does not know: nobody, guests, and who guesses passwords.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use support::content::{same_file, write_file};
use support::restrict::NOBODY;
use support::{Client, Need, Outcome, Serve, Server, ensure};

fn main() -> ExitCode {
    let trial = |name, serve, body: fn(&Server) -> Outcome| {
        support::served(name, &[Need::Smbclient], serve, body)
    };
    support::run(vec![
        trial("nobody gets the list of shares, and no share", Serve::new(), nobody),
        trial("nobody gets in where they are refused", no_anonymous(), refused_nobody),
        trial("nobody gets in where signing is required", signing(), refused_nobody),
        support::served(
            "a guest works in shares for guests, as the account named, and in no other",
            &[Need::Smbclient, Need::Root],
            guests(),
            guest,
        ),
        trial("a known user with a wrong password is no guest", guests(), no_guest),
        trial("nobody uses a share for guests", guests(), nobody_as_guest),
        trial("wrong passwords take time, and nobody else's", Serve::new(), wrong_passwords),
    ])
}

fn no_anonymous() -> Serve {
    Serve::new().argument("--no-anonymous")
}

fn signing() -> Serve {
    Serve::new().argument("--require-signing")
}

/// With a share "public" for guests, who work as nobody.
fn guests() -> Serve {
    Serve::new().shared_with_guests("public").argument("--guest=nobody")
}

fn nobody(server: &Server) -> Outcome {
    Client::new(server).user("%").list()?.success()?.says("readonly")?;
    Client::new(server).user("%").run("ls")?.refused(&["NT_STATUS_ACCESS_DENIED"])?;
    Client::new(server).user("mallory%x").run("ls")?.refused(&["NT_STATUS_LOGON_FAILURE"])?;
    Ok(())
}

fn refused_nobody(server: &Server) -> Outcome {
    Client::new(server).user("%").list()?.refused(&["NT_STATUS_ACCESS_DENIED"])?;
    Ok(())
}

fn guest(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("f"), 3_000_001, 7)?;
    let client = || Client::new(server).user("mallory%x").local(&local);
    client().share("public").run("put f; get f back; ls")?.success()?.says("3000001")?;
    same_file(&local.join("f"), &local.join("back"))?;
    let made = fs::metadata(server.guests_folder().join("f"))?;
    ensure(made.uid() == NOBODY, || format!("the file belongs to {}", made.uid()))?;
    client().run("ls")?.refused(&["NT_STATUS_ACCESS_DENIED"])?;
    Ok(())
}

fn no_guest(server: &Server) -> Outcome {
    let client = Client::new(server).share("public").user("alice%wrong");
    client.run("ls")?.refused(&["NT_STATUS_LOGON_FAILURE"])?;
    Ok(())
}

fn nobody_as_guest(server: &Server) -> Outcome {
    Client::new(server).share("public").user("%").run("mkdir d; ls")?.success()?.says("d ")?;
    Client::new(server).user("%").run("ls")?.refused(&["NT_STATUS_ACCESS_DENIED"])?;
    Ok(())
}

fn wrong_passwords(server: &Server) -> Outcome {
    let guess = || timed(|| Client::new(server).user("alice%wrong").run("ls")?.refused(FAILURE));
    let [first, _, third, fourth] = [guess()?, guess()?, guess()?, guess()?];
    // 500 ms and 1 s are meant.
    ensure(third >= Duration::from_millis(500) && fourth >= Duration::from_secs(1), || {
        format!("after {first:?}, {third:?} and {fourth:?}")
    })?;
    // Meanwhile alice, who knows the password, does not wait for the two seconds, and starts anew.
    let guessing = Client::new(server).user("alice%wrong").start("ls")?;
    std::thread::sleep(Duration::from_millis(300));
    let taken = timed(|| Client::new(server).run("ls")?.success())?;
    ensure(taken < Duration::from_millis(1500), || format!("alice waited {taken:?}"))?;
    guessing.finish()?.refused(FAILURE)?;
    let taken = guess()?;
    // Four seconds, if nothing had been forgotten.
    ensure(taken < Duration::from_secs(2), || format!("then {taken:?}"))
}

const FAILURE: &[&str] = &["NT_STATUS_LOGON_FAILURE"];

fn timed<T>(act: impl FnOnce() -> Result<T, Failed>) -> Result<Duration, Failed> {
    let start = Instant::now();
    act().map(|_| start.elapsed())
}
