//! Events on their way from a connection's task to the application: many at a time, because one
//! buffer then holds all their payloads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use millrace_proto::data::{Gap, GapReason, Mark, Source};
use millrace_proto::id::EventId;
use millrace_proto::{PublisherKey, SubscriptionNumber, TagSet};

use crate::clock::wall_time;
use crate::event::{Asked, Event, Item, ReplyTo};
use crate::session::receiver::{Fresh, Handover, SetVerdict};
use crate::session::{Dedup, Place, Side};

/// Events and gaps in the order of the stream.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) payloads: Bytes,
    pub(super) runs: Vec<Run>,
    pub(super) entries: Vec<Entry>,
    /// Bytes of the stream that it was read from.
    pub(super) stream_bytes: u64,
    /// The connection that it came from.
    pub(super) connection: u64,
    /// The session that it came in: a move between connections is within one.
    pub(super) life: u64,
    /// Which of a redundant receiver's sessions brought it.
    pub(super) side: Side,
    /// Runs that are to be acknowledged: how many entries are taken with the last of each, and what
    /// names it.
    pub(super) acks: Vec<(usize, Receipt)>,
    /// Places: how many entries are taken before all of a source below a position was.
    pub(super) places: Vec<(usize, Place)>,
    /// Marks: how many entries stand before each.
    pub(super) marks: Vec<(usize, Mark)>,
    /// What is known of each run, in a batch that is held while its receiver moves.
    pub(super) held: Vec<HeldRun>,
}

/// What a run is acknowledged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    /// Its number, because its publisher wants to know.
    Run(u64),
    /// The ticket of its group.
    Ticket { ticket: u64, generation: u64 },
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) tags: TagSet,
    pub(super) publisher: PublisherKey,
    pub(super) matched: Arc<[SubscriptionNumber]>,
    pub(super) maybe_duplicate: bool,
    pub(super) replayed: bool,
    /// What its events ask or answer; boxed, because few do.
    pub(super) asked: Option<Box<Asked>>,
}

impl Run {
    /// Takes it from subscriptions that have had it. Says whether others are left.
    pub(super) fn leave_out(&mut self, has_had: impl Fn(SubscriptionNumber) -> bool) -> bool {
        let some_have = !self.matched.is_empty() && self.matched.iter().any(|&number| has_had(number));
        if some_have {
            self.matched = self.matched.iter().copied().filter(|&number| !has_had(number)).collect();
        }
        !some_have || !self.matched.is_empty()
    }
}

/// What says which events of a held run are fresh.
#[derive(Debug)]
pub(super) struct HeldRun {
    pub(super) seqs: Range<u64>,
    pub(super) floor: u64,
    pub(super) has_level: bool,
    pub(super) was_sent: bool,
    /// The standby set that it is of; empty for none.
    pub(super) set: Box<[u8]>,
    /// Where it stands, if its router says that.
    pub(super) place: Option<(Source, u64)>,
}

#[derive(Debug)]
pub(super) enum Entry {
    Event { run: usize, seq: u64, time_ns: u64, start: usize, end: usize },
    Gap(Gap),
}

/// An event of a [`Batch`], borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchEvent<'a> {
    /// What it is about.
    pub tags: &'a TagSet,
    /// Its name.
    pub id: EventId,
    /// When its publisher says that it happened.
    pub time: SystemTime,
    /// What it says.
    pub payload: &'a [u8],
    /// The subscriptions that match it, ascending.
    pub matched: &'a [SubscriptionNumber],
    /// This receiver may have had it before: its publisher has sent it again.
    pub maybe_duplicate: bool,
    /// It comes from history: it was published before this receiver subscribed, or while it was
    /// away.
    pub replayed: bool,
    /// Where replies to it go; none for an event that is no request.
    pub reply_to: Option<&'a ReplyTo>,
    /// The number of the request that it replies to.
    pub(crate) answers: Option<u64>,
}

/// One thing of a [`Batch`], borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchItem<'a> {
    /// An event.
    Event(BatchEvent<'a>),
    /// Events are missing at this place.
    Gap(&'a Gap),
}

impl Batch {
    /// Events and gaps in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it is empty; a receiver never returns an empty batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Its events and gaps, borrowed: the cheapest way to read a stream.
    pub fn iter(&self) -> impl Iterator<Item = BatchItem<'_>> {
        self.entries.iter().map(|entry| match entry {
            Entry::Gap(gap) => BatchItem::Gap(gap),
            Entry::Event { run, seq, time_ns, start, end } => {
                let run = &self.runs[*run];
                BatchItem::Event(BatchEvent {
                    tags: &run.tags,
                    id: EventId { publisher: run.publisher, seq: *seq },
                    time: wall_time(*time_ns),
                    payload: &self.payloads[*start..*end],
                    matched: &run.matched,
                    maybe_duplicate: run.maybe_duplicate,
                    replayed: run.replayed,
                    reply_to: run.asked.as_ref().and_then(|asked| asked.reply_to.as_ref()),
                    answers: run.asked.as_ref().and_then(|asked| asked.answers),
                })
            }
        })
    }

    /// A copy of an entry that stands on its own; payloads are shared, not copied.
    pub(super) fn item(&self, index: usize) -> Option<Item> {
        Some(match self.entries.get(index)? {
            Entry::Gap(gap) => Item::Gap(gap.clone()),
            Entry::Event { run, seq, time_ns, start, end } => {
                let run = &self.runs[*run];
                Item::Event(Event {
                    tags: run.tags.clone(),
                    id: EventId { publisher: run.publisher, seq: *seq },
                    time: wall_time(*time_ns),
                    payload: self.payloads.slice(*start..*end),
                    matched: run.matched.clone(),
                    maybe_duplicate: run.maybe_duplicate,
                    replayed: run.replayed,
                    reply_to: run.asked.as_ref().and_then(|asked| asked.reply_to.clone()),
                    answers: run.asked.as_ref().and_then(|asked| asked.answers),
                })
            }
        })
    }

    /// The runs to acknowledge that end with its first `entries`, behind its first
    /// `before`.
    pub(super) fn acks(&self, before: usize, entries: usize) -> impl Iterator<Item = Receipt> {
        // A run of nothing but duplicates may stand in front of all entries.
        let from = if before == 0 { 0 } else { self.acks.partition_point(|&(end, _)| end <= before) };
        self.acks[from..].iter().take_while(move |&&(end, _)| end <= entries).map(|&(_, receipt)| receipt)
    }

    /// How many of its runs are to be acknowledged.
    pub(super) const fn receipts(&self) -> u64 {
        self.acks.len() as u64
    }

    /// Places that are passed with its first `entries`, behind its first `before`.
    pub(super) fn places(&self, before: usize, entries: usize) -> impl Iterator<Item = &Place> {
        let from = if before == 0 { 0 } else { self.places.partition_point(|place| place.0 <= before) };
        let passed = self.places[from..].iter().take_while(move |place| place.0 <= entries);
        passed.map(|(_, place)| place)
    }

    /// Places that are passed with its first `events` events.
    pub(super) fn places_behind(&self, events: u64) -> impl Iterator<Item = &Place> {
        let mut left = events;
        let is_within = |entry: &&Entry| {
            let is_event = matches!(entry, Entry::Event { .. });
            let within = !is_event || left > 0;
            left = left.saturating_sub(u64::from(is_event));
            within
        };
        let entries = self.entries.iter().take_while(is_within).count();
        self.places(0, entries)
    }

    /// Replaces numbers that stand for subscriptions on the wire by the subscriptions' names.
    pub(super) fn name_matched(&mut self, names: &BTreeMap<SubscriptionNumber, SubscriptionNumber>) {
        for run in &mut self.runs {
            if run.matched.iter().any(|number| names.contains_key(number)) {
                let name = |number: &SubscriptionNumber| names.get(number).copied().unwrap_or(*number);
                let named: BTreeSet<_> = run.matched.iter().map(name).collect();
                run.matched = named.into_iter().collect();
            }
        }
    }

    /// The events of a held batch that neither the old session of a move nor an earlier one has
    /// brought, and gaps where another publisher has taken over a standby set.
    pub(super) fn freshen(&mut self, handover: &Handover, dedup: &SharedDedup) {
        let mut dedup = dedup.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Vec::with_capacity(self.held.len());
        let mut takeovers = Vec::new();
        for (index, (run, held)) in self.runs.iter_mut().zip(self.held.drain(..)).enumerate() {
            let HeldRun { seqs, floor, has_level, was_sent, set, place } = held;
            let of_set = match dedup.take_of_set(&set, run.publisher.publisher, &seqs) {
                _ if set.is_empty() => None,
                SetVerdict::Fenced => Some(Vec::new()),
                SetVerdict::Fresh { parts, is_takeover } => {
                    takeovers.extend(is_takeover.then_some(index));
                    parts
                }
            };
            let new = handover
                .fresh(run.publisher, seqs.clone())
                .and(Fresh { parts: of_set, maybe_duplicate: false });
            let new = match place.map(|place| run.leave_out(|number| handover.has_passed(number, &place))) {
                Some(false) => Fresh { parts: Some(Vec::new()), maybe_duplicate: false },
                _ => new,
            };
            let first = has_level.then(|| dedup.take(run.publisher, seqs, floor, was_sent));
            run.maybe_duplicate = match &first {
                Some(first) => first.maybe_duplicate,
                None => was_sent || new.maybe_duplicate,
            };
            fresh.push((new, first));
        }
        let is_fresh = |entry: &Entry| match entry {
            Entry::Gap(_) => true,
            Entry::Event { run, seq, .. } => fresh.get(*run).is_none_or(|(new, first)| {
                new.contains(*seq) && first.as_ref().is_none_or(|first| first.contains(*seq))
            }),
        };
        let stays: Vec<_> = self.entries.iter().map(is_fresh).collect();
        let begins = |run: &usize| {
            let is_its = |entry: &Entry| matches!(entry, Entry::Event { run: its, .. } if its == run);
            self.entries.iter().position(is_its)
        };
        // Their own places among the entries that stay.
        let gaps = takeovers.iter().filter_map(begins);
        let gaps = gaps.map(|at| stays[..at].iter().filter(|stays| **stays).count()).collect::<Vec<_>>();
        self.keep(&stays);
        // From the last one on, so that the places of the others stay right.
        for at in gaps.into_iter().rev() {
            self.insert_gap(at, Gap { reason: GapReason::Takeover, ..Gap::default() });
        }
    }

    /// Puts a gap before the entry at this place.
    fn insert_gap(&mut self, at: usize, gap: Gap) {
        self.entries.insert(at, Entry::Gap(gap));
        let ends = self.acks.iter_mut().map(|(end, _)| end);
        let ends = ends.chain(self.places.iter_mut().map(|(end, _)| end));
        let ends = ends.chain(self.marks.iter_mut().map(|(end, _)| end));
        ends.filter(|end| **end > at).for_each(|end| *end += 1);
    }

    /// Whether its last entry says that a session was lost.
    pub(super) fn is_session_lost(&self) -> bool {
        matches!(self.entries.last(), Some(Entry::Gap(gap)) if gap.reason == GapReason::SessionLost)
    }

    /// A batch of one gap.
    pub(super) fn of_gap(gap: Gap, connection: u64) -> Self {
        Self { entries: vec![Entry::Gap(gap)], connection, ..Self::default() }
    }
}

/// The events that a receiver has had; its connections use it one after the other.
pub(super) type SharedDedup = Arc<Mutex<Dedup>>;

#[cfg(test)]
mod tests {
    use millrace_proto::data::optional::StandbySet;
    use millrace_proto::data::{HopHeader, hop_field};
    use millrace_proto::{Epoch, PublisherId};

    use super::*;

    /// A held batch of one event of a set for each of these (generation, publisher), acknowledged
    /// each.
    fn held(runs: &[(u64, u128)]) -> Batch {
        let mut batch = Batch::default();
        for (run, &(generation, publisher)) in runs.iter().enumerate() {
            let mut fields = Vec::new();
            StandbySet::put(&mut fields, "feed", generation, std::iter::empty());
            let hop = HopHeader { fields: &fields, ..HopHeader::numbered(0, 0) };
            let set = hop.field(hop_field::SET).unwrap().into();
            let seq = run as u64;
            let (seqs, has_level) = (seq..seq + 1, false);
            batch.held.push(HeldRun { seqs, floor: 0, has_level, was_sent: false, set, place: None });
            batch.runs.push(Run {
                tags: TagSet::from_texts(["kind=tick"]).unwrap(),
                publisher: PublisherKey { publisher: PublisherId(publisher), epoch: Epoch(1) },
                matched: Arc::new([]),
                maybe_duplicate: false,
                replayed: false,
                asked: None,
            });
            batch.entries.push(Entry::Event { run, seq, time_ns: 0, start: 0, end: 0 });
            batch.acks.push((batch.entries.len(), Receipt::Run(seq)));
        }
        batch
    }

    /// What is in a batch, with the publisher of each event; and how many entries are taken with
    /// each acknowledgement.
    fn shown(batch: &Batch) -> (Vec<Result<u128, GapReason>>, Vec<usize>) {
        let item = |item| match item {
            BatchItem::Event(event) => Ok(event.id.publisher.publisher.0),
            BatchItem::Gap(gap) => Err(gap.reason),
        };
        let acks = batch.acks.iter().map(|&(end, _)| end);
        (batch.iter().map(item).collect(), acks.collect())
    }

    #[test]
    fn a_takeover_while_a_receiver_moves_is_a_gap() {
        let dedup = SharedDedup::default();
        let mut batch = held(&[(1, 1), (1, 1), (2, 2), (1, 1), (2, 2), (3, 1)]);
        batch.freshen(&Handover::default(), &dedup);
        let takeover = Err(GapReason::Takeover);
        let (items, acks) = shown(&batch);
        assert_eq!(items, [Ok(1), Ok(1), takeover, Ok(2), Ok(2), takeover, Ok(1)]);
        // What is fenced stands in front of nothing.
        assert_eq!(acks, [1, 2, 4, 4, 5, 7]);
        // The old stream has brought the set before.
        let mut later = held(&[(4, 5)]);
        later.freshen(&Handover::default(), &dedup);
        assert_eq!(shown(&later), (vec![takeover, Ok(5)], vec![2]));
    }
}
