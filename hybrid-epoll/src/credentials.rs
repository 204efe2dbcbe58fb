//! A thread's credentials for the length of one call: switch, verify, run, switch back.
//!
//! The C library's functions of these names change every thread of a process; the system calls
//! change the calling thread, which is what is wanted here.
//!
//! Each change costs 2.6 µs, for the kernel makes a whole new set of credentials; asking costs 0.2. So
//! what is as it should be is left alone. What the thread is by itself is asked each time all the same:
//! a note of it would bring back privileges that the process has given up since.

#![allow(unsafe_code, reason = "the system calls that set a thread's credentials")]

use std::io;
use std::process::abort;
use std::ptr;

use libc::c_long;
use ringway_driver::Identity;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// See [`crate::syscall::with_credentials`].
pub(crate) fn with_credentials(identity: Option<&Identity>, f: impl FnOnce() -> i32) -> i32 {
    let Some(identity) = identity else { return f() };
    let Ok(own) = Credentials::current() else { return -libc::EPERM };
    let wanted = own.turned_into(identity);
    if wanted == own {
        return f();
    }
    let back = Restore { own, borrowed: wanted };
    match back.borrowed.replace(&back.own) {
        Ok(()) => f(),
        Err(_) => -libc::EPERM,
    }
}

/// What the kernel consults when it asks whether this thread may touch a file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Credentials {
    uid: u32,
    gid: u32,
    /// Ascending, as the kernel keeps them, and each once.
    groups: Vec<u32>,
    capabilities: CapabilitySets,
}

impl Credentials {
    fn current() -> io::Result<Self> {
        let (uid, gid) = ids();
        Ok(Self { uid, gid, groups: groups()?, capabilities: capabilities(None)? })
    }

    /// What this thread is to be while it acts for `identity`.
    fn turned_into(&self, identity: &Identity) -> Self {
        let mut capabilities = self.capabilities;
        // Changing the user takes only the capabilities that name files. Others would still open
        // doors (CAP_SYS_ADMIN: trusted and security attributes), so an ordinary user has none.
        if identity.uid() != 0 {
            capabilities.effective = CapabilitySet::empty();
        }
        let (uid, gid, groups) = (identity.uid(), identity.gid(), identity.groups().to_vec());
        Self { uid, gid, groups, capabilities }
    }

    /// Makes the thread this, which has been `other` and has the capabilities to do so.
    fn replace(&self, other: &Self) -> io::Result<()> {
        if self.groups != other.groups {
            set_groups(&self.groups)?;
        }
        if self.gid != other.gid {
            set_id(libc::SYS_setfsgid, self.gid);
        }
        if self.uid != other.uid {
            set_id(libc::SYS_setfsuid, self.uid);
        }
        // Last: without them nothing else can be set, and setfsuid may have taken some, or given.
        if capabilities(None)? != self.capabilities {
            set_capabilities(None, self.capabilities)?;
        }
        // The others say whether they succeeded; setfsuid and setfsgid do not.
        let succeeded = ids() == (self.uid, self.gid);
        if succeeded { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

/// Gives the thread its own credentials back, however the borrowed ones end.
struct Restore {
    own: Credentials,
    borrowed: Credentials,
}

impl Drop for Restore {
    fn drop(&mut self) {
        // The effective capabilities first: without them nothing else can be set. They are still
        // permitted, so this needs none.
        let restored = set_capabilities(None, self.own.capabilities)
            .map_err(io::Error::from)
            .and_then(|()| self.own.replace(&self.borrowed));
        // A thread without the privilege to switch has none to switch back, and never left.
        if restored.is_err() && Credentials::current().ok().as_ref() != Some(&self.own) {
            // A thread that keeps a stranger's credentials would act for the wrong user.
            abort();
        }
    }
}

/// File system user and group of this thread.
fn ids() -> (u32, u32) {
    // An id that cannot be only asks.
    (set_id(libc::SYS_setfsuid, u32::MAX), set_id(libc::SYS_setfsgid, u32::MAX))
}

/// `setfsuid` or `setfsgid`: the value before the call.
fn set_id(call: c_long, id: u32) -> u32 {
    // SAFETY: takes and gives numbers only; `call` is one of the two.
    unsafe { libc::syscall(call, id) as u32 }
}

fn groups() -> io::Result<Vec<u32>> {
    // SAFETY: a zero size asks for the count and writes nothing.
    let count = unsafe { libc::syscall(libc::SYS_getgroups, 0, ptr::null_mut::<u32>()) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let mut groups = vec![0_u32; count];
    // SAFETY: `groups` has room for `count`, and nobody but this thread changes its groups.
    let written = unsafe { libc::syscall(libc::SYS_getgroups, count, groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(written).map_err(|_| io::Error::last_os_error())?);
    groups.dedup();
    Ok(groups)
}

fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of one slice of the kernel's `gid_t`.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
