//! Files selectors of subscriptions in the core's local index, and takes them out.

use std::collections::HashSet;
use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::control::OutcomeReason;
use millrace_proto::selector::Pattern;

use super::claims;
use crate::core::account::Cost;
use crate::core::mail::{InterestChange, PendingSubscription};
use crate::core::metrics::DropReason;
use crate::core::path::Path;
use crate::core::receiver::Receiver;
use crate::core::selectors::FiledSelector;
use crate::core::slot::ReceiverSlot;
use crate::core::timers::Timer;
use crate::core::turn::Turn;
use crate::ledger::{Ledger, Tally};
use crate::matching::{Index, LocalTarget};
use crate::message::Prepared;
use crate::payload::ScanBudget;
use crate::rights::Scarce;

/// Subscriptions of one receiver that may have the same selector before it counts as loose, because
/// each event that it matches carries the numbers of all of them.
const SAME_PER_RECEIVER_MAX: usize = 16;
/// Selectors of this core that may differ in the literals of their payload patterns alone. A tag
/// set that meets all of them costs as many lookups. Beyond this number the core tells siblings and
/// peers no literals, so that all events that the tags select come here.
const ALIKE_MAX: usize = 16;

/// Why a subscription's selectors take more than their connection, or the core, may have.
pub(super) fn objection(
    turn: &Turn<'_>,
    pending: &PendingSubscription,
    selectors: &[Prepared],
) -> Option<String> {
    let path = &*turn.path;
    let open = path.receivers.get(pending.slot)?;
    let mut more = Cost::of_cover(selectors);
    let mut seen: HashSet<*const Pattern, ahash::RandomState> = HashSet::default();
    for prepared in selectors {
        more = more.and(cost(path, pending.slot, prepared));
        for pattern in prepared.payload.iter().flat_map(|payload| payload.patterns()) {
            let is_new = open.selectors.desk.as_ref().is_none_or(|desk| !desk.has(pattern));
            if is_new && seen.insert(Arc::as_ptr(pattern)) {
                more.bytes += pattern.bytes();
            }
        }
    }
    let less = open.selectors.cost_of(pending.subscription);
    path.clients.accounts.objection(pending.conn, more, less, &turn.config.limits.selectors)
}

/// The charge for a selector, without its patterns.
fn cost(path: &Path, slot: ReceiverSlot, prepared: &Prepared) -> Cost {
    let interest = &prepared.interest;
    let is_member = path.receivers.get(slot).is_some_and(|receiver| receiver.member.is_some());
    let index = if is_member { &path.clients.members.interest } else { &path.local };
    Cost::of_selector(interest, is_loose(index, slot, interest))
}

/// Whether no tag leads to a selector quickly, or one receiver has it many times.
fn is_loose(local: &Index<LocalTarget>, slot: ReceiverSlot, interest: &Selector) -> bool {
    local.is_crowded(interest) || local.targets_of(interest, slot) >= SAME_PER_RECEIVER_MAX
}

/// Files a subscription's selectors in the local index, and takes out those that they replace.
pub(super) fn file(
    turn: &mut Turn<'_>,
    slot: ReceiverSlot,
    subscription: u16,
    selectors: Vec<Prepared>,
) -> InterestChange {
    let mut change = InterestChange::default();
    let path = &mut *turn.path;
    let Some(receiver) = path.receivers.get_mut(slot) else { return change };
    // New selectors come before old ones go, so that the receiver misses no event.
    let mut filed = Vec::with_capacity(selectors.len());
    let cover = Cost::of_cover(&selectors);
    let membership = receiver.member.as_ref().map(|member| Arc::clone(member.membership()));
    // What members of groups want is counted and not looked up: runs come to them with tickets.
    let index = if membership.is_some() { &mut path.clients.members.interest } else { &mut path.local };
    for mut prepared in selectors {
        if let Some(membership) = &membership {
            let interest = Selector::clone(&prepared.interest);
            prepared.interest = Arc::new(interest.for_member(Arc::clone(membership)));
        }
        if prepared.interest.literals().is_some() && index.alike(&prepared.interest) >= ALIKE_MAX {
            prepared.interest = Arc::new(prepared.selector.without_payload());
        }
        receiver.queue.make_not_plain();
        let (number, pattern_bytes) = receiver.selectors.number(&prepared);
        let is_loose = is_loose(index, slot, &prepared.interest);
        // The first selector carries the charge for the automaton that covers several.
        let together = if filed.is_empty() { cover } else { Cost::default() };
        let cost = Cost::of_selector(&prepared.interest, is_loose).and(together);
        let patterns = Cost::of_bytes(pattern_bytes.unsigned_abs());
        path.clients.accounts.add(receiver.conn, cost.and(patterns));
        let target = LocalTarget { receiver: slot, subscription, selector: number };
        let others = index.len();
        index.insert(&prepared.interest, target);
        if index.len() > others {
            change.add.push(Arc::clone(&prepared.interest));
        }
        filed.push(FiledSelector { interest: prepared.interest, number, cost });
        path.metrics.selectors += u64::from(!path.clients.accounts.is_router(receiver.conn));
        path.clients.selectors_moved += 1;
    }
    let replaced = receiver.selectors.replace(subscription, filed);
    unfile(turn, slot, subscription, replaced, &mut change);
    change
}

/// Takes selectors out of the local index.
pub(super) fn unfile(
    turn: &mut Turn<'_>,
    slot: ReceiverSlot,
    subscription: u16,
    filed: Vec<FiledSelector>,
    change: &mut InterestChange,
) {
    turn.agenda.spend(filed.len());
    let path = &mut *turn.path;
    for FiledSelector { interest, number, cost } in filed {
        let target = LocalTarget { receiver: slot, subscription, selector: number };
        let is_member = interest.membership().is_some();
        let index = if is_member { &mut path.clients.members.interest } else { &mut path.local };
        let held = index.len();
        index.remove(&interest, target);
        path.clients.selectors_moved += 1;
        if index.len() < held {
            change.remove.push(interest);
        }
        if let Some(receiver) = path.receivers.get_mut(slot) {
            path.metrics.selectors -= u64::from(!path.clients.accounts.is_router(receiver.conn));
            let patterns = Cost::of_bytes(receiver.selectors.free(number));
            path.clients.accounts.take(receiver.conn, cost.and(patterns));
        }
    }
}

/// Ends all subscriptions of a receiver, and gives its name back.
pub(super) fn end_all(turn: &mut Turn<'_>, slot: ReceiverSlot) {
    let Some(receiver) = turn.path.receivers.get_mut(slot) else { return };
    let mut change = InterestChange::default();
    for (subscription, filed) in receiver.selectors.take_all() {
        unfile(turn, slot, subscription, filed, &mut change);
    }
    turn.mail.tell_interest(change);
    claims::give_back(turn, slot);
}

/// Removes a receiver and its subscriptions, and counts the events that were queued for it.
pub(super) fn remove_receiver(turn: &mut Turn<'_>, slot: ReceiverSlot) -> Option<Receiver> {
    end_all(turn, slot);
    turn.path.hand_back_all(slot);
    let mut receiver = turn.path.receivers.remove(slot)?;
    if let Some(member) = &receiver.member {
        turn.path.clients.members.remove(member.membership().member, receiver.conn);
        let group = &member.membership().group;
        turn.path.clients.accounts.give_scarce(receiver.conn, Scarce::Group, group);
    }
    let dropped = drop_waiting(&mut receiver, &mut turn.path.scans, &mut turn.path.ledger);
    if let Some(due) = receiver.due {
        turn.timers.cancel(due, Timer::Linger(slot));
    }
    let is_router = turn.path.clients.accounts.is_router(receiver.conn);
    turn.path.metrics.receivers -= u64::from(!is_router);
    turn.path.metrics.drop(DropReason::ReceiverGone, dropped);
    Some(receiver)
}

/// Drops the runs that wait for a receiver that leaves, and ends its legs. Returns the events
/// dropped.
pub(super) fn drop_waiting(receiver: &mut Receiver, scans: &mut ScanBudget, ledger: &mut Ledger) -> u64 {
    let departed = Tally::missed(OutcomeReason::Departed);
    for source in
        receiver.joins.iter_mut().flat_map(|joins| &mut joins.list).flat_map(|join| &mut join.sources)
    {
        source.held.clear(|run| {
            if let Some(entry) = run.entry {
                ledger.end(entry, run.span(), departed);
            }
        });
    }
    receiver.joins = None;
    receiver.queue.legs().end_all(departed, ledger);
    let queued = receiver.queue.clear(|run| {
        if let Some(entry) = run.entry {
            ledger.end(entry, run.span(), departed);
        }
    });
    let desk = receiver.selectors.desk.as_mut();
    let held = desk.map_or(0, |desk| {
        desk.drop_waiting(scans, |held| {
            if let Some(entry) = held.entry {
                ledger.end(entry, held.span(), departed);
            }
        })
    });
    queued + held
}
