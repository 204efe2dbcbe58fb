//! What is said of a datagram beside its data, as control messages say it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::slice::Chunks;

use libc::c_int;

use crate::net::ancillary::{Control, ControlMessage, space};

/// Room for all that a socket here may be asked to tell. An IPv6 socket tells the destination of an IPv4
/// datagram in both families' words.
pub(super) const ROOM: usize = space(size_of::<libc::in6_pktinfo>())
    + space(size_of::<libc::in_pktinfo>())
    + 3 * space(size_of::<c_int>());

/// Explicit congestion notification (RFC 3168): the last two bits of an IP header's traffic class.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ecn {
    /// Not capable.
    NotEct,
    /// Capable, ECT(1).
    Ect1,
    /// Capable, ECT(0).
    Ect0,
    /// Congestion was experienced.
    Ce,
}

impl Ecn {
    fn of_traffic_class(class: c_int) -> Self {
        match class & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    fn traffic_class(self) -> c_int {
        match self {
            Self::NotEct => 0b00,
            Self::Ect1 => 0b01,
            Self::Ect0 => 0b10,
            Self::Ce => 0b11,
        }
    }
}

/// What came with a datagram, or with several in one receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RecvMeta {
    /// Bytes of data in the buffer.
    pub len: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// The local address that it came to, after
    /// [`set_recv_destination`](super::UdpSocket::set_recv_destination).
    pub to: Option<IpAddr>,
    /// With [`set_gro`](super::UdpSocket::set_gro): the data are several datagrams of this many bytes
    /// each, of which the last may be shorter.
    pub segment_size: Option<usize>,
    /// After [`set_recv_ecn`](super::UdpSocket::set_recv_ecn).
    pub ecn: Option<Ecn>,
    /// The data was longer than the buffer, and the rest of it is lost.
    pub truncated: bool,
}

impl RecvMeta {
    pub(super) fn new(from: SocketAddr, len: usize, truncated: bool, control: &Control) -> Self {
        let mut meta = Self { len, from, to: None, segment_size: None, ecn: None, truncated };
        control.iter().for_each(|message| meta.note(&message));
        meta
    }

    /// The datagrams in `data`, the start of the buffer: one, but for [`RecvMeta::segment_size`]. Of an
    /// empty datagram there is none.
    pub fn datagrams<'a>(&self, data: &'a [u8]) -> Chunks<'a, u8> {
        let data = data.get(..self.len).unwrap_or(data);
        data.chunks(self.segment_size.unwrap_or(self.len).max(1))
    }

    fn note(&mut self, message: &ControlMessage<'_>) {
        match (message.level, message.kind) {
            (libc::SOL_IP, libc::IP_TOS) | (libc::SOL_IPV6, libc::IPV6_TCLASS) => {
                self.ecn = message.number().map(Ecn::of_traffic_class);
            }
            (libc::SOL_IP, libc::IP_PKTINFO) => {
                // `in_pktinfo`: the interface, the route's own address, the header's destination.
                let addr = message.data.get(8..).and_then(|addr| addr.first_chunk::<4>());
                self.to = addr.map(|addr| Ipv4Addr::from(*addr).into()).or(self.to);
            }
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
                let addr = message.data.first_chunk::<16>();
                let addr = addr.map(|addr| IpAddr::from(*addr).to_canonical());
                self.to = self.to.or(addr);
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let size = message.number().and_then(|size| usize::try_from(size).ok());
                self.segment_size = size.filter(|size| (1..self.len).contains(size));
            }
            _ => {}
        }
    }
}

/// How to send, where it is not as the socket does by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendMeta {
    /// To whom; the connected peer if to nobody else.
    pub to: Option<SocketAddr>,
    /// From which of this host's addresses: usually [`RecvMeta::to`] of what is being answered.
    pub from: Option<IpAddr>,
    /// The datagrams' ECN.
    pub ecn: Option<Ecn>,
    /// The data are datagrams of this many bytes each, of which the last may be shorter.
    pub segment_size: Option<usize>,
}

impl SendMeta {
    /// To `addr`, and all else as the socket does by itself.
    #[must_use]
    pub fn to(addr: SocketAddr) -> Self {
        Self { to: Some(addr), ..Self::default() }
    }

    /// What the kernel is told. `v4`: IPv4 is what travels.
    #[expect(clippy::host_endian_bytes, reason = "the kernel's structures are the host's")]
    pub(super) fn control(&self, v4: bool, segment_size: Option<u16>) -> Control {
        let mut control = Control::default();
        if let Some(ecn) = self.ecn {
            let (level, kind) =
                if v4 { (libc::SOL_IP, libc::IP_TOS) } else { (libc::SOL_IPV6, libc::IPV6_TCLASS) };
            control.push(level, kind, &ecn.traffic_class().to_ne_bytes());
        }
        match self.from.map(|from| from.to_canonical()) {
            Some(IpAddr::V4(from)) => {
                control.push(libc::SOL_IP, libc::IP_PKTINFO, &source_v4(from));
            }
            Some(IpAddr::V6(from)) => {
                control.push(libc::SOL_IPV6, libc::IPV6_PKTINFO, &source_v6(from));
            }
            None => {}
        }
        if let Some(size) = segment_size {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
        }
        control
    }
}

/// `in_pktinfo`: any interface, the source, and a field that sending ignores.
fn source_v4(from: Ipv4Addr) -> [u8; 12] {
    let mut info = [0; 12];
    info[4..8].copy_from_slice(&from.octets());
    info
}

/// `in6_pktinfo`: the source, any interface.
fn source_v6(from: Ipv6Addr) -> [u8; 20] {
    let mut info = [0; 20];
    info[..16].copy_from_slice(&from.octets());
    info
}
