//! What publishers with a confirm level did and were told, event by event.

use std::collections::BTreeMap;

use millrace_proto::RouterId;
use millrace_proto::control::{OutcomeKind, OutcomeReason};

/// What a publisher wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The queues of all receivers that match have the event.
    Routed,
    /// The applications of all receivers that match have acknowledged it.
    Delivered,
}

/// What a publisher was told of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How it ended.
    pub kind: OutcomeKind,
    /// Receivers that have it.
    pub receivers: u64,
    /// Receivers that do not.
    pub missed: u64,
    /// Why they do not.
    pub reasons: Vec<OutcomeReason>,
}

impl Told {
    /// Whether it says that every receiver that matches has the event, even if those are fewer than
    /// the publisher asked for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.kind == OutcomeKind::Confirmed || self.reasons == [OutcomeReason::FewReceivers]
    }
}

/// An event is written to a router, for the first time or again. Times are in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// When.
    pub at: u64,
    /// To which router.
    pub router: RouterId,
}

/// A publisher learns how an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: u64,
    /// Which router says so.
    pub router: RouterId,
    /// What it says.
    pub told: Told,
}

/// Why an event has no outcome, though nothing waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its publisher's process ended and had it in memory.
    ProcessEnded,
    /// Its publisher's host lost power before it was on disk.
    PowerLost,
}

/// One event of a publisher with a confirm level.
#[derive(Debug, Clone)]
pub struct Publication {
    /// What its publisher wants to be told of.
    pub level: Level,
    /// Receivers that it is to be confirmed at.
    pub min_receivers: u64,
    /// Where it went, in order of time.
    pub sent: Vec<Sent>,
    /// How it ended: once, unless the note of the first end was lost.
    pub ends: Vec<End>,
    /// Why it has no end, if that is known.
    pub cause: Option<Cause>,
    /// Its publisher lost the note that it has ended, with its host's power.
    pub may_end_again: bool,
}

impl Publication {
    /// The last time that it was written before it ended so.
    pub(super) fn sent_before(&self, end: &End) -> Option<Sent> {
        self.sent.iter().rev().find(|sent| sent.at <= end.at && sent.router == end.router).copied()
    }

    /// From when on it was on its way, and until when: `fallback` where it has not ended.
    pub(super) fn span(&self, fallback: u64) -> (u64, u64) {
        let from = self.sent.first().map_or(fallback, |sent| sent.at);
        (from, self.ends.last().map_or(fallback, |end| end.at))
    }
}

/// All events of publishers with a confirm level, by emitter and number.
#[derive(Debug, Clone, Default)]
pub struct Publications {
    events: BTreeMap<(u32, u64), Publication>,
}

impl Publications {
    /// An event is published.
    pub fn publish(&mut self, emitter: u32, n: u64, level: Level, min_receivers: u64) {
        let publication = Publication {
            level,
            min_receivers,
            sent: Vec::new(),
            ends: Vec::new(),
            cause: None,
            may_end_again: false,
        };
        self.events.insert((emitter, n), publication);
    }

    /// Something about an event; ignored for events without a level.
    pub(super) fn with(&mut self, emitter: u32, n: u64, change: impl FnOnce(&mut Publication)) {
        if let Some(publication) = self.events.get_mut(&(emitter, n)) {
            change(publication);
        }
    }

    /// The events of an emitter, in order.
    pub fn of(&self, emitter: u32) -> impl Iterator<Item = (u64, &Publication)> {
        self.events.range((emitter, 0)..=(emitter, u64::MAX)).map(|(&(_, n), publication)| (n, publication))
    }

    /// All events.
    pub fn iter(&self) -> impl Iterator<Item = ((u32, u64), &Publication)> {
        self.events.iter().map(|(&event, publication)| (event, publication))
    }

    /// Whether an event has a confirm level.
    #[must_use]
    pub fn has(&self, emitter: u32, n: u64) -> bool {
        self.events.contains_key(&(emitter, n))
    }
}
