//! What the interoperability tests share: a server as a child process, smbclient, a tap on the wire, file contents.
//!
//! Not a test itself. Start from [`served`] (a trial with a server of its own) and [`Client`] (one smbclient run).
//! A trial that cannot run here is reported as ignored with its reason, never as passed.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

pub(crate) mod capture;
pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod content;
#[path = "../../runtime/tests/support/emulated.rs"]
pub(crate) mod emulated;
pub(crate) mod guard;
pub(crate) mod mutate;
pub(crate) mod need;
pub(crate) mod requests;
pub(crate) mod restrict;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod slow_disk;
pub(crate) mod tap;
pub(crate) mod transfers;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

pub(crate) use client::Client;
pub(crate) use need::Need;
pub(crate) use server::{Serve, Server};

pub(crate) type Outcome = Result<(), Failed>;

/// Runs the trials of one test file as cargo's own harness would.
pub(crate) fn run(trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A trial which brings its own surroundings.
pub(crate) fn trial(
    name: &str,
    needs: &[Need],
    body: impl FnOnce() -> Outcome + Send + 'static,
) -> Trial {
    let needs = needs.to_vec();
    Trial::ignorable_test(name, move || {
        if let Some(reason) = needs.iter().find_map(Need::missing) {
            return Ok(Completion::ignored_with(reason));
        }
        body().map(|()| Completion::Completed)
    })
}

/// A trial against a server of its own. Whatever the body did, the server must then be the same process, answer a fresh
/// client and have written no panic; a failure shows the end of the server's log.
pub(crate) fn served(
    name: &str,
    needs: &[Need],
    serve: Serve,
    body: impl FnOnce(&Server) -> Outcome + Send + 'static,
) -> Trial {
    let kind = serve.backend_name();
    trial(name, needs, move || {
        let mut server = serve.start()?;
        let outcome = body(&server).and_then(|()| still_serving(&mut server));
        outcome.map_err(|failed| server.explain(&failed))
    })
    .with_kind(kind)
}

/// The backends, with what each needs.
pub(crate) const BACKENDS: [(&str, &[Need]); 3] =
    [("uring", &[Need::IoUring]), ("hybrid", &[Need::IoUring]), ("epoll", &[])];

/// A trial for each backend, with a server of its own.
pub(crate) fn on_each_backend(
    name: &str,
    needs: &[Need],
    serve: impl Fn() -> Serve,
    body: impl Fn(&Server) -> Outcome + Copy + Send + 'static,
) -> Vec<Trial> {
    let on = |(backend, own): (&'static str, &[Need])| {
        let needs = [own, needs].concat();
        served(&format!("{name} ({backend})"), &needs, serve().backend(backend), body)
    };
    BACKENDS.into_iter().map(on).collect()
}

fn still_serving(server: &mut Server) -> Outcome {
    server.check_alive()?;
    Client::new(server).run("ls")?.success()?;
    server.check_no_panic()
}

/// What has to be so, and what it means if it is not.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
