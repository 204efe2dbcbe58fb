//! What can be asked: the bodies that the workloads use, with the number of each command.

use usmbd::wire::close::CloseRequest;
use usmbd::wire::codec::Writer;
use usmbd::wire::create::CreateRequest;
use usmbd::wire::header::Command;
use usmbd::wire::negotiate::NegotiateRequest;
use usmbd::wire::query_directory::QueryDirectoryRequest;
use usmbd::wire::query_info::QueryInfoRequest;
use usmbd::wire::session_setup::SessionSetupRequest;
use usmbd::wire::tree_connect::TreeConnectRequest;
use usmbd::wire::write::WriteRequest;

/// A request's body.
pub(crate) trait Request {
    fn command(&self) -> Command;

    /// Appends it behind its header.
    fn encode(&self, w: &mut Writer<'_>);

    /// How many bytes it sends or wants at most, which its charge is of.
    fn payload(&self) -> u32 {
        0
    }

    /// MS-SMB2 3.2.4.1.5: a credit for each 64 KiB.
    fn charge(&self) -> u16 {
        u16::try_from(self.payload().saturating_sub(1) / 65_536 + 1).unwrap_or(u16::MAX)
    }
}

macro_rules! request {
    ($($type:ty => $command:ident),* $(,)?) => { $(
        impl Request for $type {
            fn command(&self) -> Command {
                Command::$command
            }

            fn encode(&self, w: &mut Writer<'_>) {
                self.encode(w);
            }
        }
    )* };
}

request! {
    NegotiateRequest => NEGOTIATE,
    SessionSetupRequest => SESSION_SETUP,
    TreeConnectRequest => TREE_CONNECT,
    CreateRequest => CREATE,
    CloseRequest => CLOSE,
}

impl Request for QueryDirectoryRequest {
    fn command(&self) -> Command {
        Command::QUERY_DIRECTORY
    }

    fn encode(&self, w: &mut Writer<'_>) {
        self.encode(w);
    }

    fn payload(&self) -> u32 {
        self.output_buffer_length
    }
}

impl Request for QueryInfoRequest {
    fn command(&self) -> Command {
        Command::QUERY_INFO
    }

    fn encode(&self, w: &mut Writer<'_>) {
        self.encode(w);
    }

    fn payload(&self) -> u32 {
        self.output_buffer_length
    }
}

/// A WRITE with what it writes.
pub(crate) struct Write<'a> {
    pub(crate) request: WriteRequest,
    pub(crate) data: &'a [u8],
}

impl Request for Write<'_> {
    fn command(&self) -> Command {
        Command::WRITE
    }

    fn encode(&self, w: &mut Writer<'_>) {
        self.request.encode(self.data, w);
    }

    fn payload(&self) -> u32 {
        u32::try_from(self.data.len()).unwrap_or(u32::MAX)
    }
}
