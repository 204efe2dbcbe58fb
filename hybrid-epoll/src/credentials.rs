//! A thread's identity for the length of one call.

use ringway_driver::Credentials;

pub(crate) fn with_credentials(credentials: Option<&Credentials>, f: impl FnOnce() -> i32) -> i32 {
    let _ = (credentials, f);
    todo!()
}
