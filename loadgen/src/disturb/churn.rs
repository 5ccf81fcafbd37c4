//! Churn: distinct selectors are subscribed by schedule, and unsubscribed a second later.
//!
//! Selectors come ten to a subscription, as a receiver's do in the main workload. Slots (client,
//! receiver, number) are used in turn, so that one is not used again before an answer to its last
//! use would be old.

use millrace_measure::figures::whole;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use millrace_client::session::{ConnectionEvent, ConnectionSession};
use millrace_client::time::Time;
use millrace_proto::control::OpenReceiver;
use millrace_proto::{ReceiverNumber, SubscriptionNumber};
use millrace_quic::Io;

use super::crowd::{Behaviour, Clients};
use super::kind::Disturbance;
use super::outcome::Outcome;

/// Connections that churn.
pub(super) const CONNECTIONS: u32 = 8;
/// Receivers of each.
pub(super) const RECEIVERS: u32 = 32;
/// Subscriptions of each receiver: with ten selectors each, as many as a receiver may have.
const SUBSCRIPTIONS: u32 = 100;
const SELECTORS: u64 = 10;
/// A subscription is to be effective within this time, and is taken back then.
const LIFE: Duration = Duration::from_secs(1);
/// Between two looks at the schedule.
const TICK: Duration = Duration::from_millis(1);
/// Bytes that each receiver grants; nothing matches its selectors.
const GRANT_BYTES: u64 = 16 * 1024;

/// Those who churn.
pub(super) struct Churn {
    per_second: f64,
    welcomed: u64,
    /// When the subscription in each slot was asked for, until it is effective.
    asked: Vec<Option<Instant>>,
    next: usize,
    /// Subscriptions in order of their time: slot and when it was asked for.
    living: VecDeque<(Instant, usize)>,
    active: Option<Active>,
    looked_at: Instant,
    /// Makes selectors distinct.
    selectors: u64,
}

struct Active {
    at: Instant,
    ended: Option<Instant>,
    subscribed: u64,
    in_time: u64,
    refused: u64,
    effective_us: Histogram<u64>,
}

impl Churn {
    pub(super) fn new(selectors_per_second: u32) -> Self {
        let slots = (CONNECTIONS * RECEIVERS * SUBSCRIPTIONS) as usize;
        Self {
            per_second: f64::from(selectors_per_second) / SELECTORS as f64,
            welcomed: 0,
            asked: vec![None; slots],
            next: 0,
            living: VecDeque::new(),
            active: None,
            looked_at: Instant::now(),
            selectors: 0,
        }
    }

    fn subscribe(&mut self, clients: &mut Clients, now: Instant) {
        let slot = self.next;
        self.next = (self.next + 1) % self.asked.len();
        let (client, receiver, subscription) = place(slot);
        let first = self.selectors;
        self.selectors += SELECTORS;
        let selectors: Vec<String> =
            (first..self.selectors).map(|number| format!("fqdn=churn-{number}.example.net")).collect();
        let Some(session) = clients.session(client) else { return };
        session.subscribe(receiver, subscription, &selectors);
        self.asked[slot] = Some(now);
        self.living.push_back((now, slot));
    }
}

/// Slots change their client first, then the receiver, then the number.
fn place(slot: usize) -> (usize, ReceiverNumber, SubscriptionNumber) {
    let number = u32::try_from(slot).unwrap_or(0);
    let client = number % CONNECTIONS;
    let rest = number / CONNECTIONS;
    (client as usize, ReceiverNumber(rest % RECEIVERS), SubscriptionNumber(rest / RECEIVERS))
}

fn slot_of(client: usize, receiver: ReceiverNumber, subscription: SubscriptionNumber) -> usize {
    client + ((subscription.0 * RECEIVERS + receiver.0) * CONNECTIONS) as usize
}

impl Behaviour for Churn {
    fn receivers(&self) -> u32 {
        RECEIVERS
    }

    fn open(&mut self, _: usize, session: &mut ConnectionSession) {
        for receiver in (0..RECEIVERS).map(ReceiverNumber) {
            session.open_receiver(&OpenReceiver { receiver, grant: GRANT_BYTES, ..OpenReceiver::default() });
        }
    }

    fn answered(&mut self, client: usize, answer: &ConnectionEvent, now: Instant) {
        match answer {
            ConnectionEvent::Welcomed(_) => self.welcomed += 1,
            ConnectionEvent::Subscribed(subscribed) => {
                let slot = slot_of(client, subscribed.receiver, subscribed.subscription);
                let asked = self.asked.get_mut(slot).and_then(Option::take);
                if let (Some(asked), Some(active)) = (asked, &mut self.active) {
                    let took = now.saturating_duration_since(asked);
                    active.in_time += u64::from(took <= LIFE);
                    active
                        .effective_us
                        .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                }
            }
            ConnectionEvent::Refused(_) => {
                if let Some(active) = &mut self.active {
                    active.refused += 1;
                }
            }
            _ => {}
        }
    }

    fn ready(&self) -> u64 {
        self.welcomed
    }

    fn begin(&mut self, _: Disturbance, _: &mut Clients, io: &mut Io<'_>, _: Time) {
        let effective_us = Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound");
        let at = io.now();
        self.active = Some(Active { at, ended: None, subscribed: 0, in_time: 0, refused: 0, effective_us });
    }

    fn end(&mut self, now: Instant) {
        if let Some(active) = &mut self.active {
            active.ended.get_or_insert(now);
        }
    }

    fn turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Outcome> {
        if now.saturating_duration_since(self.looked_at) < TICK {
            return None;
        }
        self.looked_at = now;
        while let Some(&(asked, slot)) = self.living.front()
            && now.saturating_duration_since(asked) >= LIFE
        {
            self.living.pop_front();
            let (client, receiver, subscription) = place(slot);
            self.asked[slot] = None;
            if let Some(session) = clients.session(client) {
                session.unsubscribe(receiver, subscription);
            }
        }
        let active = self.active.as_mut()?;
        if active.ended.is_none() {
            let due = whole(now.saturating_duration_since(active.at).as_secs_f64() * self.per_second);
            let missing = due.saturating_sub(active.subscribed);
            active.subscribed = due;
            (0..missing).for_each(|_| self.subscribe(clients, now));
            return None;
        }
        if !self.living.is_empty() {
            return None;
        }
        let active = self.active.take()?;
        let seconds = active.ended?.saturating_duration_since(active.at).as_secs_f64().max(1e-9);
        let ms = |quantile| active.effective_us.value_at_quantile(quantile) as f64 / 1000.0;
        Some(Outcome::Churn {
            selectors: active.subscribed * SELECTORS,
            selectors_per_s: (active.subscribed * SELECTORS) as f64 / seconds,
            effective_within_1s_share: active.in_time as f64 / active.subscribed.max(1) as f64,
            effective_p50_ms: ms(0.5),
            effective_p99_ms: ms(0.99),
            refused: active.refused,
        })
    }

    fn deadline(&self) -> Option<Instant> {
        (self.active.is_some() || !self.living.is_empty()).then(|| self.looked_at + TICK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_its_own_place() {
        for slot in 0..(CONNECTIONS * RECEIVERS * SUBSCRIPTIONS) as usize {
            let (client, receiver, subscription) = place(slot);
            assert_eq!(slot_of(client, receiver, subscription), slot);
            assert!(
                client < CONNECTIONS as usize && receiver.0 < RECEIVERS && subscription.0 < SUBSCRIPTIONS
            );
        }
    }
}
