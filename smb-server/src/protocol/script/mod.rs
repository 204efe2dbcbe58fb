//! A connection as a dialogue, without sockets and with a clock of its own: a scripted client ([`client`]) on one
//! side of a [`pair`], the machine on the other. For tests, and for what drives the machine with inputs that nobody
//! has written down (`fuzzing`).
#![cfg_attr(
    not(test),
    allow(dead_code, reason = "the tests' script has more words than fuzzing uses")
)]

pub(crate) mod ask;
pub(crate) mod client;
pub(crate) mod pair;
