//! Seals resumption tickets that no router remembers: any router of a cluster opens what another
//! has sealed.
//!
//! A ticket is sealed with AES-256-GCM under a key of the half day in which it is made. The keys
//! come from the cluster's secrets, so that routers neither keep nor exchange any. The first secret
//! seals and any opens, so that a secret can be changed router by router. A ticket can be used in
//! its own period and in the next one; a router whose clock is a period ahead or behind still opens
//! it.
//!
//! ```text
//! period u32 (big-endian) | nonce, 12 bytes | sealed: end u64 (big-endian), issuer, 32 bytes, session | tag, 16 bytes
//! ```
//!
//! Resumed connections still agree on a fresh key (psk_dhe_ke), and there is no early data, so that
//! a secret that leaks later opens no recorded traffic.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;

use super::proof::Proof;

/// Length of a period, seconds.
const PERIOD_S: u32 = 12 * 60 * 60;
const PERIOD_BYTES: usize = 4;
const END_BYTES: usize = 8;
const ISSUER_BYTES: usize = 32;

/// Keys from which the keys of tickets derive: the first one seals, all open. At least one, at most
/// two.
pub(crate) type TicketKeys = Vec<[u8; 32]>;

/// Seals and opens tickets. See the module.
pub(super) struct Tickets {
    secrets: Vec<hkdf::Prk>,
    /// Seconds since 1970.
    clock: fn() -> u64,
}

impl Tickets {
    /// Most seconds that a ticket lives which was made at the end of a period.
    pub(super) const LIFETIME_S: u32 = PERIOD_S;

    pub(super) fn new(keys: &TicketKeys) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"millrace tickets 2");
        Self { secrets: keys.iter().map(|key| salt.extract(key)).collect(), clock: system_seconds }
    }

    fn period(&self) -> u32 {
        u32::try_from((self.clock)() / u64::from(PERIOD_S)).unwrap_or(u32::MAX)
    }

    /// Makes a ticket; `None` when the crypto library fails.
    pub(super) fn seal(&self, proof: &Proof, session: &[u8]) -> Option<Vec<u8>> {
        let period = self.period();
        let mut sealed = Vec::with_capacity(END_BYTES + ISSUER_BYTES + session.len() + 16);
        sealed.extend_from_slice(&proof.end.to_be_bytes());
        sealed.extend_from_slice(&proof.issuer);
        sealed.extend_from_slice(session);
        let key = key_of(self.secrets.first()?, period)?;
        let nonce = key.seal_in_place_append_tag(Aad::from(period.to_be_bytes()), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(PERIOD_BYTES + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&period.to_be_bytes());
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    /// The proof and the session of a ticket; `None` for one that no router of this cluster has
    /// made lately.
    pub(super) fn open(&self, ticket: &[u8]) -> Option<(Proof, Vec<u8>)> {
        let (period, rest) = ticket.split_first_chunk::<PERIOD_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let number = u32::from_be_bytes(*period);
        if number.abs_diff(self.period()) > 1 {
            return None;
        }
        let open = |secret: &hkdf::Prk| {
            let (key, mut plain) = (key_of(secret, number)?, sealed.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.open_in_place(nonce, Aad::from(*period), &mut plain).ok()?.len();
            plain.truncate(length);
            Some(plain)
        };
        let plain = self.secrets.iter().find_map(open)?;
        let (end, rest) = plain.split_first_chunk::<END_BYTES>()?;
        let (issuer, session) = rest.split_first_chunk::<ISSUER_BYTES>()?;
        Some((Proof { end: u64::from_be_bytes(*end), issuer: *issuer }, session.to_vec()))
    }
}

fn key_of(secret: &hkdf::Prk, period: u32) -> Option<RandomizedNonceKey> {
    let mut key = [0; 32];
    let info = [period.to_be_bytes()];
    secret.expand(&[&info[0][..]], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key)).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
}

/// The system's clock, seconds since 1970.
pub(super) fn system_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000 * PERIOD_S as u64 + 7;
    const PERIOD: u64 = PERIOD_S as u64;
    const PROOF: Proof = Proof { end: NOW + 60, issuer: [9; 32] };

    fn tickets(secrets: &[u8], clock: fn() -> u64) -> Tickets {
        Tickets { clock, ..Tickets::new(&secrets.iter().map(|secret| [*secret; 32]).collect()) }
    }

    #[test]
    fn any_router_of_the_cluster_opens_a_ticket_and_no_other_does() {
        let sealed = tickets(&[1], || NOW).seal(&PROOF, b"session").unwrap();
        assert_eq!(tickets(&[1], || NOW).open(&sealed).unwrap(), (PROOF, b"session".to_vec()));
        assert_eq!(tickets(&[2], || NOW).open(&sealed), None);
    }

    #[test]
    fn first_of_two_secrets_seals_and_both_open() {
        let (old, both, new) = (tickets(&[1], || NOW), tickets(&[2, 1], || NOW), tickets(&[2], || NOW));
        let sealed = both.seal(&PROOF, b"session").unwrap();
        assert!(new.open(&sealed).is_some() && both.open(&sealed).is_some() && old.open(&sealed).is_none());
        assert!(both.open(&old.seal(&PROOF, b"session").unwrap()).is_some());
    }

    #[test]
    fn a_ticket_lives_for_its_period_and_the_next() {
        let sealed = tickets(&[1], || NOW).seal(&PROOF, b"session").unwrap();
        assert!(tickets(&[1], || NOW + PERIOD).open(&sealed).is_some());
        assert!(tickets(&[1], || NOW - PERIOD).open(&sealed).is_some(), "a clock that is behind");
        assert_eq!(tickets(&[1], || NOW + 2 * PERIOD).open(&sealed), None);
    }

    #[test]
    fn a_ticket_that_was_changed_or_cut_is_none() {
        let cluster = tickets(&[1], || NOW);
        let sealed = cluster.seal(&PROOF, b"session").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(cluster.open(&changed), None, "byte {at}");
            assert_eq!(cluster.open(&sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn two_tickets_of_one_session_differ() {
        let cluster = tickets(&[1], || NOW);
        assert_ne!(cluster.seal(&PROOF, b"session"), cluster.seal(&PROOF, b"session"));
    }
}
