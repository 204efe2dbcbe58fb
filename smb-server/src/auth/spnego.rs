//! SPNEGO tokens (RFC 4178, MS-SPNG), as far as negotiating NTLM needs them: a bounded reader and a writer of DER.
//!
//! Which token follows which is decided in [`super::Acceptor`].

mod der;

use der::Reader;

/// DER contents of the object identifiers, without tag and length.
const OID_SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
const OID_NTLMSSP: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];

const APPLICATION_0: u8 = 0x60;
const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const OCTET_STRING: u8 = 0x04;
const GENERAL_STRING: u8 = 0x1b;

const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// What MS-SPNG 2.2.1 has a server say where a principal name once stood.
const HINT_NAME: &[u8] = b"not_defined_in_RFC4178@please_ignore";

/// NegTokenResp.negState.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NegState {
    /// The exchange is over and succeeded.
    AcceptCompleted = 0,
    /// Another token is expected.
    AcceptIncomplete = 1,
    /// The exchange is over and failed.
    Reject = 2,
    /// As [`Self::AcceptIncomplete`], and the mechanism list must be protected in the end.
    RequestMic = 3,
}

/// A token as it came from the peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// The mechanism's own token without SPNEGO around it.
    Raw(&'a [u8]),
    /// The first token of a negotiation.
    Init(NegTokenInit<'a>),
    /// Every later one, of either side.
    Resp(NegTokenResp<'a>),
}

/// What the initiator offers.
#[derive(Debug, PartialEq, Eq)]
pub struct NegTokenInit<'a> {
    /// The DER of the mechanism list as sent: mechListMIC is computed over exactly these bytes.
    pub mech_types: &'a [u8],
    /// Where NTLM stands in the list; 0 is the preferred mechanism.
    pub ntlm_position: Option<usize>,
    /// A token for the preferred mechanism, sent in the hope that it is ours too.
    pub mech_token: Option<&'a [u8]>,
}

/// A step of a negotiation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NegTokenResp<'a> {
    /// How far the sender thinks the negotiation is.
    pub neg_state: Option<NegState>,
    /// Whether the sender names NTLM as the mechanism; only the acceptor's first answer names any.
    pub names_ntlm: bool,
    /// The mechanism's token.
    pub response_token: Option<&'a [u8]>,
    /// The mechanism's signature over the mechanism list.
    pub mech_list_mic: Option<&'a [u8]>,
}

/// Reads a token of any kind; `None` if it is none.
pub fn parse(token: &[u8]) -> Option<Token<'_>> {
    if token.starts_with(super::ntlm::SIGNATURE) {
        return Some(Token::Raw(token));
    }
    let mut reader = Reader::new(token);
    // Whatever follows the outermost element is ignored: security buffers of some clients are padded.
    let (tag, body) = reader.next()?;
    match tag {
        APPLICATION_0 => parse_init(body).map(Token::Init),
        tag if tag == context(1) => parse_resp(body).map(Token::Resp),
        _ => None,
    }
}

fn parse_init(body: &[u8]) -> Option<NegTokenInit<'_>> {
    let mut outer = Reader::new(body);
    (outer.expect(OID)? == OID_SPNEGO).then_some(())?;
    let mut choice = Reader::new(outer.expect(context(0))?);
    let mut fields = Reader::new(choice.expect(SEQUENCE)?);
    let mech_types = fields.expect(context(0))?;
    let mut mech_token = None;
    while let Some((tag, body)) = fields.next() {
        // Flags, hints and an early MIC say nothing that matters to NTLM.
        if tag == context(2) {
            mech_token = Some(Reader::new(body).expect(OCTET_STRING)?);
        }
    }
    fields.is_empty().then_some(())?;
    let mut mechs = Reader::new(Reader::new(mech_types).expect(SEQUENCE)?);
    let mut ntlm_position = None;
    let mut count = 0;
    while let Some((tag, oid)) = mechs.next() {
        if (tag, oid) == (OID, OID_NTLMSSP) {
            ntlm_position = ntlm_position.or(Some(count));
        }
        count += 1;
    }
    mechs.is_empty().then_some(NegTokenInit { mech_types, ntlm_position, mech_token })
}

fn parse_resp(body: &[u8]) -> Option<NegTokenResp<'_>> {
    let mut fields = Reader::new(Reader::new(body).expect(SEQUENCE)?);
    let mut resp = NegTokenResp::default();
    while let Some((tag, body)) = fields.next() {
        let mut field = Reader::new(body);
        match tag.wrapping_sub(context(0)) {
            0 => resp.neg_state = Some(neg_state(field.expect(ENUMERATED)?)?),
            1 => resp.names_ntlm = field.expect(OID)? == OID_NTLMSSP,
            2 => resp.response_token = Some(field.expect(OCTET_STRING)?),
            3 => resp.mech_list_mic = Some(field.expect(OCTET_STRING)?),
            _ => {}
        }
    }
    fields.is_empty().then_some(resp)
}

fn neg_state(contents: &[u8]) -> Option<NegState> {
    use NegState::{AcceptCompleted, AcceptIncomplete, Reject, RequestMic};
    let &[number] = contents else { return None };
    [AcceptCompleted, AcceptIncomplete, Reject, RequestMic]
        .into_iter()
        .find(|state| *state as u8 == number)
}

/// The token of a server's NEGOTIATE response (MS-SPNG NegTokenInit2): NTLM is all it offers.
pub fn neg_token_init2() -> Vec<u8> {
    let hints = der::element(context(0), &[&der::element(GENERAL_STRING, &[HINT_NAME])]);
    let hints = der::element(context(3), &[&der::element(SEQUENCE, &[&hints])]);
    init(&[&mech_list(), &hints])
}

/// A client's first token, offering NTLM alone.
pub(super) fn neg_token_init(mech_token: &[u8]) -> Vec<u8> {
    let token = der::element(context(2), &[&der::element(OCTET_STRING, &[mech_token])]);
    init(&[&mech_list(), &token])
}

/// The mechanism list of [`neg_token_init`], as its mechListMIC covers it.
pub(super) fn ntlm_mech_types() -> Vec<u8> {
    der::element(SEQUENCE, &[&der::element(OID, &[OID_NTLMSSP])])
}

fn mech_list() -> Vec<u8> {
    der::element(context(0), &[&ntlm_mech_types()])
}

fn init(fields: &[&[u8]]) -> Vec<u8> {
    let choice = der::element(context(0), &[&der::element(SEQUENCE, fields)]);
    der::element(APPLICATION_0, &[&der::element(OID, &[OID_SPNEGO]), &choice])
}

impl NegTokenResp<'_> {
    /// The token as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let state = self.neg_state.map(|s| (0, der::element(ENUMERATED, &[&[s as u8]])));
        let mech = self.names_ntlm.then(|| (1, der::element(OID, &[OID_NTLMSSP])));
        let token = self.response_token.map(|t| (2, der::element(OCTET_STRING, &[t])));
        let mic = self.mech_list_mic.map(|m| (3, der::element(OCTET_STRING, &[m])));
        let fields: Vec<Vec<u8>> = [state, mech, token, mic]
            .into_iter()
            .flatten()
            .map(|(number, field)| der::element(context(number), &[&field]))
            .collect();
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        der::element(context(1), &[&der::element(SEQUENCE, &fields)])
    }
}

#[cfg(test)]
mod tests;
