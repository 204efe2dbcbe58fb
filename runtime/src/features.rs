//! What was probed and chosen, as a value that prints itself; and a mask that makes things absent.

use std::fmt;
use std::str::FromStr;

use ringway_driver::OpKind;

use crate::backend::Backend;
use crate::ladder::{Ladder, Rung};

/// How a runtime runs, and why.
///
/// `{}` is one line for a log; `{:#}` is all of it, one item a line, with reasons.
#[derive(Clone, Debug)]
pub struct Features {
    pub(crate) backend: Backend,
    /// Who chose: the builder, the environment, or probing.
    pub(crate) chosen_by: &'static str,
    /// Why something better was not taken, in the order of trying.
    pub(crate) reasons: Vec<String>,
    pub(crate) ring: Option<RingFeatures>,
    /// What was looked for, and what came of it.
    pub(crate) found: Vec<(Feature, Support)>,
    pub(crate) ladder: Ladder,
}

/// What the ring turned out to be.
#[derive(Clone, Debug)]
pub(crate) struct RingFeatures {
    pub(crate) entries: u32,
    pub(crate) ops: OpSet,
    pub(crate) found: Vec<(Feature, Support)>,
}

impl RingFeatures {
    pub(crate) fn has(&self, feature: Feature) -> bool {
        is_found(&self.found, feature)
    }
}

/// Whether `feature` is among what was `found` to work.
pub(crate) fn is_found(found: &[(Feature, Support)], feature: Feature) -> bool {
    found.contains(&(feature, Support::Found))
}

/// Something that a kernel may have or not, beside the operations themselves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Feature {
    /// `IORING_SETUP_SINGLE_ISSUER` (6.0): the kernel knows that one thread submits.
    SingleIssuer,
    /// `IORING_SETUP_DEFER_TASKRUN` (6.1): completions are made when they are asked for.
    DeferTaskrun,
    /// `IORING_SETUP_COOP_TASKRUN` (5.19): completions do not interrupt the thread.
    CoopTaskrun,
    /// `IORING_SETUP_SUBMIT_ALL` (5.18): one bad entry does not stop a batch.
    SubmitAll,
    /// `IORING_SETUP_NO_SQARRAY` (6.6): one indirection less.
    NoSqarray,
    /// `IORING_REGISTER_RING_FDS` (5.18): no descriptor look-up for each enter.
    RegisteredRing,
    /// `IORING_REGISTER_PBUF_RING` (5.19): the kernel picks receive buffers when data comes.
    ProvidedBuffers,
    /// `IOU_PBUF_RING_INC` (6.12): a large provided buffer is used up piece by piece.
    IncrementalBuffers,
    /// Multishot accept (5.19).
    MultishotAccept,
    /// Multishot receive (6.0).
    MultishotRecv,
    /// `IORING_RECVSEND_BUNDLE` (6.10): one receive fills several provided buffers.
    RecvBundle,
    /// `IORING_SEND_ZC_REPORT_USAGE` (6.2, and some 6.1): whether a zero-copy send copied after all.
    ReportUsage,
    /// `IORING_REGISTER_BUFFERS2`, sparse (5.19): registered buffers that come and go.
    FixedBuffers,
    /// `IORING_REGISTER_PERSONALITY` (5.6): operations on the ring on somebody's behalf.
    Personality,
    /// `IORING_OP_MSG_RING` (5.18): messages from ring to ring. Told and not used: threads wake each
    /// other by event descriptors, which is quicker.
    MsgRing,
    /// The ring's threads run on other processors than a thread that is bound to one: for what is to be off that thread.
    /// Where they do not, the pool's do it.
    UnboundWorkers,
    /// `SO_ZEROCOPY` with `MSG_ZEROCOPY` (4.14): zero-copy sends without a ring.
    MsgZerocopy,
    /// `UDP_SEGMENT` (4.18): one send, many datagrams.
    UdpGso,
    /// `UDP_GRO` (5.0): one receive, many datagrams.
    UdpGro,
}

impl Feature {
    /// Every feature, in the order of declaration.
    pub const ALL: [Self; 19] = [
        Self::SingleIssuer,
        Self::DeferTaskrun,
        Self::CoopTaskrun,
        Self::SubmitAll,
        Self::NoSqarray,
        Self::RegisteredRing,
        Self::ProvidedBuffers,
        Self::IncrementalBuffers,
        Self::MultishotAccept,
        Self::MultishotRecv,
        Self::RecvBundle,
        Self::ReportUsage,
        Self::FixedBuffers,
        Self::Personality,
        Self::MsgRing,
        Self::UnboundWorkers,
        Self::MsgZerocopy,
        Self::UdpGso,
        Self::UdpGro,
    ];
}

/// What became of a [`Feature`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Support {
    /// It works.
    Found,
    /// A [`Mask`] makes it absent.
    Masked,
    /// It does not work here, with the kernel's answer or what it needs.
    Missing(String),
}

impl Support {
    /// From the outcome of a trial.
    pub(crate) fn of<T>(trial: std::io::Result<T>) -> Self {
        match trial {
            Ok(_) => Self::Found,
            Err(error) => Self::Missing(error.to_string()),
        }
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found => f.write_str("yes"),
            Self::Masked => f.write_str("no: masked"),
            Self::Missing(why) => write!(f, "no: {why}"),
        }
    }
}

impl Features {
    /// The backend in use; never [`Backend::Auto`].
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether `feature` was found and is not masked. Ring features are absent without a ring.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.support(feature) == Some(&Support::Found)
    }

    /// What became of `feature`; `None` if it was not looked for, as ring features without a ring.
    #[must_use]
    pub fn support(&self, feature: Feature) -> Option<&Support> {
        let ring = self.ring.iter().flat_map(|ring| &ring.found);
        let mut all = ring.chain(&self.found);
        all.find(|(found, _)| *found == feature).map(|(_, support)| support)
    }

    /// What was looked for and does not work, with the reason. What is masked is meant to be absent.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (Feature, &str)> {
        let ring = self.ring.iter().flat_map(|ring| &ring.found);
        ring.chain(&self.found).filter_map(|(feature, support)| match support {
            Support::Missing(reason) => Some((*feature, reason.as_str())),
            Support::Found | Support::Masked => None,
        })
    }

    /// The ways in which this runtime runs operations of `kind`, in the order of trying. Empty: it
    /// cannot, and a form above it falls back to other kinds.
    pub fn rungs(&self, kind: OpKind) -> impl Iterator<Item = Rung> {
        self.ladder.rungs(kind).iter()
    }

    /// All of it, one item a line.
    fn write_all(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "backend: {} ({})", self.backend, self.chosen_by)?;
        for reason in &self.reasons {
            writeln!(f, "  {reason}")?;
        }
        if let Some(ring) = &self.ring {
            writeln!(f, "ring: {} entries", ring.entries)?;
        }
        for feature in Feature::ALL {
            match self.support(feature) {
                Some(support) => writeln!(f, "  {feature:?}: {support}")?,
                None => writeln!(f, "  {feature:?}: no: without a ring")?,
            }
        }
        writeln!(f, "operations:")?;
        for kind in OpKind::ALL {
            let rungs: Vec<_> = self.rungs(kind).map(|rung| rung.to_string()).collect();
            let rungs = if rungs.is_empty() { "none".to_owned() } else { rungs.join(" > ") };
            writeln!(f, "  {kind:?}: {rungs}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.write_all(f);
        }
        write!(f, "{} ({})", self.backend, self.chosen_by)?;
        if let Some(ring) = &self.ring {
            write!(f, ", ring of {} entries", ring.entries)?;
            let missing: Vec<_> =
                Feature::ALL.into_iter().filter(|&feature| !self.has(feature)).collect();
            write!(f, ", without {missing:?}")?;
            let missing: Vec<_> =
                OpKind::ALL.into_iter().filter(|&op| !ring.ops.contains(op)).collect();
            write!(f, ", not on the ring: {missing:?}")?;
        }
        for reason in &self.reasons {
            write!(f, "; {reason}")?;
        }
        Ok(())
    }
}

/// Makes features, and operations on the ring, absent: so that every rung can be tried on a kernel that
/// has them all, and one that misbehaves can be switched off in the field.
///
/// As text, and in the environment variable `RINGWAY_MASK`: names of [`Feature`]s and of operations
/// ([`OpKind`]) as `Debug` prints them, in any case, with commas between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mask {
    features: u64,
    ops: OpSet,
}

impl Mask {
    /// Nothing is absent.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// And without `feature`.
    #[must_use]
    pub fn without(mut self, feature: Feature) -> Self {
        self.features |= 1 << feature as u64;
        self
    }

    /// And with operations of `kind` never on the ring.
    #[must_use]
    pub fn without_on_ring(mut self, kind: OpKind) -> Self {
        self.ops.insert(kind);
        self
    }

    /// Both masks' absences.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { features: self.features | other.features, ops: self.ops.union(other.ops) }
    }

    pub(crate) fn hides(self, feature: Feature) -> bool {
        self.features & 1 << feature as u64 != 0
    }

    /// `trial`'s outcome, unless the mask hides the feature: then it is not tried.
    pub(crate) fn probe<T>(
        self,
        feature: Feature,
        trial: impl FnOnce() -> std::io::Result<T>,
    ) -> (Feature, Support) {
        let support = if self.hides(feature) { Support::Masked } else { Support::of(trial()) };
        (feature, support)
    }

    /// What is left of `ops`.
    pub(crate) fn of_ops(self, ops: OpSet) -> OpSet {
        ops.without(self.ops)
    }
}

impl FromStr for Mask {
    type Err = UnknownFeature;

    fn from_str(s: &str) -> Result<Self, UnknownFeature> {
        let mut mask = Self::none();
        for name in s.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let is = |debug: String| debug.eq_ignore_ascii_case(&name.replace('_', ""));
            let feature = Feature::ALL.into_iter().find(|feature| is(format!("{feature:?}")));
            let kind = op_named(name);
            mask = match (feature, kind) {
                (Some(feature), _) => mask.without(feature),
                (None, Some(kind)) => mask.without_on_ring(kind),
                (None, None) => return Err(UnknownFeature(name.to_owned())),
            };
        }
        Ok(mask)
    }
}

/// The kind of operation that `Debug` prints as `name`, in any case.
pub(crate) fn op_named(name: &str) -> Option<OpKind> {
    let name = name.replace('_', "");
    OpKind::ALL.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(&name))
}

/// A name in a [`Mask`] that is neither a feature's nor an operation's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownFeature(String);

impl fmt::Display for UnknownFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no feature or operation is named {:?}", self.0)
    }
}

impl std::error::Error for UnknownFeature {}

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct OpSet(u64);

impl OpSet {
    pub(crate) fn contains(self, kind: OpKind) -> bool {
        self.0 & bit(kind) != 0
    }

    /// Those that `keep` says yes to.
    pub(crate) fn retain(self, keep: impl Fn(OpKind) -> bool) -> Self {
        OpKind::ALL.into_iter().filter(|&kind| self.contains(kind) && keep(kind)).collect()
    }

    fn insert(&mut self, kind: OpKind) {
        self.0 |= bit(kind);
    }

    pub(crate) fn with(self, kind: OpKind) -> Self {
        Self(self.0 | bit(kind))
    }

    fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<OpKind> for OpSet {
    fn from_iter<I: IntoIterator<Item = OpKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | bit(kind)))
    }
}

fn bit(kind: OpKind) -> u64 {
    const { assert!(OpKind::ALL.len() <= u64::BITS as usize) };
    1 << kind as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_read_from_names_in_any_case() {
        let mask: Mask = "send_zc, MultishotRecv,,personality".parse().unwrap();
        let expected = Mask::none()
            .without_on_ring(OpKind::SendZc)
            .without(Feature::MultishotRecv)
            .without(Feature::Personality);
        assert_eq!(mask, expected);
        assert_eq!("sendfile".parse::<Mask>(), Err(UnknownFeature("sendfile".into())));
    }

    #[test]
    fn what_is_masked_is_not_tried() {
        let mask = Mask::none().without(Feature::UdpGso);
        let (_, support) = mask.probe::<()>(Feature::UdpGso, || panic!("it was tried"));
        assert_eq!(support, Support::Masked);
        let error = || Err::<(), _>(std::io::Error::from_raw_os_error(libc::EINVAL));
        assert!(matches!(mask.probe(Feature::UdpGro, error).1, Support::Missing(_)));
    }
}
