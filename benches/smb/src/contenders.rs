//! What is compared: servers, and the floors below them.

use std::io;

use ringway::Backend;
use smb_common::client::Protection;
use smb_common::servers::{self, Kind, Places, Server};
use usmbd::crypto::seal::Cipher as Seal;
use usmbd::crypto::sign::SigningAlgorithm;

use crate::floors::{Cipher, Floor, Way};
use crate::shape::{Shape, Workload};

/// A line of the tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Contender {
    Server(&'static servers::Contender),
    /// One that somebody else has started.
    Foreign,
    Floor(Way),
    Cipher(Cipher),
}

/// What usmbd is compared with.
pub(crate) const PEER: &str = "samba";

pub(crate) const SERVERS: [servers::Contender; 4] = [
    servers::Contender {
        name: "usmbd",
        kind: Kind::Usmbd(Backend::Uring, &[]),
        settings: "as it is, on io_uring, with one thread",
    },
    servers::Contender {
        name: "usmbd-hybrid",
        kind: Kind::Usmbd(Backend::Hybrid, &[]),
        settings: "the same on a ring that is waited for in epoll",
    },
    servers::Contender {
        name: "usmbd-epoll",
        kind: Kind::Usmbd(Backend::Epoll, &[]),
        settings: "the same on epoll",
    },
    servers::Contender {
        name: PEER,
        kind: Kind::Samba("vfs objects = io_uring"),
        settings: "a share with nothing set but its path, `read only = no` and `vfs objects = io_uring`",
    },
];

/// usmbd again, which is left one way to move bytes where it would choose among several; and Samba, told to use another.
pub(crate) const WAYS: [servers::Contender; 6] = [
    servers::Contender {
        name: "usmbd, copied",
        kind: Kind::Usmbd(Backend::Uring, &["--without", "pipes,mappings"]),
        settings: "all through buffers",
    },
    servers::Contender {
        name: "usmbd, spliced",
        kind: Kind::Usmbd(Backend::Uring, &["--without", "mappings"]),
        settings: "plain reads of 16 KiB and more through pipes",
    },
    servers::Contender {
        name: "usmbd, mapped",
        kind: Kind::Usmbd(Backend::Uring, &["--without", "pipes"]),
        settings: "plain reads of 512 KiB and more, and protected ones of 1 MiB and more, from mappings",
    },
    servers::Contender {
        name: "usmbd, mapped anew",
        kind: Kind::Usmbd(Backend::Uring, &["--without", "pipes,kept-mappings"]),
        settings: "the same, but each read has a mapping of its own, as where a file is read once",
    },
    servers::Contender {
        name: "usmbd, teed",
        kind: Kind::Usmbd(Backend::Uring, &["--assume-remote-peers"]),
        settings: "signed reads of 64 KiB and more through pipes and a tee, as for clients on other hosts",
    },
    servers::Contender {
        name: "samba, sendfile",
        kind: Kind::Samba("vfs objects = io_uring\n  use sendfile = yes"),
        settings: "as samba, and with `use sendfile = yes`",
    },
];

/// Whether a row is one in which that way is taken, and not much else.
fn is_for_way(name: &str, shape: &Shape) -> bool {
    let (size, is_plain) = (shape.size, shape.protection == Protection::Plain);
    let is_signed = matches!(shape.protection, Protection::Signed(_));
    let is_read = shape.workload == Workload::Read && !shape.random;
    let is_single = shape.connections == 1;
    match name {
        "usmbd, copied" if !is_plain => is_single && is_read && size >= 1 << 20,
        "usmbd, copied" => is_single && (is_read || shape.workload == Workload::Write),
        "usmbd, spliced" => is_single && is_read && is_plain && size >= 16 << 10,
        "usmbd, mapped" if is_signed => is_single && is_read && size >= 1 << 20,
        "usmbd, mapped" => is_single && is_read && is_plain && size >= 512 << 10,
        "usmbd, mapped anew" => is_single && is_read && size >= 1 << 20,
        "samba, sendfile" => is_single && is_read && is_plain,
        "usmbd, teed" => is_single && is_read && is_signed && size >= 64 << 10,
        _ => true,
    }
}

impl Contender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server(server) => server.name,
            Self::Foreign => "server",
            Self::Floor(way) => way.name(),
            Self::Cipher(cipher) => cipher.name(),
        }
    }

    pub(crate) fn all() -> Vec<Self> {
        let servers = SERVERS.iter().chain(&WAYS).map(Self::Server);
        let floors = Way::ALL.map(Self::Floor).into_iter();
        servers.chain(floors).chain(crate::floors::CIPHERS.map(Self::Cipher)).collect()
    }

    /// Whether it belongs into a row: every server does, a way where it is taken, and the floor of what is done there.
    pub(crate) fn is_for(self, shape: &Shape) -> bool {
        match self {
            Self::Server(server) => is_for_way(server.name, shape),
            Self::Foreign => true,
            Self::Floor(way) => {
                shape.workload == way.workload() && shape.protection == Protection::Plain
            }
            Self::Cipher(cipher) => {
                matches!(shape.workload, Workload::Read | Workload::Write)
                    && shape.protection
                        == match cipher {
                            Cipher::Gmac => Protection::Signed(Some(SigningAlgorithm::AesGmac)),
                            Cipher::Gcm128 => Protection::Sealed(Seal::Aes128Gcm),
                            Cipher::Gcm256 => Protection::Sealed(Seal::Aes256Gcm),
                        }
            }
        }
    }
}

/// A contender that can be put under load.
pub(crate) enum Running {
    Server(Server),
    Foreign,
    Floor(Way, Floor),
    Cipher(Cipher),
}

impl Running {
    pub(crate) fn start(contender: Contender, places: &Places) -> io::Result<Self> {
        Ok(match contender {
            Contender::Server(server) => Self::Server(Server::start(*server, places)?),
            Contender::Foreign => Self::Foreign,
            Contender::Floor(way) => Self::Floor(way, Floor::start(way, &places.share)?),
            Contender::Cipher(cipher) => Self::Cipher(cipher),
        })
    }

    pub(crate) fn contender(&self) -> Contender {
        match self {
            Self::Server(server) => {
                let mut all = SERVERS.iter().chain(&WAYS);
                let known = all.find(|it| it.name == server.contender.name);
                known.map_or(Contender::Foreign, Contender::Server)
            }
            Self::Foreign => Contender::Foreign,
            Self::Floor(way, _) => Contender::Floor(*way),
            Self::Cipher(cipher) => Contender::Cipher(*cipher),
        }
    }

    /// Its processes; none of one that is not ours.
    pub(crate) fn processes(&self) -> Vec<u32> {
        match self {
            Self::Server(server) => server.processes(),
            Self::Floor(_, floor) => vec![floor.process()],
            Self::Foreign | Self::Cipher(_) => Vec::new(),
        }
    }
}
