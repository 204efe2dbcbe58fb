//! Operations on files and paths: the public API on one side, the system call that its documentation
//! names on the other.

#![allow(unsafe_code, reason = "makes the system calls that no crate has as they are")]

use std::ffi::CStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::Path;

use ringway::fs::{
    Access, AtFlags, Dir, FallocateFlags, File, Mode, OFlags, OpenHow, RenameFlags, ResolveFlags,
    SetTime, StatFs, Statx, StatxFlags, Timespec, dir_entries,
};
use rustix::fs::{self as kernel, Timestamps, XattrFlags};
use rustix::io::ReadWriteFlags;

use crate::case::{Bytes, Stage, World};

/// What a call of the C library left in `errno`.
fn outcome(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

impl Stage {
    pub(crate) async fn read_at(
        &self,
        file: &File,
        len: usize,
        offset: u64,
    ) -> io::Result<Bytes<Vec<u8>>> {
        let mut buf = vec![0; len];
        let count = match self.world {
            World::Ringway => {
                let (count, back) = file.read_at(buf, offset).await;
                buf = back;
                count?
            }
            World::Kernel => rustix::io::pread(file, &mut buf, offset)?,
        };
        buf.truncate(count);
        Ok(Bytes(buf))
    }

    pub(crate) async fn write_at(
        &self,
        file: &File,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        match self.world {
            World::Ringway => file.write_at(bytes.to_vec(), offset).await.0,
            World::Kernel => Ok(rustix::io::pwrite(file, bytes, offset)?),
        }
    }

    pub(crate) async fn append(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        match self.world {
            World::Ringway => file.append(bytes.to_vec()).await.0,
            World::Kernel => {
                Ok(rustix::io::pwritev2(file, &[IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND)?)
            }
        }
    }

    pub(crate) async fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        match self.world {
            World::Ringway => file.set_len(len).await,
            World::Kernel => Ok(kernel::ftruncate(file, len)?),
        }
    }

    pub(crate) async fn allocate(
        &self,
        file: &File,
        mode: FallocateFlags,
        offset: u64,
        len: u64,
    ) -> io::Result<()> {
        match self.world {
            World::Ringway => file.allocate(mode, offset, len).await,
            World::Kernel => Ok(kernel::fallocate(file, mode, offset, len)?),
        }
    }

    pub(crate) async fn sync(&self, file: &File, data_only: bool) -> io::Result<()> {
        match (self.world, data_only) {
            (World::Ringway, false) => file.sync_all().await,
            (World::Ringway, true) => file.sync_data().await,
            (World::Kernel, false) => Ok(kernel::fsync(file)?),
            (World::Kernel, true) => Ok(kernel::fdatasync(file)?),
        }
    }

    /// What does not change by itself: mask, mode, links, size.
    pub(crate) async fn statx(
        &self,
        file: &File,
        mask: StatxFlags,
    ) -> io::Result<(u32, u16, u32, u64)> {
        let statx = match self.world {
            World::Ringway => file.statx(mask).await?,
            World::Kernel => kernel::statx(file, c"", AtFlags::EMPTY_PATH, mask)?,
        };
        Ok(lasting(&statx))
    }

    pub(crate) async fn statx_at(
        &self,
        path: impl AsRef<Path>,
        flags: AtFlags,
    ) -> io::Result<(u32, u16, u32, u64)> {
        let (path, mask) = (path.as_ref(), StatxFlags::BASIC_STATS);
        let statx = match self.world {
            World::Ringway => self.dir.statx_at(path, flags, mask).await?,
            World::Kernel => kernel::statx(&self.dir, path, flags, mask)?,
        };
        Ok(lasting(&statx))
    }

    pub(crate) async fn access(&self, file: &File, mode: Access) -> io::Result<()> {
        match self.world {
            World::Ringway => file.access(mode).await,
            World::Kernel => {
                let (fd, name, mode) = (file.as_fd_number(), c"".as_ptr(), mode.bits());
                let flags = libc::AT_EMPTY_PATH | libc::AT_EACCESS;
                // SAFETY: the name is static, the others are numbers.
                let result = unsafe { libc::syscall(libc::SYS_faccessat2, fd, name, mode, flags) };
                outcome(result).map(drop)
            }
        }
    }

    pub(crate) async fn set_times(
        &self,
        file: &File,
        accessed: SetTime,
        modified: SetTime,
    ) -> io::Result<()> {
        match self.world {
            World::Ringway => file.set_times(accessed, modified).await,
            World::Kernel => {
                let raw = |time| match time {
                    SetTime::Omit => Timespec { tv_sec: 0, tv_nsec: kernel::UTIME_OMIT },
                    SetTime::Now => Timespec { tv_sec: 0, tv_nsec: kernel::UTIME_NOW },
                    SetTime::At(at) => at,
                };
                let times =
                    Timestamps { last_access: raw(accessed), last_modification: raw(modified) };
                Ok(kernel::futimens(file, &times)?)
            }
        }
    }

    pub(crate) async fn chmod(&self, file: &File, mode: u32) -> io::Result<()> {
        match self.world {
            World::Ringway => file.chmod(mode).await,
            World::Kernel => Ok(kernel::fchmod(file, Mode::from_raw_mode(mode))?),
        }
    }

    pub(crate) async fn get_xattr(
        &self,
        file: &File,
        name: &CStr,
        room: usize,
    ) -> io::Result<(usize, Bytes<Vec<u8>>)> {
        let mut buf = vec![0; room];
        let len = match self.world {
            World::Ringway => {
                let (len, back) = file.get_xattr(name, buf).await;
                buf = back;
                len?
            }
            World::Kernel => {
                let (fd, start) = (file.as_fd_number(), buf.as_mut_ptr().cast());
                // SAFETY: the buffer has `room` bytes.
                let len = unsafe { libc::fgetxattr(fd, name.as_ptr(), start, room) };
                outcome(len as libc::c_long)?
            }
        };
        buf.truncate(len);
        Ok((len, Bytes(buf)))
    }

    pub(crate) async fn set_xattr(&self, file: &File, name: &CStr, value: &[u8]) -> io::Result<()> {
        match self.world {
            World::Ringway => file.set_xattr(name, value.to_vec()).await,
            World::Kernel => Ok(kernel::fsetxattr(file, name, value, XattrFlags::empty())?),
        }
    }

    pub(crate) async fn list_xattr(
        &self,
        file: &File,
        room: usize,
    ) -> io::Result<(usize, Bytes<Vec<u8>>)> {
        let mut buf = vec![0; room];
        let len = match self.world {
            World::Ringway => {
                let (len, back) = file.list_xattr(buf).await;
                buf = back;
                len?
            }
            World::Kernel => {
                let (fd, start) = (file.as_fd_number(), buf.as_mut_ptr().cast());
                // SAFETY: the buffer has `room` bytes.
                outcome(unsafe { libc::flistxattr(fd, start, room) } as libc::c_long)?
            }
        };
        buf.truncate(len);
        Ok((len, Bytes(buf)))
    }

    pub(crate) async fn remove_xattr(&self, file: &File, name: &CStr) -> io::Result<()> {
        match self.world {
            World::Ringway => file.remove_xattr(name).await,
            World::Kernel => Ok(kernel::fremovexattr(file, name)?),
        }
    }

    pub(crate) async fn statfs(&self, file: &File) -> io::Result<(i64, i64, i64)> {
        let statfs: StatFs = match self.world {
            World::Ringway => file.statfs().await?,
            World::Kernel => kernel::fstatfs(file)?,
        };
        Ok((statfs.f_type, statfs.f_bsize, statfs.f_namelen))
    }

    /// The names that one call gives, in order; `None` at the end.
    pub(crate) async fn read_dir(
        &self,
        file: &File,
        room: usize,
    ) -> io::Result<Option<Vec<String>>> {
        let mut buf = vec![0; room];
        let len = match self.world {
            World::Ringway => {
                let (len, back) = file.read_dir(buf).await;
                buf = back;
                len?
            }
            World::Kernel => {
                let (fd, start) = (file.as_fd_number(), buf.as_mut_ptr());
                // SAFETY: the buffer has `room` bytes.
                outcome(unsafe { libc::syscall(libc::SYS_getdents64, fd, start, room) })?
            }
        };
        let entries = dir_entries(&buf[..len]);
        let mut names: Vec<_> =
            entries.map(|entry| format!("{:?} {:?}", entry.name, entry.file_type)).collect();
        names.sort();
        Ok((len > 0).then_some(names))
    }

    pub(crate) async fn close(&self, file: File) -> io::Result<()> {
        match self.world {
            World::Ringway => file.close().await,
            World::Kernel => {
                // A handle does not give its descriptor out, so it is another one's close that counts.
                let fd = rustix::io::dup(&file)?;
                drop(file);
                // SAFETY: the descriptor was given out just now.
                outcome(unsafe { libc::close(fd.into_raw_fd()) }.into()).map(drop)
            }
        }
    }

    /// The file, of which a script may tell what it likes.
    pub(crate) async fn open_with(
        &self,
        dir: &Dir,
        path: impl AsRef<Path>,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> io::Result<File> {
        let (path, mode) = (path.as_ref(), Mode::RUSR | Mode::WUSR);
        match self.world {
            World::Ringway => {
                dir.open_at(path, &OpenHow::new(flags).mode(mode).resolve(resolve)).await
            }
            World::Kernel => {
                let creates = flags.contains(OFlags::CREATE) || flags.contains(OFlags::TMPFILE);
                let mode = if creates { mode } else { Mode::empty() };
                Ok(kernel::openat2(dir, path, flags | OFlags::CLOEXEC, mode, resolve)?.into())
            }
        }
    }

    /// In the stage's directory, resolved freely.
    pub(crate) async fn open(&self, path: impl AsRef<Path>, flags: OFlags) -> io::Result<File> {
        self.open_with(&self.dir, path, flags, ResolveFlags::empty()).await
    }

    pub(crate) async fn mkdir(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        match self.world {
            World::Ringway => self.dir.mkdir_at(path, mode).await,
            World::Kernel => {
                Ok(kernel::mkdirat(&self.dir, path.as_ref(), Mode::from_raw_mode(mode))?)
            }
        }
    }

    pub(crate) async fn unlink(&self, path: impl AsRef<Path>, dir: bool) -> io::Result<()> {
        let flags = if dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match self.world {
            World::Ringway => self.dir.unlink_at(path, dir).await,
            World::Kernel => Ok(kernel::unlinkat(&self.dir, path.as_ref(), flags)?),
        }
    }

    pub(crate) async fn rename(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        flags: RenameFlags,
    ) -> io::Result<()> {
        match self.world {
            World::Ringway => self.dir.rename_at(from, &self.dir, to, flags).await,
            World::Kernel => {
                Ok(kernel::renameat_with(&self.dir, from.as_ref(), &self.dir, to.as_ref(), flags)?)
            }
        }
    }

    pub(crate) async fn link(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        flags: AtFlags,
    ) -> io::Result<()> {
        match self.world {
            World::Ringway => self.dir.link_at(from, &self.dir, to, flags).await,
            World::Kernel => {
                Ok(kernel::linkat(&self.dir, from.as_ref(), &self.dir, to.as_ref(), flags)?)
            }
        }
    }

    pub(crate) async fn symlink(
        &self,
        target: impl AsRef<Path>,
        path: impl AsRef<Path>,
    ) -> io::Result<()> {
        match self.world {
            World::Ringway => self.dir.symlink_at(target, path).await,
            World::Kernel => Ok(kernel::symlinkat(target.as_ref(), &self.dir, path.as_ref())?),
        }
    }

    pub(crate) async fn readlink(&self, path: impl AsRef<Path>) -> io::Result<String> {
        match self.world {
            World::Ringway => Ok(self.dir.readlink_at(path).await?.to_string_lossy().into_owned()),
            World::Kernel => {
                let target = kernel::readlinkat(&self.dir, path.as_ref(), Vec::new())?;
                Ok(target.to_string_lossy().into_owned())
            }
        }
    }
}

fn lasting(statx: &Statx) -> (u32, u16, u32, u64) {
    // A directory's size is the file system's own affair.
    let is_dir = u32::from(statx.stx_mode) & libc::S_IFMT == libc::S_IFDIR;
    let size = if is_dir { 0 } else { statx.stx_size };
    (statx.stx_mask, statx.stx_mode, statx.stx_nlink, size)
}

trait Number {
    fn as_fd_number(&self) -> i32;
}

impl Number for File {
    fn as_fd_number(&self) -> i32 {
        use std::os::fd::AsFd;
        self.as_fd().as_raw_fd()
    }
}
