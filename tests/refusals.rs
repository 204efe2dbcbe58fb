//! What the server must refuse, with the status that clients know how to read; after each the server still serves
//! (the trial's own last check).

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use support::content::{same_file, tree, write_file};
use support::requests::{Create, access, nt};
use support::session::Session;
use support::{Client, Need, Outcome, Serve, Server, ensure};

const SECRET: &str = "not for the network";

fn main() -> ExitCode {
    let trial = |name, body: fn(&Server) -> Outcome| {
        support::served(name, &[Need::Smbclient], Serve::new(), body)
    };
    support::run(vec![
        trial("a wrong password is LOGON_FAILURE", wrong_password),
        trial("an unknown user is LOGON_FAILURE", unknown_user),
        trial("an unknown share is BAD_NETWORK_NAME", unknown_share),
        trial("missing names and paths are told apart", missing),
        trial("a folder made twice is a collision", collision),
        trial("a read-only share is read and not changed", read_only),
        trial("dot-dot does not leave the share", dot_dot),
        trial("an overwrite for which there is no room leaves what there was", no_room),
        trial("a symlink out of the share is not followed", outward_symlink),
        trial("a symlink within the share is followed", inward_symlink),
        support::served(
            "a full disk is DISK_FULL and usable again afterwards",
            &[Need::Smbclient, Need::Root],
            Serve::new(),
            full_disk,
        ),
    ])
}

fn wrong_password(server: &Server) -> Outcome {
    Client::new(server).user("alice%wrong").run("ls")?.refused(&["NT_STATUS_LOGON_FAILURE"])?;
    Client::new(server).user("alice%").run("ls")?.refused(&["NT_STATUS_LOGON_FAILURE"])?;
    Ok(())
}

fn unknown_user(server: &Server) -> Outcome {
    Client::new(server).user("mallory%secret1").run("ls")?.refused(&["NT_STATUS_LOGON_FAILURE"])?;
    Ok(())
}

fn unknown_share(server: &Server) -> Outcome {
    Client::new(server).share("nothere").run("ls")?.refused(&["NT_STATUS_BAD_NETWORK_NAME"])?;
    Ok(())
}

fn missing(server: &Server) -> Outcome {
    let client = Client::new(server);
    client.run("get nothere x")?.refused(&["NT_STATUS_OBJECT_NAME_NOT_FOUND"])?;
    client.run("get no\\where x")?.refused(&["NT_STATUS_OBJECT_PATH_NOT_FOUND"])?;
    client.run("del nothere")?.refused(&["NT_STATUS_NO_SUCH_FILE"])?;
    client.run("rmdir nothere")?.refused(&["NT_STATUS_OBJECT_NAME_NOT_FOUND"])?;
    client.run("cd nothere")?.refused(&["NT_STATUS_OBJECT_NAME_NOT_FOUND"])?;
    Ok(())
}

fn collision(server: &Server) -> Outcome {
    Client::new(server).run("mkdir d; mkdir d")?.refused(&["NT_STATUS_OBJECT_NAME_COLLISION"])?;
    Ok(())
}

fn read_only(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("new"), 10_000, 31)?;
    fs::create_dir(server.readonly_folder().join("d"))?;
    write_file(&server.readonly_folder().join("f"), 100_000, 32)?;
    let client = Client::new(server).share("readonly").local(&local);
    client.run("ls; get f")?.success()?;
    same_file(&server.readonly_folder().join("f"), &local.join("f"))?;
    for command in
        ["put new", "put new f", "mkdir e", "del f", "rmdir d", "rename f g", "setmode f +r"]
    {
        let run = client.run(command)?;
        run.refused(&["NT_STATUS_ACCESS_DENIED"])
            .map_err(|failed| format!("{command}: {}", text(&failed)))?;
    }
    same_file(&server.readonly_folder().join("f"), &local.join("f"))?;
    let names: Vec<_> = tree(&server.readonly_folder())?.into_keys().collect();
    if names == [Path::new("d"), Path::new("f")] {
        Ok(())
    } else {
        Err(format!("now there is {names:?}").into())
    }
}

fn text(failed: &libtest_mimic::Failed) -> String {
    failed.message().unwrap_or_default().into()
}

/// smbclient resolves most of these by itself; `malformed` sends them as they are.
fn no_room(server: &Server) -> Outcome {
    let file = server.folder().join("file");
    fs::write(&file, SECRET)?;
    let mut session = Session::in_share(server.address)?;
    // The one is more than any disk has, the other more than any file.
    for size in [1 << 50, 1 << 62] {
        let create = Create::open("file", access::ALL).overwriting().allocating(size);
        session.refused(create, nt::DISK_FULL)?;
        ensure(fs::read_to_string(&file)? == SECRET, || {
            format!("{size}: the old contents are gone")
        })?;
    }
    Ok(())
}

fn dot_dot(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let outside = server.scratch("outside")?;
    fs::write(outside.join("secret"), SECRET)?;
    for path in [
        "../outside/secret",
        "..\\outside\\secret",
        "\\..\\outside\\secret",
        "d/../../outside/secret",
    ] {
        Client::new(server)
            .local(&local)
            .run(&format!("get \"{path}\" stolen"))?
            .refused(&["NT_STATUS_"])?;
    }
    expect_nothing_stolen(&local)
}

fn outward_symlink(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let outside = server.scratch("outside")?;
    fs::write(outside.join("secret"), SECRET)?;
    fs::write(local.join("new"), "new")?;
    symlink(outside.join("secret"), server.folder().join("file"))?;
    symlink("../outside", server.folder().join("folder"))?;
    symlink("/etc", server.folder().join("etc"))?;
    for command in [
        "get file stolen",
        "get folder/secret stolen",
        "get etc/passwd stolen",
        "put new folder/new",
        "put new file",
        "mkdir folder/made",
        "cd folder; ls",
    ] {
        let run = Client::new(server).local(&local).run(command)?;
        run.refused(&["NT_STATUS_"]).map_err(|failed| format!("{command}: {}", text(&failed)))?;
    }
    let there: Vec<_> = tree(&outside)?.into_keys().collect();
    if there != [PathBuf::from("secret")] || fs::read_to_string(outside.join("secret"))? != SECRET {
        return Err(format!("the outside was changed: {there:?}").into());
    }
    expect_nothing_stolen(&local)
}

fn inward_symlink(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    fs::create_dir(server.folder().join("d"))?;
    fs::write(server.folder().join("d/f"), "reached")?;
    symlink("d", server.folder().join("link"))?;
    Client::new(server).local(&local).run("get link/f back")?.success()?;
    same_file(&server.folder().join("d/f"), &local.join("back"))
}

/// smbclient leaves an empty file behind where it could not fetch anything.
fn expect_nothing_stolen(local: &Path) -> Outcome {
    match fs::read(local.join("stolen")) {
        Ok(bytes) if !bytes.is_empty() => Err("a file outside the share was read".into()),
        _ => Ok(()),
    }
}

fn full_disk(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let disk = Mounted::small(server.folder().join("disk"))?;
    write_file(&local.join("large"), 8 << 20, 33)?;
    write_file(&local.join("small"), 100_000, 34)?;
    let client = Client::new(server).local(&local);
    client.run("put large disk\\large")?.refused(&["NT_STATUS_DISK_FULL"])?;
    client.run("del disk\\large; put small disk\\small")?.success()?;
    same_file(&local.join("small"), &disk.0.join("small"))
}

/// A tmpfs of 4 MiB.
struct Mounted(PathBuf);

impl Mounted {
    fn small(at: PathBuf) -> Result<Self, libtest_mimic::Failed> {
        fs::create_dir(&at)?;
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(&at)
            .status()?;
        if status.success() { Ok(Self(at)) } else { Err(format!("mount: {status}").into()) }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the server may still hold the folder.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
