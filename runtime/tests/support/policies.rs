//! Runs a test on every backend, and again with every second operation refused by its first rung.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use ringway::{Backend, Builder, Mask, Policy, Runtime};

use crate::support::run;

/// Declares, for each function named, a test for each backend, with and without refusals.
#[macro_export]
macro_rules! on_each_backend_and_rung {
    ($($name:ident),* $(,)?) => {
        $crate::on_each_backend!($($name),*);
        $crate::refused_on_each_backend!($($name),*);
    };
}

/// Declares, for each function named, a test for each backend, with refusals.
#[macro_export]
macro_rules! refused_on_each_backend {
    ($($name:ident),* $(,)?) => {
        mod refused_on_uring { $(#[test] fn $name() { $crate::policies::refused(ringway::Backend::Uring, super::$name); })* }
        mod refused_on_hybrid { $(#[test] fn $name() { $crate::policies::refused(ringway::Backend::Hybrid, super::$name); })* }
        mod refused_on_epoll { $(#[test] fn $name() { $crate::policies::refused(ringway::Backend::Epoll, super::$name); })* }
    };
}

pub fn refused(backend: Backend, test: fn(Runtime)) {
    let policy = Policy::new().refuse_first_rung(50, 11);
    run(Builder::new().policy(policy), backend, test);
}

/// A runtime for each backend that there is, without what `mask` hides.
pub fn masked(mask: Mask) -> impl Iterator<Item = Runtime> {
    [Backend::Uring, Backend::Hybrid, Backend::Epoll].into_iter().filter_map(move |backend| {
        let built = Builder::new().backend(backend).mask(mask).build();
        built.inspect_err(|error| eprintln!("SKIPPED: {error}")).ok()
    })
}
