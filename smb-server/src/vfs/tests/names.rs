//! Names that clients have in another form: with reserved characters, and short ones.

use super::*;

on_each_backend! {
    what_stands_for_reserved_characters_leads_to_files_that_have_them,
    what_already_stands_on_disk_is_found_and_is_never_two_files,
    a_name_is_made_and_told_in_the_form_of_clients,
    a_dot_at_the_end_is_listed_mapped_and_opens_either_way,
    other_mappings_map_otherwise,
    a_short_name_leads_to_the_file_in_every_place_of_a_path,
    long_names_win_over_short_ones,
    a_rename_to_a_short_name_replaces_the_file_and_keeps_the_long_one,
    a_file_made_anew_by_its_short_name_has_its_long_one_again,
    each_of_many_files_is_found_by_its_short_name,
}

fn short(name: &str) -> String {
    short_name::of(name).unwrap()
}

async fn listed(bench: &Bench) -> Vec<String> {
    let entries = bench.list("").await;
    names(&entries).into_iter().filter(|name| !name.starts_with('.')).map(str::to_owned).collect()
}

async fn what_stands_for_reserved_characters_leads_to_files_that_have_them(bench: Bench) {
    fs::create_dir(bench.on_disk("What?")).unwrap();
    for (disk, client) in [
        ("a:b", "a\u{f022}b"),
        ("<*>|\"", "\u{f023}\u{f021}\u{f024}\u{f027}\u{f020}"),
        ("back\\slash", "back\u{f026}slash"),
        ("line\nfeed", "line\u{f00a}feed"),
        ("What?/blank ", "What\u{f025}\\blank\u{f028}"),
        ("What?/..\\up", "What\u{f025}\\..\u{f026}up"),
    ] {
        bench.write(disk, disk);
        let handle = bench.existing(client).await;
        assert_eq!(
            (handle.path().as_str(), handle.metadata().await.unwrap().size),
            (client, disk.len() as u64)
        );
        // And in another case.
        assert_eq!(bench.existing(&client.to_uppercase()).await.path(), client);
    }
    let found = listed(&bench).await;
    let expected = [
        "What\u{f025}",
        "a\u{f022}b",
        "back\u{f026}slash",
        "line\u{f00a}feed",
        "\u{f023}\u{f021}\u{f024}\u{f027}\u{f020}",
    ];
    assert_eq!(found, expected);
}

async fn what_already_stands_on_disk_is_found_and_is_never_two_files(bench: Bench) {
    for name in ["a\u{f022}b", "c\u{f022}d:e", "«"] {
        bench.write(name, name);
    }
    for (client, disk) in [
        ("a\u{f022}b", "a\u{f022}b"),
        ("A\u{f022}B", "a\u{f022}b"),
        ("c\u{f022}d\u{f022}e", "c\u{f022}d:e"),
        ("«", "«"),
    ] {
        let opened = bench.open(client, writing(Disposition::OpenIf)).await.unwrap();
        assert_eq!(opened.action, Action::Opened);
        assert_eq!(opened.handle.metadata().await.unwrap().size, disk.len() as u64, "{client}");
    }
    assert_eq!(listed(&bench).await, ["a\u{f022}b", "c\u{f022}d\u{f022}e", "«"]);
    // Now another file has the name that is meant.
    bench.write("a:b", "1");
    assert_eq!(bench.existing("a\u{f022}b").await.metadata().await.unwrap().size, 1);
    assert_eq!(listed(&bench).await, ["a\u{f022}b", "c\u{f022}d\u{f022}e", "«"]);
    bench.existing("a\u{f022}b").await.remove().await.unwrap();
    assert_eq!(bench.names(""), ["a\u{f022}b", "c\u{f022}d:e", "«"]);
}

async fn a_name_is_made_and_told_in_the_form_of_clients(bench: Bench) {
    let root = bench.existing("").await;
    let opened = bench.open("new\u{f022}1", writing(Disposition::Create)).await.unwrap();
    assert_eq!(bench.names(""), ["new:1"]);
    assert_eq!(opened.handle.path(), "new\u{f022}1");
    let from = opened.handle.share_path();
    opened.handle.rename(&path("NEW\u{f022}2\u{f025}"), false, &()).await.unwrap();
    assert_eq!(bench.names(""), ["NEW:2?"]);
    let told = |path| root.name_below(&path);
    assert_eq!(told(from).as_deref(), Some("new\u{f022}1"));
    assert_eq!(told(opened.handle.share_path()).as_deref(), Some("NEW\u{f022}2\u{f025}"));
    assert_error!(
        bench.open("new\u{f022}2\u{f025}", writing(Disposition::Create)).await,
        Error::Exists
    );
    let stream = bench.open("s\u{f022}t:u\u{f022}v", writing(Disposition::Create)).await.unwrap();
    assert_eq!(stream.handle.path(), "s\u{f022}t:u\u{f022}v");
    assert_eq!(bench.names(""), ["NEW:2?", "s:t"]);
}

async fn a_dot_at_the_end_is_listed_mapped_and_opens_either_way(bench: Bench) {
    bench.open("a.", writing(Disposition::Create)).await.unwrap();
    bench.open("b\u{f029}", writing(Disposition::Create)).await.unwrap();
    assert_eq!(bench.names(""), ["a.", "b."]);
    assert_eq!(listed(&bench).await, ["a\u{f029}", "b\u{f029}"]);
    for name in ["a.", "a\u{f029}", "A.", "A\u{f029}"] {
        assert_eq!(bench.existing(name).await.path(), "a\u{f029}");
    }
}

async fn other_mappings_map_otherwise(_: Bench) {
    for (mapping, shown, sent) in
        [(Mapping::Catia, &["a÷b", "c."][..], "d¿"), (Mapping::None, &["c."], "d\u{f025}")]
    {
        let bench = Bench::with(mapping);
        bench.write("a:b", "");
        bench.write("c.", "");
        assert_eq!(listed(&bench).await, shown);
        bench.open(sent, writing(Disposition::Create)).await.unwrap();
        let made = if mapping == Mapping::Catia { "d?" } else { sent };
        assert!(bench.on_disk(made).exists(), "{mapping:?}");
    }
}

async fn a_short_name_leads_to_the_file_in_every_place_of_a_path(bench: Bench) {
    fs::create_dir_all(bench.on_disk("Documents of mine/Größe: 3")).unwrap();
    bench.write("Documents of mine/Größe: 3/Read me first.html", "");
    let (outer, inner) = (short("Documents of mine"), short("Größe\u{f022} 3"));
    let file = short("Read me first.html");
    let whole = "Documents of mine\\Größe\u{f022} 3\\Read me first.html";
    for name in [
        format!("{outer}\\{inner}\\{file}"),
        format!("{outer}\\{inner}\\{file}").to_lowercase(),
        format!("Documents of mine\\{inner}\\read ME first.html"),
    ] {
        assert_eq!(bench.existing(&name).await.path(), whole);
        assert_error!(bench.open(&name, writing(Disposition::Create)).await, Error::Exists);
    }
    let new = format!("{outer}\\{inner}\\new");
    let created = bench.open(&new, writing(Disposition::Create)).await.unwrap().handle;
    assert_eq!(created.path(), "Documents of mine\\Größe\u{f022} 3\\new");
    created.rename(&path(&format!("{outer}\\moved")), false, &()).await.unwrap();
    assert_eq!(bench.names("Documents of mine"), ["Größe: 3", "moved"]);
    assert_error!(bench.open(&short("another name"), ATTRIBUTES).await, Error::NotFound);
}

async fn long_names_win_over_short_ones(bench: Bench) {
    let name = short("the long name");
    bench.write("the long name", "long");
    assert_eq!(bench.existing(&name).await.path(), "the long name");
    bench.write(&name.to_lowercase(), "in another case");
    assert_eq!(bench.existing(&name).await.path(), name.to_lowercase());
    bench.write(&name, "exactly");
    assert_eq!(bench.existing(&name).await.path(), name);
    assert_eq!(bench.existing("THE LONG NAME").await.path(), "the long name");
}

async fn a_rename_to_a_short_name_replaces_the_file_and_keeps_the_long_one(bench: Bench) {
    let (name, to) = ("the long name.txt", path(&short("the long name.txt")));
    bench.write(name, "old");
    bench.write("temp", "new");
    let temp = bench.existing("temp").await;
    assert_error!(temp.rename(&to, false, &()).await, Error::Exists);
    temp.rename(&to, true, &()).await.unwrap();
    assert_eq!((bench.names(""), bench.content(name)), (vec![name.to_owned()], "new".to_owned()));
    assert_eq!(temp.path(), name);
    // To its own short name, which leads to it anyway.
    temp.rename(&to, false, &()).await.unwrap();
    assert_eq!((bench.names(""), temp.path().as_str()), (vec![name.to_owned()], name));
}

/// MS-FSA 2.1.1.2 and 2.1.5.1.1.
async fn a_file_made_anew_by_its_short_name_has_its_long_one_again(bench: Bench) {
    let (name, by) = ("a: long name", short("a\u{f022} long name"));
    bench.write(name, "");
    bench.existing(&by).await.remove().await.unwrap();
    assert_eq!(bench.names(""), [""; 0]);
    let again = bench.open(&by, writing(Disposition::Create)).await.unwrap();
    assert_eq!(
        (again.action, again.handle.path().as_str()),
        (Action::Created, "a\u{f022} long name")
    );
    assert_eq!(bench.names(""), [name]);
    // Likewise if it went by a rename, and something else comes by one.
    bench.existing(&by).await.rename(&path("backup"), false, &()).await.unwrap();
    bench.write("temp", "");
    bench.existing("temp").await.rename(&path(&by), false, &()).await.unwrap();
    assert_eq!(bench.names(""), [name, "backup"]);
    // Who removes it by its long name wants no long name for the short one.
    let other = short("another name");
    bench.write("another name", "");
    bench.existing("another name").await.remove().await.unwrap();
    bench.open(&other, writing(Disposition::Create)).await.unwrap();
    assert!(bench.on_disk(&other).exists());
}

async fn each_of_many_files_is_found_by_its_short_name(bench: Bench) {
    let name = |number| format!("one of many files, {number}");
    for number in 0..500 {
        bench.write(&name(number), "");
    }
    for number in 0..500 {
        assert_eq!(bench.existing(&short(&name(number))).await.path(), name(number));
    }
}
