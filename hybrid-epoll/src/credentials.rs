//! A thread's identity for the length of one call: switch, verify, run, switch back.
//!
//! The C library's functions of these names change every thread of a process; the system calls
//! change the calling thread, which is what is wanted here.

#![allow(unsafe_code, reason = "the system calls that set a thread's identity")]

use std::io;
use std::process::abort;
use std::ptr;

use libc::c_long;
use ringway_driver::Credentials;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// See [`crate::syscall::with_credentials`].
pub(crate) fn with_credentials(credentials: Option<&Credentials>, f: impl FnOnce() -> i32) -> i32 {
    let Some(credentials) = credentials else { return f() };
    let Ok(own) = Identity::current() else { return -libc::EPERM };
    let wanted = own.turned_into(credentials);
    if wanted == own {
        return f();
    }
    let _back = Restore(own);
    match wanted.assume() {
        Ok(()) => f(),
        Err(_) => -libc::EPERM,
    }
}

/// What the kernel consults when it asks whether this thread may touch a file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Identity {
    uid: u32,
    gid: u32,
    /// Ascending, as the kernel keeps them.
    groups: Vec<u32>,
    capabilities: CapabilitySets,
}

impl Identity {
    fn current() -> io::Result<Self> {
        Ok(Self {
            uid: set_id(libc::SYS_setfsuid, u32::MAX),
            gid: set_id(libc::SYS_setfsgid, u32::MAX),
            groups: groups()?,
            capabilities: capabilities(None)?,
        })
    }

    /// What this thread is to be while it acts for `credentials`.
    fn turned_into(&self, credentials: &Credentials) -> Self {
        let mut groups = credentials.groups.to_vec();
        groups.sort_unstable();
        let mut capabilities = self.capabilities;
        // Changing the user takes only the capabilities that name files. Others would still open
        // doors (CAP_SYS_ADMIN: trusted and security attributes), so an ordinary user has none.
        if credentials.uid != 0 {
            capabilities.effective = CapabilitySet::empty();
        }
        Self { uid: credentials.uid, gid: credentials.gid, groups, capabilities }
    }

    /// Makes the thread this, from a state with the capabilities to do so.
    fn assume(&self) -> io::Result<()> {
        set_groups(&self.groups)?;
        set_id(libc::SYS_setfsgid, self.gid);
        // After the groups: it may take, or give, capabilities, so those come last.
        set_id(libc::SYS_setfsuid, self.uid);
        if capabilities(None)? != self.capabilities {
            set_capabilities(None, self.capabilities)?;
        }
        // setfsuid and setfsgid do not say whether they succeeded.
        if Self::current()? == *self { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

/// Gives the thread its own identity back, however the borrowed one ends.
struct Restore(Identity);

impl Drop for Restore {
    fn drop(&mut self) {
        // The effective capabilities first: without them nothing else can be set. They are still
        // permitted, so this needs none.
        let own = &self.0;
        let restored = set_capabilities(None, own.capabilities).is_ok() && own.assume().is_ok();
        // A thread without the privilege to switch has none to switch back, and never left.
        if !restored && Identity::current().ok().as_ref() != Some(own) {
            // A thread that keeps a stranger's identity would act for the wrong user.
            abort();
        }
    }
}

/// `setfsuid` or `setfsgid`: the value before the call. An id that cannot be (`u32::MAX`) only asks.
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
    Ok(groups)
}

fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of one slice of the kernel's `gid_t`.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
