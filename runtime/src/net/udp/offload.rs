//! Whether the kernel cuts and joins datagrams, and how much it cuts at a time.

use std::io;

use crate::features::{Feature, Features};

/// The longest data of a UDP datagram, over IPv4: 65,535 bytes without the two headers.
const DATAGRAM_MAX: usize = 65_507;

/// How many datagrams one send may be cut into. The kernel's limit was 64 (`UDP_MAX_SEGMENTS`) before
/// it was 128.
const SEGMENTS_MAX: usize = 64;

/// What a runtime's kernel does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offload {
    /// `UDP_SEGMENT`.
    pub(crate) gso: bool,
    /// `UDP_GRO`.
    pub(crate) gro: bool,
}

impl Offload {
    pub(crate) fn new(features: &Features) -> Self {
        Self { gso: features.has(Feature::UdpGso), gro: features.has(Feature::UdpGro) }
    }
}

/// How many bytes of datagrams of `segment_size` go into one send.
pub(super) fn batch(segment_size: usize) -> usize {
    let segments = (DATAGRAM_MAX / segment_size).clamp(1, SEGMENTS_MAX);
    segment_size.saturating_mul(segments)
}

/// Whether an error may be of the cutting: the same data could leave as single datagrams. `EIO`: the
/// device computes no checksums. `EINVAL`, `EMSGSIZE`: a datagram does not fit into one packet, or the
/// option is not known. Errors of the data's own come again with the single datagrams.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let refusals = [libc::EIO, libc::EINVAL, libc::EMSGSIZE, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|errno| refusals.contains(&errno))
}

/// Whether all that the socket sends on this way will be refused.
pub(super) fn is_final(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_whole_datagrams_within_both_limits() {
        assert_eq!(batch(1), 64);
        assert_eq!(batch(1000), 64_000);
        assert_eq!(batch(1200), 54 * 1200);
        assert_eq!(batch(40_000), 40_000);
        assert_eq!(batch(70_000), 70_000, "one, which the kernel will refuse");
    }
}
