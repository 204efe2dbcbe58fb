//! Several clients at once, on files of their own and on the same file.

mod support;

use std::fs;
use std::process::ExitCode;

use libtest_mimic::Failed;
use support::client::Started;
use support::content::{Random, same_file, write_file};
use support::{Client, Need, Outcome, Serve, Server};

const CLIENTS: u64 = 4;
const LENGTH: u64 = 24 << 20;
/// One WRITE on every dialect, so that the last one wins as a whole.
const ONE_WRITE: usize = 32 << 10;

fn main() -> ExitCode {
    let trial = |name, serve, body: fn(&Server) -> Outcome| {
        support::served(name, &[Need::Smbclient], serve, body)
    };
    support::run(vec![
        trial("four clients move files of their own at once", Serve::new(), own_files),
        trial(
            "four clients move files of their own at once through one thread",
            one_thread(),
            own_files,
        ),
        trial("four clients read the same file at once", Serve::new(), same_source),
        trial("of four clients writing the same file one wins whole", Serve::new(), same_target),
        trial("twenty clients come and go", Serve::new(), many_connections),
    ])
}

fn one_thread() -> Serve {
    Serve::new().argument("--threads").argument("1")
}

fn own_files(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    for number in 0..CLIENTS {
        write_file(&local.join(format!("f{number}")), LENGTH, number)?;
    }
    let client = Client::new(server).local(&local);
    all((0..CLIENTS)
        .map(|number| client.start(&format!("put f{number}; get f{number} back{number}"))))?;
    for number in 0..CLIENTS {
        let sent = local.join(format!("f{number}"));
        same_file(&sent, &server.folder().join(format!("f{number}")))?;
        same_file(&sent, &local.join(format!("back{number}")))?;
    }
    Ok(())
}

fn same_source(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    write_file(&server.folder().join("f"), LENGTH, 21)?;
    let client = Client::new(server).local(&local);
    all((0..CLIENTS).map(|number| client.start(&format!("get f back{number}"))))?;
    (0..CLIENTS).try_for_each(|number| {
        same_file(&server.folder().join("f"), &local.join(format!("back{number}")))
    })
}

fn same_target(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    let contents: Vec<Vec<u8>> =
        (0..CLIENTS).map(|seed| Random::new(seed).bytes(ONE_WRITE)).collect();
    for (number, content) in contents.iter().enumerate() {
        fs::write(local.join(format!("f{number}")), content)?;
    }
    let client = Client::new(server).local(&local);
    let commands = |number| format!("put f{number} shared;").repeat(20);
    all((0..CLIENTS).map(|number| client.start(&commands(number))))?;
    let stored = fs::read(server.folder().join("shared"))?;
    if contents.contains(&stored) {
        Ok(())
    } else {
        Err("the file is none of those that were written".into())
    }
}

fn many_connections(server: &Server) -> Outcome {
    fs::write(server.folder().join("f"), "x")?;
    let client = Client::new(server);
    for _ in 0..5 {
        all((0..CLIENTS).map(|_| client.start("ls")))?;
    }
    Ok(())
}

/// All are started before the first is waited for, and each must succeed.
fn all(clients: impl Iterator<Item = Result<Started, Failed>>) -> Outcome {
    let started = clients.collect::<Result<Vec<_>, _>>()?;
    started.into_iter().try_for_each(|client| client.finish()?.success().map(drop))
}
