//! What is read from extended attributes, where others may have left anything.

use crate::vfs::dos_info::DosInfo;
use crate::vfs::{ea, nt_acl, streams};

pub(super) fn dos_attributes(value: &[u8]) {
    let Some(info) = DosInfo::parse(value) else { return };
    assert_eq!(DosInfo::parse(&info.encode()), Some(info));
}

pub(super) fn nt_acl(value: &[u8]) {
    if let Some(wrapped) = nt_acl::wrap(value) {
        assert_eq!(nt_acl::unwrap(&wrapped).as_deref(), Some(value));
    }
    let Some(descriptor) = nt_acl::unwrap(value) else { return };
    super::wire::security(&descriptor);
    if let Some(stand_in) = nt_acl::stand_in(&descriptor) {
        super::wire::security(&stand_in);
    }
    let again = nt_acl::wrap(&descriptor).and_then(|wrapped| nt_acl::unwrap(&wrapped));
    assert_eq!(again, Some(descriptor));
}

/// None is found under another name than it was given.
pub(super) fn attribute_names(list: &[u8]) {
    for attribute in list.split(|byte| *byte == 0) {
        if let Some(Ok(again)) = streams::stream(attribute).map(|it| streams::attribute(&it)) {
            assert_eq!(again.as_bytes(), attribute);
        }
        if let Some(stream) = streams::pointed_to(attribute) {
            assert!(attribute.ends_with(stream.as_bytes()));
        }
        if let Some(Ok(again)) = ea::ea_name(attribute).map(ea::attribute) {
            assert_eq!(again.as_bytes(), attribute);
            let is_stream =
                [streams::stream, streams::pointed_to].iter().any(|is| is(attribute).is_some());
            assert!(!is_stream, "a stream is shown as an attribute, too");
        }
    }
}
