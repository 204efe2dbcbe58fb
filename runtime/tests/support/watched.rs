//! A buffer whose memory stays after its drop, so that one can see whether it still changes.

#![allow(unsafe_code, reason = "lends the memory of a vector")]
#![allow(unreachable_pub, reason = "each test binary has it as its own")]

use std::sync::{Arc, Mutex};

use ringway::buf::{IoBuf, IoBufMut};

pub struct Watched {
    bytes: Option<Vec<u8>>,
    after: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Watched {
    /// A buffer of zeros, and where its memory will be after its drop.
    pub fn new(len: usize) -> (Self, Arc<Mutex<Vec<Vec<u8>>>>) {
        let after = Arc::default();
        (Self { bytes: Some(vec![0; len]), after: Arc::clone(&after) }, after)
    }

    fn bytes(&self) -> &Vec<u8> {
        self.bytes.as_ref().expect("there until the drop")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.after.lock().unwrap().extend(self.bytes.take());
    }
}

// SAFETY: the memory is a vector's.
unsafe impl IoBuf for Watched {
    fn stable_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.bytes().len()
    }
}

// SAFETY: the memory is a vector's, initialised all over.
unsafe impl IoBufMut for Watched {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut().expect("there until the drop").as_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.bytes().len()
    }

    unsafe fn set_init(&mut self, _: usize) {}
}
