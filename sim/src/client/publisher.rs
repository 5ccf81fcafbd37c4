//! A client that publishes: a program with several emitters on one publisher session.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use millrace_attach::ClientConnection;
use millrace_client::session::{PublisherConfig, PublisherSession};
use millrace_engine::time::Time;
use millrace_proto::control::Welcome;
use millrace_proto::{RouterId, TagSet};
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};
use rand::RngExt;

use super::surroundings::Surroundings;
use crate::network::Wire;
use crate::record::Record;

/// Wall-clock time at the start of a run, ns since 1970.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;
/// Smallest room that payloads leave for a word.
const WORD_BYTES: usize = 24;

/// What a publisher is to do.
#[derive(Debug, Clone)]
pub struct PublisherSetup {
    /// Its session.
    pub config: PublisherConfig,
    /// How long it says that it can wait for `Received`; `None` says nothing, and counts on what
    /// `config` says.
    pub received_within: Option<Duration>,
    /// Its emitters.
    pub emitters: Vec<(u32, TagSet)>,
    /// Events to publish.
    pub events: u64,
    /// Most events at a time.
    pub burst: u64,
}

/// A publishing client.
#[derive(Debug)]
pub struct Publisher {
    setup: PublisherSetup,
    session: PublisherSession,
    /// Emitter and number by seq.
    events: Vec<(u32, u64)>,
    /// First seq whose entry router was not noted.
    entered: u64,
    payload: Vec<u8>,
}

impl Publisher {
    /// A publisher without a stream.
    #[must_use]
    pub fn new(setup: PublisherSetup) -> Self {
        let mut config = setup.config.clone();
        if let Some(wait) = setup.received_within {
            config.received_within_ns = nanos(wait);
        }
        Self {
            session: PublisherSession::new(config),
            setup,
            events: Vec::new(),
            entered: 0,
            payload: Vec::new(),
        }
    }

    /// Whether everything was published and received, or is known to be unknown.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.published() >= self.setup.events && self.session.is_flushed()
    }

    /// Events published.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.session.next_seq()
    }

    /// Bytes queued, and their bound.
    #[must_use]
    pub fn queued(&self) -> (u64, u64) {
        // One event always fits an empty queue, so the bound is exceeded by one at most.
        let bound = self.setup.config.buffer_bytes + (1 << 16);
        (self.session.queued_bytes() as u64, bound as u64)
    }

    /// As its Hello says it; 0 says nothing.
    pub(super) fn received_within_us(&self) -> u64 {
        self.setup.received_within.map_or(0, nanos) / 1000
    }

    pub(super) fn expects_answer(&self, now: Time) -> bool {
        self.session.expects_answer(now)
    }

    /// Publishes some events of one emitter; whether there is more to publish.
    pub(super) fn publish(&mut self, clock_offset_ns: i64, around: &mut Surroundings<'_>) -> bool {
        let now = around.queue.now();
        let wall_ns = (EPOCH_NS + now.0).saturating_add_signed(clock_offset_ns);
        let (emitter, tags) =
            self.setup.emitters[around.rng.random_range(0..self.setup.emitters.len())].clone();
        for _ in 0..around.rng.random_range(1..=self.setup.burst) {
            if self.published() >= self.setup.events {
                break;
            }
            let large = around.rng.random_range(0..400) == 0;
            let extra = around.rng.random_range(0..if large { 20_000 } else { 100 });
            let bytes = PAYLOAD_BYTES_MIN + WORD_BYTES + extra;
            let queued = self.session.queued_bytes();
            if queued > 0 && queued + bytes > self.setup.config.buffer_bytes {
                break;
            }
            let n = around.record.checker.published(emitter, now.0, None);
            self.payload.resize(bytes, 0);
            let text = around.record.checker.history().words().text(emitter, n).as_bytes();
            let stamp = Stamp { emitter, n, scheduled_ns: now.0 };
            let outcome =
                stamp.encode(text, &mut self.payload).map_err(|error| error.to_string()).and_then(|()| {
                    self.session
                        .publish(now, &tags, wall_ns, &self.payload)
                        .map_err(|error| error.to_string())
                });
            if let Err(error) = outcome {
                around.record.findings.add("session", || format!("event {n} of emitter {emitter}: {error}"));
                return false;
            }
            self.events.push((emitter, n));
        }
        if around.rng.random_range(0..8) == 0 {
            self.session.flush();
            self.session.report();
        }
        self.published() < self.setup.events
    }

    pub(super) fn started(&mut self, welcome: &Welcome) {
        self.session.stream_started(welcome.tables);
    }

    pub(super) fn session(&mut self) -> &mut PublisherSession {
        &mut self.session
    }

    pub(super) fn received(&mut self, seqs: Range<u64>, router: RouterId, now: Time, record: &mut Record) {
        for seq in seqs {
            let (emitter, n) = self.events[usize::try_from(seq).unwrap_or(usize::MAX)];
            record.checker.received(emitter, n, router, now.0);
        }
    }

    /// Takes no more events for this connection, and asks for what was received.
    pub(super) fn hold(&mut self) {
        self.session.hold();
    }

    /// Whether events are on their way, so that leaving now would make them unknown.
    pub(super) fn is_waiting(&self, connection: &ClientConnection) -> bool {
        connection.is_publish_blocked() || !self.session.unreceived().is_empty()
    }

    pub(super) fn lost(&mut self) {
        self.session.stream_lost();
    }

    pub(super) fn write(
        &mut self,
        now: Time,
        router: RouterId,
        connection: &mut ClientConnection,
        wire: &mut Wire<'_>,
        record: &mut Record,
    ) {
        connection.publish(wire, now, &mut self.session);
        let taken = self.session.unreceived().end;
        for seq in self.entered..taken {
            let (emitter, n) = self.events[usize::try_from(seq).unwrap_or(usize::MAX)];
            record.entered(emitter, n, router);
        }
        self.entered = self.entered.max(taken);
    }

    /// When it has more to write, or begins to expect an answer.
    pub(super) fn poll_timeout(&self, now: Time, connection: &ClientConnection) -> Option<Time> {
        let output = self.session.poll_timeout().filter(|_| !connection.is_publish_blocked());
        let answer = self.session.answer_due().filter(|&due| due > now);
        output.into_iter().chain(answer).min()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unreceived = self.session.unreceived();
        write!(
            f,
            "published {} of {}, received {}, on the way {unreceived:?}, {} bytes queued",
            self.published(),
            self.setup.events,
            self.session.received(),
            self.session.queued_bytes()
        )
    }
}
