//! Block cloning, trim and compression over raw SMB, since smbclient asks for none of them: what smbtorture's tests leave
//! out, for users who have unix accounts of their own.

mod support;

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use libtest_mimic::Failed;
use support::requests::{Create, FileId, access, nt};
use support::restrict::{NOBODY, Restriction};
use support::session::{Session, command, expect, status, u32_at};
use support::{Need, Outcome, Serve, Server, ensure};

const GET_COMPRESSION: u32 = 0x0009_003c;
const SET_COMPRESSION: u32 = 0x0009_c040;
const FILE_LEVEL_TRIM: u32 = 0x0009_8208;
const DUPLICATE_EXTENTS: u32 = 0x0009_8344;
const DUPLICATE_EXTENTS_EX: u32 = 0x0009_83e8;

/// MS-FSCC 2.5.1.
const FILE_COMPRESSION: u32 = 0x0000_0010;
const BLOCK_REFCOUNTING: u32 = 0x0800_0000;
/// MS-FSCC 2.6.
const COMPRESSED: u32 = 0x0800;

fn main() -> ExitCode {
    let trial = |name, body: fn(&Server) -> Outcome| {
        let serve = || Serve::new().share_owner(NOBODY);
        support::on_each_backend(name, &[Need::Btrfs], serve, body)
    };
    let trials = [
        trial("a volume says what its file system can do", told),
        trial("blocks are cloned, and what is left of one is copied", cloned),
        trial("a clone that cannot be is refused", clone_refused),
        trial("trimmed ranges are zeros, and counted", trimmed),
        trial("a trim that may not be is refused", trim_refused),
        trial("who may write to a file may have it compressed", compressed),
    ];
    let mut trials: Vec<_> = trials.into_iter().flatten().collect();
    for (name, body) in [
        (
            "an unprivileged server tells what the file system can do",
            told as fn(&Server) -> Outcome,
        ),
        ("an unprivileged server clones blocks", cloned),
        ("an unprivileged server trims", trimmed),
    ] {
        let serve = Serve::new().restricted(Restriction::Unprivileged);
        trials.push(support::served(name, &[Need::Btrfs], serve, body));
    }
    support::run(trials)
}

/// A btrfs in the share's folder, at `btrfs`, for its owner.
struct Mounted(PathBuf);

impl Mounted {
    fn new(server: &Server) -> Result<Self, Failed> {
        let (at, image) = (server.folder().join("btrfs"), server.folder().join("image"));
        fs::create_dir(&at)?;
        fs::File::create(&image)?.set_len(256 << 20)?;
        run(Command::new("/usr/sbin/mkfs.btrfs").arg("-q").arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        let mounted = Self(at);
        chown(&mounted.0, Some(NOBODY), Some(NOBODY))?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the server may still hold the folder.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(command: &mut Command) -> Outcome {
    let done = command.output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}").into()) }
}

/// A new file with these bytes, open for everything.
fn made(session: &mut Session, name: &str, content: &[u8]) -> Result<FileId, Failed> {
    let file = session.opened(Create::open(name, access::ALL).or_create())?;
    expect(session.write(file, 0, content)?, nt::SUCCESS, "WRITE")?;
    Ok(file)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 251) as u8 + 1).collect()
}

/// MS-FSCC 2.3.7.2.
fn extents(source: FileId, from: u64, to: u64, length: u64) -> Vec<u8> {
    [&source[..], &[from, to, length].map(u64::to_le_bytes).concat()].concat()
}

/// MS-FSCC 2.3.9.2.
fn extents_ex(source: FileId, from: u64, to: u64, length: u64, flags: u32) -> Vec<u8> {
    let (size, flags) = (0x30_u64.to_le_bytes(), flags.to_le_bytes());
    [&size[..], &extents(source, from, to, length), &flags, &[0; 4]].concat()
}

/// MS-FSCC 2.3.13.
fn trim(ranges: &[(u64, u64)]) -> Result<Vec<u8>, Failed> {
    let count = u32::try_from(ranges.len())?;
    let ranges = ranges.iter().flat_map(|(at, length)| [at.to_le_bytes(), length.to_le_bytes()]);
    Ok([&[0; 4], &count.to_le_bytes()[..], &ranges.flatten().collect::<Vec<u8>>()].concat())
}

fn holds(mounted: &Mounted, name: &str, expected: &[u8]) -> Outcome {
    let found = fs::read(mounted.0.join(name))?;
    let differs = || found.iter().zip(expected).position(|(a, b)| a != b);
    ensure(found == expected, || {
        format!("{name}: {} bytes, not the same from {:?} on", found.len(), differs())
    })
}

fn told(server: &Server) -> Outcome {
    let _mounted = Mounted::new(server)?;
    let mut session = Session::in_share(server.address)?;
    let folder = session.opened(Create::open("btrfs", access::READ).directory())?;
    let attributes = u32_at(&session.query_volume(folder, 5)?, 0)?;
    let both = FILE_COMPRESSION | BLOCK_REFCOUNTING;
    ensure(attributes & both == both, || format!("attributes {attributes:#x}"))?;
    let flags = u32_at(&session.query_volume(folder, 11)?, 16)?;
    ensure(flags & 0x8 != 0, || format!("no TRIM_ENABLED in {flags:#x}"))
}

fn cloned(server: &Server) -> Outcome {
    let mounted = Mounted::new(server)?;
    let mut session = Session::in_share(server.address)?;
    let content = pattern(50_000);
    let source = made(&mut session, "btrfs\\source", &content)?;
    let target = made(&mut session, "btrfs\\target", &[9; 60_000])?;
    // Up to the end of the source, in the midst of the target: a block is not shared in part.
    let input = extents(source, 0, 8192, 50_000);
    expect(session.control(target, DUPLICATE_EXTENTS, &input)?.0, nt::SUCCESS, "the clone")?;
    let expected = [&[9; 8192], &content[..], &[9; 1808]].concat();
    holds(&mounted, "target", &expected)?;
    // The longer form, with the source's last cluster rounded up; it takes nothing of what is behind the target's end.
    let input = extents_ex(source, 4096, 12_288, 49_152, 0);
    expect(session.control(target, DUPLICATE_EXTENTS_EX, &input)?.0, nt::SUCCESS, "the longer")?;
    let expected = [&expected[..12_288], &content[4096..], &expected[58_192..]].concat();
    holds(&mounted, "target", &expected)?;
    // At once or not at all: whole blocks can be had so.
    let input = extents_ex(source, 0, 0, 8192, 1);
    expect(session.control(target, DUPLICATE_EXTENTS_EX, &input)?.0, nt::SUCCESS, "atomic")?;
    holds(&mounted, "target", &[&content[..8192], &expected[8192..]].concat())?;
    let input = extents_ex(source, 0, 0, 8200, 1);
    let refused = session.control(target, DUPLICATE_EXTENTS_EX, &input)?.0;
    expect(refused, nt::NOT_SUPPORTED, "a part of a block, atomic")
}

fn clone_refused(server: &Server) -> Outcome {
    let mounted = Mounted::new(server)?;
    let mut session = Session::in_share(server.address)?;
    let source = made(&mut session, "btrfs\\source", &pattern(16_384))?;
    let target = made(&mut session, "btrfs\\target", &[9; 16_384])?;
    let elsewhere = made(&mut session, "elsewhere", &[9; 16_384])?;
    let folder = session.opened(Create::open("btrfs", access::READ_AND_WRITE).directory())?;
    let attributes = session.opened(Create::open("btrfs\\source", access::READ_ATTRIBUTES))?;
    let reads = session.opened(Create::open("btrfs\\target", access::READ))?;
    let stream = made(&mut session, "btrfs\\target:stream", &[9; 100])?;
    let refusals = [
        ("an odd offset", target, extents(source, 0, 1, 4096), nt::INVALID_PARAMETER),
        ("another file system", elsewhere, extents(source, 0, 0, 4096), nt::INVALID_PARAMETER),
        ("from a directory", target, extents(folder, 0, 0, 4096), nt::INVALID_PARAMETER),
        ("to a directory", folder, extents(source, 0, 0, 4096), nt::INVALID_PARAMETER),
        ("not to be read", target, extents(attributes, 0, 0, 4096), nt::ACCESS_DENIED),
        ("not to be written", reads, extents(source, 0, 0, 4096), nt::ACCESS_DENIED),
        ("to a stream", stream, extents(source, 0, 0, 4096), nt::NOT_SUPPORTED),
        ("cut off", target, extents(source, 0, 0, 4096)[..39].to_vec(), nt::INVALID_PARAMETER),
        ("an offset too large", target, extents(source, 0, 1 << 63, 1), nt::INVALID_PARAMETER),
        ("a length too large", target, extents(source, 0, 0, u64::MAX), nt::INVALID_PARAMETER),
    ];
    for (what, to, input, expected) in refusals {
        expect(session.control(to, DUPLICATE_EXTENTS, &input)?.0, expected, what)?;
    }
    holds(&mounted, "target", &[9; 16_384])
}

fn trimmed(server: &Server) -> Outcome {
    let mounted = Mounted::new(server)?;
    let mut session = Session::in_share(server.address)?;
    let content = pattern(65_536);
    let file = made(&mut session, "btrfs\\file", &content)?;
    // Whole blocks of the first and second, none of the third, and what is beyond the end is no mistake.
    let input = trim(&[(100, 16_284), (20_480, 4096), (40_000, 100), (1 << 40, 4096)])?;
    let (trimmed, output) = session.control(file, FILE_LEVEL_TRIM, &input)?;
    expect(trimmed, nt::SUCCESS, "the trim")?;
    ensure(output == 4_u32.to_le_bytes(), || format!("processed {output:?}"))?;
    let mut expected = content;
    expected[4096..16_384].fill(0);
    expected[20_480..24_576].fill(0);
    holds(&mounted, "file", &expected)?;
    // More than are done at once: the client is told how many were.
    let (trimmed, output) = session.control(file, FILE_LEVEL_TRIM, &trim(&[(0, 0); 1500])?)?;
    expect(trimmed, nt::SUCCESS, "many")?;
    ensure(output == 1024_u32.to_le_bytes(), || format!("processed {output:?}"))?;
    // One that fails ends it.
    let input = trim(&[(32_768, 4096), (u64::MAX, 2), (36_864, 4096)])?;
    let (trimmed, output) = session.control(file, FILE_LEVEL_TRIM, &input)?;
    expect(trimmed, nt::SUCCESS, "the first of three")?;
    ensure(output == 1_u32.to_le_bytes(), || format!("processed {output:?}"))?;
    expected[32_768..36_864].fill(0);
    holds(&mounted, "file", &expected)
}

fn trim_refused(server: &Server) -> Outcome {
    let mounted = Mounted::new(server)?;
    let mut session = Session::in_share(server.address)?;
    let content = pattern(65_536);
    let file = made(&mut session, "btrfs\\file", &content)?;
    let reads = session.opened(Create::open("btrfs\\file", access::READ))?;
    let folder = session.opened(Create::open("btrfs", access::READ_AND_WRITE).directory())?;
    // Locked by an open of its own, MS-SMB2 2.2.26: shared, at once.
    let locker = session.opened(Create::open("btrfs\\file", access::READ))?;
    let range = [8192_u64, 4096, 0x11].map(u64::to_le_bytes).concat();
    let lock = [&[48, 0, 1, 0, 0, 0, 0, 0], &locker[..], &range].concat();
    expect(status(&session.call(command::LOCK, &lock)?), nt::SUCCESS, "LOCK")?;
    let refusals = [
        ("no range", file, trim(&[])?, nt::INVALID_PARAMETER),
        ("fewer than said", file, [&[0; 4][..], &[9, 0, 0, 0]].concat(), nt::INVALID_PARAMETER),
        ("not to be written", reads, trim(&[(0, 4096)])?, nt::ACCESS_DENIED),
        ("a directory", folder, trim(&[(0, 4096)])?, nt::INVALID_PARAMETER),
        ("too large", file, trim(&[(u64::MAX, 2)])?, nt::INTEGER_OVERFLOW),
        ("locked", file, trim(&[(0, 65_536)])?, nt::FILE_LOCK_CONFLICT),
    ];
    for (what, file, input, expected) in refusals {
        expect(session.control(file, FILE_LEVEL_TRIM, &input)?.0, expected, what)?;
    }
    let (packed, format) = (made(&mut session, "btrfs\\packed", &[9; 8192])?, 1_u16.to_le_bytes());
    expect(session.control(packed, SET_COMPRESSION, &format)?.0, nt::SUCCESS, "SET_COMPRESSION")?;
    let refused = session.control(packed, FILE_LEVEL_TRIM, &trim(&[(0, 4096)])?)?.0;
    expect(refused, nt::INVALID_PARAMETER, "compressed")?;
    holds(&mounted, "file", &content)
}

/// The file is root's, and everybody's to write to: unix would let its owner only.
fn compressed(server: &Server) -> Outcome {
    let mounted = Mounted::new(server)?;
    let on_disk = mounted.0.join("file");
    fs::write(&on_disk, "root's")?;
    fs::set_permissions(&on_disk, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    let mut session = Session::in_share(server.address)?;
    let reads = session.opened(Create::open("btrfs\\file", access::READ))?;
    let (none, lznt1) = (0_u16.to_le_bytes(), 2_u16.to_le_bytes());
    let refused = session.control(reads, SET_COMPRESSION, &lznt1)?.0;
    expect(refused, nt::ACCESS_DENIED, "compressing what is not to be written")?;
    let file = session.opened(Create::open("btrfs\\file", access::READ_AND_WRITE))?;
    for (format, attribute) in [(lznt1, COMPRESSED), (none, 0)] {
        expect(session.control(file, SET_COMPRESSION, &format)?.0, nt::SUCCESS, "SET_COMPRESSION")?;
        let (got, found) = session.control(reads, GET_COMPRESSION, &[])?;
        expect(got, nt::SUCCESS, "GET_COMPRESSION")?;
        ensure(found == format, || format!("{found:?} in place of {format:?}"))?;
        let attributes = session.attributes(reads)?;
        ensure(attributes & COMPRESSED == attribute, || format!("attributes {attributes:#x}"))?;
    }
    // A named stream is none, and cannot be.
    let stream = made(&mut session, "btrfs\\own:stream", b"short")?;
    let refused = session.control(stream, SET_COMPRESSION, &lznt1)?.0;
    expect(refused, nt::NOT_SUPPORTED, "compressing a stream")?;
    let refused = session.control(file, SET_COMPRESSION, &9_u16.to_le_bytes())?.0;
    expect(refused, nt::INVALID_PARAMETER, "a format that there is none of")
}
