//! One runtime per core.

use std::collections::HashSet;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ringway::{Backend, Builder, Cores};

const BACKENDS: [Backend; 3] = [Backend::Auto, Backend::Hybrid, Backend::Epoll];
const GRACE: Duration = Duration::from_secs(5);

/// Runs `test` with `count` cores of each backend that this kernel has.
fn with_cores(count: usize, test: impl Fn(Cores)) {
    for backend in BACKENDS {
        match Cores::start(count, &Builder::new().backend(backend)) {
            Ok(cores) => test(cores),
            Err(error) if backend == Backend::Hybrid => eprintln!("SKIPPED: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn work_runs_on_the_core_that_was_named() {
    with_cores(3, |cores| {
        assert_eq!(cores.len(), 3);
        let (tell, told) = mpsc::channel();
        for core in 0..9 {
            let tell = tell.clone();
            let job = move || async move {
                ringway::time::sleep(Duration::from_micros(10)).await;
                tell.send((core % 3, thread::current().id())).unwrap();
            };
            cores.spawn_on(core, job).unwrap();
        }
        let told: HashSet<_> = (0..9).map(|_| told.recv_timeout(GRACE).unwrap()).collect();
        assert_eq!(told.len(), 3, "one thread for each core: {told:?}");
        let report = cores.shutdown(GRACE);
        assert_eq!((report.cancelled, report.leaked), (0, 0));
    });
}

#[test]
fn cores_are_shared_and_work_is_sent_from_many_threads() {
    with_cores(2, |cores| {
        let cores = Arc::new(cores);
        let (tell, told) = mpsc::channel();
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let (cores, tell) = (cores.clone(), tell.clone());
                thread::spawn(move || {
                    for job in 0..500 {
                        let tell = tell.clone();
                        cores
                            .spawn_on(job, move || async move { tell.send(number).unwrap() })
                            .unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for _ in 0..2000 {
            told.recv_timeout(GRACE).expect("a job was lost");
        }
        Arc::into_inner(cores).unwrap().shutdown(GRACE);
    });
}

#[test]
fn shutdown_drops_tasks_and_tells_what_became_of_their_work() {
    with_cores(2, |cores| {
        let (tell, told) = mpsc::channel();
        for core in 0..2 {
            let tell = tell.clone();
            let job = move || async move {
                let listener = ringway::net::TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
                tell.send(()).unwrap();
                let _ = listener.accept().await;
            };
            cores.spawn_on(core, job).unwrap();
        }
        (0..2).for_each(|_| told.recv_timeout(GRACE).unwrap());
        thread::sleep(Duration::from_millis(200));
        let report = cores.shutdown(GRACE);
        assert_eq!((report.cancelled, report.drained, report.leaked), (2, 2, 0));
    });
}

#[test]
fn a_panic_ends_neither_its_core_nor_the_others() {
    with_cores(1, |cores| {
        cores.spawn_on(0, || async { panic!("on purpose, in a task") }).unwrap();
        cores
            .spawn_on(0, || -> std::future::Ready<()> { panic!("on purpose, before it") })
            .unwrap();
        let (tell, told) = mpsc::channel();
        cores.spawn_on(0, move || async move { tell.send(()).unwrap() }).unwrap();
        told.recv_timeout(GRACE).unwrap();
        assert_eq!(cores.shutdown(GRACE).leaked, 0);
    });
}

#[test]
fn a_core_that_does_not_yield_is_left_behind_in_time() {
    let cores = Cores::start(2, &Builder::new()).unwrap();
    let (tell, told) = mpsc::channel();
    let stuck = move || async move {
        tell.send(()).unwrap();
        thread::sleep(Duration::from_secs(20));
    };
    cores.spawn_on(0, stuck).unwrap();
    told.recv_timeout(GRACE).unwrap();
    let start = Instant::now();
    assert_eq!(cores.shutdown(Duration::from_millis(10)).leaked, 1);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_backend_that_cannot_run_is_an_error_of_start() {
    let error = Cores::start(1, &Builder::new().blocking_pool(0, 0)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
