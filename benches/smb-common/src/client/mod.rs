//! A client that speaks SMB 2 and 3 to any server: as many requests in flight as there are credits.
//!
//! [`logon`] makes a session of a connection, [`session`] makes messages of requests and opens answers, [`request`] is what
//! can be asked. Two things carry messages: a [`Share`], for many tasks on a runtime; and a [`Blocking`] connection, which
//! can be taken apart.

mod answer;
mod blocking;
mod connection;
mod logon;
mod peek;
mod request;
mod session;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use usmbd::crypto::seal::Cipher;
use usmbd::crypto::sign::SigningAlgorithm;
use usmbd::wire::access_mask::AccessMask;
use usmbd::wire::close::{CloseFlags, CloseRequest};
use usmbd::wire::create::{
    CreateDisposition, CreateOptions, CreateRequest, CreateResponse, ImpersonationLevel,
    ShareAccess,
};
use usmbd::wire::dialect::Dialect;
use usmbd::wire::file_id::FileId;
use usmbd::wire::header::Command;
use usmbd::wire::status::NtStatus;
use usmbd::wire::utf16::Utf16;

pub use answer::{Answer, is_interim};
pub use blocking::Blocking;
use connection::Connection;
pub use request::{Request, Write, WriteHead};
pub use session::{Agreed, Session};

/// Where to log on, as whom, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// The share's name.
    pub share: String,
    /// An account of the server's.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The one dialect that is offered.
    pub dialect: Dialect,
    /// Of what is sent once there is a session.
    pub protection: Protection,
}

/// What is done to messages, beyond what the protocol demands in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nothing.
    Plain,
    /// Every request and answer is signed, in this way, or in the server's favourite one.
    Signed(Option<SigningAlgorithm>),
    /// Every message is encrypted with this cipher.
    Sealed(Cipher),
}

/// A connected share: a connection, a session and a tree of its own.
pub struct Share {
    connection: Rc<Connection>,
}

impl Share {
    /// # Errors
    /// Those of the socket, and what a server says that refuses.
    pub async fn connect(target: &Target) -> io::Result<Self> {
        let connection = Connection::open(target.address).await?;
        logon::log_on(&*connection, target).await?;
        Ok(Self { connection })
    }

    /// Asks, and waits for the answer, whatever its status.
    pub async fn call(&self, request: &dyn Request) -> io::Result<Answer> {
        let [answer] = self.connection.chain([request]).await?;
        Ok(answer)
    }

    /// Asks several things in one message, each about the file of the one before (MS-SMB2 3.2.4.1.4).
    pub async fn chain<const N: usize>(
        &self,
        requests: [&dyn Request; N],
    ) -> io::Result<[Answer; N]> {
        self.connection.chain(requests).await
    }

    /// Opens what the request names.
    ///
    /// # Errors
    /// Any other status than success.
    pub async fn create(&self, request: &CreateRequest) -> io::Result<CreateResponse> {
        let answer = self.call(request).await?;
        answer.expect(NtStatus::SUCCESS)?;
        answer.body(CreateResponse::decode)
    }

    /// Makes a folder, or finds that it is there.
    pub async fn make_folder(&self, name: &str) -> io::Result<()> {
        let request = CreateRequest {
            impersonation_level: ImpersonationLevel::IMPERSONATION,
            desired_access: AccessMask::READ_ATTRIBUTES,
            share_access: ShareAccess::all(),
            create_disposition: CreateDisposition::OPEN_IF,
            create_options: CreateOptions::DIRECTORY_FILE,
            name: Utf16::from_str(name),
            ..CreateRequest::default()
        };
        let file_id = self.create(&request).await?.file_id;
        self.close(file_id).await
    }

    /// Gives a file back.
    pub async fn close(&self, file_id: FileId) -> io::Result<()> {
        let request = CloseRequest { flags: CloseFlags::empty(), file_id };
        self.call(&request).await?.expect(NtStatus::SUCCESS)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.connection.hang_up();
    }
}

/// An error that says to which command an answer was none that was expected.
fn unexpected(command: Command, status: NtStatus) -> io::Error {
    io::Error::other(format!("command {} was answered with {status:?}", command.0))
}
