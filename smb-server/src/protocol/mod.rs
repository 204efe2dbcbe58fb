//! The SMB2 connection as a machine without I/O: bytes, replies and time in; requests, bytes and
//! deadlines out. It never awaits, opens no file and knows no socket.
//!
//! [`Connection`] has three families of methods:
//!
//! * `handle_*` takes something in: [`handle_message`](Connection::handle_message) (what the client
//!   sent), [`handle_replies`](Connection::handle_replies) (what the commands answered),
//!   [`handle_timeout`](Connection::handle_timeout) (the deadline has passed);
//! * `poll_*` gives something out: [`poll_event`](Connection::poll_event) (work for the commands),
//!   [`poll_transmit`](Connection::poll_transmit) (bytes for the client),
//!   [`poll_job`](Connection::poll_job) (a message to be signed or sealed, for whoever has a processor for it),
//!   [`poll_timeout`](Connection::poll_timeout) (when to call `handle_timeout`);
//! * the rest are getters.
//!
//! After every `handle_*`, poll events, then transmits, until both are empty; then the deadline.
//!
//! A message passes `intake` (unseal, split the compound, window, session, signature, decode),
//! becomes a [`Chain`] of [`Element`]s for the commands, and comes back through `reply` (headers,
//! credits, sign, seal) as a [`Transmit`]. NEGOTIATE, SESSION_SETUP, ECHO, CANCEL and
//! FSCTL_VALIDATE_NEGOTIATE_INFO concern the connection itself and are answered here.

mod channel;
mod config;
mod connection;
mod credits;
mod error;
mod intake;
mod message;
mod negotiate;
mod outgoing;
mod pending;
mod reply;
pub(crate) mod script;
mod session_setup;
#[cfg(test)]
mod tests;

pub use config::{Config, SessionIds};
pub use connection::{Connection, Now};
pub use error::Disconnect;
pub use message::{
    Body, Chain, ChainId, Element, Established, Event, Payload, Protection, Reply, Request,
    Transmit, Work,
};
pub use outgoing::{Done, Job, JobId};
