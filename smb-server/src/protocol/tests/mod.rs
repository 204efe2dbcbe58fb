//! The connection as a dialogue with a scripted client. Expected statuses, flags and counts are MS-SMB2's, by the
//! sections named; that the bytes of a handshake are right, the captures show elsewhere.

use super::script::{ask, client, pair};

mod compounds;
mod credits;
mod jobs;
mod negotiate;
mod notifications;
mod payload;
mod robustness;
mod sealing;
mod sessions;
mod signing;
mod strangers;
mod throttle;
mod time;
mod validate;
