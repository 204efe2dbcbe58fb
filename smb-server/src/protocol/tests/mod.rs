//! The connection as a dialogue, without sockets and with a clock of its own: a scripted client
//! ([`client`]) on one side of a [`pair`], the machine on the other. Expected statuses, flags and
//! counts are MS-SMB2's, by the sections named; that the bytes of a handshake are right, the
//! captures show elsewhere.

pub(crate) mod ask;
pub(crate) mod client;
pub(crate) mod pair;

mod compounds;
mod credits;
mod negotiate;
mod notifications;
mod payload;
mod robustness;
mod sealing;
mod sessions;
mod signing;
mod time;
mod validate;
