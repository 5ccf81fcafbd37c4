//! Packet keys of one key phase, derived when the first packet needs them.
//!
//! Most connections never update their keys, and a pair of keys takes 1.3 KB.
//! RFC 9001, section 6.3, lets an endpoint derive keys while it handles a packet. Who measures that
//! time learns that the key phase changed, which is all that there is to learn.

use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use quinn_proto::crypto::{CryptoError, KeyPair, PacketKey};
use rustls::quic::{PacketKeySet, Secrets};

/// Length of the tag of every AEAD that QUIC has (RFC 9001, section 5.3).
const TAG_LEN: usize = 16;

/// The secrets of one key phase, and its keys once they were used.
pub(super) struct Generation {
    secrets: Secrets,
    keys: OnceLock<PacketKeySet>,
}

/// Seals what is sent.
struct Local(Arc<Generation>);

/// Opens what is received.
struct Remote(Arc<Generation>);

impl Generation {
    pub(super) fn new(secrets: Secrets) -> Arc<Self> {
        Arc::new(Self { secrets, keys: OnceLock::new() })
    }

    /// The generation behind this one.
    pub(super) fn successor(&self) -> Arc<Self> {
        let mut secrets = self.secrets.clone();
        // rustls has no other way to move on; the keys are this generation's.
        drop(secrets.next_packet_keys());
        Self::new(secrets)
    }

    pub(super) fn pair(self: &Arc<Self>) -> KeyPair<Box<dyn PacketKey>> {
        KeyPair { local: Box::new(Local(self.clone())), remote: Box::new(Remote(self.clone())) }
    }

    fn keys(&self) -> &PacketKeySet {
        self.keys.get_or_init(|| self.secrets.clone().next_packet_keys())
    }
}

impl PacketKey for Local {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        PacketKey::encrypt(&self.0.keys().local, packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        PacketKey::decrypt(&self.0.keys().local, packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.keys().local.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.keys().local.integrity_limit()
    }
}

impl PacketKey for Remote {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        PacketKey::encrypt(&self.0.keys().remote, packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        PacketKey::decrypt(&self.0.keys().remote, packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.keys().remote.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.keys().remote.integrity_limit()
    }
}
