//! The PDUs of connection-oriented DCE/RPC. C706 12.6, MS-RPCE 2.2.2.
//!
//! They are read and written here, and kept or answered in `pipe`. Security trailers are stepped over: the SMB session
//! has already said who the client is.

use crate::wire::codec::{Malformed, Reader, Writer};

/// The common header. C706 12.6.3.1.
pub(super) const HEADER_LEN: usize = 16;
/// Header and fixed part of a response.
const RESPONSE_HEADER_LEN: usize = 24;
/// The trailer before the authentication value. C706 13.2.6.1.
const AUTH_TRAILER_LEN: usize = 8;
/// Little-endian integers, ASCII, IEEE. C706 14.1.
const NDR_LITTLE_ENDIAN: [u8; 4] = [0x10, 0, 0, 0];

pub(super) const FIRST_FRAGMENT: u8 = 0x01;
pub(super) const LAST_FRAGMENT: u8 = 0x02;
const OBJECT_UUID: u8 = 0x80;

/// The kinds of PDU that appear here. C706 12.6.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PduType {
    Request = 0,
    Response = 2,
    Fault = 3,
    Bind = 11,
    BindAck = 12,
    AlterContext = 14,
    AlterContextResponse = 15,
    Auth3 = 16,
    Cancel = 18,
    Orphaned = 19,
}

impl PduType {
    fn from_wire(value: u8) -> Option<Self> {
        use PduType::*;
        [Request, Bind, AlterContext, Auth3, Cancel, Orphaned]
            .into_iter()
            .find(|kind| *kind as u8 == value)
    }
}

/// Why a call was not answered. C706 appendix E.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// nca_op_rng_error: no such operation.
    OpRange = 0x1c01_0002,
    /// nca_unk_if: no such presentation context.
    UnknownInterface = 0x1c01_0003,
    /// nca_s_fault_context_mismatch: the handle is not one of this pipe's.
    ContextMismatch = 0x1c00_001a,
    /// nca_s_fault_ndr: the parameters are not what the operation takes.
    Ndr = 0x0000_06f7,
}

/// How long a PDU is by its own account, once its header is there.
pub(super) fn fragment_length(bytes: &[u8]) -> Option<usize> {
    let (low, high) = (*bytes.get(8)?, *bytes.get(9)?);
    (bytes.len() >= HEADER_LEN).then(|| usize::from(u16::from_le_bytes([low, high])))
}

/// One PDU from the client.
pub(super) struct Fragment<'a> {
    pub(super) kind: PduType,
    pub(super) flags: u8,
    pub(super) call_id: u32,
    /// What follows the header, without padding and security trailer.
    pub(super) body: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// `bytes` are exactly the PDU.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes, "RPC header");
        let (version, _minor, kind, flags) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
        let representation: [u8; 4] = r.array()?;
        let (_length, auth_length, call_id) = (r.u16()?, r.u16()?, r.u32()?);
        let kind = PduType::from_wire(kind).ok_or_else(|| r.malformed())?;
        if version != 5 || representation != NDR_LITTLE_ENDIAN {
            return Err(r.malformed());
        }
        let body = without_trailer(r.rest(), usize::from(auth_length))?;
        Ok(Self { kind, flags, call_id, body })
    }
}

/// Cuts the padding and the security trailer off, if there is one.
fn without_trailer(body: &[u8], auth_length: usize) -> Result<&[u8], Malformed> {
    if auth_length == 0 {
        return Ok(body);
    }
    let malformed = Malformed::new("RPC security trailer");
    let trailer = body.len().checked_sub(auth_length + AUTH_TRAILER_LEN).ok_or(malformed)?;
    let padding = usize::from(*body.get(trailer + 2).ok_or(malformed)?);
    let end = trailer.checked_sub(padding).ok_or(malformed)?;
    body.get(..end).ok_or(malformed)
}

/// An interface or an encoding, with its version. C706 12.6.3.1, p_syntax_id_t.
pub(super) type Syntax = [u8; 20];

/// One presentation context that the client proposes.
pub(super) struct ProposedContext {
    pub(super) id: u16,
    pub(super) interface: Syntax,
    pub(super) encodings: Vec<Syntax>,
}

/// bind and alter_context. C706 12.6.4.3.
pub(super) struct Bind {
    pub(super) transmit_max: u16,
    pub(super) receive_max: u16,
    pub(super) association_group: u32,
    pub(super) contexts: Vec<ProposedContext>,
}

impl Bind {
    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(body, "RPC bind");
        let (transmit_max, receive_max, association_group) = (r.u16()?, r.u16()?, r.u32()?);
        let count = r.u8()?;
        r.skip(3)?;
        let contexts = (0..count).map(|_| Self::context(&mut r)).collect::<Result<_, _>>()?;
        Ok(Self { transmit_max, receive_max, association_group, contexts })
    }

    fn context(r: &mut Reader<'_>) -> Result<ProposedContext, Malformed> {
        let (id, count) = (r.u16()?, r.u8()?);
        r.skip(1)?;
        let interface = r.array()?;
        let encodings = (0..count).map(|_| r.array()).collect::<Result<_, _>>()?;
        Ok(ProposedContext { id, interface, encodings })
    }
}

/// The answer to one proposed context. C706 12.6.3.1, p_result_t; MS-RPCE 2.2.2.4 for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContextResult {
    Accepted(Syntax),
    InterfaceUnknown,
    EncodingUnknown,
    TooMany,
    /// Bind-time feature negotiation. No optional feature is offered, so the mask of features is 0.
    FeaturesNegotiated,
}

impl ContextResult {
    fn to_wire(self) -> (u16, u16, Syntax) {
        match self {
            Self::Accepted(encoding) => (0, 0, encoding),
            Self::InterfaceUnknown => (2, 1, [0; 20]),
            Self::EncodingUnknown => (2, 2, [0; 20]),
            Self::TooMany => (2, 3, [0; 20]),
            Self::FeaturesNegotiated => (3, 0, [0; 20]),
        }
    }
}

/// bind_ack and alter_context_resp. C706 12.6.4.4.
pub(super) struct BindAck<'a> {
    pub(super) kind: PduType,
    pub(super) call_id: u32,
    pub(super) transmit_max: u16,
    pub(super) receive_max: u16,
    pub(super) association_group: u32,
    /// Where the client could bind too: the pipe's name.
    pub(super) address: &'a str,
    pub(super) results: &'a [ContextResult],
}

impl BindAck<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        w.put_u16(self.transmit_max);
        w.put_u16(self.receive_max);
        w.put_u32(self.association_group);
        w.put_length_u16(self.address.len() + 1);
        w.put_bytes(self.address.as_bytes());
        w.put_u8(0);
        // The header before this body is a multiple of four bytes long.
        w.align(4);
        w.put_u8(u8::try_from(self.results.len()).unwrap_or(u8::MAX));
        w.put_zeros(3);
        for result in self.results {
            let (result, reason, encoding) = result.to_wire();
            w.put_u16(result);
            w.put_u16(reason);
            w.put_bytes(&encoding);
        }
        pdu(self.kind, FIRST_FRAGMENT | LAST_FRAGMENT, self.call_id, &bytes)
    }
}

/// A fragment of a call. C706 12.6.4.9.
pub(super) struct Request<'a> {
    pub(super) context_id: u16,
    pub(super) operation: u16,
    pub(super) stub: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn decode(fragment: &Fragment<'a>) -> Result<Self, Malformed> {
        let mut r = Reader::new(fragment.body, "RPC request");
        let (_size_hint, context_id, operation) = (r.u32()?, r.u16()?, r.u16()?);
        if fragment.flags & OBJECT_UUID != 0 {
            r.skip(16)?;
        }
        Ok(Self { context_id, operation, stub: r.rest() })
    }
}

/// The PDUs that carry a result, none longer than `fragment_max`. C706 12.6.4.10.
pub(super) fn response(
    call_id: u32,
    context_id: u16,
    stub: &[u8],
    fragment_max: usize,
) -> Vec<Vec<u8>> {
    // C706 12.6.3.7: all fragments but the last carry a multiple of eight bytes.
    let room = (fragment_max.saturating_sub(RESPONSE_HEADER_LEN) & !7).max(8);
    let mut rest = stub;
    let mut flags = FIRST_FRAGMENT;
    let mut fragments = Vec::new();
    loop {
        let (part, behind) = rest.split_at(room.min(rest.len()));
        flags |= if behind.is_empty() { LAST_FRAGMENT } else { 0 };
        let mut body = Vec::with_capacity(part.len() + 8);
        let mut w = Writer::new(&mut body);
        w.put_length_u32(rest.len());
        w.put_u16(context_id);
        w.put_zeros(2);
        w.put_bytes(part);
        fragments.push(pdu(PduType::Response, flags, call_id, &body));
        if behind.is_empty() {
            return fragments;
        }
        (rest, flags) = (behind, 0);
    }
}

/// The PDU that carries no result, but why. C706 12.6.4.7.
pub(super) fn fault(call_id: u32, context_id: u16, fault: Fault) -> Vec<u8> {
    let mut body = Vec::new();
    let mut w = Writer::new(&mut body);
    w.put_u32(0);
    w.put_u16(context_id);
    w.put_zeros(2);
    w.put_u32(fault as u32);
    w.put_zeros(4);
    pdu(PduType::Fault, FIRST_FRAGMENT | LAST_FRAGMENT, call_id, &body)
}

fn pdu(kind: PduType, flags: u8, call_id: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
    let mut w = Writer::new(&mut bytes);
    w.put_bytes(&[5, 0, kind as u8, flags]);
    w.put_bytes(&NDR_LITTLE_ENDIAN);
    w.put_length_u16(HEADER_LEN + body.len());
    w.put_u16(0);
    w.put_u32(call_id);
    w.put_bytes(body);
    bytes
}
