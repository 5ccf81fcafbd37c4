//! Events on their way from a connection's task to the application: many at a time, because one
//! buffer then holds all their payloads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use millrace_proto::data::{Gap, GapReason, Mark, Source};
use millrace_proto::id::EventId;
use millrace_proto::{PublisherKey, ReceiverNumber, SubscriptionNumber, TagSet};

use crate::clock::wall_time;
use crate::event::{Asked, Event, Item, ReplyTo};
use crate::session::Side;
use crate::session::receiver::{Echo, Fresh, Handover, Session, SetVerdict, Verdict};
use crate::session::{Dedup, DeliveredRun, DeliverySink, PassedBy, Place, PlaceOf};

/// Events and gaps in the order of the stream.
#[derive(Debug, Default)]
pub struct Batch {
    payloads: Bytes,
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
    held: Vec<HeldRun>,
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
    tags: TagSet,
    pub(super) publisher: PublisherKey,
    matched: Arc<[SubscriptionNumber]>,
    maybe_duplicate: bool,
    replayed: bool,
    /// What its events ask or answer; boxed, because few do.
    asked: Option<Box<Asked>>,
}

/// What says which events of a held run are fresh.
#[derive(Debug)]
struct HeldRun {
    seqs: Range<u64>,
    floor: u64,
    has_level: bool,
    was_sent: bool,
    /// The standby set that it is of; empty for none.
    set: Box<[u8]>,
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
    /// brought.
    pub(super) fn freshen(&mut self, handover: &Handover, dedup: &SharedDedup) {
        let mut dedup = dedup.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Vec::with_capacity(self.held.len());
        for (run, held) in self.runs.iter_mut().zip(self.held.drain(..)) {
            let HeldRun { seqs, floor, has_level, was_sent, set } = held;
            let of_set = match dedup.take_of_set(&set, run.publisher.publisher, &seqs) {
                _ if set.is_empty() => None,
                SetVerdict::Fenced => Some(Vec::new()),
                SetVerdict::Fresh { parts, .. } => parts,
            };
            let new = handover
                .fresh(run.publisher, seqs.clone())
                .and(Fresh { parts: of_set, maybe_duplicate: false });
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
        self.keep(&stays);
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

/// Fills a batch from a receiver's stream.
#[derive(Debug, Default)]
pub(super) struct BatchBuilder {
    payloads: Vec<u8>,
    batch: Batch,
    /// The last list of matched subscriptions, as on the wire and as shared: it seldom changes.
    matched_bytes: Vec<u8>,
    matched: Option<Arc<[SubscriptionNumber]>>,
    /// The events that the receiver has had, on this connection and before.
    dedup: SharedDedup,
    /// The part that its stream has in the receiver's move.
    moving: Option<(Session, SharedHandover)>,
    /// What the stream that the receiver has left has brought, and this one may bring again.
    echo: Option<Box<Echo>>,
}

/// The move of a receiver, as both of its streams see it.
pub(super) type SharedHandover = Arc<Mutex<Handover>>;

/// The events that a receiver has had; its connections use it one after the other.
pub(super) type SharedDedup = Arc<Mutex<Dedup>>;

impl BatchBuilder {
    /// A builder for a receiver that has had the events in `dedup`.
    pub(super) fn new(dedup: SharedDedup) -> Self {
        Self { dedup, ..Self::default() }
    }

    /// What this stream brings is judged by a move from here on; by none, if there is none.
    pub(super) fn set_moving(&mut self, moving: Option<(Session, SharedHandover)>) {
        self.moving = moving;
    }

    /// The receiver has moved to this stream, on which these events may come once more.
    pub(super) fn set_moved(&mut self, echo: Echo) {
        self.moving = None;
        self.echo = (!echo.is_empty()).then(|| Box::new(echo));
    }

    /// What becomes of something that is neither run nor gap.
    fn verdict(&self) -> Verdict {
        let judge = |(session, handover): &(Session, SharedHandover)| {
            handover.lock().unwrap_or_else(PoisonError::into_inner).verdict(*session)
        };
        self.moving.as_ref().map_or(Verdict::Deliver, judge)
    }

    /// Takes a run as its receiver's move says.
    fn run_moving(&mut self, run: &DeliveredRun<'_>) {
        let Some((session, handover)) = &self.moving else { return };
        let seqs = run.first_seq()..run.first_seq() + run.count();
        let mut handover = handover.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = handover.judge(*session, run.publisher, seqs.clone());
        drop(handover);
        match verdict {
            Verdict::Deliver => self.deliver(run),
            Verdict::Hold => {
                let (floor, has_level, was_sent) = (run.floor(), run.has_level(), run.maybe_duplicate());
                self.batch.held.push(HeldRun { seqs, floor, has_level, was_sent, set: run.of_set().into() });
                self.push(run, &Fresh { parts: None, maybe_duplicate: was_sent });
            }
            // The other stream brings it, and the copy counts as taken.
            Verdict::Drop => self.push_ack(run),
        }
    }

    /// Takes a run.
    #[inline]
    fn deliver(&mut self, run: &DeliveredRun<'_>) {
        if !run.of_set().is_empty() {
            return self.deliver_of_set(run);
        }
        let fresh = self.fresh(run);
        self.push(run, &fresh);
    }

    /// Takes a run of a standby set.
    #[cold]
    fn deliver_of_set(&mut self, run: &DeliveredRun<'_>) {
        let seqs = run.first_seq()..run.first_seq() + run.count();
        let mut dedup = self.dedup.lock().unwrap_or_else(PoisonError::into_inner);
        let of_set = dedup.take_of_set(run.of_set(), run.publisher.publisher, &seqs);
        drop(dedup);
        match of_set {
            // Nobody has taken it: its publisher hears of no acknowledgement.
            SetVerdict::Fenced => {
                self.pass_run(run);
            }
            SetVerdict::Fresh { parts, is_takeover } => {
                if is_takeover {
                    let gap = Gap { reason: GapReason::Takeover, ..Gap::default() };
                    self.batch.entries.push(Entry::Gap(gap));
                }
                let fresh = self.fresh(run).and(Fresh { parts, maybe_duplicate: false });
                self.push(run, &fresh);
            }
        }
    }

    /// Appends the fresh events of a run.
    #[inline]
    fn push(&mut self, run: &DeliveredRun<'_>, fresh: &Fresh) {
        if !fresh.is_empty() {
            self.push_events(run, fresh);
        }
        self.pass_run(run);
        self.push_ack(run);
    }

    #[inline]
    fn push_events(&mut self, run: &DeliveredRun<'_>, fresh: &Fresh) {
        let matched = self.matched(run);
        let index = self.batch.runs.len();
        let maybe_duplicate = fresh.maybe_duplicate;
        let replayed = run.is_replayed();
        let (tags, publisher) = (run.tag_set(), run.publisher);
        let asked = run.addressed().map(|addressed| Box::new(Asked::new(&addressed)));
        self.batch.runs.push(Run { tags, publisher, matched, maybe_duplicate, replayed, asked });
        for event in run.events().filter(|event| fresh.contains(event.seq)) {
            let start = self.payloads.len();
            self.payloads.extend_from_slice(event.payload);
            let end = self.payloads.len();
            self.batch.entries.push(Entry::Event {
                run: index,
                seq: event.seq,
                time_ns: event.time_ns,
                start,
                end,
            });
        }
    }

    /// Notes how a run is acknowledged, if it is.
    #[inline]
    fn push_ack(&mut self, run: &DeliveredRun<'_>) {
        let entries = self.batch.entries.len();
        if let Some((ticket, generation)) = run.ticket {
            self.batch.acks.push((entries, Receipt::Ticket { ticket, generation }));
        } else if run.wants_ack() {
            self.batch.acks.push((entries, Receipt::Run(run.number)));
        }
    }

    /// The part of a run that the receiver has not had.
    fn fresh(&self, run: &DeliveredRun<'_>) -> Fresh {
        let fresh = self.first(run);
        match &self.echo {
            Some(echo) => {
                fresh.and(echo.fresh(run.publisher, run.first_seq()..run.first_seq() + run.count()))
            }
            None => fresh,
        }
    }

    /// The part of a run that was not there before with the same event ids.
    fn first(&self, run: &DeliveredRun<'_>) -> Fresh {
        // What a group gives again was not acknowledged, even if this receiver has had it. A
        // request that is sent again has another token, and only a reply to that one arrives.
        if !run.may_come_again() || run.ticket.is_some() || run.is_request() {
            return Fresh { parts: None, maybe_duplicate: run.maybe_duplicate() };
        }
        let seqs = run.first_seq()..run.first_seq() + run.count();
        let mut dedup = self.dedup.lock().unwrap_or_else(PoisonError::into_inner);
        if run.is_replayed() {
            return dedup.take_replayed(run.publisher, seqs, run.floor(), run.maybe_duplicate());
        }
        dedup.take(run.publisher, seqs, run.floor(), run.maybe_duplicate())
    }

    /// Takes the entries since the last call, if there are any.
    pub(super) fn take(&mut self, stream_bytes: u64, connection: u64) -> Option<Batch> {
        let Batch { acks, places, marks, .. } = &self.batch;
        if self.batch.is_empty() && acks.is_empty() && places.is_empty() && marks.is_empty() {
            return None;
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.payloads = std::mem::take(&mut self.payloads).into();
        batch.stream_bytes = stream_bytes;
        batch.connection = connection;
        self.batch.entries.reserve(batch.entries.len());
        Some(batch)
    }

    /// A run stands in what was filled in, for the subscriptions that match it.
    fn pass_run(&mut self, run: &DeliveredRun<'_>) {
        let Some((source, position)) = run.place() else { return };
        let by = PlaceOf::Run { matched: self.matched(run), replayed: run.is_replayed() };
        self.pass(Place { source, position: position + 1, by });
    }

    /// Everything that a place says stands in what was filled in.
    fn pass(&mut self, place: Place) {
        self.batch.places.push((self.batch.entries.len(), place));
    }

    fn matched(&mut self, run: &DeliveredRun<'_>) -> Arc<[SubscriptionNumber]> {
        match &self.matched {
            Some(matched) if self.matched_bytes == run.matched_bytes() => matched.clone(),
            _ => {
                let matched: Arc<[_]> = run.matched().map(SubscriptionNumber).collect();
                self.matched_bytes = run.matched_bytes().to_vec();
                self.matched = Some(matched.clone());
                matched
            }
        }
    }
}

impl DeliverySink for BatchBuilder {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        if self.moving.is_some() {
            return self.run_moving(run);
        }
        self.deliver(run);
    }

    fn gap(&mut self, _: ReceiverNumber, gap: &Gap) {
        let judge = |(session, handover): &(Session, SharedHandover)| {
            handover.lock().unwrap_or_else(PoisonError::into_inner).gap(*session)
        };
        if self.moving.as_ref().map_or(Verdict::Deliver, judge) != Verdict::Drop {
            self.batch.entries.push(Entry::Gap(gap.clone()));
        }
    }

    fn passed(&mut self, _: ReceiverNumber, source: Source, position: u64, by: PassedBy) {
        if self.verdict() != Verdict::Drop {
            self.pass(Place { source, position, by: PlaceOf::Said(by) });
        }
    }

    fn marked(&mut self, _: ReceiverNumber, mark: &Mark) {
        self.echo.take_if(|echo| echo.ends_at(mark));
        if !matches!(self.moving, Some((Session::New, _))) {
            self.batch.marks.push((self.batch.entries.len(), mark.clone()));
        }
        if let Some((session, handover)) = &self.moving {
            handover.lock().unwrap_or_else(PoisonError::into_inner).marked(*session, mark);
        }
    }
}
