//! Replays: receivers are given what was read of rings, as their grants and streams allow.
//!
//! Live runs come first: beside them a core spends a quarter of its time on the past, on reading
//! (`asks.rs`) and on delivering (`allowance.rs`), and a receiver's replay leaves half of its grant
//! to what is live.

use std::sync::Arc;

use millrace_proto::SubscriptionNumber;
use millrace_proto::control::OutcomeReason;
use millrace_proto::data::{Gap, GapReason, Replay, flag};
use millrace_proto::run::{RunBody, RunBuilder};

use super::asks::Asked;
use super::fate::Fates;
use super::leg::Leg;
use super::scan;
use super::state::{Path, Scratch};
use crate::core::delivery::Deliveries;
use crate::core::joins::{Joins, SourceJoin, SubscriptionJoin};
use crate::core::receiver::{Outlet, Receiver, State};
use crate::core::run::{REPLAYED, RunOut};
use crate::core::slot::ReceiverSlot;
use crate::history::{Ask, FarOwners, KeptRun, KnownSource, Place, Which};
use crate::ledger::{Level, Tally};
use crate::payload::ScanBudget;
use crate::time::Time;

/// Sources of one receiver that are asked or wait with what was read, at most. With many routers
/// the others wait for their turn.
const READING_MAX: usize = 8;

/// Why a replay stops for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Something will come that lets it go on: a grant, room, an answer.
    Waits,
    /// It goes on in the next turn.
    NextTurn,
    /// As many sources of the receiver are asked or read as may be.
    NoPlace,
}

/// How a source stands whose replay is done, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stands {
    /// Something is to be read, said or heard of it.
    Busy,
    /// Its router is lost: what its runs are to be told from stays until that is known to be gone.
    Awaits,
    /// Everything passes.
    Over,
}

impl Path {
    /// Serves requests for this core's ring, and goes on with the replays of its receivers.
    pub(in crate::core) fn replay(&mut self, now: Time) {
        let replays = &mut self.positions.replays;
        let receivers = replays.active.len() + replays.awaiting.len();
        if replays.active.is_empty() && replays.asks.is_empty() {
            return;
        }
        let live = self.metrics.runs_in + self.metrics.events_from_peers + self.metrics.events_from_siblings;
        let parts = replays.allowance.begin(now, live);
        if parts == 0 {
            return;
        }
        let queue_budget_bytes = self.clients.queue_budget_bytes;
        self.receivers.held.divide(queue_budget_bytes, receivers);
        let read = self.read_for_others(parts);
        let mut work = parts;
        for slot in self.positions.replays.begin_turn(queue_budget_bytes) {
            if work == 0 {
                self.positions.replays.has_more = true;
                break;
            }
            self.positions.replays.turn = slot + 1;
            self.go_on(slot, &mut work);
        }
        self.positions.replays.allowance.spend(read.max(parts - work));
        self.positions.replays.end_turn();
    }

    /// Hears whose history can be asked for, and whose is gone. That comes before the first runs of
    /// a router's next life, and so does the gap for it.
    pub(in crate::core) fn far_told(&mut self, far: Arc<FarOwners>) {
        let is_news = far.ended != self.positions.replays.far.ended;
        self.positions.sources.hear(&far);
        let replays = &mut self.positions.replays;
        replays.far = Arc::clone(&far);
        replays.has_more |= !replays.awaiting.is_empty();
        replays.active.append(&mut replays.awaiting);
        let active = self.positions.replays.active.iter().filter(|_| is_news);
        for slot in active.copied().collect::<Vec<_>>() {
            let joins = self.receivers.get_mut(slot).and_then(|receiver| receiver.joins.take());
            let Some(mut joins) = joins else { continue };
            for join in joins.list.iter_mut().filter(|join| join.is_effective) {
                join.miss_ended(&far);
                self.tell_missed(slot, join);
            }
            self.receivers.mark(slot);
            if let Some(receiver) = self.receivers.get_mut(slot) {
                receiver.joins = Some(joins);
            }
        }
    }

    fn go_on(&mut self, slot: ReceiverSlot, work: &mut usize) {
        let Some(mut joins) = self.receivers.get_mut(slot).and_then(|receiver| receiver.joins.take()) else {
            self.positions.replays.active.remove(&slot);
            return;
        };
        let reading = joins.list.iter().flat_map(|join| &join.sources).filter(|source| source.is_reading());
        let mut places = READING_MAX.saturating_sub(reading.count());
        let mut has_waited = false;
        for join in joins.list.iter_mut().filter(|join| join.is_effective) {
            let (mut sources, mut stop) = (std::mem::take(&mut join.sources), None);
            if join.has_missed() && self.blocked(slot).is_none() {
                self.tell_missed(slot, join);
            }
            for source in &mut sources {
                let is_own = source.life.server == self.positions.own.source.router;
                let may_come = (is_own || join.is_complete) && !source.life.waits;
                if stop != Some(Stop::NextTurn) && may_come {
                    let was_reading = source.is_reading();
                    let next = self.go_on_with(slot, join, source, (&mut *work, places > 0));
                    has_waited |= next == Some(Stop::NoPlace);
                    stop = next.or(stop);
                    places =
                        (places + usize::from(was_reading)).saturating_sub(usize::from(source.is_reading()));
                }
            }
            for lost in sources.iter().filter(|source| source.is_lost) {
                join.miss_rest(lost.known.source.router, lost.is_loss_told);
            }
            join.sources = sources;
            self.positions.replays.tell(join.take_told());
            if join.settle_lives() || stop == Some(Stop::NextTurn) {
                self.positions.replays.has_more = true;
            }
        }
        // A place may have become free behind a source that waited for one.
        self.positions.replays.has_more |= has_waited && places > 0;
        joins.count_held();
        let is_busy = self.settle_joins(&mut joins);
        self.receivers.mark(slot);
        let is_over = joins.list.is_empty();
        if !is_busy {
            self.positions.replays.active.remove(&slot);
        }
        if !is_busy && !is_over {
            self.positions.replays.awaiting.insert(slot);
        }
        if let Some(receiver) = self.receivers.get_mut(slot).filter(|_| !is_over) {
            receiver.joins = Some(joins);
        }
    }

    /// Says which routers' part of the past does not come.
    fn tell_missed(&mut self, slot: ReceiverSlot, join: &mut SubscriptionJoin) {
        let Some((receiver, deliveries)) = self.receivers.parts_mut(slot) else { return };
        while let Some((router, reason)) = join.next_missed() {
            let gap = Gap { reason, events: 0, router: Some(router) };
            Leg { slot, receiver: &mut *receiver, deliveries: &mut *deliveries }.push_gap(gap);
        }
    }

    /// Forgets joins behind which everything passes. Says whether something is to be done for
    /// others, which is not so as long as they only wait for a router that is lost or comes back.
    fn settle_joins(&self, joins: &mut Joins) -> bool {
        let mut is_busy = false;
        let seen: Vec<u64> = self.positions.sources.iter().map(|(_, seen)| seen).collect();
        let own = &self.positions.own;
        let far = &self.positions.replays.far;
        joins.list.retain(|join| {
            let stands = |source: &SourceJoin| {
                if source.life.earlier.is_some() {
                    return if source.is_over() { Stands::Over } else { Stands::Busy };
                }
                let number = source.known.number;
                let seen = seen.get(usize::from(number)).copied().unwrap_or(0);
                let passes_from = source.join.passes_from().filter(|_| source.joined.is_none());
                let Some(at) = passes_from else { return Stands::Busy };
                if number == own.number || seen >= at {
                    Stands::Over
                } else if source.known.source.router == own.source.router
                    || far.get(&source.known.source).is_some()
                {
                    Stands::Busy
                } else if far.is_lost(source.known.source.router) {
                    Stands::Awaits
                } else {
                    // No more runs come of an owner that is gone.
                    Stands::Over
                }
            };
            let is_told = join.is_complete && !join.has_missed();
            let least = join.sources.iter().map(stands).min().unwrap_or(Stands::Over);
            let is_behind = join.is_behind(far, &self.positions.sources);
            is_busy |= !is_told || least == Stands::Busy || is_behind;
            !is_told || least != Stands::Over || is_behind || join.awaits(far)
        });
        is_busy
    }

    /// Goes on with one source of one subscription.
    fn go_on_with(
        &mut self,
        slot: ReceiverSlot,
        join: &SubscriptionJoin,
        source: &mut SourceJoin,
        (work, has_place): (&mut usize, bool),
    ) -> Option<Stop> {
        loop {
            if source.join.is_joined() {
                let stop = if source.joined.is_some() { self.blocked(slot) } else { None };
                if stop.is_none() {
                    self.say_what_comes(slot, join, source);
                }
                return stop;
            }
            if source.is_lost {
                let stop = self.blocked(slot);
                if stop.is_none() {
                    source.chunk = None;
                    self.tell_rest_lost(slot, source);
                    let at = source.join.give_up();
                    self.pour(slot, join, source, at);
                }
                return stop;
            }
            if !source.is_pinned {
                let ask = Ask::Pin(source.begin);
                return self.ask_next(slot, join, (source, has_place), ask);
            }
            if let Some(stop) = self.blocked(slot) {
                if stop == Stop::Waits && self.positions.replays.is_short() {
                    source.put_back();
                }
                return Some(stop);
            }
            if *work == 0 {
                return Some(Stop::NextTurn);
            }
            self.say_what_comes(slot, join, source);
            if let Some(read) = &mut source.chunk {
                if let Some(run) = read.take() {
                    *work -= 1;
                    if source.join.is_replayed(run.position) {
                        self.deliver_replayed(slot, join, source.known.clone(), &run);
                        continue;
                    }
                }
                // What another router has read beyond the end comes live, unless the end moves.
                source.join.read_to(read.next());
                source.chunk = None;
            }
            match source.join.to_read() {
                Some((from, to)) => {
                    source.asks_for(to - from);
                    return self.ask_next(slot, join, (source, has_place), Ask::On { from, to });
                }
                None => {
                    let at = source.join.join()?;
                    source.joined = Some(at);
                    self.say_what_comes(slot, join, source);
                    self.pour(slot, join, source, at);
                    return None;
                }
            }
        }
    }

    /// The rest of a replay does not come. A gap that was told for another owner of its router
    /// stands before what has come of this one, so that it gets one of its own.
    fn tell_rest_lost(&mut self, slot: ReceiverSlot, source: &mut SourceJoin) {
        if !source.has_begun() {
            return;
        }
        let Some((receiver, deliveries)) = self.receivers.parts_mut(slot) else { return };
        source.is_loss_told = true;
        let router = Some(source.known.source.router);
        let gap = Gap { reason: GapReason::RouterLost, events: 0, router };
        Leg { slot, receiver, deliveries }.push_gap(gap);
    }

    fn ask_next(
        &mut self,
        slot: ReceiverSlot,
        join: &SubscriptionJoin,
        (source, has_place): (&mut SourceJoin, bool),
        ask: Ask,
    ) -> Option<Stop> {
        if source.is_asked {
            return Some(Stop::Waits);
        }
        if !has_place {
            return Some(Stop::NoPlace);
        }
        match self.ask(slot, join, source, ask) {
            Asked::Yes | Asked::Later => Some(Stop::Waits),
            Asked::Never => {
                source.is_lost = true;
                Some(Stop::NextTurn)
            }
        }
    }

    /// Why nothing can be replayed to a receiver now, if so.
    fn blocked(&mut self, slot: ReceiverSlot) -> Option<Stop> {
        let (receiver, deliveries) = self.receivers.parts_mut(slot)?;
        if receiver.selectors.desk.as_ref().is_some_and(|desk| desk.is_waiting()) {
            return Some(Stop::NextTurn);
        }
        if !receiver.queue.may_replay() {
            return Some(Stop::Waits);
        }
        let is_opening = receiver.state == State::Opening;
        let (stream, at, is_open, has_line) = match &mut receiver.outlet {
            Outlet::Own(stream) => (stream, slot, !is_opening, false),
            &mut Outlet::Shared(at) => {
                let delivery = deliveries.get_mut(at)?;
                let (is_open, has_line) = (delivery.key.is_some(), delivery.has_line());
                (&mut delivery.stream, at, is_open, has_line)
            }
        };
        stream.look_for_room();
        if stream.has_room() && !has_line {
            return None;
        }
        let will_hear = !is_open || stream.is_blocked() || stream.wait_for_room(at);
        Some(if will_hear { Stop::Waits } else { Stop::NextTurn })
    }

    /// Says where a replay begins or ends, and what of it is gone.
    fn say_what_comes(&mut self, slot: ReceiverSlot, join: &SubscriptionJoin, source: &mut SourceJoin) {
        let Some((receiver, deliveries)) = self.receivers.parts_mut(slot) else { return };
        let known = source.known.source;
        let mut replay = Replay {
            receiver: receiver.number,
            router: known.router,
            incarnation: known.incarnation,
            owner: known.owner,
            subscription: SubscriptionNumber(join.subscription.into()),
            ..Replay::default()
        };
        if let Some(span) = source.announce.take() {
            (replay.from, replay.to, replay.oldest_kept) = (span.from, span.to, span.oldest);
            say(receiver, deliveries, &replay);
            source.is_cut |= span.is_cut || (span.oldest > 0 && join.knows_nothing_of(source));
        }
        source.is_cut |= std::mem::take(&mut source.is_of_other_life);
        if std::mem::take(&mut source.is_cut) {
            let gap = Gap { reason: GapReason::Evicted, events: 0, router: Some(known.router) };
            Leg { slot, receiver: &mut *receiver, deliveries: &mut *deliveries }.push_gap(gap);
        }
        if let Some(to) = source.joined.take() {
            (replay.from, replay.to, replay.joined) = (to, to, true);
            say(receiver, deliveries, &replay);
        }
    }

    fn deliver_replayed(
        &mut self,
        slot: ReceiverSlot,
        join: &SubscriptionJoin,
        source: Arc<KnownSource>,
        kept: &KeptRun<'_>,
    ) {
        let mut newest = Vec::new();
        if join.which() == Which::Newest {
            newest_event(kept.body, &mut newest);
        }
        let bytes = if newest.is_empty() { kept.body } else { &newest };
        // A body that was read when it came.
        let Ok(body) = RunBody::parse_head(bytes) else { return };
        let tag = self.routes.intern(kept.tags, kept.tags.hash());
        let place = Place { source, position: kept.position };
        let run = RunOut {
            tag,
            number: None,
            tags: kept.tags,
            publisher: kept.publisher,
            flags: without_ack(kept.flags) | REPLAYED,
            fields: &[],
            body: bytes,
            buffer: None,
            events: body.count(),
            from: None,
            entry: None,
            place: Some(&place),
        };
        let Self { receivers, scans, scratch, metrics, missed, ledger, .. } = self;
        let Some((receiver, deliveries)) = receivers.parts_mut(slot) else { return };
        metrics.events_replayed += run.events;
        let mut leg = Leg { slot, receiver, deliveries };
        let mut fates = Fates { metrics, missed, ledger };
        deliver(&mut leg, join.subscription, &run, &body, (scans, scratch), &mut fates);
    }

    /// Delivers the live runs that have waited.
    fn pour(&mut self, slot: ReceiverSlot, join: &SubscriptionJoin, source: &mut SourceJoin, at: u64) {
        let Self { receivers, scans, scratch, metrics, missed, ledger, .. } = self;
        let Some((receiver, deliveries)) = receivers.parts_mut(slot) else { return };
        let mut leg = Leg { slot, receiver, deliveries };
        let mut fates = Fates { metrics, missed, ledger };
        let replayed = Tally::missed(OutcomeReason::Overflow);
        let SourceJoin { held, passed, .. } = source;
        while held.take(|run, position| {
            if position < at {
                // Whether the replay arrives nobody can tell.
                fates.end(run, replayed);
                return;
            }
            *passed = position + 1;
            if let Ok(body) = RunBody::parse_head(run.body) {
                deliver(&mut leg, join.subscription, run, &body, (&mut *scans, &mut *scratch), &mut fates);
            }
            fates.end(run, Tally::NONE);
        }) {}
    }
}

/// The flags of a run that nobody is to acknowledge. What has a level keeps one, because its
/// publisher may send it again, and the receiver's library is to know both copies.
const fn without_ack(flags: u64) -> u64 {
    let level = if flags & flag::LEVEL_MASK == 0 { 0 } else { Level::Routed as u64 };
    flags & !flag::LEVEL_MASK | level
}

/// Writes the run of the last event of a run, if that has others.
fn newest_event(body: &[u8], out: &mut Vec<u8>) {
    let Ok(body) = RunBody::parse_head(body) else { return };
    if body.count() > 1
        && let Some(event) = body.events().last()
    {
        let mut run = RunBuilder::default();
        run.start(event.seq, body.floor(), event.time_ns);
        run.push(event.time_ns, event.payload);
        run.finish(out);
    }
}

/// Writes the begin of a replay, or its end.
fn say(receiver: &mut Receiver, deliveries: &mut Deliveries, replay: &Replay) {
    match &mut receiver.outlet {
        Outlet::Own(stream) => receiver.queue.write_aside(stream, |stream| stream.replay(replay)),
        &mut Outlet::Shared(at) => {
            if let Some(delivery) = deliveries.get_mut(at) {
                delivery.write_replay(replay);
            }
        }
    }
}

/// Delivers a run to one subscription of a receiver.
fn deliver(
    leg: &mut Leg<'_>,
    subscription: u16,
    run: &RunOut<'_>,
    body: &RunBody<'_>,
    (scans, scratch): (&mut ScanBudget, &mut Scratch),
    fates: &mut Fates<'_>,
) {
    let targets = leg.receiver.selectors.targets_for(leg.slot, subscription, run.tags);
    if targets.is_empty() {
        return;
    }
    if leg.receiver.selectors.has_patterns() && leg.receiver.selectors.is_by_payload(&targets) {
        scan::deliver_by_payload(leg, &targets, run, body, scans, scratch, fates);
    } else {
        leg.push(std::iter::once(subscription), &mut scratch.fields, run, fates);
    }
}
