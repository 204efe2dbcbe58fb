//! Several buffers that go out as one message.

#![allow(unsafe_code, reason = "declares the contract of several buffers")]

use super::IoBuf;

/// Several buffers, in the order in which their initialised bytes go out: a head and a payload, say.
///
/// # Safety
/// Each visited buffer belongs to `self`, and goes on doing so, at the same [`IoBuf::stable_ptr`], until
/// `self` is dropped or changed through a method of its own. Moving `self` is no change.
pub unsafe trait IoBufs: 'static {
    /// Calls `visit` with each buffer in turn.
    fn for_each(&self, visit: &mut dyn FnMut(&dyn IoBuf));
}

// SAFETY: the vector owns its buffers.
unsafe impl<B: IoBuf> IoBufs for Vec<B> {
    fn for_each(&self, visit: &mut dyn FnMut(&dyn IoBuf)) {
        self.iter().for_each(|buf| visit(buf));
    }
}

// SAFETY: the array owns its buffers.
unsafe impl<B: IoBuf, const N: usize> IoBufs for [B; N] {
    fn for_each(&self, visit: &mut dyn FnMut(&dyn IoBuf)) {
        self.iter().for_each(|buf| visit(buf));
    }
}

// SAFETY: the tuple owns its buffers.
unsafe impl<A: IoBuf, B: IoBuf> IoBufs for (A, B) {
    fn for_each(&self, visit: &mut dyn FnMut(&dyn IoBuf)) {
        visit(&self.0);
        visit(&self.1);
    }
}

// SAFETY: the tuple owns its buffers.
unsafe impl<A: IoBuf, B: IoBuf, C: IoBuf> IoBufs for (A, B, C) {
    fn for_each(&self, visit: &mut dyn FnMut(&dyn IoBuf)) {
        visit(&self.0);
        visit(&self.1);
        visit(&self.2);
    }
}
