//! File names as people write them: blanks, umlauts in both normal forms, characters outside the BMP, full length, and
//! a case that is kept but does not matter; with characters that SMB reserves; and the short names of programs that know
//! no others.

mod support;

use std::fs;
use std::process::ExitCode;

use support::content::{same_file, tree};
use support::{Client, Need, Outcome, Serve, Server, ensure};

fn main() -> ExitCode {
    let trial = |name, body: fn(&Server) -> Outcome| {
        support::served(name, &[Need::Smbclient], Serve::new(), body)
    };
    support::run(vec![
        trial("names with blanks, umlauts and emoji are stored as written", stored_as_written),
        trial("composed and decomposed umlauts are two names", normal_forms),
        trial("a name of 255 units works and one of 256 is refused", longest),
        trial("255 units that are more than 255 bytes are refused, not cut", too_many_bytes),
        trial("a file opens in any case and keeps its own", case_kept),
        trial("folders in a path match in any case", case_of_folders),
        trial("a rename may change nothing but the case", case_rename),
        trial("case folds beyond ASCII", case_beyond_ascii),
        trial(
            "two names on the disk that differ in case alone are both reachable exactly",
            case_twins,
        ),
        trial("names on the disk with reserved characters are listed, fetched and made", reserved),
        trial("a share may have other characters for them, or none", other_mappings),
        trial("a file is fetched, listed and deleted by the short name that it tells", short_names),
    ])
}

fn stored_as_written(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let names = [
        "with blanks in it.txt",
        "Übergrößenträger.txt",
        "Grüße aus München & Köln (2026) [neu].txt",
        "Ελληνικά кириллица 日本語.txt",
        "😀 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🏳️‍🌈.txt",
        "#%$!'~,=+@^{}-_.txt",
        ".hidden",
    ];
    for name in names {
        fs::write(local.join(name), name)?;
        let client = Client::new(server).local(&local);
        client.run(&format!("put \"{name}\" \"{name}\"; get \"{name}\" back"))?.success()?;
        same_file(&local.join(name), &server.folder().join(name))?;
        same_file(&local.join(name), &local.join("back"))?;
        client.run("ls")?.success()?.says(&format!("  {name} "))?;
        client.run(&format!("del \"{name}\""))?.success()?;
    }
    let left = tree(&server.folder())?;
    if left.is_empty() { Ok(()) } else { Err(format!("not deleted: {left:?}").into()) }
}

fn normal_forms(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let (composed, decomposed) = ("\u{fc}ber", "u\u{308}ber");
    fs::write(local.join("one"), "composed")?;
    fs::write(local.join("two"), "decomposed")?;
    let client = Client::new(server).local(&local);
    client
        .run(&format!("put one {composed}; put two {decomposed}; get {composed} back"))?
        .success()?;
    same_file(&local.join("one"), &server.folder().join(composed))?;
    same_file(&local.join("two"), &server.folder().join(decomposed))?;
    same_file(&local.join("one"), &local.join("back"))
}

fn longest(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    fs::write(local.join("f"), "long name")?;
    let client = Client::new(server).local(&local);
    let name = &"n".repeat(255);
    client.run(&format!("put f {name}; get {name} back"))?.success()?.says("getting file")?;
    same_file(&local.join("f"), &server.folder().join(name))?;
    let refusal = [
        "NT_STATUS_OBJECT_NAME_INVALID",
        "NT_STATUS_OBJECT_PATH_NOT_FOUND",
        "NT_STATUS_NAME_TOO_LONG",
    ];
    client.run(&format!("put f {name}n"))?.refused(&refusal)?;
    let names = tree(&server.folder())?.len();
    if names == 1 {
        Ok(())
    } else {
        Err(format!("{names} names in the folder, expected one").into())
    }
}

fn too_many_bytes(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    fs::write(local.join("f"), "x")?;
    Client::new(server)
        .local(&local)
        .run(&format!("put f {}", "ü".repeat(255)))?
        .refused(&["NT_STATUS_"])?;
    let left = tree(&server.folder())?;
    if left.is_empty() { Ok(()) } else { Err(format!("a cut name was made: {left:?}").into()) }
}

fn case_kept(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    fs::write(local.join("f"), "first")?;
    fs::write(local.join("g"), "second")?;
    let client = Client::new(server).local(&local);
    client
        .run("put f ReadMe.TXT; get README.txt back; ls readme.txt")?
        .success()?
        .says("  ReadMe.TXT ")?;
    same_file(&local.join("f"), &local.join("back"))?;
    client.run("put g readme.txt")?.success()?;
    same_file(&local.join("g"), &server.folder().join("ReadMe.TXT"))?;
    expect_names(server, &["ReadMe.TXT"])
}

fn case_of_folders(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    fs::create_dir_all(server.folder().join("Outer/Inner"))?;
    fs::write(server.folder().join("Outer/Inner/File"), "deep")?;
    let client = Client::new(server).local(&local);
    client
        .run("get OUTER\\inner\\FILE back; cd outer; cd INNER; ls")?
        .success()?
        .says("  File ")?;
    client.run("mkdir OUTER")?.refused(&["NT_STATUS_OBJECT_NAME_COLLISION"])?;
    same_file(&server.folder().join("Outer/Inner/File"), &local.join("back"))
}

fn case_rename(server: &Server) -> Outcome {
    fs::write(server.folder().join("name"), "x")?;
    Client::new(server).run("rename name NAME")?.success()?;
    expect_names(server, &["NAME"])
}

fn case_beyond_ascii(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    fs::write(server.folder().join("Äpfel und Öl"), "x")?;
    fs::write(server.folder().join("Σίγμα"), "y")?;
    let run =
        Client::new(server).local(&local).run("get \"äPFEL UND öL\" one; get \"ΣΊΓΜΑ\" two")?;
    run.success()?;
    same_file(&server.folder().join("Äpfel und Öl"), &local.join("one"))?;
    same_file(&server.folder().join("Σίγμα"), &local.join("two"))
}

fn case_twins(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    fs::write(server.folder().join("twin"), "small")?;
    fs::write(server.folder().join("TWIN"), "large")?;
    Client::new(server).local(&local).run("get twin a; get TWIN b")?.success()?;
    same_file(&server.folder().join("twin"), &local.join("a"))?;
    same_file(&server.folder().join("TWIN"), &local.join("b"))
}

fn reserved(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let folder = server.folder();
    fs::create_dir(folder.join("When? Now."))?;
    let client = Client::new(server).local(&local);
    // As Linux and macOS send them, by the table of Services for Macintosh.
    for (path, name, sent) in [
        ("12:30.log", "12\u{f022}30.log", "12\u{f022}30.log"),
        ("<\"a|b*\">", "\u{f023}\u{f020}a\u{f027}b\u{f021}\u{f020}\u{f024}", ""),
        ("back\\slash", "back\u{f026}slash", ""),
        ("two\nlines", "two\u{f00a}lines", ""),
        ("When? Now./blank ", "blank\u{f028}", "When\u{f025} Now\u{f029}\\blank\u{f028}"),
    ] {
        fs::write(folder.join(path), path)?;
        let sent = if sent.is_empty() { name } else { sent };
        let list = format!("ls \"{sent}\"; get \"{sent}\" back");
        client.run(&list)?.success()?.says(&format!("  {name} "))?;
        same_file(&folder.join(path), &local.join("back"))?;
    }
    client
        .run("ls")?
        .success()?
        .says("  12\u{f022}30.log ")?
        .says("  When\u{f025} Now\u{f029} ")?;
    fs::write(local.join("f"), "new")?;
    let made = "put f \"a\u{f022}b\"; rename \"a\u{f022}b\" \"c\u{f025}\"; mkdir \"d\u{f029}\"";
    client.run(made)?.success()?;
    same_file(&local.join("f"), &folder.join("c?"))?;
    let is_made = folder.join("d.").is_dir() && !folder.join("a:b").exists();
    ensure(is_made, || format!("on the disk: {:?}", tree(&folder)))
}

fn other_mappings(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let folder = server.folder();
    let share = |name: &str| format!("--share={name}={},{name}", folder.display());
    let other = Serve::new().argument(&share("catia")).argument(&share("no-mapping")).start()?;
    fs::write(folder.join("12:30"), "x")?;
    let client = |share| Client::new(&other).share(share).local(&local);
    client("catia").run("ls; get 12÷30 back")?.success()?.says("  12÷30 ")?;
    same_file(&folder.join("12:30"), &local.join("back"))?;
    let run = client("no-mapping").run("put back plain; ls")?.success()?.says("  plain ")?;
    ensure(!run.text().contains("30 "), || format!("it is listed:\n{}", run.text()))
}

fn short_names(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let name = "Report of the year.text";
    fs::write(server.folder().join(name), "contents")?;
    fs::write(server.folder().join("other"), "")?;
    let client = Client::new(server).local(&local);
    let run = client.run(&format!("allinfo \"{name}\""))?.success()?;
    let told = run.text().lines().find_map(|line| line.strip_prefix("altname: "));
    let short = told.ok_or_else(|| format!("no short name:\n{}", run.text()))?;
    let is_short = short.len() == "12345678.123".len() && short.ends_with(".TEX");
    ensure(is_short, || format!("{short:?} is not of eight and three characters"))?;
    let listed = client.run(&format!("ls {short}; get {short} back"))?.success()?;
    listed.says(&format!("  {name} "))?;
    same_file(&server.folder().join(name), &local.join("back"))?;
    client.run(&format!("allinfo other; del {short}"))?.success()?.says("altname: other\n")?;
    expect_names(server, &["other"])
}

fn expect_names(server: &Server, expected: &[&str]) -> Outcome {
    let found: Vec<_> =
        tree(&server.folder())?.into_keys().map(|name| name.display().to_string()).collect();
    if found == expected {
        Ok(())
    } else {
        Err(format!("on the disk: {found:?}, expected {expected:?}").into())
    }
}
