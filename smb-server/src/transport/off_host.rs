//! Whether what is sent to somebody leaves this host.
//!
//! Where it does not, sent pages of a file may end up in the receiver's queue as they are, and show there what is
//! written to the file later. So it does only if that is known: if the way there leads through a device of its own,
//! and not through software that may hand packets on within the host. Who is in a container here, or behind a bridge
//! or a tunnel, counts as here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::rtnetlink::{Device, devices, route_to};

/// The buses that network cards are on, those of virtual machines among them. A card there copies what it sends, or its
/// machine's host does.
const BUSES: [&str; 8] = ["pci", "virtio", "usb", "platform", "vmbus", "xen", "sdio", "ccwgroup"];

/// How many devices may lie on top of each other: a VLAN on a bond of cards are three.
const LAYERS_MAX: usize = 6;

/// Whether packets for `peer` leave this host, as the routes are now. Asks the kernel, and blocks meanwhile.
///
/// # Errors
/// Those of rtnetlink: then it is not known.
pub fn is_off_host(peer: SocketAddr) -> io::Result<bool> {
    let address = peer.ip().to_canonical();
    if address.is_loopback() || address.is_unspecified() {
        return Ok(false);
    }
    let scope = match (address, peer) {
        (IpAddr::V6(_), SocketAddr::V6(peer)) => peer.scope_id(),
        _ => 0,
    };
    let route = route_to(address, scope)?;
    Ok(route.is_unicast && is_hardware(&devices()?, route.device, LAYERS_MAX))
}

/// Whether all that goes through a device goes through hardware.
fn is_hardware(devices: &[Device], index: u32, layers: usize) -> bool {
    let Some(layers) = layers.checked_sub(1) else { return false };
    let Some(device) = devices.iter().find(|device| device.index == index) else { return false };
    match device.kind.as_deref() {
        None => device.bus.as_deref().is_some_and(|bus| BUSES.contains(&bus)),
        Some("vlan") if !device.below_elsewhere => {
            device.below.is_some_and(|below| is_hardware(devices, below, layers))
        }
        Some("bond" | "team") => {
            let mut parts = devices.iter().filter(|part| part.part_of == Some(index)).peekable();
            parts.peek().is_some() && parts.all(|part| is_hardware(devices, part.index, layers))
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(index: u32) -> Device {
        Device { index, bus: Some("pci".to_owned()), ..Device::default() }
    }

    fn software(index: u32, kind: &str) -> Device {
        Device { index, kind: Some(kind.to_owned()), ..Device::default() }
    }

    fn part(device: Device, part_of: u32) -> Device {
        Device { part_of: Some(part_of), ..device }
    }

    fn above(device: Device, below: u32) -> Device {
        Device { below: Some(below), ..device }
    }

    fn leads_to_hardware(devices: &[Device], index: u32) -> bool {
        is_hardware(devices, index, LAYERS_MAX)
    }

    #[test]
    fn cards_are_devices_of_their_own_and_so_is_what_is_made_of_nothing_else() {
        let devices = [
            part(card(2), 4),
            part(card(3), 4),
            software(4, "bond"),
            above(software(5, "vlan"), 4),
            above(software(6, "vlan"), 2),
        ];
        for index in 2..=6 {
            assert!(leads_to_hardware(&devices, index), "{index}");
        }
    }

    #[test]
    fn software_that_hands_packets_on_within_the_host_is_none() {
        for kind in ["veth", "bridge", "dummy", "tun", "macvlan", "ipvlan", "wireguard", "ifb"] {
            let devices = [part(card(1), 2), above(software(2, kind), 1)];
            assert!(!leads_to_hardware(&devices, 2), "{kind}");
        }
        let bridged = [software(1, "bridge"), above(software(2, "vlan"), 1)];
        assert!(!leads_to_hardware(&bridged, 2), "a VLAN of a bridge");
        let mixed = [part(card(1), 3), part(software(2, "veth"), 3), software(3, "bond")];
        assert!(!leads_to_hardware(&mixed, 3), "a bond with a veth");
    }

    #[test]
    fn what_is_not_known_is_none() {
        let loopback = Device { index: 1, ..Device::default() };
        let simulated = Device { index: 2, bus: Some("netdevsim".to_owned()), ..Device::default() };
        let elsewhere = Device { below_elsewhere: true, ..above(software(4, "vlan"), 3) };
        let devices = [loopback, simulated, card(3), elsewhere, software(5, "bond")];
        for index in [1, 2, 4, 5, 77] {
            assert!(!leads_to_hardware(&devices, index), "{index}");
        }
        // Each lies on the other.
        let circle = [above(software(1, "vlan"), 2), above(software(2, "vlan"), 1)];
        assert!(!leads_to_hardware(&circle, 1));
    }

    #[test]
    fn addresses_of_this_host_are_on_it() {
        for own in ["127.0.0.1:445", "[::1]:445", "[::ffff:127.0.0.2]:1"] {
            assert!(!is_off_host(own.parse().unwrap()).unwrap(), "{own}");
        }
    }
}
