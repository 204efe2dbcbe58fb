//! Several buffers that go out as one message.

#![allow(unsafe_code, reason = "declares the contract of several buffers")]

use super::IoBuf;

/// Several buffers, in the order in which their initialised bytes go out: a head and a payload, say.
///
/// # Safety
/// Each buffer that [`IoBufs::each`] shows belongs to `self`, and goes on doing so, at the same [`IoBuf::stable_ptr`], until
/// `self` is dropped or changed through a method of its own. Moving `self` is no change.
pub unsafe trait IoBufs: 'static {
    /// Shows every buffer, in order.
    fn each(&self, show: &mut dyn FnMut(&dyn IoBuf));
}

// SAFETY: the vector owns its buffers.
unsafe impl<B: IoBuf> IoBufs for Vec<B> {
    fn each(&self, show: &mut dyn FnMut(&dyn IoBuf)) {
        self.iter().for_each(|buf| show(buf));
    }
}

// SAFETY: the array owns its buffers.
unsafe impl<B: IoBuf, const N: usize> IoBufs for [B; N] {
    fn each(&self, show: &mut dyn FnMut(&dyn IoBuf)) {
        self.iter().for_each(|buf| show(buf));
    }
}

// SAFETY: the tuple owns its buffers.
unsafe impl<A: IoBuf, B: IoBuf> IoBufs for (A, B) {
    fn each(&self, show: &mut dyn FnMut(&dyn IoBuf)) {
        show(&self.0);
        show(&self.1);
    }
}

// SAFETY: the tuple owns its buffers.
unsafe impl<A: IoBuf, B: IoBuf, C: IoBuf> IoBufs for (A, B, C) {
    fn each(&self, show: &mut dyn FnMut(&dyn IoBuf)) {
        show(&self.0);
        show(&self.1);
        show(&self.2);
    }
}
