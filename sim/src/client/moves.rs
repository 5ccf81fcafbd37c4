//! Receivers that move to the next router while the old one still delivers, as in the client
//! library: their session goes on, for the checkers too, so that nothing may be missing in it, come
//! twice or out of order.

use std::time::Duration;

use millrace_attach::ClientConnection;
use millrace_client::session::receiver::{Echo, Handover, Session};
use millrace_engine::time::Time;
use millrace_proto::control::Subscribed;
use millrace_proto::data::{Gap, GapReason};
use millrace_proto::{ReceiverNumber, SubscriptionNumber};
use millrace_verify::checker::Delivery;
use millrace_verify::checker::past::Given;
use millrace_verify::checker::repeats::Vouched;
use millrace_verify::payload::Stamp;
use rand_pcg::Pcg64Mcg;

use super::moving::{Held, HeldRun, Move};
use super::of_set::InSet;
use super::receivers::{Receiver, Receivers, texts};
use crate::record::Record;

/// How long the old connection stays for acknowledgements.
const SETTLE: Duration = Duration::from_millis(500);

impl Receivers {
    /// Opens all receivers on the next connection, too.
    pub(super) fn begin_moves(&mut self, next: &mut ClientConnection, record: &mut Record) {
        for (&number, receiver) in &mut self.receivers {
            let mut plan = receiver.plan.clone();
            plan.on_lost();
            let window_bytes = receiver.setup.window_bytes;
            if let Some(request) = plan.open_request(number, window_bytes)
                && let Err(error) = next.open_receiver(request, window_bytes)
            {
                record.findings.add("session", || format!("receiver {}: {error}", number.0));
            }
            for (&subscription, selectors) in &receiver.subscriptions {
                next.subscribe(number, subscription, &texts(selectors));
            }
            if let Some(session) = receiver.session_number {
                record.checker.moving(session);
            }
            let handover = Handover::default();
            receiver.moving =
                Some(Box::new(Move { handover, plan, held: Vec::new(), settle_by: None, has_failed: false }));
        }
    }

    /// Whether receivers move.
    pub(super) fn are_moving(&self) -> bool {
        self.receivers.values().any(|receiver| receiver.moving.is_some())
    }

    /// Whether some receiver has nothing left on the old connection.
    pub(super) fn have_left_old(&self) -> bool {
        let moves = self.receivers.values().filter_map(|receiver| receiver.moving.as_ref());
        moves.into_iter().any(|moving| moving.handover.has_drained())
    }

    /// The next connection is lost.
    pub(super) fn stay(&mut self) {
        self.receivers.values_mut().for_each(|receiver| receiver.moving = None);
    }

    /// The next router has acknowledged a subscription.
    pub(super) fn subscribed_next(&mut self, subscribed: &Subscribed) {
        let receiver = self.receivers.get_mut(&subscribed.receiver);
        if let Some(moving) = receiver.and_then(|receiver| receiver.moving.as_mut()) {
            moving.plan.on_subscribed(subscribed);
        }
    }

    /// Asks both routers for the marks that are due. Says whether all receivers have moved.
    pub(super) fn advance_moves(
        &mut self,
        old: &mut ClientConnection,
        next: &mut ClientConnection,
        now: Time,
    ) -> bool {
        let mut have_moved = true;
        for (&number, receiver) in &mut self.receivers {
            let Some(moving) = &mut receiver.moving else { continue };
            if receiver.plan.is_effective_for(&moving.plan) {
                moving.handover.effective(Session::Old);
            }
            if moving.plan.is_effective() {
                moving.handover.effective(Session::New);
            }
            if let Some(session) = moving.handover.to_ask() {
                if moving.handover.has_drained() {
                    let all = receiver.subscriptions.keys();
                    all.for_each(|&subscription| old.unsubscribe(number, subscription));
                }
                let connection = if session == Session::Old { &mut *old } else { &mut *next };
                moving.handover.asked(connection.ask_mark(number));
            }
            let is_settled = || receiver.acks.due().is_none();
            have_moved &= moving.has_failed
                || moving.handover.is_over() && {
                    let settle_by = *moving.settle_by.get_or_insert(now + SETTLE);
                    is_settled() || now >= settle_by
                };
        }
        have_moved
    }

    /// When a move goes on by time alone.
    pub(super) fn moves_due(&self) -> Option<Time> {
        let moves = self.receivers.values().filter_map(|receiver| receiver.moving.as_ref());
        moves.filter_map(|moving| moving.settle_by).min()
    }

    /// The next connection is the present one: what it has brought follows what the old one has,
    /// which was `heard` last then.
    pub(super) fn end_moves(
        &mut self,
        heard: Time,
        next: &mut ClientConnection,
        now: Time,
        (record, rng): (&mut Record, &mut Pcg64Mcg),
    ) {
        for (&number, receiver) in &mut self.receivers {
            if let Some(moving) = receiver.moving.take() {
                let has_failed = moving.has_failed;
                let echo = receiver.end_move(*moving, (number, heard, next.confirms()), now, record, rng);
                receiver.echo = echo.filter(|echo| !has_failed && !echo.is_empty());
                if let Some(echo) = &mut receiver.echo {
                    echo.asked(next.ask_mark(number));
                }
            }
        }
    }
}

impl Receiver {
    fn end_move(
        &mut self,
        moving: Move,
        (number, heard, acknowledges): (ReceiverNumber, Time, bool),
        now: Time,
        record: &mut Record,
        rng: &mut Pcg64Mcg,
    ) -> Option<Echo> {
        let Move { mut handover, plan, held, has_failed, .. } = moving;
        let is_whole = !has_failed && handover.is_whole() && plan.reaches_as_much_as(&self.plan);
        // What a receiver that was opened anew has brought since was not remembered.
        let held = if has_failed { Vec::new() } else { held };
        self.plan = plan;
        self.acks.forget();
        if !is_whole {
            // As behind a lost session, but that this one has begun already.
            if let Some(session) = self.session_number.take() {
                record.checker.lapsed(session, heard.0);
            }
            record.standby.lapsed(self.setup.number);
            self.begin_session(acknowledges, now, record);
            if let Some(session) = self.session_number {
                record.checker.moving(session);
            }
            self.show_progress(number, now, record);
            self.miss(&Gap { reason: GapReason::SessionLost, ..Gap::default() }, now, record);
        }
        self.reading.iter_mut().for_each(|reading| handover.passed(reading.past.moved()));
        let session = self.session_number?;
        for held in held {
            match held {
                Held::Gap(gap) => {
                    record.gap((session, self.setup.number), &gap, now);
                    self.miss(&gap, now, record);
                }
                Held::Place(place) => self.pass(&place),
                Held::Copy(run, events) => self.acks.take(self.setup.acks, (run, events), now, rng),
                Held::Run(run) => self.take_held(&run, &handover, session, now, record, rng),
            }
        }
        Some(handover.into_echo())
    }

    fn take_held(
        &mut self,
        run: &HeldRun,
        handover: &Handover,
        session: u32,
        now: Time,
        record: &mut Record,
        rng: &mut Pcg64Mcg,
    ) {
        let seqs = run.first_seq..run.first_seq + run.payloads.len() as u64;
        let (publisher, owner) = (run.publisher.publisher, self.setup.number);
        let of_set = InSet::judge(&mut self.dedup, &run.set, publisher, &seqs, (owner, record));
        let Some(of_set) = of_set else { return };
        let new = handover.fresh(run.publisher, seqs.clone());
        let place = run.place.as_ref().map(|place| (place.source, place.position - 1));
        let has_had = |number: &u32| {
            place.is_some_and(|place| handover.has_passed(SubscriptionNumber(*number), &place))
        };
        let matched: Vec<u32> = run.matched.iter().copied().filter(|number| !has_had(number)).collect();
        let first =
            run.has_level.then(|| self.dedup.take(run.publisher, seqs.clone(), run.floor, run.was_sent));
        let vouched = match &first {
            None => Vouched::No,
            Some(first) if first.maybe_duplicate => Vouched::Marked,
            Some(_) => Vouched::Once,
        };
        let mut taken = Vec::new();
        for (seq, payload) in seqs.zip(&run.payloads) {
            let stamp = Stamp::decode(payload).ok().map(|stamp| (stamp.emitter, stamp.n));
            taken.extend(stamp.filter(|_| run.wants_ack));
            let mut judged = first.iter().chain(&of_set.fresh).chain([&new]);
            let is_left = !matched.is_empty() || run.matched.is_empty();
            let is_given = is_left && judged.all(|fresh| fresh.contains(seq));
            if let Some(event) = stamp.filter(|_| self.reading.is_some()) {
                let (replayed, matched) = (run.replayed, &matched[..]);
                record.read(&Given { owner, matched, event, vouched, replayed, at: now.0 }, is_given);
            }
            if is_given {
                if of_set.takes(stamp, record) {
                    continue;
                }
                record.delivered(Delivery {
                    receiver: session,
                    tags: run.tags.borrow(),
                    payload,
                    matched: &matched,
                    at: now.0,
                    vouched,
                });
            } else if let Some((emitter, n)) = stamp.filter(|_| run.has_level) {
                record.removed(session, emitter, n);
            }
        }
        if run.wants_ack {
            self.acks.take(self.setup.acks, (run.number, taken), now, rng);
        }
        if let Some(place) = &run.place {
            self.pass(place);
        }
    }
}
