//! Child processes and signals, on every backend.

mod support;

use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use ringway::signal::Signals;
use ringway::{Runtime, process, time};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, getrlimit,
    kill_process, setrlimit, waitid, waitpid,
};

on_each_backend!(
    a_childs_output_is_read_while_its_input_is_written,
    the_exit_status_is_told_as_often_as_it_is_asked_for,
    a_killed_child_ends,
    a_wait_that_is_given_up_can_be_begun_again,
    a_dropped_child_leaves_no_zombie,
    a_dropped_start_leaves_no_zombie,
    a_child_that_is_dropped_outside_of_its_runtime_leaves_no_zombie,
    a_child_that_outlives_its_runtime_leaves_no_zombie_beyond_the_next_start,
    what_waits_for_children_is_no_task_that_the_end_counts,
    what_cannot_be_started_is_an_error,
    every_stream_gets_a_signal,
    signals_of_the_same_number_are_one,
    a_signal_that_cannot_be_caught_is_refused,
);

/// More than a pipe holds.
const MUCH: usize = 1 << 20;

fn a_childs_output_is_read_while_its_input_is_written(rt: Runtime) {
    rt.block_on(async {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process::spawn(command).await.unwrap();
        let input = child.stdin.take().unwrap();
        let writing = ringway::spawn(async move {
            input.write_all(support::pattern(MUCH)).await.0.unwrap();
        });
        let output = child.stdout.take().unwrap();
        let mut received = Vec::new();
        loop {
            let (n, buf) = output.read(Vec::with_capacity(65_536)).await;
            if n.unwrap() == 0 {
                break;
            }
            received.extend(buf);
        }
        assert!(received == support::pattern(MUCH));
        writing.await.unwrap();
        assert!(child.wait().await.unwrap().success());
    });
}

fn the_exit_status_is_told_as_often_as_it_is_asked_for(rt: Runtime) {
    rt.block_on(async {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        let mut child = process::spawn(command).await.unwrap();
        for _ in 0..2 {
            assert_eq!(child.wait().await.unwrap().code(), Some(7));
        }
        assert_eq!(child.kill().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    });
}

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    // Should a test fail and leave it, nobody waits for the end of this one's output.
    command.arg("1000").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn a_killed_child_ends(rt: Runtime) {
    rt.block_on(async {
        let mut child = process::spawn(sleeper()).await.unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
    });
}

fn a_wait_that_is_given_up_can_be_begun_again(rt: Runtime) {
    rt.block_on(async {
        let mut child = process::spawn(sleeper()).await.unwrap();
        assert!(time::timeout(Duration::from_millis(20), child.wait()).await.is_err());
        child.signal(libc::SIGTERM).unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGTERM));
    });
}

fn a_dropped_child_leaves_no_zombie(rt: Runtime) {
    rt.block_on(async {
        let child = process::spawn(sleeper()).await.unwrap();
        let id = child.id();
        child.kill().unwrap();
        drop(child);
        until_reaped(id).await;
    });
}

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until nothing is left of process `id`, no zombie either.
async fn until_reaped(id: u32) {
    let start = Instant::now();
    while exists(id) {
        assert!(start.elapsed() < PATIENCE, "nobody has waited for process {id}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn a_dropped_start_leaves_no_zombie(rt: Runtime) {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("pid");
    rt.block_on(async {
        assert!(process::spawn(telling(&told, "true")).now_or_never().is_none());
        until_reaped(until_told(&told).await).await;
    });
}

/// Writes its process id to the file `told`, then runs `command`.
fn telling(told: &Path, command: &str) -> Command {
    let mut shell = Command::new("sh");
    // Under its name only when it is whole.
    let tell = r#"echo $$ > "$0.new"; mv "$0.new" "$0""#;
    shell.arg("-c").arg(format!("{tell}; {command}")).arg(told);
    shell
}

/// The process id that was written to `told`, once it is.
async fn until_told(told: &Path) -> u32 {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "nothing was started");
        if let Ok(id) = std::fs::read_to_string(told) {
            return id.trim().parse().unwrap();
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn a_child_that_is_dropped_outside_of_its_runtime_leaves_no_zombie(rt: Runtime) {
    // It goes on when it is dropped, and its runtime sees it end.
    let child = rt.block_on(process::spawn(sleeper())).unwrap();
    let id = child.id();
    drop(child);
    kill(id);
    rt.block_on(until_reaped(id));

    // It has ended when it is dropped, and nothing else need happen.
    let child = rt.block_on(process::spawn(sleeper())).unwrap();
    let id = child.id();
    kill(id);
    until_ended(id);
    drop(child);
    assert!(!exists(id));

    // Its start has been made, in all likelihood answered too, and nobody has looked.
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("pid");
    let mut starting = Box::pin(process::spawn(telling(&told, "exec sleep 1000")));
    let id = rt.block_on(async {
        assert!(support::poll_now(starting.as_mut()).is_pending());
        let id = until_told(&told).await;
        time::sleep(Duration::from_millis(50)).await;
        id
    });
    drop(starting);
    kill(id);
    rt.block_on(until_reaped(id));
}

fn a_child_that_outlives_its_runtime_leaves_no_zombie_beyond_the_next_start(rt: Runtime) {
    let (kept, dropped) = rt.block_on(async {
        let kept = process::spawn(sleeper()).await.unwrap();
        let dropped = process::spawn(sleeper()).await.unwrap().id();
        // Until it is waited for.
        time::sleep(Duration::from_millis(5)).await;
        (kept, dropped)
    });
    // Which does not end in no time, so that the memory of the runtime stays.
    assert_eq!(rt.shutdown(Duration::ZERO).leaked, 1);
    let ids = [kept.id(), dropped];
    drop(kept);
    for id in ids {
        assert!(exists(id));
        kill(id);
        until_ended(id);
    }
    let rt = ringway::Builder::new().build().unwrap();
    rt.block_on(async { process::spawn(Command::new("true")).await?.wait().await }).unwrap();
    assert_eq!(ids.map(exists), [false; 2]);
}

fn what_waits_for_children_is_no_task_that_the_end_counts(rt: Runtime) {
    let id = rt.block_on(async { process::spawn(sleeper()).await.unwrap().id() });
    assert_eq!(rt.shutdown(Duration::from_secs(5)).cancelled, 0);
    kill(id);
}

fn kill(id: u32) {
    kill_process(Pid::from_raw(id.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// Whether anything is left of process `id`, a zombie or more.
fn exists(id: u32) -> bool {
    std::fs::exists(format!("/proc/{id}/stat")).unwrap()
}

/// Waits until process `id`, a child, has ended; it is still to be waited for.
fn until_ended(id: u32) {
    let pid = Pid::from_raw(id.cast_signed()).unwrap();
    match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
        // Another test's start may have waited for it.
        Ok(_) | Err(rustix::io::Errno::CHILD) => {}
        Err(error) => panic!("{error}"),
    }
}

fn what_cannot_be_started_is_an_error(rt: Runtime) {
    let error = rt.block_on(process::spawn(Command::new("/nonexistent"))).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_child_that_cannot_be_watched_is_ended_and_leaves_no_zombie() {
    // A process of its own, for the limit and the wait concern all of it.
    const CHILD: &str = "RINGWAY_TEST_UNWATCHED";
    const NAME: &str = "a_child_that_cannot_be_watched_is_ended_and_leaves_no_zombie";
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
        return assert!(child.status().unwrap().success());
    }
    let rt = ringway::Builder::new().build().unwrap();
    rt.block_on(async {
        ringway::spawn_blocking(|| ()).await.unwrap();
        let next = rustix::io::dup(std::io::stderr()).unwrap();
        let limit =
            Rlimit { current: Some(next.as_raw_fd() as u64), ..getrlimit(Resource::Nofile) };
        drop(next);
        setrlimit(Resource::Nofile, limit).unwrap();
        // Which takes no descriptor to start, and one to watch.
        let mut command = Command::new("sleep");
        command.arg("20");
        let error = process::spawn(command).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    });
    let left = waitpid(None, WaitOptions::NOHANG);
    assert_eq!(left.map(drop), Err(rustix::io::Errno::CHILD), "a child is left");
}

fn every_stream_gets_a_signal(rt: Runtime) {
    rt.block_on(async {
        let mut first = Signals::new(&[libc::SIGUSR1, libc::SIGUSR2]).unwrap();
        let mut second = Signals::new(&[libc::SIGUSR2]).unwrap();
        let waiting = ringway::spawn(async move { second.next().await.unwrap() });
        kill_process(getpid(), Signal::USR2).unwrap();
        assert_eq!(first.next().await.unwrap(), libc::SIGUSR2);
        assert_eq!(waiting.await.unwrap(), libc::SIGUSR2);
    });
}

/// Signals come to the whole process, and the backends' tests run in one.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn signals_of_the_same_number_are_one(rt: Runtime) {
    let _alone = ONE_AT_A_TIME.lock();
    rt.block_on(async {
        let mut signals = Signals::new(&[libc::SIGWINCH]).unwrap();
        for _ in 0..3 {
            kill_process(getpid(), Signal::WINCH).unwrap();
        }
        // Any thread of the process may be the one that is interrupted, each in its own time.
        time::sleep(Duration::from_millis(100)).await;
        assert_eq!(signals.next().await.unwrap(), libc::SIGWINCH);
        let more = time::timeout(Duration::from_millis(50), signals.next()).await;
        assert!(more.is_err(), "{more:?}");
    });
}

fn a_signal_that_cannot_be_caught_is_refused(_: Runtime) {
    for signal in [libc::SIGKILL, libc::SIGSEGV, 0, -1, 64] {
        assert_eq!(Signals::new(&[signal]).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}
