//! Runs a test on every backend.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod emulated;
pub mod files;

use std::future::Future;
use std::net::SocketAddr;

use ringway::net::{TcpListener, TcpStream};
use ringway::{Backend, Builder, Runtime};

/// Declares, for each function named, three tests: on a ring, on a ring beside epoll, on epoll alone.
#[macro_export]
macro_rules! on_each_backend {
    ($($name:ident),* $(,)?) => {
        mod uring { $(#[test] fn $name() { $crate::support::on(ringway::Backend::Uring, super::$name); })* }
        mod hybrid { $(#[test] fn $name() { $crate::support::on(ringway::Backend::Hybrid, super::$name); })* }
        mod epoll { $(#[test] fn $name() { $crate::support::on(ringway::Backend::Epoll, super::$name); })* }
    };
}

/// Runs `test` with a runtime of `backend`; says so and does not run it where the kernel gives no ring.
pub fn on(backend: Backend, test: fn(Runtime)) {
    run(Builder::new(), backend, test);
}

/// The same with what else `builder` says.
pub fn run(builder: Builder, backend: Backend, test: fn(Runtime)) {
    match builder.backend(backend).build() {
        Ok(runtime) => test(runtime),
        Err(error) if backend != Backend::Epoll => eprintln!("SKIPPED: {error}"),
        Err(error) => panic!("{error}"),
    }
}

/// A listener on a free port of this host.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// The two ends of a connection.
pub async fn pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let connecting = ringway::spawn(TcpStream::connect(addr));
    let (accepted, _) = listener.accept().await.unwrap();
    (connecting.await.unwrap().unwrap(), accepted)
}

/// Bytes that differ from page to page and do not repeat in step with any power of two.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i / 4096) as u8).collect()
}

/// Lets everything else that is ready run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Polls `future` once, then gives it back.
pub async fn poll_once<F: Future + Unpin>(mut future: F) -> (std::task::Poll<F::Output>, F) {
    let polled =
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(cx)))
            .await;
    (polled, future)
}

/// Polls `future` with a waker that does nothing.
pub fn poll_now<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

/// Tells when it has been dropped.
pub struct DropFlag(std::rc::Rc<std::cell::Cell<bool>>);

impl DropFlag {
    pub fn new() -> (Self, std::rc::Rc<std::cell::Cell<bool>>) {
        let dropped = std::rc::Rc::new(std::cell::Cell::new(false));
        (Self(dropped.clone()), dropped)
    }
}

impl Drop for DropFlag {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
