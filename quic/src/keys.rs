//! Keys that outlive a process: a restarted router can reset its predecessor's connections and
//! accept its tokens.
//!
//! They are derived with HKDF-SHA256 (RFC 5869) from a secret that all routers of a cluster share,
//! and from the address that one router advertises. All cores of a router therefore agree, and so
//! does the process that comes after it. A neighbour's keys differ, so that it cannot reset
//! connections that are not its own. The key of resumption tickets alone is the whole cluster's,
//! because a client that lost its router resumes its session with another one.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hkdf;
use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};

use crate::resumption::TicketKeys;
use crate::sealing;

/// Reset, token and ticket keys of one router.
#[derive(Clone)]
pub struct Keys {
    reset: [u8; 32],
    token: [u8; 32],
    /// The first one makes tickets; all are accepted.
    tickets: TicketKeys,
}

impl Keys {
    /// Keys of one router in the cluster of `secret`. `address` tells routers apart and stays the
    /// same over a restart: it is what the router advertises, with its host and its bound address
    /// where two routers may advertise the same.
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
        Self { reset: key("reset", address), token: key("token", address), tickets: vec![key("ticket", "")] }
    }

    /// Keys that nobody else can know, for a process without a cluster secret. Its successor cannot
    /// use them.
    pub fn random() -> Self {
        Self::derive(&rand::random(), "")
    }

    /// These keys, which accept resumption tickets made under the cluster's previous secret, too.
    #[must_use]
    pub fn accepting(mut self, previous: &[u8; 32]) -> Self {
        self.tickets.truncate(1);
        self.tickets.extend(Self::derive(previous, "").tickets);
        self
    }

    pub(crate) fn tickets(&self) -> &TicketKeys {
        &self.tickets
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
        assert_eq!((a.reset, a.token, &a.tickets), (again.reset, again.token, &again.tickets));
        for stranger in [b, other] {
            assert_ne!(a.reset, stranger.reset);
            assert_ne!(a.token, stranger.token);
        }
        assert_eq!(a.tickets, Keys::derive(&[1; 32], "b:7400").tickets, "one cluster, one key for tickets");
        assert_ne!(a.tickets, Keys::derive(&[2; 32], "a:7400").tickets);
        assert_ne!(a.reset, a.token);
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", Keys::derive(&[7; 32], "x")), "Keys { .. }");
    }
}
