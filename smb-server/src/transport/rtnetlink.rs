//! What the kernel says of routes and network devices, in this network namespace: rtnetlink(7), as much of it as is
//! needed to find out by which device somebody is reached.
//!
//! `/sys/class/net` would be shorter, but may show another namespace's devices.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// Where packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// To another host, as opposed to this one, to many, or to nobody.
    pub(super) is_unicast: bool,
    /// Through which device.
    pub(super) device: u32,
}

/// A network device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Device {
    pub(super) index: u32,
    /// What it is, if it is made of software.
    pub(super) kind: Option<String>,
    /// What kind of bus the hardware is on, if there is any. From Linux 5.14 on.
    pub(super) bus: Option<String>,
    /// Through which other one it goes.
    pub(super) below: Option<u32>,
    /// That one is in another network namespace.
    pub(super) below_elsewhere: bool,
    /// Which one it is a part of.
    pub(super) part_of: Option<u32>,
}

/// How much of an answer is received at once: the kernel puts no more than this into a part of it.
const PART_MAX: usize = 64 * 1024;

/// How many devices are looked at. A host of containers has hundreds.
const DEVICES_MAX: usize = 16 * 1024;

/// Before each message: its length, kind, flags, number and sender.
const HEADER: usize = 16;

/// `struct rtmsg` and `struct ifinfomsg`.
const ROUTE: usize = 12;
const DEVICE: usize = 16;

/// The way to an address; `scope` says on which device's network, for those that mean nothing elsewhere. Waits for
/// nothing but the kernel.
///
/// # Errors
/// Those of sockets; the kernel's, where no way leads there.
pub(super) fn route_to(address: IpAddr, scope: u32) -> io::Result<Route> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let bits = bytes.len() * 8;
    let mut body = vec![0; ROUTE];
    body[0] = u8::try_from(family).map_err(io::Error::other)?;
    body[1] = u8::try_from(bits).map_err(io::Error::other)?;
    put_attribute(&mut body, libc::RTA_DST, &bytes);
    if scope != 0 {
        put_attribute(&mut body, libc::RTA_OIF, &number(scope));
    }
    let mut route = None;
    ask(libc::RTM_GETROUTE, 0, &body, |kind, body| {
        if kind == libc::RTM_NEWROUTE {
            route = read_route(body);
        }
        false
    })?;
    route.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// All devices. Waits for nothing but the kernel.
///
/// # Errors
/// Those of sockets, and the kernel's; `InvalidData` if there are too many.
pub(super) fn devices() -> io::Result<Vec<Device>> {
    let mut devices = Vec::new();
    ask(libc::RTM_GETLINK, libc::NLM_F_DUMP, &[0; DEVICE], |kind, body| {
        if kind == libc::RTM_NEWLINK {
            devices.extend(read_device(body));
        }
        devices.len() <= DEVICES_MAX
    })?;
    if devices.len() > DEVICES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(devices)
}

/// Sends a request, and takes messages of the answer until it ends, or `take` wants no more.
fn ask(
    kind: u16,
    flags: i32,
    body: &[u8],
    mut take: impl FnMut(u16, &[u8]) -> bool,
) -> io::Result<()> {
    let socket = connected()?;
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let flags = u16::try_from(libc::NLM_F_REQUEST | flags).map_err(io::Error::other)?;
    let kind_and_flags = [half(kind), half(flags)].concat();
    let request = [&number(length), &*kind_and_flags, &number(1), &number(0), body].concat();
    sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut part = vec![0; PART_MAX];
    loop {
        let (length, _) = recv(&socket, &mut part[..], RecvFlags::empty())?;
        let mut rest = part.get(..length).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((kind, body)) = next_message(&mut rest) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => return Err(error(body)),
                _ if !take(kind, body) => return Ok(()),
                _ => {}
            }
        }
    }
}

fn connected() -> io::Result<OwnedFd> {
    // Without a protocol's number it is NETLINK_ROUTE, which is 0.
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?)
}

/// The error that a message tells of, negative as the kernel's are.
fn error(body: &[u8]) -> io::Error {
    let code = read_number(body).map_or(0, u32::cast_signed);
    io::Error::from_raw_os_error(code.checked_neg().unwrap_or(libc::EIO))
}

// ---- out of messages

fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::try_from(read_number(rest)?).ok()?;
    let message = rest.get(..length)?;
    let (kind, body) = (read_half(message.get(4..)?)?, message.get(HEADER..)?);
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body))
}

fn read_route(body: &[u8]) -> Option<Route> {
    let is_unicast = *body.get(7)? == libc::RTN_UNICAST;
    let mut found = None;
    each_attribute(body.get(ROUTE..)?, |kind, value| {
        if kind == libc::RTA_OIF {
            found = read_number(value);
        }
    });
    found.map(|device| Route { is_unicast, device })
}

fn read_device(body: &[u8]) -> Option<Device> {
    let mut device = Device { index: read_number(body.get(4..)?)?, ..Device::default() };
    each_attribute(body.get(DEVICE..)?, |kind, value| match kind {
        libc::IFLA_LINK => device.below = read_number(value),
        libc::IFLA_LINK_NETNSID => device.below_elsewhere = true,
        libc::IFLA_MASTER => device.part_of = read_number(value),
        libc::IFLA_PARENT_DEV_BUS_NAME => device.bus = Some(text(value)),
        libc::IFLA_LINKINFO => each_attribute(value, |kind, value| {
            if kind == libc::IFLA_INFO_KIND {
                device.kind = Some(text(value));
            }
        }),
        _ => {}
    });
    Some(device)
}

/// What there is of attributes: each has its length, its own four bytes included, and its kind before it.
fn each_attribute(mut rest: &[u8], mut take: impl FnMut(u16, &[u8])) {
    while let (Some(length), Some(kind)) = (read_half(rest), rest.get(2..).and_then(read_half))
        && let Some(value) = rest.get(4..usize::from(length))
    {
        // The highest two bits say how the value is made.
        take(kind & 0x3fff, value);
        rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
}

/// A name, which ends with a zero.
fn text(value: &[u8]) -> String {
    let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn put_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Values here are addresses and numbers.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&half(length));
    body.extend_from_slice(&half(kind));
    body.extend_from_slice(value);
}

// ---- numbers, which have the byte order of this machine

#[expect(clippy::host_endian_bytes, reason = "they are the kernel's")]
fn number(value: u32) -> [u8; 4] {
    value.to_ne_bytes()
}

#[expect(clippy::host_endian_bytes, reason = "they are the kernel's")]
fn half(value: u16) -> [u8; 2] {
    value.to_ne_bytes()
}

#[expect(clippy::host_endian_bytes, reason = "they are the kernel's")]
fn read_number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[expect(clippy::host_endian_bytes, reason = "they are the kernel's")]
fn read_half(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_devices_are_those_that_sysfs_has() {
        let mut expected: Vec<(u32, bool)> = fs::read_dir("/sys/class/net")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("ifindex").exists())
            .map(|path| {
                let index = fs::read_to_string(path.join("ifindex")).unwrap();
                (index.trim().parse().unwrap(), path.join("device").exists())
            })
            .collect();
        expected.sort_unstable();
        let found = devices().unwrap();
        let mut indices: Vec<u32> = found.iter().map(|device| device.index).collect();
        indices.sort_unstable();
        assert_eq!(indices, expected.iter().map(|(index, _)| *index).collect::<Vec<_>>());
        if found.iter().any(|device| device.bus.is_some()) {
            let mut hardware: Vec<(u32, bool)> =
                found.iter().map(|device| (device.index, device.bus.is_some())).collect();
            hardware.sort_unstable();
            assert_eq!(hardware, expected);
        }
    }

    #[test]
    fn the_way_to_this_host_leads_to_no_other() {
        for own in ["127.0.0.1", "::1"] {
            // A kernel without IPv6 knows no way there.
            if let Ok(route) = route_to(own.parse().unwrap(), 0) {
                assert!(!route.is_unicast, "{own}");
            } else {
                assert_eq!(own, "::1");
            }
        }
    }

    #[test]
    fn damaged_answers_are_no_answers() {
        let attributes = [half(8), half(libc::RTA_OIF)].concat();
        let mut body = vec![0; ROUTE];
        body[7] = libc::RTN_UNICAST;
        body.extend(attributes);
        body.extend(number(4));
        assert_eq!(read_route(&body), Some(Route { is_unicast: true, device: 4 }));
        for length in 0..body.len() {
            assert_eq!(read_route(&body[..length]), None, "{length}");
        }
        let message = [&number(16 + 28), &[0; 12][..], &[0; 28]].concat();
        for length in 0..message.len() {
            assert_eq!(next_message(&mut &message[..length]), None, "{length}");
        }
        // A length that would not get on.
        for length in [0_u16, 3] {
            each_attribute(&[half(length), half(1)].concat(), |_, _| panic!("{length}"));
        }
        assert_eq!(next_message(&mut &number(3)[..]), None);
    }
}
