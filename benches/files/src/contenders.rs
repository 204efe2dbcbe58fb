//! What is compared: usmbd as it is, and Samba in two ways.

use ringway::Backend;
use smb_common::servers::{Contender, Kind};

/// What an administrator of a share for Windows sets.
const WINDOWS: &str = "vfs objects = acl_xattr streams_xattr io_uring\n  map acl inherit = yes";

pub(crate) const CONTENDERS: [Contender; 4] = [
    Contender {
        name: "usmbd",
        kind: Kind::Usmbd(Backend::Uring, &[]),
        settings: "as it is, on io_uring: named streams, creation times, DOS attributes and security descriptors are \
                   kept",
    },
    Contender {
        name: "usmbd-epoll",
        kind: Kind::Usmbd(Backend::Epoll, &[]),
        settings: "the same on epoll",
    },
    Contender {
        name: "samba",
        kind: Kind::Samba(""),
        settings: "a share with nothing set but its path and `read only = no`: DOS attributes and extended \
                   attributes are kept, named streams and security descriptors are not",
    },
    Contender {
        name: "samba-windows",
        kind: Kind::Samba(WINDOWS),
        settings: "`vfs objects = acl_xattr streams_xattr io_uring` and `map acl inherit = yes`, for what Windows \
                   expects and usmbd has",
    },
];
