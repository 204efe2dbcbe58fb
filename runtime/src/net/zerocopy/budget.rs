//! How many bytes the kernel may hold, of one socket's buffers and of all of a runtime's; and what it
//! told about them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use slab::Slab;

use super::notify::ZcUsage;
use crate::features::{Feature, Features};
use crate::metrics::{Metrics, ZeroCopyMetrics};
use crate::net::socket::Socket;
use crate::policy::{Policy, ZeroCopyPolicy};

/// The runtime's side.
pub(crate) struct Book {
    policy: ZeroCopyPolicy,
    /// Sockets take `MSG_ZEROCOPY`.
    pub(super) error_queue: bool,
    /// The ring's notifications say whether bytes were copied.
    pub(super) reports: bool,
    bytes: Cell<usize>,
    tally: Cell<ZeroCopyMetrics>,
    /// What has been told already, once for the runtime.
    pub(super) told: Told,
    /// Sockets with `MSG_ZEROCOPY` sends outstanding, and with them the buffers; each has a reader.
    pub(super) sockets: RefCell<Slab<Socket>>,
}

impl Book {
    pub(crate) fn new(policy: &Policy, features: &Features) -> Self {
        Self {
            policy: policy.zero_copy_policy(),
            error_queue: features.has(Feature::MsgZerocopy),
            reports: features.has(Feature::ReportUsage),
            bytes: Cell::default(),
            tally: Cell::default(),
            told: Told::default(),
            sockets: RefCell::default(),
        }
    }

    /// Adds what is known here to `metrics`.
    pub(crate) fn measure(&self, metrics: &mut Metrics) {
        metrics.zero_copy_bytes = self.bytes.get();
        metrics.zero_copy = self.tally.get();
    }

    pub(super) fn count(&self, counter: impl FnOnce(&mut ZeroCopyMetrics) -> &mut u64) {
        let mut tally = self.tally.get();
        *counter(&mut tally) += 1;
        self.tally.set(tally);
    }

    /// Whether so many bytes are enough to send them without copying.
    pub(super) fn is_worth(&self, bytes: usize) -> bool {
        bytes >= self.policy.threshold.max(1)
    }

    /// How many of `wanted` bytes may go out uncopied now; `None` if they are to be copied.
    pub(super) fn room(&self, account: &Account, wanted: usize) -> Option<usize> {
        let ZeroCopyPolicy { per_connection, per_runtime, .. } = self.policy;
        let here = per_connection.saturating_sub(account.bytes.get());
        let room = per_runtime.saturating_sub(self.bytes.get()).min(here).min(wanted);
        (!account.off.get() && self.is_worth(room)).then_some(room)
    }
}

/// Events that come once.
#[derive(Default)]
pub(super) struct Told {
    pub(super) over_budget: Cell<bool>,
    pub(super) refused_on_ring: Cell<bool>,
    pub(super) refused_by_queue: Cell<bool>,
}

/// One socket's side.
#[derive(Default)]
pub(super) struct Account {
    bytes: Cell<usize>,
    copied_in_a_row: Cell<u32>,
    /// Zero-copy has been found useless here.
    pub(super) off: Cell<bool>,
    pub(super) told_off: Cell<bool>,
    /// The ring has said that it does not send without copying to such a socket.
    pub(super) off_ring: Cell<bool>,
}

/// Bytes that the kernel holds, on both accounts until this goes.
pub(super) struct Charge {
    book: Rc<Book>,
    account: Rc<Account>,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(book: &Rc<Book>, account: &Rc<Account>, bytes: usize) -> Self {
        let mut charge = Self { book: book.clone(), account: account.clone(), bytes: 0 };
        charge.set(bytes);
        charge
    }

    /// So many it is.
    pub(super) fn set(&mut self, bytes: usize) {
        for total in [&self.book.bytes, &self.account.bytes] {
            total.set(total.get() - self.bytes + bytes);
        }
        self.bytes = bytes;
    }

    /// What a ring's notification says.
    pub(super) fn usage_of(&self, copied: bool) -> ZcUsage {
        if self.book.reports { ZcUsage::of(copied) } else { ZcUsage::Unknown }
    }

    /// The kernel lets go, and says what it did.
    pub(super) fn settle(&mut self, usage: ZcUsage) {
        self.set(0);
        match usage {
            ZcUsage::Unknown => {}
            ZcUsage::ZeroCopy => {
                self.book.count(|tally| &mut tally.uncopied);
                self.account.copied_in_a_row.set(0);
            }
            ZcUsage::Copied => {
                self.book.count(|tally| &mut tally.copied);
                let in_a_row = self.account.copied_in_a_row.get().saturating_add(1);
                self.account.copied_in_a_row.set(in_a_row);
                if in_a_row >= self.book.policy.copied_limit && !self.account.off.replace(true) {
                    self.book.count(|tally| &mut tally.switched_off);
                }
            }
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(threshold: usize, per_connection: usize, per_runtime: usize) -> Rc<Book> {
        let copied_limit = 3;
        Rc::new(Book {
            policy: ZeroCopyPolicy { threshold, per_connection, per_runtime, copied_limit },
            error_queue: false,
            reports: true,
            bytes: Cell::default(),
            tally: Cell::default(),
            told: Told::default(),
            sockets: RefCell::default(),
        })
    }

    #[test]
    fn what_goes_out_uncopied_is_bounded_by_both_budgets_and_the_threshold() {
        let book = book(10, 100, 150);
        let (one, other) = (Rc::new(Account::default()), Rc::new(Account::default()));
        assert_eq!((book.room(&one, 9), book.room(&one, 10)), (None, Some(10)));
        let mut first = Charge::new(&book, &one, book.room(&one, 1000).unwrap());
        assert_eq!((first.bytes, book.room(&one, 1000)), (100, None));
        assert_eq!(book.room(&other, 1000), Some(50));
        // A short send.
        first.set(60);
        assert_eq!((book.room(&one, 1000), book.room(&other, 80)), (Some(40), Some(80)));
        drop(first);
        assert_eq!((book.bytes.get(), one.bytes.get()), (0, 0));
    }

    #[test]
    fn a_socket_whose_bytes_are_copied_again_and_again_switches_off() {
        let (book, account) = (book(1, 100, 100), Rc::new(Account::default()));
        let tell = |usage| Charge::new(&book, &account, 1).settle(usage);
        use ZcUsage::{Copied, Unknown, ZeroCopy};
        [Copied, Copied, ZeroCopy, Copied, Unknown, Copied].into_iter().for_each(tell);
        assert_eq!(book.room(&account, 5), Some(5), "not in a row");
        tell(Copied);
        assert_eq!(book.room(&account, 5), None);
        tell(Copied);
        assert_eq!((book.tally.get().copied, book.tally.get().switched_off), (6, 1));
    }
}
