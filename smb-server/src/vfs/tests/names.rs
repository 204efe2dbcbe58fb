//! Names that clients have in another form.

use super::*;

on_each_backend! {
    what_stands_for_reserved_characters_leads_to_files_that_have_them,
    what_already_stands_on_disk_is_found_and_is_never_two_files,
    a_name_is_made_and_told_in_the_form_of_clients,
    a_dot_at_the_end_is_listed_mapped_and_opens_either_way,
    other_mappings_map_otherwise,
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
    let told = |path| root.name_below(&opened.handle, &path);
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
