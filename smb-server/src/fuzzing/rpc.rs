//! The pipes of the share list and of names for SIDs: fragments whole and in pieces, calls and answers.

use std::sync::{Arc, LazyLock};

use crate::auth::Principal;
use crate::rpc::{Pipe, Read, ServerInfo, ShareInfo, ShareType};
use crate::state::SystemAccounts;
use crate::wire::security::Sid;

use super::input::Input;

/// What may wait to be read: the pipe's own limit of 1 MiB, and the answer that passes it.
const WAITING_MAX: usize = 2 * 1024 * 1024;

static SERVER: LazyLock<Arc<ServerInfo>> = LazyLock::new(|| {
    let share = |name: &str, kind| ShareInfo {
        name: name.to_owned(),
        comment: "of things".to_owned(),
        kind,
        path: String::new(),
    };
    Arc::new(ServerInfo {
        name: "SRV".to_owned(),
        comment: "a server".to_owned(),
        shares: vec![share("Data", ShareType::Disk), share("IPC$", ShareType::Ipc)],
        domain_sid: Sid::new(5, [21, 1, 2, 3]),
        unix: Arc::new(SystemAccounts),
    })
});

pub(super) fn pipe(input: &[u8]) {
    converse("srvsvc", input);
}

pub(super) fn lsa_pipe(input: &[u8]) {
    converse("lsarpc", input);
}

/// In turn: write, write in pieces, read or call, each with its length and bytes.
fn converse(name: &str, input: &[u8]) {
    let mut input = Input::new(input);
    let pipe = Pipe::open(name, Arc::clone(&SERVER), Principal::Anonymous);
    let mut pipe = pipe.expect("there is that pipe");
    let (mut partly_read, mut ended) = (false, false);
    while !input.is_empty() {
        let how = input.u8();
        let written = match how % 4 {
            0 => pipe.write(input.bytes()),
            1 => {
                let size = usize::from(how / 4).max(1);
                let bytes = input.bytes();
                pipe.write(&[]).and_then(|()| bytes.chunks(size).try_for_each(|it| pipe.write(it)))
            }
            2 => {
                let max = usize::from(input.u16());
                partly_read = take(&mut pipe, max).unwrap_or(partly_read);
                continue;
            }
            _ => {
                let (max, bytes) = (usize::from(input.u16()), input.bytes());
                let written = pipe.write(bytes);
                if written.is_ok() {
                    partly_read = take(&mut pipe, max).unwrap_or(partly_read);
                }
                written
            }
        };
        assert!(!ended || written.is_err(), "a conversation that has ended goes on");
        ended |= written.is_err();
    }
    drain(&mut pipe, partly_read);
}

/// Reads, and tells whether there is more of the message that was read.
fn take(pipe: &mut Pipe, max: usize) -> Option<bool> {
    let Read { data, more } = pipe.read(max)?;
    assert!(data.len() <= max);
    Some(more)
}

/// All together, what waits is bounded, and each of it is a PDU of the length that it says unless a part has been read.
fn drain(pipe: &mut Pipe, mut partly_read: bool) {
    let mut total = 0;
    while let Some(read) = pipe.read(usize::MAX) {
        assert!(!read.more, "there is room for all of it");
        if !partly_read {
            let length = usize::from(u16::from_le_bytes([read.data[8], read.data[9]]));
            assert_eq!(read.data.len(), length);
        }
        partly_read = false;
        total += read.data.len();
    }
    assert!(total <= WAITING_MAX, "{total} bytes wait to be read");
}
