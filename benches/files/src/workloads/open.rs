//! Files of the folder with very many, opened and closed; and names that are not there.

use std::io;
use std::time::Duration;

use smb_common::client::Share;
use usmbd::wire::access_mask::AccessMask;
use usmbd::wire::create::{
    CreateDisposition, CreateOptions, CreateRequest, ImpersonationLevel, ShareAccess,
};
use usmbd::wire::status::NtStatus;
use usmbd::wire::utf16::Utf16;

use super::{Amount, BIG, BIG_COUNT, Names, Scale, Scenario, Step, Workload};

/// Of both kinds a step's file is that many from the one before, so that every file has its turn.
const STRIDE: u64 = 7919;

const WARM_UP: Duration = Duration::from_millis(200);

const NOTE: &str = "\
Files of the folder with 100,000, opened for reading (no oplock, no lease) and closed, which counts as one operation.";

const MISS_NOTE: &str = "\
Names that are not in the folder with 100,000, in any case: STATUS_OBJECT_NAME_NOT_FOUND. Then names that are, spelled \
in capitals, opened and closed.";

pub(super) fn scenario() -> Scenario {
    Scenario { workloads: vec![Box::new(OpenClose)], note: NOTE, shapes: [(1, 1), (4, 8)] }
}

pub(super) fn miss_scenario() -> Scenario {
    let workloads: Vec<Box<dyn Workload>> = vec![Box::new(Miss), Box::new(OtherCase)];
    Scenario { workloads, note: MISS_NOTE, shapes: [(1, 1), (4, 8)] }
}

/// A CREATE of what exists, to read it.
pub(super) fn request(name: &str) -> CreateRequest {
    CreateRequest {
        impersonation_level: ImpersonationLevel::IMPERSONATION,
        desired_access: AccessMask::READ_DATA
            | AccessMask::READ_EA
            | AccessMask::READ_ATTRIBUTES
            | AccessMask::READ_CONTROL
            | AccessMask::SYNCHRONIZE,
        share_access: ShareAccess::all(),
        create_disposition: CreateDisposition::OPEN,
        create_options: CreateOptions::NON_DIRECTORY_FILE,
        name: Utf16::from_str(name),
        ..CreateRequest::default()
    }
}

async fn open_and_close(share: &Share, name: &str) -> io::Result<u64> {
    let file_id = share.create(&request(name)).await?.file_id;
    share.close(file_id).await?;
    Ok(1)
}

struct OpenClose;

impl Workload for OpenClose {
    fn name(&self) -> &'static str {
        "open and close"
    }

    fn warm_up(&self, _: Scale) -> Amount {
        Amount::Time(WARM_UP)
    }

    fn amount(&self, scale: Scale) -> Amount {
        Amount::Time(scale.time())
    }

    fn step<'a>(&'a self, share: &'a Share, _: &'a Names, turn: u64) -> Step<'a> {
        Box::pin(async move { open_and_close(share, &Names::big(turn * STRIDE % BIG_COUNT)).await })
    }
}

struct Miss;

impl Workload for Miss {
    fn name(&self) -> &'static str {
        "open what is not there"
    }

    fn warm_up(&self, _: Scale) -> Amount {
        Amount::Time(WARM_UP)
    }

    fn amount(&self, scale: Scale) -> Amount {
        Amount::Time(scale.time())
    }

    /// Of other names than those of the sample, which are to be new.
    fn prepare<'a>(&'a self, share: &'a Share, names: &'a Names, turn: u64) -> Step<'a> {
        self.step(share, names, u64::MAX - turn)
    }

    fn step<'a>(&'a self, share: &'a Share, names: &'a Names, turn: u64) -> Step<'a> {
        Box::pin(async move {
            let name = names.absent(turn);
            share.call(&request(&name)).await?.expect(NtStatus::OBJECT_NAME_NOT_FOUND)?;
            Ok(1)
        })
    }
}

struct OtherCase;

impl Workload for OtherCase {
    fn name(&self) -> &'static str {
        "open and close, spelled in capitals"
    }

    fn warm_up(&self, _: Scale) -> Amount {
        Amount::Time(WARM_UP)
    }

    fn amount(&self, scale: Scale) -> Amount {
        Amount::Time(scale.time())
    }

    fn step<'a>(&'a self, share: &'a Share, _: &'a Names, turn: u64) -> Step<'a> {
        Box::pin(async move {
            let file = Names::in_big(turn * STRIDE % BIG_COUNT).to_uppercase();
            open_and_close(share, &format!("{BIG}\\{file}")).await
        })
    }
}
