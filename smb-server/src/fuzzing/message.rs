//! Any message, for what treats all of them alike.

use crate::wire::cancel::CancelRequest;
use crate::wire::change_notify::{ChangeNotifyRequest, ChangeNotifyResponse};
use crate::wire::close::{CloseRequest, CloseResponse};
use crate::wire::codec::{Malformed, Writer};
use crate::wire::create::{CreateRequest, CreateResponse};
use crate::wire::echo::{EchoRequest, EchoResponse};
use crate::wire::error::ErrorResponse;
use crate::wire::flush::{FlushRequest, FlushResponse};
use crate::wire::header::{Command, Header};
use crate::wire::ioctl::{IoctlRequest, IoctlResponse};
use crate::wire::lock::{LockRequest, LockResponse};
use crate::wire::logoff::{LogoffRequest, LogoffResponse};
use crate::wire::negotiate::{NegotiateRequest, NegotiateResponse};
use crate::wire::oplock_break::{BreakAcknowledgment, BreakNotification};
use crate::wire::query_directory::{QueryDirectoryRequest, QueryDirectoryResponse};
use crate::wire::query_info::{QueryInfoRequest, QueryInfoResponse};
use crate::wire::read::{ReadRequest, ReadResponse};
use crate::wire::session_setup::{SessionSetupRequest, SessionSetupResponse};
use crate::wire::set_info::{SetInfoRequest, SetInfoResponse};
use crate::wire::tree_connect::{TreeConnectRequest, TreeConnectResponse};
use crate::wire::tree_disconnect::{TreeDisconnectRequest, TreeDisconnectResponse};
use crate::wire::write::{WriteRequest, WriteResponse};

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Decodes the message and encodes what was read.
pub(crate) fn reencode(from: Side, message: &[u8]) -> Result<Vec<u8>, Malformed> {
    let header = Header::decode(message)?;
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    header.encode(&mut w);
    match from {
        Side::Client => reencode_request(&header, message, &mut w)?,
        Side::Server => reencode_response(&header, message, &mut w)?,
    }
    Ok(out)
}

macro_rules! via {
    ($type:ty, $message:expr, $w:expr) => {
        <$type>::decode($message)?.encode($w)
    };
}

fn reencode_request(header: &Header, m: &[u8], w: &mut Writer<'_>) -> Result<(), Malformed> {
    match header.command {
        Command::NEGOTIATE => via!(NegotiateRequest, m, w),
        Command::SESSION_SETUP => via!(SessionSetupRequest, m, w),
        Command::LOGOFF => via!(LogoffRequest, m, w),
        Command::TREE_CONNECT => via!(TreeConnectRequest, m, w),
        Command::TREE_DISCONNECT => via!(TreeDisconnectRequest, m, w),
        Command::CREATE => via!(CreateRequest, m, w),
        Command::CLOSE => via!(CloseRequest, m, w),
        Command::FLUSH => via!(FlushRequest, m, w),
        Command::READ => via!(ReadRequest, m, w),
        Command::WRITE => {
            let request = WriteRequest::decode(m)?;
            request.encode(&m[request.data.clone()], w);
        }
        Command::LOCK => via!(LockRequest, m, w),
        Command::IOCTL => via!(IoctlRequest, m, w),
        Command::CANCEL => via!(CancelRequest, m, w),
        Command::ECHO => via!(EchoRequest, m, w),
        Command::QUERY_DIRECTORY => via!(QueryDirectoryRequest, m, w),
        Command::CHANGE_NOTIFY => via!(ChangeNotifyRequest, m, w),
        Command::QUERY_INFO => via!(QueryInfoRequest, m, w),
        Command::SET_INFO => via!(SetInfoRequest, m, w),
        Command::OPLOCK_BREAK => via!(BreakAcknowledgment, m, w),
        _ => return Err(Malformed::new("command")),
    }
    Ok(())
}

fn reencode_response(header: &Header, m: &[u8], w: &mut Writer<'_>) -> Result<(), Malformed> {
    if ErrorResponse::is_body_of(header.command, header.status) {
        via!(ErrorResponse, m, w);
        return Ok(());
    }
    match header.command {
        Command::NEGOTIATE => via!(NegotiateResponse, m, w),
        Command::SESSION_SETUP => via!(SessionSetupResponse, m, w),
        Command::LOGOFF => via!(LogoffResponse, m, w),
        Command::TREE_CONNECT => via!(TreeConnectResponse, m, w),
        Command::TREE_DISCONNECT => via!(TreeDisconnectResponse, m, w),
        Command::CREATE => via!(CreateResponse, m, w),
        Command::CLOSE => via!(CloseResponse, m, w),
        Command::FLUSH => via!(FlushResponse, m, w),
        Command::READ => {
            let response = ReadResponse::decode(m)?;
            ReadResponse::encode_head(response.data.len() as u32, w);
            w.put_bytes(&m[response.data]);
        }
        Command::WRITE => via!(WriteResponse, m, w),
        Command::LOCK => via!(LockResponse, m, w),
        Command::IOCTL => via!(IoctlResponse, m, w),
        Command::ECHO => via!(EchoResponse, m, w),
        Command::QUERY_DIRECTORY => via!(QueryDirectoryResponse, m, w),
        Command::CHANGE_NOTIFY => via!(ChangeNotifyResponse, m, w),
        Command::QUERY_INFO => via!(QueryInfoResponse, m, w),
        Command::SET_INFO => via!(SetInfoResponse, m, w),
        Command::OPLOCK_BREAK if header.message_id == Header::UNSOLICITED => {
            via!(BreakNotification, m, w);
        }
        Command::OPLOCK_BREAK => via!(BreakAcknowledgment, m, w),
        _ => return Err(Malformed::new("command")),
    }
    Ok(())
}
