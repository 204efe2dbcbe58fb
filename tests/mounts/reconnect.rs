//! The server goes and comes back, or stands still for a while: the client goes on, or says that it cannot.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::contents::both;
use crate::mounted::{Place, When, same, served};
use crate::support::content::Random;
use crate::support::{Need, Outcome, Serve, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        served("a restarted server is used again", Serve::new(), &[Need::Cifs], restarted),
        served(
            "what was written before the server went is written when it is back",
            Serve::new(),
            &[Need::Cifs],
            gone,
        ),
        served(
            "a server that stands still for a while is waited for",
            Serve::new(),
            &[Need::Cifs],
            still,
        ),
        served(
            "a locked range is locked again with a restarted server",
            without_oplocks(),
            &[Need::Cifs],
            locked,
        ),
    ]
}

/// What the client says of a server that is gone.
fn allow(place: &Place) {
    place.may_say("has not responded");
    place.may_say("Reconnecting");
    place.may_say("reconnect");
    place.may_say("sends on sock");
    place.may_say("Error -");
    place.may_say("Send error");
    place.may_say("cifs_put_smb_ses");
}

fn restarted(place: &Place) -> Outcome {
    allow(place);
    let successors = [0; 3].map(|_| place.server().successor(&Serve::new()));
    let at = place.mount("hard,echo_interval=1")?;
    let bytes = Random::new(40).bytes(500_000);
    fs::write(at.join("file"), &bytes)?;
    let open = both(&at.join("file"))?;
    for (round, successor) in successors.into_iter().enumerate() {
        place.server().replace(successor?)?;
        let mut read = vec![0; bytes.len()];
        crate::mounted::forget()?;
        open.read_exact_at(&mut read, 0).when("reading what was open")?;
        ensure(read == bytes, || "it reads as something else".into())?;
        open.write_all_at(&bytes, 0).when("writing what was open")?;
        fs::write(at.join(format!("new {round}")), "content").when("making a file")?;
    }
    open.sync_all().when("syncing")?;
    drop(open);
    same("names", fs::read_dir(&at)?.count(), 4)?;
    ensure(fs::read(place.folder.join("file"))? == bytes, || {
        "it is stored as something else".into()
    })
}

fn gone(place: &Place) -> Outcome {
    allow(place);
    let successor = place.server().successor(&Serve::new())?;
    let at = place.mount("hard,echo_interval=1")?;
    let bytes = Random::new(41).bytes(800_000);
    let mut file = File::create(at.join("file"))?;
    file.write_all(&bytes).when("writing")?;
    place.server().stop_at_once();
    let syncing = thread::spawn(move || file.sync_all());
    thread::sleep(Duration::from_secs(2));
    place.server().replace(successor)?;
    syncing.join().map_err(|_| "it panicked")?.when("syncing")?;
    ensure(fs::read(place.folder.join("file"))? == bytes, || {
        "it is stored as something else".into()
    })
}

fn still(place: &Place) -> Outcome {
    allow(place);
    let at = place.mount("hard")?;
    fs::write(at.join("file"), "content")?;
    let stopped = place.server().stopped()?;
    let going_on = thread::spawn(move || {
        thread::sleep(Duration::from_secs(3));
        drop(stopped);
    });
    fs::write(at.join("other"), "content").when("writing meanwhile")?;
    going_on.join().map_err(|_| "it panicked")?;
    same("content", fs::read_to_string(place.folder.join("other"))?, "content".into())
}

/// Without them the client tells the server of its locks.
fn without_oplocks() -> Serve {
    Serve::new().share_option("no-oplocks")
}

fn locked(place: &Place) -> Outcome {
    allow(place);
    let successor = place.server().successor(&without_oplocks())?;
    let at = place.mount("hard,echo_interval=1,cache=none")?;
    let file = both(&at.join("file"))?;
    file.write_all_at(b"content", 0)?;
    file.try_lock().when("locking")?;
    place.server().replace(successor)?;
    file.write_all_at(b"changed", 0).when("writing")?;
    file.sync_all().when("syncing")?;
    let other = both(&place.mount("cache=none")?.join("file"))?;
    ensure(other.try_lock().is_err(), || "another has the lock, too".into())
}
