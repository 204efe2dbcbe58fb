//! The services, each behind a pipe of its own.

use crate::auth::Principal;

use super::dcerpc::{Fault, Syntax};
use super::lsarpc;
use super::srvsvc::{self, ServerInfo};

/// What answers the calls on a pipe.
#[derive(Debug)]
pub(super) enum Service {
    Srvsvc,
    Lsarpc(lsarpc::Policies),
}

impl Service {
    /// The one behind the pipe of this name, in lower case.
    pub(super) fn named(pipe: &str) -> Option<Self> {
        match pipe {
            "srvsvc" => Some(Self::Srvsvc),
            // Windows has it under both names.
            "lsarpc" | "lsass" => Some(Self::Lsarpc(lsarpc::Policies::default())),
            _ => None,
        }
    }

    /// Where it says that clients could bind too.
    pub(super) fn address(&self) -> &'static str {
        match self {
            Self::Srvsvc => r"\pipe\srvsvc",
            Self::Lsarpc(_) => r"\pipe\lsass",
        }
    }

    pub(super) fn interface(&self) -> Syntax {
        match self {
            Self::Srvsvc => srvsvc::INTERFACE,
            Self::Lsarpc(_) => lsarpc::INTERFACE,
        }
    }

    /// Whether a call may have to ask the system.
    pub(super) fn may_block(&self) -> bool {
        matches!(self, Self::Lsarpc(_))
    }

    pub(super) fn call(
        &mut self,
        server: &ServerInfo,
        caller: &Principal,
        operation: u16,
        stub: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Srvsvc => srvsvc::call(server, operation, stub),
            Self::Lsarpc(policies) => lsarpc::call(policies, server, caller, operation, stub),
        }
    }
}
