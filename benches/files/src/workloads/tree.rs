//! Small files in folders of a hundred, as of a source tree: made, looked at, deleted.

use std::io;

use smb_common::client::{Share, Write};
use usmbd::wire::access_mask::AccessMask;
use usmbd::wire::close::{CloseFlags, CloseRequest};
use usmbd::wire::create::{CreateDisposition, CreateOptions, CreateRequest};
use usmbd::wire::file_id::FileId;
use usmbd::wire::fscc::attributes::FileAttributes;
use usmbd::wire::fscc::info_class::FileInfoClass;
use usmbd::wire::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use usmbd::wire::status::NtStatus;
use usmbd::wire::write::{WriteRequest, WriteResponse};

use super::{Amount, Names, Scale, Scenario, Step, Workload, open};

const FILES: u64 = 20_000;

/// What each file holds.
static CONTENT: [u8; 1024] = [b'x'; 1024];

/// FileAllInformation with a name as long as names get; and where in it EndOfFile is (MS-FSCC 2.4.2, 2.4.41).
const ALL_MAX: u32 = 1 << 10;
const END_OF_FILE: usize = 48;

const NOTE: &str = "\
20,000 files in folders of a hundred. Making one is CREATE, WRITE of 1 KiB and CLOSE, one after the other; looking at \
one is CREATE, QUERY_INFO (FileAllInformation) and CLOSE in one compound; deleting one is CREATE with DELETE_ON_CLOSE \
and CLOSE in one compound. Each counts as one operation. Every server makes its files itself.";

pub(super) fn scenario() -> Scenario {
    let workloads: Vec<Box<dyn Workload>> = vec![Box::new(Make), Box::new(Look), Box::new(Delete)];
    Scenario { workloads, note: NOTE, shapes: [(1, 1), (4, 8)] }
}

const fn files(scale: Scale) -> u64 {
    match scale {
        Scale::Quick => FILES / 20,
        Scale::Full(_) => FILES,
    }
}

const CLOSE: CloseRequest = CloseRequest { flags: CloseFlags::empty(), file_id: FileId::ANY };

struct Make;

impl Workload for Make {
    fn name(&self) -> &'static str {
        "make 20,000 small files"
    }

    /// Its folders.
    fn warm_up(&self, scale: Scale) -> Amount {
        Amount::Steps(Names::folders(files(scale)))
    }

    fn amount(&self, scale: Scale) -> Amount {
        Amount::Steps(files(scale))
    }

    fn prepare<'a>(&'a self, share: &'a Share, names: &'a Names, turn: u64) -> Step<'a> {
        Box::pin(async move {
            share.make_folder(&names.folder(turn)).await?;
            Ok(1)
        })
    }

    fn step<'a>(&'a self, share: &'a Share, names: &'a Names, turn: u64) -> Step<'a> {
        Box::pin(make(share, names.file(turn)))
    }
}

async fn make(share: &Share, name: String) -> io::Result<u64> {
    let request = CreateRequest {
        desired_access: AccessMask::FILE_ALL,
        file_attributes: FileAttributes::ARCHIVE,
        create_disposition: CreateDisposition::CREATE,
        ..open::request(&name)
    };
    let file_id = share.create(&request).await?.file_id;
    let request = WriteRequest { file_id, ..WriteRequest::default() };
    let answer = share.call(&Write { request, data: &CONTENT }).await?;
    answer.expect(NtStatus::SUCCESS)?;
    if answer.body(WriteResponse::decode)?.count as usize != CONTENT.len() {
        return Err(io::Error::other("written in part"));
    }
    share.close(file_id).await?;
    Ok(1)
}

struct Look;

impl Workload for Look {
    fn name(&self) -> &'static str {
        "look at 20,000 small files"
    }

    fn warm_up(&self, _: Scale) -> Amount {
        Amount::Steps(0)
    }

    fn amount(&self, scale: Scale) -> Amount {
        Amount::Steps(files(scale))
    }

    fn step<'a>(&'a self, share: &'a Share, names: &'a Names, turn: u64) -> Step<'a> {
        Box::pin(look(share, names.file(turn)))
    }
}

async fn look(share: &Share, name: String) -> io::Result<u64> {
    let create =
        CreateRequest { desired_access: AccessMask::READ_ATTRIBUTES, ..open::request(&name) };
    let query = QueryInfoRequest {
        info_type: InfoType::FILE,
        info_class: FileInfoClass::ALL.0,
        output_buffer_length: ALL_MAX,
        file_id: FileId::ANY,
        ..QueryInfoRequest::default()
    };
    let answers = share.chain([&create, &query, &CLOSE]).await?;
    answers.iter().try_for_each(|answer| answer.expect(NtStatus::SUCCESS))?;
    let all = answers[1].body(QueryInfoResponse::decode)?.output;
    let size = all.get(END_OF_FILE..).and_then(<[u8]>::first_chunk).copied();
    if size.map(u64::from_le_bytes) != Some(CONTENT.len() as u64) {
        return Err(io::Error::other(format!("{name} has another size")));
    }
    Ok(1)
}

struct Delete;

impl Workload for Delete {
    fn name(&self) -> &'static str {
        "delete 20,000 small files"
    }

    fn warm_up(&self, _: Scale) -> Amount {
        Amount::Steps(0)
    }

    fn amount(&self, scale: Scale) -> Amount {
        Amount::Steps(files(scale))
    }

    fn step<'a>(&'a self, share: &'a Share, names: &'a Names, turn: u64) -> Step<'a> {
        Box::pin(async move {
            let create = CreateRequest {
                desired_access: AccessMask::DELETE,
                create_options: CreateOptions::NON_DIRECTORY_FILE | CreateOptions::DELETE_ON_CLOSE,
                ..open::request(&names.file(turn))
            };
            let answers = share.chain([&create, &CLOSE]).await?;
            answers.iter().try_for_each(|answer| answer.expect(NtStatus::SUCCESS))?;
            Ok(1)
        })
    }
}
