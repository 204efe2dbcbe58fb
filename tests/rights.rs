//! What users may do with files that are not theirs, and with the READONLY attribute: tried over raw SMB, since
//! smbclient asks for little at a time and shows less.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Failed;
use support::content::expect_names;
use support::requests::{Create, access, attribute, change_notify, changes, nt};
use support::restrict::{NOBODY, Restriction};
use support::server::{PASSWORD, SHARE};
use support::session::{Session, command, expect, status, u64_at};
use support::{Client, Need, Outcome, Serve, Server, ensure};

/// An account of every unix that nothing else here works as.
const DAEMON: u32 = 1;

fn main() -> ExitCode {
    let unprivileged = || Serve::new().restricted(Restriction::Unprivileged);
    let trial = |name, body: fn(&Server) -> Outcome| {
        support::served(name, &[Need::Root], with_accounts(), body)
    };
    support::run(vec![
        support::served(
            "an unprivileged server's users set READONLY and clear it",
            &[],
            unprivileged(),
            read_only_attribute,
        ),
        support::served(
            "READONLY that may not be set changes nothing",
            &[Need::Root],
            unprivileged(),
            read_only_refused,
        ),
        trial("DELETE is not granted in another's folder", delete_in_foreign_folder),
        trial("in a sticky folder only the owner gets DELETE", sticky_folder),
        trial("the maximal access is no more than there is", maximal_access),
        trial("only the owner sets a security descriptor", only_the_owner),
        trial("a security descriptor takes what the mode gives, in all below", descriptor_denies),
        trial("a security descriptor that is damaged lets nobody in", damaged_descriptor),
        trial("a descriptor with no part in it is not kept", no_part),
        trial("who may not delete a file does not replace it", replaced),
        trial("what is made without SMB has what its folder hands down", made_without_smb),
        trial("a link is handed down nothing for what it leads to", not_by_a_link),
        trial(
            "a file that is moved into a folder does not become that folder's owner's",
            not_by_a_move,
        ),
        trial("files are not given away", not_given_away),
        trial("a descriptor gives what the mode does not, also to the kernel", descriptor_gives),
        trial("who a descriptor lets delete a file deletes it", descriptor_lets_delete),
        trial("who may delete a file may not delete others' links to it", link_stays),
        trial("who takes a file owns it on the disk, too", taken),
        support::served(
            "a share may hide what the user may not read",
            &[Need::Root],
            with_accounts().share_option("hide-unreadable"),
            unreadable_hidden,
        ),
        support::served(
            "a share that hides what the user may not read tells nothing of it",
            &[Need::Root],
            with_accounts().share_option("hide-unreadable"),
            unreadable_not_told,
        ),
        support::served(
            "an unprivileged server keeps security descriptors, too",
            &[],
            unprivileged(),
            unprivileged_descriptor,
        ),
        support::served(
            "the security descriptor says what owner, group and mode say",
            &[Need::Root, Need::Smbclient],
            Serve::new(),
            security_descriptor,
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

fn mode(path: &Path) -> Result<u32, Failed> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

fn expect_mode(path: &Path, expected: u32) -> Outcome {
    let found = mode(path)?;
    ensure(found == expected, || format!("mode {found:o} instead of {expected:o}"))
}

/// Attributes that live in an extended attribute, which only who may write can change, together with the one that takes
/// the permission to write.
fn read_only_attribute(server: &Server) -> Outcome {
    let path = server.folder().join("file");
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::ALL).or_create())?;
    let all = attribute::READONLY | attribute::HIDDEN | attribute::ARCHIVE;
    for (attributes, shown, mode) in [
        (all, all, 0o444),
        // Again, and with one less, while it is read-only.
        (attribute::READONLY, attribute::READONLY, 0o444),
        (attribute::HIDDEN, attribute::HIDDEN, 0o644),
        (attribute::NORMAL, attribute::NORMAL, 0o644),
    ] {
        let set = session.set_attributes(file, attributes)?;
        expect(set, nt::SUCCESS, &format!("setting {attributes:#x}"))?;
        expect(session.attributes(file)?, shown, "the attributes read back")?;
        // The permission comes back for the owner alone.
        expect_mode(&path, mode)?;
    }
    expect(session.write(file, 0, b"contents")?, nt::SUCCESS, "WRITE")?;
    session.close(file)
}

/// A file that everybody may write and somebody else owns: its extended attributes can be changed, its mode cannot.
fn read_only_refused(server: &Server) -> Outcome {
    let path = server.folder().join("theirs");
    fs::write(&path, "contents")?;
    chown(&path, Some(DAEMON), Some(DAEMON))?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("theirs", access::READ_AND_WRITE))?;
    let before = session.attributes(file)?;
    let set = session.set_attributes(file, attribute::READONLY | attribute::HIDDEN)?;
    expect(set, nt::ACCESS_DENIED, "READONLY on another's file")?;
    expect(session.attributes(file)?, before, "the attributes after a refusal")?;
    let create = Create::open("theirs", access::WRITE_DATA).overwriting();
    session.refused(create.attributes(attribute::READONLY), nt::ACCESS_DENIED)?;
    ensure(fs::read_to_string(&path)? == "contents", || "the old contents are gone".into())?;
    expect_mode(&path, 0o666)
}

/// A folder of `daemon`'s, 0755, with a file that all may read and one that nobody else may.
fn foreign_folder(server: &Server) -> Outcome {
    let folder = server.folder().join("theirs");
    fs::create_dir(&folder)?;
    chown(&folder, Some(DAEMON), Some(DAEMON))?;
    for (name, mode) in [("public", 0o644), ("private", 0o600)] {
        let path = folder.join(name);
        fs::write(&path, "contents")?;
        chown(&path, Some(DAEMON), Some(DAEMON))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    Ok(fs::set_permissions(&folder, Permissions::from_mode(0o755))?)
}

fn delete_in_foreign_folder(server: &Server) -> Outcome {
    foreign_folder(server)?;
    let mut nobody = Session::of_user("nobody", server.address, SHARE)?;
    for name in ["theirs\\public", "theirs\\private"] {
        for wanted in [access::DELETE, access::DELETE | access::READ_ATTRIBUTES, access::ALL] {
            nobody.refused(Create::open(name, wanted), nt::ACCESS_DENIED)?;
            nobody.refused(Create::open(name, wanted).exclusive(), nt::ACCESS_DENIED)?;
        }
        let most = Create::open(name, access::DELETE | access::MAXIMUM_ALLOWED);
        nobody.refused(most.delete_on_close().exclusive(), nt::ACCESS_DENIED)?;
    }
    let most = Create::open("theirs\\public", access::MAXIMUM_ALLOWED);
    nobody.refused(most.delete_on_close(), nt::ACCESS_DENIED)?;
    let file = nobody.opened(most)?;
    ensure(nobody.granted(file)? & access::DELETE == 0, || "MAXIMUM_ALLOWED gave DELETE".into())?;
    expect(nobody.mark_deleted(file)?, nt::ACCESS_DENIED, "the disposition")?;
    expect(nobody.rename(file, "mine")?, nt::ACCESS_DENIED, "the rename")?;
    nobody.close(file)?;
    // What may be had of it excludes its owner from nothing.
    nobody.opened(Create::open("theirs\\private", access::READ_ATTRIBUTES).exclusive())?;
    owner_deletes(server)
}

/// The owner of the private file can write it and delete it, whoever else has tried to open it.
fn owner_deletes(server: &Server) -> Outcome {
    let mut owner = Session::of_user("daemon", server.address, SHARE)?;
    let file = owner.opened(Create::open("theirs\\private", access::ALL))?;
    expect(owner.write(file, 0, b"mine")?, nt::SUCCESS, "the owner's WRITE")?;
    expect(owner.mark_deleted(file)?, nt::SUCCESS, "the owner's disposition")?;
    owner.close(file)?;
    expect_names(&server.folder(), &["theirs"])?;
    expect_names(&server.folder().join("theirs"), &["private", "public"])
}

fn sticky_folder(server: &Server) -> Outcome {
    let folder = server.folder().join("everybody");
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o1777))?;
    for (name, owner) in [("theirs", DAEMON), ("mine", NOBODY)] {
        fs::write(folder.join(name), "contents")?;
        chown(folder.join(name), Some(owner), Some(owner))?;
    }
    let mut nobody = Session::of_user("nobody", server.address, SHARE)?;
    nobody.refused(Create::open("everybody\\theirs", access::DELETE), nt::ACCESS_DENIED)?;
    let mine = nobody.opened(Create::open("everybody\\mine", access::DELETE).delete_on_close())?;
    nobody.close(mine)?;
    expect_names(&folder, &["theirs"])
}

fn maximal_access(server: &Server) -> Outcome {
    const WRITES: u32 = access::WRITE_DATA | access::APPEND_DATA;
    let folder = server.folder();
    for (name, owner, mode) in [
        ("foreign", 0, 0o644),
        ("protected", 0, 0o444),
        ("own", NOBODY, 0o644),
        ("secret", 0, 0o600),
    ] {
        fs::write(folder.join(name), "contents")?;
        chown(folder.join(name), Some(owner), Some(owner))?;
        fs::set_permissions(folder.join(name), Permissions::from_mode(mode))?;
    }
    let mut nobody = Session::of_user("nobody", server.address, SHARE)?;
    // Works as the folder's owner, root, for whom only the attribute is in the way; and that can be taken back.
    let mut alice = in_share(server)?;
    let forbidden = WRITES | access::DELETE;
    let cases = [
        (false, "foreign", forbidden, access::READ),
        (false, "own", access::DELETE, access::READ | WRITES),
        (false, "secret", forbidden | 1, access::READ_ATTRIBUTES),
        (true, "foreign", 0, access::ALL),
        (true, "protected", 0, access::ALL),
    ];
    for (as_root, name, hidden, shown) in cases {
        let session = if as_root { &mut alice } else { &mut nobody };
        let found = session.maximal_access(name)?;
        ensure(found & hidden == 0 && found & shown == shown, || {
            format!("{name}: {found:#x} has something of {hidden:#x} or not all of {shown:#x}")
        })?;
    }
    Ok(())
}

/// As smbclient shows it. The masks are those that Samba gives such files.
fn security_descriptor(server: &Server) -> Outcome {
    let path = server.folder().join("file");
    fs::write(&path, "")?;
    chown(&path, Some(DAEMON), Some(NOBODY))?;
    // Others may read what the group may not.
    fs::set_permissions(&path, Permissions::from_mode(0o604))?;
    let shown = Client::new(server).run("showacls; ls file")?.success()?;
    let shown = shown.text();
    let (user, group) = (format!("S-1-22-1-{DAEMON}"), format!("S-1-22-2-{NOBODY}"));
    let entries = [
        ("ACCESS ALLOWED", "0x1f019f", user.as_str()),
        ("ACCESS DENIED", "0x9", group.as_str()),
        ("ACCESS ALLOWED", "0x120080", group.as_str()),
        ("ACCESS ALLOWED", "0x120089", "S-1-1-0"),
    ];
    let mut rest = shown;
    for wanted in entries.iter().flat_map(|(kind, mask, sid)| [*kind, *mask, *sid]) {
        let after = rest.split_once(wanted).map(|(_, after)| after);
        rest = after.ok_or_else(|| format!("no {wanted} where it should be in:\n{shown}"))?;
    }
    ensure(rest.contains(&user) && rest.contains(&group), || format!("whose it is:\n{shown}"))
}

fn only_the_owner(server: &Server) -> Outcome {
    foreign_folder(server)?;
    // Writing its contents is another matter.
    fs::set_permissions(server.folder().join("theirs/public"), Permissions::from_mode(0o666))?;
    let name = "theirs\\public";
    let mut nobody = Session::of_user("nobody", server.address, SHARE)?;
    nobody.refused(Create::open(name, access::WRITE_DAC), nt::ACCESS_DENIED)?;
    let file = nobody.opened(Create::open(name, access::MAXIMUM_ALLOWED))?;
    ensure(nobody.granted(file)? & access::WRITE_DAC == 0, || "MAXIMUM_ALLOWED gave it".into())?;
    expect(nobody.set_dacl(file, &[(NOBODY, access::ALL)])?, nt::ACCESS_DENIED, "a DACL")?;
    let mut owner = Session::of_user("daemon", server.address, SHARE)?;
    let file = owner.opened(Create::open(name, access::WRITE_DAC))?;
    expect(owner.set_dacl(file, &[(DAEMON, access::ALL)])?, nt::SUCCESS, "the owner's DACL")?;
    nobody.refused(Create::open(name, access::READ), nt::ACCESS_DENIED)
}

/// A folder whose mode lets everybody do everything, and whose descriptor lets `nobody` read.
fn guarded_folder(server: &Server) -> Result<[Session; 2], Failed> {
    let folder = server.folder();
    fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
    let mut owner = Session::of_user("daemon", server.address, SHARE)?;
    let guarded = owner.opened(Create::open("guarded", access::ALL).or_create().directory())?;
    let users = [(DAEMON, access::ALL), (NOBODY, access::READ)];
    expect(owner.set_dacl(guarded, &users)?, nt::SUCCESS, "the folder's DACL")?;
    owner.close(guarded)?;
    fs::set_permissions(folder.join("guarded"), Permissions::from_mode(0o777))?;
    let file = owner.opened(Create::open("guarded\\file", access::ALL).or_create())?;
    owner.close(file)?;
    fs::set_permissions(folder.join("guarded/file"), Permissions::from_mode(0o666))?;
    Ok([owner, Session::of_user("nobody", server.address, SHARE)?])
}

fn descriptor_denies(server: &Server) -> Outcome {
    let [mut owner, mut nobody] = guarded_folder(server)?;
    let file = nobody.opened(Create::open("guarded\\file", access::READ))?;
    nobody.close(file)?;
    for wanted in [access::WRITE_DATA, access::DELETE, access::WRITE_DAC] {
        nobody.refused(Create::open("guarded\\file", wanted), nt::ACCESS_DENIED)?;
    }
    let file = nobody.opened(Create::open("guarded\\file", access::MAXIMUM_ALLOWED))?;
    expect(nobody.granted(file)?, access::READ, "the most")?;
    nobody.close(file)?;
    let new = Create::open("guarded\\new", access::ALL).or_create();
    nobody.refused(new, nt::ACCESS_DENIED)?;
    let new = Create::open("guarded\\new", access::ALL).or_create().directory();
    nobody.refused(new, nt::ACCESS_DENIED)?;
    let mine = nobody.opened(Create::open("mine", access::ALL).or_create())?;
    expect(nobody.rename(mine, "guarded\\mine")?, nt::ACCESS_DENIED, "a file moved in")?;
    expect_names(&server.folder().join("guarded"), &["file"])?;
    let file = owner.opened(Create::open("guarded\\file", access::ALL))?;
    expect(owner.write(file, 0, b"mine")?, nt::SUCCESS, "the owner's WRITE")
}

fn damaged_descriptor(server: &Server) -> Outcome {
    let [mut owner, mut nobody] = guarded_folder(server)?;
    let path = server.folder().join("guarded/file");
    let flags = rustix::fs::XattrFlags::REPLACE;
    rustix::fs::setxattr(path, "security.NTACL", b"\x01\0\x01\0\0\0\x02\0damaged", flags)?;
    owner.refused(Create::open("guarded\\file", access::READ), nt::ACCESS_DENIED)?;
    nobody.refused(Create::open("guarded\\file", access::READ), nt::ACCESS_DENIED)
}

/// What the user may not read is not told; where something is gone, the folder is to be listed.
fn unreadable_not_told(server: &Server) -> Outcome {
    const NAMES: u32 = 3;
    const ADDED: u32 = 1;
    const NOTIFY_ENUM_DIR: u32 = 0x0000_010c;
    let [mut owner, mut nobody] = guarded_folder(server)?;
    let private = owner.opened(Create::open("private", access::ALL).or_create())?;
    expect(owner.set_dacl(private, &[(DAEMON, access::ALL)])?, nt::SUCCESS, "the DACL")?;
    let folder = nobody.opened(Create::open("guarded", access::READ).directory())?;
    let watch = |nobody: &mut Session| {
        let body = change_notify(folder, 0, NAMES, 4096);
        let message = nobody.request(command::CHANGE_NOTIFY, &body);
        nobody.wire.send(&message)?;
        let interim = nobody.wire.receive()?.ok_or("closed instead of an interim response")?;
        expect(status(&interim), nt::PENDING, "a CHANGE_NOTIFY of nothing new")?;
        u64_at(&message, 24)
    };
    let id = watch(&mut nobody)?;
    expect(owner.rename(private, "guarded\\private")?, nt::SUCCESS, "a renaming")?;
    owner.opened(Create::open("guarded\\public", access::ALL).or_create())?;
    let answer = nobody.answer(id)?.ok_or("closed instead of an answer")?;
    let told = changes(&answer)?;
    ensure(told == [(ADDED, "public".into())], || format!("{told:?}"))?;
    let id = watch(&mut nobody)?;
    expect(owner.mark_deleted(private)?, nt::SUCCESS, "a deletion")?;
    owner.close(private)?;
    let answer = nobody.answer(id)?.ok_or("closed instead of an answer")?;
    expect(status(&answer), NOTIFY_ENUM_DIR, "a change of what is gone")
}

/// By the mode or by a descriptor.
fn unreadable_hidden(server: &Server) -> Outcome {
    let [mut owner, mut nobody] = guarded_folder(server)?;
    let denied = owner.opened(Create::open("guarded\\denied", access::ALL).or_create())?;
    expect(owner.set_dacl(denied, &[(DAEMON, access::ALL)])?, nt::SUCCESS, "the DACL")?;
    let private = server.folder().join("guarded/private");
    fs::write(&private, "")?;
    chown(&private, Some(DAEMON), Some(DAEMON))?;
    fs::set_permissions(&private, Permissions::from_mode(0o600))?;
    // A name that clients have in another form.
    fs::write(server.folder().join("guarded/why?"), "")?;
    let all = [".", "..", "denied", "file", "private", "why\u{f025}"];
    let public = [".", "..", "file", "why\u{f025}"];
    for (session, names) in [(&mut owner, &all[..]), (&mut nobody, &public)] {
        let folder = session.opened(Create::open("guarded", access::READ).directory())?;
        let mut listed = session.list(folder)?;
        listed.sort();
        ensure(listed == names, || format!("{listed:?} listed instead of {names:?}"))?;
    }
    Ok(())
}

/// Whatever rights an open has.
fn no_part(server: &Server) -> Outcome {
    foreign_folder(server)?;
    let nothing = [1, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut nobody = Session::of_user("nobody", server.address, SHARE)?;
    let file = nobody.opened(Create::open("theirs\\public", access::READ))?;
    for (part, answer) in [
        (0, nt::SUCCESS),
        (0x20, nt::ACCESS_DENIED),     // ATTRIBUTE
        (0x1_0000, nt::ACCESS_DENIED), // BACKUP
        (0x8000_0000, nt::SUCCESS),    // PROTECTED_DACL, which says how to set one
    ] {
        expect(nobody.set_security(file, part, &nothing)?, answer, &format!("{part:#x}"))?;
    }
    let path = server.folder().join("theirs/public");
    let kept = rustix::fs::getxattr(path, "security.NTACL", &mut [0; 1024]);
    ensure(kept.is_err(), || "a descriptor was kept".into())
}

fn replaced(server: &Server) -> Outcome {
    let [mut owner, mut nobody] = guarded_folder(server)?;
    let guarded = owner.opened(Create::open("guarded", access::WRITE_DAC))?;
    let users = [(DAEMON, access::ALL), (NOBODY, access::READ_AND_WRITE)];
    expect(owner.set_dacl(guarded, &users)?, nt::SUCCESS, "the folder's DACL")?;
    let own = nobody.opened(Create::open("guarded\\own", access::ALL).or_create())?;
    expect(nobody.replace(own, "guarded\\file")?, nt::ACCESS_DENIED, "another's file")?;
    let other = nobody.opened(Create::open("guarded\\other", access::ALL).or_create())?;
    let all = [(NOBODY, access::ALL)];
    expect(nobody.set_dacl(other, &all)?, nt::SUCCESS, "the DACL of an own file")?;
    nobody.close(other)?;
    expect(nobody.replace(own, "guarded\\other")?, nt::SUCCESS, "an own file")?;
    expect_names(&server.folder().join("guarded"), &["file", "other"])
}

fn made_without_smb(server: &Server) -> Outcome {
    let [mut owner, mut nobody] = guarded_folder(server)?;
    let path = server.folder().join("guarded/local");
    fs::write(&path, "contents")?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    let file = nobody.opened(Create::open("guarded\\local", access::MAXIMUM_ALLOWED))?;
    expect(nobody.granted(file)?, access::READ, "the most")?;
    nobody.close(file)?;
    nobody.refused(Create::open("guarded\\local", access::WRITE_DATA), nt::ACCESS_DENIED)?;
    let file = owner.opened(Create::open("guarded\\local", access::READ_AND_WRITE))?;
    owner.close(file)
}

/// A folder of nobody's that hands down all that there is, beside daemon's.
fn generous_folder(server: &Server) -> Result<Session, Failed> {
    foreign_folder(server)?;
    fs::set_permissions(server.folder(), Permissions::from_mode(0o777))?;
    let mut nobody = Session::of_user("nobody", server.address, SHARE)?;
    let mine = nobody.opened(Create::open("mine", access::ALL).or_create().directory())?;
    expect(nobody.set_dacl(mine, &[(NOBODY, access::ALL)])?, nt::SUCCESS, "the folder's DACL")?;
    nobody.close(mine)?;
    Ok(nobody)
}

fn not_by_a_link(server: &Server) -> Outcome {
    let mut nobody = generous_folder(server)?;
    let guarded = server.folder().join("theirs");
    symlink("../theirs/private", server.folder().join("mine/way"))?;
    symlink("../theirs/public", server.folder().join("mine/other"))?;
    for wanted in [access::WRITE_DAC, access::WRITE_OWNER, access::WRITE_DATA] {
        nobody.refused(Create::open("mine\\way", wanted), nt::ACCESS_DENIED)?;
    }
    let file = nobody.opened(Create::open("mine\\other", access::READ))?;
    nobody.close(file)?;
    // And what the folder of the file itself hands down counts for the link.
    let mut owner = Session::of_user("daemon", server.address, SHARE)?;
    let theirs = owner.opened(Create::open("theirs", access::WRITE_DAC).directory())?;
    expect(owner.set_dacl(theirs, &[(DAEMON, access::ALL)])?, nt::SUCCESS, "the DACL")?;
    fs::set_permissions(guarded, Permissions::from_mode(0o755))?;
    nobody.refused(Create::open("mine\\other", access::READ), nt::ACCESS_DENIED)
}

fn not_by_a_move(server: &Server) -> Outcome {
    let mut nobody = generous_folder(server)?;
    let path = server.folder().join("mine/moved");
    fs::rename(server.folder().join("theirs/private"), &path)?;
    for wanted in [access::WRITE_DAC, access::WRITE_OWNER, access::READ] {
        nobody.refused(Create::open("mine\\moved", wanted), nt::ACCESS_DENIED)?;
    }
    let file = nobody.opened(Create::open("mine\\moved", access::READ_ATTRIBUTES))?;
    expect(nobody.link(file, "mine\\twin", false)?, nt::ACCESS_DENIED, "another name")?;
    nobody.close(file)?;
    let kept = rustix::fs::getxattr(&path, "security.NTACL", &mut [0; 1024]);
    ensure(kept.is_err(), || "a descriptor was kept".into())?;
    nobody.refused(Create::open("mine\\moved", access::WRITE_OWNER), nt::ACCESS_DENIED)
}

fn not_given_away(server: &Server) -> Outcome {
    fs::set_permissions(server.folder(), Permissions::from_mode(0o777))?;
    let mut nobody = Session::of_user("nobody", server.address, SHARE)?;
    let file = nobody.opened(Create::open("mine", access::ALL).or_create())?;
    expect(nobody.set_owner(file, DAEMON)?, nt::INVALID_OWNER, "to daemon")?;
    expect(nobody.set_owner(file, NOBODY)?, nt::SUCCESS, "to the owner")
}

/// A file of daemon's that nobody else may even read, by its mode, in daemon's folder.
fn private_file(server: &Server, rights: u32) -> Result<Session, Failed> {
    foreign_folder(server)?;
    let mut owner = Session::of_user("daemon", server.address, SHARE)?;
    let file = owner.opened(Create::open("theirs\\private", access::ALL))?;
    let users = [(DAEMON, access::ALL), (NOBODY, rights)];
    expect(owner.set_dacl(file, &users)?, nt::SUCCESS, "the DACL")?;
    owner.close(file)?;
    Session::of_user("nobody", server.address, SHARE)
}

fn descriptor_gives(server: &Server) -> Outcome {
    let mut nobody = private_file(server, access::READ_AND_WRITE)?;
    let file = nobody.opened(Create::open("theirs\\private", access::READ_AND_WRITE))?;
    expect(nobody.write(file, 0, b"by nobody")?, nt::SUCCESS, "WRITE")?;
    nobody.close(file)?;
    nobody.refused(Create::open("theirs\\private", access::DELETE), nt::ACCESS_DENIED)?;
    // As setfacl would have said it: read and write for one, nothing for the group and the rest.
    let path = server.folder().join("theirs/private");
    let mut acl = [0; 64];
    let length = rustix::fs::getxattr(&path, "system.posix_acl_access", &mut acl)?;
    let named: Vec<u8> = [2, 0, 6, 0].into_iter().chain(NOBODY.to_le_bytes()).collect();
    let has = acl[..length].windows(8).any(|entry| entry == named);
    ensure(has, || format!("no entry for nobody in {:?}", &acl[..length]))?;
    // The group's bits are the mask now.
    expect_mode(&path, 0o660)
}

/// Although the folder is daemon's, and nobody else writes to it.
fn descriptor_lets_delete(server: &Server) -> Outcome {
    let mut nobody = private_file(server, access::READ | access::DELETE)?;
    let found = nobody.maximal_access("theirs\\private")?;
    ensure(found & access::DELETE != 0, || format!("the most is {found:#x}"))?;
    let file = nobody.opened(Create::open("theirs\\private", access::DELETE))?;
    expect(nobody.mark_deleted(file)?, nt::SUCCESS, "the disposition")?;
    nobody.close(file)?;
    expect_names(&server.folder().join("theirs"), &["public"])
}

fn link_stays(server: &Server) -> Outcome {
    let mut nobody = generous_folder(server)?;
    let file = nobody.opened(Create::open("mine\\file", access::ALL).or_create())?;
    nobody.close(file)?;
    symlink("../mine/file", server.folder().join("theirs/way"))?;
    nobody.refused(Create::open("theirs\\way", access::DELETE), nt::ACCESS_DENIED)?;
    let most = Create::open("theirs\\way", access::MAXIMUM_ALLOWED);
    nobody.refused(most.delete_on_close(), nt::ACCESS_DENIED)?;
    expect_names(&server.folder().join("theirs"), &["private", "public", "way"])?;
    // It is the link in the own folder that goes.
    symlink("file", server.folder().join("mine/own"))?;
    let own = nobody.opened(Create::open("mine\\own", access::DELETE).delete_on_close())?;
    nobody.close(own)?;
    expect_names(&server.folder().join("mine"), &["file"])
}

fn taken(server: &Server) -> Outcome {
    let mut nobody = private_file(server, access::READ | access::WRITE_OWNER)?;
    let file = nobody.opened(Create::open("theirs\\private", access::WRITE_OWNER))?;
    expect(nobody.set_owner(file, 0)?, nt::INVALID_OWNER, "given to root")?;
    expect(nobody.set_owner(file, NOBODY)?, nt::SUCCESS, "taken")?;
    let owner = fs::metadata(server.folder().join("theirs/private"))?.uid();
    ensure(owner == NOBODY, || format!("it is {owner}'s"))
}

fn unprivileged_descriptor(server: &Server) -> Outcome {
    let mut alice = in_share(server)?;
    let file = alice.opened(Create::open("file", access::ALL).or_create())?;
    expect(alice.set_attributes(file, attribute::READONLY)?, nt::SUCCESS, "READONLY")?;
    let own = fs::metadata(server.folder().join("file"))?.uid();
    expect(alice.set_dacl(file, &[(own, access::READ)])?, nt::SUCCESS, "the DACL")?;
    expect(alice.attributes(file)?, attribute::READONLY, "the attributes")?;
    expect(alice.set_attributes(file, attribute::NORMAL)?, nt::SUCCESS, "NORMAL")?;
    alice.close(file)?;
    alice.refused(Create::open("file", access::WRITE_DATA), nt::ACCESS_DENIED)?;
    // The owner can always help himself.
    let file = alice.opened(Create::open("file", access::WRITE_DAC))?;
    expect(alice.set_dacl(file, &[(own, access::ALL)])?, nt::SUCCESS, "another DACL")?;
    let file = alice.opened(Create::open("file", access::READ_AND_WRITE))?;
    alice.close(file)
}
