//! Begins the sessions of accepted connections where nothing is resumed.

use std::sync::Arc;

use quinn_proto::ConnectionId;
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::{Keys, ServerConfig, Session, UnsupportedVersion};
use quinn_proto::transport_parameters::TransportParameters;

use super::server::begin;

/// One configuration that all connections share.
pub(crate) struct Unresumed {
    tls: Arc<rustls::ServerConfig>,
    quic: Arc<QuicServerConfig>,
}

impl Unresumed {
    /// `quic` is made of `tls`.
    pub(crate) fn new(tls: Arc<rustls::ServerConfig>, quic: Arc<QuicServerConfig>) -> Self {
        Self { tls, quic }
    }
}

impl ServerConfig for Unresumed {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.quic.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.quic.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        begin(self.tls.clone(), &self.quic, version, params)
    }
}
