//! The contexts behind a 3.1.1 NEGOTIATE. MS-SMB2 2.2.3.1 and 2.2.4.1; the layouts are the same both ways.

use super::codec::{Malformed, Reader, Writer};
use super::utf16::Utf16;

/// One negotiate context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NegotiateContext {
    PreauthIntegrity { hash_algorithms: Vec<HashAlgorithm>, salt: Vec<u8> },
    Encryption { ciphers: Vec<Cipher> },
    Compression { flags: u32, algorithms: Vec<CompressionAlgorithm> },
    NetName { name: Utf16 },
    Transport { flags: u32 },
    RdmaTransform { transforms: Vec<RdmaTransformId> },
    Signing { algorithms: Vec<SigningAlgorithm> },
    /// The POSIX extensions' version, by its 16-byte name.
    Posix { data: Vec<u8> },
    Unknown { kind: ContextType, data: Vec<u8> },
}

open_enum! {
    /// MS-SMB2 2.2.3.1, ContextType.
    pub struct ContextType(u16) {
        PREAUTH_INTEGRITY_CAPABILITIES = 0x0001,
        ENCRYPTION_CAPABILITIES = 0x0002,
        COMPRESSION_CAPABILITIES = 0x0003,
        NETNAME_NEGOTIATE_CONTEXT_ID = 0x0005,
        TRANSPORT_CAPABILITIES = 0x0006,
        RDMA_TRANSFORM_CAPABILITIES = 0x0007,
        SIGNING_CAPABILITIES = 0x0008,
        POSIX_EXTENSIONS_AVAILABLE = 0x0100,
    }
}

open_enum! {
    /// MS-SMB2 2.2.3.1.1.
    pub struct HashAlgorithm(u16) {
        SHA_512 = 0x0001,
    }
}

open_enum! {
    /// MS-SMB2 2.2.3.1.2. 0 in an answer: none in common.
    pub struct Cipher(u16) {
        NONE = 0x0000,
        AES_128_CCM = 0x0001,
        AES_128_GCM = 0x0002,
        AES_256_CCM = 0x0003,
        AES_256_GCM = 0x0004,
    }
}

open_enum! {
    /// MS-SMB2 2.2.3.1.3.
    pub struct CompressionAlgorithm(u16) {
        NONE = 0x0000,
        LZNT1 = 0x0001,
        LZ77 = 0x0002,
        LZ77_HUFFMAN = 0x0003,
        PATTERN_V1 = 0x0004,
        LZ4 = 0x0005,
    }
}

open_enum! {
    /// MS-SMB2 2.2.3.1.6.
    pub struct RdmaTransformId(u16) {
        NONE = 0x0000,
        ENCRYPTION = 0x0001,
        SIGNING = 0x0002,
    }
}

open_enum! {
    /// MS-SMB2 2.2.3.1.7.
    pub struct SigningAlgorithm(u16) {
        HMAC_SHA256 = 0x0000,
        AES_CMAC = 0x0001,
        AES_GMAC = 0x0002,
    }
}
