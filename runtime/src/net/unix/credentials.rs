//! Who is at the other end.

use std::io;
use std::os::fd::AsFd;

use crate::net::sockopt;

/// Who made the other end, as of when it connected, listened or made the pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UnixCredentials {
    /// The process; `None` if it has no number in this one's namespace.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl UnixCredentials {
    pub(super) fn of_peer(socket: impl AsFd) -> io::Result<Self> {
        let peer = sockopt::peer_credentials(socket)?;
        let pid = u32::try_from(peer.pid).ok().filter(|pid| *pid != 0);
        Ok(Self { pid, uid: peer.uid, gid: peer.gid })
    }
}
