//! Requests for history and their answers: this core's ring is read for whoever asks, and what was
//! read for receivers of this core waits for them.
//!
//! An owner of this router is asked by a word to its core. One of another router is asked by a word
//! to the core that has the lane to it, whose session passes it on (`lane/history.rs`).

use std::sync::Arc;

use millrace_proto::control::OutcomeReason;
use millrace_proto::data::{GapReason, Source};

use super::fate::Fates;
use super::state::Path;
use crate::core::joins::{SourceJoin, SubscriptionJoin};
use crate::core::mail::PendingSubscription;
use crate::core::read_ahead::ReadAhead;
use crate::core::replays::CHUNK_BYTES;
use crate::core::slot::ReceiverSlot;
use crate::history::{
    Ask, Asker, Begin, Found, FromFiles, HistoryAnswer, HistoryAsk, HistoryWord, ReadBudget, ReplayId, Which,
};
use crate::ledger::Tally;
use crate::message::{CoreIndex, Effective};

/// Steps of reading for each part of a turn's allowance: some 60 µs for all of it.
const STEPS_PER_PART: usize = 12;
/// Bytes that are read for each part: 128 KiB for all of it.
const BYTES_PER_PART: usize = 512;

/// What became of the wish to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The owner is asked.
    Yes,
    /// As many requests as may be are not answered.
    Later,
    /// Nobody leads to the owner.
    Never,
}

impl Path {
    /// Reads this core's ring for those who have asked, as far as the turn's allowance goes.
    /// Returns the parts that were spent.
    pub(super) fn read_for_others(&mut self, parts: usize) -> usize {
        let all = ReadBudget { steps: parts * STEPS_PER_PART, bytes: parts * BYTES_PER_PART };
        let mut left = all;
        while !left.is_spent()
            && let Some((asker, HistoryAsk { id, owner, ask, selectors, which, not_before, .. })) =
                self.positions.replays.asks.pop_front()
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
            let chunk = ring.read((from, to), &selectors, which, &mut budget);
            left.bytes -= left.bytes.min(CHUNK_BYTES) - budget.bytes;
            left.steps = budget.steps;
            // Another router's receivers learn by the first answer what else is kept here.
            let is_first =
                matches!((asker, ask), (Asker::Lane(_), Ask::Pin(Begin::Since(_) | Begin::Oldest)));
            let pasts = if is_first && which == Which::All {
                self.positions.files.past.since(not_before).collect()
            } else {
                Box::default()
            };
            self.found(asker, HistoryAnswer { id, owner, found: Found::Read { span, chunk, pasts } });
        }
        let (steps, bytes) = (all.steps - left.steps, all.bytes - left.bytes);
        steps.div_ceil(STEPS_PER_PART).max(bytes.div_ceil(BYTES_PER_PART))
    }

    fn found(&mut self, asker: Asker, answer: HistoryAnswer) {
        match asker {
            Asker::Core(core) => self.history_found(core, answer),
            Asker::Lane(conn) => self.positions.replays.answer_lane(conn, answer),
        }
    }

    /// Whoever keeps the router's history files answers, or says what they have.
    pub(in crate::core) fn files_told(&mut self, word: FromFiles) {
        match word {
            FromFiles::Answer { asker, answer } => self.found(asker, *answer),
            FromFiles::Past(past) => self.positions.files.set_past(past),
        }
    }

    /// A request of a core was answered.
    pub(in crate::core) fn history_found(&mut self, core: CoreIndex, answer: HistoryAnswer) {
        if core == self.positions.own.source.owner {
            self.answer(answer);
        } else {
            self.positions.replays.say(core, HistoryWord::Answer(answer));
        }
    }

    /// Nobody answers a request of a core.
    pub(in crate::core) fn history_lost(
        &mut self,
        core: CoreIndex,
        id: ReplayId,
        owner: Source,
        reason: GapReason,
    ) {
        self.history_found(core, HistoryAnswer { id, owner, found: Found::Lost(reason) });
    }

    /// A sibling asks, or answers.
    pub(in crate::core) fn history_word(&mut self, from: CoreIndex, word: HistoryWord) {
        match word {
            HistoryWord::Ask(ask) => self.take_ask(from, ask),
            HistoryWord::Answer(answer) => self.answer(answer),
        }
    }

    fn take_ask(&mut self, from: CoreIndex, ask: HistoryAsk) {
        if ask.owner == self.positions.own.source {
            self.positions.replays.asks.push_back((Asker::Core(from), ask));
        } else {
            self.positions.replays.ask_lane(from, ask);
        }
    }

    /// Asks for the next stretch of a source.
    pub(super) fn ask(
        &mut self,
        slot: ReceiverSlot,
        join: &SubscriptionJoin,
        source: &mut SourceJoin,
        ask: Ask,
    ) -> Asked {
        let (owner, own) = (source.known.source, self.positions.own.source);
        let (is_far, is_past) = (source.life.server != own.router, source.life.earlier.is_some());
        let far = &self.positions.replays.far;
        let server = match (is_far, is_past) {
            (false, false) => Some((owner, owner.owner)),
            (false, true) => Some((own, own.owner)),
            (true, false) => far.get(&owner).map(|far| (owner, far.core)),
            (true, true) => far.server(source.life.server, owner.owner).map(|far| (far.source, far.core)),
        };
        let Some((server, core)) = server else { return Asked::Never };
        if !self.positions.replays.may_ask(is_far) {
            return Asked::Later;
        }
        self.positions.replays.asked(is_far);
        source.is_asked = true;
        let id = ReplayId { receiver: slot, replay: join.replay, is_far };
        let (selectors, which, not_before) =
            (Arc::clone(&join.selectors), join.which(), join.not_before(source));
        let ask = HistoryAsk { id, owner, server, ask, selectors, which, not_before };
        if is_past && !is_far {
            self.positions.files.ask(Asker::Core(core), ask);
        } else if core == own.owner {
            self.take_ask(core, ask);
        } else {
            self.positions.replays.say(core, HistoryWord::Ask(ask));
        }
        Asked::Yes
    }

    /// A request of this core was answered.
    fn answer(&mut self, answer: HistoryAnswer) {
        let HistoryAnswer { id, owner, found } = answer;
        self.positions.replays.answered(id.is_far);
        let Some(receiver) = self.receivers.get_mut(id.receiver) else { return };
        let joins = receiver.joins.iter_mut().flat_map(|joins| &mut joins.list);
        let Some(join) = joins.into_iter().find(|join| join.replay == id.replay) else { return };
        if let Found::Read { pasts, .. } = &found
            && !pasts.is_empty()
        {
            join.add_pasts(&owner, pasts, &mut self.positions.sources);
            self.positions.replays.has_more = true;
        }
        let Some(source) = join.sources.iter_mut().find(|source| source.known.source == owner) else {
            return;
        };
        source.is_asked = false;
        // What was overrun is not wanted any more.
        if source.join.is_joined() {
            return;
        }
        match found {
            Found::Read { span, chunk, .. } => {
                if let Some(span) = span {
                    // Another router says with each stretch what it consists of.
                    source.is_cut |= span.is_cut;
                    if !std::mem::replace(&mut source.is_pinned, true) {
                        source.join.pinned(span.from, span.to);
                        source.announce = Some(span);
                    }
                }
                source.is_cut |= chunk.is_cut;
                source.covered = chunk.next.saturating_sub(source.join.next());
                let charge = self.positions.replays.charge(ReadAhead::bytes_of(&chunk));
                source.chunk = (!source.life.waits).then(|| ReadAhead::new(chunk, charge));
            }
            Found::Lost(reason) => {
                source.is_lost = true;
                join.miss(owner.router, reason);
            }
        }
    }

    /// All routers match a subscription but those that are left out: owners of other routers are
    /// asked, if it asked for the past, and its client is told when they have answered: of what is
    /// published before, a publisher may hear that it is left to a replay. Returns what the client
    /// can be told at once, if it did not ask for the past.
    pub(in crate::core) fn complete_past(
        &mut self,
        pending: &PendingSubscription,
        effective: Effective,
    ) -> Option<Effective> {
        let own = self.positions.own.source.router;
        let joins = self.receivers.get_mut(pending.slot).and_then(|receiver| receiver.joins.as_mut());
        let Some(join) = joins.and_then(|joins| joins.of(effective.token)) else { return Some(effective) };
        let far = Arc::clone(&self.positions.replays.far);
        join.complete(own, &far, &effective.left_out, &mut self.positions.sources);
        join.to_tell = Some((*pending, effective));
        self.positions.replays.active.insert(pending.slot);
        self.positions.replays.has_more = true;
        None
    }

    /// A subscription does not ask for the past any more; live runs that wait for it go.
    pub(in crate::core) fn forget_past(&mut self, slot: ReceiverSlot, subscription: u16) {
        let Self { receivers, metrics, missed, ledger, .. } = self;
        let Some(receiver) = receivers.get_mut(slot) else { return };
        let Some(joins) = receiver.joins.as_mut() else { return };
        let mut fates = Fates { metrics, missed, ledger };
        let gone = Tally::missed(OutcomeReason::Departed);
        joins.list.retain_mut(|join| {
            let stays = join.subscription != subscription;
            if !stays {
                self.positions.replays.tell(join.to_tell.take());
            }
            for source in join.sources.iter_mut().filter(|_| !stays) {
                source.held.clear(|run| fates.end(run, gone));
            }
            stays
        });
        joins.count_held();
        if joins.list.is_empty() {
            receiver.joins = None;
        }
    }
}
