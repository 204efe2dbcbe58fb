//! A number of permits, and a queue of those who wait for one; of one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::wake;

/// Clones give out the same permits. First come, first served.
#[derive(Clone)]
pub(crate) struct Permits(Rc<Shared>);

struct Shared {
    free: Cell<usize>,
    queue: RefCell<VecDeque<Rc<Place>>>,
    /// Of those who hold a permit and would give it up ([`Permits::wanted`]).
    lenders: RefCell<VecDeque<Waker>>,
}

/// One who waits.
#[derive(Default)]
struct Place {
    /// A permit was put aside for them.
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Goes back when it is dropped.
pub(crate) struct Permit(Permits);

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self(Rc::new(Shared {
            free: Cell::new(count),
            queue: RefCell::default(),
            lenders: RefCell::default(),
        }))
    }

    /// A permit, unless others wait for one or there is none.
    pub(crate) fn try_get(&self) -> Option<Permit> {
        let free = self.0.free.get().checked_sub(1)?;
        self.0.free.set(free);
        Some(Permit(self.clone()))
    }

    /// Waits for a permit. Cancel safe.
    pub(crate) fn get(&self) -> Get {
        Get { permits: self.clone(), place: None }
    }

    /// Waits until somebody waits for a permit: for one who has no use for theirs at the moment.
    pub(crate) async fn wanted(&self) {
        poll_fn(|cx| {
            if !self.0.queue.borrow().is_empty() {
                return Poll::Ready(());
            }
            let mut lenders = self.0.lenders.borrow_mut();
            // A task that waits again and again is in it once.
            if !lenders.iter().any(|waker| waker.will_wake(cx.waker())) {
                lenders.push_back(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Free permits are for the queue first, so while it is not empty there are none.
    fn put_back(&self) {
        let next = self.0.queue.borrow_mut().pop_front();
        let Some(place) = next else { return self.0.free.set(self.0.free.get() + 1) };
        place.granted.set(true);
        let waker = place.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.put_back();
    }
}

/// See [`Permits::get`].
pub(crate) struct Get {
    permits: Permits,
    place: Option<Rc<Place>>,
}

impl Future for Get {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        if let Some(place) = &self.place {
            if place.granted.get() {
                self.place = None;
                return Poll::Ready(Permit(self.permits.clone()));
            }
            // The old one is dropped after the borrow: that may run a task's destructor.
            let _old = place.waker.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        if let Some(permit) = self.permits.try_get() {
            return Poll::Ready(permit);
        }
        let place = Rc::new(Place::default());
        place.waker.replace(Some(cx.waker().clone()));
        self.permits.0.queue.borrow_mut().push_back(place.clone());
        self.place = Some(place);
        // One may have lost interest, and another be late: all look for themselves.
        let lenders = self.permits.0.lenders.take();
        wake::all(lenders);
        Poll::Pending
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        if place.granted.get() {
            return self.permits.put_back();
        }
        self.permits.0.queue.borrow_mut().retain(|other| !Rc::ptr_eq(other, &place));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn poll(future: Pin<&mut Get>) -> Poll<Permit> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn permits_go_to_those_who_wait_in_the_order_of_arrival() {
        let permits = Permits::new(1);
        let held = permits.try_get().unwrap();
        let (mut first, mut second) = (pin!(permits.get()), pin!(permits.get()));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        drop(held);
        assert!(permits.try_get().is_none(), "it is the first one's");
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(first.as_mut()).is_ready());
        assert!(poll(second.as_mut()).is_ready(), "the first one's was dropped");
        assert!(permits.try_get().is_some());
    }

    #[test]
    fn one_who_gives_up_waiting_passes_the_permit_on() {
        let permits = Permits::new(1);
        let held = permits.try_get().unwrap();
        let (mut first, mut second, mut third) = (permits.get(), permits.get(), permits.get());
        for get in [&mut first, &mut second, &mut third] {
            assert!(poll(Pin::new(get)).is_pending());
        }
        drop(first);
        drop(held);
        drop(second);
        assert!(poll(Pin::new(&mut third)).is_ready());
    }
}
