//! A CREATE of a file, understood, and what of it is refused without looking at the file. MS-FSA 2.1.5.1.

use crate::security::generic_to_specific;
use crate::state::{READS, Share, WRITES};
use crate::vfs::{self, Attributes, Disposition, Ea, Kind, SharePath};
use crate::wire::access_mask::AccessMask;
use crate::wire::create::{CreateDisposition, CreateOptions, CreateRequest, ImpersonationLevel};
use crate::wire::create_context::CreateContext;
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::security::SecurityDescriptor;
use crate::wire::status::NtStatus;

use crate::command::ea;
use crate::command::security::decoded;

/// Rights whose use changes something.
const CHANGES: AccessMask = AccessMask::WRITE_DATA
    .union(AccessMask::APPEND_DATA)
    .union(AccessMask::WRITE_EA)
    .union(AccessMask::DELETE_CHILD)
    .union(AccessMask::WRITE_ATTRIBUTES)
    .union(AccessMask::DELETE)
    .union(AccessMask::WRITE_DAC)
    .union(AccessMask::WRITE_OWNER);

/// Options that there are none of, MS-SMB2 2.2.13.
const OPTIONS_INVALID: u32 = 0xff00_0000;

/// Options that Windows does not take over SMB2: FILE_CREATE_TREE_CONNECTION, FILE_OPEN_BY_FILE_ID,
/// FILE_RESERVE_OPFILTER.
const OPTIONS_UNSUPPORTED: u32 = 0x0010_2080;

/// Attributes that no file is made with: VOLUME, DEVICE, and those above ENCRYPTED, as Windows answers them.
const ATTRIBUTES_INVALID: u32 = 0xffff_8048;

/// Rights that there are none of, MS-SMB2 2.2.13.1.
const ACCESS_INVALID: u32 = 0x0ce0_fe00;

/// What can be refused without looking at the file.
pub(super) fn check(request: &CreateRequest) -> Result<(), NtStatus> {
    if request.impersonation_level > ImpersonationLevel::DELEGATE {
        return Err(NtStatus::BAD_IMPERSONATION_LEVEL);
    }
    let options = request.create_options;
    let both = CreateOptions::DIRECTORY_FILE | CreateOptions::NON_DIRECTORY_FILE;
    if request.create_disposition > CreateDisposition::OVERWRITE_IF || options.contains(both) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if options.bits() & OPTIONS_INVALID != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if options.bits() & OPTIONS_UNSUPPORTED != 0 {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    if request.desired_access.bits() & ACCESS_INVALID != 0 {
        return Err(NtStatus::ACCESS_DENIED);
    }
    if request.desired_access.contains(AccessMask::ACCESS_SYSTEM_SECURITY) {
        return Err(NtStatus::PRIVILEGE_NOT_HELD);
    }
    if request.file_attributes.bits() & ATTRIBUTES_INVALID != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    // MS-FSA 2.1.5.1.1: it could not be deleted.
    let makes = !matches!(
        request.create_disposition,
        CreateDisposition::OPEN | CreateDisposition::OPEN_IF | CreateDisposition::OVERWRITE
    );
    if makes
        && options.contains(CreateOptions::DELETE_ON_CLOSE)
        && request.file_attributes.contains(FileAttributes::READONLY)
    {
        return Err(NtStatus::CANNOT_DELETE);
    }
    // MS-FSA 2.1.5.1: a directory is neither cut off nor temporary.
    let temporary = request.file_attributes.contains(FileAttributes::TEMPORARY);
    if options.contains(CreateOptions::DIRECTORY_FILE)
        && (truncates(request.create_disposition) || temporary)
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(())
}

/// Whether an existing file loses its contents.
fn truncates(disposition: CreateDisposition) -> bool {
    matches!(
        disposition,
        CreateDisposition::SUPERSEDE
            | CreateDisposition::OVERWRITE
            | CreateDisposition::OVERWRITE_IF
    )
}

/// A CREATE of a file, understood.
pub(super) struct Wanted {
    pub(super) path: SharePath,
    pub(super) desired: AccessMask,
    /// The most that may be granted.
    pub(super) maximal: AccessMask,
    pub(super) disposition: CreateDisposition,
    pub(super) contexts: Vec<CreateContext>,
    /// EAs of a file that this makes or overwrites.
    pub(super) eas: Vec<Ea>,
    pub(super) request: CreateRequest,
}

impl Wanted {
    pub(super) fn new(
        request: CreateRequest,
        contexts: Vec<CreateContext>,
        name: &str,
        share: &Share,
    ) -> Result<Self, NtStatus> {
        // As on a file system that knows no streams, where a colon is no part of a name.
        if name.contains(':') && !share.options.streams {
            return Err(NtStatus::OBJECT_NAME_INVALID);
        }
        let path = SharePath::parse(name, share.options.mapping)?;
        let desired = generic_to_specific(request.desired_access);
        let maximal = share.maximal_access();
        if desired.is_empty() {
            return Err(NtStatus::ACCESS_DENIED);
        }
        let mut disposition = request.create_disposition;
        if share.options.read_only {
            match disposition {
                CreateDisposition::OPEN => {}
                // What is there can be opened; what is not cannot be made.
                CreateDisposition::OPEN_IF => disposition = CreateDisposition::OPEN,
                _ => return Err(NtStatus::ACCESS_DENIED),
            }
            if desired.intersects(CHANGES) {
                return Err(NtStatus::ACCESS_DENIED);
            }
        }
        let on_close = request.create_options.contains(CreateOptions::DELETE_ON_CLOSE);
        if on_close && !desired.intersects(AccessMask::DELETE | AccessMask::MAXIMUM_ALLOWED) {
            return Err(NtStatus::ACCESS_DENIED);
        }
        let eas = eas(&contexts)?;
        // MS-FSA 2.1.5.1.
        if !eas.is_empty() && request.create_options.contains(CreateOptions::NO_EA_KNOWLEDGE) {
            return Err(NtStatus::ACCESS_DENIED);
        }
        Ok(Self { path, desired, maximal, disposition, contexts, eas, request })
    }

    /// The path as the client wrote it.
    pub(super) fn name(&self) -> String {
        self.request.name.to_string_strict().unwrap_or_default()
    }

    /// What the client must get, apart from what it would like to: an overwrite takes writing, too.
    pub(super) fn demanded(&self) -> AccessMask {
        let desired = self.desired.difference(AccessMask::MAXIMUM_ALLOWED);
        if self.truncates() { desired | AccessMask::WRITE_DATA } else { desired }
    }

    /// Whether a file that is missing is made.
    pub(super) fn creates(&self) -> bool {
        !matches!(self.disposition, CreateDisposition::OPEN | CreateDisposition::OVERWRITE)
    }

    /// Whether a reparse point is opened itself.
    pub(super) fn opens_reparse_point(&self) -> bool {
        self.request.create_options.contains(CreateOptions::OPEN_REPARSE_POINT)
    }

    /// Whether an existing file loses its contents.
    pub(super) fn truncates(&self) -> bool {
        truncates(self.disposition)
    }

    /// The open as the file system does it. Contents are not lost there: first it must be known
    /// that nobody else's share mode forbids it.
    pub(super) fn open(&self, access: AccessMask) -> vfs::Open {
        let options = self.request.create_options;
        let write = access.intersects(WRITES) || self.truncates();
        let read = access.intersects(READS);
        vfs::Open {
            read,
            write,
            kind: match () {
                () if options.contains(CreateOptions::DIRECTORY_FILE) => Kind::Directory,
                () if options.contains(CreateOptions::NON_DIRECTORY_FILE) || self.truncates() => {
                    Kind::File
                }
                () => Kind::Any,
            },
            disposition: match self.disposition {
                CreateDisposition::OPEN | CreateDisposition::OVERWRITE => Disposition::Open,
                CreateDisposition::CREATE => Disposition::Create,
                _ => Disposition::OpenIf,
            },
            open_link: self.opens_reparse_point(),
            attributes: attributes(self.request.file_attributes),
            allocation_size: self.allocation_size(),
            // MS-FSA 2.1.5.1.1.
            uncompressed: options.contains(CreateOptions::NO_COMPRESSION),
        }
    }

    /// The security descriptor that a new file is to have.
    pub(super) fn descriptor(&self) -> Result<Option<SecurityDescriptor>, NtStatus> {
        let descriptor = |context: &CreateContext| match context {
            CreateContext::SecurityDescriptor(bytes) => Some(decoded(bytes)),
            _ => None,
        };
        self.contexts.iter().find_map(descriptor).transpose()
    }

    pub(super) fn allocation_size(&self) -> u64 {
        let size = |context: &CreateContext| match context {
            CreateContext::AllocationSize(size) => Some(*size),
            _ => None,
        };
        self.contexts.iter().find_map(size).unwrap_or_default()
    }
}

/// The EAs that a client sent.
fn eas(contexts: &[CreateContext]) -> Result<Vec<Ea>, NtStatus> {
    let eas = |context: &CreateContext| match context {
        CreateContext::ExtendedAttributes(bytes) => Some(ea::decoded(bytes)),
        _ => None,
    };
    contexts.iter().find_map(eas).transpose().map(Option::unwrap_or_default)
}

/// The attributes that a file system keeps, out of those of a request.
pub(in crate::command) fn attributes(attributes: FileAttributes) -> Attributes {
    let kept = FileAttributes::READONLY
        | FileAttributes::HIDDEN
        | FileAttributes::SYSTEM
        | FileAttributes::ARCHIVE;
    Attributes::from_bits_truncate((attributes & kept).bits())
}

/// What `desired` comes to where at most `maximal` can be had.
pub(super) fn granted(desired: AccessMask, maximal: AccessMask) -> AccessMask {
    let desired = generic_to_specific(desired);
    match desired.contains(AccessMask::MAXIMUM_ALLOWED) {
        true => desired.difference(AccessMask::MAXIMUM_ALLOWED) | maximal,
        false => desired,
    }
}
