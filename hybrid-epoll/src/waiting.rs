//! The operations that wait: a table by token, threaded into queues.
//!
//! Parking, serving and cancelling one touches its entry and its neighbours, whoever else waits. It
//! allocates only to grow.

use ringway_driver::Token;

use crate::request::Request;

/// The end of a queue. No table has so many entries.
const NONE: u32 = u32::MAX;

/// First come, first served. The entries are [`Waiting`]'s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    first: u32,
    last: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Queue {
    pub(crate) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// Everybody who waits, each at its token's index. It is as long as the most that were ever in flight.
#[derive(Default)]
pub(crate) struct Waiting {
    entries: Vec<Option<Entry>>,
    len: usize,
}

struct Entry {
    request: Request,
    before: u32,
    after: u32,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends `request` to `queue`; gives it back if another has the place of its token.
    pub(crate) fn push(&mut self, queue: &mut Queue, request: Request) -> Result<(), Request> {
        let index = request.token.index();
        let at = index as usize;
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, || None);
        }
        if self.entries[at].is_some() {
            return Err(request);
        }
        self.entries[at] = Some(Entry { request, before: queue.last, after: NONE });
        match self.entry(queue.last) {
            Some(last) => last.after = index,
            None => queue.first = index,
        }
        queue.last = index;
        self.len += 1;
        Ok(())
    }

    /// The one whose turn it is.
    pub(crate) fn first(&mut self, queue: Queue) -> Option<&mut Request> {
        Some(&mut self.entry(queue.first)?.request)
    }

    /// The one behind `request`, in whichever queue that is.
    pub(crate) fn next(&mut self, token: Token) -> Option<&mut Request> {
        let after = self.entry(token.index())?.after;
        Some(&mut self.entry(after)?.request)
    }

    /// Whoever waits by the name of `token`.
    pub(crate) fn find(&mut self, token: Token) -> Option<&mut Request> {
        let request = &mut self.entry(token.index())?.request;
        (request.token == token).then_some(request)
    }

    /// Takes out the one at `token`'s index, which is in `queue`.
    pub(crate) fn remove(&mut self, queue: &mut Queue, token: Token) -> Option<Request> {
        let Entry { request, before, after } =
            self.entries.get_mut(token.index() as usize)?.take()?;
        match self.entry(before) {
            Some(entry) => entry.after = after,
            None => queue.first = after,
        }
        match self.entry(after) {
            Some(entry) => entry.before = before,
            None => queue.last = before,
        }
        self.len -= 1;
        Some(request)
    }

    /// Takes the first one out.
    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<Request> {
        let token = self.first(*queue)?.token;
        self.remove(queue, token)
    }

    fn entry(&mut self, index: u32) -> Option<&mut Entry> {
        self.entries.get_mut(index as usize)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use ringway_driver::Op;

    use super::*;

    fn request(index: u32) -> Request {
        // SAFETY: a Nop names nothing.
        unsafe { Request::new(Token::new(index, 1), Op::Nop, None) }
    }

    fn in_order(waiting: &mut Waiting, queue: Queue) -> Vec<u32> {
        let mut seen = Vec::new();
        let mut next = waiting.first(queue).map(|request| request.token);
        while let Some(token) = next {
            seen.push(token.index());
            next = waiting.next(token).map(|request| request.token);
        }
        seen
    }

    #[test]
    fn any_place_of_a_queue_can_be_left_and_the_order_stays() {
        let mut waiting = Waiting::default();
        let (mut one, mut two) = (Queue::default(), Queue::default());
        for index in [5, 0, 9, 3] {
            waiting.push(&mut one, request(index)).unwrap();
            waiting.push(&mut two, request(index + 10)).unwrap();
        }
        assert_eq!(in_order(&mut waiting, one), [5, 0, 9, 3]);
        for (leaves, left) in [(9, vec![5, 0, 3]), (5, vec![0, 3]), (3, vec![0]), (0, vec![])] {
            let request = waiting.remove(&mut one, Token::new(leaves, 1)).unwrap();
            assert_eq!(request.token.index(), leaves);
            assert_eq!(in_order(&mut waiting, one), left);
        }
        assert!(one.is_empty() && waiting.pop(&mut one).is_none());
        assert_eq!(in_order(&mut waiting, two), [15, 10, 19, 13]);
        assert_eq!(waiting.len(), 4);
    }

    #[test]
    fn an_earlier_use_of_an_index_names_nobody() {
        let mut waiting = Waiting::default();
        let mut queue = Queue::default();
        waiting.push(&mut queue, request(2)).unwrap();
        assert!(waiting.find(Token::new(2, 0)).is_none());
        assert!(waiting.find(Token::new(7, 1)).is_none());
        assert!(waiting.find(Token::new(2, 1)).is_some());
        assert!(waiting.push(&mut queue, request(2)).is_err(), "the place is taken");
    }
}
