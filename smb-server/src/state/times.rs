//! Who is changing an open file, for those who put its times back afterwards: not over what another open does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::lock::{Mutex as AsyncMutex, OwnedMutexGuard};

/// What is known of one file, by all who have it open.
#[derive(Debug, Default)]
pub struct Times {
    /// How many changes have begun and ended that the file's times follow.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Those who put times back take turns, or one would take for the file's what another is to put back.
    turn: Arc<AsyncMutex<()>>,
}

/// A change that the file's times follow; it ends when dropped.
#[derive(Debug)]
pub struct Changing(Arc<Times>);

/// A change that they are not to follow.
#[derive(Debug)]
pub struct Keeping {
    times: Arc<Times>,
    /// How many others had begun, if all of them had ended.
    begun: Option<u64>,
    _turn: OwnedMutexGuard<()>,
}

impl Times {
    /// Begins a change that the file's times follow.
    #[must_use]
    pub fn change(self: &Arc<Self>) -> Changing {
        // SeqCst here and below: who puts times back looks here after it has, who changes the file comes here
        // before it does, and one of them has to see the other.
        self.begun.fetch_add(1, Ordering::SeqCst);
        Changing(Arc::clone(self))
    }

    /// Begins a change after which they are put back, once no other such is under way.
    pub async fn keep(self: &Arc<Self>) -> Keeping {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let ended = self.ended.load(Ordering::SeqCst);
        let begun = self.begun.load(Ordering::SeqCst);
        let begun = (begun == ended).then_some(begun);
        Keeping { times: Arc::clone(self), begun, _turn: turn }
    }
}

impl Keeping {
    /// Whether somebody else was changing the file at any time since.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.begun != Some(self.times.begun.load(Ordering::SeqCst))
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn keep(times: &Arc<Times>) -> Keeping {
        times.keep().now_or_never().unwrap()
    }

    #[test]
    fn a_change_disturbs_who_keeps_times_while_it_lasts_and_when_it_has_been() {
        let times = Arc::<Times>::default();
        drop(times.change());
        let keeping = keep(&times);
        assert!(!keeping.is_disturbed());
        drop(times.change());
        assert!(keeping.is_disturbed());
        drop(keeping);

        let change = times.change();
        let keeping = keep(&times);
        assert!(keeping.is_disturbed());
        drop(change);
        assert!(keeping.is_disturbed());
    }

    #[test]
    fn those_who_keep_times_take_turns() {
        let times = Arc::<Times>::default();
        let first = keep(&times);
        assert!(times.keep().now_or_never().is_none());
        drop(first);
        assert!(!keep(&times).is_disturbed());
    }
}
