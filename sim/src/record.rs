//! What a run has shown so far: what the checkers know, and counters.

use std::collections::BTreeMap;

use millrace_engine::time::Time;
use millrace_proto::data::{Gap, GapReason};
use millrace_proto::{PublisherId, RouterId, Selector};
use millrace_verify::checker::copies::Hop;
use millrace_verify::checker::past::Given;
use millrace_verify::checker::publication::Sent;
use millrace_verify::checker::quench::Quenches;
use millrace_verify::checker::session::Session;
use millrace_verify::checker::standby::{Source, Standby};
use millrace_verify::checker::{ClusterChecker, Delivery, Findings};
use millrace_verify::payload::Stamp;

use crate::network::Crossing;
use crate::rules::{RuleChecker, Ruled};
use crate::source::set_of;

/// What is recorded of one run.
#[derive(Debug)]
pub struct Record {
    /// The checkers that all users of `verify` share.
    pub checker: ClusterChecker,
    /// What checkers of the simulator alone have found.
    pub findings: Findings,
    /// The router that each event was written to.
    entries: BTreeMap<(u32, u64), RouterId>,
    next_receiver: u32,
    /// How long an event may be on its way, ns.
    settle_ns: u64,
    /// What tag rules have added, where routers have any.
    pub rules: Option<RuleChecker>,
    /// Which tag sets publishers were told that nobody wants.
    pub quenches: Quenches,
    /// Standby sets.
    pub standby: Standby,
    /// Events of standby sets that receivers' libraries have dropped, because they came too late.
    pub fenced: u64,
    /// Events that applications took.
    pub deliveries: u64,
    /// Events that applications took from history.
    pub replayed: u64,
    /// Events that publishers left out, because nobody wants them.
    pub skips: u64,
    /// Gaps that applications took, by reason.
    pub gaps: BTreeMap<&'static str, u64>,
}

impl Record {
    /// Nothing happened yet.
    #[must_use]
    pub fn new(checker: ClusterChecker, settle_ns: u64) -> Self {
        Self {
            checker,
            findings: Findings::default(),
            entries: BTreeMap::new(),
            next_receiver: 0,
            settle_ns,
            rules: None,
            quenches: Quenches::default(),
            standby: Standby::default(),
            fenced: 0,
            deliveries: 0,
            replayed: 0,
            skips: 0,
            gaps: BTreeMap::new(),
        }
    }

    /// Whether routers have tag rules, so that what they add is looked at.
    #[must_use]
    pub fn with_rules(mut self, has_rules: bool) -> Self {
        self.rules = has_rules.then(RuleChecker::default);
        self
    }

    /// The sources of standby sets.
    #[must_use]
    pub fn with_sets(mut self, sources: Vec<Source>) -> Self {
        self.standby = Standby::new(sources);
        self
    }

    /// A number for a receiver's session. Each session is judged by itself, but for what is not to
    /// come twice.
    pub fn new_receiver(&mut self, session: Session) -> u32 {
        let number = self.next_receiver;
        self.next_receiver += 1;
        self.checker.began(number, session);
        number
    }

    /// Sessions of receivers so far.
    #[must_use]
    pub const fn receivers(&self) -> u32 {
        self.next_receiver
    }

    /// A receiver asks for a subscription. It may also get what entered elsewhere earlier and is
    /// still on its way.
    pub fn asked(&mut self, receiver: u32, subscription: u32, selectors: Vec<Selector>, now: Time) {
        let at = now.0.saturating_sub(self.settle_ns);
        if let Err(error) = self.checker.asked(receiver, subscription, selectors, at) {
            self.findings.add("workload", || error.to_string());
        }
    }

    /// A publisher writes an event to a router.
    pub fn entered(&mut self, emitter: u32, n: u64, sent: Sent) {
        self.entries.insert((emitter, n), sent.router);
        self.checker.sent(emitter, n, sent);
    }

    /// A publisher leaves an event out, because its router says that nobody wants it. It counts as
    /// sent there, and as received when the router is heard of again: whoever wants it misses it.
    pub fn left_out(&mut self, emitter: u32, n: u64, publisher: PublisherId, sent: Sent) {
        self.skips += 1;
        self.checker.published(emitter, sent.at, None);
        self.checker.left_out(emitter, n, publisher);
        self.entered(emitter, n, sent);
    }

    /// An application takes an event.
    pub fn delivered(&mut self, delivery: Delivery<'_>) {
        self.deliveries += 1;
        let Some((rules, stamp)) = self.rules.as_mut().zip(Stamp::decode(delivery.payload).ok()) else {
            self.checker.delivered(delivery);
            return;
        };
        let Delivery { tags, payload, .. } = delivery;
        let published = self.checker.published_at(stamp.emitter, stamp.n);
        let ruled = Ruled { event: (stamp.emitter, stamp.n), tags, payload, published };
        let tags = rules.delivered(&ruled, &mut self.findings);
        self.checker.delivered(Delivery { tags: tags.borrow(), ..delivery });
    }

    /// A receiver that asks for the past is given an event, or its library removes it. Those of
    /// standby sets have a checker of their own.
    pub fn read(&mut self, given: &Given<'_>, is_given: bool) {
        if set_of(given.event.0).is_some() {
            return;
        }
        let (readers, history, findings) = self.checker.readers();
        if is_given {
            self.replayed += u64::from(given.replayed);
            readers.given(given, history, findings);
        } else {
            readers.removed(given.owner, given.matched, given.event, given.at);
        }
    }

    /// An application takes a gap.
    pub fn gap(&mut self, (receiver, owner): (u32, u32), gap: &Gap, now: Time) {
        *self.gaps.entry(gap.reason.name()).or_default() += 1;
        self.standby.gap(owner, gap.router, now.0);
        self.checker.gap(receiver, gap, now.0);
    }

    /// A receiver's library has removed an event that its application has had, or has had from
    /// another member of a set.
    pub fn removed(&mut self, receiver: u32, emitter: u32, n: u64) {
        if set_of(emitter).is_none() {
            self.checker.removed(receiver, emitter, n);
        }
    }

    /// An application takes a gap that its library has put where another publisher of a standby set
    /// has taken over: with numbers, what came before `first` nobody knows.
    pub fn takeover(&mut self, owner: u32, first: Option<u64>) {
        *self.gaps.entry(GapReason::Takeover.name()).or_default() += 1;
        self.standby.takeover(owner, first);
    }

    /// An event goes from core to core.
    pub fn crossed(&mut self, crossing: Crossing) {
        let Crossing { emitter, n, from, to, handed_over } = crossing;
        // Each member of a set publishes its events.
        if handed_over || set_of(emitter).is_some() {
            return;
        }
        match self.entries.get(&(emitter, n)) {
            Some(&entry) => self.checker.copied(Hop { emitter, n, entry, from, to }),
            None => self.findings.add("copies", || {
                format!("event {n} of emitter {emitter} goes to {to:?} and was never published")
            }),
        }
    }
}
