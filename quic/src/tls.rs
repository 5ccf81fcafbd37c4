//! TLS for QUIC: checks on rustls configurations. The crypto provider is [`millrace_certs`]'s.

use std::sync::Arc;

pub use millrace_certs::crypto_provider;

/// Prepares a server's configuration for QUIC: protocols in order of preference, no early data, one
/// ticket per connection.
pub fn server(mut config: rustls::ServerConfig, alpn: &[&[u8]]) -> Arc<rustls::ServerConfig> {
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.max_early_data_size = 0;
    config.send_tls13_tickets = config.send_tls13_tickets.min(1);
    Arc::new(config)
}

/// Prepares a client's configuration for QUIC: protocols in order of preference, no early data.
pub fn client(mut config: rustls::ClientConfig, alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.enable_early_data = false;
    Arc::new(config)
}
