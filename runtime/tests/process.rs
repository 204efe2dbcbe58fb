//! Child processes and signals, on every backend.

mod support;

use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use ringway::signal::Signals;
use ringway::{Runtime, process, time};
use rustix::process::{
    Resource, Rlimit, Signal, WaitOptions, getpid, getrlimit, kill_process, setrlimit, waitpid,
};

on_each_backend!(
    a_childs_output_is_read_while_its_input_is_written,
    the_exit_status_is_told_as_often_as_it_is_asked_for,
    a_killed_child_ends,
    a_wait_that_is_given_up_can_be_begun_again,
    a_dropped_child_leaves_no_zombie,
    a_dropped_start_leaves_no_zombie,
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
    command.arg("1000");
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

/// Waits until nothing is left of process `id`, no zombie either.
async fn until_reaped(id: u32) {
    while std::fs::exists(format!("/proc/{id}/stat")).unwrap() {
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn a_dropped_start_leaves_no_zombie(rt: Runtime) {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("pid");
    let mut command = Command::new("sh");
    // Under its name only when it is whole.
    command.arg("-c").arg("echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"").arg(&told);
    rt.block_on(async {
        assert!(process::spawn(command).now_or_never().is_none());
        let mut pid = String::new();
        while pid.is_empty() {
            time::sleep(Duration::from_millis(5)).await;
            pid = std::fs::read_to_string(&told).unwrap_or_default();
        }
        until_reaped(pid.trim().parse().unwrap()).await;
    });
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
