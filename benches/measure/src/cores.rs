//! Which core does what: a server has one to itself, whoever puts it under load the other.

/// The core of what is measured; the other has the load.
pub const SERVER: usize = 0;

/// The core of the load, and of the process that measures.
pub const LOAD: usize = 1;

/// Both.
pub const ALL: [usize; 2] = [SERVER, LOAD];
