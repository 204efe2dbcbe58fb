//! Everything that takes bytes from outside, as functions of bytes: what `./dev fuzz` runs on inputs that libFuzzer
//! makes up, and the ordinary tests on the inputs that are kept in `fuzz/corpora/`. No part of the server.
//!
//! A target panics if the code under it breaks a promise: never a panic of its own, what was read and written again
//! reads the same, limits are kept. Of inputs that are not even of its form it makes nothing.

mod auth;
mod connection;
pub(crate) mod info;
mod input;
pub(crate) mod message;
mod names;
mod rpc;
mod stored;
#[cfg(test)]
mod tests;
mod wire;

/// One piece of code under any input.
pub struct Target {
    /// What `./dev fuzz` calls it, and its corpus.
    pub name: &'static str,
    /// What an input is.
    pub input: &'static str,
    /// Takes one input.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("request", "a client's message from its SMB2 header on", wire::request),
    target("response", "a server's message from its SMB2 header on", wire::response),
    target("smb1-negotiate", "an SMB1 NEGOTIATE", wire::smb1_negotiate),
    target(
        "transform",
        "a message from its transform header on, after a cipher's id (1)",
        wire::transform,
    ),
    target(
        "create-contexts",
        "a chain of a CREATE, after its direction (1)",
        wire::create_contexts,
    ),
    target(
        "information",
        "a structure of MS-FSCC, after its use (1) and class (1)",
        wire::information,
    ),
    target("control", "what goes with an FSCTL, after which one (1)", wire::control),
    target("security", "a self-relative security descriptor", wire::security),
    target("spnego", "a security token", auth::spnego),
    target("ntlm", "an NTLM message", auth::ntlm),
    target("logon", "what is done to the tokens of a logon", auth::logon),
    target("pipe", "what is written to the pipe of the share list, and read", rpc::pipe),
    target("lsa-pipe", "what is written to the pipe of names for SIDs, and read", rpc::lsa_pipe),
    target("dos-attributes", "a value of user.DOSATTRIB", stored::dos_attributes),
    target("nt-acl", "a value of security.NTACL", stored::nt_acl),
    target("attribute-names", "the list of a file's extended attributes", stored::attribute_names),
    target("path", "a name in a share, as a client gives it", names::path),
    target("pattern", "a search pattern, a NUL and a name", names::pattern),
    target("config", "a name from the command line", names::config),
    target("connection", "operations on a connection: messages, answers, time", connection::run),
];

const fn target(name: &'static str, input: &'static str, run: fn(&[u8])) -> Target {
    Target { name, input, run }
}
