//! Where MS-FSCC puts the fields that no recorded session asks for. Each structure is read from
//! bytes that count up from 0, so that a field's value names its offset.

use super::chain::DoesNotFit;
use super::ea::{EaBuffer, FullEa, GetEa};
use super::file_info::*;
use super::fs_info::*;
use super::set_info::*;
use crate::wire::codec::{Reader, Writer};

/// `length` bytes: 0x00, 0x01, 0x02, …
fn ramp(length: u8) -> Vec<u8> {
    (0..length).collect()
}

/// The value of a 32-bit field at `offset` of the ramp.
fn u32_at(offset: u32) -> u32 {
    0x0302_0100 + offset * 0x0101_0101
}

/// The value of a 64-bit field at `offset` of the ramp.
fn u64_at(offset: u64) -> u64 {
    0x0706_0504_0302_0100 + offset * 0x0101_0101_0101_0101
}

fn encoded(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut Writer::new(&mut bytes));
    bytes
}

#[test]
fn network_open_information_has_56_bytes() {
    let bytes = ramp(56);
    let mut r = Reader::new(&bytes, "ramp");
    let info = FileNetworkOpenInfo::decode(&mut r).expect("56 bytes");
    assert_eq!(r.finish(), Ok(()));
    assert_eq!(info.creation_time.0, u64_at(0));
    assert_eq!(info.last_access_time.0, u64_at(8));
    assert_eq!(info.last_write_time.0, u64_at(16));
    assert_eq!(info.change_time.0, u64_at(24));
    assert_eq!(info.allocation_size, u64_at(32));
    assert_eq!(info.end_of_file, u64_at(40));
    assert_eq!(info.file_attributes.bits(), u32_at(48));
    let out = encoded(|w| info.encode(w));
    assert_eq!((&out[..52], &out[52..]), (&bytes[..52], &[0; 4][..]));
}

#[test]
fn compression_information_has_16_bytes() {
    let bytes = ramp(16);
    let mut r = Reader::new(&bytes, "ramp");
    let info = FileCompressionInfo::decode(&mut r).expect("16 bytes");
    assert_eq!(r.finish(), Ok(()));
    assert_eq!(info.compressed_file_size, u64_at(0));
    assert_eq!(info.compression_format.0, 0x0908);
    assert_eq!((info.compression_unit_shift, info.chunk_shift, info.cluster_shift), (10, 11, 12));
    assert_eq!(encoded(|w| info.encode(w))[..13], bytes[..13]);
}

#[test]
fn attribute_tag_and_id_information_have_8_and_24_bytes() {
    let bytes = ramp(24);
    let mut r = Reader::new(&bytes[..8], "ramp");
    let info = FileAttributeTagInfo::decode(&mut r).expect("8 bytes");
    assert_eq!(r.finish(), Ok(()));
    assert_eq!((info.file_attributes.bits(), info.reparse_tag), (u32_at(0), u32_at(4)));
    assert_eq!(encoded(|w| info.encode(w)), bytes[..8]);

    let mut r = Reader::new(&bytes, "ramp");
    let info = FileIdInfo::decode(&mut r).expect("24 bytes");
    assert_eq!(r.finish(), Ok(()));
    assert_eq!((info.volume_serial_number, info.file_id[0]), (u64_at(0), 8));
    assert_eq!(encoded(|w| info.encode(w)), bytes);
}

#[test]
fn full_size_information_has_32_bytes_with_the_callers_share_second() {
    let bytes = ramp(32);
    let mut r = Reader::new(&bytes, "ramp");
    let info = FsFullSizeInfo::decode(&mut r).expect("32 bytes");
    assert_eq!(r.finish(), Ok(()));
    assert_eq!(info.total_allocation_units, u64_at(0));
    assert_eq!(info.caller_available_allocation_units, u64_at(8));
    assert_eq!(info.actual_available_allocation_units, u64_at(16));
    assert_eq!(info.sectors_per_allocation_unit, u32_at(24));
    assert_eq!(info.bytes_per_sector, u32_at(28));
    assert_eq!(encoded(|w| info.encode(w)), bytes);
}

#[test]
fn control_information_has_48_bytes_with_its_limits_behind_24() {
    let bytes = ramp(48);
    let mut r = Reader::new(&bytes, "ramp");
    let info = FsControlInfo::decode(&mut r).expect("48 bytes");
    assert_eq!(r.finish(), Ok(()));
    assert_eq!(info.default_quota_threshold, u64_at(24));
    assert_eq!(info.default_quota_limit, u64_at(32));
    assert_eq!(info.flags.bits(), u32_at(40));
    let expected = [&[0; 24], &bytes[24..44], &[0; 4]].concat();
    assert_eq!(encoded(|w| info.encode(w)), expected);
}

#[test]
fn object_id_and_sector_size_information_have_64_and_28_bytes() {
    let bytes = ramp(64);
    let mut r = Reader::new(&bytes, "ramp");
    let info = FsObjectIdInfo::decode(&mut r).expect("64 bytes");
    assert_eq!(r.finish(), Ok(()));
    assert_eq!((info.object_id.0[15], info.extended_info[0]), (15, 16));
    assert_eq!(encoded(|w| info.encode(w)), bytes);

    let mut r = Reader::new(&bytes[..28], "ramp");
    let info = FsSectorSizeInfo::decode(&mut r).expect("28 bytes");
    assert_eq!(r.finish(), Ok(()));
    assert_eq!(info.logical_bytes_per_sector, u32_at(0));
    assert_eq!(info.physical_bytes_per_sector_for_performance, u32_at(8));
    assert_eq!(info.flags, u32_at(16));
    assert_eq!(info.byte_offset_for_partition_alignment, u32_at(24));
    assert_eq!(encoded(|w| info.encode(w)), bytes[..28]);
}

/// Flags or a boolean in the first 8 bytes, RootDirectory, FileNameLength, the name.
const RENAME: [u8; 24] =
    [0x41, 0, 0, 0, 0, 0, 0, 0, 8, 9, 10, 11, 12, 13, 14, 15, 4, 0, 0, 0, b'a', 0, b'b', 0];

#[test]
fn a_rename_has_its_name_behind_20_bytes() {
    let plain = FileRenameInfo::decode(&mut Reader::new(&RENAME, "rename")).expect("a rename");
    assert_eq!(plain.flags, RenameFlags::REPLACE_IF_EXISTS, "any value but 0 means true");
    assert_eq!(plain.root_directory, u64_at(8));
    assert_eq!(plain.name.to_string(), "ab");

    let ex = FileRenameInfo::decode_ex(&mut Reader::new(&RENAME, "rename")).expect("a rename");
    let flags = RenameFlags::REPLACE_IF_EXISTS | RenameFlags::IGNORE_READONLY_ATTRIBUTE;
    assert_eq!(ex, FileRenameInfo { flags, ..plain });
    assert_eq!(encoded(|w| ex.encode(w)), RENAME);

    let link = FileLinkInfo::decode(&mut Reader::new(&RENAME, "link")).expect("a link");
    assert!(link.replace_if_exists);
    assert_eq!(link.name.to_string(), "ab");
}

#[test]
fn a_rename_whose_name_is_longer_than_the_buffer_is_malformed() {
    let short = &RENAME[..23];
    assert!(FileRenameInfo::decode(&mut Reader::new(short, "rename")).is_err());
    assert!(FileRenameInfo::decode_ex(&mut Reader::new(short, "rename")).is_err());
    assert!(FileLinkInfo::decode(&mut Reader::new(short, "link")).is_err());
}

#[test]
fn streams_that_do_not_fit_are_left_out_and_said_to_be() {
    let stream = |name: &str| FileStreamInfo {
        size: 1,
        allocation_size: 4096,
        name: crate::wire::utf16::Utf16::from_str(name),
    };
    let streams = [stream("::$DATA"), stream(":a:$DATA")];
    // 24 + 14 bytes, aligned to 40; then 24 + 16.
    let (bytes, all) = FileStreamInfo::encode_all(&streams, 80);
    assert_eq!((bytes.len(), all), (80, true));
    assert_eq!(FileStreamInfo::decode_all(&bytes).as_deref(), Ok(&streams[..]));
    let (bytes, all) = FileStreamInfo::encode_all(&streams, 79);
    assert_eq!((bytes.len(), all), (38, false));
    assert_eq!(FileStreamInfo::decode_all(&bytes).as_deref(), Ok(&streams[..1]));
}

/// MS-FSCC 2.4.16: two entries, of 8 + 4 + 5 bytes, padded to 20, and of 8 + 2 + 1.
const EAS: &[u8] = b"\x14\0\0\0\0\x03\x05\0one\0first\0\0\0\0\0\0\0\x80\x01\x01\0b\0\xff";

#[test]
fn extended_attributes_have_a_nul_between_name_and_value() {
    let eas = FullEa::decode_all(EAS).expect("two entries");
    let first = FullEa { flags: 0, name: b"one".to_vec(), value: b"first".to_vec() };
    let second = FullEa { flags: FullEa::NEED_EA, name: b"b".to_vec(), value: vec![0xff] };
    assert_eq!(eas, [first, second]);
    let mut buffer = EaBuffer::new(EAS.len());
    eas.iter().for_each(|ea| buffer.push(ea).expect("it fits"));
    assert_eq!(buffer.into_bytes(), EAS);
    let mut buffer = EaBuffer::new(EAS.len() - 1);
    assert_eq!(eas.iter().map(|ea| buffer.push(ea)).collect::<Vec<_>>(), [Ok(()), Err(DoesNotFit)]);
    assert_eq!(buffer.into_bytes(), b"\0\0\0\0\0\x03\x05\0one\0first");

    let wanted = GetEa::decode_all(b"\x0c\0\0\0\x03one\0\0\0\0\0\0\0\0\x01b\0").expect("two names");
    let names: Vec<_> = wanted.into_iter().map(|ea| ea.name).collect();
    assert_eq!(names, [&b"one"[..], b"b"]);
}

#[test]
fn extended_attributes_that_are_cut_off_or_not_aligned_are_malformed() {
    for end in 1..EAS.len() {
        assert!(FullEa::decode_all(&EAS[..end]).is_err(), "{end}");
    }
    // The next one at 19, no NUL behind the name, a value longer than the buffer.
    for (at, byte) in [(0, 0x13), (11, b'x'), (25, 2), (26, 2)] {
        let mut bytes = EAS.to_vec();
        bytes[at] = byte;
        assert!(FullEa::decode_all(&bytes).is_err(), "{at}");
    }
    assert!(GetEa::decode_all(b"\0\0\0\0\x03onex").is_err());
    assert!(GetEa::decode_all(b"\0\0\0\0\x04one\0").is_err());
    assert_eq!(FullEa::decode_all(&[]), Ok(Vec::new()));
}
