//! Timers, timeouts and intervals on every backend.

mod support;

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringway::time::{MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout_at};
use ringway::{Runtime, spawn};

on_each_backend!(
    a_sleep_that_has_begun_can_be_made_longer_and_shorter,
    a_sleep_that_has_ended_begins_again,
    a_deadline_that_has_passed_is_not_waited_for,
    passed_deadlines_in_a_loop_leave_others_their_turns,
    deadlines_of_every_magnitude_are_kept_in_order,
    a_deadline_near_the_end_of_the_clock_is_never_reached,
    a_timeout_ends_at_its_instant,
    an_interval_ticks_at_once_and_in_step,
    an_interval_makes_up_for_missed_ticks_or_skips_them,
    many_timers_go_off_and_many_are_dropped,
    a_long_sleep_costs_the_loop_a_few_turns_at_most,
    a_sleep_that_began_in_another_runtime_goes_on_in_this_one,
);

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn a_sleep_that_has_begun_can_be_made_longer_and_shorter(rt: Runtime) {
    rt.block_on(async {
        let start = Instant::now();
        // Far enough away that it is reset in time, however busy the machine is.
        for (first, second) in [(500 * MS, 600 * MS), (HOUR, 10 * MS)] {
            let begun = Instant::now();
            let sleeping = Rc::new(RefCell::new(sleep(first)));
            let inner = sleeping.clone();
            let waiting = spawn(poll_fn(move |cx| Pin::new(&mut *inner.borrow_mut()).poll(cx)));
            ringway::task::yield_now().await;
            // Nobody polls it anew.
            sleeping.borrow_mut().reset(begun + second);
            assert_eq!(sleeping.borrow().deadline(), begun + second);
            waiting.await.unwrap();
            assert!(begun.elapsed() >= second, "{:?}", begun.elapsed());
        }
        assert!(start.elapsed() < HOUR / 100);
    });
}

fn a_deadline_near_the_end_of_the_clock_is_never_reached(rt: Runtime) {
    // In milliseconds these do not fit into 64 bits; the second one's remainder is a minute.
    let wrapped = Duration::from_millis(u64::MAX).as_secs() + 60;
    for seconds in [1 << 62, wrapped] {
        let Some(far) = Instant::now().checked_add(Duration::from_secs(seconds)) else { continue };
        rt.block_on(async {
            let near = timeout_at(Instant::now() + 5 * MS, sleep_until(far)).await;
            assert!(near.is_err(), "{seconds} s");
        });
    }
}

fn a_sleep_that_has_ended_begins_again(rt: Runtime) {
    rt.block_on(async {
        let mut sleeping = sleep(MS);
        for _ in 0..5 {
            (&mut sleeping).await;
            (&mut sleeping).await;
            let deadline = Instant::now() + 2 * MS;
            sleeping.reset(deadline);
            (&mut sleeping).await;
            assert!(Instant::now() >= deadline);
        }
    });
}

fn a_deadline_that_has_passed_is_not_waited_for(rt: Runtime) {
    rt.block_on(async {
        for passed in [Instant::now(), Instant::now() - MS] {
            assert!(support::poll_once(sleep_until(passed)).await.0.is_ready());
        }
        assert!(support::poll_once(sleep(Duration::ZERO)).await.0.is_ready());
        assert!(support::poll_once(sleep(MS)).await.0.is_pending());
    });
}

fn passed_deadlines_in_a_loop_leave_others_their_turns(rt: Runtime) {
    rt.block_on(async {
        let busy = spawn(async {
            loop {
                sleep(Duration::ZERO).await;
            }
        });
        sleep(MS).await;
        busy.abort();
    });
}

fn deadlines_of_every_magnitude_are_kept_in_order(rt: Runtime) {
    rt.block_on(async {
        // Late enough that none has passed when its task begins.
        let (start, order) = (Instant::now() + 50 * MS, Rc::new(RefCell::new(Vec::new())));
        let tasks: Vec<_> = [130, 0, 64, 1, 63, 65, 200, 7, 128, 127]
            .map(|after| {
                let order = order.clone();
                spawn(async move {
                    let deadline = start + after * MS;
                    sleep_until(deadline).await;
                    assert!(Instant::now() >= deadline);
                    order.borrow_mut().push(after);
                })
            })
            .into();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(order.borrow().is_sorted(), "{order:?}");
    });
}

fn a_timeout_ends_at_its_instant(rt: Runtime) {
    rt.block_on(async {
        let deadline = Instant::now() + 3 * MS;
        assert!(timeout_at(deadline, pending::<()>()).await.is_err());
        assert!(Instant::now() >= deadline);
        assert_eq!(timeout_at(deadline, async { 1 }).await, Ok(1), "what is ready comes first");
    });
}

fn an_interval_ticks_at_once_and_in_step(rt: Runtime) {
    rt.block_on(async {
        let start = Instant::now();
        let mut ticks = interval(3 * MS);
        let first = ticks.tick().await;
        assert!(first >= start && first.elapsed() < HOUR);
        for count in 1..5 {
            let tick = ticks.tick().await;
            assert_eq!(tick, first + 3 * MS * count);
            assert!(Instant::now() >= tick);
        }
        ticks.reset();
        let reset = Instant::now();
        assert!(ticks.tick().await >= reset + 2 * MS);
    });
}

fn an_interval_makes_up_for_missed_ticks_or_skips_them(rt: Runtime) {
    rt.block_on(async {
        let (start, period) = (Instant::now(), 20 * MS);
        let mut burst = interval_at(start, period);
        let mut skip = interval_at(start, period);
        skip.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut delay = interval_at(start, period);
        delay.set_missed_tick_behavior(MissedTickBehavior::Delay);
        std::thread::sleep(50 * MS);
        let (mut now, mut ticks) = (Instant::now(), 0);
        while burst.tick().await <= now - period {
            now = now.min(Instant::now());
            ticks += 1;
        }
        assert!(ticks >= 1, "what was missed comes at once");
        skip.tick().await;
        let next = skip.tick().await - start;
        assert_eq!(next.as_micros() % period.as_micros(), 0, "in step: {next:?}");
        assert!(next >= 60 * MS);
        let late = delay.tick().await;
        assert!(delay.tick().await >= late + period + 50 * MS);
    });
}

fn many_timers_go_off_and_many_are_dropped(rt: Runtime) {
    rt.block_on(async {
        let start = Instant::now();
        let mut dropped = Vec::new();
        let tasks: Vec<_> = (0..5000_u32)
            .map(|number| {
                dropped.push(sleep(HOUR + number * MS));
                spawn(async move {
                    let deadline = start + (number % 97) * MS;
                    sleep_until(deadline).await;
                    assert!(Instant::now() >= deadline);
                })
            })
            .collect();
        poll_fn(|cx| {
            dropped.iter_mut().for_each(|far| assert!(Pin::new(far).poll(cx).is_pending()));
            Poll::Ready(())
        })
        .await;
        drop(dropped);
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn a_long_sleep_costs_the_loop_a_few_turns_at_most(rt: Runtime) {
    rt.block_on(async {
        let before = cpu_time();
        sleep(300 * MS).await;
        let used = cpu_time() - before;
        assert!(used < 100 * MS, "the loop spun: {used:?}");
    });
}

/// What this thread has used of its CPU.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn a_sleep_that_began_in_another_runtime_goes_on_in_this_one(rt: Runtime) {
    let other = ringway::Builder::new().build().unwrap();
    let (mut sleeping, start) = (Box::pin(sleep(20 * MS)), Instant::now());
    let mut limit = Box::pin(ringway::time::timeout(20 * MS, pending::<()>()));
    other.block_on(poll_fn(|cx| {
        assert!(sleeping.as_mut().poll(cx).is_pending());
        assert!(limit.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    // The other runtime does not turn any more. This one does, and so would see it late.
    rt.block_on(async {
        let late = timeout_at(start + Duration::from_secs(5), sleeping).await;
        assert!(late.is_ok(), "it never went off");
        assert!(limit.await.is_err());
    });
    assert!(start.elapsed() >= 20 * MS);
    drop(other);
}
