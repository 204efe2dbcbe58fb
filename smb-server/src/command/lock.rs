//! LOCK: locks and unlocks byte ranges. MS-SMB2 3.3.5.14.

use bytes::Bytes;

use crate::protocol::Body;
use crate::state::{ByteRange, FileOpen, Refusal};
use crate::wire::access_mask::AccessMask;
use crate::wire::lock::{LockElement, LockFlags, LockRequest};
use crate::wire::status::NtStatus;

use super::Answer;
use super::context::{Context, file_of};
use super::oplock;

/// How many ranges a request may have; clients send one, or a few.
const ELEMENTS_MAX: usize = 256;

pub(super) async fn lock(context: &mut Context, request: &LockRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file_of(&open)?;
    let first = request.locks.first().ok_or(NtStatus::INVALID_PARAMETER)?;
    if request.locks.len() > ELEMENTS_MAX {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    if file.handle.is_directory() {
        // MS-FSA 2.1.5.8: only data streams have bytes.
        return Err(NtStatus::INVALID_PARAMETER);
    }
    // As NtLockFile has it: who takes no part in what is in the file does not lock others out of it.
    if !open.may(AccessMask::READ_DATA | AccessMask::WRITE_DATA | AccessMask::EXECUTE) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    // Nothing of the message is needed while this waits.
    context.bytes = Bytes::new();
    match first.flags.contains(LockFlags::UNLOCK) {
        true => unlock(file, &request.locks)?,
        false => {
            acquire(context, file, &request.locks).await?;
            oplock::contents_change(&context.server, &file.handle);
        }
    }
    Ok(Body::Lock.into())
}

/// MS-SMB2 3.3.5.14.1: one after the other, up to the first that fails.
fn unlock(file: &FileOpen, elements: &[LockElement]) -> Result<(), NtStatus> {
    for element in elements {
        if element.flags != LockFlags::UNLOCK {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        if !file.locks.unlock(range(element)?) {
            return Err(NtStatus::RANGE_NOT_LOCKED);
        }
    }
    Ok(())
}

/// MS-FSA 2.1.5.8 and 2.1.5.9.
fn range(element: &LockElement) -> Result<ByteRange, NtStatus> {
    ByteRange::new(element.offset, element.length).ok_or(NtStatus::INVALID_LOCK_RANGE)
}

/// A range to be locked.
struct Wanted {
    range: ByteRange,
    exclusive: bool,
    /// It is granted now or not at all.
    at_once: bool,
}

impl Wanted {
    fn new(element: &LockElement) -> Result<Self, NtStatus> {
        let at_once = element.flags.contains(LockFlags::FAIL_IMMEDIATELY);
        let exclusive = match element.flags.difference(LockFlags::FAIL_IMMEDIATELY) {
            LockFlags::SHARED_LOCK => false,
            LockFlags::EXCLUSIVE_LOCK => true,
            _ => return Err(NtStatus::INVALID_PARAMETER),
        };
        Ok(Self { range: range(element)?, exclusive, at_once })
    }
}

/// MS-SMB2 3.3.5.14.2: all of them, or none.
async fn acquire(
    context: &Context,
    file: &FileOpen,
    elements: &[LockElement],
) -> Result<(), NtStatus> {
    let wanted: Vec<_> = elements.iter().map(Wanted::new).collect::<Result<_, _>>()?;
    match wanted.as_slice() {
        [Wanted { range, exclusive, at_once: false }] => {
            wait(context, file, *range, *exclusive).await
        }
        // Of several, none may wait.
        several if several.iter().any(|wanted| !wanted.at_once) => Err(NtStatus::INVALID_PARAMETER),
        all => {
            let all: Vec<_> = all.iter().map(|wanted| (wanted.range, wanted.exclusive)).collect();
            file.locks.try_lock(&all).map_err(status)
        }
    }
}

async fn wait(
    context: &Context,
    file: &FileOpen,
    range: ByteRange,
    exclusive: bool,
) -> Result<(), NtStatus> {
    let pending = file.locks.lock(range, exclusive).map_err(status)?;
    // MS-SMB2 3.3.5.14.2: one that ends with its open was never there.
    context.wait_for(pending).await?.map_err(|_| NtStatus::RANGE_NOT_LOCKED)
}

fn status(refusal: Refusal) -> NtStatus {
    match refusal {
        Refusal::Conflict => NtStatus::LOCK_NOT_GRANTED,
        Refusal::TooMany => NtStatus::INSUFFICIENT_RESOURCES,
        Refusal::Released => NtStatus::FILE_CLOSED,
    }
}
