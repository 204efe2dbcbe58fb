//! The security of a file: who owns it, and who may do what. MS-SMB2 3.3.5.20.3, MS-FSA 2.1.5.14.

use crate::protocol::{Body, Reply};
use crate::state::{FileOpen, Open, security_of};
use crate::wire::access_mask::AccessMask;
use crate::wire::codec::Writer;
use crate::wire::query_info::{QueryInfoRequest, QueryInfoResponse, SecurityInformation};
use crate::wire::security::{Control, SecurityDescriptor};
use crate::wire::status::NtStatus;

use super::Answer;

pub(super) async fn query(
    open: &Open,
    file: &FileOpen,
    request: &QueryInfoRequest,
) -> Result<Answer, NtStatus> {
    let parts = SecurityInformation::from_bits_retain(request.additional_information);
    if !open.granted_access.contains(needed(parts)) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let whole = security_of(&file.handle.metadata().await?);
    let mut bytes = Vec::new();
    only(whole, parts).encode(&mut Writer::new(&mut bytes));
    if bytes.len() > request.output_buffer_length as usize {
        // MS-SMB2 3.3.5.20.3: all or nothing, and how much that would be.
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let body = Body::Error(size.to_le_bytes().to_vec());
        return Ok(Answer::Reply(Reply { status: NtStatus::BUFFER_TOO_SMALL, body }));
    }
    Ok(Body::QueryInfo(QueryInfoResponse { output: bytes }).into())
}

/// MS-FSA 2.1.5.14.
fn needed(parts: SecurityInformation) -> AccessMask {
    let mut needed = AccessMask::empty();
    if parts.intersects(SecurityInformation::SACL | SecurityInformation::BACKUP) {
        needed |= AccessMask::ACCESS_SYSTEM_SECURITY;
    }
    if parts.intersects(!SecurityInformation::SACL) {
        needed |= AccessMask::READ_CONTROL;
    }
    needed
}

/// The parts that were asked for.
fn only(whole: SecurityDescriptor, parts: SecurityInformation) -> SecurityDescriptor {
    let dacl = parts.contains(SecurityInformation::DACL);
    let mut control = whole.control;
    control.set(Control::DACL_PRESENT, dacl && control.contains(Control::DACL_PRESENT));
    SecurityDescriptor {
        control,
        owner: whole.owner.filter(|_| parts.contains(SecurityInformation::OWNER)),
        group: whole.group.filter(|_| parts.contains(SecurityInformation::GROUP)),
        sacl: None,
        dacl: whole.dacl.filter(|_| dacl),
    }
}
