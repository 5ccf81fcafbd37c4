//! Keys that outlive a process: a restarted router can reset its predecessor's connections and accept its tokens.
//!
//! Derived with HKDF-SHA256 (RFC 5869) from a secret that all routers of a cluster share, and the address that one router
//! advertises. So all cores of a router, and the process that comes after it, agree; a neighbour's keys differ, and it
//! cannot reset connections that are not its own. The key of session tickets alone is the whole cluster's: a client that
//! lost its router resumes its session with another one.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hkdf;
use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};
use rustls::server::ProducesTickets;

use crate::sealing;
use crate::tickets::Tickets;

/// Reset, token and ticket keys of one router.
#[derive(Clone)]
pub struct Keys {
    reset: [u8; 32],
    token: [u8; 32],
    ticket: [u8; 32],
}

impl Keys {
    /// Keys of the router that advertises `address`, in the cluster of `secret`.
    pub fn derive(secret: &[u8; 32], address: &str) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"millrace quic keys 1").extract(secret);
        let key = |label: &str, address: &str| {
            let mut out = [0; 32];
            let info = [label.as_bytes(), &[0], address.as_bytes()];
            prk.expand(&info, hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut out))
                .expect("32 bytes are within what HKDF-SHA256 expands to");
            out
        };
        Self { reset: key("reset", address), token: key("token", address), ticket: key("ticket", "") }
    }

    /// Keys that nobody else can know, for a process without a cluster secret: its successor cannot use them.
    pub fn random() -> Self {
        Self::derive(&rand::random(), "")
    }

    /// Seals TLS session tickets which every router of the cluster opens, for half a day to a day.
    pub fn tickets(&self) -> Arc<dyn ProducesTickets> {
        Arc::new(Tickets::new(&self.ticket))
    }

    pub(crate) fn reset_key(&self) -> Arc<dyn HmacKey> {
        sealing::signing(&self.reset)
    }

    pub(crate) fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        sealing::tokens(&self.token)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_repeat_for_one_router_and_differ_between_neighbours() {
        let (a, again) = (Keys::derive(&[1; 32], "a:7400"), Keys::derive(&[1; 32], "a:7400"));
        let (b, other) = (Keys::derive(&[1; 32], "b:7400"), Keys::derive(&[2; 32], "a:7400"));
        assert_eq!((a.reset, a.token, a.ticket), (again.reset, again.token, again.ticket));
        for stranger in [b, other] {
            assert_ne!(a.reset, stranger.reset);
            assert_ne!(a.token, stranger.token);
        }
        assert_eq!(a.ticket, Keys::derive(&[1; 32], "b:7400").ticket, "one cluster, one key for tickets");
        assert_ne!(a.ticket, Keys::derive(&[2; 32], "a:7400").ticket);
        assert_ne!(a.reset, a.token);
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", Keys::derive(&[7; 32], "x")), "Keys { .. }");
    }
}
