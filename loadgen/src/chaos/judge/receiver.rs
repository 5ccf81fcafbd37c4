//! What one receiver got: copies, order, gaps, and when its subscription was effective.

use ahash::AHashMap;
use millrace_client::GapReason;
use millrace_proto::RouterId;

use super::seqs::SeqSet;
use super::spans::Spans;
use crate::chaos::note::{Got, Seen};

/// Events that may have come out of order, at most, to be looked at again at the end.
const OVERTAKEN_MAX: usize = 100_000;

/// An event that came behind a later one of its emitter, published in the same session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overtaken {
    pub(super) publisher: u16,
    pub(super) seq: u64,
    pub(super) at_us: u64,
}

/// One receiver's side.
#[derive(Debug, Default)]
pub(super) struct ReceiverSide {
    pub(super) spans: Spans,
    /// By publisher.
    got: Vec<SeqSet>,
    /// The highest seq since the last lost session, by emitter and its publisher's process and
    /// session.
    latest: AHashMap<(u32, u16, u16), u64>,
    pub(super) overtaken: Vec<Overtaken>,
    /// When gaps came.
    gaps: Vec<u64>,
    /// Routers that were told to have joined or to be lost, and when.
    joined: Vec<(RouterId, u64)>,
    pub(super) delivered: u64,
    pub(super) duplicates: u64,
    pub(super) removed: u64,
    pub(super) corrupted: u64,
    /// The first events that came twice, for people.
    pub(super) twice: Vec<(u32, u64)>,
}

impl ReceiverSide {
    pub(super) fn new(publishers: u16) -> Self {
        Self { got: (0..publishers).map(|_| SeqSet::default()).collect(), ..Self::default() }
    }

    /// Takes what it saw, but for events.
    pub(super) fn saw(&mut self, at_us: u64, seen: &Seen) {
        match seen {
            Seen::Attached { router } => self.spans.attached(at_us, *router),
            Seen::Effective { left_out, unanswered } => {
                self.spans.effective(at_us, left_out.clone(), *unanswered > 0);
            }
            Seen::Lapsed => self.spans.lapsed(at_us),
            Seen::Gap { reason, router } => self.gap(at_us, *reason, *router),
            Seen::Corrupted => self.corrupted += 1,
            Seen::Removed(removed) => self.removed = *removed,
            Seen::Events(_) => {}
        }
    }

    fn gap(&mut self, at_us: u64, reason: GapReason, router: Option<RouterId>) {
        self.gaps.push(at_us);
        match (reason, router) {
            (GapReason::Joined | GapReason::RouterLost, Some(router)) => self.joined.push((router, at_us)),
            (GapReason::SessionLost, _) => self.latest.clear(),
            _ => {}
        }
    }

    /// Takes an event of a publisher. Says whether it is the first copy.
    pub(super) fn got(&mut self, at_us: u64, publisher: u16, got: Got) -> bool {
        let Got { emitter, seq, label, published_us, .. } = got;
        self.spans.came((publisher, label.life, label.session), published_us);
        self.delivered += 1;
        let Some(seqs) = self.got.get_mut(usize::from(publisher)) else { return true };
        if !seqs.insert(seq) {
            self.duplicates += 1;
            if self.twice.len() < 4 {
                self.twice.push((emitter, seq));
            }
            return false;
        }
        let latest = self.latest.entry((emitter, label.life, label.session)).or_insert(seq);
        if seq < *latest && self.overtaken.len() < OVERTAKEN_MAX {
            self.overtaken.push(Overtaken { publisher, seq, at_us });
        }
        *latest = seq.max(*latest);
        true
    }

    /// Whether it has got an event.
    pub(super) fn has(&self, publisher: u16, seq: u64) -> bool {
        self.got.get(usize::from(publisher)).is_some_and(|seqs| seqs.contains(seq))
    }

    /// How many gaps it was told.
    pub(super) fn gaps(&self) -> u64 {
        self.gaps.len() as u64
    }

    /// Whether it was told of a gap at a time between.
    pub(super) fn has_gap(&self, from_us: u64, until_us: u64) -> bool {
        let at = self.gaps.partition_point(|&at_us| at_us < from_us);
        self.gaps.get(at).is_some_and(|&at_us| at_us <= until_us)
    }

    /// Whether a router was told to have joined, or to be lost, at a time between.
    pub(super) fn has_joined(&self, router: RouterId, from_us: u64, until_us: u64) -> bool {
        self.joined.iter().any(|&(joined, at_us)| joined == router && (from_us..=until_us).contains(&at_us))
    }
}
