//! The bounded pool of threads for what can only block.

use std::fmt;

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// The queue is full; the job comes back.
pub struct Full(pub Job);

impl fmt::Debug for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full")
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue of the blocking pool is full")
    }
}

impl std::error::Error for Full {}

/// Runs closures on the driver's blocking threads.
#[derive(Clone, Debug)]
pub struct Pool {}

impl Pool {
    /// Queues `job`; never blocks.
    ///
    /// # Errors
    /// Gives the job back when the queue is full.
    pub fn execute(&self, job: Job) -> Result<(), Full> {
        let _ = job;
        todo!()
    }
}
