//! Messages to a server and back on a runtime. Many tasks may ask at once; what they ask in the same turn of the loop
//! leaves in one send.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway::net::TcpStream;
use usmbd::transport::{Intake, MessageReader};
use usmbd::wire::frame::LENGTH_MAX;

use super::answer::Answer;
use super::logon::Carrier;
use super::request::Request;
use super::session::Session;

/// A connection with at most one session.
pub(super) struct Connection {
    stream: Rc<TcpStream>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    session: Session,
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
    pub(super) async fn open(address: SocketAddr) -> io::Result<Rc<Self>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connection = Rc::new(Self { stream: Rc::new(stream), state: RefCell::default() });
        ringway::spawn(Rc::clone(&connection).write());
        ringway::spawn(Rc::clone(&connection).read());
        Ok(connection)
    }

    /// Everything that goes on ends with an error.
    pub(super) fn hang_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.state.borrow_mut().fail("the connection was given up");
    }

    /// Asks several things in one message, each about the file of the one before.
    pub(super) async fn chain<const N: usize>(
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
            if state.session.can_pay(charge) {
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
            match reader.next(&Whole).await {
                Ok(Some(message)) => {
                    if let Err(error) = self.state.borrow_mut().take(message.bytes.to_vec()) {
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

/// Every message is received, as long as it is.
struct Whole;

impl Intake for Whole {
    fn message_size_max(&self) -> usize {
        LENGTH_MAX
    }

    fn takes_apart(&self, _: &[u8], _: usize) -> bool {
        false
    }

    async fn room_for(&self, _: usize) {}
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
        let (ids, range) = self.session.put(requests, 0, &mut self.outgoing)?;
        self.waiting.extend(ids.map(|id| (id, Waiting::Sent)));
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Ok((ids, range))
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
    fn take(&mut self, message: Vec<u8>) -> io::Result<()> {
        let message = self.session.open(message)?;
        Answer::all_of(message)?.into_iter().try_for_each(|answer| self.take_one(answer))
    }

    fn take_one(&mut self, mut answer: Answer) -> io::Result<()> {
        self.session.check_signature(&mut answer)?;
        self.session.earn(answer.header());
        self.waits_for_credits.drain(..).for_each(Waker::wake);
        if answer.is_interim() {
            return Ok(());
        }
        let id = answer.header().message_id;
        match self.waiting.insert(id, Waiting::Answered(answer)) {
            Some(Waiting::Polled(waker)) => waker.wake(),
            Some(Waiting::Sent) => {}
            // Nobody asked, or it was answered already.
            _ => return Err(io::Error::other(format!("an answer to message {id}, which is none"))),
        }
        Ok(())
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

impl Carrier for Connection {
    async fn exchange(&self, request: &dyn Request) -> io::Result<(Vec<u8>, Answer)> {
        self.credits(u64::from(request.charge())).await?;
        let (id, sent) = {
            let mut state = self.state.borrow_mut();
            let ([id], range) = state.put([request])?;
            (id, state.outgoing[range].to_vec())
        };
        Ok((sent, self.answer(id).await?))
    }

    fn session<T>(&self, with: impl FnOnce(&mut Session) -> T) -> T {
        with(&mut self.state.borrow_mut().session)
    }
}
