//! Child processes that cannot outlive their deadline or their test.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

pub(crate) struct Running {
    child: Child,
    name: String,
    output: Vec<JoinHandle<String>>,
}

pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// Both output streams, standard output first.
    pub(crate) text: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failed> {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let output = [child.stdout.take().map(collect), child.stderr.take().map(collect)];
        Ok(Self { output: output.into_iter().flatten().collect(), child, name })
    }

    /// Waits for the end of the process; one that runs longer than `limit` is killed, and that is a failure.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Finished, Failed> {
        let Some(status) = wait(&mut self.child, limit)? else {
            return Err(format!("still running after {limit:?}: {}", self.name).into());
        };
        let text = self.output.drain(..).map(|thread| thread.join().unwrap_or_default()).collect();
        Ok(Finished { status, text })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// The exit status, or `None` when `limit` has passed.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, Failed> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn kill(child: &mut Child) {
    // Both fail only when the process is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe ends the text early; what came before it is still worth showing.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
