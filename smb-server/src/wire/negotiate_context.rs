//! The contexts behind a 3.1.1 NEGOTIATE. MS-SMB2 2.2.3.1 and 2.2.4.1; the layouts are the same
//! both ways.

use super::codec::{Malformed, Reader, Slot, Writer};
use super::utf16::Utf16;

/// One negotiate context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NegotiateContext {
    PreauthIntegrity {
        hash_algorithms: Vec<HashAlgorithm>,
        salt: Vec<u8>,
    },
    Encryption {
        ciphers: Vec<Cipher>,
    },
    Compression {
        flags: u32,
        algorithms: Vec<CompressionAlgorithm>,
    },
    NetName {
        name: Utf16,
    },
    Transport {
        flags: u32,
    },
    RdmaTransform {
        transforms: Vec<RdmaTransformId>,
    },
    Signing {
        algorithms: Vec<SigningAlgorithm>,
    },
    /// The POSIX extensions' version, by its 16-byte name.
    Posix {
        data: Vec<u8>,
    },
    Unknown {
        kind: ContextType,
        data: Vec<u8>,
    },
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

impl NegotiateContext {
    /// Reads `count` contexts, the first of which is at `offset` of the message that `r` reads.
    /// What follows a context's known fields is ignored, so that a later version may add to it.
    pub(super) fn decode_list(
        mut r: Reader<'_>,
        offset: usize,
        count: u16,
    ) -> Result<Vec<Self>, Malformed> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if !offset.is_multiple_of(8) {
            return Err(Malformed::new("NegotiateContextOffset"));
        }
        r.seek(offset)?;
        (0..count).map(|_| Self::decode(&mut r)).collect()
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        r.align(8)?;
        let kind = ContextType(r.u16()?);
        let length = r.u16()?;
        r.skip(4)?;
        Self::decode_data(kind, r.take(usize::from(length))?)
    }

    fn decode_data(kind: ContextType, data: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(data, "negotiate context");
        Ok(match kind {
            ContextType::PREAUTH_INTEGRITY_CAPABILITIES => {
                let count = r.u16()?;
                let salt_length = r.u16()?;
                let hash_algorithms = numbers(&mut r, count, HashAlgorithm)?;
                let salt = r.take(usize::from(salt_length))?.to_vec();
                Self::PreauthIntegrity { hash_algorithms, salt }
            }
            ContextType::ENCRYPTION_CAPABILITIES => {
                let count = r.u16()?;
                Self::Encryption { ciphers: numbers(&mut r, count, Cipher)? }
            }
            ContextType::COMPRESSION_CAPABILITIES => {
                let count = r.u16()?;
                r.skip(2)?;
                let flags = r.u32()?;
                let algorithms = numbers(&mut r, count, CompressionAlgorithm)?;
                Self::Compression { flags, algorithms }
            }
            ContextType::NETNAME_NEGOTIATE_CONTEXT_ID => {
                Self::NetName { name: Utf16::decode(data)? }
            }
            ContextType::TRANSPORT_CAPABILITIES => Self::Transport { flags: r.u32()? },
            ContextType::RDMA_TRANSFORM_CAPABILITIES => {
                let count = r.u16()?;
                r.skip(6)?;
                Self::RdmaTransform { transforms: numbers(&mut r, count, RdmaTransformId)? }
            }
            ContextType::SIGNING_CAPABILITIES => {
                let count = r.u16()?;
                Self::Signing { algorithms: numbers(&mut r, count, SigningAlgorithm)? }
            }
            ContextType::POSIX_EXTENSIONS_AVAILABLE => Self::Posix { data: data.to_vec() },
            _ => Self::Unknown { kind, data: data.to_vec() },
        })
    }

    /// Appends the contexts, 8-aligned, and says in `offset` where the first one is.
    pub(super) fn encode_list(contexts: &[Self], offset: Slot, w: &mut Writer<'_>) {
        if contexts.is_empty() {
            w.fill(offset, 0);
            return;
        }
        w.align(8);
        w.fill(offset, w.position());
        contexts.iter().for_each(|context| context.encode(w));
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.align(8);
        w.put_u16(self.kind().0);
        let length = w.reserve_u16();
        w.put_u32(0);
        let start = w.position();
        self.encode_data(w);
        w.fill(length, w.position().saturating_sub(start));
    }

    fn encode_data(&self, w: &mut Writer<'_>) {
        match self {
            Self::PreauthIntegrity { hash_algorithms, salt } => {
                w.put_length_u16(hash_algorithms.len());
                w.put_length_u16(salt.len());
                hash_algorithms.iter().for_each(|number| w.put_u16(number.0));
                w.put_bytes(salt);
            }
            Self::Encryption { ciphers } => {
                w.put_length_u16(ciphers.len());
                ciphers.iter().for_each(|number| w.put_u16(number.0));
            }
            Self::Compression { flags, algorithms } => {
                w.put_length_u16(algorithms.len());
                w.put_u16(0);
                w.put_u32(*flags);
                algorithms.iter().for_each(|number| w.put_u16(number.0));
            }
            Self::NetName { name } => w.put_bytes(&name.to_bytes()),
            Self::Transport { flags } => w.put_u32(*flags),
            Self::RdmaTransform { transforms } => {
                w.put_length_u16(transforms.len());
                w.put_zeros(6);
                transforms.iter().for_each(|number| w.put_u16(number.0));
            }
            Self::Signing { algorithms } => {
                w.put_length_u16(algorithms.len());
                algorithms.iter().for_each(|number| w.put_u16(number.0));
            }
            Self::Posix { data } | Self::Unknown { data, .. } => w.put_bytes(data),
        }
    }

    /// Which context it is. A negotiate may carry each kind once.
    pub fn kind(&self) -> ContextType {
        match self {
            Self::PreauthIntegrity { .. } => ContextType::PREAUTH_INTEGRITY_CAPABILITIES,
            Self::Encryption { .. } => ContextType::ENCRYPTION_CAPABILITIES,
            Self::Compression { .. } => ContextType::COMPRESSION_CAPABILITIES,
            Self::NetName { .. } => ContextType::NETNAME_NEGOTIATE_CONTEXT_ID,
            Self::Transport { .. } => ContextType::TRANSPORT_CAPABILITIES,
            Self::RdmaTransform { .. } => ContextType::RDMA_TRANSFORM_CAPABILITIES,
            Self::Signing { .. } => ContextType::SIGNING_CAPABILITIES,
            Self::Posix { .. } => ContextType::POSIX_EXTENSIONS_AVAILABLE,
            Self::Unknown { kind, .. } => *kind,
        }
    }
}

fn numbers<T>(
    r: &mut Reader<'_>,
    count: u16,
    number: impl Fn(u16) -> T,
) -> Result<Vec<T>, Malformed> {
    (0..count).map(|_| r.u16().map(&number)).collect()
}
