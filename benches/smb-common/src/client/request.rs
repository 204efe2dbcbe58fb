//! What can be asked: the bodies that the workloads use, with the number of each command.

use usmbd::wire::close::CloseRequest;
use usmbd::wire::codec::Writer;
use usmbd::wire::create::CreateRequest;
use usmbd::wire::echo::EchoRequest;
use usmbd::wire::file_id::FileId;
use usmbd::wire::header::{Command, Header};
use usmbd::wire::negotiate::NegotiateRequest;
use usmbd::wire::query_directory::QueryDirectoryRequest;
use usmbd::wire::query_info::QueryInfoRequest;
use usmbd::wire::read::ReadRequest;
use usmbd::wire::session_setup::SessionSetupRequest;
use usmbd::wire::tree_connect::TreeConnectRequest;
use usmbd::wire::write::WriteRequest;

/// A request's body.
pub trait Request {
    /// Its number.
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
    EchoRequest => ECHO,
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
pub struct Write<'a> {
    /// What is said of it.
    pub request: WriteRequest,
    /// What is written.
    pub data: &'a [u8],
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

/// A WRITE whose payload is sent behind it, and is not part of the message that is made of this.
pub struct WriteHead {
    /// The file.
    pub file_id: FileId,
    /// Where in it.
    pub offset: u64,
    /// How much.
    pub length: u32,
}

impl Request for WriteHead {
    fn command(&self) -> Command {
        Command::WRITE
    }

    /// MS-SMB2 2.2.21, with the payload right behind the fixed part.
    fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(49);
        w.put_length_u16(Header::SIZE + WriteRequest::FIXED);
        w.put_u32(self.length);
        w.put_u64(self.offset);
        self.file_id.encode(w);
        // Neither channel, remaining bytes and channel information, nor flags.
        w.put_zeros(16);
    }

    fn payload(&self) -> u32 {
        self.length
    }
}

impl Request for ReadRequest {
    fn command(&self) -> Command {
        Command::READ
    }

    fn encode(&self, w: &mut Writer<'_>) {
        self.encode(w);
    }

    fn payload(&self) -> u32 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_in_two_pieces_is_the_same_as_one_in_one() {
        let data = [0x5a; 100];
        let file_id = FileId { persistent: 1, volatile: 2 };
        let request = WriteRequest { file_id, offset: 1 << 40, ..WriteRequest::default() };
        let encoded = |request: &dyn Request| {
            let mut out = vec![0; Header::SIZE];
            request.encode(&mut Writer::at(&mut out, 0));
            out
        };
        let mut pieces = encoded(&WriteHead { file_id, offset: 1 << 40, length: 100 });
        pieces.extend_from_slice(&data);
        assert_eq!(pieces, encoded(&Write { request, data: &data }));
    }

    /// What Samba's client has sent, out of a recorded session.
    #[test]
    fn a_write_is_what_another_client_sends() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../smb-server/tests/captures/dialect-SMB3_11.txt"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let messages = text.lines().filter_map(|line| line.strip_prefix("C ")).map(bytes);
        let mut writes = 0;
        for message in messages.filter(|message| message[12..14] == Command::WRITE.0.to_le_bytes())
        {
            let request = WriteRequest::decode(&message).unwrap();
            let length = u32::try_from(request.data.len()).unwrap();
            let head = WriteHead { file_id: request.file_id, offset: request.offset, length };
            let mut ours = message[..Header::SIZE].to_vec();
            head.encode(&mut Writer::at(&mut ours, 0));
            ours.extend_from_slice(&message[request.data]);
            assert_eq!(ours, message);
            writes += 1;
        }
        assert!(writes > 0);
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }
}
