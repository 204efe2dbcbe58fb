//! Security descriptors in their self-relative form, and what they are made of. MS-DTYP 2.4.

use std::borrow::Cow;
use std::fmt;

use bitflags::bitflags;

use super::access_mask::AccessMask;
use super::codec::{Malformed, Reader, Writer};

/// Names a user or a group. MS-DTYP 2.4.2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sid {
    /// Big-endian, unlike everything else.
    pub authority: [u8; 6],
    /// At most [`Self::SUB_AUTHORITIES_MAX`] of them are encoded.
    pub sub_authorities: Vec<u32>,
}

/// MS-DTYP 2.4.6. Without an owner or a group there is none; an ACL that is present and `None` grants
/// everything to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityDescriptor {
    pub control: Control,
    pub owner: Option<Sid>,
    pub group: Option<Sid>,
    pub sacl: Option<Acl>,
    pub dacl: Option<Acl>,
}

/// MS-DTYP 2.4.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub revision: u8,
    pub aces: Vec<Ace>,
}

/// MS-DTYP 2.4.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    pub kind: AceType,
    pub flags: AceFlags,
    pub body: AceBody,
}

/// What follows an ACE's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AceBody {
    /// Of the types that are only this: `ACCESS_ALLOWED`, `ACCESS_DENIED`, `SYSTEM_AUDIT` and
    /// `SYSTEM_MANDATORY_LABEL`.
    Basic { mask: AccessMask, sid: Sid },
    /// Of all others, kept as it came.
    Other(Vec<u8>),
}

open_enum! {
    /// MS-DTYP 2.4.4.1, AceType.
    pub struct AceType(u8) {
        ACCESS_ALLOWED = 0x00,
        ACCESS_DENIED = 0x01,
        SYSTEM_AUDIT = 0x02,
        ACCESS_ALLOWED_OBJECT = 0x05,
        ACCESS_DENIED_OBJECT = 0x06,
        SYSTEM_AUDIT_OBJECT = 0x07,
        ACCESS_ALLOWED_CALLBACK = 0x09,
        ACCESS_DENIED_CALLBACK = 0x0a,
        ACCESS_ALLOWED_CALLBACK_OBJECT = 0x0b,
        ACCESS_DENIED_CALLBACK_OBJECT = 0x0c,
        SYSTEM_AUDIT_CALLBACK = 0x0d,
        SYSTEM_AUDIT_CALLBACK_OBJECT = 0x0f,
        SYSTEM_MANDATORY_LABEL = 0x11,
        SYSTEM_RESOURCE_ATTRIBUTE = 0x12,
        SYSTEM_SCOPED_POLICY_ID = 0x13,
    }
}

bitflags! {
    /// MS-DTYP 2.4.4.1, AceFlags.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AceFlags: u8 {
        const OBJECT_INHERIT = 0x01;
        const CONTAINER_INHERIT = 0x02;
        const NO_PROPAGATE_INHERIT = 0x04;
        const INHERIT_ONLY = 0x08;
        const INHERITED = 0x10;
        const SUCCESSFUL_ACCESS = 0x40;
        const FAILED_ACCESS = 0x80;
    }
}

bitflags! {
    /// MS-DTYP 2.4.6, Control. Bit 0x0100 is `DACL_COMPUTED_INHERITANCE_REQUIRED` in some documents.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Control: u16 {
        const OWNER_DEFAULTED = 0x0001;
        const GROUP_DEFAULTED = 0x0002;
        const DACL_PRESENT = 0x0004;
        const DACL_DEFAULTED = 0x0008;
        const SACL_PRESENT = 0x0010;
        const SACL_DEFAULTED = 0x0020;
        const DACL_TRUSTED = 0x0040;
        const SERVER_SECURITY = 0x0080;
        const DACL_AUTO_INHERIT_REQUIRED = 0x0100;
        const SACL_AUTO_INHERIT_REQUIRED = 0x0200;
        const DACL_AUTO_INHERITED = 0x0400;
        const SACL_AUTO_INHERITED = 0x0800;
        const DACL_PROTECTED = 0x1000;
        const SACL_PROTECTED = 0x2000;
        const RM_CONTROL_VALID = 0x4000;
        const SELF_RELATIVE = 0x8000;
    }
}

impl Sid {
    /// SID_MAX_SUB_AUTHORITIES.
    pub const SUB_AUTHORITIES_MAX: usize = 15;

    const REVISION: u8 = 1;

    /// From an authority, of which there are few, and what it makes of it.
    pub fn new(authority: u8, sub_authorities: impl Into<Vec<u32>>) -> Self {
        Self { authority: [0, 0, 0, 0, 0, authority], sub_authorities: sub_authorities.into() }
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (revision, count) = (r.u8()?, usize::from(r.u8()?));
        if revision != Self::REVISION || count > Self::SUB_AUTHORITIES_MAX {
            return Err(r.malformed());
        }
        let authority = r.array()?;
        let sub_authorities = (0..count).map(|_| r.u32()).collect::<Result<_, _>>()?;
        Ok(Self { authority, sub_authorities })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        let subs = self.sub_authorities.iter().take(Self::SUB_AUTHORITIES_MAX);
        w.put_u8(Self::REVISION);
        w.put_u8(u8::try_from(subs.len()).unwrap_or(0));
        w.put_bytes(&self.authority);
        subs.for_each(|sub| w.put_u32(*sub));
    }
}

/// The string form, MS-DTYP 2.4.2.1.
impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority.iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
        match u32::try_from(authority) {
            Ok(authority) => write!(f, "S-1-{authority}")?,
            Err(_) => write!(f, "S-1-{authority:#014x}")?,
        }
        self.sub_authorities.iter().try_for_each(|sub| write!(f, "-{sub}"))
    }
}

impl SecurityDescriptor {
    /// The header of four offsets.
    const FIXED: usize = 20;

    const REVISION: u8 = 1;

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes, "SECURITY_DESCRIPTOR");
        let revision = r.u8()?;
        r.skip(1)?;
        let control = Control::from_bits_retain(r.u16()?);
        if revision != Self::REVISION || !control.contains(Control::SELF_RELATIVE) {
            return Err(r.malformed());
        }
        let [owner, group, sacl, dacl] = [r.length()?, r.length()?, r.length()?, r.length()?];
        // Where each lies is the sender's choice; they may even share bytes. What is at no offset is not there.
        let part = |offset: usize| match offset {
            0 => Ok(None),
            1..Self::FIXED => Err(Malformed::new("SECURITY_DESCRIPTOR")),
            _ => {
                let mut r = Reader::new(bytes, "SECURITY_DESCRIPTOR");
                r.seek(offset).map(|()| Some(r))
            }
        };
        let sid = |offset| part(offset)?.map(|mut r| Sid::decode(&mut r)).transpose();
        let acl = |offset, present| match control.contains(present) {
            true => part(offset)?.map(|mut r| Acl::decode(&mut r)).transpose(),
            false => Ok(None),
        };
        Ok(Self {
            control,
            owner: sid(owner)?,
            group: sid(group)?,
            sacl: acl(sacl, Control::SACL_PRESENT)?,
            dacl: acl(dacl, Control::DACL_PRESENT)?,
        })
    }

    /// In the order that Windows has: the ACLs, then who.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u8(Self::REVISION);
        w.put_u8(0);
        w.put_u16((self.control | Control::SELF_RELATIVE).bits());
        let mut parts: [Vec<u8>; 4] = Default::default();
        let [owner, group, sacl, dacl] = &mut parts;
        for (part, sid) in [(owner, &self.owner), (group, &self.group)] {
            if let Some(sid) = sid {
                sid.encode(&mut Writer::new(part));
            }
        }
        for (part, acl) in [(sacl, &self.sacl), (dacl, &self.dacl)] {
            if let Some(acl) = acl {
                acl.encode(&mut Writer::new(part));
            }
        }
        let [owner, group, sacl, dacl] = &parts;
        let mut end = Self::FIXED;
        let mut place = |part: &[u8]| {
            let at = end;
            end = end.saturating_add(part.len());
            if part.is_empty() { 0 } else { at }
        };
        let [sacl_at, dacl_at, owner_at, group_at] = [sacl, dacl, owner, group].map(|p| place(p));
        [owner_at, group_at, sacl_at, dacl_at].into_iter().for_each(|at| w.put_length_u32(at));
        [sacl, dacl, owner, group].into_iter().for_each(|part| w.put_bytes(part));
    }
}

impl Acl {
    /// Of ACLs without object ACEs.
    pub const REVISION: u8 = 2;

    const REVISION_DS: u8 = 4;

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let revision = r.u8()?;
        if !(Self::REVISION..=Self::REVISION_DS).contains(&revision) {
            return Err(r.malformed());
        }
        r.skip(1)?;
        let size = usize::from(r.u16()?);
        let count = r.u16()?;
        r.skip(2)?;
        let body = r.take(size.checked_sub(8).ok_or_else(|| r.malformed())?)?;
        let mut inside = Reader::new(body, "ACL");
        let aces = (0..count).map(|_| Ace::decode(&mut inside)).collect::<Result<_, _>>()?;
        Ok(Self { revision, aces })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        let mut aces = Vec::new();
        self.aces.iter().for_each(|ace| ace.encode(&mut Writer::new(&mut aces)));
        w.put_u8(self.revision);
        w.put_u8(0);
        w.put_length_u16(aces.len().saturating_add(8));
        w.put_length_u16(self.aces.len());
        w.put_u16(0);
        w.put_bytes(&aces);
    }
}

impl Ace {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (kind, flags) = (AceType(r.u8()?), AceFlags::from_bits_retain(r.u8()?));
        let size = usize::from(r.u16()?);
        let bytes = r.take(size.checked_sub(4).ok_or_else(|| r.malformed())?)?;
        let mut inside = Reader::new(bytes, "ACE");
        let body = if kind.is_basic() {
            let mask = AccessMask::from_bits_retain(inside.u32()?);
            AceBody::Basic { mask, sid: Sid::decode(&mut inside)? }
        } else {
            AceBody::Other(bytes.to_vec())
        };
        Ok(Self { kind, flags, body })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        let mut body = Vec::new();
        match &self.body {
            AceBody::Basic { mask, sid } => {
                let mut w = Writer::new(&mut body);
                w.put_u32(mask.bits());
                sid.encode(&mut w);
            }
            AceBody::Other(bytes) => body.extend_from_slice(bytes),
        }
        w.put_u8(self.kind.0);
        w.put_u8(self.flags.bits());
        w.put_length_u16(body.len().saturating_add(4));
        w.put_bytes(&body);
    }
}

impl Ace {
    /// Whose rights it is about, and which: of all types that say so, conditions and object types left
    /// aside. `None` for others, and for what is malformed.
    pub fn mask_and_sid(&self) -> Option<(AccessMask, Cow<'_, Sid>)> {
        let bytes = match &self.body {
            AceBody::Basic { mask, sid } => return Some((*mask, Cow::Borrowed(sid))),
            AceBody::Other(bytes) => bytes,
        };
        let mut r = Reader::new(bytes, "ACE");
        let mask = AccessMask::from_bits_retain(r.u32().ok()?);
        if self.kind.is_of_object() {
            // MS-DTYP 2.4.4.3: flags say which of two GUIDs there are.
            let guids = r.u32().ok()?;
            for flag in [0x1, 0x2] {
                r.skip(if guids & flag != 0 { 16 } else { 0 }).ok()?;
            }
        } else if !self.kind.is_callback() {
            return None;
        }
        Some((mask, Cow::Owned(Sid::decode(&mut r).ok()?)))
    }
}

impl AceType {
    /// Whether it takes rights away.
    pub fn denies(self) -> bool {
        matches!(
            self,
            Self::ACCESS_DENIED
                | Self::ACCESS_DENIED_OBJECT
                | Self::ACCESS_DENIED_CALLBACK
                | Self::ACCESS_DENIED_CALLBACK_OBJECT
        )
    }

    fn is_callback(self) -> bool {
        matches!(self, Self::ACCESS_ALLOWED_CALLBACK | Self::ACCESS_DENIED_CALLBACK)
    }

    fn is_of_object(self) -> bool {
        matches!(
            self,
            Self::ACCESS_ALLOWED_OBJECT
                | Self::ACCESS_DENIED_OBJECT
                | Self::ACCESS_ALLOWED_CALLBACK_OBJECT
                | Self::ACCESS_DENIED_CALLBACK_OBJECT
        )
    }

    fn is_basic(self) -> bool {
        matches!(
            self,
            Self::ACCESS_ALLOWED
                | Self::ACCESS_DENIED
                | Self::SYSTEM_AUDIT
                | Self::SYSTEM_MANDATORY_LABEL
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-DTYP 2.5.1.4: `O:BAG:BAD:P(A;CIOI;GRGX;;;BU)(A;CIOI;GA;;;BA)(A;CIOI;GA;;;SY)(A;CIOI;GA;;;CO)
    /// S:P(AU;FA;GR;;;WD)`, as Windows encodes it.
    const EXAMPLE: [u8; 176] = [
        0x01, 0x00, 0x14, 0xb0, 0x90, 0x00, 0x00, 0x00, 0xa0, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00,
        0x00, 0x30, 0x00, 0x00, 0x00, //
        0x02, 0x00, 0x1c, 0x00, 0x01, 0x00, 0x00, 0x00, //
        0x02, 0x80, 0x14, 0x00, 0x00, 0x00, 0x00, 0x80, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x00, //
        0x02, 0x00, 0x60, 0x00, 0x04, 0x00, 0x00, 0x00, //
        0x00, 0x03, 0x18, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x05, 0x20, 0x00, 0x00, 0x00, 0x21, 0x02, 0x00, 0x00, //
        0x00, 0x03, 0x18, 0x00, 0x00, 0x00, 0x00, 0x10, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x05, 0x20, 0x00, 0x00, 0x00, 0x20, 0x02, 0x00, 0x00, //
        0x00, 0x03, 0x14, 0x00, 0x00, 0x00, 0x00, 0x10, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x05, 0x12, 0x00, 0x00, 0x00, //
        0x00, 0x03, 0x14, 0x00, 0x00, 0x00, 0x00, 0x10, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x03, 0x00, 0x00, 0x00, 0x00, //
        0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x20, 0x00, 0x00, 0x00, 0x20, 0x02, 0x00,
        0x00, //
        0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x20, 0x00, 0x00, 0x00, 0x20, 0x02, 0x00,
        0x00,
    ];

    fn encoded(descriptor: &SecurityDescriptor) -> Vec<u8> {
        let mut bytes = Vec::new();
        descriptor.encode(&mut Writer::new(&mut bytes));
        bytes
    }

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let descriptor = SecurityDescriptor::decode(&EXAMPLE).unwrap();
        let administrators = Sid::new(5, [32, 544]);
        let inherited = AceFlags::CONTAINER_INHERIT | AceFlags::OBJECT_INHERIT;
        let allowed = |mask, sid| Ace {
            kind: AceType::ACCESS_ALLOWED,
            flags: inherited,
            body: AceBody::Basic { mask, sid },
        };
        let expected = SecurityDescriptor {
            control: Control::SELF_RELATIVE
                | Control::DACL_PRESENT
                | Control::SACL_PRESENT
                | Control::DACL_PROTECTED
                | Control::SACL_PROTECTED,
            owner: Some(administrators.clone()),
            group: Some(administrators.clone()),
            sacl: Some(Acl {
                revision: Acl::REVISION,
                aces: vec![Ace {
                    kind: AceType::SYSTEM_AUDIT,
                    flags: AceFlags::FAILED_ACCESS,
                    body: AceBody::Basic { mask: AccessMask::GENERIC_READ, sid: Sid::new(1, [0]) },
                }],
            }),
            dacl: Some(Acl {
                revision: Acl::REVISION,
                aces: vec![
                    allowed(
                        AccessMask::GENERIC_READ | AccessMask::GENERIC_EXECUTE,
                        Sid::new(5, [32, 545]),
                    ),
                    allowed(AccessMask::GENERIC_ALL, administrators),
                    allowed(AccessMask::GENERIC_ALL, Sid::new(5, [18])),
                    allowed(AccessMask::GENERIC_ALL, Sid::new(3, [0])),
                ],
            }),
        };
        assert_eq!(descriptor, expected);
        assert_eq!(encoded(&descriptor), EXAMPLE);
    }

    #[test]
    fn nothing_that_is_cut_off_or_altered_is_a_panic() {
        for end in 0..EXAMPLE.len() {
            assert!(SecurityDescriptor::decode(&EXAMPLE[..end]).is_err(), "{end}");
        }
        for at in 0..EXAMPLE.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = EXAMPLE;
                bytes[at] = value;
                // What it reads it also writes, and the same again.
                if let Ok(descriptor) = SecurityDescriptor::decode(&bytes) {
                    let again = SecurityDescriptor::decode(&encoded(&descriptor)).unwrap();
                    assert_eq!(again, descriptor, "byte {at} as {value}");
                }
            }
        }
    }

    #[test]
    fn an_acl_that_grants_everything_is_not_one_that_grants_nothing() {
        let control = Control::SELF_RELATIVE | Control::DACL_PRESENT;
        let everything = SecurityDescriptor { control, ..SecurityDescriptor::default() };
        let acl = Acl { revision: Acl::REVISION, aces: Vec::new() };
        let nothing = SecurityDescriptor { dacl: Some(acl), ..everything.clone() };
        for descriptor in [everything, nothing] {
            assert_eq!(SecurityDescriptor::decode(&encoded(&descriptor)).unwrap(), descriptor);
        }
    }

    #[test]
    fn sids_are_shown_as_windows_shows_them() {
        assert_eq!(Sid::new(22, [1, 1000]).to_string(), "S-1-22-1-1000");
        let wide = Sid { authority: [1, 2, 3, 4, 5, 6], sub_authorities: vec![7] };
        assert_eq!(wide.to_string(), "S-1-0x010203040506-7");
    }
}
