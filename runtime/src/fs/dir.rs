//! A directory, and what is done by paths below it.

#![allow(unsafe_code, reason = "makes operations out of descriptors and names")]

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use ringway_driver::{Identity, Op, Path};
use rustix::fs::{Access, AtFlags, Mode, OFlags, RenameFlags, Statx, StatxFlags};

use super::file::{self, File};
use super::open_how::OpenHow;
use super::opened::Opened;
use crate::buf::op_len;
use crate::op;

/// The longest target of a symbolic link, `PATH_MAX`.
const LINK_LEN_MAX: usize = 4096;

/// An open directory that paths are relative to. Clones share one description.
///
/// A path may still lead out of it, by `..` or by a symbolic link, unless [`OpenHow::resolve`] says
/// `BENEATH`; the other operations resolve freely, so give them single names or trusted paths.
#[derive(Clone, Debug)]
pub struct Dir {
    file: File,
}

impl Dir {
    /// Opens a directory by the process's own view of `path`. Blocks; for start-up.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open_ambient(path: impl AsRef<std::path::Path>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path.as_ref(), flags, Mode::empty())?;
        Ok(Self::from_file(File::from(fd)))
    }

    /// Takes an open directory. Whether it is one shows with the first operation (`ENOTDIR`).
    #[must_use]
    pub fn from_file(file: File) -> Self {
        Self { file }
    }

    /// The directory as a file, for listing it or changing its attributes.
    #[must_use]
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// The same directory, seen with another identity: operations through the result, and on files
    /// opened through it, are checked for `identity`. `None` is the process's own.
    #[must_use]
    pub fn with_identity(&self, identity: Option<Identity>) -> Self {
        Self { file: self.file.with_identity(identity) }
    }

    /// The identity that operations through it are checked for, if not the process's own.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.file.identity.clone()
    }

    /// Whether this directory's identity may do `mode` to it: see [`File::access`].
    ///
    /// # Errors
    /// As there.
    pub async fn access(&self, mode: Access) -> io::Result<()> {
        self.file.access(mode).await
    }

    /// Opens `path`. A file won by a dropped call is closed.
    ///
    /// # Errors
    /// Those of `openat2`: `EXDEV` if the path leads where [`OpenHow::resolve`] forbids.
    pub async fn open_at(
        &self,
        path: impl AsRef<std::path::Path>,
        how: &OpenHow,
    ) -> io::Result<File> {
        let identity = self.file.identity.clone();
        // SAFETY: directory, path and arguments belong to the parts; openat2's result is a descriptor
        // that nobody else has.
        let open = unsafe {
            op::submit(
                identity.clone(),
                (self.at(path)?, how.to_raw()),
                |(at, how)| Op::OpenAt { path: at.path(), how },
                |_, result| result.map(|fd| OwnedFd::from_raw_fd(fd.cast_signed())),
            )
        };
        Ok(File { fd: Arc::new(Opened::new(open.await?, how.is_direct())), identity, apart: false })
    }

    /// What the file system knows about `path`.
    ///
    /// # Errors
    /// Those of `statx`.
    pub async fn statx_at(
        &self,
        path: impl AsRef<std::path::Path>,
        flags: AtFlags,
        mask: StatxFlags,
    ) -> io::Result<Statx> {
        let (at, flags) = (self.at(path)?, flags.bits().cast_signed());
        // SAFETY: directory and path belong to the parts. These keep the path where it was.
        unsafe {
            let (identity, path) = (self.file.identity.as_ref(), at.path());
            file::statx(identity, path, flags, mask, move || at, At::path).await
        }
    }

    /// Makes a directory, with `mode` less the process's umask.
    ///
    /// # Errors
    /// Those of `mkdirat`.
    pub async fn mkdir_at(&self, path: impl AsRef<std::path::Path>, mode: u32) -> io::Result<()> {
        let at = self.at(path)?;
        self.simple(at, move |at| Op::MkdirAt { path: at.path(), mode }).await
    }

    /// Removes a name, which is a directory's if `dir`.
    ///
    /// # Errors
    /// Those of `unlinkat`.
    pub async fn unlink_at(&self, path: impl AsRef<std::path::Path>, dir: bool) -> io::Result<()> {
        let at = self.at(path)?;
        let flags = if dir { libc::AT_REMOVEDIR } else { 0 };
        self.simple(at, move |at| Op::UnlinkAt { path: at.path(), flags }).await
    }

    /// Renames `from` to `to` below `to_dir`, on behalf of this directory's identity.
    ///
    /// # Errors
    /// Those of `renameat2`.
    pub async fn rename_at(
        &self,
        from: impl AsRef<std::path::Path>,
        to_dir: &Self,
        to: impl AsRef<std::path::Path>,
        flags: RenameFlags,
    ) -> io::Result<()> {
        let both = (self.at(from)?, to_dir.at(to)?);
        let flags = flags.bits();
        self.simple(both, move |(from, to)| Op::RenameAt {
            from: from.path(),
            to: to.path(),
            flags,
        })
        .await
    }

    /// Makes `to` below `to_dir` another name of `path`, on behalf of this directory's identity. A
    /// symbolic link at `path` gets the name itself, unless `flags` say `SYMLINK_FOLLOW`.
    ///
    /// # Errors
    /// Those of `linkat`: `EXDEV` between file systems, `EEXIST` if there is such a name.
    pub async fn link_at(
        &self,
        path: impl AsRef<std::path::Path>,
        to_dir: &Self,
        to: impl AsRef<std::path::Path>,
        flags: AtFlags,
    ) -> io::Result<()> {
        let both = (self.at(path)?, to_dir.at(to)?);
        let flags = flags.bits().cast_signed();
        self.simple(both, move |(from, to)| Op::LinkAt { from: from.path(), to: to.path(), flags })
            .await
    }

    /// Makes a symbolic link `path` that points at `target`, whether or not there is such a thing.
    ///
    /// # Errors
    /// Those of `symlinkat`.
    pub async fn symlink_at(
        &self,
        target: impl AsRef<std::path::Path>,
        path: impl AsRef<std::path::Path>,
    ) -> io::Result<()> {
        let target = CString::new(target.as_ref().as_os_str().as_bytes())?;
        let both = (target, self.at(path)?);
        self.simple(both, |(target, link)| Op::SymlinkAt {
            target: target.as_ptr(),
            link: link.path(),
        })
        .await
    }

    /// Where the symbolic link `path` points.
    ///
    /// # Errors
    /// Those of `readlinkat`: `EINVAL` if it is not one.
    pub async fn readlink_at(&self, path: impl AsRef<std::path::Path>) -> io::Result<PathBuf> {
        // SAFETY: directory, path and buffer belong to the parts.
        let readlink = unsafe {
            op::submit(
                self.file.identity.clone(),
                (self.at(path)?, vec![0; LINK_LEN_MAX]),
                |(at, buf)| Op::ReadlinkAt {
                    path: at.path(),
                    buf: buf.as_mut_ptr(),
                    len: op_len(buf.len()),
                },
                |(_, mut buf), result| {
                    buf.truncate(result? as usize);
                    Ok(PathBuf::from(OsString::from_vec(buf)))
                },
            )
        };
        readlink.await
    }

    /// An operation on paths alone, on behalf of this directory's identity.
    async fn simple<D: 'static>(
        &self,
        parts: D,
        op: impl Fn(&D) -> Op + 'static,
    ) -> io::Result<()> {
        // SAFETY: the callers name only what `parts` owns.
        let simple = unsafe {
            op::submit(
                self.file.identity.clone(),
                parts,
                move |parts| op(parts),
                |_, result| result.map(drop),
            )
        };
        simple.await
    }

    fn at(&self, path: impl AsRef<std::path::Path>) -> io::Result<At> {
        let name = CString::new(path.as_ref().as_os_str().as_bytes())?;
        Ok(At { dir: self.file.fd.clone(), name })
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A directory and a path, owned.
struct At {
    dir: Arc<Opened>,
    name: CString,
}

impl At {
    fn path(&self) -> Path {
        Path { dir: self.dir.as_raw_fd(), name: self.name.as_ptr() }
    }
}
