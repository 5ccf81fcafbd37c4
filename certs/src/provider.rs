//! The cryptography of every Millrace connection: one choice for routers, clients and load
//! generators.
//!
//! The provider is always passed explicitly, because other crates of a program may have enabled a
//! second one, and rustls then has no default.

use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What TLS and QUIC use: AES-128-GCM first (the fastest with hardware AES), X25519 first. aws-lc
/// does handshakes and certificates; whoever is faster on this processor seals packets.
///
/// Hybrid post-quantum groups are left out, because their hello takes two datagrams.
#[must_use]
pub fn crypto_provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group;
    Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(),
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}

/// AES-GCM on 256-bit registers is ring's alone: on processors that have no wider ones, a packet
/// costs ring 0.5 to 0.65 of what it costs aws-lc (docs/adr/0010).
fn cipher_suites() -> Vec<SupportedCipherSuite> {
    #[cfg(target_arch = "x86_64")]
    if !std::is_x86_feature_detected!("avx512bw") {
        use rustls::crypto::ring::cipher_suite::*;
        return vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    }
    use aws_lc_rs::cipher_suite::*;
    vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256]
}
