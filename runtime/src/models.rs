//! Models of the places where threads meet, run in every order of events by `./dev loom`.
//!
//! A wake-up that is lost shows as a deadlock, an access without order as a panic.

#![allow(unsafe_code, reason = "a cell that is read and written without a lock, to be checked")]

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::model;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use crate::answer::answer;
use crate::blocking::PoolQueue;
use crate::mailbox::{Closed, Mailbox};
use crate::task::{JoinHandle, Remote, Tasks, Turn, spawn};

/// Sleeps as a driver does: a wake-up before the sleep ends it too.
struct Driver(loom::sync::Notify);

impl ringway_driver::Wake for Driver {
    fn wake(&self) {
        self.0.notify();
    }
}

/// The loop of a runtime that has nothing but tasks.
struct Loop {
    tasks: Tasks,
    driver: Arc<Driver>,
}

impl Loop {
    fn new() -> Self {
        let driver = Arc::new(Driver(loom::sync::Notify::new()));
        Self { tasks: Tasks::new(Remote::new(driver.clone())), driver }
    }

    fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = std::pin::pin!(main);
        let waker = self.tasks.main_waker();
        self.tasks.wake_main();
        self.tasks.enter(|| {
            loop {
                self.tasks.collect();
                while let Some(turn) = self.tasks.next() {
                    match turn {
                        Turn::Task(task) => self.tasks.run(task),
                        Turn::Main => {
                            let mut cx = std::task::Context::from_waker(&waker);
                            if let Poll::Ready(output) = main.as_mut().poll(&mut cx) {
                                return output;
                            }
                        }
                    }
                }
                if self.tasks.remote().fall_asleep() {
                    self.driver.0.wait();
                    self.tasks.remote().wake_up();
                }
            }
        })
    }
}

/// A value that another thread writes, without any order but that of the wake-up.
struct Slot {
    ready: AtomicBool,
    value: UnsafeCell<u32>,
}

impl Slot {
    fn new() -> Arc<Self> {
        Arc::new(Self { ready: AtomicBool::new(false), value: UnsafeCell::new(0) })
    }

    fn fill(&self, waker: Waker) {
        // SAFETY: nobody reads it before `ready`; the model checks that this is so.
        self.value.with_mut(|value| unsafe { *value = 7 });
        self.ready.store(true, Ordering::Release);
        waker.wake();
    }

    /// Lets a thread of its own fill the slot, and waits for it.
    async fn filled_elsewhere(self: Arc<Self>) -> u32 {
        let mut started = false;
        poll_fn(|cx| {
            if self.ready.load(Ordering::Acquire) {
                // SAFETY: written before `ready`, and not after.
                return Poll::Ready(self.value.with(|value| unsafe { *value }));
            }
            if !std::mem::replace(&mut started, true) {
                let (slot, waker) = (self.clone(), cx.waker().clone());
                thread::spawn(move || slot.fill(waker));
            }
            Poll::Pending
        })
        .await
    }
}

#[test]
fn a_wake_up_of_the_main_future_is_not_lost() {
    model(|| assert_eq!(Loop::new().run(Slot::new().filled_elsewhere()), 7));
}

#[test]
fn a_tasks_wake_up_from_another_thread_is_not_lost() {
    model(|| {
        let output = Loop::new().run(async { spawn(Slot::new().filled_elsewhere()).await });
        assert_eq!(output.unwrap(), 7);
    });
}

#[test]
fn wake_ups_of_a_task_and_the_main_future_at_once_are_not_lost() {
    model(|| {
        let sum = Loop::new().run(async {
            let task = spawn(Slot::new().filled_elsewhere());
            Slot::new().filled_elsewhere().await + task.await.unwrap()
        });
        assert_eq!(sum, 14);
    });
}

#[test]
fn what_was_written_before_a_wake_up_that_came_second_is_seen() {
    model(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let mut started = false;
        // Polled once, or twice, for both: each must be seen, with no order but the wake-up's.
        let both = poll_fn(move |cx| {
            if !std::mem::replace(&mut started, true) {
                for _ in 0..2 {
                    let (count, waker) = (count.clone(), cx.waker().clone());
                    thread::spawn(move || {
                        count.fetch_add(1, Ordering::Relaxed);
                        waker.wake_by_ref();
                    });
                }
            }
            if count.load(Ordering::Relaxed) == 2 { Poll::Ready(()) } else { Poll::Pending }
        });
        Loop::new().run(async { spawn(both).await }).unwrap();
    });
}

#[test]
fn a_waker_may_outlive_its_task_and_its_runtime() {
    model(|| {
        let dropped = Rc::new(Cell::new(false));
        let (waker, handle) = keep_a_waker(dropped.clone());
        let waking = thread::spawn(move || {
            waker.wake_by_ref();
            drop(waker.clone());
        });
        drop(handle);
        waking.join().unwrap();
        assert!(dropped.get(), "on its own thread, by the end of its runtime");
    });
}

/// Starts a task that never ends, and ends its runtime while another thread wakes it.
fn keep_a_waker(dropped: Rc<Cell<bool>>) -> (Waker, JoinHandle<()>) {
    struct Flag(Rc<Cell<bool>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let flag = Flag(dropped);
    let kept = Rc::new(Cell::new(None));
    let keep = kept.clone();
    let runtime = Loop::new();
    let handle = runtime.run(async move {
        let handle = spawn(poll_fn(move |cx| {
            let _flag = &flag;
            keep.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        }));
        crate::task::yield_now().await;
        handle
    });
    let waker: Waker = kept.take().unwrap();
    let waking = waker.clone();
    let elsewhere = thread::spawn(move || waking.wake());
    drop(runtime);
    elsewhere.join().unwrap();
    (waker, handle)
}

#[test]
fn a_mailbox_delivers_what_it_took() {
    model(|| {
        let (mailbox, sum) = (Arc::new(Mailbox::default()), Arc::new(AtomicUsize::new(0)));
        for number in 1..3 {
            let (mailbox, sum) = (mailbox.clone(), sum.clone());
            thread::spawn(move || {
                let job = move || {
                    sum.fetch_add(number, Ordering::Relaxed);
                };
                mailbox.send(Box::new(job)).unwrap();
            });
        }
        block_on(async {
            for _ in 0..2 {
                mailbox.receive().await.unwrap()();
            }
        });
        assert_eq!(sum.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_mailbox_that_closes_ends_its_receiver_and_refuses_senders() {
    model(|| {
        let mailbox = Arc::new(Mailbox::default());
        let (closing, sending) = (mailbox.clone(), mailbox.clone());
        let closer = thread::spawn(move || closing.close());
        let sender = thread::spawn(move || sending.send(Box::new(|| ())));
        block_on(async { while mailbox.receive().await.is_some() {} });
        closer.join().unwrap();
        let _: Result<(), Closed> = sender.join().unwrap();
        assert_eq!(mailbox.send(Box::new(|| ())), Err(Closed));
    });
}

#[test]
fn an_answer_arrives_or_comes_back() {
    model(|| {
        let (answer, promise) = answer();
        let keeper = thread::spawn(move || promise.keep(5));
        assert_eq!(block_on(poll_fn(|cx| answer.poll(cx.waker()))), Some(5));
        assert_eq!(keeper.join().unwrap(), Ok(()));
    });
    model(|| {
        let (answer, promise) = answer::<u8>();
        thread::spawn(move || drop(promise));
        assert_eq!(block_on(poll_fn(|cx| answer.poll(cx.waker()))), None);
    });
}

#[test]
fn who_waits_for_the_pool_learns_of_a_free_place() {
    model(|| {
        let queue = Arc::new(PoolQueue::default());
        let full = Arc::new(Mutex::new(true));
        let (leaving, place) = (queue.clone(), full.clone());
        thread::spawn(move || {
            *place.lock().unwrap() = false;
            leaving.wake();
        });
        let enter = || match std::mem::replace(&mut *full.lock().unwrap(), true) {
            false => Poll::Ready(()),
            true => Poll::Pending,
        };
        block_on(queue.enter(enter));
    });
}
