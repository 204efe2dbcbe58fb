//! `SIGBUS` for memory whose file has nothing for it, as where the disk fails, made into an error.
//!
//! The kernel sends it to the thread that looks, at the moment when it does. The handler puts zeros in the place of what
//! is missing, so that whoever looks comes to an end, and remembers that it did. Any other `SIGBUS` does what it did
//! before.

#![allow(unsafe_code, reason = "installs a signal handler, and maps memory in it")]

use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::mem;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

use libc::{SA_ONSTACK, SA_SIGINFO, SIG_DFL, SIG_IGN, SIGBUS, c_int, sigaction, siginfo_t};

thread_local! {
    /// What this thread looks at. Without a destructor, so that the handler finds it as it is.
    static LOOKED_AT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// Something of it was missing.
    static MISSED: Cell<bool> = const { Cell::new(false) };
}

/// What was done about `SIGBUS` before.
static BEFORE: OnceLock<Result<sigaction, c_int>> = OnceLock::new();

/// Lets `look` look at the memory at these addresses, which begins and ends with a page. What is missing of it is zero then,
/// and stays so.
///
/// # Errors
/// `EIO` if something was missing; those of `sigaction`.
pub(super) fn caught<T>(area: Range<usize>, look: impl FnOnce() -> T) -> io::Result<T> {
    /// Also where `look` panics.
    struct Forget((usize, usize));
    impl Drop for Forget {
        fn drop(&mut self) {
            LOOKED_AT.set(self.0);
        }
    }

    install()?;
    let outer = Forget(LOOKED_AT.replace((area.start, area.end)));
    let missed_before = MISSED.replace(false);
    let seen = look();
    let missed = MISSED.replace(missed_before);
    drop(outer);
    if missed { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(seen) }
}

fn install() -> io::Result<()> {
    let installed = BEFORE.get_or_init(|| {
        // SAFETY: zeros are an action. The handler has the signature that SA_SIGINFO asks for, lives for ever, and does
        // only what is async-signal-safe.
        unsafe {
            let (mut ours, mut before): (sigaction, sigaction) = (mem::zeroed(), mem::zeroed());
            ours.sa_sigaction = handle as *const () as usize;
            ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
            libc::sigemptyset(&raw mut ours.sa_mask);
            match sigaction(SIGBUS, &raw const ours, &raw mut before) {
                0 => Ok(before),
                _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
            }
        }
    });
    installed.as_ref().map(drop).map_err(|errno| io::Error::from_raw_os_error(*errno))
}

/// Runs on the thread that looks, which has no lock and no memory half allocated: it is amid a load.
extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a siginfo_t, which has an address for this signal.
    let address = unsafe { (*info).si_addr() }.addr();
    let (start, end) = LOOKED_AT.get();
    if (start..end).contains(&address) && fill(start, end) {
        return MISSED.set(true);
    }
    match BEFORE.get() {
        Some(Ok(before)) if before.sa_sigaction != SIG_DFL && before.sa_sigaction != SIG_IGN => {
            // SAFETY: whoever installed it said what arguments it takes.
            unsafe {
                if before.sa_flags & SA_SIGINFO != 0 {
                    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        mem::transmute(before.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = mem::transmute(before.sa_sigaction);
                    handler(signal);
                }
            }
        }
        // The load is made again and ends the process.
        // SAFETY: zeros are the default action.
        _ => unsafe {
            let default: sigaction = mem::zeroed();
            let _ = sigaction(SIGBUS, &raw const default, ptr::null_mut());
        },
    }
}

/// Zeros instead of all that is looked at: more may be missing, and none of it is to be used.
fn fill(start: usize, end: usize) -> bool {
    let (protection, flags) =
        (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
    // SAFETY: the thread that was interrupted has this memory mapped, for reading, and knows from `MISSED` that it is
    // not what it was. `mmap` is a mere system call; what it leaves in errno, the load that is made again does not
    // look at, nor what follows it.
    unsafe {
        let errno = *libc::__errno_location();
        let at = ptr::without_provenance_mut::<c_void>(start);
        let filled = libc::mmap(at, end - start, protection, flags, -1, 0);
        *libc::__errno_location() = errno;
        filled != libc::MAP_FAILED
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::Mapping;
    use super::*;

    const PAGE: usize = 4096;

    /// What there is of a page of a file that is cut off while it is looked at.
    fn cut_off_while_looked_at() -> io::Result<Vec<u8>> {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; 3 * PAGE], 0).unwrap();
        let keep: File = file.try_clone().unwrap();
        let mapping: Mapping =
            super::super::File::from(std::os::fd::OwnedFd::from(file)).map(0, 3 * PAGE).unwrap();
        let start = mapping.address().addr();
        caught(start..start + 3 * PAGE, || {
            let first = sum(&mapping, 0);
            assert_eq!(first, 7 * PAGE as u64);
            keep.set_len(PAGE as u64).unwrap();
            vec![sum(&mapping, PAGE) as u8, sum(&mapping, 0) as u8]
        })
    }

    /// The sum of a page's bytes, each of them looked at anew.
    fn sum(mapping: &Mapping, at: usize) -> u64 {
        let bytes = (at..at + PAGE).map(|at| mapping.address().wrapping_add(at));
        // SAFETY: within the mapping, or what was put in its place.
        bytes.map(|byte| u64::from(unsafe { byte.read_volatile() })).sum()
    }

    #[test]
    fn what_is_missing_is_an_error_and_ends_nobody() {
        for _ in 0..3 {
            let error = cut_off_while_looked_at().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
        }
        let threads = (0..4).map(|_| std::thread::spawn(cut_off_while_looked_at));
        for thread in threads.collect::<Vec<_>>() {
            assert!(thread.join().unwrap().is_err());
        }
        assert_eq!(caught(0..0, || 5).unwrap(), 5);
    }
}
