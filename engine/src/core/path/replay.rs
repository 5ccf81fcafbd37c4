//! Replays: owners read their rings for those who ask, and receivers are given what was read, as
//! their grants and streams allow.
//!
//! Live runs come first. In one turn a core spends at most [`STEPS_PER_TURN`] and [`BYTES_PER_TURN`]
//! on reading and [`RUNS_PER_TURN`] on delivering, about a quarter of the time that a turn may take,
//! and a receiver's replay leaves half of its grant to what is live.

use millrace_proto::control::OutcomeReason;
use std::sync::Arc;

use millrace_proto::data::{Gap, GapReason, Replay, flag};
use millrace_proto::run::RunBody;

use super::fate::Fates;
use super::leg::Leg;
use super::scan;
use super::state::{Path, Scratch};
use crate::core::delivery::Deliveries;
use crate::core::joins::{Joins, SourceJoin, SubscriptionJoin};
use crate::core::receiver::{Outlet, Receiver, State};
use crate::core::run::{REPLAYED, RunOut};
use crate::core::slot::ReceiverSlot;
use crate::history::{
    Ask, HistoryAnswer, HistoryAsk, HistoryWord, KeptRun, KnownSource, Place, ReadBudget, ReplayId,
};
use crate::ledger::Tally;
use crate::message::CoreIndex;
use crate::payload::ScanBudget;

/// Steps of reading in one turn: some 60 µs.
const STEPS_PER_TURN: usize = 3_072;
/// Bytes that are read in one turn.
const BYTES_PER_TURN: usize = 128 * 1024;
/// Bytes of one chunk, about: what a replay holds of each source.
const CHUNK_BYTES: usize = 32 * 1024;
/// Runs that are delivered in one turn: some 300 ns each.
const RUNS_PER_TURN: usize = 256;

/// Why a replay stops for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Something will come that lets it go on: a grant, room, an answer.
    Waits,
    /// It goes on in the next turn.
    NextTurn,
}

impl Path {
    /// Serves requests for this core's ring, and goes on with the replays of its receivers.
    pub(in crate::core) fn replay(&mut self) {
        if self.positions.replays.active.is_empty() && self.positions.replays.asks.is_empty() {
            return;
        }
        self.read_for_others();
        let mut work = RUNS_PER_TURN;
        for slot in self.positions.replays.begin_turn() {
            if work == 0 {
                self.positions.replays.has_more = true;
                break;
            }
            self.positions.replays.turn = slot + 1;
            self.go_on(slot, &mut work);
        }
    }

    fn read_for_others(&mut self) {
        let mut left = ReadBudget { steps: STEPS_PER_TURN, bytes: BYTES_PER_TURN };
        let own = self.positions.own.source.owner;
        while !left.is_spent()
            && let Some((core, HistoryAsk { id, ask, selectors })) = self.positions.replays.asks.pop_front()
        {
            let ring = &self.positions.ring;
            let (from, to, span) = match ask {
                Ask::Pin(begin) => {
                    let span = ring.span_of(begin);
                    (span.from, span.to, Some(span))
                }
                Ask::On { from, to } => (from, to, None),
            };
            let mut budget = ReadBudget { steps: left.steps, bytes: left.bytes.min(CHUNK_BYTES) };
            let chunk = ring.read(from, to, &selectors, &mut budget);
            left.bytes -= left.bytes.min(CHUNK_BYTES) - budget.bytes;
            left.steps = budget.steps;
            let answer = HistoryAnswer { id, owner: own, span, chunk };
            if core == own {
                self.answer(answer);
            } else {
                self.positions.replays.say(core, HistoryWord::Answer(answer));
            }
        }
    }

    /// A subscription does not ask for the past any more; live runs that wait for it go.
    pub(in crate::core) fn forget_past(&mut self, slot: ReceiverSlot, subscription: u16) {
        let Self { receivers, metrics, missed, ledger, .. } = self;
        let Some(receiver) = receivers.get_mut(slot) else { return };
        let Some(joins) = receiver.joins.as_mut() else { return };
        let mut fates = Fates { metrics, missed, ledger };
        let gone = Tally::missed(OutcomeReason::Departed);
        joins.0.retain_mut(|join| {
            let stays = join.subscription != subscription;
            for source in join.sources.iter_mut().filter(|_| !stays) {
                source.held.clear(|run| fates.end(run, gone));
            }
            stays
        });
        if joins.0.is_empty() {
            receiver.joins = None;
        }
    }

    /// A sibling asks, or answers.
    pub(in crate::core) fn history_word(&mut self, from: CoreIndex, word: HistoryWord) {
        match word {
            HistoryWord::Ask(ask) => self.positions.replays.asks.push_back((from, ask)),
            HistoryWord::Answer(answer) => self.answer(answer),
        }
    }

    /// A chunk has come.
    fn answer(&mut self, answer: HistoryAnswer) {
        let HistoryAnswer { id, owner, span, chunk } = answer;
        self.positions.replays.answered();
        let Some(receiver) = self.receivers.get_mut(id.receiver) else { return };
        let joins = receiver.joins.iter_mut().flat_map(|joins| &mut joins.0);
        let Some(join) = joins.into_iter().find(|join| join.replay == id.replay) else { return };
        let Some(source) = join.sources.iter_mut().find(|source| source.known.source.owner == owner) else {
            return;
        };
        source.is_asked = false;
        if let Some(span) = span {
            source.join.pinned(span.from, span.to);
            source.is_pinned = true;
            source.announce = Some(span);
        }
        // What was overrun is not wanted any more.
        if !source.join.is_joined() {
            source.is_cut |= chunk.is_cut;
            source.chunk = Some((chunk, 0));
        }
    }

    fn go_on(&mut self, slot: ReceiverSlot, work: &mut usize) {
        let Some(mut joins) = self.receivers.get_mut(slot).and_then(|receiver| receiver.joins.take()) else {
            self.positions.replays.active.remove(&slot);
            return;
        };
        for join in joins.0.iter_mut().filter(|join| join.is_effective) {
            let (mut sources, mut stop) = (std::mem::take(&mut join.sources), None);
            for source in &mut sources {
                if stop != Some(Stop::NextTurn) {
                    stop = self.go_on_with(slot, join, source, work).or(stop);
                }
            }
            join.sources = sources;
            if stop == Some(Stop::NextTurn) {
                self.positions.replays.has_more = true;
            }
        }
        self.settle_joins(&mut joins);
        self.receivers.mark(slot);
        let is_over = joins.0.is_empty();
        if is_over {
            self.positions.replays.active.remove(&slot);
        }
        if let Some(receiver) = self.receivers.get_mut(slot).filter(|_| !is_over) {
            receiver.joins = Some(joins);
        }
    }

    /// Forgets joins behind which everything passes.
    fn settle_joins(&self, joins: &mut Joins) {
        let seen: Vec<u64> = self.positions.sources.iter().map(|(_, seen)| seen).collect();
        let own = self.positions.own.number;
        joins.0.retain(|join| {
            let is_over = |source: &SourceJoin| {
                let number = source.known.number;
                let seen = seen.get(usize::from(number)).copied().unwrap_or(0);
                let at = source.join.passes_from();
                let has_come = number == own || at.is_some_and(|at| seen >= at);
                at.is_some() && source.joined.is_none() && has_come
            };
            !join.is_effective || !join.sources.iter().all(is_over)
        });
    }

    /// Goes on with one source of one subscription.
    fn go_on_with(
        &mut self,
        slot: ReceiverSlot,
        join: &SubscriptionJoin,
        source: &mut SourceJoin,
        work: &mut usize,
    ) -> Option<Stop> {
        loop {
            let owner = source.known.source.owner;
            if source.join.is_joined() {
                let stop = if source.joined.is_some() { self.blocked(slot) } else { None };
                if stop.is_none() {
                    self.say_what_comes(slot, source);
                }
                return stop;
            }
            if !source.is_pinned {
                let ask = Ask::Pin(source.begin);
                return self.ask(slot, join, source, owner, ask);
            }
            if let Some(stop) = self.blocked(slot) {
                return Some(stop);
            }
            if *work == 0 {
                return Some(Stop::NextTurn);
            }
            self.say_what_comes(slot, source);
            if let Some((chunk, done)) = &mut source.chunk {
                if let Some(run) = chunk.runs.get(*done) {
                    *done += 1;
                    *work -= 1;
                    self.deliver_replayed(slot, join, source.known.clone(), &run);
                    continue;
                }
                source.join.read(chunk.next);
                source.chunk = None;
            }
            match source.join.to_read() {
                Some((from, to)) => return self.ask(slot, join, source, owner, Ask::On { from, to }),
                None => {
                    let at = source.join.join()?;
                    source.joined = Some(at);
                    self.say_what_comes(slot, source);
                    self.pour(slot, join, source, at);
                    return None;
                }
            }
        }
    }

    fn ask(
        &mut self,
        slot: ReceiverSlot,
        join: &SubscriptionJoin,
        source: &mut SourceJoin,
        owner: CoreIndex,
        ask: Ask,
    ) -> Option<Stop> {
        let id = ReplayId { receiver: slot, replay: join.replay };
        if !source.is_asked {
            let own = self.positions.own.source.owner;
            let ask = HistoryAsk { id, ask, selectors: join.selectors.clone() };
            source.is_asked = self.positions.replays.ask(owner, own, ask);
        }
        Some(if source.is_asked { Stop::Waits } else { Stop::NextTurn })
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
    fn say_what_comes(&mut self, slot: ReceiverSlot, source: &mut SourceJoin) {
        let Some((receiver, deliveries)) = self.receivers.parts_mut(slot) else { return };
        let known = source.known.source;
        let mut replay = Replay {
            receiver: receiver.number,
            router: known.router,
            incarnation: known.incarnation,
            owner: known.owner,
            ..Replay::default()
        };
        if let Some(span) = source.announce.take() {
            (replay.from, replay.to, replay.oldest_kept) = (span.from, span.to, span.oldest);
            say(receiver, deliveries, &replay);
            source.is_cut |= span.is_cut;
        }
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
        // A body that was read when it came.
        let Ok(body) = RunBody::parse_head(kept.body) else { return };
        let tag = self.routes.intern(kept.tags, kept.tags.hash());
        let place = Place { source, position: kept.position };
        let run = RunOut {
            tag,
            number: None,
            tags: kept.tags,
            publisher: kept.publisher,
            flags: kept.flags & !flag::LEVEL_MASK | REPLAYED,
            fields: &[],
            body: kept.body,
            buffer: None,
            events: kept.events,
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
        while source.held.take(|run, position| {
            if position < at {
                // Whether the replay arrives nobody can tell.
                fates.end(run, replayed);
                return;
            }
            if let Ok(body) = RunBody::parse_head(run.body) {
                deliver(&mut leg, join.subscription, run, &body, (&mut *scans, &mut *scratch), &mut fates);
            }
            fates.end(run, Tally::NONE);
        }) {}
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
