//! Selectors that are there and match nothing: they are subscribed once and stay.

use std::time::Instant;

use millrace_client::session::{ConnectionEvent, ConnectionSession};
use millrace_client::time::Time;
use millrace_proto::control::OpenReceiver;
use millrace_proto::{ReceiverNumber, SubscriptionNumber};
use millrace_quic::Io;

use super::crowd::{Behaviour, Clients};
use super::kind::Disturbance;
use super::outcome::Outcome;

/// Connections that hold selectors.
pub(super) const CONNECTIONS: u32 = 8;
/// Receivers of each.
pub(super) const RECEIVERS: u32 = 32;
/// Selectors of a receiver, at most, ten to a subscription.
const SELECTORS_MAX: u32 = 1_000;
const SELECTORS: u32 = 10;
/// Bytes that each receiver grants; nothing matches its selectors.
const GRANT_BYTES: u64 = 16 * 1024;
/// As many selectors as can be held.
pub(crate) const HELD_MAX: u32 = CONNECTIONS * RECEIVERS * SELECTORS_MAX;

/// Those who hold them.
pub(super) struct Held {
    /// Subscriptions in all, and those that are effective.
    wanted: u32,
    effective: u32,
}

impl Held {
    pub(super) fn new(selectors: u32) -> Self {
        Self { wanted: selectors.min(HELD_MAX).div_ceil(SELECTORS), effective: 0 }
    }
}

impl Behaviour for Held {
    fn receivers(&self) -> u32 {
        RECEIVERS
    }

    fn open(&mut self, client: usize, session: &mut ConnectionSession) {
        for receiver in (0..RECEIVERS).map(ReceiverNumber) {
            session.open_receiver(&OpenReceiver { receiver, grant: GRANT_BYTES, ..OpenReceiver::default() });
        }
        let client = u32::try_from(client).unwrap_or(0);
        for number in (client..self.wanted).step_by(CONNECTIONS as usize) {
            let place = number / CONNECTIONS;
            let (receiver, subscription) = (place % RECEIVERS, place / RECEIVERS);
            let first = number * SELECTORS;
            let texts: Vec<String> =
                (first..first + SELECTORS).map(|held| format!("fqdn=held-{held}.example.net")).collect();
            session.subscribe(ReceiverNumber(receiver), SubscriptionNumber(subscription), &texts);
        }
    }

    fn answered(&mut self, _: usize, answer: &ConnectionEvent, _: Instant) {
        self.effective += u32::from(matches!(answer, ConnectionEvent::Subscribed(_)));
    }

    fn ready(&self) -> u64 {
        if self.effective < self.wanted { 0 } else { u64::from(CONNECTIONS) }
    }

    fn begin(&mut self, _: Disturbance, _: &mut Clients, _: &mut Io<'_>, _: Time) {}

    fn end(&mut self, _: Instant) {}

    fn turn(&mut self, _: &mut Clients, _: Instant) -> Option<Outcome> {
        None
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
