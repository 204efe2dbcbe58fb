//! The three messages of NTLM (MS-NLMP 2.2.1): reading with every offset checked, and writing.

use super::flags;

/// Every message starts with this.
pub const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

const NEGOTIATE: u32 = 1;
const CHALLENGE: u32 = 2;
const AUTHENTICATE: u32 = 3;

/// Version (MS-NLMP 2.2.2.10): Windows 10.0, NTLM revision 15. Clients show it; none acts on it.
const VERSION: [u8; 8] = [10, 0, 0, 0, 0, 0, 0, 15];

/// Where the MIC stands in an AUTHENTICATE message that has one, and where the payload then starts.
pub(crate) const MIC: std::ops::Range<usize> = 72..88;

/// AV_PAIR ids (MS-NLMP 2.2.2.1).
pub(crate) mod av {
    pub(crate) const EOL: u16 = 0;
    pub(crate) const NB_COMPUTER_NAME: u16 = 1;
    pub(crate) const NB_DOMAIN_NAME: u16 = 2;
    pub(crate) const DNS_COMPUTER_NAME: u16 = 3;
    pub(crate) const DNS_DOMAIN_NAME: u16 = 4;
    pub(crate) const FLAGS: u16 = 6;
    pub(crate) const TIMESTAMP: u16 = 7;
    /// A bit of FLAGS: the AUTHENTICATE message has a MIC.
    pub(crate) const FLAG_MIC: u32 = 2;
}

/// The client's opening.
#[derive(Debug)]
pub(crate) struct Negotiate {
    pub(crate) flags: u32,
}

impl Negotiate {
    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        check_type(message, NEGOTIATE)?;
        Some(Self { flags: u32_at(message, 12)? })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut message = start(NEGOTIATE);
        message.extend(self.flags.to_le_bytes());
        message.extend([0; 16]); // no domain, no workstation
        message.extend(VERSION);
        message
    }
}

/// The server's answer.
#[derive(Debug)]
pub(crate) struct Challenge<'a> {
    pub(crate) flags: u32,
    pub(crate) server_challenge: [u8; 8],
    pub(crate) target_name: &'a [u8],
    /// AV pairs, EOL included.
    pub(crate) target_info: &'a [u8],
}

impl<'a> Challenge<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        check_type(message, CHALLENGE)?;
        Some(Self {
            flags: u32_at(message, 20)?,
            server_challenge: array_at(message, 24)?,
            target_name: field_at(message, 12)?,
            target_info: field_at(message, 40)?,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Payload::after(56);
        let target_name = payload.push(self.target_name);
        let target_info = payload.push(self.target_info);
        let mut message = start(CHALLENGE);
        message.extend(target_name);
        message.extend(self.flags.to_le_bytes());
        message.extend(self.server_challenge);
        message.extend([0; 8]);
        message.extend(target_info);
        message.extend(VERSION);
        message.extend(payload.bytes);
        message
    }
}

/// The client's proof.
#[derive(Debug)]
pub(crate) struct Authenticate<'a> {
    pub(crate) flags: u32,
    pub(crate) lm_response: &'a [u8],
    pub(crate) nt_response: &'a [u8],
    pub(crate) domain: &'a [u8],
    pub(crate) user: &'a [u8],
    pub(crate) workstation: &'a [u8],
    pub(crate) encrypted_session_key: &'a [u8],
}

impl<'a> Authenticate<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        check_type(message, AUTHENTICATE)?;
        Some(Self {
            lm_response: field_at(message, 12)?,
            nt_response: field_at(message, 20)?,
            domain: field_at(message, 28)?,
            user: field_at(message, 36)?,
            workstation: field_at(message, 44)?,
            encrypted_session_key: field_at(message, 52)?,
            flags: u32_at(message, 60)?,
        })
    }

    /// The message with a MIC of zeros.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Payload::after(MIC.end);
        let domain = payload.push(self.domain);
        let user = payload.push(self.user);
        let workstation = payload.push(self.workstation);
        let lm = payload.push(self.lm_response);
        let nt = payload.push(self.nt_response);
        let key = payload.push(self.encrypted_session_key);
        let mut message = start(AUTHENTICATE);
        [lm, nt, domain, user, workstation, key].iter().for_each(|field| message.extend(field));
        message.extend(self.flags.to_le_bytes());
        message.extend(VERSION);
        message.extend([0; 16]);
        message.extend(payload.bytes);
        message
    }

    /// MS-NLMP 3.2.5.1.2: neither a name nor an answer, save a zero byte in the LM response.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.user.is_empty() && self.nt_response.is_empty() && matches!(self.lm_response, [] | [0])
    }

    /// Whether names are UTF-16LE, as NTLMv2 needs them.
    pub(crate) fn is_unicode(&self) -> bool {
        self.flags & flags::UNICODE != 0
    }
}

/// NTLMv2_RESPONSE: a proof and what it is about.
#[derive(Debug)]
pub(crate) struct Ntlmv2Response<'a> {
    pub(crate) nt_proof: &'a [u8; 16],
    /// NTLMv2_CLIENT_CHALLENGE, all of it covered by the proof.
    pub(crate) blob: &'a [u8],
}

impl<'a> Ntlmv2Response<'a> {
    /// `None` for anything else, NTLMv1's 24 bytes among it.
    pub(crate) fn parse(response: &'a [u8]) -> Option<Self> {
        let (nt_proof, blob) = response.split_first_chunk()?;
        (blob.len() >= BLOB_AV_PAIRS && blob[..2] == [1, 1]).then_some(Self { nt_proof, blob })
    }

    /// Whether the AV pairs are a list, with its end (MS-NLMP 2.2.2.1).
    pub(crate) fn is_well_formed(&self) -> bool {
        av_pairs(&self.blob[BLOB_AV_PAIRS..]).any(|(id, _)| id == av::EOL)
    }

    /// Whether the client says that its AUTHENTICATE message has a MIC.
    pub(crate) fn promises_mic(&self) -> bool {
        find_av(&self.blob[BLOB_AV_PAIRS..], av::FLAGS)
            .and_then(|value| u32_at(value, 0))
            .is_some_and(|flags| flags & av::FLAG_MIC != 0)
    }
}

/// NTLMv2_CLIENT_CHALLENGE, MS-NLMP 2.2.2.7: versions, time, client challenge, then AV pairs.
const BLOB_AV_PAIRS: usize = 28;

/// Builds an NTLMv2_CLIENT_CHALLENGE around AV pairs.
pub(crate) fn client_blob(time: [u8; 8], client_challenge: [u8; 8], av_pairs: &[u8]) -> Vec<u8> {
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
    blob.extend(time);
    blob.extend(client_challenge);
    blob.extend([0; 4]);
    blob.extend(av_pairs);
    blob.extend([0; 4]);
    blob
}

/// Appends one AV pair. Values longer than an AV pair can say are cut: names never are.
pub(crate) fn push_av(pairs: &mut Vec<u8>, id: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    pairs.extend(id.to_le_bytes());
    pairs.extend(len.to_le_bytes());
    pairs.extend(&value[..usize::from(len)]);
}

/// Finds an AV pair before the end of the list.
pub(crate) fn find_av(pairs: &[u8], id: u16) -> Option<&[u8]> {
    let mut before_end = av_pairs(pairs).take_while(|(found, _)| *found != av::EOL);
    before_end.find_map(|(found, value)| (found == id).then_some(value))
}

/// The pairs as far as they are whole; a list that breaks off ends there.
fn av_pairs(mut pairs: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (id, length) = (u16_at(pairs, 0)?, usize::from(u16_at(pairs, 2)?));
        let value = pairs.get(4..4 + length)?;
        pairs = &pairs[4 + length..];
        Some((id, value))
    })
}

fn check_type(message: &[u8], expected: u32) -> Option<()> {
    (message.starts_with(SIGNATURE) && u32_at(message, 8)? == expected).then_some(())
}

fn start(message_type: u32) -> Vec<u8> {
    [&SIGNATURE[..], &message_type.to_le_bytes()].concat()
}

/// The part of a message that its fields point into.
struct Payload {
    offset: usize,
    bytes: Vec<u8>,
}

impl Payload {
    fn after(offset: usize) -> Self {
        Self { offset, bytes: Vec::new() }
    }

    /// Appends a value and returns the field (length, capacity, offset) that points at it.
    fn push(&mut self, value: &[u8]) -> [u8; 8] {
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let offset = (self.offset + self.bytes.len()) as u32;
        self.bytes.extend(&value[..usize::from(len)]);
        let [a, b] = len.to_le_bytes();
        let [c, d, e, f] = offset.to_le_bytes();
        [a, b, a, b, c, d, e, f]
    }
}

/// What a field points at. The offset of an empty one means nothing and may point anywhere.
fn field_at(message: &[u8], at: usize) -> Option<&[u8]> {
    let len = usize::from(u16_at(message, at)?);
    let offset = usize::try_from(u32_at(message, at + 4)?).ok()?;
    if len == 0 {
        return Some(&[]);
    }
    message.get(offset..offset.checked_add(len)?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
