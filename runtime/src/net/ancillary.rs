//! Control messages: what travels beside the data of one `sendmsg` or `recvmsg`.
//!
//! The kernel lays them out one after the other, each a header and its data, each padded to a word. It
//! reads and writes them as bytes, so bytes they are here.

#![allow(unsafe_code, reason = "owns the descriptors that the kernel has passed")]
#![allow(clippy::host_endian_bytes, reason = "control messages are the kernel's, on this host")]

use std::iter;
use std::os::fd::{FromRawFd, OwnedFd};

use libc::{c_int, cmsghdr};

/// Where a control message's data begins.
const HEADER: usize = align(size_of::<cmsghdr>());

/// How far a message's length reaches.
const WORD: usize = size_of::<usize>();

/// `SCM_PIDFD` (6.5): a descriptor of the sender's process, for who has asked with `SO_PASSPIDFD`.
const SCM_PIDFD: c_int = 4;

/// A buffer of control messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control(Vec<u8>);

/// One control message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ControlMessage<'a> {
    pub(crate) level: c_int,
    pub(crate) kind: c_int,
    pub(crate) data: &'a [u8],
}

impl Control {
    /// `bytes` of room for the kernel to write to.
    pub(crate) fn room(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    /// The bytes, for the kernel.
    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The kernel has filled so many bytes.
    pub(crate) fn truncate(&mut self, bytes: usize) {
        self.0.truncate(bytes);
    }

    /// Adds a message to be sent.
    #[expect(clippy::host_endian_bytes, reason = "the kernel's structures are the host's")]
    pub(crate) fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let len = HEADER + data.len();
        let end = self.0.len() + align(len);
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&level.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(end, 0);
    }

    /// The messages, as far as they are whole.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ControlMessage<'_>> {
        let mut rest = self.0.as_slice();
        iter::from_fn(move || {
            let (message, behind) = split(rest)?;
            rest = behind;
            Some(message)
        })
    }

    /// The descriptors that other processes have passed. Others than those of `SCM_RIGHTS` are closed.
    ///
    /// # Safety
    /// The kernel has written these messages in a receive that succeeded, and this is called once for
    /// them.
    pub(crate) unsafe fn descriptors(&self) -> Vec<OwnedFd> {
        let mut passed = Vec::new();
        for message in self.iter().filter(|message| message.level == libc::SOL_SOCKET) {
            // SAFETY: a descriptor that the kernel has just installed for this receive; the caller
            // sees to it that it gets one owner.
            let owned = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
            let fds = numbers(message.data).filter(|fd| *fd >= 0).map(owned);
            match message.kind {
                libc::SCM_RIGHTS => passed.extend(fds),
                SCM_PIDFD => fds.for_each(drop),
                _ => {}
            }
        }
        passed
    }
}

impl ControlMessage<'_> {
    /// The data as a number; the kernel writes some options as a byte and some as an `int`.
    pub(crate) fn number(&self) -> Option<c_int> {
        match *self.data {
            [byte] => Some(byte.into()),
            _ => numbers(self.data).next(),
        }
    }
}

/// How much room a control message with `data` bytes needs where others follow.
pub(crate) const fn space(data: usize) -> usize {
    HEADER + align(data)
}

/// How much room the last control message needs: not a byte for more than `data`.
pub(crate) const fn last(data: usize) -> usize {
    HEADER + data
}

const fn align(bytes: usize) -> usize {
    bytes.next_multiple_of(WORD)
}

/// The first message, and what is behind it.
fn split(bytes: &[u8]) -> Option<(ControlMessage<'_>, &[u8])> {
    let len = usize::from_ne_bytes(*bytes.first_chunk()?);
    let mut names = numbers(bytes.get(WORD..HEADER)?);
    let (level, kind) = (names.next()?, names.next()?);
    let data = bytes.get(HEADER..len)?;
    // The last message has no padding.
    let behind = bytes.get(len.checked_next_multiple_of(WORD)?..).unwrap_or_default();
    Some((ControlMessage { level, kind, data }, behind))
}

#[expect(clippy::host_endian_bytes, reason = "the kernel's structures are the host's")]
fn numbers(bytes: &[u8]) -> impl Iterator<Item = c_int> {
    bytes.chunks_exact(size_of::<c_int>()).filter_map(|chunk| {
        let chunk = chunk.first_chunk()?;
        Some(c_int::from_ne_bytes(*chunk))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_the_c_library_reads_them() {
        let mut control = Control::default();
        control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &[1, 2]);
        control.push(libc::SOL_IP, libc::IP_TOS, &[3, 0, 0, 0]);
        // SAFETY: a structure of numbers and pointers; the walk stays within the buffer it names, and a
        // vector's memory is aligned for anything small.
        let found = unsafe {
            let mut msg: libc::msghdr = std::mem::zeroed();
            msg.msg_control = control.0.as_mut_ptr().cast();
            msg.msg_controllen = control.0.len();
            let mut found = Vec::new();
            let mut next = libc::CMSG_FIRSTHDR(&raw const msg);
            while !next.is_null() {
                let (header, first) = (next.read_unaligned(), *libc::CMSG_DATA(next));
                found.push((header.cmsg_level, header.cmsg_type, header.cmsg_len, first));
                next = libc::CMSG_NXTHDR(&raw const msg, next);
            }
            found
        };
        // SAFETY: these only count.
        let (two, four) = unsafe { (libc::CMSG_LEN(2), libc::CMSG_LEN(4)) };
        let segment = (libc::SOL_UDP, libc::UDP_SEGMENT, two as usize, 1);
        assert_eq!(found, [segment, (libc::SOL_IP, libc::IP_TOS, four as usize, 3)]);
        // SAFETY: these only count.
        unsafe {
            assert_eq!(space(5), libc::CMSG_SPACE(5) as usize);
            assert_eq!(last(5), libc::CMSG_LEN(5) as usize);
        }
    }

    #[test]
    fn what_is_cut_off_or_says_nonsense_ends_the_messages() {
        let mut control = Control::default();
        control.push(1, 2, b"abcd");
        let whole = control.0.clone();
        for cut in 0..whole.len() {
            control.0 = whole[..cut].to_vec();
            let expected = usize::from(cut >= last(4));
            assert_eq!(control.iter().count(), expected, "{cut} bytes");
        }
        for len in [0_u8, 1, 15, 255] {
            control.0 = whole.clone();
            control.0[0] = len;
            assert_eq!(control.iter().count(), 0, "a length of {len}");
        }
        control.0 = vec![0xff; 40];
        assert_eq!(control.iter().count(), 0);
    }
}
