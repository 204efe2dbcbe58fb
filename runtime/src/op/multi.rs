//! An operation with several completions.

#![allow(unsafe_code, reason = "declares the contract of operations with several completions")]

use std::marker::PhantomData;
use std::task::{Context, Poll, Waker};

use ringway_driver::{Completion, Op};

use super::{InFlight, concrete};
use crate::ladder::Rung;
use crate::runtime;
use crate::table::{Arrival, Held, Next};

/// Makes an operation with several completions of `parts`, and submits it to the ring.
///
/// `describe` builds the [`Op`] once the parts have their last place. `give_back` gets each completion
/// that nobody took; it may come while the operation is in flight, and does not call the runtime.
///
/// # Safety
/// As for [`super::submit`]; and the kernel writes to nothing that a reference to the parts makes a claim
/// on: nowhere, or behind a raw pointer.
pub(crate) unsafe fn submit_multi<D: 'static>(
    parts: D,
    describe: fn(&mut D) -> Op,
    give_back: fn(&mut D, Completion),
) -> Multi<D> {
    start(Parts { parts, describe, arrive: |_, _, _| Arrival::Kept, give_back })
}

/// As [`submit_multi`], with completions that nobody asks for: `arrive` sees to each of them as it comes,
/// in the order of coming, which is the kernel's over all operations. It does not call the runtime; wakers
/// that it puts into the list are woken when that can be called again.
///
/// # Safety
/// As for [`submit_multi`].
pub(crate) unsafe fn submit_multi_into<D: 'static>(
    parts: D,
    describe: fn(&mut D) -> Op,
    arrive: fn(&mut D, Completion, &mut Vec<Waker>) -> Arrival,
) -> Multi<D> {
    start(Parts { parts, describe, arrive, give_back: |_, _| {} })
}

fn start<D: 'static>(parts: Parts<D>) -> Multi<D> {
    let core = runtime::current();
    let token = core.ops.submit(Box::new(parts), None, None, Rung::Ring);
    Multi { flight: InFlight::new(core, token), parts: PhantomData }
}

/// See [`submit_multi`]. Dropping it cancels the operation; what nobody took is given back.
pub(crate) struct Multi<D: 'static> {
    flight: InFlight,
    parts: PhantomData<D>,
}

impl<D: 'static> Multi<D> {
    /// The next completion; `None` after the last.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Completion>> {
        let ops = &self.flight.core.ops;
        match ops.next(self.flight.token, cx.waker()) {
            Next::One(completion) => Poll::Ready(Some(completion)),
            Next::Pending => Poll::Pending,
            Next::Over => Poll::Ready(None),
        }
    }

    /// Whether the last completion has come.
    pub(crate) fn is_over(&self) -> bool {
        self.flight.core.ops.is_over(self.flight.token)
    }

    /// Lets go without asking for an early end.
    pub(crate) fn release(mut self) {
        self.flight.over = true;
        self.flight.core.ops.release(self.flight.token);
    }

    /// The parts of an operation whose last completion has come; completions that were not taken are
    /// lost.
    ///
    /// # Errors
    /// Itself, while it is in flight.
    pub(crate) fn into_parts(mut self) -> Result<D, Self> {
        match self.flight.core.ops.take_parts(self.flight.token) {
            Some(held) => {
                self.flight.over = true;
                Ok(concrete::<Parts<D>>(held).parts)
            }
            None => Err(self),
        }
    }
}

/// What the table holds.
struct Parts<D> {
    parts: D,
    describe: fn(&mut D) -> Op,
    arrive: fn(&mut D, Completion, &mut Vec<Waker>) -> Arrival,
    give_back: fn(&mut D, Completion),
}

impl<D: 'static> Held for Parts<D> {
    fn describe(&mut self) -> Op {
        (self.describe)(&mut self.parts)
    }

    fn arrive(&mut self, completion: Completion, wake: &mut Vec<Waker>) -> Arrival {
        (self.arrive)(&mut self.parts, completion, wake)
    }

    fn abandon(self: Box<Self>, _: i32) {}

    fn give_back(&mut self, completion: Completion) {
        (self.give_back)(&mut self.parts, completion);
    }
}
