//! What a `read` of a fanotify group filled a buffer with.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use bitflags::bitflags;

/// A name for a file or directory that stays with it, whatever its path becomes, and that nothing else on
/// its file system gets after it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FileHandle {
    pub(super) kind: i32,
    pub(super) bytes: Box<[u8]>,
}

/// Where something happened.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamedPlace {
    /// The directory.
    pub directory: FileHandle,
    /// The name in it; `None`: it happened to the directory itself.
    pub name: Option<OsString>,
}

bitflags! {
    /// What happened. Of a name that much happens to at once, all is told as one event; they then happened to
    /// the same file, in this order.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FilesystemChange: u64 {
        /// It has come into being.
        const CREATE = libc::FAN_CREATE;
        /// It was written to, or cut off.
        const MODIFY = libc::FAN_MODIFY;
        /// Owner, mode, times or extended attributes were changed.
        const ATTRIB = libc::FAN_ATTRIB;
        /// It was renamed; alone, but for `ONDIR`.
        const RENAME = libc::FAN_RENAME;
        /// It was removed.
        const DELETE = libc::FAN_DELETE;
        /// It is a directory.
        const ONDIR = libc::FAN_ONDIR;
    }
}

/// What a [`FilesystemWatch`](super::FilesystemWatch) has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FilesystemEvent {
    /// Something happened to a name.
    Change {
        /// What.
        what: FilesystemChange,
        /// Which process did it; 0: one that this one cannot see.
        pid: u32,
        /// To what name; of a renaming, the old one.
        place: NamedPlace,
        /// Of a renaming, the new name.
        renamed_to: Option<NamedPlace>,
        /// To which file.
        file: Option<FileHandle>,
    },
    /// The kernel had to drop events: look for yourself.
    Overflow,
}

/// The events in `buf`, up to the first that is not whole; those that say nothing about a name are left out.
pub(super) fn fanotify_events(buf: &[u8]) -> Vec<FilesystemEvent> {
    let mut rest = buf;
    let mut events = Vec::new();
    while let Some(len) = ne_u32(rest)
        && let Some((event, after)) =
            usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len))
        // No shorter than it must be, so that there is an end.
        && let Some((metadata, records)) = event.split_at_checked(METADATA_LEN)
    {
        events.extend(event_of(metadata, records));
        rest = after;
    }
    events
}

/// `fanotify_event_metadata`: length (4 bytes), version, reserved, own length (2), mask (8), descriptor (4),
/// process (4).
const METADATA_LEN: usize = 24;

/// `fanotify_event_info_fid` up to the handle's bytes: type, padding, length (2), file system (8), length and type of
/// the handle (4 each).
const RECORD_LEN: usize = 20;

fn event_of(metadata: &[u8], mut records: &[u8]) -> Option<FilesystemEvent> {
    let mask = ne_u64(metadata.get(8..)?)?;
    if mask & libc::FAN_Q_OVERFLOW != 0 {
        return Some(FilesystemEvent::Overflow);
    }
    let (mut place, mut renamed_to, mut file) = (None, None, None);
    while let Some((kind, record, after)) = record(records) {
        match kind {
            libc::FAN_EVENT_INFO_TYPE_FID => file = handle_of(record).map(|(handle, _)| handle),
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME | libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => {
                place = place_of(record);
            }
            libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => renamed_to = place_of(record),
            _ => {}
        }
        records = after;
    }
    Some(FilesystemEvent::Change {
        what: FilesystemChange::from_bits_truncate(mask),
        pid: ne_u32(metadata.get(20..)?)?,
        place: place?,
        renamed_to,
        file,
    })
}

/// The first record: its type, all of it, and what comes after it.
fn record(records: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let kind = *records.first()?;
    let len = usize::from(ne_u16(records.get(2..)?)?);
    let (record, after) = records.split_at_checked(len)?;
    (len >= RECORD_LEN).then_some((kind, record, after))
}

/// The handle of a record, and what comes after it.
fn handle_of(record: &[u8]) -> Option<(FileHandle, &[u8])> {
    let len = usize::try_from(ne_u32(record.get(12..)?)?).ok()?;
    let kind = ne_u32(record.get(16..)?)?.cast_signed();
    let (bytes, after) = record.get(RECORD_LEN..)?.split_at_checked(len)?;
    Some((FileHandle { kind, bytes: bytes.into() }, after))
}

fn place_of(record: &[u8]) -> Option<NamedPlace> {
    let (directory, name) = handle_of(record)?;
    let name = CStr::from_bytes_until_nul(name).ok()?.to_bytes();
    let name = (name != b".").then(|| OsStr::from_bytes(name).to_owned());
    Some(NamedPlace { directory, name })
}

#[expect(clippy::host_endian_bytes, reason = "the kernel speaks the host's byte order")]
fn ne_u16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.first_chunk()?))
}

#[expect(clippy::host_endian_bytes, reason = "the kernel speaks the host's byte order")]
fn ne_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

#[expect(clippy::host_endian_bytes, reason = "the kernel speaks the host's byte order")]
fn ne_u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
#[expect(clippy::host_endian_bytes, reason = "the kernel speaks the host's byte order")]
mod tests {
    use super::*;

    /// As `fanotify(7)` and `linux/fanotify.h` lay it out.
    fn record(kind: u8, handle: u8, name: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0, 0, 0];
        record.extend([7; 8]);
        record.extend(8_u32.to_ne_bytes());
        record.extend(1_i32.to_ne_bytes());
        record.extend([handle; 8]);
        record.extend(name);
        record.resize(record.len().next_multiple_of(4), 0);
        let len = u16::try_from(record.len()).unwrap();
        record[2..4].copy_from_slice(&len.to_ne_bytes());
        record
    }

    fn event(mask: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let records = records.concat();
        let len = u32::try_from(24 + records.len()).unwrap();
        let mut event = len.to_ne_bytes().to_vec();
        event.extend([3, 0, 24, 0]);
        event.extend(mask.to_ne_bytes());
        event.extend((-1_i32).to_ne_bytes());
        event.extend(42_u32.to_ne_bytes());
        event.extend(records);
        event
    }

    fn handle(byte: u8) -> FileHandle {
        FileHandle { kind: 1, bytes: Box::new([byte; 8]) }
    }

    fn place(byte: u8, name: Option<&str>) -> NamedPlace {
        NamedPlace { directory: handle(byte), name: name.map(OsString::from) }
    }

    fn sample() -> Vec<u8> {
        [
            event(libc::FAN_CREATE, &[record(2, 1, b"new\0"), record(1, 2, b"")]),
            event(
                libc::FAN_RENAME | libc::FAN_ONDIR,
                &[record(10, 1, b"from\0"), record(12, 3, b"to\0")],
            ),
            event(libc::FAN_Q_OVERFLOW, &[]),
            event(libc::FAN_ATTRIB, &[record(1, 2, b"")]),
            event(libc::FAN_ATTRIB | libc::FAN_ONDIR, &[record(2, 1, b".\0")]),
        ]
        .concat()
    }

    #[test]
    fn events_are_read_with_their_names() {
        let change = |what, place, renamed_to, file| FilesystemEvent::Change {
            what,
            pid: 42,
            place,
            renamed_to,
            file,
        };
        assert_eq!(
            fanotify_events(&sample()),
            [
                change(FilesystemChange::CREATE, place(1, Some("new")), None, Some(handle(2))),
                change(
                    FilesystemChange::RENAME | FilesystemChange::ONDIR,
                    place(1, Some("from")),
                    Some(place(3, Some("to"))),
                    None
                ),
                FilesystemEvent::Overflow,
                change(
                    FilesystemChange::ATTRIB | FilesystemChange::ONDIR,
                    place(1, None),
                    None,
                    None
                ),
            ]
        );
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_harmless() {
        let sample = sample();
        for len in 0..sample.len() {
            fanotify_events(&sample[..len]);
        }
        for at in 0..sample.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut damaged = sample.clone();
                damaged[at] = byte;
                fanotify_events(&damaged);
            }
        }
    }
}
