//! A client that speaks SMB 3.1.1 to any server: as many requests in flight as there are credits, many sessions on one
//! thread.
//!
//! [`connection`] carries messages, [`logon`] makes a session of a connection, [`request`] is what can be asked; a
//! [`Share`] is what workloads hold. It believes no answer that it has not checked.

mod connection;
mod logon;
mod request;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use usmbd::wire::access_mask::AccessMask;
use usmbd::wire::close::{CloseFlags, CloseRequest};
use usmbd::wire::create::{
    CreateDisposition, CreateOptions, CreateRequest, CreateResponse, ImpersonationLevel,
    ShareAccess,
};
use usmbd::wire::file_id::FileId;
use usmbd::wire::header::Command;
use usmbd::wire::status::NtStatus;
use usmbd::wire::utf16::Utf16;

pub(crate) use connection::Answer;
use connection::Connection;
pub(crate) use request::{Request, Write};

/// Where to log on, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) share: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// Every request and answer is signed; otherwise only where the protocol demands it.
    pub(crate) signing: bool,
}

/// A connected share: a connection, a session and a tree of its own.
pub(crate) struct Share {
    connection: Rc<Connection>,
}

impl Share {
    /// # Errors
    /// Those of the socket, and what a server says that refuses.
    pub(crate) async fn connect(target: &Target) -> io::Result<Self> {
        let connection = Connection::open(target.address).await?;
        logon::log_on(&connection, target).await?;
        Ok(Self { connection })
    }

    /// Asks, and waits for the answer, whatever its status.
    pub(crate) async fn call(&self, request: &dyn Request) -> io::Result<Answer> {
        let [answer] = self.connection.chain([request]).await?;
        Ok(answer)
    }

    /// Asks several things in one message, each about the file of the one before (MS-SMB2 3.2.4.1.4).
    pub(crate) async fn chain<const N: usize>(
        &self,
        requests: [&dyn Request; N],
    ) -> io::Result<[Answer; N]> {
        self.connection.chain(requests).await
    }

    /// Opens what the request names.
    ///
    /// # Errors
    /// Any other status than success.
    pub(crate) async fn create(&self, request: &CreateRequest) -> io::Result<CreateResponse> {
        let answer = self.call(request).await?;
        answer.expect(NtStatus::SUCCESS)?;
        answer.body(CreateResponse::decode)
    }

    /// Makes a folder, or finds that it is there.
    pub(crate) async fn make_folder(&self, name: &str) -> io::Result<()> {
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
    pub(crate) async fn close(&self, file_id: FileId) -> io::Result<()> {
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
