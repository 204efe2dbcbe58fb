//! Files and folders through smbclient, compared byte by byte with what is on the disk: large, many, nested, renamed,
//! deleted.

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use support::content::{Random, same_file, same_text, same_tree, tree, write_file};
use support::{Client, Need, Outcome, Serve, Server};

const GIB: u64 = 1 << 30;
const SMALL_FILES: usize = 10_000;
const LARGE_LIMIT: Duration = Duration::from_secs(180);
const MANY_LIMIT: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    let client: &[Need] = &[Need::Smbclient];
    let trial =
        |name, body: fn(&Server) -> Outcome| support::served(name, client, Serve::new(), body);
    support::run(vec![
        support::served(
            "a file of 1 GiB arrives whole and comes back whole",
            &[Need::Smbclient, Need::Space(4 * GIB)],
            Serve::new(),
            gibibyte,
        ),
        trial("ten thousand small files are stored, listed and fetched again", ten_thousand),
        trial("nested folders come back as the same tree", nested),
        trial("files of awkward lengths keep every byte", awkward_lengths),
        trial("overwriting a file with a shorter one leaves nothing of the longer", overwrite),
        trial("a fetched part of a file continues where the local one ends", resume),
        trial("a copy that the server makes has every byte", server_copy),
        trial("renamed files and folders keep their contents", rename),
        trial("deleted files and folders are gone from the disk", delete),
        trial("a folder that is not empty stays", not_empty),
        trial("wildcards list what Windows lists", wildcards),
        trial("a stream is stored beside its file's contents, as Samba stores it", stream),
    ])
}

fn gibibyte(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("large"), GIB, 1)?;
    let client = Client::new(server).local(&local).limit(LARGE_LIMIT);
    client.run("put large large")?.success()?;
    same_file(&local.join("large"), &server.folder().join("large"))?;
    client.run("get large back")?.success()?;
    same_file(&local.join("large"), &local.join("back"))
}

/// Of more than a request may copy, and not a multiple of anything.
fn server_copy(server: &Server) -> Outcome {
    let length = (40 << 20) + 12_345;
    write_file(&server.folder().join("source"), length, 11)?;
    Client::new(server).run("scopy source target")?.success()?;
    same_file(&server.folder().join("source"), &server.folder().join("target"))
}

/// In Samba's extended attribute, with its NUL; listed, fetched and overwritten, in any case.
fn stream(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("contents"), 1000, 12)?;
    fs::write(local.join("aside"), b"beside")?;
    let client = Client::new(server).local(&local);
    client.run("put contents file; put aside file:Aside")?.success()?;
    same_file(&local.join("contents"), &server.folder().join("file"))?;
    let mut value = [0; 64];
    let path = server.folder().join("file");
    let length = rustix::fs::getxattr(&path, "user.DosStream.Aside:$DATA", &mut value)?;
    let value = String::from_utf8_lossy(&value[..length]).into_owned();
    same_text(&value, "beside\0")?;
    let about = client.run("allinfo file")?.success()?;
    about.says("stream: [::$DATA], 1000 bytes")?.says("stream: [:Aside:$DATA], 6 bytes")?;
    client.run("get file:ASIDE back; put contents file:ASIDE")?.success()?;
    same_file(&local.join("aside"), &local.join("back"))?;
    let longer = client.run("allinfo file; get file:aside again")?.success()?;
    longer.says("stream: [:Aside:$DATA], 1000 bytes")?;
    same_file(&local.join("contents"), &local.join("again"))?;
    same_file(&local.join("contents"), &path)
}

/// In one folder: each new name is looked for, in any case, among all the others.
fn ten_thousand(server: &Server) -> Outcome {
    let (local, back) = (server.scratch("local")?, server.scratch("back")?);
    let folder = local.join("many");
    fs::create_dir(&folder)?;
    let mut random = Random::new(2);
    for number in 0..SMALL_FILES {
        let length = random.below(3000);
        fs::write(folder.join(format!("file-{number:05}.dat")), random.bytes(length))?;
    }
    Client::new(server)
        .local(&local)
        .limit(MANY_LIMIT)
        .run("recurse; prompt; mput many")?
        .success()?;
    same_tree(&local, &server.folder())?;

    let listing = Client::new(server).run("cd many; ls")?.success()?;
    let listed =
        listing.text().lines().filter(|line| line.trim_start().starts_with("file-")).count();
    if listed != SMALL_FILES {
        return Err(format!("{listed} files listed of {SMALL_FILES}").into());
    }
    Client::new(server)
        .local(&back)
        .limit(MANY_LIMIT)
        .run("recurse; prompt; mget many")?
        .success()?;
    same_tree(&local, &back)
}

fn nested(server: &Server) -> Outcome {
    let (local, back) = (server.scratch("local")?, server.scratch("back")?);
    grow(&local.join("tree"), 4, &mut Random::new(3))?;
    let command = "recurse; prompt; mput tree";
    Client::new(server).local(&local).run(command)?.success()?;
    same_tree(&local, &server.folder())?;
    Client::new(server).local(&back).run("recurse; prompt; mget tree")?.success()?;
    same_tree(&local, &back)?;
    Client::new(server).run("recurse; deltree tree")?.success()?;
    if server.folder().join("tree").exists() {
        return Err("the tree is still there".into());
    }
    Ok(())
}

/// A folder with a few files and, down to `depth`, three folders of the same kind, one of them empty.
fn grow(folder: &Path, depth: usize, random: &mut Random) -> Outcome {
    fs::create_dir(folder)?;
    fs::create_dir(folder.join("empty"))?;
    for number in 0..3 {
        let length = random.below(200_000 >> (3 * number));
        fs::write(folder.join(format!("file {number}.bin")), random.bytes(length))?;
    }
    if depth > 0 {
        for name in ["one", "Two folders"] {
            grow(&folder.join(name), depth - 1, random)?;
        }
    }
    Ok(())
}

/// Around the sizes where something begins or ends: a page, a credit, a negotiated maximum.
fn awkward_lengths(server: &Server) -> Outcome {
    let (local, back) = (server.scratch("local")?, server.scratch("back")?);
    for size in [0, 1, 4096, 65_536, 1 << 20, 8 << 20] {
        for length in [size - i64::from(size > 0), size, size + 1] {
            let length = u64::try_from(length)?;
            write_file(&local.join(format!("{length}.bin")), length, length)?;
        }
    }
    Client::new(server).local(&local).run("prompt; mput *")?.success()?;
    same_tree(&local, &server.folder())?;
    Client::new(server).local(&back).run("prompt; mget *")?.success()?;
    same_tree(&local, &back)
}

fn overwrite(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("long"), 300_000, 4)?;
    write_file(&local.join("short"), 1_000, 5)?;
    Client::new(server).local(&local).run("put long f; put short f")?.success()?;
    same_file(&local.join("short"), &server.folder().join("f"))
}

fn resume(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let whole = Random::new(6).bytes(500_000);
    fs::write(server.folder().join("f"), &whole)?;
    fs::write(local.join("f"), &whole[..123_457])?;
    Client::new(server).local(&local).run("reget f")?.success()?;
    same_file(&server.folder().join("f"), &local.join("f"))
}

fn rename(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("f"), 100_000, 7)?;
    let commands = "mkdir a; mkdir b; put f a/f; rename a/f b/g; rename b c; rename c/g c/G";
    Client::new(server).local(&local).run(commands)?.success()?;
    same_file(&local.join("f"), &server.folder().join("c/G"))?;
    let left = tree(&server.folder())?;
    let names: Vec<_> = left.keys().map(|name| name.display().to_string()).collect();
    if names != ["a", "c", "c/G"] { Err(format!("on the disk: {names:?}").into()) } else { Ok(()) }
}

fn delete(server: &Server) -> Outcome {
    fs::create_dir_all(server.folder().join("outer/inner"))?;
    for name in ["one.txt", "two.txt", "keep.dat", "outer/three.txt"] {
        fs::write(server.folder().join(name), name)?;
    }
    let commands = "del *.txt; del outer\\three.txt; rmdir outer\\inner; rmdir outer";
    Client::new(server).run(commands)?.success()?;
    let left: Vec<_> = tree(&server.folder())?.into_keys().collect();
    if left != [Path::new("keep.dat")] {
        Err(format!("on the disk: {left:?}").into())
    } else {
        Ok(())
    }
}

fn not_empty(server: &Server) -> Outcome {
    fs::create_dir(server.folder().join("full"))?;
    fs::write(server.folder().join("full/f"), "kept")?;
    Client::new(server).run("rmdir full")?.refused(&["NT_STATUS_DIRECTORY_NOT_EMPTY"])?;
    same_text(&fs::read_to_string(server.folder().join("full/f"))?, "kept")
}

fn wildcards(server: &Server) -> Outcome {
    for name in ["alpha.txt", "beta.TXT", "beta", "gamma.doc", "a.b.txt"] {
        fs::write(server.folder().join(name), name)?;
    }
    for (pattern, expected) in [
        ("*.txt", &["a.b.txt", "alpha.txt", "beta.TXT"][..]),
        ("beta", &["beta"]),
        ("BETA*", &["beta", "beta.TXT"]),
        ("?????.*", &["alpha.txt", "gamma.doc"]),
        ("a*", &["a.b.txt", "alpha.txt"]),
    ] {
        let run = Client::new(server).run(&format!("ls {pattern}"))?.success()?;
        let mut found: Vec<&str> = run.text().lines().filter_map(listed_name).collect();
        found.sort_unstable();
        if found != expected {
            return Err(format!("ls {pattern} gave {found:?}, expected {expected:?}").into());
        }
    }
    Client::new(server).run("ls nothing*")?.refused(&["NT_STATUS_NO_SUCH_FILE"])?;
    Ok(())
}

/// The name in a line of `ls`: two blanks, the name, the attributes.
fn listed_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix("  ")?.split_whitespace().next()?;
    (!matches!(name, "." | "..")).then_some(name)
}
