//! One runtime per core.

use std::collections::HashSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ringway::fs::File;
use ringway::{Backend, Builder, Cores, Feature, OpKind, Rung};

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
fn what_blocks_runs_where_the_process_may_and_not_only_where_its_core_does() {
    let allowed = cpus_of_this_thread();
    if allowed < 2 {
        return eprintln!("SKIPPED: one processor");
    }
    with_cores(1, |cores| {
        let (tell, told) = mpsc::channel();
        let ask = move || async move {
            let blocking = ringway::spawn_blocking(cpus_of_this_thread).await;
            tell.send((cpus_of_this_thread(), blocking.unwrap())).unwrap();
        };
        cores.spawn_on(0, ask).unwrap();
        assert_eq!(told.recv_timeout(GRACE).unwrap(), (1, allowed));
    });
}

#[test]
fn what_is_left_to_other_threads_leaves_the_processor_of_its_core() {
    let allowed = cpus_of_this_thread();
    if allowed < 2 {
        return eprintln!("SKIPPED: one processor");
    }
    with_cores(1, |cores| {
        let free = cores.features().has(Feature::UnboundWorkers);
        let (tell, told) = mpsc::channel();
        let work = move || async move {
            let file = File::from(OwnedFd::from(tempfile::tempfile().unwrap())).apart();
            file.write_all_at(vec![1; 1 << 20], 0).await.0.unwrap();
            let name = format!("iou-wrk-{}", rustix::thread::gettid().as_raw_nonzero());
            let by = |rung| ringway::metrics().of(OpKind::Write, rung).map_or(0, |op| op.count);
            tell.send((cpus_of_threads(&name), by(Rung::Worker), by(Rung::Pool))).unwrap();
        };
        cores.spawn_on(0, work).unwrap();
        let (cpus, by_worker, by_pool) = told.recv_timeout(GRACE).unwrap();
        // Else the ring's threads are where the core is, or nowhere to be seen.
        assert_eq!((by_worker, by_pool), if free { (1, 0) } else { (0, 1) });
        assert!(!free || cpus.iter().all(|cpus| *cpus == allowed), "{cpus:?}, not {allowed}");
    });
}

/// How many processors each thread of this name may run on; names of threads end after 15 characters.
fn cpus_of_threads(name: &str) -> Vec<u32> {
    let is_named = |task: &fs::DirEntry| {
        let comm = fs::read_to_string(task.path().join("comm"));
        comm.is_ok_and(|comm| name.starts_with(comm.trim()))
    };
    let threads = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok).filter(is_named);
    let id = |task: fs::DirEntry| task.file_name().to_str().and_then(|id| id.parse().ok());
    let ids = threads.filter_map(id).filter_map(rustix::process::Pid::from_raw);
    // One may have ended meanwhile.
    ids.filter_map(|id| rustix::thread::sched_getaffinity(Some(id)).ok())
        .map(|set| set.count())
        .collect()
}

/// How many processors the calling thread may run on.
fn cpus_of_this_thread() -> u32 {
    rustix::thread::sched_getaffinity(None).unwrap().count()
}

#[test]
fn a_core_that_has_nothing_to_do_is_not_at_work() {
    with_cores(2, |cores| {
        let load = cores.load();
        let is_reached = |awake| {
            let start = Instant::now();
            while load.awake() != awake {
                assert!(start.elapsed() < GRACE, "{load:?}");
                thread::sleep(Duration::from_millis(1));
            }
        };
        is_reached(0);
        let (go_on, wait) = mpsc::channel::<()>();
        cores
            .spawn_on(1, move || async move {
                {
                    let _ = wait.recv();
                }
            })
            .unwrap();
        is_reached(1);
        drop(go_on);
        is_reached(0);
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
fn a_tasks_output_comes_back_to_any_thread_and_core() {
    with_cores(2, |cores| {
        let cores = Arc::new(cores);
        let here = Builder::new().build().unwrap();
        let inner = cores.clone();
        let outer = move || async move {
            let own = ringway::cores::current().unwrap().index();
            let other = inner.spawn_on(own + 1, || async {
                ringway::time::sleep(Duration::from_millis(1)).await;
                ringway::cores::current().unwrap().index()
            });
            (own, other.unwrap().await.unwrap())
        };
        let handle = cores.spawn_on(1, outer).unwrap();
        let (own, other) = here.block_on(handle).unwrap();
        assert_eq!((own, other), (1, 0));
        assert_eq!(ringway::cores::current(), None);
        Arc::into_inner(cores).unwrap().shutdown(GRACE);
    });
}

#[test]
fn a_panic_and_a_shutdown_are_what_becomes_of_a_remote_task() {
    with_cores(1, |cores| {
        let here = Builder::new().build().unwrap();
        let panics = cores.spawn_on(0, || async { panic!("on purpose") }).unwrap();
        let error = here.block_on(panics).unwrap_err();
        assert!(error.is_panic());
        let endless = cores.spawn_on(0, std::future::pending::<u8>).unwrap();
        let late = cores.spawn_on(0, || async { 1 }).unwrap();
        assert_eq!(here.block_on(late).unwrap(), 1);
        assert!(!endless.is_finished());
        cores.shutdown(GRACE);
        assert!(endless.is_finished());
        assert!(!here.block_on(endless).unwrap_err().is_panic());
    });
}

#[test]
fn cores_that_call_each_other_without_pause_lose_nothing() {
    const CALLS: usize = 1000;
    with_cores(3, |cores| {
        let cores = Arc::new(cores);
        let here = Builder::new().build().unwrap();
        let callers: Vec<_> = (0..12)
            .map(|number| {
                let inner = cores.clone();
                let calls = move || async move {
                    let mut sum = 0;
                    for call in 0..CALLS {
                        let handle = inner.spawn_on(number + call, move || async move {
                            if call % 3 == 0 {
                                ringway::task::yield_now().await;
                            }
                            call
                        });
                        let handle = handle.unwrap();
                        // Some are not waited for.
                        sum += if call % 7 == 0 { call } else { handle.await.unwrap() };
                    }
                    sum
                };
                cores.spawn_on(number, calls).unwrap()
            })
            .collect();
        here.block_on(async {
            for caller in callers {
                let sum = ringway::time::timeout(Duration::from_secs(60), caller).await;
                assert_eq!(sum.expect("a wake-up was lost").unwrap(), CALLS * (CALLS - 1) / 2);
            }
        });
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

#[test]
fn a_grace_without_end_is_no_longer_than_it_takes() {
    with_cores(2, |cores| {
        assert_eq!(cores.shutdown(Duration::MAX).leaked, 0);
    });
}

#[test]
fn cores_that_cannot_all_be_started_leave_none_behind() {
    const CHILD: &str = "RINGWAY_TEST_FEW_DESCRIPTORS";
    const NAME: &str = "cores_that_cannot_all_be_started_leave_none_behind";
    if std::env::var_os(CHILD).is_none() {
        // The limit is the process's.
        let test = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new(test);
        let ended = child.args(["--exact", NAME]).env(CHILD, "1").status().unwrap();
        return assert!(ended.success());
    }
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(40), ..before };
    setrlimit(Resource::Nofile, few).unwrap();
    let start = Instant::now();
    Cores::start(64, &Builder::new().backend(Backend::Epoll)).unwrap_err();
    setrlimit(Resource::Nofile, before).unwrap();
    let left = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let names = tasks.filter_map(|task| fs::read_to_string(task.join("comm")).ok());
        names.filter(|name| name.starts_with("ringway-")).count()
    };
    while left() > 0 {
        assert!(start.elapsed() < GRACE, "{} threads stay", left());
        thread::sleep(Duration::from_millis(10));
    }
}
