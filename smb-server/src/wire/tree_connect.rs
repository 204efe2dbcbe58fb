//! TREE_CONNECT: asks for a share by its path. MS-SMB2 2.2.9 and 2.2.10.

use bitflags::bitflags;

use super::access_mask::AccessMask;
use super::codec::{Malformed, Reader, Writer};
use super::utf16::Utf16;

/// MS-SMB2 2.2.9.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeConnectRequest {
    pub flags: TreeConnectFlags,
    /// `\\server\share`.
    pub path: Utf16,
}

/// MS-SMB2 2.2.10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeConnectResponse {
    pub share_type: ShareType,
    pub share_flags: ShareFlags,
    pub capabilities: ShareCapabilities,
    pub maximal_access: AccessMask,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct TreeConnectFlags: u16 {
        const CLUSTER_RECONNECT = 0x0001;
        const REDIRECT_TO_OWNER = 0x0002;
        const EXTENSION_PRESENT = 0x0004;
    }
}

open_enum! {
    pub struct ShareType(u8) {
        DISK = 0x01,
        PIPE = 0x02,
        PRINT = 0x03,
    }
}

bitflags! {
    /// MS-SMB2 2.2.10, ShareFlags. Bits 4 and 5 are a number, the caching mode: 0 manual, 0x10
    /// auto, 0x20 programs and documents, 0x30 none.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ShareFlags: u32 {
        const DFS = 0x0000_0001;
        const DFS_ROOT = 0x0000_0002;
        const AUTO_CACHING = 0x0000_0010;
        const VDO_CACHING = 0x0000_0020;
        const NO_CACHING = 0x0000_0030;
        const RESTRICT_EXCLUSIVE_OPENS = 0x0000_0100;
        const FORCE_SHARED_DELETE = 0x0000_0200;
        const ALLOW_NAMESPACE_CACHING = 0x0000_0400;
        const ACCESS_BASED_DIRECTORY_ENUM = 0x0000_0800;
        const FORCE_LEVELII_OPLOCK = 0x0000_1000;
        const ENABLE_HASH_V1 = 0x0000_2000;
        const ENABLE_HASH_V2 = 0x0000_4000;
        const ENCRYPT_DATA = 0x0000_8000;
        const IDENTITY_REMOTING = 0x0004_0000;
        const COMPRESS_DATA = 0x0010_0000;
        const ISOLATED_TRANSPORT = 0x0020_0000;
    }
}

bitflags! {
    /// MS-SMB2 2.2.10, Capabilities.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ShareCapabilities: u32 {
        const DFS = 0x0000_0008;
        const CONTINUOUS_AVAILABILITY = 0x0000_0010;
        const SCALEOUT = 0x0000_0020;
        const CLUSTER = 0x0000_0040;
        const ASYMMETRIC = 0x0000_0080;
        const REDIRECT_TO_OWNER = 0x0000_0100;
    }
}

impl TreeConnectRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 9, "TREE_CONNECT request")?;
        let flags = TreeConnectFlags::from_bits_retain(r.u16()?);
        let path = (r.u16()?, r.u16()?);
        let path = Utf16::decode(r.window(path.0, path.1)?)?;
        Ok(Self { flags, path })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(9);
        w.put_u16(self.flags.bits());
        let (offset, length) = (w.reserve_u16(), w.reserve_u16());
        w.attach(offset, length, &self.path.to_bytes());
    }
}

impl TreeConnectResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 16, "TREE_CONNECT response")?;
        let share_type = ShareType(r.u8()?);
        r.skip(1)?;
        Ok(Self {
            share_type,
            share_flags: ShareFlags::from_bits_retain(r.u32()?),
            capabilities: ShareCapabilities::from_bits_retain(r.u32()?),
            maximal_access: AccessMask::from_bits_retain(r.u32()?),
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(16);
        w.put_u8(self.share_type.0);
        w.put_u8(0);
        w.put_u32(self.share_flags.bits());
        w.put_u32(self.capabilities.bits());
        w.put_u32(self.maximal_access.bits());
    }
}
