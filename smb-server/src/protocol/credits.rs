//! The command sequence window: which MessageIds a client may still use, and how many more it gets.
//!
//! MS-SMB2 3.3.1.1 and 3.3.1.2: every credit is the right to use one MessageId once. A request
//! spends as many consecutive ids as its CreditCharge says, in any order within the window.

use std::collections::VecDeque;

/// The MessageIds that the client has been granted and has not used yet.
#[derive(Debug)]
pub(super) struct Window {
    /// The lowest id that is still unused.
    low: u64,
    /// For every id from `low` on, whether it has been used; its end is the end of what was granted.
    used: VecDeque<bool>,
    /// How far the window may reach, in ids.
    credits_max: u16,
}

/// A request used an id that was not granted or was used before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("MessageId {message_id} with charge {charge} is outside the granted window")]
pub struct OutOfWindow {
    message_id: u64,
    charge: u16,
}

impl Window {
    /// The window of a new connection: id 0 only, to reach at most `credits_max` ids.
    #[must_use]
    pub(super) fn new(credits_max: u16) -> Self {
        Self { low: 0, used: VecDeque::from([false]), credits_max: credits_max.max(1) }
    }

    /// Spends `charge` ids (at least one) from `message_id` on.
    ///
    /// # Errors
    /// [`OutOfWindow`], with nothing spent: the connection is to be closed (MS-SMB2 3.3.5.2.3).
    pub(super) fn spend(&mut self, message_id: u64, charge: u16) -> Result<(), OutOfWindow> {
        let charge = charge.max(1);
        let error = OutOfWindow { message_id, charge };
        let first = message_id.checked_sub(self.low).ok_or(error)?;
        let first = usize::try_from(first).map_err(|_| error)?;
        let end = first.checked_add(usize::from(charge)).ok_or(error)?;
        if end > self.used.len() || self.used.range(first..end).any(|used| *used) {
            return Err(error);
        }
        self.used.range_mut(first..end).for_each(|used| *used = true);
        while self.used.front() == Some(&true) {
            self.used.pop_front();
            self.low = self.low.saturating_add(1);
        }
        Ok(())
    }

    /// Extends the window by up to `credits` ids and says by how many: what a response may grant.
    ///
    /// The reach of the window is bounded, not the number of unused ids in it, so a client that
    /// leaves a hole cannot make the server remember more than that.
    pub(super) fn grant(&mut self, credits: u16) -> u16 {
        let room = usize::from(self.credits_max).saturating_sub(self.used.len());
        // The last id is reserved for unsolicited messages, so it is never granted.
        let ids_left = u64::MAX.saturating_sub(self.low).saturating_sub(self.used.len() as u64);
        let granted =
            usize::from(credits).min(room).min(usize::try_from(ids_left).unwrap_or(usize::MAX));
        self.used.extend(std::iter::repeat_n(false, granted));
        u16::try_from(granted).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_may_send_message_zero_once() {
        let mut window = Window::new(8192);
        assert!(window.spend(1, 1).is_err());
        window.spend(0, 0).unwrap();
        assert!(window.spend(0, 1).is_err());
    }

    #[test]
    fn ids_may_be_used_in_any_order_but_only_once() {
        let mut window = Window::new(16);
        assert_eq!(window.grant(9), 9);
        window.spend(4, 2).unwrap();
        assert!(window.spend(5, 1).is_err());
        assert!(window.spend(3, 2).is_err(), "overlaps a used id");
        window.spend(0, 4).unwrap();
        window.spend(6, 4).unwrap();
        assert!(window.spend(10, 1).is_err());
    }

    #[test]
    fn the_reach_of_the_window_is_bounded_even_when_the_client_leaves_a_hole() {
        let mut window = Window::new(8);
        assert_eq!(window.grant(u16::MAX), 7);
        for id in 1..8 {
            window.spend(id, 1).unwrap();
        }
        assert_eq!(window.grant(100), 0, "id 0 is still unused");
        window.spend(0, 1).unwrap();
        assert_eq!(window.grant(100), 8);
    }

    #[test]
    fn the_reserved_id_is_never_granted() {
        let mut window = Window::new(8);
        window.low = u64::MAX - 3;
        assert_eq!(window.grant(8), 2);
        assert!(window.spend(u64::MAX, 1).is_err());
        assert!(window.spend(u64::MAX - 1, 2).is_err());
        window.spend(u64::MAX - 3, 3).unwrap();
        assert_eq!(window.grant(8), 0);
    }
}
