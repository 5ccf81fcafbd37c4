//! TLS for QUIC: the crypto provider, and checks on rustls configurations.
//!
//! The provider is always passed explicitly: other crates in a program may have enabled a second one, and the process
//! default is then ambiguous.

use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What QUIC uses: AES-128-GCM first (the fastest with hardware AES), X25519 first. Handshakes and certificates are aws-lc's,
/// packets are sealed by whoever is faster on this processor.
///
/// Hybrid post-quantum groups are left out: their hello takes two datagrams.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group;
    Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(),
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}

/// AES-GCM on 256-bit registers is ring's alone: on processors that have no wider ones, a packet costs it 0.5 to 0.65 of what it
/// costs aws-lc (docs/adr/0010). The same choice stands in `client/src/tls.rs`: change both.
fn cipher_suites() -> Vec<SupportedCipherSuite> {
    #[cfg(target_arch = "x86_64")]
    if !std::is_x86_feature_detected!("avx512bw") {
        use rustls::crypto::ring::cipher_suite::*;
        return vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    }
    use aws_lc_rs::cipher_suite::*;
    vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256]
}

/// Prepares a server's configuration for QUIC: protocols in order of preference, no early data, one ticket per connection.
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
