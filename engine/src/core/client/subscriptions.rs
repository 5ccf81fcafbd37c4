//! A client's subscriptions: their selectors are read elsewhere, then filed in the local index, and taken out of it.

use std::sync::Arc;

use millrace_proto::control::{Refused, RefusedReason, Stage, Subscribe, Subscribed, Unsubscribe};
use millrace_proto::limits::{SELECTORS_PER_RECEIVER_MAX, SUBSCRIPTIONS_PER_RECEIVER_MAX};
use millrace_proto::{RouterId, SubscriptionNumber};

use super::control::PENDING_REQUESTS_MAX;
use super::session::ClientSession;
use crate::core::mail::{InterestChange, PendingSubscription};
use crate::core::receiver::Receiver;
use crate::core::selectors::FiledSelector;
use crate::core::slot::ReceiverSlot;
use crate::core::turn::Turn;
use crate::matching::LocalTarget;
use crate::message::{Prepared, ToControl, Token};

impl ClientSession {
    /// Checks a subscription and has its selectors read.
    pub(super) fn subscribe(&mut self, turn: &mut Turn<'_>, subscribe: Subscribe) {
        let Subscribe { receiver, subscription, selectors } = subscribe;
        let number = u16::try_from(subscription.0).ok();
        let slot = self.receivers.get(&receiver).copied();
        let others = slot
            .and_then(|slot| turn.path.receivers.get(slot))
            .map_or(0, |open| open.selectors.count_without(number));
        let refusal = if slot.is_none() {
            Some((RefusedReason::Receiver, format!("receiver {} is not open", receiver.0)))
        } else if subscription.0 >= SUBSCRIPTIONS_PER_RECEIVER_MAX {
            let message = format!("subscription numbers are below {SUBSCRIPTIONS_PER_RECEIVER_MAX}");
            Some((RefusedReason::Limit, message))
        } else if selectors.is_empty() {
            let message = "a subscription has at least one selector; * is everything".to_owned();
            Some((RefusedReason::Limit, message))
        } else if others + selectors.len() > SELECTORS_PER_RECEIVER_MAX {
            let message = format!(
                "a receiver has at most {SELECTORS_PER_RECEIVER_MAX} selectors, those still being read included; \
                 open another receiver"
            );
            Some((RefusedReason::Limit, message))
        } else {
            None
        };
        if let Some((reason, message)) = refusal {
            let subscription = Some(u64::from(subscription.0));
            self.refuse(turn, &Refused { reason, receiver, subscription, message, publisher: None });
            return;
        }
        let (Some(slot), Some(subscription)) = (slot, number) else { return };
        self.pending_requests += 1;
        if let Some(open) = turn.path.receivers.get_mut(slot) {
            open.selectors.pending += selectors.len();
        }
        // They are only passed on here, which costs a fraction of filing them.
        turn.agenda.spend(selectors.len() / 4);
        let pending =
            PendingSubscription { conn: self.conn, receiver, slot, subscription, selectors: selectors.len() };
        turn.mail.order(pending, selectors);
    }

    /// A subscription's selectors were read.
    pub(in crate::core) fn prepared(
        &mut self,
        turn: &mut Turn<'_>,
        token: Token,
        pending: &PendingSubscription,
        result: Result<Vec<Prepared>, String>,
    ) {
        self.answered(turn);
        let PendingSubscription { receiver, slot, subscription, selectors: asked, .. } = *pending;
        let is_void = receiver_of(turn, pending, token).is_none_or(|open| {
            open.selectors.pending = open.selectors.pending.saturating_sub(asked);
            open.selectors.was_ended(subscription, token)
        });
        if is_void {
            turn.mail.pending.remove(&token);
            return;
        }
        match result {
            Ok(selectors) => {
                let InterestChange { add, remove } = file(turn, slot, subscription, selectors);
                turn.mail.tell(ToControl::Interest { add, remove, token: Some(token) });
            }
            Err(message) => {
                turn.mail.pending.remove(&token);
                let subscription = Some(u64::from(subscription));
                let reason = RefusedReason::Selector;
                self.refuse(turn, &Refused { reason, receiver, subscription, message, publisher: None });
            }
        }
    }

    /// One request fewer is unanswered: the control stream may be read again.
    fn answered(&mut self, turn: &mut Turn<'_>) {
        self.pending_requests = self.pending_requests.saturating_sub(1);
        if self.pending_requests <= PENDING_REQUESTS_MAX / 2
            && let Some(stream) = self.control.stream.filter(|_| self.waits_for_answers)
        {
            self.waits_for_answers = false;
            turn.put_client_behind(self.conn, stream);
        }
    }

    /// A change of interest has come this far.
    pub(in crate::core) fn effective(
        &mut self,
        turn: &mut Turn<'_>,
        token: Token,
        pending: &PendingSubscription,
        stage: Stage,
        left_out: Vec<RouterId>,
        unanswered: u64,
    ) {
        let PendingSubscription { receiver, subscription, .. } = *pending;
        let open = receiver_of(turn, pending, token);
        if open.is_some_and(|open| !open.selectors.was_ended(subscription, token)) {
            let subscription = SubscriptionNumber(u32::from(subscription));
            Subscribed { receiver, subscription, stage, left_out, unanswered }.encode(&mut self.control.out);
            self.mark(turn);
        }
    }

    pub(super) fn unsubscribe(&mut self, turn: &mut Turn<'_>, unsubscribe: &Unsubscribe) {
        let Some(&slot) = self.receivers.get(&unsubscribe.receiver) else { return };
        let Ok(subscription) = u16::try_from(unsubscribe.subscription.0) else { return };
        if u32::from(subscription) >= SUBSCRIPTIONS_PER_RECEIVER_MAX {
            return;
        }
        let last = turn.mail.last_token();
        let Some(receiver) = turn.path.receivers.get_mut(slot) else { return };
        let filed = receiver.selectors.end(subscription, last);
        let mut change = InterestChange::default();
        unfile(turn, slot, subscription, filed, &mut change);
        turn.mail.tell_interest(change);
    }
}

/// The receiver that a request was made for, if it is still open: not a later one in its place or of its number.
fn receiver_of<'a>(
    turn: &'a mut Turn<'_>,
    pending: &PendingSubscription,
    token: Token,
) -> Option<&'a mut Receiver> {
    let open = turn.path.receivers.get_mut(pending.slot)?;
    let same = open.conn == pending.conn && open.number == pending.receiver;
    (same && token > open.opened && !open.is_closing()).then_some(open)
}

/// Files a subscription's selectors in the local index, and takes out those that they replace.
fn file(
    turn: &mut Turn<'_>,
    slot: ReceiverSlot,
    subscription: u16,
    selectors: Vec<Prepared>,
) -> InterestChange {
    let mut change = InterestChange::default();
    let path = &mut *turn.path;
    let Some(receiver) = path.receivers.get_mut(slot) else { return change };
    // New selectors come before old ones go, so that a replaced subscription misses nothing.
    let mut filed = Vec::with_capacity(selectors.len());
    for prepared in selectors {
        let number = receiver.selectors.number(prepared.payload);
        let target = LocalTarget { receiver: slot, subscription, selector: number };
        let others = path.local.len();
        path.local.insert(&prepared.interest, target);
        if path.local.len() > others {
            change.add.push(Arc::clone(&prepared.interest));
        }
        filed.push(FiledSelector { interest: prepared.interest, number });
        path.metrics.selectors += 1;
        path.selectors_moved += 1;
    }
    let replaced = receiver.selectors.replace(subscription, filed);
    unfile(turn, slot, subscription, replaced, &mut change);
    change
}

/// Takes selectors out of the local index.
fn unfile(
    turn: &mut Turn<'_>,
    slot: ReceiverSlot,
    subscription: u16,
    filed: Vec<FiledSelector>,
    change: &mut InterestChange,
) {
    turn.agenda.spend(filed.len());
    let path = &mut *turn.path;
    for FiledSelector { interest, number } in filed {
        let target = LocalTarget { receiver: slot, subscription, selector: number };
        let held = path.local.len();
        path.local.remove(&interest, target);
        path.metrics.selectors -= 1;
        path.selectors_moved += 1;
        if path.local.len() < held {
            change.remove.push(interest);
        }
        if let Some(receiver) = path.receivers.get_mut(slot) {
            receiver.selectors.free(number);
        }
    }
}

/// Ends all subscriptions of a receiver.
pub(super) fn end_all(turn: &mut Turn<'_>, slot: ReceiverSlot) {
    let Some(receiver) = turn.path.receivers.get_mut(slot) else { return };
    let mut change = InterestChange::default();
    for (subscription, filed) in receiver.selectors.take_all() {
        unfile(turn, slot, subscription, filed, &mut change);
    }
    turn.mail.tell_interest(change);
}
