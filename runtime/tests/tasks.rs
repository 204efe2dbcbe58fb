//! Tasks, timers and wake-ups on every backend.

mod support;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ringway::time::{sleep, sleep_until, timeout};
use ringway::{Runtime, spawn};
use support::{DropFlag, pair, yield_now};

on_each_backend!(
    a_task_gives_its_output,
    a_panic_ends_only_its_task,
    a_panic_in_a_destructor_ends_only_its_task,
    a_destructor_that_panics_runs_once,
    an_aborted_task_is_dropped_and_says_so,
    an_output_is_dropped_once_whoever_waits_for_it,
    yielding_tasks_take_turns_with_the_main_future,
    wakers_go_from_thread_to_thread_and_end_there,
    a_detached_task_goes_on,
    tasks_go_on_in_the_next_block_on,
    many_tasks_take_turns,
    timers_fire_in_the_order_of_their_deadlines,
    sleep_is_never_short,
    a_timeout_drops_what_takes_too_long,
    a_future_that_is_ready_beats_its_timeout,
    a_wake_from_another_thread_ends_the_sleep,
    wakes_from_many_threads_are_not_lost,
    a_task_that_keeps_waking_itself_does_not_starve_timers_and_sockets,
    a_runtimes_end_drops_its_tasks,
    a_waker_may_outlive_its_runtime,
    a_future_in_flight_may_outlive_its_runtime,
    a_waker_that_panics_costs_nobody_else_an_answer,
);

fn a_waker_that_panics_costs_nobody_else_an_answer(rt: Runtime) {
    struct Bomb;
    impl std::task::Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("on purpose, waking");
        }
    }
    const PAIRS: usize = 4;
    let (pairs, mut receives) = rt.block_on(async {
        let (mut pairs, mut receives) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            let (client, server) = pair().await;
            let server = Rc::new(server);
            let receiver = server.clone();
            let mut receive = Box::pin(async move { receiver.recv(vec![0; 1]).await.0.unwrap() });
            let bomb = Arc::new(Bomb).into();
            assert!(receive.as_mut().poll(&mut Context::from_waker(&bomb)).is_pending());
            pairs.push((client, server));
            receives.push(receive);
        }
        yield_now().await;
        (pairs, receives)
    });
    for (client, _) in &pairs {
        assert_eq!(client.try_send(b"x").unwrap(), 1);
    }
    // One waker each at most, and one turn without.
    for _ in 0..=PAIRS {
        let turns = || rt.block_on(sleep(Duration::from_millis(5)));
        let _ = catch_unwind(AssertUnwindSafe(turns));
    }
    for receive in &mut receives {
        let polled = receive.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(1));
    }
}

fn a_task_gives_its_output(rt: Runtime) {
    let output = rt.block_on(async {
        let inner = spawn(async {
            yield_now().await;
            vec![1, 2, 3]
        });
        inner.await.unwrap().len()
    });
    assert_eq!(output, 3);
}

fn a_panic_ends_only_its_task(rt: Runtime) {
    rt.block_on(async {
        let other = spawn(async {
            sleep(Duration::from_millis(2)).await;
            7
        });
        let error = spawn(async { panic!("on purpose") }).await.unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.into_panic().unwrap().downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(other.await.unwrap(), 7);
    });
}

fn a_panic_in_a_destructor_ends_only_its_task(rt: Runtime) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose, dropping");
        }
    }
    rt.block_on(async {
        let task = spawn(async {
            let _bomb = Bomb;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

fn a_destructor_that_panics_runs_once(rt: Runtime) {
    struct Bomb(Rc<Cell<u32>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            panic!("on purpose, dropping");
        }
    }
    let drops = Rc::new(Cell::new(0));
    let task = rt.block_on(async {
        let bomb = Bomb(drops.clone());
        let task = spawn(async move {
            let _bomb = bomb;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        yield_now().await;
        assert!(task.is_finished());
        [task]
    });
    drop((task, rt));
    assert_eq!(drops.get(), 1);
}

fn an_output_is_dropped_once_whoever_waits_for_it(rt: Runtime) {
    rt.block_on(async {
        let (flags, dropped): (Vec<_>, Vec<_>) = (0..3).map(|_| DropFlag::new()).unzip();
        let mut tasks = flags.into_iter().map(|flag| spawn(async move { flag }));
        let (awaited, early, late) = (tasks.next(), tasks.next(), tasks.next());
        drop(early);
        yield_now().await;
        assert_eq!([0, 1, 2].map(|task| dropped[task].get()), [false, true, false]);
        drop(late);
        assert!(dropped[2].get(), "with the handle");
        let output = awaited.unwrap().await.unwrap();
        assert!(!dropped[0].get(), "it is ours");
        drop(output);
        assert!(dropped[0].get());
    });
}

fn yielding_tasks_take_turns_with_the_main_future(rt: Runtime) {
    rt.block_on(async {
        let log = Rc::new(RefCell::new(Vec::new()));
        let turns = |who: usize| {
            let log = log.clone();
            async move {
                for _ in 0..100 {
                    log.borrow_mut().push(who);
                    ringway::task::yield_now().await;
                }
            }
        };
        let tasks = [spawn(turns(1)), spawn(turns(2))];
        turns(0).await;
        for task in tasks {
            task.await.unwrap();
        }
        let log = log.borrow();
        assert!(log.chunks(3).all(|round| round == [0, 1, 2]), "{log:?}");
    });
}

fn wakers_go_from_thread_to_thread_and_end_there(rt: Runtime) {
    let (flag, dropped) = DropFlag::new();
    let thread = rt.block_on(async {
        let (mut thread, woken) = (None, Arc::new(AtomicUsize::new(0)));
        let (tell, told) = std::sync::mpsc::channel();
        let task = spawn(poll_fn(move |cx| {
            let _flag = &flag;
            let waker = cx.waker().clone();
            if thread.is_none() {
                let woken = woken.clone();
                thread = Some(std::thread::spawn(move || {
                    for _ in 0..1000 {
                        woken.fetch_add(1, Ordering::Relaxed);
                        let clone = waker.clone();
                        waker.wake_by_ref();
                        clone.wake();
                    }
                    waker
                }));
            }
            if woken.load(Ordering::Relaxed) < 1000 {
                return Poll::Pending;
            }
            tell.send(thread.take()).unwrap();
            Poll::Ready(())
        }));
        timeout(Duration::from_secs(30), task).await.expect("a wake was lost").unwrap();
        told.recv().unwrap().unwrap()
    });
    assert!(dropped.get());
    drop(rt);
    // The last reference to a task whose runtime is gone.
    let waker = thread.join().unwrap();
    std::thread::spawn(move || waker.wake()).join().unwrap();
}

fn an_aborted_task_is_dropped_and_says_so(rt: Runtime) {
    rt.block_on(async {
        let (flag, dropped) = DropFlag::new();
        let task = spawn(async move {
            let _flag = flag;
            sleep(Duration::from_secs(3600)).await;
        });
        yield_now().await;
        assert!(!dropped.get());
        task.abort();
        assert!(!task.await.unwrap_err().is_panic());
        assert!(dropped.get());
        let over = spawn(async { 5 });
        while !over.is_finished() {
            yield_now().await;
        }
        over.abort();
        assert_eq!(over.await.unwrap(), 5, "what was over before the abort stays");
    });
}

fn a_detached_task_goes_on(rt: Runtime) {
    rt.block_on(async {
        let done = Rc::new(RefCell::new(false));
        let sign = done.clone();
        drop(spawn(async move {
            sleep(Duration::from_millis(1)).await;
            *sign.borrow_mut() = true;
        }));
        while !*done.borrow() {
            sleep(Duration::from_millis(1)).await;
        }
    });
}

fn tasks_go_on_in_the_next_block_on(rt: Runtime) {
    let done = Rc::new(RefCell::new(None));
    let output = done.clone();
    rt.block_on(async {
        drop(spawn(async move {
            sleep(Duration::from_millis(1)).await;
            *output.borrow_mut() = Some(9);
        }));
    });
    assert_eq!(*done.borrow(), None);
    rt.block_on(async {
        while done.borrow().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(*done.borrow(), Some(9));
}

fn many_tasks_take_turns(rt: Runtime) {
    rt.block_on(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let order = order.clone();
                spawn(async move {
                    for round in 0..3 {
                        order.borrow_mut().push((round, number));
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let sorted = (0..3).flat_map(|round| (0..1000).map(move |number| (round, number)));
        assert!(order.borrow().iter().copied().eq(sorted));
    });
}

fn timers_fire_in_the_order_of_their_deadlines(rt: Runtime) {
    rt.block_on(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        // Late enough for all to be waiting when the first is due, on a slow machine too.
        let start = Instant::now() + Duration::from_millis(200);
        let delays: [u64; 8] = [5, 3, 9, 1, 7, 3, 0, 8];
        let tasks = delays.map(|delay| {
            let order = order.clone();
            spawn(async move {
                sleep_until(start + Duration::from_millis(delay)).await;
                order.borrow_mut().push(delay);
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [0, 1, 3, 3, 5, 7, 8, 9]);
    });
}

fn sleep_is_never_short(rt: Runtime) {
    rt.block_on(async {
        for micros in [0, 1, 300, 1000, 7300] {
            let duration = Duration::from_micros(micros);
            let start = Instant::now();
            sleep(duration).await;
            assert!(start.elapsed() >= duration, "{micros} µs took {:?}", start.elapsed());
        }
        assert!(timeout(Duration::from_millis(1), sleep(Duration::MAX)).await.is_err());
    });
}

fn a_timeout_drops_what_takes_too_long(rt: Runtime) {
    rt.block_on(async {
        let (flag, dropped) = DropFlag::new();
        let slow = async move {
            let _flag = flag;
            pending::<()>().await;
        };
        assert!(timeout(Duration::from_millis(1), slow).await.is_err());
        assert!(dropped.get());
    });
}

fn a_future_that_is_ready_beats_its_timeout(rt: Runtime) {
    let value = rt.block_on(timeout(Duration::ZERO, async { 4 }));
    assert_eq!(value, Ok(4));
}

fn a_wake_from_another_thread_ends_the_sleep(rt: Runtime) {
    rt.block_on(async {
        let (mut thread, start) = (None, Instant::now());
        let flag = Arc::new(AtomicUsize::new(0));
        // Within a task, so that the wake-up takes the way of a task's.
        spawn(poll_fn(move |cx| {
            if flag.load(Ordering::Acquire) == 1 {
                return Poll::Ready(());
            }
            let (waker, flag) = (cx.waker().clone(), flag.clone());
            thread.get_or_insert_with(|| {
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(10));
                    flag.store(1, Ordering::Release);
                    waker.wake();
                })
            });
            Poll::Pending
        }))
        .await
        .unwrap();
        assert!(start.elapsed() >= Duration::from_millis(10));
    });
}

fn wakes_from_many_threads_are_not_lost(rt: Runtime) {
    const THREADS: usize = 4;
    const WAKES: usize = 2000;
    let (sender, receiver) = counter();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let sender = sender.clone();
            std::thread::spawn(move || (0..WAKES).for_each(|_| sender.send()))
        })
        .collect();
    rt.block_on(async {
        let counting = spawn(async move {
            for _ in 0..THREADS * WAKES {
                receiver.receive().await;
            }
        });
        timeout(Duration::from_secs(30), counting).await.expect("a wake was lost").unwrap();
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn a_task_that_keeps_waking_itself_does_not_starve_timers_and_sockets(rt: Runtime) {
    rt.block_on(async {
        let busy = spawn(async {
            loop {
                yield_now().await;
            }
        });
        let (client, server) = pair().await;
        sleep(Duration::from_millis(1)).await;
        client.send_all(b"x".as_slice()).await.0.unwrap();
        let received = timeout(Duration::from_secs(10), server.recv(vec![0; 1])).await;
        assert_eq!(received.expect("starved").0.unwrap(), 1);
        busy.abort();
    });
}

fn a_runtimes_end_drops_its_tasks(rt: Runtime) {
    let (flags, dropped): (Vec<_>, Vec<_>) = (0..3).map(|_| DropFlag::new()).unzip();
    let mut flags = flags.into_iter();
    let (one, two, three) = (flags.next(), flags.next(), flags.next());
    let handle = Rc::new(RefCell::new(None));
    let keep = handle.clone();
    rt.block_on(async move {
        let (client, server) = pair().await;
        spawn(async move {
            let _flag = one;
            let _ = server.recv(vec![0; 10]).await;
        });
        spawn(async move {
            let _flag = two;
            sleep(Duration::from_secs(3600)).await;
        });
        *keep.borrow_mut() = Some(spawn(async move {
            let _flag = three;
            pending::<()>().await;
        }));
        sleep(Duration::from_millis(2)).await;
        drop(client);
    });
    // The first of them may have seen the end of its stream.
    let report = rt.shutdown(Duration::from_secs(5));
    assert!((2..=3).contains(&report.cancelled), "{report:?}");
    assert_eq!(report.leaked, 0);
    assert!(dropped.iter().all(|dropped| dropped.get()));
    assert!(handle.borrow().as_ref().unwrap().is_finished());
}

fn a_waker_may_outlive_its_runtime(rt: Runtime) {
    let kept = Rc::new(RefCell::new(None));
    let keep = kept.clone();
    rt.block_on(async {
        spawn(poll_fn(move |cx| {
            *keep.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        yield_now().await;
    });
    drop(rt);
    let waker = kept.borrow_mut().take().unwrap();
    std::thread::spawn(move || waker.wake()).join().unwrap();
}

fn a_future_in_flight_may_outlive_its_runtime(rt: Runtime) {
    let (client, mut receiving) = rt.block_on(async {
        let (client, server) = pair().await;
        let receiving = Box::pin(async move { server.recv(vec![0; 8]).await.0 });
        let (polled, receiving) = support::poll_once(receiving).await;
        assert!(polled.is_pending());
        (client, receiving)
    });
    drop(rt);
    let cancelled = support::poll_now(receiving.as_mut());
    let Poll::Ready(Err(error)) = cancelled else { panic!("{cancelled:?}") };
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
    drop(client);
}

/// Counts sends; wakes the receiver for each.
#[derive(Default)]
struct Counter {
    state: Mutex<(usize, Option<Waker>)>,
}

#[derive(Clone)]
struct Sender(Arc<Counter>);

struct Receiver(Arc<Counter>);

fn counter() -> (Sender, Receiver) {
    let counter = Arc::new(Counter::default());
    (Sender(counter.clone()), Receiver(counter))
}

impl Sender {
    fn send(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.0 += 1;
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Receiver {
    async fn receive(&self) {
        poll_fn(|cx| {
            let mut state = self.0.state.lock().unwrap();
            if state.0 > 0 {
                state.0 -= 1;
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[test]
fn a_panic_that_nobody_can_be_told_of_ends_only_its_task() {
    const CHILD: &str = "RINGWAY_TEST_DEAF";
    const NAME: &str = "a_panic_that_nobody_can_be_told_of_ends_only_its_task";
    if std::env::var_os(CHILD).is_some() {
        let rt = ringway::Builder::new().build().unwrap();
        // Until nobody reads what it says.
        std::thread::sleep(Duration::from_millis(200));
        return rt.block_on(async {
            drop(spawn(async { panic!("unheard") }));
            ringway::task::yield_now().await;
        });
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
    let mut child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
}
