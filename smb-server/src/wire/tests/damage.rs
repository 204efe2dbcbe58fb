//! Messages that were cut off or garbled: refused or read, never a panic, and nothing made up.

use super::capture::{Captured, Side, everything};
use crate::fuzzing::info::{relist, requery, reset};
use crate::fuzzing::message::reencode;
use crate::wire::create_context::{CreateContext, CreateContextResponse};
use crate::wire::fscc::ea::GetEa;
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::fscc::notify_info::FileNotifyInfo;
use crate::wire::negotiate::{NegotiateRequest, NegotiateResponse};
use crate::wire::query_info::InfoType;
use crate::wire::smb1_negotiate::Smb1NegotiateRequest;
use crate::wire::transform::TransformHeader;
use crate::wire::validate_negotiate::*;

#[test]
fn a_truncated_message_is_refused_or_lacks_only_padding() {
    for captured in everything().iter().filter(|captured| captured.is_smb2()) {
        for message in captured.messages() {
            let whole = reencode(captured.from, message).expect("a captured message");
            for end in cuts(message.len()) {
                if let Ok(part) = reencode(captured.from, &message[..end]) {
                    assert_eq!(part, whole, "{captured}: {end} of {} bytes", message.len());
                }
            }
        }
    }
}

/// Every length near the fixed parts and near the end, and some between.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let near = move |end: &usize| *end < 256 || *end + 32 > length || end.is_multiple_of(97);
    (0..length).filter(near)
}

#[test]
fn a_garbled_message_is_refused_or_means_something_definite() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for captured in everything().iter().filter(|captured| captured.is_smb2()) {
        for message in captured.messages() {
            for _ in 0..16 {
                let garbled = random.garble(message);
                let Ok(once) = reencode(captured.from, &garbled) else { continue };
                let twice = reencode(captured.from, &once);
                assert_eq!(twice.as_ref(), Ok(&once), "{captured}: {garbled:02x?}");
            }
        }
    }
}

#[test]
fn garbled_parts_of_messages_do_not_panic_any_decoder() {
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    for captured in everything().iter().filter(|captured| captured.bytes.len() > 64) {
        for start in [64, 72, 80, 88, 112, 120, 152] {
            let Some(part) = captured.bytes.get(start..) else { continue };
            feed_all_decoders(&random.garble(part), captured);
        }
    }
}

fn feed_all_decoders(bytes: &[u8], captured: &Captured) {
    for class in 0..=u8::MAX {
        let _ = requery(InfoType::FILE, class, bytes);
        let _ = requery(InfoType::FILESYSTEM, class, bytes);
        let _ = reset(FileInfoClass(class), bytes);
        let _ = relist(FileInfoClass(class), bytes);
    }
    let _ = FileNotifyInfo::decode_all(bytes);
    let _ = GetEa::decode_all(bytes);
    let _ = CreateContext::decode_all(bytes);
    let _ = CreateContextResponse::decode_all(bytes);
    let _ = NegotiateRequest::decode(bytes);
    let _ = NegotiateResponse::decode(bytes);
    let _ = Smb1NegotiateRequest::decode(bytes);
    let _ = TransformHeader::decode(bytes);
    let _ = ValidateNegotiateInfoRequest::decode(bytes);
    let _ = ValidateNegotiateInfoResponse::decode(bytes);
    let _ = reencode(Side::Client, bytes).is_ok() || reencode(captured.from, bytes).is_ok();
}

/// Marsaglia's xorshift: the same garbage in every run.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The bytes with one to four of them changed, or an extreme value put over two or four of
    /// them.
    fn garble(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.next() % 4 {
            let at = self.next() as usize % bytes.len().max(1);
            let width = [1, 2, 4][self.next() as usize % 3];
            let value = [self.next() as u8, 0x00, 0xff, 0x7f][self.next() as usize % 4];
            bytes.iter_mut().skip(at).take(width).for_each(|byte| *byte = value);
        }
        bytes
    }
}
