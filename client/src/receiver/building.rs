//! How a batch comes to be: from what a receiver's stream brings.

use std::sync::{Arc, Mutex, PoisonError};

use millrace_proto::data::{Gap, GapReason, Mark, Source};
use millrace_proto::{ReceiverNumber, SubscriptionNumber};

use super::batch::{Batch, Entry, HeldRun, Receipt, Run, SharedDedup};
use crate::event::Asked;
use crate::session::receiver::{Echo, Fresh, Handover, Session, SetVerdict, Verdict};
use crate::session::{DeliveredRun, DeliverySink, PassedBy, Place, PlaceOf};

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
                let (set, place) = (run.of_set().into(), run.place());
                self.batch.held.push(HeldRun { seqs, floor, has_level, was_sent, set, place });
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
        let mut run_of_batch = Run { tags, publisher, matched, maybe_duplicate, replayed, asked };
        if let Some(echo) = &self.echo
            && let Some(place) = run.place()
            && !run_of_batch.leave_out(|number| echo.has_passed(number, &place))
        {
            return;
        }
        self.batch.runs.push(run_of_batch);
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
