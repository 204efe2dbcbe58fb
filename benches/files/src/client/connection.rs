//! Messages to a server and back: ids, credits, compounds, signatures. Many tasks may ask at once; what they ask in the
//! same turn of the loop leaves in one send.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway::net::TcpStream;
use usmbd::crypto::sign::Signer;
use usmbd::transport::MessageReader;
use usmbd::wire::codec::{Malformed, Writer};
use usmbd::wire::frame::{Frame, LENGTH_MAX, PREFIX};
use usmbd::wire::header::{Command, Header, HeaderFlags, HeaderId};
use usmbd::wire::status::NtStatus;

use super::request::Request;
use super::unexpected;

/// How many credits to have at hand: enough for any depth that makes sense here.
const CREDITS_WANTED: u64 = 256;

/// Where a header has the length to the next one of its compound.
const NEXT_COMMAND: Range<usize> = 20..24;

/// One response.
pub(crate) struct Answer {
    header: Header,
    message: Vec<u8>,
}

impl Answer {
    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) const fn status(&self) -> NtStatus {
        self.header.status
    }

    /// The whole message, its header included.
    pub(crate) fn message(&self) -> &[u8] {
        &self.message
    }

    pub(crate) fn message_mut(&mut self) -> &mut [u8] {
        &mut self.message
    }

    /// # Errors
    /// Any other status.
    pub(crate) fn expect(&self, status: NtStatus) -> io::Result<()> {
        if self.status() == status {
            return Ok(());
        }
        Err(unexpected(self.header.command, self.status()))
    }

    pub(crate) fn body<T>(&self, decode: impl Fn(&[u8]) -> Result<T, Malformed>) -> io::Result<T> {
        decode(&self.message).map_err(io::Error::other)
    }
}

/// A connection with at most one session.
pub(crate) struct Connection {
    stream: Rc<TcpStream>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    session_id: u64,
    tree_id: u32,
    /// Signs, when requests are to be signed, and verifies.
    signer: Option<Signer>,
    signing: bool,
    next_message_id: u64,
    /// Message ids granted and not used.
    credits: u64,
    waits_for_credits: VecDeque<Waker>,
    /// Messages with their prefixes, to be sent.
    outgoing: Vec<u8>,
    writer: Option<Waker>,
    waiting: HashMap<u64, Waiting>,
    /// Why there will be no more answers.
    broken: Option<String>,
}

/// What became of a request so far.
#[derive(Default)]
enum Waiting {
    #[default]
    Sent,
    Polled(Waker),
    Answered(Answer),
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Rc<Self>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        // MS-SMB2 3.2.1.2: one credit to begin with.
        let state = State { credits: 1, ..State::default() };
        let connection = Rc::new(Self { stream: Rc::new(stream), state: RefCell::new(state) });
        ringway::spawn(Rc::clone(&connection).write());
        ringway::spawn(Rc::clone(&connection).read());
        Ok(connection)
    }

    /// Everything that goes on ends with an error.
    pub(crate) fn hang_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.state.borrow_mut().fail("the connection was given up");
    }

    /// What requests belong to from now on.
    pub(crate) fn enter(&self, session_id: u64, tree_id: u32) {
        let mut state = self.state.borrow_mut();
        (state.session_id, state.tree_id) = (session_id, tree_id);
    }

    /// The session's key, and whether it is to be used for everything.
    pub(crate) fn protect(&self, signer: Option<Signer>, always: bool) {
        let mut state = self.state.borrow_mut();
        state.signing = always;
        state.signer = signer.or(state.signer.take());
    }

    /// Whether an answer has the signature that it should have.
    pub(crate) fn verifies(&self, answer: &mut Answer) -> bool {
        let state = self.state.borrow();
        state.signer.as_ref().is_some_and(|signer| signer.verify(answer.message_mut()))
    }

    /// Asks one thing; its message, without the prefix, and the answer.
    pub(crate) async fn exchange(&self, request: &dyn Request) -> io::Result<(Vec<u8>, Answer)> {
        self.credits(u64::from(request.charge())).await?;
        let (id, sent) = {
            let mut state = self.state.borrow_mut();
            let (ids, range) = state.put([request])?;
            (ids[0], state.outgoing[range].to_vec())
        };
        Ok((sent, self.answer(id).await?))
    }

    /// Asks several things in one message, each about the file of the one before.
    pub(crate) async fn chain<const N: usize>(
        &self,
        requests: [&dyn Request; N],
    ) -> io::Result<[Answer; N]> {
        let charge = requests.iter().map(|request| u64::from(request.charge())).sum();
        self.credits(charge).await?;
        let (ids, _) = self.state.borrow_mut().put(requests)?;
        let mut answers = Vec::with_capacity(N);
        for id in ids {
            answers.push(self.answer(id).await?);
        }
        answers.try_into().map_err(|_| io::ErrorKind::Other.into())
    }

    /// Waits until there are that many credits, which are not taken.
    async fn credits(&self, charge: u64) -> io::Result<()> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.credits >= charge {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = state.error() {
                return Poll::Ready(Err(error));
            }
            state.waits_for_credits.push_back(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn answer(&self, id: u64) -> io::Result<Answer> {
        poll_fn(|cx| self.state.borrow_mut().poll_answer(id, cx)).await
    }

    /// The task that sends.
    async fn write(self: Rc<Self>) {
        let mut spare = Vec::new();
        loop {
            let is_open = poll_fn(|cx| {
                let mut state = self.state.borrow_mut();
                if state.broken.is_some() || !state.outgoing.is_empty() {
                    return Poll::Ready(state.broken.is_none());
                }
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            });
            if !is_open.await {
                return;
            }
            let outgoing = std::mem::replace(&mut self.state.borrow_mut().outgoing, spare);
            let (result, sent) = self.stream.send_all(outgoing).await;
            if let Err(error) = result {
                return self.state.borrow_mut().fail(&error.to_string());
            }
            spare = sent;
            spare.clear();
        }
    }

    /// The task that receives.
    async fn read(self: Rc<Self>) {
        let mut reader = MessageReader::new(Rc::clone(&self.stream));
        let why = loop {
            match reader.next(|| LENGTH_MAX).await {
                Ok(Some(message)) => {
                    if let Err(error) = self.state.borrow_mut().take(message) {
                        break error.to_string();
                    }
                }
                Ok(None) => break "the server has closed".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        self.state.borrow_mut().fail(&why);
    }
}

impl State {
    /// Appends one message; the ids of its requests, and where it lies in what is to be sent.
    fn put<const N: usize>(
        &mut self,
        requests: [&dyn Request; N],
    ) -> io::Result<([u64; N], Range<usize>)> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        let prefix = self.outgoing.len();
        self.outgoing.extend_from_slice(&[0; PREFIX]);
        let mut ids = [0; N];
        for (index, request) in requests.into_iter().enumerate() {
            ids[index] = self.put_one(request, index > 0, index + 1 == N)?;
        }
        let message = prefix + PREFIX..self.outgoing.len();
        let announced = Frame::message_prefix(message.len()).ok_or(io::ErrorKind::InvalidInput)?;
        self.outgoing[prefix..message.start].copy_from_slice(&announced);
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Ok((ids, message))
    }

    fn put_one(&mut self, request: &dyn Request, related: bool, last: bool) -> io::Result<u64> {
        let start = self.outgoing.len();
        let header = self.header(request, related);
        header.encode(&mut Writer::at(&mut self.outgoing, start));
        request.encode(&mut Writer::at(&mut self.outgoing, start));
        if !last {
            // MS-SMB2 3.2.4.1.4: each but the last is padded to a multiple of eight.
            let length = (self.outgoing.len() - start).next_multiple_of(8);
            self.outgoing.resize(start + length, 0);
            let next = u32::try_from(length).map_err(io::Error::other)?;
            self.outgoing[start..][NEXT_COMMAND].copy_from_slice(&next.to_le_bytes());
        }
        if let Some(signer) = self.signer.as_ref().filter(|_| self.signing) {
            signer.sign(&mut self.outgoing[start..]).map_err(io::Error::other)?;
        }
        self.waiting.insert(header.message_id, Waiting::Sent);
        Ok(header.message_id)
    }

    fn header(&mut self, request: &dyn Request, related: bool) -> Header {
        let charge = request.charge();
        let message_id = self.next_message_id;
        self.next_message_id += u64::from(charge);
        self.credits = self.credits.saturating_sub(u64::from(charge));
        let more = CREDITS_WANTED.saturating_sub(self.credits).min(CREDITS_WANTED / 4);
        let mut flags = HeaderFlags::empty();
        flags.set(HeaderFlags::RELATED_OPERATIONS, related);
        flags.set(HeaderFlags::SIGNED, self.signing);
        Header {
            // MS-SMB2 3.2.4.1.5: not in the first message, whose dialect is not known yet.
            credit_charge: if request.command() == Command::NEGOTIATE { 0 } else { charge },
            command: request.command(),
            credits: charge.max(u16::try_from(more).unwrap_or(charge)),
            flags,
            message_id,
            id: HeaderId::Sync { process_id: 0xfeff, tree_id: self.tree_id },
            session_id: self.session_id,
            ..Header::default()
        }
    }

    fn poll_answer(&mut self, id: u64, cx: &mut Context<'_>) -> Poll<io::Result<Answer>> {
        match self.waiting.remove(&id) {
            Some(Waiting::Answered(answer)) => Poll::Ready(Ok(answer)),
            Some(_) if self.broken.is_none() => {
                self.waiting.insert(id, Waiting::Polled(cx.waker().clone()));
                Poll::Pending
            }
            _ => Poll::Ready(Err(self.error().unwrap_or(io::ErrorKind::NotFound.into()))),
        }
    }

    /// Deals a message's responses out.
    fn take(&mut self, mut message: Vec<u8>) -> io::Result<()> {
        loop {
            let header = Header::decode(&message).map_err(io::Error::other)?;
            let next = usize::try_from(header.next_command).map_err(io::Error::other)?;
            if next > message.len() {
                return Err(io::Error::other("a compound that leaves its message"));
            }
            let rest = (next > 0).then(|| message.split_off(next));
            self.take_one(Answer { header, message })?;
            match rest {
                Some(rest) => message = rest,
                None => return Ok(()),
            }
        }
    }

    fn take_one(&mut self, mut answer: Answer) -> io::Result<()> {
        self.check_signature(&mut answer)?;
        self.credits += u64::from(answer.header.credits);
        self.waits_for_credits.drain(..).for_each(Waker::wake);
        let is_async = answer.header.flags.contains(HeaderFlags::ASYNC_COMMAND);
        if is_async && answer.status() == NtStatus::PENDING {
            return Ok(());
        }
        let id = answer.header.message_id;
        match self.waiting.insert(id, Waiting::Answered(answer)) {
            Some(Waiting::Polled(waker)) => waker.wake(),
            Some(Waiting::Sent) => {}
            // Nobody asked, or it was answered already.
            _ => return Err(io::Error::other(format!("an answer to message {id}, which is none"))),
        }
        Ok(())
    }

    /// MS-SMB2 3.2.5.1.3: with a session that signs, every final answer is signed.
    fn check_signature(&self, answer: &mut Answer) -> io::Result<()> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let is_signed = answer.header.flags.contains(HeaderFlags::SIGNED);
        let is_interim = answer.status() == NtStatus::PENDING;
        let is_good = if is_signed {
            signer.verify(&mut answer.message)
        } else {
            !self.signing || is_interim
        };
        if is_good { Ok(()) } else { Err(io::Error::other("an answer with a wrong signature")) }
    }

    fn error(&self) -> Option<io::Error> {
        self.broken.as_ref().map(|why| io::Error::new(io::ErrorKind::BrokenPipe, why.clone()))
    }

    /// Tells everybody who waits.
    fn fail(&mut self, why: &str) {
        self.broken.get_or_insert_with(|| why.to_owned());
        self.writer.take().into_iter().for_each(Waker::wake);
        self.waits_for_credits.drain(..).for_each(Waker::wake);
        for waiting in self.waiting.values_mut() {
            if let Waiting::Polled(waker) = std::mem::take(waiting) {
                waker.wake();
            }
        }
    }
}
