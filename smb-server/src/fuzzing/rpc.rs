//! The pipe of the share list: fragments whole and in pieces, calls and answers.

use std::sync::{Arc, LazyLock};

use crate::rpc::{Pipe, ServerInfo, ShareInfo, ShareType};

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
    })
});

/// In turn: write, write in pieces, read or call, each with its length and bytes.
pub(super) fn pipe(input: &[u8]) {
    let mut input = Input::new(input);
    let mut pipe = Pipe::open("srvsvc", Arc::clone(&SERVER)).expect("there is that pipe");
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
                let read = pipe.read(max);
                assert!(read.data.len() <= max);
                partly_read = read.more;
                continue;
            }
            _ => {
                let (max, bytes) = (usize::from(input.u16()), input.bytes());
                pipe.transact(bytes, max).map(|read| {
                    assert!(read.data.len() <= max);
                    partly_read = read.more;
                })
            }
        };
        assert!(!ended || written.is_err(), "a conversation that has ended goes on");
        ended |= written.is_err();
    }
    drain(&mut pipe, partly_read);
}

/// All together, what waits is bounded, and each of it is a PDU of the length that it says unless a part has been read.
fn drain(pipe: &mut Pipe, mut partly_read: bool) {
    let mut total = 0;
    loop {
        let read = pipe.read(usize::MAX);
        assert!(!read.more, "there is room for all of it");
        if read.data.is_empty() {
            break;
        }
        if !partly_read {
            let length = usize::from(u16::from_le_bytes([read.data[8], read.data[9]]));
            assert_eq!(read.data.len(), length);
        }
        partly_read = false;
        total += read.data.len();
    }
    assert!(total <= WAITING_MAX, "{total} bytes wait to be read");
}
