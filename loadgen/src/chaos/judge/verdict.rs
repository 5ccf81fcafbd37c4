//! All pairs of a run, and what they come to.

use std::collections::HashSet;

use millrace_proto::RouterId;

use super::far::Way;
use super::judged::Judged;
use super::ledger::{Ledger, Record};
use super::numbered::NumberedSide;
use super::receiver::ReceiverSide;
use crate::chaos::note::Seen;
use crate::chaos::said::{End, Label, Said};
use crate::chaos::settings::{ChaosSettings, Confirm, EMITTERS_PER_PUBLISHER, Kind};

/// An event that was told to have ended so long ago has arrived, or a gap in its place.
const SETTLE_US: u64 = 5_000_000;
/// What is closer to a fault than that is near it.
const NEAR_US: u64 = 5_000_000;
/// An event that ended so soon was not tried again: the first pause is longer.
const UNTRIED_US: u64 = 200_000;

/// Collects what publishers and receivers say, and judges at the end.
#[derive(Debug)]
pub(in crate::chaos) struct Judge {
    settings: ChaosSettings,
    ledgers: Vec<Ledger>,
    receivers: Vec<ReceiverSide>,
    /// Members of the group, if one takes part.
    members: Vec<ReceiverSide>,
    /// Events that were taken without a mark, by publisher and seq.
    unmarked: HashSet<(u16, u64)>,
    group_twice: u64,
    /// Receivers of the far cluster, if there is one.
    far: Vec<ReceiverSide>,
    far_twice: u64,
    /// Receivers of the standby set's stream, if there is one.
    ears: Vec<NumberedSide>,
    kinds: Vec<Kind>,
    /// The last number of that stream, and how often another member took over.
    set: Option<(u64, u64)>,
    /// Ids of routers, once they are known.
    ids: Vec<Option<RouterId>>,
    /// When routers' faults began.
    faults: Vec<u64>,
    /// When each router's processes were gone.
    gone: Vec<Vec<u64>>,
    was_on_killed: Vec<bool>,
    unexpected: u64,
}

impl Judge {
    /// A judge of a run that begins.
    pub(in crate::chaos) fn new(settings: ChaosSettings) -> Self {
        let side = || ReceiverSide::new(settings.publishers);
        let kinds = settings.kinds();
        let sides =
            |is_one: fn(&Kind) -> bool| kinds.iter().filter(|kind| is_one(kind)).map(|_| side()).collect();
        let receivers = sides(|kind| matches!(kind, Kind::Plain(_)));
        let members = sides(|kind| matches!(kind, Kind::Member(_)));
        let far = sides(|kind| matches!(kind, Kind::Far(_)));
        let ears = kinds.iter().filter(|kind| matches!(kind, Kind::Ear(_)));
        let ears = ears.map(|_| NumberedSide::default()).collect();
        Self {
            ledgers: (0..settings.publishers).map(|_| Ledger::default()).collect(),
            receivers,
            members,
            unmarked: HashSet::new(),
            group_twice: 0,
            far,
            far_twice: 0,
            ears,
            kinds,
            set: None,
            ids: vec![None; usize::from(settings.processes())],
            faults: Vec::new(),
            gone: vec![Vec::new(); usize::from(settings.processes())],
            was_on_killed: vec![false; usize::from(settings.receivers)],
            unexpected: 0,
            settings,
        }
    }

    /// A router is ready under this id.
    pub(in crate::chaos) fn router(&mut self, router: u16, id: RouterId) {
        if let Some(known) = self.ids.get_mut(usize::from(router)) {
            *known = Some(id);
        }
    }

    /// A router's fault begins.
    pub(in crate::chaos) fn fault(&mut self, at_us: u64) {
        self.faults.push(at_us);
    }

    /// A router's process is gone; `by_kill`: without a chance to say so.
    pub(in crate::chaos) fn gone(&mut self, at_us: u64, router: u16, by_kill: bool) {
        if let Some(gone) = self.gone.get_mut(usize::from(router)) {
            gone.push(at_us);
        }
        for (side, was_on) in self.receivers.iter_mut().zip(&mut self.was_on_killed) {
            let was_there = side.spans.gone(at_us, router);
            *was_on |= was_there && by_kill;
        }
        for side in self.members.iter_mut().chain(&mut self.far) {
            side.spans.gone(at_us, router);
        }
    }

    /// A publisher's process said something.
    pub(in crate::chaos) fn said(&mut self, publisher: u16, life: u16, said: Said) {
        let Some(ledger) = self.ledgers.get_mut(usize::from(publisher)) else { return };
        match said {
            Said::Attached { at_us, router, session } => {
                ledger.attached(at_us, router, Label { life, session, count: 0 });
            }
            Said::Published { at_us, seqs, emitter } => {
                let own = emitter.saturating_sub(u32::from(publisher) * EMITTERS_PER_PUBLISHER);
                ledger.published(at_us, seqs, u8::try_from(own).unwrap_or(u8::MAX));
            }
            Said::Ended { at_us, seqs, end, .. } => ledger.ended(at_us, seqs, end),
            Said::Left { pending, .. } => ledger.pending = pending,
        }
    }

    /// A receiver saw something.
    pub(in crate::chaos) fn seen(&mut self, receiver: u16, at_us: u64, seen: &Seen) {
        let Some(&kind) = self.kinds.get(usize::from(receiver)) else { return };
        let side = match kind {
            Kind::Plain(at) => &mut self.receivers[at],
            Kind::Member(at) => &mut self.members[at],
            Kind::Far(at) => &mut self.far[at],
            Kind::Ear(at) => return self.ears[at].saw(at_us, seen),
        };
        side.saw(at_us, seen);
        let Seen::Events(events) = seen else { return };
        for &got in events {
            let publisher = u16::try_from(got.emitter / EMITTERS_PER_PUBLISHER).unwrap_or(u16::MAX);
            let is_wanted = !matches!(kind, Kind::Plain(_)) || self.settings.wants(receiver, got.emitter);
            if publisher >= self.settings.publishers || !is_wanted {
                self.unexpected += 1;
                continue;
            }
            let is_first = side.got(at_us, publisher, got);
            match kind {
                Kind::Member(_) if !got.is_marked && !self.unmarked.insert((publisher, got.seq)) => {
                    self.group_twice += 1;
                }
                Kind::Far(_) if !got.is_marked && !is_first => self.far_twice += 1,
                _ => {}
            }
        }
    }

    /// Events that are pending in spools, as far as publishers said.
    pub(in crate::chaos) fn pending(&self) -> u64 {
        self.ledgers.iter().map(|ledger| ledger.pending).sum()
    }

    /// Whether all receivers are effective in the whole cluster, or have been.
    pub(in crate::chaos) fn all_are_effective(&self, now_us: u64) -> bool {
        let mut all = self.receivers.iter().chain(&self.members).chain(&self.far);
        let is_effective = |side: &ReceiverSide| side.spans.over(now_us, now_us).is_some();
        all.all(is_effective) && self.ears.iter().all(|ear| ear.is_effective)
    }

    /// Whether all receivers of the standby set's stream have a number, or one behind it.
    pub(in crate::chaos) fn ears_have(&self, number: u64) -> bool {
        self.ears.iter().all(|ear| ear.has(number))
    }

    /// The last number of the standby set's stream was this, and so often another member took over.
    pub(in crate::chaos) const fn set_ended(&mut self, last: u64, takeovers: u64) {
        self.set = Some((last, takeovers));
    }

    /// Judges all pairs.
    pub(in crate::chaos) fn finish(mut self) -> Judged {
        self.faults.sort_unstable();
        let mut judged = Judged {
            pending: self.pending(),
            unexpected: self.unexpected,
            group_twice: self.group_twice,
            receivers_on_killed: self.was_on_killed.iter().filter(|was_on| **was_on).count() as u64,
            ..Judged::default()
        };
        for (publisher, ledger) in (0..).zip(&self.ledgers) {
            judged.reused_seqs += ledger.reused;
            for (seq, record) in ledger.records() {
                self.event(publisher, seq, record, &mut judged);
            }
        }
        for (receiver, side) in (0..).zip(&self.receivers) {
            self.receiver(receiver, side, &mut judged);
        }
        judged.far_twice = self.far_twice;
        judged.corrupted += self.far.iter().map(|side| side.corrupted).sum::<u64>();
        for (number, ear) in self.ears.iter().enumerate() {
            judged.ear(number, ear, self.set.map_or(0, |(last, _)| last));
        }
        judged.set_takeovers = self.set.map_or(0, |(_, takeovers)| takeovers);
        judged
    }

    /// Judges the pairs of one event.
    fn event(&self, publisher: u16, seq: u64, record: &Record, judged: &mut Judged) {
        judged.published += 1;
        let end = record.ended().map(|(end, _)| end);
        match end {
            Some(End::Confirmed) => judged.confirmed += 1,
            Some(End::Partial) => judged.partial += 1,
            Some(End::Dropped) => judged.dropped += 1,
            Some(End::Unknown) => judged.unknown += 1,
            Some(End::GivenUp) => judged.given_up += 1,
            None => {}
        }
        let emitter = u32::from(publisher) * EMITTERS_PER_PUBLISHER + u32::from(record.emitter());
        let (mut has_anybody, mut was_wanted) = (false, false);
        for (receiver, side) in (0..).zip(&self.receivers) {
            if !self.settings.wants(receiver, emitter) {
                continue;
            }
            judged.expected_pairs += 1;
            let has = side.has(publisher, seq);
            has_anybody |= has;
            let pair = Pair { publisher, seq, emitter, record, receiver, side, has };
            match record.ended() {
                Some((End::Confirmed, at_us)) => self.confirmed(&pair, at_us, judged),
                Some((End::Partial, at_us)) if !has => self.partial(&pair, at_us, judged),
                Some(_) => {}
                None => {
                    let from_us = record.published_us();
                    was_wanted |= side.spans.over(from_us, from_us + SETTLE_US).is_some();
                }
            }
        }
        if let Some((End::Confirmed, at_us)) = record.ended() {
            self.shared(publisher, (seq, emitter), (record, at_us), judged);
            self.crossed(publisher, (seq, emitter), (record, at_us), judged);
        }
        if end.is_none() && self.ledgers[usize::from(publisher)].pending == 0 {
            judged.untold += 1;
            if was_wanted && !has_anybody {
                judged.vanished += 1;
                judged.find(|| {
                    format!(
                        "event {seq} of publisher {publisher} is neither pending nor anywhere, and its end is \
                         unknown"
                    )
                });
            }
        }
    }

    /// Judges whether a member of the group has taken a confirmed event.
    fn shared(
        &self,
        publisher: u16,
        (seq, emitter): (u64, u32),
        (record, at_us): (&Record, u64),
        judged: &mut Judged,
    ) {
        if self.settings.confirm != Confirm::Delivered {
            return;
        }
        let pairs = (self.settings.receivers..).zip(&self.members).map(|(receiver, side)| {
            let has = side.has(publisher, seq);
            Pair { publisher, seq, emitter, record, receiver, side, has }
        });
        if !pairs.clone().any(|pair| self.is_effective(&pair, at_us)) {
            return;
        }
        judged.group_judged += 1;
        if !pairs.clone().any(|pair| pair.has) {
            judged.group_lost += 1;
            judged.find(|| format!("event {seq} of emitter {emitter} was confirmed, and no member took it"));
        }
    }

    /// Judges whether a confirmed event has come to the far cluster.
    fn crossed(
        &self,
        publisher: u16,
        (seq, emitter): (u64, u32),
        (record, at_us): (&Record, u64),
        judged: &mut Judged,
    ) {
        let Some(far) = self.settings.far().filter(|_| !self.far.is_empty()) else { return };
        let mut on_the_way: Vec<u16> = self.ledgers[usize::from(publisher)].enders(record).collect();
        if on_the_way.is_empty() {
            return;
        }
        on_the_way.push(far);
        let gone = on_the_way.iter().filter_map(|&router| self.gone.get(usize::from(router)));
        let way = Way { faults: &self.faults, gone: gone.map(Vec::as_slice).collect() };
        for (receiver, side) in self.far.iter().enumerate() {
            if !way.owes(record, at_us, side) {
                continue;
            }
            judged.far_judged += 1;
            if !side.has(publisher, seq) {
                judged.far_lost += 1;
                judged.find(|| {
                    format!(
                        "event {seq} of emitter {emitter}, published at {:.3} s, was confirmed at {:.3} s by \
                         router {:?}; receiver {receiver} of the far cluster never got it",
                        record.published_us() as f64 / 1e6,
                        at_us as f64 / 1e6,
                        &on_the_way[..on_the_way.len() - 1],
                    )
                });
            }
        }
    }

    fn confirmed(&self, pair: &Pair<'_>, at_us: u64, judged: &mut Judged) {
        let from_us = pair.record.published_us();
        if !self.is_effective(pair, at_us) {
            return;
        }
        judged.judged_pairs += 1;
        let near = self.faults.partition_point(|&fault_us| fault_us + NEAR_US < from_us);
        judged.pairs_near_faults +=
            u64::from(self.faults.get(near).is_some_and(|&fault_us| fault_us <= at_us + NEAR_US));
        // What is routed may be lost with its receiver's queue, which a gap says.
        let is_excused = self.settings.confirm == Confirm::Routed
            && (pair.side.has_gap(from_us, at_us + SETTLE_US)
                || pair.side.spans.over(from_us, at_us + SETTLE_US).is_none());
        if !pair.has && !is_excused {
            judged.confirmed_lost += 1;
            judged.find(|| {
                let routers: Vec<u16> =
                    self.ledgers[usize::from(pair.publisher)].enders(pair.record).collect();
                format!(
                    "event {} of emitter {}, published at {:.3} s, was confirmed at {:.3} s by router \
                     {routers:?}; receiver {} on router {:?} never got it",
                    pair.seq,
                    pair.emitter,
                    from_us as f64 / 1e6,
                    at_us as f64 / 1e6,
                    pair.receiver,
                    pair.side.spans.router()
                )
            });
        }
    }

    fn partial(&self, pair: &Pair<'_>, at_us: u64, judged: &mut Judged) {
        let from_us = pair.record.published_us();
        if self.is_effective(pair, at_us) && !pair.side.has_gap(from_us, at_us + SETTLE_US) {
            judged.unexplained_gaps += 1;
            judged.find(|| {
                format!(
                    "event {} of emitter {}, published at {:.3} s, ended as partial at {:.3} s; receiver \
                     {} missed it and was told of no gap",
                    pair.seq,
                    pair.emitter,
                    from_us as f64 / 1e6,
                    at_us as f64 / 1e6,
                    pair.receiver
                )
            });
        }
    }

    /// Whether the receiver's subscription was effective from before the publish until the end, at
    /// the router that told the end.
    fn is_effective(&self, pair: &Pair<'_>, at_us: u64) -> bool {
        let from_us = pair.record.published_us();
        let Some(span) = pair.side.spans.over(from_us, at_us) else { return false };
        let id = |router: u16| self.ids.get(usize::from(router)).copied().flatten();
        let router_of = |(publisher, life, session)| {
            let label = Label { life, session, count: 0 };
            id(self.ledgers[usize::from(publisher)].router_of(label)?)
        };
        let mut enders = self.ledgers[usize::from(pair.publisher)].enders(pair.record).peekable();
        enders.peek().is_some()
            && enders.all(|router| {
                let until_us = self.lasts(router, at_us, at_us + SETTLE_US);
                id(router).is_some_and(|id| {
                    span.includes(id, from_us, router_of) && !pair.side.has_joined(id, from_us, until_us)
                })
            })
    }

    /// Until when a router's process of `at_us` lives, `until_us` at most: what is told of the
    /// router later is of its next process.
    fn lasts(&self, router: u16, at_us: u64, until_us: u64) -> u64 {
        let gone = self.gone.get(usize::from(router)).map_or(&[][..], Vec::as_slice);
        gone.get(gone.partition_point(|&gone_us| gone_us < at_us))
            .map_or(until_us, |&gone_us| until_us.min(gone_us))
    }

    fn receiver(&self, receiver: u16, side: &ReceiverSide, judged: &mut Judged) {
        judged.delivered += side.delivered;
        judged.duplicates += side.duplicates;
        judged.duplicates_before_removal += side.duplicates + side.removed;
        judged.gaps += side.gaps();
        judged.corrupted += side.corrupted;
        for (emitter, seq) in &side.twice {
            judged.find(|| format!("receiver {receiver} got event {seq} of emitter {emitter} twice"));
        }
        for event in &side.overtaken {
            let record = self.ledgers[usize::from(event.publisher)].get(event.seq);
            let went_once = |record: &Record| {
                record.is_of_one_session() && event.at_us < record.published_us() + UNTRIED_US
            };
            if record.is_some_and(went_once) {
                judged.reordered += 1;
                judged.find(|| {
                    format!(
                        "receiver {receiver} got event {} of publisher {} behind a later one",
                        event.seq, event.publisher
                    )
                });
            }
        }
    }
}

/// One event and one receiver that wants it.
struct Pair<'a> {
    publisher: u16,
    seq: u64,
    emitter: u32,
    record: &'a Record,
    receiver: u16,
    side: &'a ReceiverSide,
    has: bool,
}
