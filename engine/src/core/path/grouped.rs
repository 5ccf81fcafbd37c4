//! Groups: runs go to a member with a ticket, and answers come back.
//!
//! An owner [offers](offer) a run to the groups that want it; at the end of the turn
//! ([`Path::serve_groups`]) it is given to a member of this core, or sent with its ticket to the
//! core or peer where the member is. There, [`Path::take_ticket`] gives it to the member or hands
//! the ticket back.

use millrace_proto::TagSetRef;
use millrace_proto::control::{AckKind, OutcomeReason};
use millrace_proto::data::optional::GroupTicket;
use millrace_proto::data::{HopHeader, flag, hop_field};
use millrace_proto::mesh::Tickets;
use millrace_proto::varint;

use super::entered::{Entered, Scope};
use super::fate::Fates;
use super::leg::Leg;
use super::reader::KnownTags;
use super::state::Path;
use crate::core::group_run::GroupRun;
use crate::core::metrics::{CoreMetrics, DropReason};
use crate::core::run::RunOut;
use crate::core::slot::ReceiverSlot;
use crate::groups::{Answer, End, Groups, Held, Load, MemberIndex, Ticket, Whence, member_of};
use crate::ledger::{Ledger, Level, Tally};
use crate::matching::{Index, Location, Taker};
use crate::message::{CoreIndex, TicketAnswer};
use crate::time::Time;
use crate::transport::ConnKey;

/// A hop field between cores of a router only: the lane that a ticket came on.
const LANE_FIELD: u64 = 40;

/// Offers a run to the groups among `takers`: each keeps a copy, which is a leg of the run. Only an
/// owner gives to members. Says whether it is the owner's.
#[cold]
pub(super) fn offer(
    groups: &mut Groups<GroupRun>,
    now: Time,
    scope: Scope,
    takers: &[Taker],
    run: &RunOut<'_>,
    hash: u64,
    fates: &mut Fates<'_>,
) -> bool {
    if scope != Scope::All {
        return false;
    }
    if let Some(entry) = run.entry {
        fates.ledger.prolong(entry);
    }
    groups.offer(now, takers.iter().filter_map(|taker| member(*taker)), || {
        fates.add(run);
        GroupRun::new(run, hash)
    });
    true
}

fn member(taker: Taker) -> Option<MemberIndex> {
    match taker.location() {
        Location::Member(index) => Some(index),
        _ => None,
    }
}

/// The members that want a run by now.
fn wanted_by(directory: &Index<Taker>, run: &GroupRun, out: &mut Vec<MemberIndex>) {
    directory.matches(run.tags(), |taker| out.extend(member(taker)));
    out.dedup();
}

impl Path {
    /// Whether runs are to be given to members, somebody is to be told of members, or receivers
    /// have lost their names.
    #[inline]
    pub(in crate::core) fn has_group_work(&self) -> bool {
        self.groups.has_work() || self.clients.members.has_words() || self.clients.names.has_lost()
    }

    /// Gives runs to members, as far as they take them, and ends those that nobody takes.
    pub(in crate::core) fn serve_groups(&mut self) {
        let now = self.pacing.crowd.now();
        while self.groups.has_work() {
            let Self { groups, directory, .. } = self;
            groups.serve(now, &mut |run, out| wanted_by(directory, run, out));
            while let Some(ticket) = self.groups.next_given() {
                self.give(now, &ticket);
            }
            let Self { groups, ledger, metrics, .. } = self;
            groups.end_each(|run, end| end_grouped(ledger, metrics, &run, end));
        }
    }

    /// Gives a run to the member that was chosen.
    fn give(&mut self, now: Time, ticket: &Ticket) {
        let own = Location::Core(self.positions.shards.core());
        let Self { groups, receivers, locations, scratch, metrics, missed, ledger, clients, .. } = self;
        let Some((run, group)) = groups.load_mut(ticket.number) else { return };
        metrics.group_given += run.events();
        let copy = run.copy(ticket.maybe_duplicate);
        let location = ticket.place.location;
        let here = clients.members.slot(ticket.place.number).filter(|_| location == own);
        let mut fates = Fates { metrics, missed, ledger };
        let is_given = if let Some(slot) = here {
            let held = Held {
                whence: Whence::Here,
                ticket: ticket.number,
                generation: ticket.generation,
                events: run.events(),
            };
            give_to(receivers, scratch, &copy, (group, run.asked()), now, slot, held, &mut fates)
        } else {
            scratch.fields.clear();
            GroupTicket { ticket: ticket.number, generation: ticket.generation, group }
                .put(&mut scratch.fields);
            scratch.fields.extend_from_slice(run.fields());
            let copy = RunOut { fields: &scratch.fields, ..copy };
            locations.give(location, &copy, &mut fates)
        };
        if !is_given {
            metrics.group_handed_back += run.events();
            self.answer_own(now, ticket.number, ticket.generation, Answer::NotTaken);
        } else if Level::of_flags(run.flags) == Some(Level::Routed)
            && let Some(entry) = run.entry.take()
        {
            ledger.end(entry, run.span(), Tally::TAKEN);
        }
        if let Some(slot) = here {
            self.report_member(now, slot);
        }
    }

    /// A run that a peer sends, on the lane `conn`, may have a ticket for a member of this router.
    /// Says whether it has.
    #[cold]
    pub(in crate::core) fn take_ticket(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        hop: &HopHeader<'_>,
        conn: ConnKey,
    ) -> bool {
        let Ok(Some(ticket)) = hop.ticket() else { return false };
        let core = self.clients.members.core_of(member_of(ticket.ticket));
        if core == self.positions.shards.core() {
            self.take_for_member(tags, entered, &ticket, asked(hop), Whence::Lane(conn));
            return true;
        }
        let tag = self.intern(tags);
        let Self { locations, scratch, metrics, missed, ledger, .. } = self;
        scratch.fields.clear();
        ticket.put(&mut scratch.fields);
        if !asked(hop).is_empty() {
            millrace_proto::field::put_bytes(&mut scratch.fields, hop_field::RECIPIENTS, asked(hop));
        }
        millrace_proto::field::put_u64(&mut scratch.fields, LANE_FIELD, conn.0);
        let run = RunOut { fields: &scratch.fields, tag, ..ticketed(tags.tags(), entered) };
        if !locations.give(Location::Core(core), &run, &mut Fates { metrics, missed, ledger }) {
            self.answer_back(Whence::Lane(conn), ticket.ticket, ticket.generation, Answer::NotTaken);
        }
        true
    }

    /// A run that a sibling hands over may have a ticket. Says whether it has.
    #[cold]
    pub(in crate::core) fn take_ticket_from_sibling(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        hop: &HopHeader<'_>,
        from: CoreIndex,
    ) -> bool {
        let Ok(Some(ticket)) = hop.ticket() else { return false };
        let lane = hop.field(LANE_FIELD).and_then(|mut value| varint::take(&mut value).ok());
        let whence = lane.map_or(Whence::Sibling(from), |lane| Whence::SiblingLane(from, ConnKey(lane)));
        self.metrics.events_from_siblings += entered.run.body.count();
        self.take_for_member(tags, entered, &ticket, asked(hop), whence);
        true
    }

    /// Gives a run to the member that its ticket names, or hands the ticket back.
    fn take_for_member(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        ticket: &GroupTicket<'_>,
        asked: &[u8],
        whence: Whence,
    ) {
        let tag = self.intern(tags);
        let now = self.pacing.crowd.now();
        let slot = self.clients.members.slot(member_of(ticket.ticket));
        let run = RunOut { tag, ..ticketed(tags.tags(), entered) };
        let &GroupTicket { ticket, generation, group } = ticket;
        let held = Held { whence, ticket, generation, events: run.events };
        let Self { receivers, scratch, metrics, missed, ledger, .. } = self;
        let mut fates = Fates { metrics, missed, ledger };
        let is_given = slot.is_some_and(|slot| {
            give_to(receivers, scratch, &run, (group, asked), now, slot, held, &mut fates)
        });
        if !is_given {
            self.metrics.group_handed_back += run.events;
            self.answer_back(whence, ticket, generation, Answer::NotTaken);
        }
        if let Some(slot) = slot {
            self.report_member(now, slot);
        }
    }

    /// A peer answers for tickets of this core.
    pub(in crate::core) fn tickets_answered(&mut self, tickets: &Tickets) {
        let answer = match (tickets.kind, tickets.reason) {
            (AckKind::Taken, _) => Answer::Taken,
            (_, OutcomeReason::Busy) => Answer::NotTaken,
            _ => Answer::MaybeSeen,
        };
        let now = self.pacing.crowd.now();
        for ticket in &tickets.tickets {
            self.answer_own(now, ticket.ticket, ticket.generation, answer);
        }
    }

    /// A sibling answers for tickets that it was given: this core's, or a peer's.
    pub(in crate::core) fn sibling_answered_tickets(&mut self, now: Time, answers: &[TicketAnswer]) {
        for answer in answers {
            match answer.lane {
                None => self.answer_own(now, answer.ticket, answer.generation, answer.answer),
                Some(lane) => self.clients.members.answer_lane(lane, *answer),
            }
        }
    }

    /// Tells the owner of a ticket what became of it.
    pub(in crate::core) fn answer_back(
        &mut self,
        whence: Whence,
        ticket: u64,
        generation: u64,
        answer: Answer,
    ) {
        let told = |lane| TicketAnswer { lane, ticket, generation, answer };
        match whence {
            Whence::Here => self.answer_own(self.pacing.crowd.now(), ticket, generation, answer),
            Whence::Sibling(core) => self.clients.members.answer_sibling(core, told(None)),
            Whence::SiblingLane(core, lane) => self.clients.members.answer_sibling(core, told(Some(lane))),
            Whence::Lane(lane) => self.clients.members.answer_lane(lane, told(None)),
        }
    }

    /// Hands back everything that a member has: its session does not answer, or it leaves.
    pub(in crate::core) fn hand_back_all(&mut self, slot: ReceiverSlot) {
        let intake = self.receivers.get_mut(slot).and_then(|receiver| receiver.member.as_mut());
        for held in intake.map(|intake| intake.take_all()).unwrap_or_default() {
            self.answer_back(held.whence, held.ticket, held.generation, Answer::MaybeSeen);
        }
    }

    fn answer_own(&mut self, now: Time, ticket: u64, generation: u64, answer: Answer) {
        let Self { groups, directory, .. } = self;
        groups.answer(now, (ticket, generation), answer, &mut |run, out| wanted_by(directory, run, out));
    }

    /// Says how a member of this core is, if that matters: to this core's groups at once, to others
    /// through control.
    pub(in crate::core) fn report_member(&mut self, now: Time, slot: ReceiverSlot) {
        let Some(intake) = self.receivers.get_mut(slot).and_then(|receiver| receiver.member.as_mut()) else {
            return;
        };
        let Some(state) = intake.take_news() else { return };
        let number = intake.membership().member;
        self.clients.members.note(number, state);
        if let Some(index) = self.clients.members.index(number) {
            self.groups.set_state(now, index, state);
        }
    }
}

/// A run of a group has ended.
fn end_grouped(ledger: &mut Ledger, metrics: &mut CoreMetrics, run: &GroupRun, end: End) {
    let reason = match end {
        End::Taken => None,
        End::Unavailable | End::Refused => Some(DropReason::GroupUnavailable),
        End::Attempts => Some(DropReason::GroupAttempts),
    };
    if let Some(reason) = reason {
        metrics.drop(reason, run.events());
    }
    if let Some(entry) = run.entry {
        let tally = match (end, reason) {
            (End::Refused, _) => Tally::missed(OutcomeReason::Busy),
            (_, Some(reason)) => Tally::given_up(reason.outcome()),
            (_, None) => Tally::TAKEN,
        };
        ledger.end(entry, run.span(), tally);
    }
}

/// What a run asks that came with a ticket, as hop field 7.
fn asked<'a>(hop: &HopHeader<'a>) -> &'a [u8] {
    hop.field(hop_field::RECIPIENTS).unwrap_or_default()
}

/// A run that came with a ticket: its group answers for it.
fn ticketed<'a>(tags: TagSetRef<'a>, entered: &Entered<'a>) -> RunOut<'a> {
    let body = &entered.run.body;
    RunOut {
        tag: crate::routes::TagId::default(),
        number: None,
        tags,
        publisher: entered.publisher,
        flags: entered.flags & (flag::RESENT | flag::MAYBE_DUPLICATE),
        fields: &[],
        body: body.bytes(),
        buffer: entered.run.buffer,
        events: body.count(),
        from: None,
        entry: None,
        place: None,
    }
}

/// Gives a run to a member of this core. Says whether the member takes it.
#[expect(clippy::too_many_arguments, reason = "what a path is made of, borrowed in parts")]
fn give_to(
    receivers: &mut crate::core::receivers::Receivers,
    scratch: &mut super::state::Scratch,
    run: &RunOut<'_>,
    (group, asked): (&str, &[u8]),
    now: Time,
    slot: ReceiverSlot,
    held: Held,
    fates: &mut Fates<'_>,
) -> bool {
    let Some((receiver, deliveries)) = receivers.parts_mut(slot) else { return false };
    let (queued, queue_max) = (receiver.queue.bytes(), receiver.queue.bytes_max());
    let Some(intake) = receiver.member.as_mut() else { return false };
    // What does not fit the queue would be dropped there.
    if !intake.takes(queued, queue_max) || !receiver.queue.fits(run) {
        return false;
    }
    let generation = held.generation;
    let number = intake.give(now, held, queued, queue_max);
    let ticket = GroupTicket { ticket: number, generation, group };
    Leg { slot, receiver, deliveries }.push_ticketed(&ticket, asked, &mut scratch.fields, run, fates);
    receivers.mark(slot);
    true
}
