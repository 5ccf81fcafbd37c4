//! A client's subscriptions: asked for, read by another thread, filed, effective, ended.

use std::sync::Arc;

use millrace_proto::SubscriptionNumber;
use millrace_proto::control::{Refused, RefusedReason, Stage, Subscribe, Subscribed, Unsubscribe};
use millrace_proto::limits::{SELECTORS_PER_RECEIVER_MAX, SUBSCRIPTIONS_PER_RECEIVER_MAX};

use super::rights::not_allowed;
use super::session::{ClientSession, PENDING_REQUESTS_MAX};
use super::{filing, past};
use crate::core::account::Cost;
use crate::core::mail::{InterestChange, PendingSubscription};
use crate::core::receiver::Receiver;
use crate::core::turn::Turn;
use crate::message::{Effective, Prepared, ToControl, Token};
use crate::rights::AllowList;

impl ClientSession {
    /// Checks a subscription and has its selectors read.
    pub(super) fn subscribe(&mut self, turn: &mut Turn<'_>, subscribe: Subscribe) {
        let past = self.past(turn, &subscribe);
        let Subscribe { receiver, subscription, selectors, .. } = subscribe;
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
        } else if self.who.rights.grant.subscribe.as_ref().is_some_and(|allowed| allowed.is_empty()) {
            Some((RefusedReason::Forbidden, not_allowed(&self.who.rights)))
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
            let objection = turn.path.clients.accounts.objection(
                self.conn,
                Cost::of_texts(&selectors),
                Cost::default(),
                &turn.config.limits.selectors,
            );
            turn.path.metrics.refused_selectors += u64::from(objection.is_some());
            let past_objection = || past.as_ref().and_then(|past| self.past_objection(turn, past));
            objection.map(|message| (RefusedReason::Limit, message)).or_else(past_objection)
        };
        if let Some((reason, message)) = refusal {
            let subscription = Some(u64::from(subscription.0));
            self.refuse(turn, &Refused { reason, receiver, subscription, message, publisher: None });
            return;
        }
        let (Some(slot), Some(subscription)) = (slot, number) else { return };
        self.requests.pending += 1;
        if let Some(open) = turn.path.receivers.get_mut(slot) {
            open.selectors.pending += selectors.len();
        }
        // The core only passes them on, which costs a fraction of filing them.
        turn.agenda.spend(selectors.len() / 4);
        let cost = Cost::of_texts(&selectors);
        turn.path.clients.accounts.add(self.conn, cost);
        let pending = PendingSubscription {
            conn: self.conn,
            receiver,
            slot,
            subscription,
            selectors: selectors.len(),
            cost,
        };
        turn.mail.order(pending, selectors, self.who.rights.grant.subscribe.clone());
        if let Some(past) = past {
            self.ask_past(turn, slot, subscription, past);
        }
    }

    /// Files a subscription's selectors, which were read.
    pub(in crate::core) fn prepared(
        &mut self,
        turn: &mut Turn<'_>,
        token: Token,
        pending: &PendingSubscription,
        result: Result<Vec<Prepared>, String>,
    ) {
        self.answered(turn);
        turn.path.clients.accounts.take(self.conn, pending.cost);
        let PendingSubscription { receiver, slot, subscription, selectors: asked, .. } = *pending;
        let is_void = receiver_of(turn, pending, token).is_none_or(|open| {
            open.selectors.pending = open.selectors.pending.saturating_sub(asked);
            open.selectors.was_ended(subscription, token)
        });
        if is_void {
            turn.mail.pending.remove(&token);
            return;
        }
        let is_member = turn.path.receivers.get(slot).is_some_and(|receiver| receiver.member.is_some());
        let result = result.and_then(|selectors| {
            // Whoever owns a run chooses the member by the tags alone.
            let has_pattern = is_member && selectors.iter().any(|prepared| prepared.payload.is_some());
            let message =
                "members of groups select by tags; a payload pattern is for receivers without a group";
            if has_pattern { Err(message.to_owned()) } else { Ok(selectors) }
        });
        let result = match result {
            Ok(selectors) => self.selectors_objection(turn, pending, &selectors).map_or(Ok(selectors), Err),
            Err(message) => Err((RefusedReason::Selector, message)),
        };
        match result {
            Ok(selectors) => {
                let wanted = past::selectors_of(&selectors);
                let InterestChange { add, remove } = filing::file(turn, slot, subscription, selectors);
                past::begin_past(turn, slot, token, wanted);
                turn.path.clients.demand.filed(token, !add.is_empty());
                turn.mail.tell(ToControl::Interest { add, remove, token: Some(token) });
            }
            Err((reason, message)) => {
                turn.mail.pending.remove(&token);
                let subscription = Some(u64::from(subscription));
                turn.path.metrics.refused_selectors += u64::from(reason == RefusedReason::Limit);
                self.refuse(turn, &Refused { reason, receiver, subscription, message, publisher: None });
            }
        }
    }

    /// Why selectors that were read are not filed, if they are not. There are none where nothing of
    /// what was asked for is allowed.
    fn selectors_objection(
        &self,
        turn: &Turn<'_>,
        pending: &PendingSubscription,
        selectors: &[Prepared],
    ) -> Option<(RefusedReason, String)> {
        // The roll may have been replaced while they were read.
        let covers = |allowed: &Arc<AllowList>| selectors.iter().all(|read| allowed.covers(&read.selector));
        if selectors.is_empty() || !self.who.rights.grant.subscribe.as_ref().is_none_or(covers) {
            return Some((RefusedReason::Forbidden, not_allowed(&self.who.rights)));
        }
        let others = turn
            .path
            .receivers
            .get(pending.slot)
            .map_or(0, |open| open.selectors.count_without(Some(pending.subscription)));
        if others + selectors.len() > SELECTORS_PER_RECEIVER_MAX {
            let message = format!(
                "with what is allowed, {} selectors became {}, and a receiver has at most \
                 {SELECTORS_PER_RECEIVER_MAX}; open another receiver",
                pending.selectors,
                selectors.len()
            );
            return Some((RefusedReason::Limit, message));
        }
        filing::objection(turn, pending, selectors).map(|message| (RefusedReason::Limit, message))
    }

    /// Counts an answer: the control stream may be read again.
    fn answered(&mut self, turn: &mut Turn<'_>) {
        self.requests.pending = self.requests.pending.saturating_sub(1);
        if self.requests.pending <= PENDING_REQUESTS_MAX / 2
            && let Some(stream) = self.control.stream.filter(|_| self.requests.wait_for_answers)
        {
            self.requests.wait_for_answers = false;
            turn.put_client_behind(self.conn, stream);
        }
    }

    /// Tells the client how far the change of interest has come.
    pub(in crate::core) fn effective(
        &mut self,
        turn: &mut Turn<'_>,
        pending: &PendingSubscription,
        effective: Effective,
    ) {
        let told = match effective.stage {
            Stage::Cluster => turn.path.complete_past(pending, effective),
            stage => {
                if stage == Stage::Router {
                    past::ask_owners(turn, pending.slot, effective.token);
                }
                Some(effective)
            }
        };
        if let Some(effective) = told {
            self.tell_effective(turn, pending, effective);
        }
    }

    /// As [`effective`](Self::effective), once the owners have said where the past ends that the
    /// subscription asked for.
    pub(in crate::core) fn tell_effective(
        &mut self,
        turn: &mut Turn<'_>,
        pending: &PendingSubscription,
        effective: Effective,
    ) {
        let Effective { token, stage, left_out, unanswered, left_out_publishers } = effective;
        let PendingSubscription { receiver, subscription, .. } = *pending;
        let open = receiver_of(turn, pending, token);
        if open.is_some_and(|open| !open.selectors.was_ended(subscription, token)) {
            let subscription = SubscriptionNumber(u32::from(subscription));
            Subscribed { receiver, subscription, stage, left_out, unanswered, left_out_publishers }
                .encode(&mut self.control.out);
            self.mark(turn);
        }
    }

    pub(super) fn unsubscribe(&mut self, turn: &mut Turn<'_>, unsubscribe: &Unsubscribe) {
        let Some(&slot) = self.receivers.get(&unsubscribe.receiver) else { return };
        let Ok(subscription) = u16::try_from(unsubscribe.subscription.0) else { return };
        if u32::from(subscription) >= SUBSCRIPTIONS_PER_RECEIVER_MAX {
            return;
        }
        turn.path.forget_past(slot, subscription);
        let last = turn.mail.last_token();
        let Some(receiver) = turn.path.receivers.get_mut(slot) else { return };
        let filed = receiver.selectors.end(subscription, last);
        let mut change = InterestChange::default();
        filing::unfile(turn, slot, subscription, filed, &mut change);
        turn.mail.tell_interest(change);
    }
}

/// The receiver that made a request, if it is still open: not a later one in its slot or with its
/// number.
fn receiver_of<'a>(
    turn: &'a mut Turn<'_>,
    pending: &PendingSubscription,
    token: Token,
) -> Option<&'a mut Receiver> {
    let open = turn.path.receivers.get_mut(pending.slot)?;
    let same = open.conn == pending.conn && open.number == pending.receiver;
    (same && token > open.opened && !open.is_closing()).then_some(open)
}
