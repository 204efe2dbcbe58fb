//! Which cores are at work: for whoever would give another something to do, and not where nothing is free.

use std::fmt;
use std::sync::Arc;

use crate::task::Remote;

/// Looks at the cores of a [`Cores`](super::Cores). Cheap to clone, and keeps none of them alive.
///
/// Nothing is counted for it: each core says of itself that it sleeps, so that others know to wake it, and this
/// reads that.
#[derive(Clone)]
pub struct Load(Arc<[Arc<Remote>]>);

impl Load {
    pub(super) fn new(cores: Vec<Arc<Remote>>) -> Self {
        Self(cores.into())
    }

    /// How many of the cores do not sleep. It may be out of date as soon as it is known; a core that has ended counts
    /// as one that is at work.
    #[must_use]
    pub fn awake(&self) -> usize {
        self.0.iter().filter(|remote| !remote.is_asleep()).count()
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("cores", &self.0.len()).field("awake", &self.awake()).finish()
    }
}
