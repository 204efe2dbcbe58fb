//! A folder with very many files, listed from its beginning to its end.

use std::collections::HashSet;
use std::io;

use smb_common::client::Share;
use usmbd::wire::access_mask::AccessMask;
use usmbd::wire::create::{CreateDisposition, CreateOptions, CreateRequest, ShareAccess};
use usmbd::wire::file_id::FileId;
use usmbd::wire::fscc::dir_info::DirEntry;
use usmbd::wire::fscc::info_class::FileInfoClass;
use usmbd::wire::query_directory::{
    QueryDirectoryFlags, QueryDirectoryRequest, QueryDirectoryResponse,
};
use usmbd::wire::status::NtStatus;
use usmbd::wire::utf16::Utf16;

use super::{Amount, BIG, BIG_COUNT, Names, Scale, Scenario, Step, Workload, open};

/// What Windows and Linux ask for.
const CLASS: FileInfoClass = FileInfoClass::ID_BOTH_DIRECTORY;

/// How much is asked for at once: what Windows does.
const BUFFER: u32 = 64 << 10;

const NOTE: &str = "\
A folder with 100,000 files, opened, listed with all attributes (FileIdBothDirectoryInformation) by buffers of 64 KiB \
and closed; the rate is of entries. That they are all there, each once, is checked by name in the warm-up, and by \
number each time.";

pub(super) fn scenario() -> Scenario {
    Scenario { workloads: vec![Box::new(List)], note: NOTE, shapes: [(1, 1), (4, 1)] }
}

struct List;

impl Workload for List {
    fn name(&self) -> &'static str {
        "list 100,000 files"
    }

    fn unit(&self) -> &'static str {
        "entries"
    }

    fn warm_up(&self, _: Scale) -> Amount {
        Amount::Steps(1)
    }

    fn amount(&self, scale: Scale) -> Amount {
        Amount::Time(scale.time())
    }

    fn prepare<'a>(&'a self, share: &'a Share, _: &'a Names, _: u64) -> Step<'a> {
        Box::pin(async {
            let mut seen = HashSet::new();
            list(share, |buffer| note_names(buffer, &mut seen)).await?;
            let missing = (0..BIG_COUNT).filter(|&index| !seen.contains(&Names::in_big(index)));
            match missing.count() {
                0 => Ok(BIG_COUNT),
                count => Err(io::Error::other(format!("{count} files are not listed"))),
            }
        })
    }

    fn step<'a>(&'a self, share: &'a Share, _: &'a Names, _: u64) -> Step<'a> {
        Box::pin(list(share, count))
    }
}

/// Lists the big folder; how many files were in it.
async fn list(share: &Share, mut count: impl FnMut(&[u8]) -> io::Result<u64>) -> io::Result<u64> {
    let file_id = share.create(&folder(BIG)).await?.file_id;
    let mut entries = 0;
    while let Some(buffer) = next_buffer(share, file_id).await? {
        entries += count(&buffer)?;
    }
    share.close(file_id).await?;
    // Two are the folder itself and its parent.
    match entries.checked_sub(2) {
        Some(BIG_COUNT) => Ok(BIG_COUNT),
        _ => Err(io::Error::other(format!("{entries} entries instead of {BIG_COUNT} and two"))),
    }
}

fn folder(name: &str) -> CreateRequest {
    CreateRequest {
        desired_access: AccessMask::READ_DATA | AccessMask::READ_ATTRIBUTES,
        share_access: ShareAccess::all(),
        create_disposition: CreateDisposition::OPEN,
        create_options: CreateOptions::DIRECTORY_FILE,
        ..open::request(name)
    }
}

async fn next_buffer(share: &Share, file_id: FileId) -> io::Result<Option<Vec<u8>>> {
    let request = QueryDirectoryRequest {
        info_class: CLASS,
        flags: QueryDirectoryFlags::empty(),
        file_index: 0,
        file_id,
        output_buffer_length: BUFFER,
        pattern: Utf16::from_str("*"),
    };
    let answer = share.call(&request).await?;
    if answer.status() == NtStatus::NO_MORE_FILES {
        return Ok(None);
    }
    answer.expect(NtStatus::SUCCESS)?;
    Ok(Some(answer.body(QueryDirectoryResponse::decode)?.output))
}

fn note_names(buffer: &[u8], seen: &mut HashSet<String>) -> io::Result<u64> {
    let entries = DirEntry::decode_all(CLASS, buffer).map_err(io::Error::other)?;
    let count = entries.len() as u64;
    for entry in entries {
        let name = entry.name.to_string();
        if !seen.insert(name.clone()) {
            return Err(io::Error::other(format!("{name} is listed twice")));
        }
    }
    Ok(count)
}

/// How many entries a chain has, by what each says of where the next one begins.
fn count(mut chain: &[u8]) -> io::Result<u64> {
    let mut count = 0;
    while let Some(next) = chain.first_chunk() {
        count += 1;
        let next = u32::from_le_bytes(*next) as usize;
        if next == 0 {
            return Ok(count);
        }
        chain =
            chain.get(next..).ok_or_else(|| io::Error::other("an entry outside of its chain"))?;
    }
    Err(io::Error::other("a chain without an end"))
}
