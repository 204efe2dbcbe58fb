//! Every dialect, signing algorithm and cipher. A relay on the way proves what was negotiated and that the messages are
//! signed or sealed; the client alone would also be content with less.

mod support;

use std::process::ExitCode;

use libtest_mimic::{Failed, Trial};
use support::content::{same_file, write_file};
use support::tap::{Negotiated, Side, Tap};
use support::{Client, Need, Outcome, Serve, Server};

/// More than one READ or WRITE on any dialect, and no multiple of anything.
const LENGTH: u64 = 3_000_001;

/// smbclient's name and the number of MS-SMB2 2.2.4.
const DIALECTS: [(&str, u16); 5] = [
    ("SMB2_02", 0x0202),
    ("SMB2_10", 0x0210),
    ("SMB3_00", 0x0300),
    ("SMB3_02", 0x0302),
    ("SMB3_11", 0x0311),
];
/// MS-SMB2 2.2.3.1.7.
const SIGNING: [(&str, u16); 3] = [("HMAC-SHA256", 0), ("AES-128-CMAC", 1), ("AES-128-GMAC", 2)];
/// MS-SMB2 2.2.3.1.2.
const CIPHERS: [(&str, u16); 4] =
    [("AES-128-CCM", 1), ("AES-128-GCM", 2), ("AES-256-CCM", 3), ("AES-256-GCM", 4)];

fn main() -> ExitCode {
    let mut trials = vec![
        trial("the highest common dialect is 3.1.1", Serve::new(), highest),
        trial("an SMB1 negotiate leads to SMB 3.1.1", Serve::new(), multi_protocol),
        trial("encryption works on SMB 3.0", Serve::new(), |server| {
            sealed_dialect(server, "SMB3_00")
        }),
        trial("encryption works on SMB 3.0.2", Serve::new(), |server| {
            sealed_dialect(server, "SMB3_02")
        }),
        trial(
            "a server that requires signing signs for a client that does not",
            signing(),
            server_signs,
        ),
        trial("a server that requires signing signs on SMB 2.0.2", signing(), |server| {
            signed(server, |client| client.only_dialect("SMB2_02")).map(drop)
        }),
        trial(
            "a server that requires encryption seals for a client that does not",
            encryption(),
            server_seals,
        ),
        trial(
            "a server that requires encryption refuses a client without it",
            encryption(),
            seals_or_refuses,
        ),
    ];
    for (name, number) in DIALECTS {
        trials.push(trial(&format!("{name} moves files"), Serve::new(), move |server| {
            plain(server, name, number)
        }));
        trials.push(trial(&format!("{name} moves files signed"), Serve::new(), move |server| {
            signed(server, |client| client.only_dialect(name).argument("--client-protection=sign"))
                .map(drop)
        }));
    }
    for (name, number) in SIGNING {
        trials.push(trial(&format!("{name} signs"), Serve::new(), move |server| {
            signs_with(server, name, number)
        }));
    }
    for (name, number) in CIPHERS {
        trials.push(trial(&format!("{name} seals"), Serve::new(), move |server| {
            seals_with(server, name, number)
        }));
    }
    support::run(trials)
}

fn trial(
    name: &str,
    serve: Serve,
    body: impl FnOnce(&Server) -> Outcome + Send + 'static,
) -> Trial {
    support::served(name, &[Need::Smbclient], serve, body)
}

fn signing() -> Serve {
    Serve::new().argument("--require-signing")
}

fn encryption() -> Serve {
    Serve::new().argument("--require-encryption")
}

/// Puts, gets and lists through a tap, with the client set up by `prepare`.
fn round_trip(server: &Server, prepare: impl FnOnce(Client) -> Client) -> Result<Tap, Failed> {
    let local = server.scratch("local")?;
    write_file(&local.join("f"), LENGTH, 11)?;
    let tap = Tap::before(server.address)?;
    let client = prepare(Client::new(server).through(tap.address).local(&local));
    client.run("put f; get f back; ls")?.success()?.says(&LENGTH.to_string())?;
    same_file(&local.join("f"), &server.folder().join("f"))?;
    same_file(&local.join("f"), &local.join("back"))?;
    Ok(tap)
}

/// The same, and after SESSION_SETUP nothing may have passed unsigned in either direction.
fn signed(server: &Server, prepare: impl FnOnce(Client) -> Client) -> Result<Tap, Failed> {
    let tap = round_trip(server, prepare)?;
    for side in [Side::Client, Side::Server] {
        let seen = tap.protection(side);
        if seen.signed == 0 || seen.plain != 0 || seen.sealed != 0 {
            return Err(format!("{side:?}: {seen:?}").into());
        }
    }
    Ok(tap)
}

/// The same, and after SESSION_SETUP nothing may have passed unsealed in either direction.
fn sealed(server: &Server, prepare: impl FnOnce(Client) -> Client) -> Result<Tap, Failed> {
    let tap = round_trip(server, prepare)?;
    for side in [Side::Client, Side::Server] {
        let seen = tap.protection(side);
        if seen.sealed == 0 || seen.plain != 0 || seen.signed != 0 {
            return Err(format!("{side:?}: {seen:?}").into());
        }
    }
    Ok(tap)
}

fn plain(server: &Server, name: &str, number: u16) -> Outcome {
    let tap = round_trip(server, |client| client.only_dialect(name))?;
    expect_dialect(&tap, number)
}

fn highest(server: &Server) -> Outcome {
    expect_dialect(&round_trip(server, |client| client)?, 0x0311)
}

fn multi_protocol(server: &Server) -> Outcome {
    let tap = round_trip(server, |client| client.option("client min protocol=NT1"))?;
    let messages = tap.messages();
    if !messages.first().is_some_and(|(_, bytes)| bytes.starts_with(b"\xffSMB")) {
        return Err("the client did not begin with SMB1".into());
    }
    // The first answer is the multi-protocol revision 0x02FF (MS-SMB2 3.3.5.3.1), the second the dialect.
    expect_dialect(&tap, 0x02ff)?;
    let dialects: Vec<_> = messages
        .iter()
        .filter(|(side, _)| *side == Side::Server)
        .take(2)
        .map(|(_, bytes)| bytes[68..70].to_vec())
        .collect();
    if dialects == [[0xff, 0x02], [0x11, 0x03]] {
        Ok(())
    } else {
        Err(format!("answered {dialects:02x?}").into())
    }
}

fn expect_dialect(tap: &Tap, number: u16) -> Outcome {
    let negotiated = tap.negotiated()?;
    if negotiated.dialect == number {
        Ok(())
    } else {
        Err(format!("negotiated {negotiated:04x?}").into())
    }
}

fn signs_with(server: &Server, name: &str, number: u16) -> Outcome {
    let option = format!("client smb3 signing algorithms={name}");
    let tap = signed(server, |client| client.argument("--client-protection=sign").option(&option))?;
    match tap.negotiated()? {
        Negotiated { signing: Some(chosen), .. } if chosen == number => Ok(()),
        other => Err(format!("negotiated {other:?}").into()),
    }
}

fn seals_with(server: &Server, name: &str, number: u16) -> Outcome {
    let option = format!("client smb3 encryption algorithms={name}");
    let tap =
        sealed(server, |client| client.argument("--client-protection=encrypt").option(&option))?;
    match tap.negotiated()? {
        Negotiated { cipher: Some(chosen), .. } if chosen == number => Ok(()),
        other => Err(format!("negotiated {other:?}").into()),
    }
}

fn sealed_dialect(server: &Server, name: &str) -> Outcome {
    sealed(server, |client| client.only_dialect(name).argument("--client-protection=encrypt"))
        .map(drop)
}

fn server_signs(server: &Server) -> Outcome {
    signed(server, |client| {
        client.option("client signing=if_required").argument("--client-protection=off")
    })
    .map(drop)
}

fn server_seals(server: &Server) -> Outcome {
    sealed(server, |client| client.option("client smb encrypt=if_required")).map(drop)
}

fn seals_or_refuses(server: &Server) -> Outcome {
    let client = Client::new(server).option("client max protocol=SMB2_10");
    client.run("ls")?.refused(&["NT_STATUS_ACCESS_DENIED"])?;
    Ok(())
}
