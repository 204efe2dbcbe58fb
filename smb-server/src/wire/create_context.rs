//! The chain of contexts behind a CREATE. MS-SMB2 2.2.13.2 and 2.2.14.2.
//!
//! A chain that cannot be read fails the one request (`STATUS_INVALID_PARAMETER`), it is no reason to drop
//! the connection: hence an error of its own.

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
    DurableHandleReconnect { file_id: FileId },
    /// `DH2Q`. `timeout_ms` 0: as the server likes.
    DurableHandleRequestV2 { timeout_ms: u32, flags: DurableV2Flags, create_guid: Guid },
    /// `DH2C`.
    DurableHandleReconnectV2 { file_id: FileId, create_guid: Guid, flags: DurableV2Flags },
    /// `AlSi`: bytes to allocate.
    AllocationSize(u64),
    /// `MxAc`, with the time of a cached answer or without one.
    QueryMaximalAccess { timestamp: Option<FileTime> },
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
    DurableHandleV2 { timeout_ms: u32, flags: DurableV2Flags },
    /// `MxAc`.
    MaximalAccess { query_status: NtStatus, maximal_access: AccessMask },
    /// `QFid`.
    OnDiskId { disk_file_id: u64, volume_id: u64 },
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
