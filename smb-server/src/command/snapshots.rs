//! Previous versions: opening files as they were, and FSCTL_SRV_ENUMERATE_SNAPSHOTS. MS-SMB2 3.3.5.9.4 and 3.3.5.15.1.

use std::sync::Arc;

use crate::state::Share;
use crate::wire::create_context::CreateContext;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::snapshots::{SIZE_MIN, encode_array, parse_token};
use crate::wire::status::NtStatus;

use super::Answer;
use super::context::{Context, file_of};
use super::ioctl::answer;

/// The share as a CREATE wants it, and the path in that: as it is, or as it was at the time that a context or a component
/// of the path names.
pub(super) async fn as_of(
    share: &Arc<Share>,
    contexts: &[CreateContext],
    name: String,
) -> Result<(Arc<Share>, String), NtStatus> {
    let warped = contexts.iter().find_map(|context| match context {
        CreateContext::Timewarp(time) if time.0 != 0 => Some(time.to_unix().0),
        _ => None,
    });
    let (named, name) = match &share.snapshots {
        Some(_) => without_token(name),
        None => (None, name),
    };
    let Some(taken) = warped.or(named) else { return Ok((Arc::clone(share), name)) };
    let snapshots = share.snapshots.as_ref().ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let volume = snapshots
        .open(taken, share.options.mapping)
        .await?
        .ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    Ok((Arc::new(share.as_it_was(volume)), name))
}

/// The time of the first token in a path, and the path without it.
fn without_token(name: String) -> (Option<i64>, String) {
    let Some((token, taken)) =
        name.split('\\').find_map(|component| Some((component, parse_token(component)?)))
    else {
        return (None, name);
    };
    let rest: Vec<&str> = name.split('\\').filter(|component| *component != token).collect();
    (Some(taken), rest.join("\\"))
}

pub(super) async fn enumerate(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let share = &file_of(&open)?.share;
    let snapshots = share.snapshots.as_ref().ok_or(NtStatus::INVALID_DEVICE_REQUEST)?;
    let room = request.max_output_response as usize;
    if room < SIZE_MIN {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let moments: Vec<i64> = snapshots.list().await?.iter().map(|found| found.taken).collect();
    Ok(answer(request, &open, |w| encode_array(&moments, room, w)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_be_anywhere_in_a_path() {
        let without = |name: &str| without_token(name.to_owned());
        let taken = Some(1_767_323_045);
        assert_eq!(without("@GMT-2026.01.02-03.04.05"), (taken, String::new()));
        assert_eq!(without(r"@GMT-2026.01.02-03.04.05\a\b"), (taken, r"a\b".to_owned()));
        assert_eq!(without(r"a\@GMT-2026.01.02-03.04.05\b"), (taken, r"a\b".to_owned()));
        assert_eq!(without(r"a\@GMT-x\b"), (None, r"a\@GMT-x\b".to_owned()));
    }
}
