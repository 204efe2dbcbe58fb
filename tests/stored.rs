//! What fits no extended attribute: streams and security descriptors in a place of the share's own, by smbclient, over
//! raw SMB, and by the program that sweeps that place.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use libtest_mimic::Failed;
use support::content::{expect_names, same_file, write_file};
use support::requests::{Create, access, nt};
use support::restrict::Restriction;
use support::server::PASSWORD;
use support::session::{Session, expect};
use support::{Client, Need, Outcome, Serve, Server, ensure};

/// With what smbclient on it needs.
const BACKENDS: [(&str, &[Need]); 3] = [
    ("uring", &[Need::IoUring, Need::Smbclient]),
    ("hybrid", &[Need::IoUring, Need::Smbclient]),
    ("epoll", &[Need::Smbclient]),
];

/// The unix account of that name.
const DAEMON: u32 = 1;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (backend, needs) in BACKENDS {
        let mut trial = |name: &str, serve: Serve, body: fn(&Server) -> Outcome| {
            let name = format!("{name} ({backend})");
            trials.push(support::served(&name, needs, serve.backend(backend), body));
        };
        let unprivileged = || Serve::new().restricted(Restriction::Unprivileged);
        trial(
            "a long stream is put, listed, fetched, overwritten and deleted",
            Serve::new(),
            stream,
        );
        trial("so it is by a server that is not root", unprivileged(), stream);
        trial("a long descriptor is set and shown", Serve::new(), descriptor);
        trial("so it is by a server that is not root, too", unprivileged(), descriptor);
        trial("what is left without SMB is swept", Serve::new(), swept);
    }
    let name = "a long descriptor decides who gets in";
    let user = |name| format!("--user={name}:{PASSWORD}");
    let accounts = Serve::new().argument(&user("nobody")).argument(&user("daemon"));
    trials.push(support::served(name, &[Need::Root], accounts, decides));
    support::run(trials)
}

fn stored(server: &Server, section: &str) -> Result<Vec<PathBuf>, Failed> {
    let mut found = Vec::new();
    let section = server.folder().join(":usmbd:store").join(section);
    for fan in section.read_dir().into_iter().flatten() {
        for entry in fan?.path().read_dir()? {
            found.push(entry?.path());
        }
    }
    Ok(found)
}

fn stream(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("long"), 1 << 20, 21)?;
    write_file(&local.join("longer"), (5 << 20) + 7, 22)?;
    fs::write(local.join("short"), b"short")?;
    let client = Client::new(server).local(&local);
    client.run("put short file; put long file:Long; put short file:Short")?.success()?;
    let about = client.run("allinfo file; get file:LONG back; ls")?.success()?;
    let about =
        about.says("stream: [:Long:$DATA], 1048576 bytes")?.says("[:Short:$DATA], 5 bytes")?;
    ensure(!about.text().contains("usmbd"), || format!("the place is shown:\n{}", about.text()))?;
    same_file(&local.join("long"), &local.join("back"))?;
    ensure(stored(server, "streams")?.len() == 1, || "not one stream is stored".into())?;
    client.run("put longer file:long; get file:long again")?.success()?;
    same_file(&local.join("longer"), &local.join("again"))?;
    ensure(stored(server, "streams")?.len() == 1, || "the old one stays".into())?;
    // The file keeps its own contents, and takes its streams along.
    same_file(&local.join("short"), &server.folder().join("file"))?;
    client.run("rename file moved; get moved:long moved; put short moved:long")?.success()?;
    same_file(&local.join("longer"), &local.join("moved"))?;
    ensure(stored(server, "streams")?.is_empty(), || "an overwritten stream stays".into())?;
    client.run("put long moved:Long; del moved")?.success()?;
    ensure(stored(server, "streams")?.is_empty(), || "a deleted file's stream stays".into())?;
    expect_names(&server.folder(), &[":usmbd:store"])
}

/// 200 entries are 4.8 KiB.
fn descriptor(server: &Server) -> Outcome {
    let mut session = Session::in_share(server.address)?;
    let entries: Vec<_> = (2000..2200).map(|uid| (uid, access::READ)).collect();
    for name in ["one", "two"] {
        let file = session.opened(Create::open(name, access::ALL).or_create())?;
        expect(session.set_dacl(file, &entries)?, nt::SUCCESS, "a DACL of 200 entries")?;
        session.close(file)?;
    }
    ensure(stored(server, "descriptors")?.len() == 1, || "not one for both is stored".into())?;
    let shown = Client::new(server).run("showacls; ls one")?.success()?;
    let count =
        (2000..2200).filter(|uid| shown.text().contains(&format!("S-1-22-1-{uid}"))).count();
    ensure(count == 200, || format!("{count} entries of 200 are shown"))
}

fn decides(server: &Server) -> Outcome {
    let mut owner = Session::of_user("daemon", server.address, support::server::SHARE)?;
    let mut nobody = Session::of_user("nobody", server.address, support::server::SHARE)?;
    fs::set_permissions(server.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let file = owner.opened(Create::open("file", access::ALL).or_create())?;
    let mut entries: Vec<_> = (2000..2200).map(|uid| (uid, access::READ)).collect();
    entries.push((DAEMON, access::ALL));
    expect(owner.set_dacl(file, &entries)?, nt::SUCCESS, "a DACL of 201 entries")?;
    nobody.refused(Create::open("file", access::READ), nt::ACCESS_DENIED)?;
    owner.close(file)?;
    let file = owner.opened(Create::open("file", access::ALL))?;
    let [stored] = <[PathBuf; 1]>::try_from(stored(server, "descriptors")?)
        .map_err(|stored| format!("{} descriptors are stored", stored.len()))?;
    owner.close(file)?;
    fs::write(stored, b"damaged")?;
    owner.refused(Create::open("file", access::READ), nt::ACCESS_DENIED)
}

fn swept(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("long"), 1 << 20, 23)?;
    let client = Client::new(server).local(&local);
    client.run("mkdir d; put long d\\kept:one; put long gone:one")?.success()?;
    fs::remove_file(server.folder().join("gone"))?;
    let sweep = |arguments: &[&str], said: &str, count: usize| -> Outcome {
        let run = Command::new(support::server::binary()?)
            .arg("sweep")
            .arg(server.folder())
            .args(arguments)
            .output()?;
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        ensure(run.status.success() && text.ends_with(said), || format!("{run:?}"))?;
        ensure(stored(server, "streams")?.len() == count, || format!("after {text}"))
    };
    sweep(&[], "removed 0 files (0 bytes), kept 2\n", 2)?;
    sweep(&["--hours", "0", "--dry-run"], "would remove 1 files (1048576 bytes), kept 1\n", 2)?;
    sweep(&["--hours", "0"], "removed 1 files (1048576 bytes), kept 1\n", 1)?;
    client.run("get d\\kept:one back")?.success()?;
    same_file(&local.join("long"), &local.join("back"))
}
