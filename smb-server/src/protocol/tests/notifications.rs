//! What a server says unasked: MS-SMB2 3.3.4.6, 3.3.4.1.1 and 3.3.4.1.4.

use super::pair::{Pair, config};
use crate::protocol::Config;
use crate::wire::create::OplockLevel;
use crate::wire::dialect::Dialect;
use crate::wire::file_id::FileId;
use crate::wire::header::{Command, Header, HeaderFlags};
use crate::wire::oplock_break::{BreakNotification, OplockBreak};

fn lowered() -> BreakNotification {
    let file_id = FileId { persistent: 7, volatile: 9 };
    BreakNotification::Oplock(OplockBreak { oplock_level: OplockLevel::II, file_id })
}

#[test]
fn a_break_has_no_ids_no_credits_and_no_signature() {
    for (require_signing, require_encryption) in [(false, false), (true, false), (false, true)] {
        let config = Config { require_signing, require_encryption, ..config() };
        let mut pair = Pair::logged_on(config, Dialect::SMB_3_1_1);
        pair.server.handle_notification(pair.client.session_id, lowered());
        let answer = pair.answer();
        assert_eq!(answer.sealed, require_encryption);
        let response = answer.one();
        let header = &response.header;
        assert_eq!(header.command, Command::OPLOCK_BREAK);
        assert_eq!(header.message_id, Header::UNSOLICITED);
        assert_eq!(header.flags, HeaderFlags::SERVER_TO_REDIR);
        assert_eq!((header.session_id, header.credits), (0, 0));
        assert_eq!(header.tree_id(), Some(0));
        assert_eq!(BreakNotification::decode(&response.message).ok(), Some(lowered()));
    }
}

#[test]
fn nobody_is_told_once_the_session_has_ended() {
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    pair.server.handle_notification(pair.client.session_id.wrapping_add(1), lowered());
    pair.assert_silent();
}
