//! The codecs of `wire`: what was read and is written again reads the same.

use std::fmt::Debug;

use crate::crypto::seal::{Cipher, Sealer};
use crate::security::{Token, for_new, granted_by, merged};
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::copychunk::{SrvCopychunkCopy, SrvCopychunkResponse, SrvRequestResumeKey};
use crate::wire::create::{CreateRequest, CreateResponse};
use crate::wire::create_context::{CreateContext, CreateContextResponse};
use crate::wire::duplicate_extents::DuplicateExtentsData;
use crate::wire::frame::{Frame, LENGTH_MAX, PREFIX};
use crate::wire::fscc::ea::GetEa;
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::fscc::notify_info::FileNotifyInfo;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::query_info::{InfoType, SecurityInformation};
use crate::wire::reparse::{ReparseHeader, SymbolicLink};
use crate::wire::security::{SecurityDescriptor, Sid};
use crate::wire::set_info::SetInfoRequest;
use crate::wire::smb1_negotiate::Smb1NegotiateRequest;
use crate::wire::snapshots;
use crate::wire::sparse::{FileAllocatedRange, FileZeroDataInfo};
use crate::wire::transform::TransformHeader;
use crate::wire::trim::{FileLevelTrim, FileLevelTrimOutput};
use crate::wire::validate_negotiate::{
    ValidateNegotiateInfoRequest, ValidateNegotiateInfoResponse,
};

use super::info::{relist, requery, reset};
use super::message::{Side, reencode};

/// What was read can be written and read again, and is the same.
fn round_trip<T: PartialEq + Debug, E: Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let value = decode(bytes).ok()?;
    let again = decode(&encode(&value)).expect("what we wrote can be read");
    assert_eq!(again, value, "written and read again it is something else");
    Some(value)
}

/// Reads, writes, reads, writes: both times the same is written.
fn rewrite<E: Debug>(bytes: &[u8], reencode: impl Fn(&[u8]) -> Result<Vec<u8>, E>) {
    let Ok(once) = reencode(bytes) else { return };
    let twice = reencode(&once).expect("what we wrote can be read");
    assert_eq!(twice, once, "written and read again it is something else");
}

fn written(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut Writer::new(&mut out));
    out
}

pub(super) fn request(message: &[u8]) {
    rewrite(message, |message| reencode(Side::Client, message));
    if let Ok(create) = CreateRequest::decode(message) {
        request_contexts(&create.contexts);
    }
    if let Ok(ioctl) = IoctlRequest::decode(message) {
        (0..CONTROLS).for_each(|which| one_control(which, &ioctl.input));
    }
    if let Ok(set) = SetInfoRequest::decode(message) {
        rewrite_set(FileInfoClass(set.info_class), &set.buffer);
        security(&set.buffer);
    }
}

pub(super) fn response(message: &[u8]) {
    rewrite(message, |message| reencode(Side::Server, message));
    if let Ok(create) = CreateResponse::decode(message) {
        response_contexts(&create.contexts);
    }
}

pub(super) fn smb1_negotiate(message: &[u8]) {
    round_trip(message, Smb1NegotiateRequest::decode, |it| written(|w| it.encode(w)));
}

pub(super) fn transform(input: &[u8]) {
    let Some((cipher, message)) = input.split_first() else { return };
    if let Some(prefix) = message.first_chunk::<PREFIX>()
        && let Ok(Frame::Message { length }) = Frame::decode(*prefix, LENGTH_MAX)
    {
        assert_eq!(Frame::message_prefix(length), Some(*prefix));
    }
    round_trip(message, TransformHeader::decode, |it| written(|w| it.encode(w)));
    let ciphers = [Cipher::Aes128Ccm, Cipher::Aes128Gcm, Cipher::Aes256Ccm, Cipher::Aes256Gcm];
    let cipher = ciphers[usize::from(*cipher) % ciphers.len()];
    let sealer =
        Sealer::new(cipher, &[0x5e; 32][..cipher.key_len()]).expect("a key of that length");
    // Nobody has sealed it, so nothing can be in it; and one that was sealed opens.
    let mut frame = message.to_vec();
    assert!(sealer.open(&mut frame).is_err(), "a seal was made up");
    let mut frame = [&[0; TransformHeader::SIZE], message].concat();
    sealer.seal(&mut frame, 7).expect("it can be sealed");
    assert_eq!(sealer.open(&mut frame).expect("our own seal"), message);
}

pub(super) fn create_contexts(input: &[u8]) {
    match input.split_first() {
        Some((0, chain)) => request_contexts(chain),
        Some((_, chain)) => response_contexts(chain),
        None => {}
    }
}

fn request_contexts(chain: &[u8]) {
    let contexts = round_trip(chain, CreateContext::decode_all, |it| CreateContext::encode_all(it));
    for context in contexts.unwrap_or_default() {
        if let CreateContext::SecurityDescriptor(descriptor) = context {
            security(&descriptor);
        }
    }
}

fn response_contexts(chain: &[u8]) {
    round_trip(chain, CreateContextResponse::decode_all, |it| {
        CreateContextResponse::encode_all(it)
    });
}

pub(super) fn information(input: &[u8]) {
    let [kind, class, bytes @ ..] = input else { return };
    let queried = |kind| {
        let requery = |bytes: &[u8]| Ok(requery(kind, *class, bytes)?.unwrap_or_default());
        rewrite(bytes, |bytes| -> Result<_, Malformed> { requery(bytes) });
    };
    match kind % 6 {
        0 => queried(InfoType::FILE),
        1 => queried(InfoType::FILESYSTEM),
        2 => rewrite_set(FileInfoClass(*class), bytes),
        3 => rewrite(bytes, |bytes| relist(FileInfoClass(*class), bytes)),
        4 => {
            round_trip(bytes, FileNotifyInfo::decode_all, |it| {
                FileNotifyInfo::encode_all(it, usize::MAX).expect("there is no limit")
            });
        }
        _ => drop(GetEa::decode_all(bytes)),
    }
}

fn rewrite_set(class: FileInfoClass, bytes: &[u8]) {
    let reset = |bytes: &[u8]| Ok(reset(class, bytes)?.unwrap_or_default());
    rewrite(bytes, |bytes| -> Result<_, Malformed> { reset(bytes) });
}

/// How many kinds [`one_control`] knows.
const CONTROLS: u8 = 14;

pub(super) fn control(input: &[u8]) {
    if let Some((which, bytes)) = input.split_first() {
        one_control(which % CONTROLS, bytes);
    }
}

fn one_control(which: u8, bytes: &[u8]) {
    macro_rules! via {
        ($type:ty) => {
            drop(round_trip(bytes, <$type>::decode, |it| written(|w| it.encode(w))))
        };
    }
    match which {
        0 => via!(ValidateNegotiateInfoRequest),
        1 => via!(ValidateNegotiateInfoResponse),
        2 => via!(SrvCopychunkCopy),
        3 => via!(SrvCopychunkResponse),
        4 => via!(SrvRequestResumeKey),
        5 => via!(FileAllocatedRange),
        6 => via!(FileZeroDataInfo),
        7 => via!(DuplicateExtentsData),
        8 => drop(round_trip(bytes, DuplicateExtentsData::decode_ex, |it| {
            written(|w| it.encode_ex(w))
        })),
        9 => via!(FileLevelTrim),
        10 => via!(FileLevelTrimOutput),
        11 => via!(SymbolicLink),
        12 => drop(ReparseHeader::decode(bytes)),
        _ => drop(round_trip(
            bytes,
            |bytes| str::from_utf8(bytes).ok().and_then(snapshots::parse_token).ok_or(()),
            |moment| snapshots::token(*moment).into_bytes(),
        )),
    }
}

pub(super) fn security(bytes: &[u8]) {
    let round_trip = round_trip(bytes, SecurityDescriptor::decode, |it| written(|w| it.encode(w)));
    let Some(descriptor) = round_trip else { return };
    let token = Token::new(1000, 100, &[100, 27]);
    let granted = granted_by(&descriptor, &token);
    let made = (token.user(), token.group());
    for is_directory in [false, true] {
        let child = for_new(&descriptor, made, is_directory);
        let bytes = written(|w| child.encode(w));
        assert_eq!(SecurityDescriptor::decode(&bytes).as_ref(), Ok(&child));
        let _ = granted_by(&child, &token);
    }
    let replaced = merged(descriptor.clone(), descriptor, SecurityInformation::all());
    assert_eq!(granted_by(&replaced, &token), granted, "replaced by itself it is another");
    let mut r = Reader::new(bytes, "SID");
    if let Ok(sid) = Sid::decode(&mut r) {
        assert!(sid.to_string().starts_with("S-1-"));
    }
}
