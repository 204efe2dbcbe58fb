//! Takes the place of `usmbd::server` until that has landed: it listens and chooses a backend, and serves nobody.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use usmbd::config::Config;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
}

pub(crate) struct Server {
    _listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    features: ringway::Features,
}

impl Server {
    pub(crate) fn start(config: Config) -> Result<Self, StartError> {
        let builder = ringway::Builder::new().backend(config.backend);
        let features = builder.build().map_err(StartError::Runtime)?.features().clone();
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in config.listen {
            let refused = |source| StartError::Listen { address, source };
            let listener = TcpListener::bind(address).map_err(refused)?;
            addresses.push(listener.local_addr().map_err(refused)?);
            listeners.push(listener);
        }
        Ok(Self { _listeners: listeners, addresses, features })
    }

    pub(crate) fn features(&self) -> &ringway::Features {
        &self.features
    }

    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn identities(&self) -> Vec<(String, String, String)> {
        Vec::new()
    }

    pub(crate) fn shutdown(self, _grace: Duration) {}
}
