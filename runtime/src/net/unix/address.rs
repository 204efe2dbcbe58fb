//! Addresses of Unix sockets, from the standard library's form to the kernel's and back.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{SockAddr, SockRef};

/// For the kernel. What has no name is nobody's address.
pub(super) fn to_kernel(addr: &SocketAddr) -> io::Result<SockAddr> {
    match (addr.as_pathname(), addr.as_abstract_name()) {
        (Some(path), _) => SockAddr::unix(path),
        (None, Some(name)) => {
            let name = [b"\0", name].concat();
            SockAddr::unix(OsStr::from_bytes(&name))
        }
        (None, None) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// For the kernel, of a path.
pub(super) fn of_path(path: &Path) -> io::Result<SockAddr> {
    // The kernel would take an empty one for the wish to be given a name.
    if path.as_os_str().is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(SocketAddr::from_pathname(path)?).and_then(|addr| to_kernel(&addr))
}

/// From the kernel.
pub(super) fn from_kernel(addr: &SockAddr) -> io::Result<SocketAddr> {
    match (addr.as_pathname(), addr.as_abstract_namespace()) {
        (Some(path), _) => SocketAddr::from_pathname(path),
        (None, Some(name)) => SocketAddr::from_abstract_name(name),
        // An empty path is how the standard library spells "without a name".
        (None, None) => SocketAddr::from_pathname(""),
    }
}

/// `getsockname`.
pub(super) fn local(socket: impl AsFd) -> io::Result<SocketAddr> {
    from_kernel(&SockRef::from(&socket.as_fd()).local_addr()?)
}

/// `getpeername`.
pub(super) fn peer(socket: impl AsFd) -> io::Result<SocketAddr> {
    from_kernel(&SockRef::from(&socket.as_fd()).peer_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_went() {
        let path = SocketAddr::from_pathname("/run/x").unwrap();
        let back = from_kernel(&to_kernel(&path).unwrap()).unwrap();
        assert_eq!(back.as_pathname(), Some(Path::new("/run/x")));
        for name in [b"name".as_slice(), b"", b"nul\0inside", &[7; 107]] {
            let addr = SocketAddr::from_abstract_name(name).unwrap();
            let kernel = to_kernel(&addr).unwrap();
            // unix(7): the family, a NUL, and the name without an end of its own.
            assert_eq!(kernel.len() as usize, 3 + name.len());
            assert_eq!(from_kernel(&kernel).unwrap().as_abstract_name(), Some(name));
        }
        let nameless = SocketAddr::from_pathname("").unwrap();
        assert_eq!(to_kernel(&nameless).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for path in ["", "nul\0inside", &"x".repeat(108)] {
            let error = of_path(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
    }
}
