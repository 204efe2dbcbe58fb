//! A connection's dialogue in SMB: what is asked next, and whether what comes back answers it.

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use smb_common::client::{Answer, Blocking, Request, Session, Write, WriteHead, is_interim};
use usmbd::wire::close::{CloseFlags, CloseRequest};
use usmbd::wire::codec::Reader;
use usmbd::wire::create::CreateRequest;
use usmbd::wire::echo::EchoRequest;
use usmbd::wire::file_id::FileId;
use usmbd::wire::header::{Command, Header};
use usmbd::wire::read::{ReadRequest, ReadResponse};
use usmbd::wire::status::NtStatus;
use usmbd::wire::write::{WriteRequest, WriteResponse};

use super::Verify;
use super::inbox::{Fate, Inbox, Judge};
use super::offsets::Offsets;
use super::outbox::{Outbox, Tail};
use super::tally::Tally;
use crate::files::{self, Name};
use crate::pattern::Pattern;
use crate::shape::{Shape, Workload};

/// How many of what was written are read again when all is done.
const WRITTEN_KEPT: usize = 8;

const CLOSE: CloseRequest = CloseRequest { flags: CloseFlags::empty(), file_id: FileId::ANY };

/// An open file.
#[derive(Clone, Copy)]
pub(super) struct Open {
    pub(super) file_id: FileId,
    /// What it holds, or is to hold.
    pub(super) seed: u64,
}

/// What a connection works on.
pub(super) struct Subject {
    pub(super) source: Option<Open>,
    pub(super) target: Option<Open>,
    /// What is opened and closed.
    pub(super) name: Name,
    /// Its number among the connections.
    pub(super) number: usize,
}

/// The connection but for its socket.
pub(super) struct Smb {
    inbox: Inbox,
    dialogue: Dialogue,
}

struct Dialogue {
    session: Session,
    shape: Shape,
    subject: Subject,
    verify: Verify,
    offsets: Offsets,
    in_flight: Vec<Asked>,
    /// The one whose answer is on its way, and not looked at any more.
    going: Option<Asked>,
    /// Some of the places that were written.
    written: Vec<u64>,
    /// The CREATE of files that are opened again and again.
    create: CreateRequest,
    pattern: &'static Pattern,
    tally: Tally,
}

/// A request that is not answered.
struct Asked {
    id: u64,
    command: Command,
    offset: u64,
    at: Instant,
    /// The answer is to be received in full.
    is_kept: bool,
}

impl Smb {
    pub(super) fn new(
        session: Session,
        shape: Shape,
        subject: Subject,
        verify: Verify,
        pattern: &'static Pattern,
    ) -> Self {
        let expected = if shape.workload.reads() && shape.workload != Workload::Open {
            shape.size as usize
        } else {
            0
        };
        let inbox = Inbox::new(expected, session.envelope());
        let dialogue = Dialogue {
            offsets: Offsets::new(shape.size, shape.random, subject.number),
            create: subject.name.request(),
            session,
            shape,
            subject,
            verify,
            in_flight: Vec::with_capacity(shape.depth),
            going: None,
            written: Vec::new(),
            pattern,
            tally: Tally::default(),
        };
        Self { inbox, dialogue }
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.dialogue.in_flight.len() + self.dialogue.going.is_some() as usize
    }

    pub(super) const fn tally(&mut self) -> &mut Tally {
        &mut self.dialogue.tally
    }

    pub(super) fn receive(&mut self, socket: &TcpStream, sink: &mut [u8]) -> io::Result<()> {
        self.inbox.pump(socket, sink, &mut self.dialogue)
    }

    /// Puts one more request into the outbox; whether there were credits for it.
    pub(super) fn ask(&mut self, out: &mut Outbox) -> io::Result<bool> {
        self.dialogue.ask(out)
    }

    /// Reads some of what was written once more, and compares it.
    pub(super) fn check_written(self, socket: TcpStream) -> io::Result<Tally> {
        let Dialogue { session, subject, written, shape, pattern, mut tally, .. } = self.dialogue;
        socket.set_nonblocking(false)?;
        let connection = Blocking::from_parts(socket, session);
        if let Some(target) = subject.target {
            for offset in written {
                let bytes = files::read(&connection, target.file_id, offset, shape.size)?;
                if bytes != pattern.of(target.seed, offset, shape.size as usize) {
                    return Err(wrong("what was written is not there", offset));
                }
                tally.verified += 1;
            }
        }
        for open in [subject.source, subject.target].into_iter().flatten() {
            connection.close(open.file_id)?;
        }
        Ok(tally)
    }
}

impl Dialogue {
    fn ask(&mut self, out: &mut Outbox) -> io::Result<bool> {
        let command = match self.shape.workload {
            Workload::Read => Command::READ,
            Workload::Write => Command::WRITE,
            Workload::Mixed if self.offsets.one_of(3) == 0 => Command::WRITE,
            Workload::Mixed => Command::READ,
            Workload::Echo => Command::ECHO,
            Workload::Open => Command::CREATE,
        };
        let size = if self.shape.workload.moves_bytes() { self.shape.size } else { 1 };
        let charge = u64::from(size.saturating_sub(1) / 65_536 + 1);
        let is_chain = command == Command::CREATE;
        if !self.session.can_pay(charge + u64::from(is_chain)) {
            return Ok(false);
        }
        let offset = self.offsets.next();
        let id = match command {
            Command::READ => self.put_read(offset, out)?,
            Command::WRITE => self.put_write(offset, out)?,
            Command::ECHO => self.session.put([&EchoRequest], 0, out.head())?.0[0],
            // The second answer is the one that counts.
            _ => self.session.put([&self.create, &CLOSE], 0, out.head())?.0[1],
        };
        let is_kept = is_chain || self.verify.takes(self.offsets.one_of(Verify::ONE_OF));
        self.in_flight.push(Asked { id, command, offset, at: Instant::now(), is_kept });
        Ok(true)
    }

    fn put_read(&mut self, offset: u64, out: &mut Outbox) -> io::Result<u64> {
        let file_id = opened(self.subject.source)?.file_id;
        let length = self.shape.size;
        let request = ReadRequest { file_id, offset, length, ..ReadRequest::default() };
        Ok(self.session.put([&request], 0, out.head())?.0[0])
    }

    fn put_write(&mut self, offset: u64, out: &mut Outbox) -> io::Result<u64> {
        let Open { file_id, seed } = opened(self.subject.target)?;
        let length = self.shape.size as usize;
        if self.session.is_plain() {
            let head = WriteHead { file_id, offset, length: self.shape.size };
            let ([id], _) = self.session.put([&head], length, out.head())?;
            out.put_tail(Tail { seed, offset, length });
            return Ok(id);
        }
        let request = WriteRequest { file_id, offset, ..WriteRequest::default() };
        let data = self.pattern.of(seed, offset, length);
        let request: &dyn Request = &Write { request, data };
        Ok(self.session.put([request], 0, out.head())?.0[0])
    }

    /// Finds what a response is to.
    fn asked(&self, header: &Header) -> io::Result<usize> {
        let found = self.in_flight.iter().position(|asked| asked.id == header.message_id);
        let index = found.ok_or_else(|| {
            io::Error::other(format!("an answer to message {}, which is none", header.message_id))
        })?;
        if header.status != NtStatus::SUCCESS {
            let (command, status) = (header.command.0, header.status);
            return Err(io::Error::other(format!(
                "command {command} was answered with {status:?}"
            )));
        }
        Ok(index)
    }

    fn is_done(&mut self, asked: &Asked) {
        let bytes = match asked.command {
            Command::READ | Command::WRITE => self.shape.size as usize,
            _ => 0,
        };
        if asked.command == Command::WRITE && self.written.len() < WRITTEN_KEPT {
            self.written.push(asked.offset);
        }
        self.tally.count(bytes, asked.at);
    }

    /// What the beginning of an answer says: the right amount.
    fn check_head(&self, asked: &Asked, head: &[u8], length: usize) -> io::Result<()> {
        let amount = match asked.command {
            Command::READ => {
                let mut r = Reader::body(head, 17, "READ response").map_err(io::Error::other)?;
                let offset = r.u8().map_err(io::Error::other)?;
                r.skip(1).map_err(io::Error::other)?;
                let amount = r.u32().map_err(io::Error::other)?;
                let end = u64::from(offset) + u64::from(amount);
                if end > (length - self.session.envelope().min(length)) as u64 {
                    return Err(wrong("a READ's answer is shorter than it says", asked.offset));
                }
                amount
            }
            Command::WRITE => WriteResponse::decode(head).map_err(io::Error::other)?.count,
            _ => return Ok(()),
        };
        if amount != self.shape.size {
            return Err(wrong("another amount than was asked for", asked.offset));
        }
        Ok(())
    }

    fn check_data(&self, asked: &Asked, answer: &Answer) -> io::Result<()> {
        if asked.command != Command::READ {
            return Ok(());
        }
        let range = answer.body(ReadResponse::decode)?.data;
        let data = answer.message().get(range).unwrap_or_default();
        let seed = opened(self.subject.source)?.seed;
        if data != self.pattern.of(seed, asked.offset, self.shape.size as usize) {
            return Err(wrong("the file does not hold what was read", asked.offset));
        }
        Ok(())
    }
}

impl Judge for Dialogue {
    fn begins(&mut self, head: &mut [u8], length: usize) -> io::Result<Fate> {
        if self.shape.workload == Workload::Open {
            return Ok(Fate::Keep);
        }
        let range = self.session.peek(head)?;
        let head = head.get(range).unwrap_or_default();
        let header = Header::decode(head).map_err(io::Error::other)?;
        if is_interim(&header) {
            self.session.earn(&header);
            return Ok(Fate::Drop);
        }
        let index = self.asked(&header)?;
        let asked = &self.in_flight[index];
        self.check_head(asked, head, length)?;
        if asked.is_kept {
            return Ok(Fate::Keep);
        }
        self.session.earn(&header);
        self.going = Some(self.in_flight.swap_remove(index));
        Ok(Fate::Drop)
    }

    fn is_gone(&mut self) -> io::Result<()> {
        if let Some(asked) = self.going.take() {
            self.is_done(&asked);
        }
        Ok(())
    }

    fn is_whole(&mut self, message: Vec<u8>) -> io::Result<()> {
        let message = self.session.open(message)?;
        for mut answer in Answer::all_of(message)? {
            self.session.check_signature(&mut answer)?;
            self.session.earn(answer.header());
            if answer.is_interim() {
                continue;
            }
            if answer.header().command == Command::CREATE {
                answer.expect(NtStatus::SUCCESS)?;
                continue;
            }
            let index = self.asked(answer.header())?;
            let asked = self.in_flight.swap_remove(index);
            self.check_data(&asked, &answer)?;
            self.is_done(&asked);
            self.tally.verified += 1;
        }
        Ok(())
    }
}

fn opened(open: Option<Open>) -> io::Result<Open> {
    open.ok_or_else(|| io::Error::other("the file is not open"))
}

fn wrong(what: &str, offset: u64) -> io::Error {
    io::Error::other(format!("{what}, at {offset}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Role;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::LazyLock;
    use usmbd::wire::codec::Writer;
    use usmbd::wire::frame::Frame;
    use usmbd::wire::header::HeaderFlags;

    static PATTERN: LazyLock<Pattern> = LazyLock::new(Pattern::new);

    const SIZE: u32 = 32 << 10;

    /// The answer to a READ that a server should give; each of the tests spoils another thing.
    struct Reply {
        header: Header,
        length: u32,
        data: Vec<u8>,
    }

    /// Asks for one READ, and takes what `spoil` has made of the answer to it.
    fn read(verify: Verify, spoil: impl Fn(&mut Reply)) -> io::Result<Tally> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let socket = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        let shape = Shape { size: SIZE, depth: 1, ..Shape::default() };
        let name = Name { role: Role::Source, number: 5 };
        let open = Open { file_id: FileId { persistent: 1, volatile: 2 }, seed: name.seed() };
        let subject = Subject { source: Some(open), target: None, name, number: 5 };
        let mut smb = Smb::new(Session::default(), shape, subject, verify, &PATTERN);
        let mut out = Outbox::default();
        assert!(smb.ask(&mut out)?);
        assert!(!smb.ask(&mut out)?, "there is one credit");
        out.send(&socket, &PATTERN)?;
        let mut message = vec![0; 4 + Header::SIZE + 49];
        server.read_exact(&mut message)?;
        let header = Header::decode(&message[4..]).map_err(io::Error::other)?;
        let request = ReadRequest::decode(&message[4..]).map_err(io::Error::other)?;
        assert_eq!((request.length, request.file_id), (SIZE, open.file_id));
        let mut reply = Reply {
            header: Header { flags: HeaderFlags::SERVER_TO_REDIR, credits: 1, ..header },
            length: SIZE,
            data: PATTERN.of(name.seed(), request.offset, SIZE as usize).to_vec(),
        };
        spoil(&mut reply);
        server.write_all(&framed(&reply))?;
        let mut sink = vec![0; 1 << 20];
        while smb.in_flight() > 0 {
            smb.receive(&socket, &mut sink)?;
        }
        Ok(smb.tally().clone())
    }

    fn framed(reply: &Reply) -> Vec<u8> {
        let mut message = Vec::new();
        let mut w = Writer::at(&mut message, 0);
        reply.header.encode(&mut w);
        ReadResponse::encode_head(reply.length, &mut w);
        w.put_bytes(&reply.data);
        let mut framed = Frame::message_prefix(message.len()).unwrap().to_vec();
        framed.append(&mut message);
        framed
    }

    #[test]
    fn a_right_answer_counts_and_is_compared_if_it_is_to_be() {
        let tally = read(Verify::All, |_| ()).unwrap();
        assert_eq!((tally.operations, tally.bytes, tally.verified), (1, SIZE.into(), 1));
    }

    #[test]
    fn a_page_of_another_place_is_noticed() {
        let wrong = |reply: &mut Reply| {
            let (page, rest) = reply.data.split_at_mut(4096);
            page.copy_from_slice(&rest[..4096]);
        };
        assert!(read(Verify::All, wrong).is_err());
    }

    #[test]
    fn a_head_that_says_something_else_is_noticed_without_the_payload() {
        let spoils: [fn(&mut Reply); 5] = [
            |reply| reply.header.status = NtStatus::ACCESS_DENIED,
            |reply| reply.header.message_id += 1,
            |reply| reply.length -= 1,
            |reply| reply.length += 1,
            |reply| reply.data.truncate(100),
        ];
        for (index, spoil) in spoils.into_iter().enumerate() {
            assert!(read(Verify::Some, spoil).is_err(), "{index}");
        }
    }
}
