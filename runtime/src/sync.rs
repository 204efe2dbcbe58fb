//! Where threads meet: the standard library's primitives, or those of the model checker that tries
//! every order of events (`./dev loom`). The one place that is compiled in two ways.

#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

/// A thread-local cell.
#[cfg(not(loom))]
macro_rules! local {
    ($name:ident: $type:ty = $init:expr) => {
        std::thread_local! { static $name: $type = const { $init } }
    };
}

#[cfg(loom)]
macro_rules! local {
    ($name:ident: $type:ty = $init:expr) => {
        loom::thread_local! { static $name: $type = $init }
    };
}

pub(crate) use local;
