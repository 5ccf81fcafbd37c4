//! The programs of a receiving client: they take what its connections bring.

use std::collections::BTreeMap;

use millrace_client::session::receiver::{Session as Side, Verdict};
use millrace_client::session::{DeliveredRun, DeliverySink, PassedBy, Place, PlaceOf};
use millrace_engine::time::Time;
use millrace_proto::data::{Gap, Mark, ReceiverEnd, Source};
use millrace_proto::{ReceiverNumber, SubscriptionNumber};
use millrace_verify::checker::Delivery;
use millrace_verify::checker::past::Given;
use millrace_verify::checker::repeats::Vouched;
use millrace_verify::payload::Stamp;
use rand_pcg::Pcg64Mcg;

use super::moving::stamps;
use super::of_set::InSet;
use super::reading::place_of;
use super::receivers::Receiver;
use crate::record::Record;

/// What programs act on.
type Around<'a> = (&'a mut BTreeMap<ReceiverNumber, Receiver>, &'a mut Record, &'a mut Pcg64Mcg);

/// The programs that take events: none for a client that publishes.
#[derive(Debug)]
pub(super) struct Programs<'a> {
    of: Option<Around<'a>>,
    /// The connection that is read, while receivers move from one to another.
    side: Side,
    now: Time,
    /// Receivers that the router ended: at most as many as are open.
    ended: Vec<ReceiverNumber>,
}

impl<'a> Programs<'a> {
    /// Those of these receivers, which take what comes on one side.
    pub(super) const fn of(of: Around<'a>, side: Side, now: Time) -> Self {
        Self { of: Some(of), side, now, ended: Vec::new() }
    }

    /// None: the client publishes.
    pub(super) const fn none(now: Time) -> Self {
        Self { of: None, side: Side::Old, now, ended: Vec::new() }
    }

    /// The receivers that ended in what was read.
    pub(super) fn into_ended(self) -> Vec<ReceiverNumber> {
        self.ended
    }
}

impl DeliverySink for Programs<'_> {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let Some((receivers, record, rng)) = &mut self.of else { return };
        let Some(receiver) = receivers.get_mut(&run.receiver) else { return };
        let Some(session) = receiver.session_number else { return };
        if let Some(moving) = &mut receiver.moving {
            match moving.keep_run(self.side, run) {
                Verdict::Deliver => {}
                Verdict::Drop if self.side == Side::Old && run.wants_ack() => {
                    // The next connection brings it.
                    let copy = (run.number, stamps(run));
                    return receiver.acks.take(receiver.setup.acks, copy, self.now, rng);
                }
                Verdict::Hold | Verdict::Drop => return,
            }
        }
        let seqs = run.first_seq()..run.first_seq() + run.count();
        let (publisher, owner) = (run.publisher.publisher, receiver.setup.number);
        let of_set = InSet::judge(&mut receiver.dedup, run.of_set(), publisher, &seqs, (owner, record));
        let Some(of_set) = of_set else { return };
        let has_had = |number: &u32| {
            let echo = receiver.echo.as_ref().zip(run.place());
            echo.is_some_and(|(echo, place)| echo.has_passed(SubscriptionNumber(*number), &place))
        };
        let matched: Vec<u32> = run.matched().filter(|number| !has_had(number)).collect();
        let is_left = !matched.is_empty() || run.matched().next().is_none();
        let fresh = run.has_level().then(|| {
            let seqs = run.first_seq()..run.first_seq() + run.count();
            let (publisher, floor, was_sent) = (run.publisher, run.floor(), run.maybe_duplicate());
            if run.is_replayed() {
                receiver.dedup.take_replayed(publisher, seqs, floor, was_sent)
            } else {
                receiver.dedup.take(publisher, seqs, floor, was_sent)
            }
        });
        let vouched = match &fresh {
            None => Vouched::No,
            Some(fresh) if fresh.maybe_duplicate => Vouched::Marked,
            Some(_) => Vouched::Once,
        };
        let seqs = run.first_seq()..run.first_seq() + run.count();
        let new = receiver.echo.as_ref().map(|echo| echo.fresh(run.publisher, seqs));
        let mut taken = Vec::new();
        for event in run.events() {
            let stamp = Stamp::decode(event.payload).ok().map(|stamp| (stamp.emitter, stamp.n));
            taken.extend(stamp.filter(|_| run.wants_ack()));
            let mut judged = fresh.iter().chain(&new).chain(&of_set.fresh);
            let is_given = is_left && judged.all(|fresh| fresh.contains(event.seq));
            if let Some(stamp) = stamp.filter(|_| receiver.reading.is_some()) {
                let (replayed, at) = (run.is_replayed(), self.now.0);
                let given = Given { owner, matched: &matched, event: stamp, vouched, replayed, at };
                record.read(&given, is_given);
            }
            if is_given {
                if of_set.takes(stamp, record) {
                    continue;
                }
                record.delivered(Delivery {
                    receiver: session,
                    tags: run.tags,
                    payload: event.payload,
                    matched: &matched,
                    at: self.now.0,
                    vouched,
                });
            } else if let Some((emitter, n)) = stamp.filter(|_| run.has_level()) {
                record.removed(session, emitter, n);
            }
        }
        if run.wants_ack() {
            receiver.acks.take(receiver.setup.acks, (run.number, taken), self.now, rng);
        }
        receiver.given_at = self.now;
        if let Some(place) = receiver.reading.as_ref().and_then(|_| place_of(run)) {
            receiver.pass(&place);
        }
    }

    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        let Some((receivers, record, _)) = &mut self.of else { return };
        let Some(receiver) = receivers.get_mut(&receiver) else { return };
        if let Some(moving) = &mut receiver.moving
            && moving.keep_gap(self.side, gap) != Verdict::Deliver
        {
            return;
        }
        if let Some(session) = receiver.session_number {
            record.gap((session, receiver.setup.number), gap, self.now);
            receiver.miss(gap, self.now, record);
        }
    }

    fn passed(&mut self, receiver: ReceiverNumber, source: Source, position: u64, by: PassedBy) {
        let Some((receivers, ..)) = &mut self.of else { return };
        let Some(receiver) = receivers.get_mut(&receiver).filter(|it| it.reading.is_some()) else { return };
        let place = Place { source, position, by: PlaceOf::Said(by) };
        match receiver.moving.as_mut().map(|moving| moving.keep_place(self.side, &place)) {
            None | Some(Verdict::Deliver) => receiver.pass(&place),
            Some(Verdict::Hold | Verdict::Drop) => {}
        }
    }

    fn marked(&mut self, receiver: ReceiverNumber, mark: &Mark) {
        let Some((receivers, ..)) = &mut self.of else { return };
        let Some(receiver) = receivers.get_mut(&receiver) else { return };
        if self.side == Side::Old {
            receiver.echo.take_if(|echo| echo.ends_at(mark));
        }
        if let Some(moving) = &mut receiver.moving {
            moving.handover.marked(self.side, mark);
        }
    }

    fn ended(&mut self, end: &ReceiverEnd) {
        self.ended.push(end.receiver);
    }
}
