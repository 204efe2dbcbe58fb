//! Places that bytes can be sent to without being copied on the way, which no place on this host is: there
//! the receiver's bytes are a copy of the sender's.

#![allow(dead_code, unreachable_pub, reason = "each program uses its own part")]
#![allow(
    unsafe_code,
    reason = "goes into a network namespace, and writes a packet socket's address"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;

use rustix::net::netdevice::name_to_index;
use rustix::thread::UnshareFlags;
use socket2::{Domain, SockAddr, Socket, Type};

/// Names a TCP server on another host that takes everything and says nothing: `ADDRESS:PORT`. The guests
/// of `./dev kernels` have one behind a device of their own.
pub const TCP_VARIABLE: &str = "RINGWAY_TEST_SINK";

/// The port that discards (RFC 863), at an address behind the dummy device where nobody is.
pub const BEHIND_DUMMY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 9);

/// Runs `run` on a thread that has a network of its own: loopback, and a dummy device that frees all that is
/// sent through it.
///
/// # Errors
/// Why there can be no such network here.
pub fn with_dummy<T: Send>(mtu: u32, run: impl FnOnce() -> T + Send) -> Result<T, String> {
    let in_namespace = || {
        make_network(mtu)?;
        Ok(run())
    };
    thread::scope(|scope| scope.spawn(in_namespace).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn make_network(mtu: u32) -> Result<(), String> {
    // SAFETY: the network alone, and not the table of descriptors, which is what others may rely on.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|error| format!("no network namespace: {error}"))?;
    ip("link set lo up")?;
    ip("link add sink type dummy")?;
    ip(&format!("link set sink mtu {mtu} up"))?;
    ip("addr add 192.0.2.1/24 dev sink")
}

/// Receives the packets that go to the dummy device, without their Ethernet heads.
///
/// It is bound to the device from the beginning: while there is a packet socket that is bound to none, older
/// kernels copy for it whatever leaves the host, in any namespace.
///
/// # Errors
/// Those of `socket` and `bind`.
pub fn capture() -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    let index = name_to_index(&socket, "sink")?;
    // SAFETY: the storage is zeroed, and large enough and aligned for any address; the length is that of
    // what is written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, len| {
            let address = &mut *storage.cast::<libc::sockaddr_ll>();
            address.sll_family = libc::AF_PACKET as _;
            address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            address.sll_ifindex = index.cast_signed();
            *len = size_of::<libc::sockaddr_ll>() as _;
            Ok(())
        })?
    };
    socket.bind(&address)?;
    Ok(socket)
}

fn ip(arguments: &str) -> Result<(), String> {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    let done = done.map_err(|error| format!("no command `ip`: {error}"))?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    let complaint = complaint.lines().next().unwrap_or("it failed");
    done.status.success().then_some(()).ok_or_else(|| format!("ip {arguments}: {complaint}"))
}

/// The TCP sink.
///
/// # Errors
/// That none is named, or that its name is no address.
pub fn tcp() -> Result<SocketAddr, String> {
    let named = std::env::var(TCP_VARIABLE).map_err(|_| format!("{TCP_VARIABLE} names no sink"))?;
    named.parse().map_err(|error| format!("{TCP_VARIABLE}={named}: {error}"))
}
