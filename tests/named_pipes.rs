//! Named pipes: reads that wait, and names for SIDs.

mod support;

use std::process::ExitCode;

use libtest_mimic::Failed;
use support::requests::{Create, FileId, access, nt, read, write};
use support::server::{SHARE, USER};
use support::session::{Session, command, expect, status, u64_at, utf16};
use support::{Client, Need, Outcome, Serve, Server, ensure};

/// The bind of C706 12.6.4.3 for lsarpc with NDR32, as rpcclient sends it.
const BIND: &str = "05000b03100000004800000001000000b810b810000000000100000000000100\
                    785734123412cdabef000123456789ab00000000\
                    045d888aeb1cc9119fe808002b10486002000000";
/// The type of the answer to that.
const BIND_ACK: u8 = 12;

fn main() -> ExitCode {
    let trial = |name, body: fn(&Server) -> Outcome| {
        support::served(name, &[Need::Smbclient], Serve::new(), body)
    };
    support::run(vec![
        trial("a read waits for what is written to the pipe", waits),
        trial("a read that waits can be taken back", cancelled),
        trial("a read that waits ends with its pipe", closed),
        trial("a read that waits is answered before the logoff that ends it", logoff),
        trial("a read of a pipe that broke its protocol does not wait", broken),
        trial("reads that wait do not keep out what they wait for", no_memory),
        trial("a session has a bounded number of pipes, and of files more", bounded),
        trial("SIDs have names", names_for_sids),
        trial("names have SIDs", sids_for_names),
        trial("who is nobody learns no names", nobody),
    ])
}

fn lsarpc(server: &Server) -> Result<(Session, FileId), Failed> {
    let mut session = Session::of_user(USER, server.address, "IPC$")?;
    let pipe = session.create(&utf16("lsarpc"), false)?;
    let pipe = pipe.map_err(|status| format!("no pipe: {status:#010x}"))?;
    Ok((session, pipe))
}

fn bind() -> Result<Vec<u8>, Failed> {
    let digits = BIND.as_bytes().chunks(2);
    digits.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

/// A READ that the server says is pending; its MessageId, and the AsyncId.
fn waiting_read(session: &mut Session, pipe: FileId) -> Result<(u64, u64), Failed> {
    let message = session.request(command::READ, &read(pipe, 0, 4280));
    session.wire.send(&message)?;
    let interim = session.wire.receive()?.ok_or("closed")?;
    expect(status(&interim), nt::PENDING, "a READ with nothing to read")?;
    Ok((u64_at(&message, 24)?, u64_at(&interim, 32)?))
}

fn answer(session: &mut Session, id: u64) -> Result<Vec<u8>, Failed> {
    session.answer(id)?.ok_or_else(|| "closed instead of an answer".into())
}

fn waits(server: &Server) -> Outcome {
    let (mut session, pipe) = lsarpc(server)?;
    let (id, _) = waiting_read(&mut session, pipe)?;
    let (head, tail) = (bind()?[..20].to_vec(), bind()?[20..].to_vec());
    session.call(command::WRITE, &write(pipe, 0, &head)?)?;
    ensure(session.echo()?, || "no answer to an ECHO".into())?;
    let message = session.request(command::WRITE, &write(pipe, 0, &tail)?);
    session.wire.send(&message)?;
    let ack = answer(&mut session, id)?;
    expect(status(&ack), nt::SUCCESS, "the READ")?;
    ensure(ack.get(80 + 2) == Some(&BIND_ACK), || format!("read {ack:?}"))
}

fn cancelled(server: &Server) -> Outcome {
    let (mut session, pipe) = lsarpc(server)?;
    let (id, async_id) = waiting_read(&mut session, pipe)?;
    let mut cancel = session.request(command::CANCEL, &[4, 0, 0, 0]);
    // By AsyncId, which takes a flag; a CANCEL has no MessageId of its own.
    cancel[16] |= 2;
    cancel[32..40].copy_from_slice(&async_id.to_le_bytes());
    session.wire.send(&cancel)?;
    expect(status(&answer(&mut session, id)?), nt::CANCELLED, "the READ")
}

fn closed(server: &Server) -> Outcome {
    let (mut session, pipe) = lsarpc(server)?;
    let (id, _) = waiting_read(&mut session, pipe)?;
    let message = session.request(command::CLOSE, &support::requests::close(pipe));
    session.wire.send(&message)?;
    expect(status(&answer(&mut session, id)?), nt::PIPE_BROKEN, "the READ")
}

fn logoff(server: &Server) -> Outcome {
    let (mut session, pipe) = lsarpc(server)?;
    let (id, _) = waiting_read(&mut session, pipe)?;
    let message = session.request(command::LOGOFF, &[4, 0, 0, 0]);
    session.wire.send(&message)?;
    expect(status(&answer(&mut session, id)?), nt::PIPE_BROKEN, "the READ")?;
    let last = answer(&mut session, u64_at(&message, 24)?)?;
    expect(status(&last), nt::SUCCESS, "the LOGOFF")
}

fn broken(server: &Server) -> Outcome {
    let (mut session, pipe) = lsarpc(server)?;
    let (id, _) = waiting_read(&mut session, pipe)?;
    let message = session.request(command::WRITE, &write(pipe, 0, &[0xff; 64])?);
    session.wire.send(&message)?;
    expect(status(&answer(&mut session, id)?), nt::PIPE_DISCONNECTED, "the READ")?;
    let again = session.call(command::READ, &read(pipe, 0, 4280))?;
    expect(status(&again), nt::PIPE_DISCONNECTED, "another READ")
}

fn bounded(server: &Server) -> Outcome {
    const MOST: usize = 1024;
    const TOO_MANY_OPENED_FILES: u32 = 0xc000_011f;
    let (mut session, first) = lsarpc(server)?;
    for _ in 1..MOST {
        session.opened(Create::open("lsarpc", access::READ_AND_WRITE))?;
    }
    let one_more = Create::open("lsarpc", access::READ_AND_WRITE);
    session.refused(one_more, TOO_MANY_OPENED_FILES)?;
    session.close(first)?;
    session.opened(one_more)?;
    session.connect(SHARE)?;
    for number in 0..MOST {
        let name = number.to_string();
        session.opened(Create::open(&name, access::READ).or_create())?;
    }
    Ok(())
}

fn no_memory(server: &Server) -> Outcome {
    const MIB: u32 = 1 << 20;
    const CREDITS: u8 = 16;
    let (mut session, pipe) = lsarpc(server)?;
    // More than the server lets one connection hold, and less than may wait.
    for _ in 0..100 {
        let mut message = session.request(command::READ, &read(pipe, 0, MIB));
        message[6] = CREDITS;
        (1..CREDITS).for_each(|_| drop(session.header(command::READ)));
        session.wire.send(&message)?;
        let interim = session.wire.receive()?.ok_or("closed")?;
        expect(status(&interim), nt::PENDING, "a READ with nothing to read")?;
    }
    ensure(session.echo()?, || "no answer to an ECHO".into())
}

fn names_for_sids(server: &Server) -> Outcome {
    let run = Client::new(server).rpc("lookupsids S-1-22-1-0 S-1-22-2-0 S-1-1-0 S-1-5-32-544")?;
    run.success()?
        .says("S-1-22-1-0 Unix User\\root (1)")?
        .says("S-1-22-2-0 Unix Group\\root (2)")?
        .says("S-1-1-0 \\Everyone (5)")?
        .says("S-1-5-32-544 BUILTIN\\Administrators (4)")?;
    Ok(())
}

fn sids_for_names(server: &Server) -> Outcome {
    let run = Client::new(server).rpc("lookupnames ROOT 'NT Authority\\system' nosuchuser")?;
    run.success()?
        .says("ROOT S-1-22-1-0 (User: 1)")?
        .says("S-1-5-18 (Well-known Group: 5)")?
        .says("nosuchuser S-0-0 (UNKNOWN: 8)")?;
    Client::new(server).rpc("getusername")?.success()?.says("Account Name: alice")?;
    Ok(())
}

fn nobody(server: &Server) -> Outcome {
    let client = Client::new(server).user("%");
    client.rpc("lookupsids S-1-22-1-0")?.refused(&["NT_STATUS_ACCESS_DENIED"])?;
    client.rpc("netshareenum")?.success()?.says("netname: files")?;
    Ok(())
}
