//! What a client may know of a connection's books: which MessageIds it holds, and which requests await an answer.
//! MS-SMB2 3.2.4.1.6 and 3.2.5.1.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::header::{Command, Header, HeaderId};
use crate::wire::status::NtStatus;

/// The books.
pub(super) struct Ledger {
    /// How far the granted ids may reach.
    credits_max: u64,
    /// The lowest id that has not been used.
    low: u64,
    /// Those above it that have.
    used: BTreeSet<u64>,
    /// The first id that has not been granted.
    end: u64,
    /// Requests that the server has taken and not answered, with the AsyncId that it has told, if any.
    open: BTreeMap<u64, Option<u64>>,
    /// Those of any request so far.
    async_ids: BTreeSet<u64>,
}

impl Ledger {
    pub(super) fn new(credits_max: u16) -> Self {
        Self {
            credits_max: credits_max.into(),
            low: 0,
            used: BTreeSet::new(),
            end: 1,
            open: BTreeMap::new(),
            async_ids: BTreeSet::new(),
        }
    }

    /// The lowest id that may be used.
    pub(super) const fn next_id(&self) -> u64 {
        self.low
    }

    /// Requests under way: MessageIds, with the AsyncIds of those that have one.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, Option<u64>)> {
        self.open.iter().map(|(message_id, async_id)| (*message_id, *async_id))
    }

    /// The server has taken this message: it had to be one that the client was entitled to.
    pub(super) fn taken(&mut self, message: &[u8], multi_credit: bool) {
        let headers = headers(message);
        if let [header] = headers.as_slice()
            && header.command == Command::CANCEL
        {
            return;
        }
        for header in headers {
            let charge = if multi_credit { header.credit_charge.max(1) } else { 1 };
            self.spend(header.message_id, charge.into());
        }
    }

    /// The server has taken a request that costs so many ids.
    pub(super) fn spend(&mut self, message_id: u64, charge: u64) {
        for id in message_id..message_id + charge {
            assert!((self.low..self.end).contains(&id), "MessageId {id} was not granted");
            assert!(self.used.insert(id), "MessageId {id} was used before");
        }
        while self.used.remove(&self.low) {
            self.low += 1;
        }
        assert!(self.open.insert(message_id, None).is_none());
    }

    /// The server has sent a response.
    pub(super) fn answered(&mut self, header: &Header) {
        self.end += u64::from(header.credits);
        let reach = self.end - self.low;
        assert!(reach <= self.credits_max, "{reach} of {} credits", self.credits_max);
        let told = self.open.remove(&header.message_id).expect("an answer to what was asked, once");
        let async_id = match header.id {
            HeaderId::Async { async_id } => Some(async_id),
            HeaderId::Sync { .. } => None,
        };
        if header.status == NtStatus::PENDING {
            assert!(told.is_none(), "a second interim response");
            let async_id = async_id.expect("an interim response tells the AsyncId");
            assert!(self.async_ids.insert(async_id), "AsyncId {async_id} was given before");
            self.open.insert(header.message_id, Some(async_id));
        } else {
            assert_eq!(async_id, told, "it was told to be another");
        }
    }

    pub(super) fn assert_settled(&self) {
        assert!(self.open.is_empty(), "never answered: {:?}", self.open);
    }
}

/// The headers of a message that the server was able to take apart.
fn headers(message: &[u8]) -> Vec<Header> {
    let mut headers = Vec::new();
    let mut rest = message;
    while let Ok(header) = Header::decode(rest) {
        let next = header.next_command as usize;
        headers.push(header);
        match rest.get(next..) {
            Some(behind) if next != 0 => rest = behind,
            _ => break,
        }
    }
    headers
}
