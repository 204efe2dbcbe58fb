//! The chain of contexts behind a CREATE. MS-SMB2 2.2.13.2 and 2.2.14.2.
//!
//! A chain that cannot be read fails the one request (`STATUS_INVALID_PARAMETER`), it is no reason
//! to drop the connection: hence an error of its own.

use std::fmt;

use bitflags::bitflags;

use super::access_mask::AccessMask;
use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;
use super::filetime::FileTime;
use super::guid::Guid;
use super::lease::Lease;
use super::status::NtStatus;

/// The chain or one of its contexts cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedContexts {
    pub what: &'static str,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawContext {
    /// Four letters, or the sixteen bytes of a GUID.
    pub name: Vec<u8>,
    pub data: Vec<u8>,
}

/// A context of a request. MS-SMB2 2.2.13.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateContext {
    /// `ExtA`: a chain of FILE_FULL_EA_INFORMATION.
    ExtendedAttributes(Vec<u8>),
    /// `SecD`: a self-relative security descriptor.
    SecurityDescriptor(Vec<u8>),
    /// `DHnQ`.
    DurableHandleRequest,
    /// `DHnC`.
    DurableHandleReconnect {
        file_id: FileId,
    },
    /// `DH2Q`. `timeout_ms` 0: as the server likes.
    DurableHandleRequestV2 {
        timeout_ms: u32,
        flags: DurableV2Flags,
        create_guid: Guid,
    },
    /// `DH2C`.
    DurableHandleReconnectV2 {
        file_id: FileId,
        create_guid: Guid,
        flags: DurableV2Flags,
    },
    /// `AlSi`: bytes to allocate.
    AllocationSize(u64),
    /// `MxAc`, with the time of a cached answer or without one.
    QueryMaximalAccess {
        timestamp: Option<FileTime>,
    },
    /// `TWrp`: the file as of this snapshot.
    Timewarp(FileTime),
    /// `QFid`.
    QueryOnDiskId,
    /// `RqLs`.
    RequestLease(Lease),
    Unknown(RawContext),
}

/// A context of a response. MS-SMB2 2.2.14.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateContextResponse {
    /// `DHnQ`.
    DurableHandle,
    /// `DH2Q`.
    DurableHandleV2 {
        timeout_ms: u32,
        flags: DurableV2Flags,
    },
    /// `MxAc`.
    MaximalAccess {
        query_status: NtStatus,
        maximal_access: AccessMask,
    },
    /// `QFid`.
    OnDiskId {
        disk_file_id: u64,
        volume_id: u64,
    },
    /// `RqLs`.
    Lease(Lease),
    Unknown(RawContext),
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DurableV2Flags: u32 {
        const PERSISTENT = 0x0000_0002;
    }
}

impl MalformedContexts {
    const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

impl From<Malformed> for MalformedContexts {
    fn from(error: Malformed) -> Self {
        Self::new(error.what)
    }
}

impl fmt::Display for MalformedContexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed create context: {}", self.what)
    }
}

impl std::error::Error for MalformedContexts {}

impl CreateContext {
    /// The contexts of a request's chain, in their order. An empty chain has none.
    pub fn decode_all(chain: &[u8]) -> Result<Vec<Self>, MalformedContexts> {
        RawContext::decode_all(chain)?.into_iter().map(Self::decode).collect()
    }

    /// A chain of these contexts.
    pub fn encode_all(contexts: &[Self]) -> Vec<u8> {
        let raw: Vec<_> = contexts.iter().map(Self::to_raw).collect();
        RawContext::encode_all(&raw)
    }

    fn decode(raw: RawContext) -> Result<Self, MalformedContexts> {
        let mut r = Reader::new(&raw.data, "data");
        let context = match raw.name.as_slice() {
            b"ExtA" => return Ok(Self::ExtendedAttributes(raw.data)),
            b"SecD" => return Ok(Self::SecurityDescriptor(raw.data)),
            b"RqLs" => return Ok(Self::RequestLease(Lease::decode(&raw.data)?)),
            b"DHnQ" => {
                r.skip(16)?;
                Self::DurableHandleRequest
            }
            b"DHnC" => Self::DurableHandleReconnect { file_id: FileId::decode(&mut r)? },
            b"DH2Q" => Self::decode_durable_v2(&mut r)?,
            b"DH2C" => Self::DurableHandleReconnectV2 {
                file_id: FileId::decode(&mut r)?,
                create_guid: Guid::decode(&mut r)?,
                flags: DurableV2Flags::from_bits_retain(r.u32()?),
            },
            b"AlSi" => Self::AllocationSize(r.u64()?),
            b"MxAc" if raw.data.is_empty() => Self::QueryMaximalAccess { timestamp: None },
            b"MxAc" => Self::QueryMaximalAccess { timestamp: Some(FileTime::decode(&mut r)?) },
            b"TWrp" => Self::Timewarp(FileTime::decode(&mut r)?),
            b"QFid" => Self::QueryOnDiskId,
            _ => return Ok(Self::Unknown(raw)),
        };
        r.finish()?;
        Ok(context)
    }

    fn decode_durable_v2(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let timeout_ms = r.u32()?;
        let flags = DurableV2Flags::from_bits_retain(r.u32()?);
        r.skip(8)?;
        Ok(Self::DurableHandleRequestV2 { timeout_ms, flags, create_guid: Guid::decode(r)? })
    }

    fn to_raw(&self) -> RawContext {
        match self {
            Self::ExtendedAttributes(data) => RawContext::new(b"ExtA", |w| w.put_bytes(data)),
            Self::SecurityDescriptor(data) => RawContext::new(b"SecD", |w| w.put_bytes(data)),
            Self::DurableHandleRequest => RawContext::new(b"DHnQ", |w| w.put_zeros(16)),
            Self::DurableHandleReconnect { file_id } => {
                RawContext::new(b"DHnC", |w| file_id.encode(w))
            }
            Self::DurableHandleRequestV2 { timeout_ms, flags, create_guid } => {
                RawContext::new(b"DH2Q", |w| {
                    w.put_u32(*timeout_ms);
                    w.put_u32(flags.bits());
                    w.put_u64(0);
                    create_guid.encode(w);
                })
            }
            Self::DurableHandleReconnectV2 { file_id, create_guid, flags } => {
                RawContext::new(b"DH2C", |w| {
                    file_id.encode(w);
                    create_guid.encode(w);
                    w.put_u32(flags.bits());
                })
            }
            Self::AllocationSize(size) => RawContext::new(b"AlSi", |w| w.put_u64(*size)),
            Self::QueryMaximalAccess { timestamp } => RawContext::new(b"MxAc", |w| {
                timestamp.iter().for_each(|time| time.encode(w));
            }),
            Self::Timewarp(time) => RawContext::new(b"TWrp", |w| time.encode(w)),
            Self::QueryOnDiskId => RawContext::new(b"QFid", |_| ()),
            Self::RequestLease(lease) => RawContext::new(b"RqLs", |w| lease.encode(w)),
            Self::Unknown(raw) => raw.clone(),
        }
    }
}

impl CreateContextResponse {
    /// The contexts of a response's chain, in their order. An empty chain has none.
    pub fn decode_all(chain: &[u8]) -> Result<Vec<Self>, MalformedContexts> {
        RawContext::decode_all(chain)?.into_iter().map(Self::decode).collect()
    }

    /// A chain of these contexts.
    pub fn encode_all(contexts: &[Self]) -> Vec<u8> {
        let raw: Vec<_> = contexts.iter().map(Self::to_raw).collect();
        RawContext::encode_all(&raw)
    }

    fn decode(raw: RawContext) -> Result<Self, MalformedContexts> {
        let mut r = Reader::new(&raw.data, "data");
        let context = match raw.name.as_slice() {
            b"RqLs" => return Ok(Self::Lease(Lease::decode(&raw.data)?)),
            b"DHnQ" => {
                r.skip(8)?;
                Self::DurableHandle
            }
            b"DH2Q" => Self::DurableHandleV2 {
                timeout_ms: r.u32()?,
                flags: DurableV2Flags::from_bits_retain(r.u32()?),
            },
            b"MxAc" => Self::MaximalAccess {
                query_status: NtStatus(r.u32()?),
                maximal_access: AccessMask::from_bits_retain(r.u32()?),
            },
            b"QFid" => {
                let (disk_file_id, volume_id) = (r.u64()?, r.u64()?);
                r.skip(16)?;
                Self::OnDiskId { disk_file_id, volume_id }
            }
            _ => return Ok(Self::Unknown(raw)),
        };
        r.finish()?;
        Ok(context)
    }

    fn to_raw(&self) -> RawContext {
        match self {
            Self::DurableHandle => RawContext::new(b"DHnQ", |w| w.put_u64(0)),
            Self::DurableHandleV2 { timeout_ms, flags } => RawContext::new(b"DH2Q", |w| {
                w.put_u32(*timeout_ms);
                w.put_u32(flags.bits());
            }),
            Self::MaximalAccess { query_status, maximal_access } => RawContext::new(b"MxAc", |w| {
                w.put_u32(query_status.0);
                w.put_u32(maximal_access.bits());
            }),
            Self::OnDiskId { disk_file_id, volume_id } => RawContext::new(b"QFid", |w| {
                w.put_u64(*disk_file_id);
                w.put_u64(*volume_id);
                w.put_zeros(16);
            }),
            Self::Lease(lease) => RawContext::new(b"RqLs", |w| lease.encode(w)),
            Self::Unknown(raw) => raw.clone(),
        }
    }
}

impl RawContext {
    const FIXED: usize = 16;
    /// The specification knows a dozen contexts, each of which makes sense once.
    const COUNT_MAX: usize = 64;

    fn new(name: &[u8], data: impl FnOnce(&mut Writer<'_>)) -> Self {
        let mut bytes = Vec::new();
        data(&mut Writer::new(&mut bytes));
        Self { name: name.to_vec(), data: bytes }
    }

    /// Walks the chain.
    pub fn decode_all(mut chain: &[u8]) -> Result<Vec<Self>, MalformedContexts> {
        let mut contexts = Vec::new();
        while !chain.is_empty() {
            let next = Reader::new(chain, "Next").length()?;
            // The last context has no successor, and whatever is left over belongs to it.
            let length = if next == 0 { chain.len() } else { next };
            if !next.is_multiple_of(8) || length < Self::FIXED {
                return Err(MalformedContexts::new("Next"));
            }
            if contexts.len() == Self::COUNT_MAX {
                return Err(MalformedContexts::new("too many contexts"));
            }
            let (context, rest) =
                chain.split_at_checked(length).ok_or(MalformedContexts::new("Next"))?;
            contexts.push(Self::decode(context)?);
            if next != 0 && rest.is_empty() {
                return Err(MalformedContexts::new("Next"));
            }
            chain = rest;
        }
        Ok(contexts)
    }

    fn decode(context: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(context, "offsets");
        r.skip(4)?;
        let name = (r.u16()?, r.u16()?);
        r.skip(2)?;
        let data = (r.u16()?, r.u32()?);
        // MS-SMB2 2.2.13.2: a name has four bytes at least.
        if name.1 < 4 {
            return Err(Malformed::new("NameLength"));
        }
        Ok(Self {
            name: r.window(name.0, name.1)?.to_vec(),
            data: r.window(data.0, data.1)?.to_vec(),
        })
    }

    /// A chain of these contexts.
    pub fn encode_all(contexts: &[Self]) -> Vec<u8> {
        let mut chain = Vec::new();
        let mut left = contexts.len();
        for context in contexts {
            left = left.saturating_sub(1);
            context.encode(left == 0, &mut Writer::new(&mut chain));
        }
        chain
    }

    fn encode(&self, last: bool, w: &mut Writer<'_>) {
        let next = w.reserve_u32();
        let (name_offset, name_length) = (w.reserve_u16(), w.reserve_u16());
        w.put_u16(0);
        let (data_offset, data_length) = (w.reserve_u16(), w.reserve_u32());
        w.attach(name_offset, name_length, &self.name);
        w.align(8);
        w.attach(data_offset, data_length, &self.data);
        if last {
            w.fill(next, 0);
        } else {
            w.align(8);
            w.fill(next, w.position());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-SMB2 2.2.13.2: Next, NameOffset, NameLength, Reserved, DataOffset, DataLength, then the
    /// name.
    fn raw(next: u32, name: (u16, u16), data: (u16, u32)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        w.put_u32(next);
        w.put_u16(name.0);
        w.put_u16(name.1);
        w.put_u16(0);
        w.put_u16(data.0);
        w.put_u32(data.1);
        w.put_bytes(b"QFid\0\0\0\0");
        bytes
    }

    #[test]
    fn contexts_are_linked_by_the_offset_of_the_next() {
        let mut chain = raw(24, (16, 4), (0, 0));
        chain.extend(raw(0, (16, 4), (24, 0)));
        let contexts = CreateContext::decode_all(&chain);
        assert_eq!(contexts, Ok(vec![CreateContext::QueryOnDiskId; 2]));
        assert_eq!(CreateContext::decode_all(&[]), Ok(Vec::new()));
    }

    #[test]
    fn a_chain_whose_links_lead_astray_is_malformed() {
        for next in [8, 12, 20, 24, 32, 0xffff_fff8] {
            let chain = raw(next, (16, 4), (0, 0));
            assert!(CreateContext::decode_all(&chain).is_err(), "{next}");
        }
    }

    #[test]
    fn a_chain_of_thousands_is_refused() {
        let link = raw(24, (16, 4), (0, 0));
        let end = raw(0, (16, 4), (0, 0));
        let chain = |links: usize| [link.repeat(links), end.clone()].concat();
        assert!(CreateContext::decode_all(&chain(63)).is_ok());
        assert!(CreateContext::decode_all(&chain(64)).is_err());
    }

    #[test]
    fn a_name_or_data_outside_its_context_is_malformed() {
        for (name, data) in [
            ((16, 9), (0, 0)),
            ((12, 4), (0, 0)),
            ((16, 3), (0, 0)),
            ((16, 4), (24, 1)),
            ((16, 4), (8, 4)),
            ((16, 4), (16, u32::MAX)),
        ] {
            let chain = raw(0, name, data);
            assert!(CreateContext::decode_all(&chain).is_err(), "{name:?} {data:?}");
        }
    }

    #[test]
    fn data_of_the_wrong_length_is_malformed() {
        assert!(CreateContext::decode_all(&raw(0, (16, 4), (20, 4))).is_err(), "QFid has none");
        for (name, length) in [
            (b"DHnQ", 15),
            (b"DHnC", 17),
            (b"DH2Q", 31),
            (b"DH2C", 35),
            (b"RqLs", 33),
            (b"MxAc", 4),
        ] {
            let raw = RawContext { name: name.to_vec(), data: vec![0; length] };
            let chain = RawContext::encode_all(&[raw]);
            assert!(CreateContext::decode_all(&chain).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_lease_is_32_bytes_and_its_second_version_52() {
        for (length, has_v2) in [(32, false), (52, true)] {
            let raw = RawContext { name: b"RqLs".to_vec(), data: vec![0; length] };
            let chain = RawContext::encode_all(&[raw]);
            let contexts = CreateContext::decode_all(&chain).expect("a lease");
            let [CreateContext::RequestLease(lease)] = &contexts[..] else {
                panic!("{contexts:?}");
            };
            assert_eq!(lease.v2.is_some(), has_v2);
        }
    }
}
