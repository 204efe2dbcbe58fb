//! The connection as a dialogue, without sockets and with a clock of its own.
