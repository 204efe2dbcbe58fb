//! What a user may do with a file, by the security descriptors that are kept: its own and its directory's.
//! Where there are none it is unix that decides, when the file is used. MS-FSA 2.1.5.1.2.1.

use std::sync::Arc;

use crate::security::{
    Owner, Token, default_posix_acl, for_new, granted_by, group_sid, inherited, merged, posix_acl,
    user_sid,
};
use crate::state::{FileOpen, Server};
use crate::vfs::{self, Ea, Error, Guard, Handle, Metadata, Opened, Replaced, Security, SharePath};
use crate::wire::access_mask::AccessMask;
use crate::wire::query_info::SecurityInformation;
use crate::wire::security::{Control, SecurityDescriptor};
use crate::wire::status::NtStatus;

use super::security::{check_group, check_owner, encoded};

/// The descriptor that decides about a file. One that has none of its own, made by other means than SMB or
/// not yet whole, counts as having what its directory hands down.
pub(super) async fn effective(
    handle: &Handle,
    metadata: &Metadata,
) -> Result<Option<SecurityDescriptor>, NtStatus> {
    match understood(handle.security().await?.as_deref())? {
        Some(own) => Ok(Some(own)),
        None => {
            let home = handle.home_security(handle.directory_security().await?).await?;
            let home = understood(home.as_deref())?;
            Ok(home.and_then(|home| handed_down(&home, metadata)))
        }
    }
}

/// Whether the user may read what has this name below a directory, and all that is to know about it; `None`:
/// nothing has it.
pub(super) async fn may_read(directory: &FileOpen, name: &str) -> Option<bool> {
    let identity = directory.identity.as_ref();
    let child = |path: SharePath, name| path.child(name, directory.share.options.mapping);
    let path = name.split('\\').fold(directory.handle.share_path(), child);
    let volume = &directory.share.volume;
    let opened = match volume.open(identity, &path, &vfs::Open::TO_READ, &()).await {
        // It is the link that is listed.
        Err(Error::Escapes | Error::LeadsNowhere | Error::TooManyLinks) => {
            let link = vfs::Open { open_link: true, ..vfs::Open::TO_READ };
            volume.open(identity, &path, &link, &()).await
        }
        result => result,
    };
    let opened = match opened {
        Err(Error::NotFound | Error::PathNotFound) => return None,
        opened => opened.ok(),
    };
    Some(match opened {
        Some(opened) => reads(directory, &opened).await,
        None => false,
    })
}

async fn reads(directory: &FileOpen, opened: &Opened) -> bool {
    /// FILE_GENERIC_READ, which is what Windows asks for here.
    const GENERIC_READ: AccessMask = AccessMask::READ_DATA
        .union(AccessMask::READ_ATTRIBUTES)
        .union(AccessMask::READ_EA)
        .union(AccessMask::READ_CONTROL)
        .union(AccessMask::SYNCHRONIZE);
    let Ok(metadata) = opened.metadata().await else { return false };
    match effective(&opened.handle, &metadata).await {
        Ok(Some(descriptor)) => granted_by(&descriptor, &directory.token).contains(GENERIC_READ),
        // The kernel has decided it.
        Ok(None) => true,
        Err(_) => false,
    }
}

/// A descriptor as it is kept, with what of it the kernel is told.
pub(super) fn security(
    server: &Server,
    descriptor: &SecurityDescriptor,
    owner: Owner,
    is_directory: bool,
) -> Security {
    let groups_of = |uid| server.accounts().groups_of(uid);
    let told = server.accounts().are_distinct();
    let acl = told.then(|| posix_acl(descriptor, owner, is_directory, &groups_of));
    let default_acl =
        (told && is_directory).then(|| default_posix_acl(descriptor, &groups_of)).flatten();
    Security { descriptor: encoded(descriptor), acl, default_acl }
}

fn handed_down(directory: &SecurityDescriptor, metadata: &Metadata) -> Option<SecurityDescriptor> {
    let (owner, group) = (user_sid(metadata.uid), group_sid(metadata.gid));
    inherited(directory, (&owner, &group), metadata.is_directory)
}

/// What the descriptors let a user do with a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    /// The most.
    pub(super) rights: AccessMask,
    /// DELETE is among them because a descriptor says so: then unix is not asked.
    pub(super) deletes: bool,
}

/// Without a descriptor of the file, who may change what it is decided by is the owner alone, as with `chmod`.
pub(super) async fn granted_by_descriptors(
    handle: &Handle,
    metadata: &Metadata,
    token: &Token,
) -> Result<Granted, NtStatus> {
    let own = understood(handle.security().await?.as_deref())?;
    let mut granted = own.as_ref().map(|own| granted_by(own, token));
    let by_directory = AccessMask::DELETE | AccessMask::READ_ATTRIBUTES;
    if let Some(rights) = granted
        && (rights.contains(by_directory) || handle.is_root())
    {
        return Ok(Granted { rights, deletes: true });
    }
    let named = handle.directory_security().await?;
    let directory = understood(named.descriptor.as_deref())?;
    if granted.is_none() {
        let home = understood(handle.home_security(named).await?.as_deref())?;
        let handed_down = home.and_then(|home| handed_down(&home, metadata));
        granted = handed_down.map(|descriptor| {
            granted_by(&descriptor, token).difference(beyond_handed_down(token, metadata))
        });
    }
    // Who may list the directory may look at what is in it, and who may delete all that is in there may
    // delete it. Where that directory has no descriptor, unix decides it.
    let above = directory.map(|directory| granted_by(&directory, token));
    let lists = above.is_none_or(|above| above.contains(AccessMask::READ_DATA));
    let deletes_all = above.map(|above| above.contains(AccessMask::DELETE_CHILD));
    let deletes =
        deletes_all == Some(true) || granted.is_some_and(|it| it.contains(AccessMask::DELETE));
    let mut rights = granted.unwrap_or_else(|| without_descriptor(token, metadata));
    if lists {
        rights |= AccessMask::READ_ATTRIBUTES;
    }
    if deletes || deletes_all.is_none() {
        rights |= AccessMask::DELETE;
    }
    Ok(Granted { rights, deletes })
}

/// What is only handed down says nothing about this very file, which others may have moved into the directory, or
/// linked there: so it makes nobody its master who is not its owner to unix.
fn beyond_handed_down(token: &Token, metadata: &Metadata) -> AccessMask {
    match is_master(token, metadata) {
        true => AccessMask::empty(),
        false => AccessMask::WRITE_DAC | AccessMask::WRITE_OWNER,
    }
}

/// Whether unix lets this user say who may do what with a file.
pub(super) fn is_master(token: &Token, metadata: &Metadata) -> bool {
    token.may_make_owner(&user_sid(metadata.uid))
}

fn without_descriptor(token: &Token, metadata: &Metadata) -> AccessMask {
    let of_owner = AccessMask::WRITE_DAC | AccessMask::WRITE_OWNER | AccessMask::DELETE;
    match *token.user() == user_sid(metadata.uid) {
        true => AccessMask::FILE_ALL,
        false => AccessMask::FILE_ALL.difference(of_owner),
    }
}

/// One that cannot be understood lets nobody in.
fn understood(bytes: Option<&[u8]>) -> Result<Option<SecurityDescriptor>, Error> {
    bytes.map(SecurityDescriptor::decode).transpose().map_err(|_| Error::AccessDenied)
}

/// What it takes, of a directory, to make something in it: ADD_SUBDIRECTORY or ADD_FILE.
fn right_to_make(is_directory: bool) -> AccessMask {
    if is_directory { AccessMask::APPEND_DATA } else { AccessMask::WRITE_DATA }
}

/// Who makes files and gives them names, and the descriptor and the EAs that they are to have, if the client
/// sent any.
pub(super) struct Creator {
    server: Arc<Server>,
    token: Arc<Token>,
    given: Option<SecurityDescriptor>,
    eas: Vec<Ea>,
}

impl Creator {
    /// # Errors
    /// INVALID_OWNER and INVALID_PRIMARY_GROUP if files with the given descriptor would be others'.
    pub(super) fn new(
        server: &Arc<Server>,
        token: &Arc<Token>,
        given: Option<SecurityDescriptor>,
    ) -> Result<Self, NtStatus> {
        if let Some(given) = &given {
            if given.owner.is_some() {
                check_owner(token, given.owner.as_ref())?;
            }
            if given.group.is_some() {
                check_group(token, given.group.as_ref())?;
            }
        }
        Ok(Self { server: Arc::clone(server), token: Arc::clone(token), given, eas: Vec::new() })
    }

    /// With these EAs for what is made.
    pub(super) fn with_eas(self, eas: &[Ea]) -> Self {
        Self { eas: eas.to_vec(), ..self }
    }

    /// Who renames a file.
    pub(super) fn of(server: &Arc<Server>, file: &FileOpen) -> Self {
        let token = Arc::clone(&file.token);
        Self { server: Arc::clone(server), token, given: None, eas: Vec::new() }
    }
}

impl Guard for Creator {
    fn eas(&self) -> &[Ea] {
        &self.eas
    }

    fn admit(
        &self,
        directory: Option<&[u8]>,
        is_directory: bool,
    ) -> Result<Option<Security>, Error> {
        let directory = understood(directory)?;
        if directory.is_none() && self.given.is_none() {
            return Ok(None);
        }
        let directory = directory.unwrap_or_else(|| SecurityDescriptor {
            control: Control::SELF_RELATIVE,
            ..SecurityDescriptor::default()
        });
        if !granted_by(&directory, &self.token).contains(right_to_make(is_directory)) {
            return Err(Error::AccessDenied);
        }
        let owner = (self.token.user(), self.token.group());
        let inherited = for_new(&directory, owner, is_directory);
        let descriptor = match self.given.clone() {
            None => inherited,
            Some(given) => {
                let mut parts = SecurityInformation::empty();
                parts.set(SecurityInformation::OWNER, given.owner.is_some());
                parts.set(SecurityInformation::GROUP, given.group.is_some());
                parts.set(SecurityInformation::DACL, given.control.contains(Control::DACL_PRESENT));
                merged(inherited, given, parts)
            }
        };
        let owner = self.token.ids();
        Ok(Some(security(&self.server, &descriptor, owner, is_directory)))
    }

    /// MS-FSA 2.1.5.15.11: it takes DELETE of what is replaced, or DELETE_CHILD of the directory.
    fn replace(&self, directory: Option<&[u8]>, replaced: &Replaced) -> Result<(), Error> {
        // Without one, unix decides.
        let Some(directory) = understood(directory)? else { return Ok(()) };
        if granted_by(&directory, &self.token).contains(AccessMask::DELETE_CHILD) {
            return Ok(());
        }
        let owner = (&user_sid(replaced.uid), &group_sid(replaced.gid));
        let own = understood(replaced.descriptor.as_deref())?;
        let descriptor = own.or_else(|| inherited(&directory, owner, false));
        let deletes = match descriptor {
            Some(descriptor) => granted_by(&descriptor, &self.token).contains(AccessMask::DELETE),
            None => self.token.user() == owner.0,
        };
        if deletes { Ok(()) } else { Err(Error::AccessDenied) }
    }
}
