//! Hard links, symbolic links and reparse points, by smbclient and over raw SMB.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Failed;
use support::content::{expect_names, same_text};
use support::requests::{Create, FileId, access, attribute, close, nt, query_directory};
use support::restrict::{NOBODY, Restriction};
use support::server::{PASSWORD, SHARE};
use support::session::{HEADER, Session, command, expect, status, u32_at, utf16};
use support::{Client, Need, Outcome, Serve, Server, ensure};

/// An account of every unix that nothing else here works as.
const DAEMON: u32 = 1;

fn main() -> ExitCode {
    let raw = |name, body: fn(&Server) -> Outcome| support::served(name, &[], Serve::new(), body);
    let client = |name, body: fn(&Server) -> Outcome| {
        support::served(name, &[Need::Smbclient], Serve::new(), body)
    };
    support::run(vec![
        client("smbclient makes a hard link", hard_link),
        raw("a hard link is counted, and the file goes with its last name", counted),
        raw("a hard link replaces what is closed, if told to", replacing),
        raw("directories, streams and what is to be deleted get no other name", no_hard_link),
        support::served(
            "a hard link lets nobody in whom the first name keeps out",
            &[Need::Root],
            with_accounts(),
            same_rights,
        ),
        client("smbclient lists links that lead nowhere, and deletes them", listed),
        raw("a path is stopped at a link that leads nowhere or out", stopped),
        client("smbclient reads where a path is stopped, with contexts and without", both_forms),
        raw("a link is opened, renamed and deleted itself", opened_itself),
        raw("what is related to a CREATE that is stopped fails alike", related),
        client("smbclient makes links on disk and such as only clients know", links_by_client),
        raw("an open goes over to the link that it has made, and back", goes_over),
        raw("reparse data are checked", checked),
        raw("what only a client can make sense of is kept for it", kept),
        raw("a link is made of nothing that would be lost", nothing_lost),
        support::served(
            "an unprivileged server's users make links, too",
            &[],
            Serve::new().restricted(Restriction::Unprivileged),
            goes_over,
        ),
        support::served(
            "links are made on epoll as on a ring",
            &[],
            Serve::new().backend("epoll"),
            goes_over,
        ),
    ])
}

/// Two users who work as the unix accounts of their names.
fn with_accounts() -> Serve {
    let user = |name| format!("--user={name}:{PASSWORD}");
    Serve::new().argument(&user("nobody")).argument(&user("daemon"))
}

fn in_share(server: &Server) -> Result<Session, Failed> {
    Session::in_share(server.address)
}

// ---- hard links

fn hard_link(server: &Server) -> Outcome {
    fs::write(server.folder().join("file"), "contents")?;
    fs::create_dir(server.folder().join("dir"))?;
    Client::new(server).run(r"hardlink file dir\twin")?.success()?;
    let inode = |name: &str| Ok::<_, Failed>(fs::metadata(server.folder().join(name))?.ino());
    ensure(inode("file")? == inode("dir/twin")?, || "another file".into())?;
    let taken = Client::new(server).run(r"hardlink file dir\TWIN")?;
    taken.refused(&["NT_STATUS_OBJECT_NAME_COLLISION"])?;
    Ok(())
}

fn counted(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    fs::write(server.folder().join("file"), "contents")?;
    fs::set_permissions(server.folder().join("file"), Permissions::from_mode(0o444))?;
    // As the client of Linux opens it.
    let file = session.opened(Create::open("file", access::READ_ATTRIBUTES))?;
    expect(session.link(file, r"\twin", false)?, nt::SUCCESS, "a link to a file that is READONLY")?;
    ensure(session.links(file)? == 2, || "two names are not two".into())?;
    session.close(file)?;
    for name in ["file", "twin"] {
        fs::set_permissions(server.folder().join(name), Permissions::from_mode(0o644))?;
        let file = session.opened(Create::open(name, access::ALL).delete_on_close())?;
        session.close(file)?;
        if name == "file" {
            same_text(&fs::read_to_string(server.folder().join("twin"))?, "contents")?;
        }
    }
    expect_names(&server.folder(), &[])
}

fn replacing(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    for name in ["file", "other"] {
        fs::write(server.folder().join(name), name)?;
    }
    let file = session.opened(Create::open("file", access::ALL))?;
    let other = session.opened(Create::open("other", access::READ))?;
    let taken = session.link(file, "other", false)?;
    expect(taken, nt::OBJECT_NAME_COLLISION, "a link with a name that is taken")?;
    expect(session.link(file, "other", true)?, nt::ACCESS_DENIED, "one in place of an open file")?;
    session.close(other)?;
    expect(session.link(file, "OTHER", true)?, nt::SUCCESS, "one in place of a file")?;
    expect(session.link(file, "other", true)?, nt::SUCCESS, "one that is there")?;
    ensure(session.links(file)? == 2, || "two names are not two".into())?;
    same_text(&fs::read_to_string(server.folder().join("other"))?, "file")?;
    expect_names(&server.folder(), &["file", "other"])
}

fn no_hard_link(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let dir = session.opened(Create::open("dir", access::ALL).or_create().directory())?;
    expect(session.link(dir, "twin", false)?, nt::FILE_IS_A_DIRECTORY, "a link to a directory")?;
    let stream = session.opened(Create::open("file:stream", access::ALL).or_create())?;
    expect(session.link(stream, "twin", false)?, nt::INVALID_PARAMETER, "a link to a stream")?;
    let file = session.opened(Create::open("file", access::ALL))?;
    expect(session.link(file, "twin:stream", false)?, nt::INVALID_PARAMETER, "a stream as a link")?;
    expect(session.mark_deleted(file)?, nt::SUCCESS, "a deletion")?;
    expect(session.link(file, "twin", false)?, nt::ACCESS_DENIED, "a link to what goes")?;
    expect_names(&server.folder(), &["dir", "file"])
}

/// What a file was handed down by its folder goes with it into another.
fn same_rights(server: &Server) -> Outcome {
    for (name, owner) in [("closed", NOBODY), ("open", DAEMON)] {
        let path = server.folder().join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o777))?;
        chown(&path, Some(owner), Some(owner))?;
    }
    let mut nobody = Session::of_user("nobody", server.address, SHARE)?;
    let folder = nobody.opened(Create::open("closed", access::WRITE_DAC).directory())?;
    let rights = [(NOBODY, access::ALL), (DAEMON, access::READ)];
    expect(nobody.set_dacl(folder, &rights)?, nt::SUCCESS, "the DACL")?;
    // Made without SMB, it has no descriptor of its own.
    let path = server.folder().join("closed/file");
    fs::write(&path, "contents")?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    // The kernel lets others than its owner link only what they may write.
    chown(&path, Some(DAEMON), Some(DAEMON))?;
    let mut daemon = Session::of_user("daemon", server.address, SHARE)?;
    daemon.refused(Create::open(r"closed\file", access::WRITE_DATA), nt::ACCESS_DENIED)?;
    let file = daemon.opened(Create::open(r"closed\file", access::READ))?;
    expect(daemon.link(file, r"open\file", false)?, nt::SUCCESS, "the link")?;
    daemon.refused(Create::open(r"open\file", access::WRITE_DATA), nt::ACCESS_DENIED)?;
    // A link is something made in the folder, and takes the right to.
    let file = daemon.opened(Create::open(r"open\file", access::READ))?;
    expect(daemon.link(file, r"closed\twin", false)?, nt::ACCESS_DENIED, "a link in there")
}

// ---- symbolic links

/// IO_REPARSE_TAG_SYMLINK, MS-FSCC 2.1.2.1.
const SYMLINK: u32 = 0xa000_000c;

const GET_REPARSE_POINT: u32 = 0x0009_00a8;

fn listed(server: &Server) -> Outcome {
    fs::write(server.folder().join("file"), "contents")?;
    for (target, name) in [("file", "good"), ("nothing", "nowhere"), ("/etc", "outward")] {
        symlink(target, server.folder().join(name))?;
    }
    let listing = Client::new(server).run("ls; allinfo nowhere; allinfo outward")?.success()?;
    let listing = listing.says("  good                                A        8")?;
    // As smbclient shows the attribute of a reparse point, and what one is.
    let listing = listing.says("  nowhere                             r        0")?;
    listing.says("attributes: r (400)")?.says(r"\etc")?;
    Client::new(server).run("del nowhere; del outward; del good")?.success()?;
    expect_names(&server.folder(), &["file"])?;
    same_text(&fs::read_to_string(server.folder().join("file"))?, "contents")
}

/// The error data, MS-SMB2 2.2.2.2.1: bytes of the path left over, the substitute name, and whether that is relative.
fn link_error(data: &[u8]) -> Result<(u32, String, bool), Failed> {
    expect(u32_at(data, 0)?, u32::try_from(data.len())? - 4, "SymLinkLength")?;
    expect(u32_at(data, 4)?, 0x4c4d_5953, "SymLinkErrorTag")?;
    let (substitute, relative) = link_data(data.get(8..).unwrap_or_default())?;
    Ok((u32_at(data, 12)? >> 16, substitute, relative))
}

/// A symbolic link's reparse point, MS-FSCC 2.1.2.4: the substitute name, and whether it is relative.
fn link_data(data: &[u8]) -> Result<(String, bool), Failed> {
    expect(u32_at(data, 0)?, SYMLINK, "the tag")?;
    let length = usize::try_from(u32_at(data, 4)? & 0xffff)?;
    ensure(data.len() == 8 + length, || format!("{} bytes with {length}", data.len()))?;
    let field = u32_at(data, 8)?;
    let (offset, length) = (usize::try_from(field & 0xffff)?, usize::try_from(field >> 16)?);
    let name = data.get(20 + offset..20 + offset + length).ok_or("a name that is cut off")?;
    let units: Vec<_> =
        name.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    Ok((String::from_utf16(&units)?, u32_at(data, 16)? == 1))
}

/// A folder with links, and paths that are stopped: what is left of them, where the link leads, and whether that is
/// relative.
fn with_links(server: &Server) -> Result<Vec<(&'static str, u32, &'static str, bool)>, Failed> {
    let folder = server.folder();
    fs::create_dir_all(folder.join("dir/sub"))?;
    symlink("sub", folder.join("dir/inward"))?;
    symlink("../../../secret/x", folder.join("dir/sub/outward"))?;
    symlink("nothing", folder.join("nowhere"))?;
    symlink("/etc", folder.join("absolute"))?;
    symlink("circle", folder.join("circle"))?;
    let outward = r"..\..\..\secret\x";
    Ok(vec![
        (r"dir\inward\outward\a\bc", 2 * 5, outward, true),
        (r"DIR\sub\outward", 0, outward, true),
        (r"dir\..\absolute\passwd", 2 * 7, r"\etc", false),
        (r"nowhere", 0, "nothing", true),
        (r"nowhere\𝄞", 2 * 3, "nothing", true),
        (r"nowhere\a\", 2 * 3, "nothing", true),
        (r"nowhere:stream", 2 * 7, "nothing", true),
        (r"circle\x", 2 * 2, "circle", true),
    ])
}

fn stopped(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let paths = with_links(server)?;
    for (name, unparsed, target, relative) in paths {
        for create in [
            Create::open(name, access::READ_ATTRIBUTES),
            Create::open(name, access::ALL).or_create(),
        ] {
            let answer = session.call(command::CREATE, &create.body()?)?;
            expect(status(&answer), nt::STOPPED_ON_SYMLINK, name)?;
            ensure(answer.get(HEADER + 2) == Some(&0), || "an error context".into())?;
            let length = usize::try_from(u32_at(&answer, HEADER + 4)?)?;
            let data = answer.get(HEADER + 8..HEADER + 8 + length).ok_or("no error data")?;
            let found = link_error(data)?;
            let expected = (unparsed, target.to_owned(), relative);
            ensure(found == expected, || format!("{name}: {found:?} in place of {expected:?}"))?;
        }
    }
    expect_names(&server.folder(), &["absolute", "circle", "dir", "nowhere"])
}

/// In 3.1.1 the error data stands in a context, MS-SMB2 2.2.2.1; smbclient says so where it finds anything else.
fn both_forms(server: &Server) -> Outcome {
    symlink("nothing", server.folder().join("nowhere"))?;
    for dialect in ["SMB2_10", "SMB3_11"] {
        let run = Client::new(server).only_dialect(dialect).run("get nowhere -")?;
        run.refused(&["NT_STATUS_STOPPED_ON_SYMLINK"])?;
    }
    Ok(())
}

fn opened_itself(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let folder = server.folder();
    fs::write(folder.join("file"), "contents")?;
    fs::create_dir(folder.join("dir"))?;
    let links =
        [("file", "to-file"), ("dir", "to-dir"), ("nothing", "to-nothing"), ("/etc", "outward")];
    for (target, name) in links {
        symlink(target, folder.join(name))?;
        let open = Create::open(name, access::ALL).reparse_point();
        let (open, attributes) = match name {
            "to-dir" => {
                session.refused(open.file(), nt::FILE_IS_A_DIRECTORY)?;
                (open.directory(), attribute::REPARSE_POINT | attribute::DIRECTORY)
            }
            _ => {
                session.refused(open.directory(), nt::NOT_A_DIRECTORY)?;
                (open.file(), attribute::REPARSE_POINT)
            }
        };
        let link = session.opened(open)?;
        let found = session.attribute_tag(link)?;
        ensure(found == (attributes, SYMLINK), || format!("{name}: {found:x?}"))?;
        let (status, data) = session.control(link, GET_REPARSE_POINT, b"")?;
        expect(status, nt::SUCCESS, "FSCTL_GET_REPARSE_POINT")?;
        let expected = (target.replace('/', "\\"), !target.starts_with('/'));
        ensure(link_data(&data)? == expected, || format!("{name}: {data:x?}"))?;
        expect(session.write(link, 0, b"x")?, nt::ACCESS_DENIED, "a WRITE to a link")?;
        // Others may open it as little as a file; what it leads to is another's matter.
        session.refused(open.exclusive(), SHARING_VIOLATION)?;
        expect(session.rename(link, "renamed")?, nt::SUCCESS, "a rename")?;
        ensure(fs::read_link(folder.join("renamed"))? == Path::new(target), || "no link".into())?;
        expect(session.mark_deleted(link)?, nt::SUCCESS, "a deletion")?;
        session.close(link)?;
        expect_names(&folder, &["dir", "file"])?;
    }
    let file = session.opened(Create::open("file", access::ALL).reparse_point())?;
    let (status, _) = session.control(file, GET_REPARSE_POINT, b"")?;
    expect(status, nt::NOT_A_REPARSE_POINT, "the reparse point of a file")
}

const SHARING_VIOLATION: u32 = 0xc000_0043;

fn related(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    symlink("nothing", server.folder().join("nowhere"))?;
    let create = Create::open("nowhere", access::ALL).body()?;
    let mut message = session.request(command::CREATE, &create);
    message.resize(message.len().next_multiple_of(8), 0);
    let length = u32::try_from(message.len())?;
    message[20..24].copy_from_slice(&length.to_le_bytes()); // NextCommand
    let mut second = session.request(command::CLOSE, &close([0xff; 16]));
    second[16] = 4; // SMB2_FLAGS_RELATED_OPERATIONS
    session.wire.send(&[message, second].concat())?;
    let answer = session.wire.receive()?.ok_or("closed instead of an answer")?;
    let next = usize::try_from(u32_at(&answer, 20)?)?;
    expect(status(&answer), nt::STOPPED_ON_SYMLINK, "the CREATE")?;
    expect(status(&answer[next..]), nt::STOPPED_ON_SYMLINK, "the CLOSE")
}

const SET_REPARSE_POINT: u32 = 0x0009_00a4;
const DELETE_REPARSE_POINT: u32 = 0x0009_00ac;

/// A whole reparse point, MS-FSCC 2.1.2.2.
fn point(tag: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&tag.to_le_bytes(), &length[..], &[0, 0], data].concat()
}

/// A symbolic link as Windows makes it, MS-FSCC 2.1.2.4: the substitute name, and the print name behind it.
fn link_to(target: &str, relative: bool) -> Result<Vec<u8>, Failed> {
    let name = utf16(target);
    let length = u16::try_from(name.len())?;
    let mut data = [0, length, length, length].map(u16::to_le_bytes).concat();
    data.extend_from_slice(&u32::from(relative).to_le_bytes());
    Ok(point(SYMLINK, &[data, name.clone(), name].concat()))
}

impl Session {
    fn set_reparse_point(&mut self, file: FileId, data: &[u8]) -> Result<u32, Failed> {
        Ok(self.control(file, SET_REPARSE_POINT, data)?.0)
    }

    fn delete_reparse_point(&mut self, file: FileId, data: &[u8]) -> Result<u32, Failed> {
        Ok(self.control(file, DELETE_REPARSE_POINT, data)?.0)
    }

    fn reparse_point(&mut self, file: FileId) -> Result<Vec<u8>, Failed> {
        let (status, data) = self.control(file, GET_REPARSE_POINT, b"")?;
        expect(status, nt::SUCCESS, "FSCTL_GET_REPARSE_POINT")?;
        Ok(data)
    }
}

/// As mklink opens what is to be a link.
fn new_link(name: &str) -> Create<'_> {
    Create::open(name, access::WRITE_ATTRIBUTES | access::READ_ATTRIBUTES | access::DELETE)
        .or_create()
        .reparse_point()
}

fn links_by_client(server: &Server) -> Outcome {
    fs::create_dir(server.folder().join("dir"))?;
    fs::write(server.folder().join("dir/file"), "contents")?;
    let client = Client::new(server);
    client.run(r"symlink dir\file inside; symlink \\server\share outside")?.success()?;
    ensure(fs::read_link(server.folder().join("inside"))? == Path::new("dir/file"), || {
        "another link".into()
    })?;
    ensure(fs::symlink_metadata(server.folder().join("outside"))?.is_file(), || {
        "a link on disk".into()
    })?;
    client.run("allinfo outside")?.success()?.says("server")?;
    client.run("get outside -")?.refused(&["NT_STATUS_STOPPED_ON_SYMLINK"])?;
    client.run("get inside -")?.success()?.says("contents")?;
    client.run("del inside; del outside")?.success()?;
    expect_names(&server.folder(), &["dir"])
}

fn goes_over(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let folder = server.folder();
    let file = session.opened(Create::open("file", access::ALL).or_create())?;
    expect(session.write(file, 0, b"data")?, nt::SUCCESS, "WRITE")?;
    session.close(file)?;
    let made = session.opened(Create::open("dir", access::ALL).or_create().directory())?;
    session.close(made)?;
    for (name, target) in [("to-file", "file"), ("to-dir", r".\dir"), ("to-nothing", r"dir\no")] {
        goes_over_to(&mut session, &folder, name, target)?;
    }
    let through = session.opened(Create::open("to-file", access::ALL))?;
    expect(session.write(through, 0, b"DATA")?, nt::SUCCESS, "WRITE through a link")?;
    same_text(&fs::read_to_string(folder.join("file"))?, "DATA")?;
    session.close(through)?;
    for name in ["to-file", "to-nothing", "to-dir"] {
        let link = session.opened(new_link(name).delete_on_close())?;
        session.close(link)?;
    }
    // Marked before it is a link, it is the link that goes.
    let link = session.opened(new_link("gone"))?;
    expect(session.mark_deleted(link)?, nt::SUCCESS, "a deletion")?;
    expect(session.set_reparse_point(link, &link_to("file", true)?)?, nt::SUCCESS, "a link")?;
    session.close(link)?;
    expect_names(&folder, &["dir", "file"])
}

/// Makes a link of a new file or directory and something new of the link, and a link again, all by one open.
fn goes_over_to(session: &mut Session, folder: &Path, name: &str, target: &str) -> Outcome {
    let create = new_link(name);
    let create = if name == "to-dir" { create.directory() } else { create.file() };
    let link = session.opened(create)?;
    expect(session.set_reparse_point(link, &link_to(target, true)?)?, nt::SUCCESS, name)?;
    let unix = target.replace('\\', "/");
    ensure(fs::read_link(folder.join(name))? == Path::new(&unix), || format!("{name}: no link"))?;
    ensure(link_data(&session.reparse_point(link)?)? == (target.to_owned(), true), || {
        format!("{name}: another target")
    })?;
    let (attributes, tag) = session.attribute_tag(link)?;
    ensure(attributes & attribute::REPARSE_POINT != 0 && tag == SYMLINK, || {
        format!("{name}: {attributes:x}, {tag:x}")
    })?;
    behaves_as_link(session, link, name)?;
    let about = fs::symlink_metadata(folder.join(name))?;
    ensure(about.is_dir() == (name == "to-dir") && !about.is_symlink(), || {
        format!("{name}: {about:?}")
    })?;
    expect(session.set_reparse_point(link, &link_to(target, true)?)?, nt::SUCCESS, name)?;
    session.close(link)
}

/// Until it is one no longer.
fn behaves_as_link(session: &mut Session, link: FileId, name: &str) -> Outcome {
    // The open is the link's: others meet it there, and its name is the link's.
    session.refused(new_link(name).exclusive(), SHARING_VIOLATION)?;
    expect(session.rename(link, "renamed")?, nt::SUCCESS, "a rename")?;
    expect(session.rename(link, name)?, nt::SUCCESS, "a rename")?;
    let other = session.opened(new_link(name))?;
    let none = point(SYMLINK, b"");
    let busy = session.delete_reparse_point(link, &none)?;
    expect(busy, SHARING_VIOLATION, "what others have open")?;
    session.close(other)?;
    expect(session.delete_reparse_point(link, &none)?, nt::SUCCESS, "the end of a link")?;
    let again = session.delete_reparse_point(link, &none)?;
    expect(again, nt::NOT_A_REPARSE_POINT, "the end of what is no link")?;
    Ok(())
}

/// As Samba's own tests have it of Windows.
fn checked(server: &Server) -> Outcome {
    const INVALID_BUFFER_SIZE: u32 = 0xc000_0206;
    const TAG_INVALID: u32 = 0xc000_0276;
    const TAG_MISMATCH: u32 = 0xc000_0277;
    const DATA_INVALID: u32 = 0xc000_0278;
    let mut session = in_share(server)?;
    let file = session.opened(new_link("file"))?;
    let data = point(0x8000_0025, b"asdfasdfasdf");
    let longer = [&data[..], b"0"].concat();
    for (input, expected) in [
        (&b""[..], INVALID_BUFFER_SIZE),
        (b"0", DATA_INVALID),
        (b"00000000000000", DATA_INVALID),
        (&longer, DATA_INVALID),
        (&data[..data.len() - 1], DATA_INVALID),
        (&point(0x8000_0025, &[0; 16 * 1024]), DATA_INVALID),
        (&point(1, &[0; 16]), DATA_INVALID),
        (&[&point(1, b"")[..], &[0; 16]].concat(), TAG_INVALID),
        (&point(SYMLINK, b"short"), DATA_INVALID),
        (&point(SYMLINK, &[0xff; 20]), DATA_INVALID),
    ] {
        let what = format!("{} bytes, {:x?}", input.len(), &input[..input.len().min(16)]);
        expect(session.set_reparse_point(file, input)?, expected, &what)?;
    }
    expect(session.set_reparse_point(file, &data)?, nt::SUCCESS, "the whole")?;
    let other = point(0x8000_0026, b"");
    expect(session.set_reparse_point(file, &other)?, TAG_MISMATCH, "another tag")?;
    expect(session.delete_reparse_point(file, &other)?, TAG_MISMATCH, "the end of another tag")?;
    expect(session.delete_reparse_point(file, &data)?, DATA_INVALID, "an end with data")?;
    expect(session.delete_reparse_point(file, &data[..7])?, DATA_INVALID, "an end cut off")?;
    let reader = session.opened(Create::open("file", access::READ).reparse_point())?;
    expect(session.set_reparse_point(reader, &data)?, nt::ACCESS_DENIED, "by who may read")?;
    expect(session.delete_reparse_point(reader, &data)?, nt::ACCESS_DENIED, "by who may read")?;
    expect(session.delete_reparse_point(file, &point(0x8000_0025, b""))?, nt::SUCCESS, "the end")?;
    let root = session.opened(Create::open("", access::WRITE_ATTRIBUTES).directory())?;
    expect(session.set_reparse_point(root, &data)?, nt::INVALID_PARAMETER, "the share's folder")
}

fn kept(server: &Server) -> Outcome {
    const TAG_NOT_HANDLED: u32 = 0xc000_0279;
    const NOT_SUPPORTED: u32 = 0xc000_00bb;
    let mut session = in_share(server)?;
    let absolute = link_to(r"\??\C:\folder", false)?;
    let upwards = link_to(r"..\..\secret", true)?;
    let fifo = point(0x8000_0014, b"OFIF\0\0\0\0");
    for (name, data, tag, refusal) in [
        ("absolute", &absolute, SYMLINK, nt::STOPPED_ON_SYMLINK),
        ("upwards", &upwards, SYMLINK, nt::STOPPED_ON_SYMLINK),
        ("fifo", &fifo, 0x8000_0014, TAG_NOT_HANDLED),
    ] {
        let file = session.opened(new_link(name))?;
        expect(session.set_reparse_point(file, data)?, nt::SUCCESS, name)?;
        let mut stored = [0; 256];
        let path = server.folder().join(name);
        let length = rustix::fs::getxattr(&path, "user.SmbReparse", &mut stored)?;
        ensure(stored[..length] == data[..], || format!("{name}: stored as {stored:x?}"))?;
        ensure(fs::symlink_metadata(&path)?.is_file(), || format!("{name}: a link on disk"))?;
        ensure(session.reparse_point(file)? == *data, || format!("{name}: told otherwise"))?;
        ensure(session.attribute_tag(file)?.1 == tag, || format!("{name}: another tag"))?;
        session.close(file)?;
        let stream = format!("{name}:stream");
        session.refused(Create::open(&stream, access::ALL).or_create(), refusal)?;
        ensure(
            rustix::fs::getxattr(&path, "user.DosStream.stream:$DATA", &mut stored).is_err(),
            || format!("{name}: a stream is left behind"),
        )?;
        let answer = session.call(command::CREATE, &Create::open(name, access::READ).body()?)?;
        expect(status(&answer), refusal, name)?;
        if tag == SYMLINK {
            let length = usize::try_from(u32_at(&answer, HEADER + 4)?)?;
            let error = answer.get(HEADER + 8..HEADER + 8 + length).ok_or("no error data")?;
            ensure(link_error(error)?.1 == link_data(data)?.0, || format!("{name}: {error:x?}"))?;
        }
    }
    let dir = session.opened(new_link("dir").directory())?;
    let refused = session.set_reparse_point(dir, &absolute)?;
    expect(refused, NOT_SUPPORTED, "what unix would go through")?;
    let below = session.opened(Create::open(r"dir\file", access::ALL).or_create())?;
    session.close(below)?;
    for data in [&absolute, &link_to("absolute", true)?] {
        let refused = session.set_reparse_point(dir, data)?;
        expect(refused, nt::DIRECTORY_NOT_EMPTY, "a directory with a file in it")?;
    }
    let listing = session.opened(Create::open("", access::READ).directory())?;
    let answer = session.call(command::QUERY_DIRECTORY, &query_directory(listing, "absolute")?)?;
    expect(status(&answer), nt::SUCCESS, "QUERY_DIRECTORY")?;
    // FileIdBothDirectoryInformation: the attributes, and in EaSize's place the tag.
    expect(u32_at(&answer, HEADER + 8 + 64)?, SYMLINK, "the tag in a listing")
}

fn nothing_lost(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let folder = server.folder();
    fs::write(folder.join("full"), "contents")?;
    fs::write(folder.join("linked"), "")?;
    fs::hard_link(folder.join("linked"), folder.join("twin"))?;
    fs::write(folder.join("shared"), "")?;
    let other = session.opened(Create::open("shared", access::ALL))?;
    for name in ["full", "linked", "shared"] {
        let file = session.opened(new_link(name))?;
        // It is one for clients, and on disk what it was.
        expect(session.set_reparse_point(file, &link_to("x", true)?)?, nt::SUCCESS, name)?;
        ensure(fs::symlink_metadata(folder.join(name))?.is_file(), || format!("{name} is gone"))?;
        session.close(file)?;
    }
    expect(session.write(other, 0, b"data")?, nt::SUCCESS, "WRITE")?;
    same_text(&fs::read_to_string(folder.join("shared"))?, "data")?;
    same_text(&fs::read_to_string(folder.join("full"))?, "contents")?;
    expect_names(&folder, &["full", "linked", "shared", "twin"])
}
