//! The access that a CREATE gets. MS-FSA 2.1.5.1.2.1.

use ringway::fs::Access;

use crate::security::{Token, user_sid};
use crate::state::{READS, WRITES};
use crate::vfs::{Action, Attributes, Metadata, Opened};
use crate::wire::access_mask::AccessMask;
use crate::wire::create::CreateOptions;
use crate::wire::status::NtStatus;

use crate::command::access::{Granted, granted_by_descriptors};
use crate::command::context::Context;

use super::wanted::{Wanted, attributes};

/// The access that an opened file really gets, and, unless it is new, the most that descriptors would let
/// the user have. The kernel has checked reading and writing; here is what it does not know at an open:
/// descriptors, deletion, and the READONLY attribute.
pub(super) async fn settle(
    context: &Context,
    opened: &Opened,
    wanted: &Wanted,
    metadata: &Metadata,
    access: AccessMask,
    token: &Token,
) -> Result<(AccessMask, Option<AccessMask>), NtStatus> {
    let on_close = wanted.request.create_options.contains(CreateOptions::DELETE_ON_CLOSE);
    if on_close && opened.handle.is_root() {
        return Err(NtStatus::CANNOT_DELETE);
    }
    let is_new_file = match opened.handle.stream() {
        Some(_) => opened.with_file,
        None => opened.action == Action::Created,
    };
    // Who makes a file gets what was asked for, whatever its descriptor says.
    if is_new_file {
        return Ok((access, None));
    }
    let Granted { rights: by_descriptors, deletes } =
        granted_by_descriptors(&opened.handle, metadata, token).await?;
    let demanded = wanted.demanded();
    // A file that gets a stream is written.
    let writes = if opened.action == Action::Created { WRITES } else { AccessMask::empty() };
    if !by_descriptors.contains(demanded | writes) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let mut access = access & by_descriptors;
    check_read_only(metadata, wanted)?;
    check_overwrite(metadata, wanted)?;
    if wanted.desired.contains(AccessMask::MAXIMUM_ALLOWED) {
        let mut excess = AccessMask::empty();
        if is_read_only(metadata) {
            excess |= WRITES | AccessMask::DELETE_CHILD;
        }
        // Unix lets those set attributes who own the file or may write it.
        let owns = *token.user() == user_sid(metadata.uid);
        if !access.intersects(WRITES) && !owns {
            excess |= AccessMask::WRITE_ATTRIBUTES | AccessMask::WRITE_EA;
        }
        access = access.difference(excess) | (access & demanded);
    }
    // The share's own folder is not deleted whoever asks, so it does not matter who might.
    let guarded = access.contains(AccessMask::DELETE) && !opened.handle.is_root();
    if deletes && context.server.accounts().are_distinct() {
        opened.handle.let_delete();
    }
    if guarded && !opened.handle.may_remove().await {
        access = access.difference(AccessMask::DELETE);
        if demanded.contains(AccessMask::DELETE) {
            return Err(NtStatus::ACCESS_DENIED);
        }
    }
    match on_close && !access.contains(AccessMask::DELETE) {
        true => Err(NtStatus::ACCESS_DENIED),
        false => Ok((access, Some(by_descriptors))),
    }
}

fn is_read_only(metadata: &Metadata) -> bool {
    !metadata.is_directory && metadata.attributes.contains(Attributes::READONLY)
}

/// MS-FSA 2.1.5.1.2.1: a file that is read-only is neither written nor deleted.
fn check_read_only(metadata: &Metadata, wanted: &Wanted) -> Result<(), NtStatus> {
    let on_close = wanted.request.create_options.contains(CreateOptions::DELETE_ON_CLOSE);
    if on_close && metadata.attributes.contains(Attributes::READONLY) {
        return Err(NtStatus::CANNOT_DELETE);
    }
    let writes = is_read_only(metadata) && wanted.demanded().intersects(WRITES);
    if writes { Err(NtStatus::ACCESS_DENIED) } else { Ok(()) }
}

/// MS-FSA 2.1.5.1.2: a file that is hidden or the system's is overwritten only by who knows that it is.
fn check_overwrite(metadata: &Metadata, wanted: &Wanted) -> Result<(), NtStatus> {
    let special = metadata.attributes & (Attributes::HIDDEN | Attributes::SYSTEM);
    let known = attributes(wanted.request.file_attributes).contains(special);
    if wanted.truncates() && !known { Err(NtStatus::ACCESS_DENIED) } else { Ok(()) }
}

/// The most that the user could be granted on this file. Being read-only takes nothing from it, since
/// that can be taken back.
pub(super) async fn maximal_access(
    opened: &Opened,
    wanted: &Wanted,
    by_descriptors: AccessMask,
) -> AccessMask {
    let mut maximal = wanted.maximal & by_descriptors;
    if !opened.handle.may(Access::READ_OK).await {
        maximal = maximal.difference(READS);
    }
    if !opened.handle.may(Access::WRITE_OK).await {
        maximal = maximal.difference(WRITES);
    }
    if !opened.handle.is_root() && !opened.handle.may_remove().await {
        maximal = maximal.difference(AccessMask::DELETE);
    }
    maximal
}
