//! A connection that is used from one end to the other by one thread: to log on, to make and open files, and then to be
//! taken apart by whoever moves bytes in a way of their own.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures_util::FutureExt;
use usmbd::wire::close::{CloseFlags, CloseRequest};
use usmbd::wire::create::{CreateRequest, CreateResponse};
use usmbd::wire::file_id::FileId;
use usmbd::wire::frame::{Frame, LENGTH_MAX, PREFIX};
use usmbd::wire::status::NtStatus;

use super::Target;
use super::answer::Answer;
use super::logon::{self, Carrier};
use super::request::Request;
use super::session::Session;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The connection and its session.
pub struct Blocking {
    stream: TcpStream,
    session: RefCell<Session>,
}

impl Blocking {
    /// Connects and logs on.
    ///
    /// # Errors
    /// Those of the socket, and what a server says that refuses.
    pub fn connect(target: &Target) -> io::Result<Self> {
        let connection = Self::open(target)?;
        at_once(logon::log_on(&connection, target))?;
        Ok(connection)
    }

    /// Connects, and makes it a further channel of a session that there is.
    ///
    /// # Errors
    /// As above, and where the server does not offer that.
    pub fn bind(target: &Target, first: &Session) -> io::Result<Self> {
        let connection = Self::open(target)?;
        at_once(logon::bind(&connection, target, first))?;
        Ok(connection)
    }

    fn open(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, session: RefCell::default() })
    }

    /// Asks, and waits for the answer, whatever its status.
    ///
    /// # Errors
    /// Those of the socket, and an answer that makes no sense.
    pub fn call(&self, request: &dyn Request) -> io::Result<Answer> {
        let (_, answer) = at_once(self.exchange(request))?;
        Ok(answer)
    }

    /// Opens what the request names.
    ///
    /// # Errors
    /// As of a call, and any other status than success.
    pub fn create(&self, request: &CreateRequest) -> io::Result<CreateResponse> {
        let answer = self.call(request)?;
        answer.expect(NtStatus::SUCCESS)?;
        answer.body(CreateResponse::decode)
    }

    /// Gives a file back.
    ///
    /// # Errors
    /// As above.
    pub fn close(&self, file_id: FileId) -> io::Result<()> {
        let request = CloseRequest { flags: CloseFlags::empty(), file_id };
        self.call(&request)?.expect(NtStatus::SUCCESS)
    }

    /// What is known of the session.
    pub fn session<T>(&self, with: impl FnOnce(&mut Session) -> T) -> T {
        with(&mut self.session.borrow_mut())
    }

    /// The connection, with nothing in flight.
    pub fn into_parts(self) -> (TcpStream, Session) {
        (self.stream, self.session.into_inner())
    }

    /// And back.
    pub fn from_parts(stream: TcpStream, session: Session) -> Self {
        Self { stream, session: RefCell::new(session) }
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut stream = &self.stream;
        loop {
            let mut prefix = [0; PREFIX];
            stream.read_exact(&mut prefix)?;
            if let Frame::Message { length } =
                Frame::decode(prefix, LENGTH_MAX).map_err(io::Error::other)?
            {
                let mut message = vec![0; length];
                stream.read_exact(&mut message)?;
                return Ok(message);
            }
        }
    }
}

impl Carrier for Blocking {
    async fn exchange(&self, request: &dyn Request) -> io::Result<(Vec<u8>, Answer)> {
        let mut out = Vec::new();
        let (ids, range) = self.session.borrow_mut().put([request], 0, &mut out)?;
        (&self.stream).write_all(&out)?;
        loop {
            let message = self.session.borrow().open(self.receive()?)?;
            for mut answer in Answer::all_of(message)? {
                let session = &mut *self.session.borrow_mut();
                session.check_signature(&mut answer)?;
                session.earn(answer.header());
                if !answer.is_interim() && ids.contains(&answer.header().message_id) {
                    return Ok((out.drain(range).collect(), answer));
                }
            }
        }
    }

    fn session<T>(&self, with: impl FnOnce(&mut Session) -> T) -> T {
        Self::session(self, with)
    }
}

/// Runs what never has to wait, as everything that a blocking connection carries.
fn at_once<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    future.now_or_never().unwrap_or_else(|| Err(io::Error::other("it waits for nothing")))
}
