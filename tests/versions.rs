//! Previous versions, as smbclient finds and opens them.

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Failed;
use support::{Client, Need, Outcome, Serve, Server, ensure};
use tempfile::TempDir;

const NEWER: &str = "@GMT-2026.01.02-03.04.05";
const OLDER: &str = "@GMT-2025.12.31-23.59.59";

fn main() -> ExitCode {
    let trial = |name, layout: fn(&Path) -> Result<String, Failed>| {
        support::trial(name, &[Need::Smbclient], move || {
            let folder = tempfile::Builder::new().prefix("usmbd-versions-").tempdir()?;
            let option = layout(folder.path())?;
            let share = format!("old={},snapshots={option}", folder.path().join("data").display());
            let server = Serve::new().argument("--share").argument(&share).start()?;
            versions(&server, &folder).map_err(|failed| server.explain(&failed))
        })
    };
    support::run(vec![
        trial("previous versions as snapper keeps them", snapper),
        trial("previous versions by names with times in them", named),
        trial("previous versions of what has the share in it", above),
    ])
}

/// What a version holds: a file, and a folder with one.
fn version(at: &Path, content: &str) -> Outcome {
    fs::create_dir_all(at.join("Folder"))?;
    fs::write(at.join("Folder/file"), content)?;
    Ok(())
}

fn snapper(root: &Path) -> Result<String, Failed> {
    let kept = root.join("data/.snapshots");
    version(&root.join("data"), "now")?;
    for (number, date, content) in
        [("9", "2025-12-31 23:59:59", "older"), ("10", "2026-01-02 03:04:05", "newer")]
    {
        version(&kept.join(number).join("snapshot"), content)?;
        let info =
            format!("<?xml version=\"1.0\"?>\n<snapshot>\n  <date>{date}</date>\n</snapshot>\n");
        fs::write(kept.join(number).join("info.xml"), info)?;
    }
    Ok(".snapshots".into())
}

fn named(root: &Path) -> Result<String, Failed> {
    version(&root.join("data"), "now")?;
    version(&root.join("kept/daily_2026-01-02_03:04:05"), "newer")?;
    version(&root.join("kept/daily_2025-12-31_23:59:59"), "older")?;
    fs::create_dir(root.join("kept/not one"))?;
    Ok(root.join("kept").display().to_string())
}

fn above(root: &Path) -> Result<String, Failed> {
    version(&root.join("data"), "now")?;
    let kept = root.join(".zfs/snapshot");
    version(&kept.join("20260102T030405/data"), "newer")?;
    version(&kept.join("20251231T235959/data"), "older")?;
    // Not to be seen: the share is a part of what this was taken of.
    fs::write(kept.join("20260102T030405/secret"), "above")?;
    // From before there was the share, and led astray.
    version(&kept.join("20240101T000000"), "none")?;
    std::os::unix::fs::symlink("/etc", kept.join("20240101T000000/data"))?;
    Ok(kept.display().to_string())
}

fn versions(server: &Server, folder: &TempDir) -> Outcome {
    let local = server.scratch("local")?;
    let client = Client::new(server).share("old").local(&local);
    let told = client.run("allinfo folder\\file")?;
    let said = told.text();
    let (newer, older) = (said.find(NEWER), said.find(OLDER));
    ensure(newer.is_some() && newer < older, || format!("not both, the newer first: {said}"))?;
    for (time, content) in [(NEWER, "newer"), (OLDER, "older")] {
        client.run(&format!("get {time}\\folder\\FILE {content}"))?.success()?;
        let got = fs::read_to_string(local.join(content))?;
        ensure(got == content, || format!("{got} in place of {content}"))?;
    }
    client.run("get folder\\file now")?.success()?;
    ensure(fs::read_to_string(local.join("now"))? == "now", || "what is now has changed".into())?;
    for refused in [
        format!("put now {NEWER}\\folder\\file"),
        format!("put now {NEWER}\\folder\\new"),
        format!("del {NEWER}\\folder\\file"),
        format!("mkdir {NEWER}\\new"),
        format!("get {NEWER}\\..\\secret got"),
        format!("get {NEWER}\\secret got"),
        "get @GMT-2026.01.02-03.04.06\\folder\\file got".into(),
        "get @GMT-2024.01.01-00.00.00\\passwd got".into(),
    ] {
        client.run(&refused)?.refused(&["NT_STATUS_"])?;
    }
    ensure(fs::read_to_string(folder.path().join("data/Folder/file"))? == "now", || {
        "changed".into()
    })
}
