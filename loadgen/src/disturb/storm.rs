//! A storm: all clients lose their connections at once and reconnect. It is over when every
//! subscription is effective in the cluster again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_client::session::{ConnectionEvent, ConnectionSession};
use millrace_client::time::Time;
use millrace_proto::control::OpenReceiver;
use millrace_proto::{ReceiverNumber, SubscriptionNumber};
use millrace_quic::Io;

use super::crowd::{Behaviour, Clients};
use super::kind::Disturbance;
use super::outcome::Outcome;
use super::tickets::Tickets;

/// How long a storm is watched, at most.
const WATCHED_MAX: Duration = Duration::from_secs(60);
/// Bytes that each client's one receiver grants; nothing matches its selector.
const GRANT_BYTES: u64 = 16 * 1024;

/// Clients with one receiver and one subscription each, for hosts that are not there.
pub(super) struct Storm {
    tickets: Arc<Tickets>,
    effective: Vec<bool>,
    effective_count: u64,
    begun: Option<Begun>,
}

struct Begun {
    at: Instant,
    dials: u64,
    tickets: u64,
    settled: Option<Duration>,
    is_ended: bool,
}

impl Storm {
    pub(super) fn new(clients: u32, tickets: Arc<Tickets>) -> Self {
        Self { tickets, effective: vec![false; clients as usize], effective_count: 0, begun: None }
    }
}

impl Behaviour for Storm {
    fn receivers(&self) -> u32 {
        1
    }

    fn open(&mut self, client: usize, session: &mut ConnectionSession) {
        let receiver = ReceiverNumber(0);
        let linger_us = 1_000_000;
        session.open_receiver(&OpenReceiver {
            receiver,
            linger_us,
            grant: GRANT_BYTES,
            ..OpenReceiver::default()
        });
        session.subscribe(receiver, SubscriptionNumber(0), &[format!("fqdn=storm-{client}.example.net")]);
    }

    fn answered(&mut self, client: usize, answer: &ConnectionEvent, now: Instant) {
        if !matches!(answer, ConnectionEvent::Subscribed(_)) {
            return;
        }
        self.effective_count += u64::from(!std::mem::replace(&mut self.effective[client], true));
        if self.effective_count == self.effective.len() as u64
            && let Some(begun) = &mut self.begun
        {
            begun.settled.get_or_insert(now.saturating_duration_since(begun.at));
        }
    }

    fn ready(&self) -> u64 {
        self.effective_count
    }

    fn begin(&mut self, disturbance: Disturbance, clients: &mut Clients, io: &mut Io<'_>, now: Time) {
        self.tickets.open(disturbance == Disturbance::StormResumed);
        self.effective.fill(false);
        self.effective_count = 0;
        let (dials, tickets) = (clients.dials, self.tickets.given());
        self.begun = Some(Begun { at: io.now(), dials, tickets, settled: None, is_ended: false });
        clients.reconnect(io, now);
    }

    fn end(&mut self, _: Instant) {
        if let Some(begun) = &mut self.begun {
            begun.is_ended = true;
        }
    }

    fn turn(&mut self, clients: &mut Clients, now: Instant) -> Option<Outcome> {
        let over = |begun: &mut Begun| {
            let watched = now.saturating_duration_since(begun.at);
            begun.is_ended && (begun.settled.is_some() || watched > WATCHED_MAX)
        };
        let begun = self.begun.take_if(over)?;
        Some(Outcome::Storm {
            clients: self.effective.len() as u64,
            settled_s: begun.settled.map(|settled| settled.as_secs_f64()),
            dials: clients.dials - begun.dials,
            tickets_used: self.tickets.given() - begun.tickets,
        })
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
