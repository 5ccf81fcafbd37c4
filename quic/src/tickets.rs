//! TLS session tickets that no router remembers: any router of a cluster opens what another has sealed.
//!
//! A ticket is the session, sealed with AES-256-GCM under a key of the day half in which it was made; the key comes from
//! the cluster's secret, so there is nothing to keep and nothing to pass on. A ticket can be used in its own period and in
//! the next one; a router whose clock is a period ahead or behind still opens it.
//!
//! ```text
//! period u32 (big-endian) | nonce, 12 bytes | sealed session | tag, 16 bytes
//! ```
//!
//! Resumed connections still agree on a fresh key (psk_dhe_ke), and there is no early data: whoever learns the secret later
//! cannot read what was said before.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use rustls::server::ProducesTickets;

/// Length of a period, seconds.
const PERIOD_S: u64 = 12 * 60 * 60;
const PERIOD_BYTES: usize = 4;

/// Seals and opens tickets. See the module.
pub(crate) struct Tickets {
    secret: hkdf::Prk,
    /// Seconds since 1970.
    clock: fn() -> u64,
}

impl Tickets {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"millrace tickets 1").extract(secret);
        Self { secret, clock: system_seconds }
    }

    fn period(&self) -> u32 {
        u32::try_from((self.clock)() / PERIOD_S).unwrap_or(u32::MAX)
    }

    fn key(&self, period: u32) -> Option<RandomizedNonceKey> {
        let mut key = [0; 32];
        let info = [period.to_be_bytes()];
        let info = [&info[0][..]];
        self.secret.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key)).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
    }
}

fn system_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // What is made at the end of a period lives no longer than this.
        u32::try_from(PERIOD_S).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let period = self.period();
        let mut sealed = plain.to_vec();
        let key = self.key(period)?;
        let nonce = key.seal_in_place_append_tag(Aad::from(period.to_be_bytes()), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(PERIOD_BYTES + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&period.to_be_bytes());
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (period, rest) = ticket.split_first_chunk::<PERIOD_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let number = u32::from_be_bytes(*period);
        if number.abs_diff(self.period()) > 1 {
            return None;
        }
        let mut plain = sealed.to_vec();
        let key = self.key(number)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, Aad::from(*period), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000 * PERIOD_S + 7;

    fn tickets(secret: u8, clock: fn() -> u64) -> Tickets {
        Tickets { clock, ..Tickets::new(&[secret; 32]) }
    }

    #[test]
    fn any_router_of_the_cluster_opens_a_ticket_and_no_other_does() {
        let sealed = tickets(1, || NOW).encrypt(b"session").unwrap();
        assert_eq!(tickets(1, || NOW).decrypt(&sealed).unwrap(), b"session");
        assert_eq!(tickets(2, || NOW).decrypt(&sealed), None);
    }

    #[test]
    fn a_ticket_lives_for_its_period_and_the_next() {
        let sealed = tickets(1, || NOW).encrypt(b"session").unwrap();
        assert!(tickets(1, || NOW + PERIOD_S).decrypt(&sealed).is_some());
        assert!(tickets(1, || NOW - PERIOD_S).decrypt(&sealed).is_some(), "a clock that is behind");
        assert_eq!(tickets(1, || NOW + 2 * PERIOD_S).decrypt(&sealed), None);
    }

    #[test]
    fn a_ticket_that_was_changed_or_cut_is_none() {
        let cluster = tickets(1, || NOW);
        let sealed = cluster.encrypt(b"session").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(cluster.decrypt(&changed), None, "byte {at}");
            assert_eq!(cluster.decrypt(&sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn two_tickets_of_one_session_differ() {
        let cluster = tickets(1, || NOW);
        assert_ne!(cluster.encrypt(b"session"), cluster.encrypt(b"session"));
    }
}
