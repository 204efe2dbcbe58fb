//! Calls that would raise `SIGPIPE`, without it.
//!
//! Sends to sockets have `MSG_NOSIGNAL`; splices, and writes to pipes, have nothing of the kind (the
//! latter from Linux 6.18 on). Rust's runtime ignores the signal from the start, but a program may
//! have it back, and one with a `main` of its own never had it ignored. So each call asks first: one
//! system call, half the price of blocking the signal around every call. A thread that has a loop asks
//! once in each turn of it.

#![allow(unsafe_code, reason = "changes the thread's signal mask")]

use std::cell::Cell;
use std::mem;
use std::ptr;

use libc::{SIGPIPE, sigset_t};

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known::No) };
}

/// Whether the signal is known to be ignored.
#[derive(Clone, Copy)]
enum Known {
    /// The thread has no loop: every call asks.
    No,
    /// Nobody has asked in this turn of the thread's loop.
    NotYet,
    Ignored,
}

/// The thread's loop begins a turn. Whoever gives `SIGPIPE` its default back does so with effect on
/// this thread's calls from here on; before, such a call may raise it.
pub fn begin_turn() {
    KNOWN.set(Known::NotYet);
}

/// Runs `f`, which makes one system call, so that `-EPIPE` is all that comes of a broken pipe.
///
/// The signal that `f` raises is taken back; one that was pending before stays. A thread that gives
/// `SIGPIPE` back its default just while another is in here, or in the same turn of a loop, has to
/// block it itself.
pub(crate) fn without(f: impl FnOnce() -> i32) -> i32 {
    if is_ignored() {
        return f();
    }
    let only_sigpipe = sigpipe();
    let mut before = no_signals();
    // SAFETY: both sets are on the stack.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const only_sigpipe, &raw mut before) };
    let was_pending = is_pending();
    let result = f();
    if result == -libc::EPIPE && !was_pending {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: set and time are on the stack; nobody wants to know more about the signal.
        unsafe { libc::sigtimedwait(&raw const only_sigpipe, ptr::null_mut(), &raw const at_once) };
    }
    // SAFETY: the set is on the stack.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    result
}

fn is_ignored() -> bool {
    match KNOWN.get() {
        Known::Ignored => return true,
        Known::No => return ask(),
        Known::NotYet => {}
    }
    let ignored = ask();
    if ignored {
        KNOWN.set(Known::Ignored);
    }
    ignored
}

/// One system call.
fn ask() -> bool {
    // SAFETY: numbers and a function's address, for which zero is a value.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: asks only; the structure is on the stack.
    unsafe { libc::sigaction(SIGPIPE, ptr::null(), &raw mut action) };
    action.sa_sigaction == libc::SIG_IGN
}

fn is_pending() -> bool {
    let mut pending = no_signals();
    // SAFETY: the set is on the stack.
    unsafe {
        libc::sigpending(&raw mut pending);
        libc::sigismember(&raw const pending, SIGPIPE) == 1
    }
}

fn sigpipe() -> sigset_t {
    let mut set = no_signals();
    // SAFETY: the set is on the stack, and the number is a signal's.
    unsafe { libc::sigaddset(&raw mut set, SIGPIPE) };
    set
}

fn no_signals() -> sigset_t {
    // SAFETY: zero is a value of a set of bits, and `sigemptyset` writes to it.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        set
    }
}
