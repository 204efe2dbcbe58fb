//! What a client may ask without moving data: shares, space, attributes, times.

mod support;

use std::fs::{self, File, FileTimes};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use libtest_mimic::Failed;
use support::{Client, Need, Outcome, Serve, Server};

fn main() -> ExitCode {
    let trial = |name, body: fn(&Server) -> Outcome| {
        support::served(name, &[Need::Smbclient], Serve::new(), body)
    };
    support::run(vec![
        trial("the list of shares names every share and IPC$", shares),
        trial("the free space is that of the disk", free_space),
        trial("du adds up the files below a folder", disk_usage),
        trial("allinfo shows size, times and the data stream", all_info),
        trial("a time set by the client is on the file", set_time),
        trial("the read-only attribute survives and is obeyed", read_only_attribute),
        trial("volume answers", volume),
        trial("a folder of three thousand entries is listed once each", long_listing),
    ])
}

fn shares(server: &Server) -> Outcome {
    let run = Client::new(server).list()?.success()?;
    for (name, kind) in [("files", "Disk"), ("readonly", "Disk"), ("IPC$", "IPC")] {
        let listed = run
            .text()
            .lines()
            .map(str::split_whitespace)
            .any(|mut words| words.next() == Some(name) && words.next() == Some(kind));
        if !listed {
            return Err(format!("{name} is not listed as {kind}:\n{}", run.text()).into());
        }
    }
    Ok(())
}

/// `N blocks of size S. F blocks available`, in bytes: the whole and the free space.
fn space(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|line| line.contains("blocks of size"))?;
    let mut numbers =
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u64>().ok());
    let (blocks, size, free) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some((blocks.checked_mul(size)?, free.checked_mul(size)?))
}

fn free_space(server: &Server) -> Outcome {
    let run = Client::new(server).run("ls")?.success()?;
    let (whole, free) = space(run.text()).ok_or("no line about blocks")?;
    let disk = rustix::fs::statvfs(server.folder())?;
    let (disk_whole, disk_free) = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize);
    // Other tests write to the same disk meanwhile; reserved blocks may or may not count as part of the whole.
    if whole.abs_diff(disk_whole) > disk_whole / 10 || free.abs_diff(disk_free) > 8 << 30 {
        return Err(
            format!("told {whole} and {free}, the disk has {disk_whole} and {disk_free}").into()
        );
    }
    Ok(())
}

fn disk_usage(server: &Server) -> Outcome {
    fs::create_dir(server.folder().join("d"))?;
    for (name, length) in [("one", 1000), ("d/two", 2345)] {
        fs::write(server.folder().join(name), vec![b'x'; length])?;
    }
    Client::new(server).run("recurse; du *")?.success()?.says("Total number of bytes: 3345")?;
    Ok(())
}

fn all_info(server: &Server) -> Outcome {
    let path = server.folder().join("file.txt");
    fs::write(&path, "twelve bytes")?;
    // 2001-09-09 01:46:40 UTC.
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(&path)?.set_times(FileTimes::new().set_modified(then))?;
    let run = Client::new(server).run("allinfo file.txt")?.success()?;
    let run = run
        .says("write_time:     Sun Sep  9 01:46:40")?
        .says("2001")?
        .says("stream: [::$DATA], 12 bytes")?;
    for field in ["create_time:", "access_time:", "change_time:", "attributes:"] {
        let line = run
            .text()
            .lines()
            .find(|line| line.starts_with(field))
            .ok_or_else(|| missing(field))?;
        if line.contains("1601") || line.contains("1970") || line.trim_end().ends_with(':') {
            return Err(format!("implausible: {line}").into());
        }
    }
    Ok(())
}

fn missing(field: &str) -> Failed {
    format!("no {field} in the answer").into()
}

fn set_time(server: &Server) -> Outcome {
    let path = server.folder().join("f");
    fs::write(&path, "x")?;
    Client::new(server).run("utimes f -1 -1 2020:01:02-03:04:05 -1")?.success()?;
    let modified =
        fs::metadata(&path)?.modified()?.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    // date -u -d '2020-01-02 03:04:05' +%s; the client runs in UTC.
    if modified == 1_577_934_245 { Ok(()) } else { Err(format!("the file says {modified}").into()) }
}

fn read_only_attribute(server: &Server) -> Outcome {
    fs::write(server.folder().join("f"), "kept")?;
    let client = Client::new(server);
    client.run("setmode f +r; allinfo f")?.success()?.says("attributes: R")?;
    client.run("del f")?.refused(&["NT_STATUS_CANNOT_DELETE"])?;
    client.run("setmode f -r; del f")?.success()?;
    if server.folder().join("f").exists() { Err("the file is still there".into()) } else { Ok(()) }
}

fn volume(server: &Server) -> Outcome {
    Client::new(server).run("volume")?.success()?.says("Volume: |")?;
    Ok(())
}

fn long_listing(server: &Server) -> Outcome {
    for number in 0..3000 {
        fs::write(
            server.folder().join(format!("entry with a rather long name {number:04}.dat")),
            "",
        )?;
    }
    let run = Client::new(server).run("ls")?.success()?;
    let mut names: Vec<_> = run.text().lines().filter(|line| line.contains("entry with")).collect();
    names.sort_unstable();
    let listed = names.len();
    names.dedup();
    if (listed, names.len()) == (3000, 3000) {
        Ok(())
    } else {
        Err(format!("{listed} listed, {} distinct", names.len()).into())
    }
}
