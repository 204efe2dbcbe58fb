//! Pipes, and moving bytes through them without a copy in user space.
//!
//! [`pipe`] gives the two ends of one, to read and write with owned buffers. [`splice`] moves what
//! waits in one stream to another, one of the two being a pipe; [`tee`] duplicates from pipe to pipe.
//! [`File::splice_to`](crate::fs::File::splice_to) and its opposite are the same for files. The
//! `copy_…` functions are whole loops over all of these, with a pipe out of a [`PipePool`].
//!
//! Splices between streams run as plain system calls that do not wait, and when there is nothing to
//! move wait for readiness: however many transfers wait, no thread does. A pipe without readers or a
//! closed socket is `BrokenPipe`, never a signal, whatever the program has made of `SIGPIPE`.
//!
//! Pages of a file that go through a pipe are not copied: until the receiver has read them, which on
//! this host may be long after they were "sent", a change of the file changes them.

mod copy;
mod end;
mod pool;
mod splice;

pub use copy::{copy_file_to_socket, copy_socket_to_file, copy_socket_to_socket};
pub use end::{PipeReader, PipeWriter, pipe, pipe_with_size};
pub use pool::{PipePool, PooledPipe};
pub use splice::{Spliceable, splice, tee};
