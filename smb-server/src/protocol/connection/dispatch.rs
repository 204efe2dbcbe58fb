//! From admitted bytes to work: decode, answer what concerns the connection, hand out the rest.

use bytes::Bytes;

use crate::wire::codec::Writer;
use crate::wire::dialect::Dialect;
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::header::Command;
use crate::wire::ioctl::{CtlCode, IoctlRequest, IoctlResponse};
use crate::wire::query_info::InfoType;
use crate::wire::status::NtStatus;
use crate::wire::validate_negotiate::ValidateNegotiateInfoRequest;

use crate::protocol::error::Disconnect;
use crate::protocol::intake::{self, Part};
use crate::protocol::message::{Body, Chain, Element, Event, Reply, Request, Work};
use crate::protocol::reply::Slot;

use super::{Connection, Now, Phase, Received};

impl Connection {
    /// Decodes what was admitted, answers what concerns the connection, hands out the rest.
    pub(super) fn dispatch(
        &mut self,
        now: Now,
        Received { message, rest }: &Received,
        parts: &[Part],
        mut slots: Vec<Slot>,
        refusals: Vec<Option<NtStatus>>,
    ) -> Result<(), Disconnect> {
        let mut elements = Vec::with_capacity(parts.len());
        let mut budget = self.transfer_max();
        for ((part, slot), refusal) in parts.iter().zip(&mut slots).zip(refusals) {
            let bytes = message.slice(part.range.clone());
            let work = match refusal {
                Some(status) => {
                    // Where there is no session there is no key to sign with.
                    slot.signed &= self.sessions.get(slot.session_id).is_some();
                    Work::Answered(Reply::error(status))
                }
                None => self.work(slot, &bytes, *rest, &mut budget)?,
            };
            let Slot { session_id, tree_id, related, .. } = *slot;
            elements.push(Element { session_id, tree_id, related, work, bytes });
        }
        if elements.iter().all(|element| matches!(element.work, Work::Answered(_))) {
            let replies = elements.into_iter().filter_map(|element| match element.work {
                Work::Answered(reply) => Some(reply),
                Work::Execute(_) => None,
            });
            let replies = replies.collect();
            self.respond(now.instant, slots, replies);
            return Ok(());
        }
        let protection = self.protection(&slots);
        let id = self.pending.insert(now.instant, slots);
        self.events.push_back(Event::Execute(Chain { id, elements, protection }));
        Ok(())
    }

    /// `rest`: bytes of the request that are elsewhere. `budget`: the bytes that the chain may still move. A whole chain gets what one request may
    /// have, since it is answered in one message.
    fn work(
        &self,
        slot: &Slot,
        message: &Bytes,
        rest: usize,
        budget: &mut u32,
    ) -> Result<Work, Disconnect> {
        if slot.command == Command::ECHO {
            intake::decode_echo(message)?;
            return Ok(Work::Answered(Reply::ok(Body::Echo)));
        }
        let Some(request) = intake::decode(slot.command, message, rest)? else {
            return Ok(Work::Answered(Reply::error(NtStatus::INVALID_PARAMETER)));
        };
        if self.dialect() != Some(Dialect::SMB_3_1_1) && is_of_3_1_1(&request) {
            return Ok(Work::Answered(Reply::error(NtStatus::NOT_SUPPORTED)));
        }
        if let Err(status) = self.check_size(slot, &request, budget) {
            return Ok(Work::Answered(Reply::error(status)));
        }
        match request {
            Request::Ioctl(ioctl) if ioctl.ctl_code == CtlCode::FSCTL_VALIDATE_NEGOTIATE_INFO => {
                self.validate_negotiate(&ioctl).map(Work::Answered)
            }
            request => Ok(Work::Execute(request)),
        }
    }

    /// MS-SMB2 3.3.5.2.5 and the size limits of each command.
    fn check_size(&self, slot: &Slot, request: &Request, budget: &mut u32) -> Result<(), NtStatus> {
        let Phase::Negotiated(negotiated) = &self.phase else { return Ok(()) };
        let size = intake::transfer_size(request);
        let too_large = size > negotiated.io_size_max;
        let unpaid =
            negotiated.is_multi_credit() && slot.credit_charge.max(1) < intake::charge_for(size);
        if too_large || unpaid {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        *budget = budget.checked_sub(size).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        Ok(())
    }

    fn transfer_max(&self) -> u32 {
        match &self.phase {
            Phase::Negotiated(negotiated) => negotiated.io_size_max,
            _ => 0,
        }
    }

    fn validate_negotiate(&self, ioctl: &IoctlRequest) -> Result<Reply, Disconnect> {
        let Phase::Negotiated(negotiated) = &self.phase else {
            return Err(Disconnect::Violation("VALIDATE_NEGOTIATE_INFO before NEGOTIATE"));
        };
        if negotiated.dialect == Dialect::SMB_3_1_1 {
            // MS-SMB2 3.3.5.15.12: in 3.1.1 preauthentication integrity does this.
            return Err(Disconnect::Downgrade("VALIDATE_NEGOTIATE_INFO in 3.1.1"));
        }
        let claim = ValidateNegotiateInfoRequest::decode(&ioctl.input)?;
        let answer = negotiated
            .validate(&claim)
            .ok_or(Disconnect::Downgrade("the client asked for something else"))?;
        let mut output = Vec::new();
        answer.encode(&mut Writer::new(&mut output));
        if (ioctl.max_output_response as usize) < output.len() {
            return Err(Disconnect::Violation("no room for VALIDATE_NEGOTIATE_INFO"));
        }
        let IoctlRequest { ctl_code, file_id, .. } = *ioctl;
        Ok(Reply::ok(Body::Ioctl(IoctlResponse {
            ctl_code,
            file_id,
            output,
            ..IoctlResponse::default()
        })))
    }
}

/// MS-SMB2 3.3.5.20.1: what is asked for only since 3.1.1.
fn is_of_3_1_1(request: &Request) -> bool {
    matches!(request, Request::QueryInfo(request)
        if request.info_type == InfoType::FILE
            && request.info_class == FileInfoClass::NORMALIZED_NAME.0)
}
