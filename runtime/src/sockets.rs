//! What the kernel's sockets can do beside the ring, found by trial.

use std::io;

use socket2::{Domain, Socket, Type};

use crate::features::{Feature, Mask, Support};
use crate::net::sockopt;

pub(crate) fn features(mask: Mask) -> Vec<(Feature, Support)> {
    let zero_copy = || takes(Type::STREAM, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1);
    vec![
        mask.probe(Feature::MsgZerocopy, zero_copy),
        mask.probe(Feature::UdpGso, || takes(Type::DGRAM, libc::SOL_UDP, libc::UDP_SEGMENT, 1000)),
        mask.probe(Feature::UdpGro, || takes(Type::DGRAM, libc::SOL_UDP, libc::UDP_GRO, 1)),
    ]
}

/// Whether a fresh socket takes an option.
fn takes(kind: Type, level: i32, option: i32, value: i32) -> io::Result<()> {
    sockopt::set(Socket::new(Domain::IPV4, kind, None)?, level, option, value)
}
