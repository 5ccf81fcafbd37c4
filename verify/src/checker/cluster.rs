//! The checker of simulator and multi-host tests: records a whole run, then judges it.
//!
//! The caller says what happened, as it happens: events published and received, subscriptions asked
//! for, effective, lapsed and ended, deliveries and gaps at each receiver, and, where it can see
//! them, copies between locations, fill levels and directories. [`ClusterChecker::report`] is
//! called once everything has settled. Memory grows with the run: meant for up to a few million
//! deliveries.

use std::collections::BTreeMap;

use millrace_proto::data::{Gap, GapReason};
use millrace_proto::{PublisherId, RouterId, Selector, TagSet, TagSetRef};
use serde::Serialize;

use super::bounds::{Bounds, Mark};
use super::convergence::{self, Directory, Selectors};
use super::copies::{Copies, Hop};
use super::history::History;
use super::interest::{Interest, LeftOut};
use super::judges::{Confirmed, Disturbances, Judges};
use super::outcomes::Allowed;
use super::pairs::{self, Party};
use super::past::Readers;
use super::publication::{Cause, End, Level, Publications, Sent};
use super::repeats::{Repeats, Vouched};
use super::session::Session;
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
    /// When, ns.
    pub at: u64,
    /// Whether it comes once; looked at for events with a confirm level.
    pub vouched: Vouched,
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
    /// What became of events with a confirm level.
    pub confirmed: Confirmed,
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
    publications: Publications,
    repeats: Repeats,
    readers: Readers,
    disturbances: Disturbances,
    /// The publisher of each emitter.
    writers: BTreeMap<u32, u32>,
}

#[derive(Debug, Clone, Default)]
struct Receiver {
    interest: Interest,
    stream: Stream,
    session: Session,
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
            publications: Publications::default(),
            repeats: Repeats::default(),
            readers: Readers::default(),
            disturbances: Disturbances::default(),
            writers: BTreeMap::new(),
        }
    }

    /// The same, with the publisher of each emitter.
    #[must_use]
    pub fn with_writers(self, writers: BTreeMap<u32, u32>) -> Self {
        Self { writers, ..self }
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

    /// A publisher leaves event `n`, which it has just published, out: its router has said that
    /// nobody wants it. It is owed like one that the router has, once that is
    /// [`received`](Self::received).
    pub fn left_out(&mut self, emitter: u32, n: u64, publisher: PublisherId) {
        self.history.left_out(emitter, n, publisher);
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

    /// A receiver learns that its subscription is effective in the cluster, with those that were
    /// left out.
    pub fn effective(&mut self, receiver: u32, subscription: u32, at: u64, left_out: LeftOut) {
        self.receivers.entry(receiver).or_default().interest.effective(subscription, at, left_out);
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
        let Delivery { receiver, tags, payload, matched, at, vouched } = delivery;
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
        let Receiver { stream, session, .. } = self.receivers.entry(receiver).or_default();
        stream.event(Taken { emitter, n, matched: matched.into(), at });
        if self.publications.has(emitter, n) && !session.reads_past {
            self.repeats.given(session.owner, (emitter, n), vouched, &mut self.findings);
        }
        Some(stamp)
    }

    /// When an event was published, and whether it was written again since.
    #[must_use]
    pub fn published_at(&self, emitter: u32, n: u64) -> Option<(u64, bool)> {
        self.history.event(emitter, n).map(|event| (event.published_at, event.is_resent))
    }

    /// A receiver's application takes a gap marker.
    pub fn gap(&mut self, receiver: u32, gap: &Gap, at: u64) {
        let stream = &mut self.receivers.entry(receiver).or_default().stream;
        stream.gap(gap.router);
        if let (GapReason::Joined | GapReason::RouterLost, Some(router)) = (gap.reason, gap.router) {
            stream.joined(router, at);
        }
    }

    /// A copy of an event goes to a location.
    pub fn copied(&mut self, hop: Hop) {
        // What is sent again crosses again.
        if self.history.event(hop.emitter, hop.n).is_some_and(|event| event.is_resent) {
            return;
        }
        self.copies.hop(hop, &mut self.findings);
    }

    /// A queue, map or buffer has this fill level.
    pub fn observed(&mut self, name: &'static str, value: u64, bound: u64) {
        self.bounds.observe(name, value, bound, &mut self.findings);
    }

    /// The live routers' directories, after everything has settled, and what the receivers attached
    /// to each router want. `may_be_coarse`: routers may tell that they want everything.
    pub fn converged(
        &mut self,
        directories: &BTreeMap<RouterId, Directory>,
        wanted: &BTreeMap<RouterId, Selectors>,
        may_be_coarse: bool,
    ) {
        convergence::check(directories, wanted, may_be_coarse, &mut self.findings);
    }

    /// An event that was just published is to be followed: its publisher has a confirm level.
    pub fn asked_confirm(&mut self, emitter: u32, n: u64, level: Level, min_receivers: u64) {
        self.publications.publish(emitter, n, level, min_receivers);
    }

    /// An event with a confirm level is written to a router, for the first time or again.
    pub fn sent(&mut self, emitter: u32, n: u64, sent: Sent) {
        let history = &mut self.history;
        self.publications.with(emitter, n, |publication| {
            if !publication.sent.is_empty() {
                history.resent(emitter, n);
            }
            publication.sent.push(sent);
        });
    }

    /// The publisher of an event with a confirm level learns how it ended.
    pub fn ended(&mut self, emitter: u32, n: u64, end: End) {
        self.publications.with(emitter, n, |publication| publication.ends.push(end));
    }

    /// An event that has no outcome will have none.
    pub fn gone(&mut self, emitter: u32, n: u64, cause: Cause) {
        self.publications.with(emitter, n, |publication| publication.cause = Some(cause));
    }

    /// A publisher has lost the note that an event has ended, and sends it once more.
    pub fn reopened(&mut self, emitter: u32, n: u64) {
        self.publications.with(emitter, n, |publication| publication.may_end_again = true);
    }

    /// A receiver's session begins.
    pub fn began(&mut self, receiver: u32, session: Session) {
        self.receivers.entry(receiver).or_default().session = session;
    }

    /// A receiver's application begins to be slow, or goes on as it should.
    pub fn stalled(&mut self, receiver: u32, is_slow: bool, at: u64) {
        let session = &mut self.receivers.entry(receiver).or_default().session;
        if is_slow {
            session.stall(at);
        } else {
            session.go_on(at);
        }
    }

    /// The path to a receiver has taken less than there was for it, from then on until now.
    pub fn crowded(&mut self, receiver: u32, from: u64, until: u64) {
        self.receivers.entry(receiver).or_default().session.crowd(from, until);
    }

    /// A receiver moves to another router, and is at both for a while.
    pub fn moving(&mut self, receiver: u32) {
        self.receivers.entry(receiver).or_default().session.has_moved = true;
    }

    /// A receiver's application has acknowledged an event.
    pub fn acknowledged(&mut self, receiver: u32, emitter: u32, n: u64, at: u64) {
        self.receivers.entry(receiver).or_default().session.acknowledge(emitter, n, at);
    }

    /// A receiver's library has removed an event that its application has had.
    pub fn removed(&mut self, receiver: u32, emitter: u32, n: u64) {
        let session = &self.receivers.entry(receiver).or_default().session;
        if !session.reads_past {
            self.repeats.removed(session.owner, emitter, n, &mut self.findings);
        }
    }

    /// The subscriptions that ask for the past, with what was published so far, and where findings
    /// go.
    pub const fn readers(&mut self) -> (&mut Readers, &History, &mut Findings) {
        (&mut self.readers, &self.history, &mut self.findings)
    }

    /// A fault disturbs the cluster in this time, to the end of the run where it has none.
    pub fn disturbed(&mut self, from: u64, until: Option<u64>) {
        self.disturbances.add(from, until);
    }

    /// What was published so far.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Judges what was recorded until `now`. Routers give confirms up after `timeout_ns`;
    /// `has_old_routers` says that some cannot confirm.
    #[must_use]
    pub fn report(&self, now: u64, timeout_ns: u64, has_old_routers: bool) -> Report {
        let mut findings = self.findings.clone();
        let mut verdict = Verdict::default();
        let allowed = Allowed { settle_ns: self.settle_ns, timeout_ns, has_old_routers };
        let mut told = Judges::new(allowed, now);
        for (&number, Receiver { interest, stream, session }) in &self.receivers {
            let mut elsewhere = Findings::default();
            let wrong = if session.reads_past { &mut elsewhere } else { &mut findings };
            let checked = stream.check(number, &self.history, wrong);
            let reached = completeness::reached(&checked, &self.history);
            let party = Party { number, session, interest, stream, checked: &checked, reached: &reached };
            pairs::visit(party, &self.history, &self.publications, |pair| told.pair(pair, &mut findings));
            if session.reads_past {
                continue;
            }
            let receiver = completeness::Receiver { number, interest, stream, checked: &checked };
            verdict += completeness::check(receiver, &self.history, self.settle_ns, &mut findings);
            verdict.duplicated += checked.duplicated;
            verdict.reordered += checked.reordered;
        }
        verdict += self.readers.check(&self.history, self.settle_ns, &mut findings);
        let receivers = self.receivers.values().filter(|receiver| !receiver.session.reads_past);
        let streams = receivers.map(|receiver| &receiver.stream);
        verdict.reordered += order::check(streams, &self.history, &mut findings);
        verdict.corrupted += self.corrupted;
        verdict.published = self.history.published();
        let confirmed =
            told.finish(&self.publications, &self.disturbances, &self.repeats, &self.writers, &mut findings);
        Report { verdict, findings, bounds: self.bounds.marks().clone(), confirmed }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
