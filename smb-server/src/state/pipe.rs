//! An open named pipe, and who waits for something to read from it.

use std::sync::{Arc, Mutex};

use futures_channel::oneshot;
use futures_util::lock::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::rpc;

use super::lock;

/// A pipe as its client holds it.
#[derive(Debug)]
pub struct PipeOpen {
    /// Awaited, since a service may be looking something up while it is held.
    pipe: Arc<AsyncMutex<rpc::Pipe>>,
    waiting: Mutex<Waiting>,
}

/// Who hears of what is written. Each is a request that its connection counts as waiting.
#[derive(Debug)]
enum Waiting {
    Readers(Vec<oneshot::Sender<()>>),
    Closed,
}

impl PipeOpen {
    /// A pipe that nobody reads from yet.
    #[must_use]
    pub fn new(pipe: rpc::Pipe) -> Self {
        let waiting = Mutex::new(Waiting::Readers(Vec::new()));
        Self { pipe: Arc::new(AsyncMutex::new(pipe)), waiting }
    }

    /// The pipe itself, one request at a time.
    pub async fn lock(&self) -> OwnedMutexGuard<rpc::Pipe> {
        Arc::clone(&self.pipe).lock_owned().await
    }

    /// Resolves when something has been written; an error says that the pipe has been closed.
    pub fn news(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if let Waiting::Readers(readers) = &mut *lock(&self.waiting) {
            readers.retain(|reader| !reader.is_canceled());
            readers.push(sender);
        }
        receiver
    }

    /// Something has been written. The oldest reader looks first.
    pub fn tell(&self) {
        let told = match &mut *lock(&self.waiting) {
            Waiting::Readers(readers) => std::mem::take(readers),
            Waiting::Closed => Vec::new(),
        };
        for reader in told {
            // One that is not there any more needs to hear nothing.
            let _ = reader.send(());
        }
    }

    /// Nobody waits any longer.
    pub fn close(&self) {
        let closed = std::mem::replace(&mut *lock(&self.waiting), Waiting::Closed);
        drop(closed);
    }
}
