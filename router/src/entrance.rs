//! Settings with which new connections begin, in both directions. A reload replaces them on every
//! core; open connections keep theirs.

use std::sync::Arc;

use millrace_proto::ALPN_PEER;
use millrace_quic::{ClientSettings, Keys, ServerSettings, TransportSettings, WideProtocol};

use crate::config::RouterConfig;
use crate::start_error::StartError;
use crate::tls::{client_config, resumption, server_config};

/// How connections are accepted and dialled.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    /// Settings of accepted connections.
    pub(crate) server: ServerSettings,
    /// Settings of lanes that are dialled.
    pub(crate) dialling: Arc<ClientSettings>,
    /// Whether clients without a certificate are refused.
    pub(crate) require_client_certificate: bool,
}

impl Entrance {
    /// From the settings and the identity in them.
    ///
    /// # Errors
    ///
    /// [`StartError::Identity`] or [`StartError::Quic`].
    pub(crate) fn of(config: &RouterConfig, keys: &Keys) -> Result<Self, StartError> {
        let tls = server_config(&config.identity)?;
        let mut server = ServerSettings::new(tls, TransportSettings::client_facing(), keys.clone());
        server.resumption = Some(resumption(&config.identity)?);
        server.admission = config.admission();
        server.newcomers = config.newcomers();
        server.wide = Some(WideProtocol { alpn: ALPN_PEER.to_vec(), transport: TransportSettings::lane() });
        let dialling = ClientSettings::new(client_config(&config.identity)?, TransportSettings::lane())?;
        let require_client_certificate = config.require_client_certificate;
        Ok(Self { server, dialling: Arc::new(dialling), require_client_certificate })
    }
}
