//! Which field is which: a field read and written at the same wrong place would come back as it
//! was, so the values are compared with what another implementation reads, kept in `tshark.txt`.

use super::capture::{Captured, Side, session};
use crate::wire::close::CloseResponse;
use crate::wire::create::{CreateRequest, CreateResponse};
use crate::wire::header::{Command, Header};
use crate::wire::ioctl::IoctlRequest;
use crate::wire::lock::LockRequest;
use crate::wire::negotiate::NegotiateResponse;
use crate::wire::query_directory::QueryDirectoryRequest;
use crate::wire::query_info::QueryInfoRequest;
use crate::wire::read::ReadRequest;
use crate::wire::set_info::SetInfoRequest;
use crate::wire::tree_connect::TreeConnectResponse;
use crate::wire::write::WriteRequest;

#[test]
fn tshark_reads_the_same_values() {
    let mut name = "";
    let mut messages = Vec::new();
    let mut count = 0;
    for line in include_str!("tshark.txt").lines().filter(|line| !line.starts_with('#')) {
        let [file, index, command, side, values] = fields(line);
        if file != name {
            name = file;
            messages = session(name).into_iter().filter(Captured::is_smb2).collect();
        }
        let captured = &messages[index.parse::<usize>().expect("a number")];
        let header = Header::decode(&captured.bytes).expect("a header");
        assert_eq!(header.command.0.to_string(), command, "{captured}");
        assert_eq!(captured.from == Side::Server, side == "S", "{captured}");
        assert_eq!(described(captured, header.command), values, "{captured} {}", header.command);
        count += 1;
    }
    assert!(count > 250, "only {count} messages");
}

fn fields(line: &str) -> [&str; 5] {
    let fields: Vec<_> = line.splitn(5, ' ').collect();
    fields.try_into().expect("five fields")
}

fn described(captured: &Captured, command: Command) -> String {
    let values = match captured.from {
        Side::Client => of_request(&captured.bytes, command),
        Side::Server => of_response(&captured.bytes, command),
    };
    values.join(" ")
}

macro_rules! texts {
    ($($value:expr),* $(,)?) => { vec![$($value.to_string()),*] };
}

fn of_request(m: &[u8], command: Command) -> Vec<String> {
    match command {
        Command::CREATE => {
            let r = CreateRequest::decode(m).expect("a CREATE");
            texts![
                r.requested_oplock_level.0,
                r.impersonation_level.0,
                r.desired_access.bits(),
                r.file_attributes.bits(),
                r.share_access.bits(),
                r.create_disposition.0,
                r.create_options.bits(),
            ]
        }
        Command::READ => {
            let r = ReadRequest::decode(m).expect("a READ");
            texts![r.length, r.offset, r.minimum_count, r.remaining_bytes]
        }
        Command::WRITE => {
            let r = WriteRequest::decode(m).expect("a WRITE");
            texts![r.data.len(), r.offset, r.remaining_bytes]
        }
        Command::LOCK => {
            let r = LockRequest::decode(m).expect("a LOCK");
            let all = |text: &dyn Fn(usize) -> String| {
                (0..r.locks.len()).map(text).collect::<Vec<_>>().join(",")
            };
            texts![
                r.locks.len(),
                all(&|i| r.locks[i].length.to_string()),
                all(&|i| r.locks[i].flags.bits().to_string()),
            ]
        }
        Command::IOCTL => {
            let r = IoctlRequest::decode(m).expect("an IOCTL");
            texts![r.ctl_code.0, r.max_input_response, r.max_output_response]
        }
        Command::QUERY_DIRECTORY => {
            let r = QueryDirectoryRequest::decode(m).expect("a QUERY_DIRECTORY");
            texts![r.info_class.0]
        }
        Command::QUERY_INFO => {
            let r = QueryInfoRequest::decode(m).expect("a QUERY_INFO");
            texts![r.info_type.0, r.output_buffer_length, r.additional_information]
        }
        Command::SET_INFO => {
            let r = SetInfoRequest::decode(m).expect("a SET_INFO");
            texts![r.info_type.0, r.buffer.len(), r.additional_information]
        }
        _ => panic!("{command}"),
    }
}

fn of_response(m: &[u8], command: Command) -> Vec<String> {
    match command {
        Command::NEGOTIATE => {
            let r = NegotiateResponse::decode(m).expect("a NEGOTIATE");
            texts![
                r.dialect.0,
                r.max_transact_size,
                r.max_read_size,
                r.max_write_size,
                r.capabilities.bits(),
            ]
        }
        Command::TREE_CONNECT => {
            let r = TreeConnectResponse::decode(m).expect("a TREE_CONNECT");
            texts![
                r.share_type.0,
                r.share_flags.bits(),
                r.capabilities.bits(),
                r.maximal_access.bits(),
            ]
        }
        Command::CREATE => {
            let r = CreateResponse::decode(m).expect("a CREATE");
            texts![
                r.oplock_level.0,
                r.create_action.0,
                r.allocation_size,
                r.end_of_file,
                r.file_attributes.bits(),
            ]
        }
        Command::CLOSE => {
            let r = CloseResponse::decode(m).expect("a CLOSE");
            texts![r.allocation_size, r.end_of_file, r.file_attributes.bits()]
        }
        _ => panic!("{command}"),
    }
}
