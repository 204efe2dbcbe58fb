//! QUERY_INFO: what a file or its volume is like. MS-SMB2 3.3.5.20, MS-FSA 2.1.5.12 and 2.1.5.13.

use std::sync::atomic::Ordering;

use crate::protocol::{Body, Reply};
use crate::state::{FileOpen, Object, Open, Server};
use crate::vfs::{Attributes, Metadata, short_name};
use crate::wire::access_mask::AccessMask;
use crate::wire::codec::Writer;
use crate::wire::compression::CompressionFormat;
use crate::wire::filetime::FileTime;
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::fscc::file_info::{
    FileAccessInfo, FileAlignmentInfo, FileAllInfo, FileAttributeTagInfo, FileBasicInfo,
    FileCompressionInfo, FileEaInfo, FileIdInfo, FileInternalInfo, FileModeInfo, FileNameInfo,
    FileNetworkOpenInfo, FilePositionInfo, FileStandardInfo, FileStreamInfo,
};
use crate::wire::fscc::info_class::{FileInfoClass, FsInfoClass};
use crate::wire::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use crate::wire::status::NtStatus;
use crate::wire::utf16::Utf16;

use super::context::Context;
use super::{Answer, ea, fs_info, quota, security};

pub(super) async fn query_info(
    context: &mut Context,
    request: &QueryInfoRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let limit = request.output_buffer_length as usize;
    let file = match &open.object {
        Object::File(file) => file,
        Object::Pipe(_) => return pipe_info(request)?.within(limit),
        Object::Quotas(share) => return quota::query(share, request).await?.within(limit),
    };
    let info = match request.info_type {
        InfoType::FILE if request.info_class == FileInfoClass::FULL_EA.0 => {
            return ea::query(&open, file, request).await;
        }
        InfoType::FILE => {
            file_info(&context.server, &open, file, FileInfoClass(request.info_class)).await?
        }
        InfoType::FILESYSTEM => {
            let class = FsInfoClass(request.info_class);
            fs_info::fs_info(&file.share, file.handle.id(), Some(&file.handle), class).await?
        }
        InfoType::SECURITY => return security::query(&open, file, request).await,
        // MS-SMB2 3.3.5.20.4: there are none.
        InfoType::QUOTA => return Err(NtStatus::NOT_SUPPORTED),
        _ => return Err(NtStatus::INVALID_PARAMETER),
    };
    info.within(limit)
}

/// What a named pipe is asked for: Windows wants to see this before it uses `srvsvc`. MS-FSA 2.1.5.12.
fn pipe_info(request: &QueryInfoRequest) -> Result<Info, NtStatus> {
    if (request.info_type, request.info_class) != (InfoType::FILE, FileInfoClass::STANDARD.0) {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    // A pipe is there until it is closed, and then it is gone.
    let info = FileStandardInfo {
        allocation_size: 4096,
        end_of_file: 0,
        number_of_links: 1,
        delete_pending: true,
        directory: false,
    };
    Ok(Info::whole(|w| info.encode(w)))
}

/// An answer and the least room it needs.
pub(super) struct Info {
    pub(super) bytes: Vec<u8>,
    /// With less room than this the request fails; with less than everything it is cut off.
    pub(super) fixed: usize,
}

impl Info {
    /// An answer that must fit whole.
    pub(super) fn whole(encode: impl FnOnce(&mut Writer<'_>)) -> Self {
        let bytes = encoded(encode);
        Self { fixed: bytes.len(), bytes }
    }

    /// An answer with a variable end after `fixed` bytes.
    pub(super) fn with_tail(fixed: usize, encode: impl FnOnce(&mut Writer<'_>)) -> Self {
        Self { bytes: encoded(encode), fixed }
    }

    /// MS-FSA 2.1.5.12: too little for the fixed part is an error, too little for the rest a warning.
    fn within(mut self, limit: usize) -> Result<Answer, NtStatus> {
        if limit < self.fixed {
            return Err(NtStatus::INFO_LENGTH_MISMATCH);
        }
        let status =
            if limit < self.bytes.len() { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS };
        self.bytes.truncate(limit);
        let body = Body::QueryInfo(QueryInfoResponse { output: self.bytes });
        Ok(Answer::Reply(Reply { status, body }))
    }
}

fn encoded(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut Writer::new(&mut bytes));
    bytes
}

async fn file_info(
    server: &Server,
    open: &Open,
    file: &FileOpen,
    class: FileInfoClass,
) -> Result<Info, NtStatus> {
    let needs_attributes = matches!(
        class,
        FileInfoClass::BASIC
            | FileInfoClass::ALL
            | FileInfoClass::NETWORK_OPEN
            | FileInfoClass::ATTRIBUTE_TAG
    );
    if needs_attributes && !open.may(AccessMask::READ_ATTRIBUTES) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let metadata = file.handle.metadata().await?;
    let about = About { server, open, file, metadata };
    Ok(match class {
        FileInfoClass::BASIC => Info::whole(|w| times(&about.metadata).encode(w)),
        FileInfoClass::STANDARD => Info::whole(|w| about.standard().encode(w)),
        FileInfoClass::INTERNAL => Info::whole(|w| about.internal().encode(w)),
        FileInfoClass::EA => {
            let info = about.ea().await;
            Info::whole(|w| info.encode(w))
        }
        FileInfoClass::ACCESS => Info::whole(|w| about.access().encode(w)),
        FileInfoClass::POSITION => Info::whole(|w| about.position().encode(w)),
        FileInfoClass::MODE => Info::whole(|w| about.mode().encode(w)),
        FileInfoClass::ALIGNMENT => Info::whole(|w| FileAlignmentInfo::default().encode(w)),
        FileInfoClass::ALL => {
            let info = about.all().await;
            Info::with_tail(FileAllInfo::FIXED, |w| info.encode(w))
        }
        FileInfoClass::NAME => Info::with_tail(FileNameInfo::FIXED, |w| about.name(r"\").encode(w)),
        FileInfoClass::NORMALIZED_NAME => {
            Info::with_tail(FileNameInfo::FIXED, |w| about.name("").encode(w))
        }
        FileInfoClass::STREAM => about.streams().await?,
        FileInfoClass::COMPRESSION => Info::whole(|w| about.compression().encode(w)),
        FileInfoClass::NETWORK_OPEN => Info::whole(|w| about.network_open().encode(w)),
        FileInfoClass::ATTRIBUTE_TAG => Info::whole(|w| about.attribute_tag().encode(w)),
        FileInfoClass::ID => Info::whole(|w| about.id().encode(w)),
        FileInfoClass::ALTERNATE_NAME => {
            let name = about.alternate_name().ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
            Info::with_tail(FileNameInfo::FIXED, |w| name.encode(w))
        }
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    })
}

/// A file, in the terms of MS-FSCC.
struct About<'a> {
    server: &'a Server,
    open: &'a Open,
    file: &'a FileOpen,
    metadata: Metadata,
}

impl About<'_> {
    fn standard(&self) -> FileStandardInfo {
        let delete_pending = self.server.sharing.is_delete_pending(&self.file.handle);
        // MS-FSA 2.1.5.12.30: a name that is about to go is not counted.
        let number_of_links = self.metadata.links.saturating_sub(u32::from(delete_pending));
        FileStandardInfo {
            allocation_size: self.metadata.allocation_size,
            end_of_file: self.metadata.size,
            number_of_links,
            delete_pending,
            directory: self.metadata.is_directory,
        }
    }

    fn internal(&self) -> FileInternalInfo {
        FileInternalInfo { index_number: self.file.handle.id().ino }
    }

    fn access(&self) -> FileAccessInfo {
        FileAccessInfo { access_flags: self.open.granted_access }
    }

    fn position(&self) -> FilePositionInfo {
        FilePositionInfo { current_byte_offset: self.file.position.load(Ordering::Relaxed) }
    }

    fn mode(&self) -> FileModeInfo {
        FileModeInfo { mode: self.file.mode.get().bits() }
    }

    fn name(&self, root: &str) -> FileNameInfo {
        FileNameInfo { name: Utf16::from_str(&format!("{root}{}", self.file.handle.path())) }
    }

    /// A name that is short already is its own. The share's folder has none.
    fn alternate_name(&self) -> Option<FileNameInfo> {
        let name = self.file.handle.name()?;
        let short = short_name::of(&name).unwrap_or(name);
        Some(FileNameInfo { name: Utf16::from_str(&short) })
    }

    async fn ea(&self) -> FileEaInfo {
        FileEaInfo { ea_size: self.file.handle.ea_size().await }
    }

    async fn all(&self) -> FileAllInfo {
        FileAllInfo {
            basic: times(&self.metadata),
            standard: self.standard(),
            internal: self.internal(),
            ea: self.ea().await,
            access: self.access(),
            position: self.position(),
            mode: self.mode(),
            alignment: FileAlignmentInfo::default(),
            name: self.name(r"\").name,
        }
    }

    /// Every file has the unnamed one, a directory has not. A stream tells of all those of its file.
    async fn streams(&self) -> Result<Info, NtStatus> {
        let handle = &self.file.handle;
        let mut streams = Vec::new();
        if let Some(unnamed) = handle.unnamed_stream().await? {
            streams.push(FileStreamInfo {
                size: unnamed.size,
                allocation_size: unnamed.allocation_size,
                name: Utf16::from_str("::$DATA"),
            });
        }
        let named = handle.streams().await?.into_iter().map(|stream| FileStreamInfo {
            size: stream.size,
            allocation_size: stream.allocated,
            name: Utf16::from_str(&format!(":{}:$DATA", stream.name)),
        });
        streams.extend(named);
        let (bytes, _) = FileStreamInfo::encode_all(&streams, usize::MAX);
        Ok(Info { fixed: FileStreamInfo::FIXED.min(bytes.len()), bytes })
    }

    fn compression(&self) -> FileCompressionInfo {
        if !self.metadata.attributes.contains(Attributes::COMPRESSED) {
            let compressed_file_size = self.metadata.size;
            return FileCompressionInfo { compressed_file_size, ..FileCompressionInfo::default() };
        }
        // MS-FSCC 2.4.9: the shifts are the implementation's; these are what NTFS has with clusters of 4 KiB.
        FileCompressionInfo {
            compressed_file_size: self.metadata.allocation_size,
            compression_format: CompressionFormat::LZNT1,
            compression_unit_shift: 16,
            chunk_shift: 12,
            cluster_shift: 12,
        }
    }

    fn network_open(&self) -> FileNetworkOpenInfo {
        let times = times(&self.metadata);
        FileNetworkOpenInfo {
            creation_time: times.creation_time,
            last_access_time: times.last_access_time,
            last_write_time: times.last_write_time,
            change_time: times.change_time,
            allocation_size: self.metadata.allocation_size,
            end_of_file: self.metadata.size,
            file_attributes: times.file_attributes,
        }
    }

    fn attribute_tag(&self) -> FileAttributeTagInfo {
        FileAttributeTagInfo {
            file_attributes: times(&self.metadata).file_attributes,
            reparse_tag: self.metadata.reparse_tag.unwrap_or(0),
        }
    }

    fn id(&self) -> FileIdInfo {
        let key = self.file.handle.id();
        FileIdInfo { volume_serial_number: key.dev, file_id: u128::from(key.ino).to_le_bytes() }
    }
}

/// Times and attributes in the form of the wire.
pub(super) fn times(metadata: &Metadata) -> FileBasicInfo {
    let filetime = |(seconds, nanoseconds)| FileTime::from_unix(seconds, nanoseconds);
    let mut attributes = FileAttributes::from_bits_retain(metadata.attributes.bits());
    attributes.set(FileAttributes::DIRECTORY, metadata.is_directory);
    if attributes.is_empty() {
        attributes = FileAttributes::NORMAL;
    }
    FileBasicInfo {
        creation_time: filetime(metadata.created),
        last_access_time: filetime(metadata.accessed),
        last_write_time: filetime(metadata.modified),
        change_time: filetime(metadata.changed),
        file_attributes: attributes,
    }
}
