//! What was probed and chosen, as a value that prints itself.

use std::fmt;

use ringway_driver::OpKind;

use crate::backend::Backend;
use crate::uring::SetupFlag;

/// How a runtime runs, and why. `Display` is one line for a log.
#[derive(Clone, Debug)]
pub struct Features {
    pub(crate) backend: Backend,
    /// Who chose: the builder, the environment, or probing.
    pub(crate) chosen_by: &'static str,
    /// Why something better was not taken, in the order of trying.
    pub(crate) reasons: Vec<String>,
    pub(crate) ring: Option<RingFeatures>,
}

/// What the ring turned out to be.
#[derive(Clone, Debug)]
pub(crate) struct RingFeatures {
    pub(crate) entries: u32,
    pub(crate) flags: &'static [SetupFlag],
    pub(crate) ops: OpSet,
}

impl Features {
    /// The backend in use; never [`Backend::Auto`].
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.backend, self.chosen_by)?;
        if let Some(ring) = &self.ring {
            write!(f, ", ring of {} entries with {:?}", ring.entries, ring.flags)?;
            let missing: Vec<_> =
                OpKind::ALL.iter().filter(|&&op| !ring.ops.contains(op)).collect();
            write!(f, ", not on the ring: {missing:?}")?;
        }
        for reason in &self.reasons {
            write!(f, "; {reason}")?;
        }
        Ok(())
    }
}

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct OpSet(u32);

impl OpSet {
    pub(crate) fn contains(self, kind: OpKind) -> bool {
        self.0 & bit(kind) != 0
    }
}

impl FromIterator<OpKind> for OpSet {
    fn from_iter<I: IntoIterator<Item = OpKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | bit(kind)))
    }
}

fn bit(kind: OpKind) -> u32 {
    const { assert!(OpKind::ALL.len() <= 32) };
    1 << kind as u32
}
