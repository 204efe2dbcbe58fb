//! The same short session on every backend of the runtime: the rest of the tests use one of them.

mod support;

use std::fs;
use std::process::ExitCode;

use libtest_mimic::Trial;
use support::content::{same_file, same_tree, tree, write_file};
use support::restrict::Restriction;
use support::{Client, Need, Outcome, Serve, Server};

fn main() -> ExitCode {
    let io_uring: &[Need] = &[Need::Smbclient, Need::IoUring];
    let epoll: &[Need] = &[Need::Smbclient];
    let backends = [("uring", io_uring), ("hybrid", io_uring), ("epoll", epoll), ("auto", epoll)];
    let mut all: Vec<_> =
        backends.into_iter().flat_map(|(backend, needs)| trials(backend, needs)).collect();
    all.extend(without_a_ring());
    support::run(all)
}

fn trials(backend: &'static str, needs: &'static [Need]) -> Vec<Trial> {
    let serve = || Serve::new().backend(backend);
    let trial = |name: &str, serve, body: fn(&Server) -> Outcome| {
        support::served(&format!("{backend}: {name}"), needs, serve, body)
    };
    let sealed = serve().argument("--require-encryption");
    vec![
        support::served(&format!("{backend}: the banner says so"), needs, serve(), move |server| {
            banner(server, backend)
        }),
        trial("a large file goes both ways", serve(), large),
        trial("a large file goes both ways sealed", sealed, large),
        trial("a folder of files goes both ways and is deleted", serve(), folder),
        trial("four clients at once", serve(), clients),
        trial("shares are listed", serve(), |server| {
            Client::new(server).list()?.success()?.says("readonly")?;
            Ok(())
        }),
    ]
}

/// Where the kernel gives no ring, the server says so and works all the same.
fn without_a_ring() -> Vec<Trial> {
    let needs: &[Need] = &[Need::Smbclient, Need::IoUring, Need::Root];
    let trial = |name, restriction, reason: &'static str| {
        let serve = Serve::new().backend("auto").restricted(restriction);
        support::served(name, needs, serve, move |server| {
            let said = |line: &String| {
                line.starts_with("I/O: epoll (chosen by probing)") && line.contains(reason)
            };
            if !server.log.lines().iter().any(said) {
                return Err(format!("no line `I/O: epoll … {reason}`").into());
            }
            large(server)
        })
    };
    vec![
        trial("a ring that seccomp forbids is done without", Restriction::Seccomp, "seccomp"),
        trial(
            "a ring that memlock forbids is done without",
            Restriction::Memlock,
            "RLIMIT_MEMLOCK",
        ),
    ]
}

/// A forced backend is named as it is, the automatic choice as what it chose.
fn banner(server: &Server, backend: &str) -> Outcome {
    let wanted = if backend == "auto" { "(chosen by probing)" } else { backend };
    let said = |line: &String| line.starts_with("I/O: ") && line.contains(wanted);
    if server.log.lines().iter().any(said) {
        Ok(())
    } else {
        Err(format!("no line `I/O: … {wanted}`").into())
    }
}

fn large(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("f"), 64 << 20, 51)?;
    Client::new(server).local(&local).run("put f; get f back")?.success()?;
    same_file(&local.join("f"), &server.folder().join("f"))?;
    same_file(&local.join("f"), &local.join("back"))
}

fn folder(server: &Server) -> Outcome {
    let (local, back) = (server.scratch("local")?, server.scratch("back")?);
    fs::create_dir_all(local.join("d/e"))?;
    for number in 0..200 {
        write_file(&local.join(format!("d/e/file {number}")), number * 37, number)?;
    }
    Client::new(server).local(&local).run("recurse; prompt; mput d")?.success()?;
    Client::new(server).local(&back).run("recurse; prompt; mget d")?.success()?;
    same_tree(&local, &server.folder())?;
    same_tree(&local, &back)?;
    Client::new(server).run("rename d moved; recurse; deltree moved")?.success()?;
    let left = tree(&server.folder())?;
    if left.is_empty() { Ok(()) } else { Err(format!("left over: {left:?}").into()) }
}

fn clients(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&local.join("f"), 8 << 20, 52)?;
    let client = Client::new(server).local(&local);
    let started: Vec<_> = (0..4)
        .map(|number| client.start(&format!("put f f{number}; get f{number} back{number}")))
        .collect::<Result<_, _>>()?;
    for run in started {
        run.finish()?.success()?;
    }
    (0..4).try_for_each(|number| same_file(&local.join("f"), &local.join(format!("back{number}"))))
}
