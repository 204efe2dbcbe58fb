//! Requests that were handed out and not answered yet: interim responses and CANCEL find them here.

use std::collections::BTreeMap;
use std::mem;
use std::time::{Duration, Instant};

use super::message::ChainId;
use super::reply::Slot;

/// How long a request may take before the client is told that it is pending. Short enough that
/// clients, which give up after tens of seconds, keep waiting; long enough that ordinary requests
/// need one response only. (Windows and Samba use about the same.)
pub(super) const INTERIM_AFTER: Duration = Duration::from_millis(500);

/// One chain in the hands of the commands.
#[derive(Debug)]
pub(super) struct Pending {
    /// What its replies need to know about the requests.
    pub slots: Vec<Slot>,
    /// When an interim response is due; `None` when it was sent or does not apply.
    interim_at: Option<Instant>,
}

/// All chains in the hands of the commands. Bounded by the credit window: each costs an id.
#[derive(Debug, Default)]
pub(super) struct PendingTable {
    chains: BTreeMap<ChainId, Pending>,
    next: u64,
}

impl PendingTable {
    /// Remembers a chain. Only a single request may become asynchronous here: in a compound the
    /// replies belong together, and its elements are quick ones.
    pub(super) fn insert(&mut self, now: Instant, slots: Vec<Slot>) -> ChainId {
        let id = ChainId(self.next);
        self.next += 1;
        let interim_at = match slots.as_slice() {
            [slot] if slot.may_go_async() => now.checked_add(INTERIM_AFTER),
            _ => None,
        };
        self.chains.insert(id, Pending { slots, interim_at });
        id
    }

    /// Takes a chain out, to answer it.
    pub(super) fn remove(&mut self, id: ChainId) -> Option<Pending> {
        self.chains.remove(&id)
    }

    /// Whether nothing is pending.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// How many requests' clients have been told that they are pending.
    #[must_use]
    pub(super) fn asynchronous(&self) -> usize {
        let slots = self.chains.values().flat_map(|pending| &pending.slots);
        slots.filter(|slot| slot.async_id.is_some()).count()
    }

    /// Whether any request of a session is pending.
    #[must_use]
    pub(super) fn has_session(&self, session_id: u64) -> bool {
        self.chains
            .values()
            .flat_map(|pending| &pending.slots)
            .any(|slot| slot.session_id == session_id)
    }

    /// When the next interim response is due. Chains are in the order of their arrival, so the
    /// first that still has one is the earliest.
    #[must_use]
    pub(super) fn next_interim(&self) -> Option<Instant> {
        self.chains.values().find_map(|pending| pending.interim_at)
    }

    /// The requests whose interim response is due at `now`; each is returned once.
    pub(super) fn due(&mut self, now: Instant) -> Vec<ChainId> {
        let due = |pending: &mut Pending| pending.interim_at.take_if(|at| *at <= now).is_some();
        self.chains.iter_mut().filter_map(|(id, pending)| due(pending).then_some(*id)).collect()
    }

    /// Takes the requests before the last out of a chain: they are answered on their own, and so is that.
    pub(super) fn split(&mut self, id: ChainId) -> Vec<Slot> {
        let Some(Pending { slots, .. }) = self.chains.get_mut(&id) else { return Vec::new() };
        let Some(last) = slots.pop() else { return Vec::new() };
        mem::replace(slots, vec![Slot { related: false, ..last }])
    }

    /// Takes the interim response that a chain of one request may still have; tells whether it may.
    pub(super) fn take_interim(&mut self, id: ChainId) -> bool {
        let Some(pending) = self.chains.get_mut(&id) else { return false };
        pending.interim_at = None;
        pending.slots.first().is_some_and(|slot| slot.may_go_async() && slot.async_id.is_none())
    }

    /// The only request of a chain that may go asynchronous.
    pub(super) fn slot_mut(&mut self, id: ChainId) -> Option<&mut Slot> {
        self.chains.get_mut(&id)?.slots.first_mut()
    }

    /// The chain that a CANCEL means (MS-SMB2 3.3.5.16): by AsyncId once an interim response has
    /// told it, by MessageId before.
    #[must_use]
    pub(super) fn find(&self, mut is_meant: impl FnMut(&Slot) -> bool) -> Option<ChainId> {
        let meant = |pending: &Pending| pending.slots.iter().any(&mut is_meant);
        let mut meant = meant;
        self.chains.iter().find(|(_, pending)| meant(pending)).map(|(id, _)| *id)
    }
}
