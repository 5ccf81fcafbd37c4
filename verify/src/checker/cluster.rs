//! The checker of simulator and multi-host tests: records a whole run, then judges it.
//!
//! The caller says what happened, as it happens: events published and received, subscriptions asked
//! for, effective, lapsed and ended, deliveries and gaps at each receiver, and, where it can see
//! them, copies between locations, fill levels and directories. [`ClusterChecker::report`] is
//! called once everything has settled. Memory grows with the run: meant for up to a few million
//! deliveries.

use std::collections::BTreeMap;

use millrace_proto::data::Gap;
use millrace_proto::{RouterId, Selector, TagSet, TagSetRef};
use serde::Serialize;

use super::bounds::{Bounds, Mark};
use super::convergence::{self, Directory, Selectors};
use super::copies::{Copies, Hop};
use super::history::History;
use super::interest::Interest;
use super::stream::{Stream, Taken};
use super::{Findings, Verdict, completeness, order};
use crate::oracle::PatternError;
use crate::payload::Stamp;
use crate::workload::Words;

/// The name of this checker in findings.
const NAME: &str = "payload";

/// One event as a receiver's application took it.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The receiver.
    pub receiver: u32,
    /// The tag set that it came with.
    pub tags: TagSetRef<'a>,
    /// Its payload.
    pub payload: &'a [u8],
    /// The subscriptions that it came for; empty when the caller does not know.
    pub matched: &'a [u32],
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Counters.
    pub verdict: Verdict,
    /// What is wrong, in words.
    pub findings: Findings,
    /// Highest fill levels by name.
    pub bounds: BTreeMap<&'static str, Mark>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.findings.is_empty()
    }
}

/// Records a run and judges it. See the module. Times are ns of one clock.
#[derive(Debug, Clone)]
pub struct ClusterChecker {
    settle_ns: u64,
    history: History,
    receivers: BTreeMap<u32, Receiver>,
    copies: Copies,
    bounds: Bounds,
    findings: Findings,
    corrupted: u64,
}

#[derive(Debug, Clone, Default)]
struct Receiver {
    interest: Interest,
    stream: Stream,
}

impl ClusterChecker {
    /// A checker for emitters with these tag sets, whose payloads carry `words`. `settle_ns` is how
    /// long an event that its router has received may still be on its way: events closer to the
    /// end of a subscription are not owed.
    #[must_use]
    pub fn new(tag_sets: Vec<TagSet>, words: Words, settle_ns: u64) -> Self {
        Self {
            settle_ns,
            history: History::new(words, tag_sets),
            receivers: BTreeMap::new(),
            copies: Copies::default(),
            bounds: Bounds::default(),
            findings: Findings::default(),
            corrupted: 0,
        }
    }

    /// An emitter that exists publishes its next event, through `entry` as far as it knows. Returns
    /// the event's number, to be put into its payload.
    pub fn published(&mut self, emitter: u32, at: u64, entry: Option<RouterId>) -> u64 {
        self.history.publish(emitter, at, entry)
    }

    /// The publisher has learned that router `entry` has event `n`: from here on it is owed.
    pub fn received(&mut self, emitter: u32, n: u64, entry: RouterId, at: u64) {
        self.history.received(emitter, n, entry, at);
    }

    /// A receiver asks for a subscription.
    ///
    /// # Errors
    /// [`PatternError`] when a payload pattern does not compile; nothing changes.
    pub fn asked(
        &mut self,
        receiver: u32,
        subscription: u32,
        selectors: Vec<Selector>,
        at: u64,
    ) -> Result<(), PatternError> {
        let interest = &mut self.receivers.entry(receiver).or_default().interest;
        interest.ask(subscription, selectors, at, self.history.words())
    }

    /// A receiver learns that its subscription is effective in the cluster, with the routers that
    /// were left out; some may have been left out that nobody knows.
    pub fn effective(
        &mut self,
        receiver: u32,
        subscription: u32,
        at: u64,
        left_out: &[RouterId],
        unknown: bool,
    ) {
        self.receivers.entry(receiver).or_default().interest.effective(subscription, at, left_out, unknown);
    }

    /// A receiver's session is lost: nothing is owed to it until its subscriptions are effective
    /// again.
    pub fn lapsed(&mut self, receiver: u32, at: u64) {
        self.receivers.entry(receiver).or_default().interest.lapse(at);
    }

    /// A receiver asks to end a subscription.
    pub fn unsubscribe(&mut self, receiver: u32, subscription: u32, at: u64) {
        self.receivers.entry(receiver).or_default().interest.unsubscribe(subscription, at);
    }

    /// A receiver knows that nothing published from here on may come for a subscription.
    pub fn unsubscribed(&mut self, receiver: u32, subscription: u32, at: u64) {
        self.receivers.entry(receiver).or_default().interest.unsubscribed(subscription, at);
    }

    /// A receiver's application takes an event. Returns what its payload says, or `None` when it is
    /// damaged.
    pub fn delivered(&mut self, delivery: Delivery<'_>) -> Option<Stamp> {
        let Delivery { receiver, tags, payload, matched } = delivery;
        let stamp = match Stamp::decode(payload) {
            Ok(stamp) => stamp,
            Err(error) => {
                self.corrupted += 1;
                self.findings.add(NAME, || format!("receiver {receiver} got a damaged payload: {error}"));
                return None;
            }
        };
        let Stamp { emitter, n, .. } = stamp;
        if emitter < self.history.emitters() && self.history.tags(emitter).borrow() != tags {
            self.corrupted += 1;
            self.findings.add(NAME, || {
                format!(
                    "receiver {receiver} got event {n} of emitter {emitter} with tags {{{tags}}} of another"
                )
            });
            return Some(stamp);
        }
        let stream = &mut self.receivers.entry(receiver).or_default().stream;
        stream.event(Taken { emitter, n, matched: matched.into() });
        Some(stamp)
    }

    /// A receiver's application takes a gap marker.
    pub fn gap(&mut self, receiver: u32, gap: &Gap) {
        self.receivers.entry(receiver).or_default().stream.gap(gap.router);
    }

    /// A copy of an event goes to a location.
    pub fn copied(&mut self, hop: Hop) {
        self.copies.hop(hop, &mut self.findings);
    }

    /// A queue, map or buffer has this fill level.
    pub fn observed(&mut self, name: &'static str, value: u64, bound: u64) {
        self.bounds.observe(name, value, bound, &mut self.findings);
    }

    /// The live routers' directories, after everything has settled, and what the receivers attached
    /// to each router want.
    pub fn converged(
        &mut self,
        directories: &BTreeMap<RouterId, Directory>,
        wanted: &BTreeMap<RouterId, Selectors>,
    ) {
        convergence::check(directories, wanted, &mut self.findings);
    }

    /// What was published so far.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Judges what was recorded.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut findings = self.findings.clone();
        let mut verdict = Verdict::default();
        for (&number, Receiver { interest, stream }) in &self.receivers {
            let checked = stream.check(number, &self.history, &mut findings);
            let receiver = completeness::Receiver { number, interest, stream, checked: &checked };
            verdict += completeness::check(receiver, &self.history, self.settle_ns, &mut findings);
            verdict.duplicated += checked.duplicated;
            verdict.reordered += checked.reordered;
        }
        let streams = self.receivers.values().map(|receiver| &receiver.stream);
        verdict.reordered += order::check(streams, &self.history, &mut findings);
        verdict.corrupted += self.corrupted;
        verdict.published = self.history.published();
        Report { verdict, findings, bounds: self.bounds.marks().clone() }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
