//! Parts that need a process of their own: this program again, with a role in the environment.

use std::process::{Command, ExitCode};

use libtest_mimic::Failed;

const ROLE: &str = "RINGWAY_TEST_ROLE";

/// The role that this process was started for.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Plays it.
pub(crate) fn play(role: &str) -> ExitCode {
    match role.split_once(':') {
        Some(("memlock", limit)) => super::memlock::child(limit),
        _ => panic!("no role is called {role}"),
    }
    ExitCode::SUCCESS
}

/// Runs a child in `role`; what it printed, or why it failed.
pub(crate) fn run(role: &str) -> Result<String, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.env(ROLE, role).env_remove("RINGWAY_BACKEND").output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(told);
    }
    let log = String::from_utf8_lossy(&output.stderr);
    Err(format!("{role}: {}\n{told}\n{log}", output.status).into())
}
