//! A client's subscriptions: to control, which has their selectors read, into the local index, and out of it again.

use std::sync::Arc;

use millrace_proto::control::{Refused, RefusedReason, Stage, Subscribe, Subscribed, Unsubscribe};
use millrace_proto::limits::{SELECTORS_PER_RECEIVER_MAX, SUBSCRIPTIONS_PER_RECEIVER_MAX};
use millrace_proto::{ReceiverNumber, RouterId, Selector, SubscriptionNumber};

use super::PENDING_REQUESTS_MAX;
use crate::core::receiver::{FiledSelector, Receiver, ReceiverSlot};
use crate::core::{Connection, Core};
use crate::matching::LocalTarget;
use crate::message::{Prepared, ToControl, Token};
use crate::transport::ConnKey;

/// First and last references to interest, of one change.
#[derive(Debug, Default)]
struct InterestChange {
    add: Vec<Arc<Selector>>,
    remove: Vec<Arc<Selector>>,
}

impl InterestChange {
    const fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// A subscription on its way through control.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct PendingSubscription {
    conn: ConnKey,
    receiver: ReceiverNumber,
    slot: ReceiverSlot,
    subscription: u16,
    selectors: usize,
}

impl Core {
    pub(super) fn subscribe(&mut self, conn: ConnKey, subscribe: Subscribe) {
        let Subscribe { receiver, subscription, selectors } = subscribe;
        let Some(Connection::Client(client)) = self.connections.get_mut(&conn) else { return };
        let mut refuse = |reason, message: String| {
            let subscription = Some(u64::from(subscription.0));
            self.routing.metrics.refused += 1;
            Refused { reason, receiver, subscription, message, publisher: None }.encode(&mut client.out);
        };
        let Some(&slot) = client.receivers.get(&receiver) else {
            refuse(RefusedReason::Receiver, format!("receiver {} is not open", receiver.0));
            self.mark_client(conn);
            return;
        };
        let others = self.routing.receivers.get_mut(slot).map_or(0, |open| {
            let replaced =
                u16::try_from(subscription.0).ok().and_then(|number| open.subscriptions.get(&number));
            open.selectors() + open.pending_selectors - replaced.map_or(0, Vec::len)
        });
        let limit = if subscription.0 >= SUBSCRIPTIONS_PER_RECEIVER_MAX {
            Some(format!("subscription numbers are below {SUBSCRIPTIONS_PER_RECEIVER_MAX}"))
        } else if selectors.is_empty() {
            Some("a subscription has at least one selector; * is everything".to_owned())
        } else if others + selectors.len() > SELECTORS_PER_RECEIVER_MAX {
            Some(format!(
                "a receiver has at most {SELECTORS_PER_RECEIVER_MAX} selectors, those still being read included; \
                 open another receiver"
            ))
        } else {
            None
        };
        if let Some(message) = limit {
            refuse(RefusedReason::Limit, message);
            self.mark_client(conn);
            return;
        }
        client.pending_requests += 1;
        let Ok(subscription) = u16::try_from(subscription.0) else { return };
        let token = self.next_token();
        if let Some(open) = self.routing.receivers.get_mut(slot) {
            open.pending_selectors += selectors.len();
        }
        let selectors_pending = selectors.len();
        // Here they are but passed on, which costs a fraction of filing them.
        self.control_left = self.control_left.saturating_sub(selectors_pending / 4);
        let pending =
            PendingSubscription { conn, receiver, slot, subscription, selectors: selectors_pending };
        self.pending.insert(token, pending);
        self.to_control.push_back(ToControl::Prepare { token, client: conn, selectors });
    }

    /// Control has read a subscription's selectors.
    pub(in crate::core) fn prepared(&mut self, token: Token, result: Result<Vec<Prepared>, String>) {
        let Some(&pending) = self.pending.get(&token) else { return };
        let PendingSubscription { conn, receiver, slot, subscription, selectors: asked } = pending;
        if let Some(client) = self.client(conn) {
            client.pending_requests = client.pending_requests.saturating_sub(1);
            if client.pending_requests <= PENDING_REQUESTS_MAX / 2
                && let Some(control) = client.control.filter(|_| client.waits_for_answers)
            {
                client.waits_for_answers = false;
                self.put_client_behind(conn, control);
            }
        }
        let Some(open) = self.receiver_of(&pending, token) else {
            self.pending.remove(&token);
            return;
        };
        open.pending_selectors = open.pending_selectors.saturating_sub(asked);
        if self.was_ended(slot, subscription, token) {
            self.pending.remove(&token);
            return;
        }
        let selectors = match result {
            Ok(selectors) => selectors,
            Err(message) => {
                self.pending.remove(&token);
                let subscription = Some(u64::from(subscription));
                let reason = RefusedReason::Selector;
                self.refuse(conn, &Refused { reason, receiver, subscription, message, publisher: None });
                return;
            }
        };
        let Some(open) = self.routing.receivers.get_mut(slot) else { return };
        // New selectors come before old ones go, so that a replaced subscription misses nothing.
        let mut change = InterestChange::default();
        let mut filed = Vec::with_capacity(selectors.len());
        for prepared in selectors {
            let number = open.number_selector(prepared.payload);
            let target = LocalTarget { receiver: slot, subscription, selector: number };
            let others = self.routing.local.len();
            self.routing.local.insert(&prepared.interest, target);
            if self.routing.local.len() > others {
                change.add.push(Arc::clone(&prepared.interest));
            }
            filed.push(FiledSelector { interest: prepared.interest, number });
            self.routing.metrics.selectors += 1;
            self.selectors_moved += 1;
        }
        let replaced = open.subscriptions.insert(subscription, filed).unwrap_or_default();
        self.unfile(slot, subscription, replaced, &mut change);
        let InterestChange { add, remove } = change;
        self.to_control.push_back(ToControl::Interest { add, remove, token: Some(token) });
    }

    /// Takes selectors out of the local index.
    fn unfile(
        &mut self,
        slot: ReceiverSlot,
        subscription: u16,
        filed: Vec<FiledSelector>,
        change: &mut InterestChange,
    ) {
        self.control_left = self.control_left.saturating_sub(filed.len());
        for FiledSelector { interest, number } in filed {
            let target = LocalTarget { receiver: slot, subscription, selector: number };
            let held = self.routing.local.len();
            self.routing.local.remove(&interest, target);
            self.routing.metrics.selectors -= 1;
            self.selectors_moved += 1;
            if self.routing.local.len() < held {
                change.remove.push(interest);
            }
            if let Some(receiver) = self.routing.receivers.get_mut(slot) {
                receiver.free_selectors.push(number);
                if let Some(pattern) = receiver.patterns.get_mut(usize::from(number)) {
                    *pattern = None;
                }
            }
        }
    }

    /// A change of interest has come this far.
    pub(in crate::core) fn effective(
        &mut self,
        token: Token,
        stage: Stage,
        left_out: Vec<RouterId>,
        unanswered: u64,
    ) {
        let pending = match stage {
            Stage::Router => self.pending.get(&token).copied(),
            Stage::Cluster => self.pending.remove(&token),
            _ => None,
        };
        let Some(pending) = pending else { return };
        let PendingSubscription { conn, receiver, subscription, slot, .. } = pending;
        if self.receiver_of(&pending, token).is_none() || self.was_ended(slot, subscription, token) {
            return;
        }
        let Some(client) = self.client(conn) else { return };
        let subscription = SubscriptionNumber(u32::from(subscription));
        Subscribed { receiver, subscription, stage, left_out, unanswered }.encode(&mut client.out);
        self.mark_client(conn);
    }

    /// The receiver that a request was made for, if it is still open: not a later one in its place or of its number.
    fn receiver_of(&mut self, pending: &PendingSubscription, token: Token) -> Option<&mut Receiver> {
        let open = self.routing.receivers.get_mut(pending.slot)?;
        let same = open.conn == pending.conn && open.number == pending.receiver;
        (same && token > open.opened && !open.closing).then_some(open)
    }

    pub(super) fn unsubscribe(&mut self, conn: ConnKey, unsubscribe: &Unsubscribe) {
        let Some(client) = self.client(conn) else { return };
        let Some(&slot) = client.receivers.get(&unsubscribe.receiver) else { return };
        let Ok(subscription) = u16::try_from(unsubscribe.subscription.0) else { return };
        if u32::from(subscription) >= SUBSCRIPTIONS_PER_RECEIVER_MAX {
            return;
        }
        let last = Token(self.last_token);
        let Some(receiver) = self.routing.receivers.get_mut(slot) else { return };
        receiver.ended.insert(subscription, last);
        let filed = receiver.subscriptions.remove(&subscription).unwrap_or_default();
        let mut change = InterestChange::default();
        self.unfile(slot, subscription, filed, &mut change);
        self.report_interest(change);
    }

    /// Whether a subscription was ended after the request that `token` names: then its selectors are not filed when they
    /// come back from control, and nobody is told how far they have come.
    fn was_ended(&mut self, slot: ReceiverSlot, subscription: u16, token: Token) -> bool {
        let receiver = self.routing.receivers.get_mut(slot);
        receiver
            .is_some_and(|receiver| receiver.ended.get(&subscription).is_some_and(|&ended| token <= ended))
    }

    fn report_interest(&mut self, change: InterestChange) {
        if !change.is_empty() {
            let InterestChange { add, remove } = change;
            self.to_control.push_back(ToControl::Interest { add, remove, token: None });
        }
    }

    /// Takes all subscriptions of a receiver away.
    pub(super) fn unsubscribe_all(&mut self, slot: ReceiverSlot) {
        let Some(receiver) = self.routing.receivers.get_mut(slot) else { return };
        let mut change = InterestChange::default();
        for (subscription, filed) in std::mem::take(&mut receiver.subscriptions) {
            self.unfile(slot, subscription, filed, &mut change);
        }
        self.report_interest(change);
    }
}
