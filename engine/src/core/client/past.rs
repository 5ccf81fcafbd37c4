//! Subscriptions that ask for the past.

use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::control::{RefusedReason, Subscribe};

use super::session::ClientSession;
use crate::core::joins::{Past, SubscriptionJoin};
use crate::core::slot::ReceiverSlot;
use crate::core::turn::Turn;
use crate::history::Which;
use crate::message::{Prepared, Token};
use crate::time::Time;

/// Bytes that the subscriptions of one connection take while they wait for the past, with their
/// cursors: those of 64 receivers in a cluster of a thousand routers, or of some thousands in a
/// small one.
const PAST_BYTES_MAX: u64 = 8 << 20;

impl ClientSession {
    /// The past that a subscription asks for, if it asks for any.
    pub(super) fn past(&self, turn: &Turn<'_>, subscribe: &Subscribe) -> Option<Past> {
        let &Subscribe { since_us, ref cursor, last, .. } = subscribe;
        if last > 0 {
            return Some(Past { since: None, since_unix_ns: 0, cursor: Vec::new(), which: Which::Newest });
        }
        let back = since_us.saturating_mul(1000);
        let since = (since_us > 0).then(|| Time::from_nanos(turn.now.as_nanos().saturating_sub(back)));
        // Earlier lives of the router reach back behind the start of its clock.
        let now = turn.path.positions.files.unix_ns(turn.now);
        let since_unix_ns = since.map_or(0, |_| now.saturating_sub(back));
        let cursor = cursor.clone();
        let is_asked = since.is_some() || !cursor.is_empty();
        is_asked.then_some(Past { since, since_unix_ns, cursor, which: Which::All })
    }

    /// Why a past cannot be given.
    pub(super) fn past_objection(&self, turn: &Turn<'_>, past: &Past) -> Option<(RefusedReason, String)> {
        if self.who.pasts.bytes() + past.bytes() > PAST_BYTES_MAX {
            let message = format!(
                "what this connection asks of the past takes {PAST_BYTES_MAX} bytes with its cursors: take what was \
                 asked for before"
            );
            return Some((RefusedReason::Limit, message));
        }
        let problem = if !turn.path.positions.ring.is_on() {
            "this router keeps no history (history.bytes is 0): subscribe without a past, or ask another router"
        } else if !self.asked.positions {
            "who asks for history lists the feature in Hello, and asks for positions"
        } else {
            return None;
        };
        Some((RefusedReason::History, problem.to_owned()))
    }

    /// A subscription that asks for the past is being read.
    pub(super) fn ask_past(&self, turn: &mut Turn<'_>, slot: ReceiverSlot, subscription: u16, past: Past) {
        let charge = self.who.pasts.charge(past.bytes());
        let token = turn.mail.last_token();
        let replay = turn.path.positions.replays.name();
        turn.path.forget_past(slot, subscription);
        let budget = turn.path.receivers.held.clone();
        if let Some(receiver) = turn.path.receivers.get_mut(slot) {
            let join = SubscriptionJoin::new(replay, token, subscription, past, budget).charged(charge);
            receiver.queue.make_not_plain();
            receiver.joins.get_or_insert_default().list.push(join);
        }
    }
}

/// The selectors that a subscription is about to be filed with: how its past is looked for.
pub(super) fn selectors_of(prepared: &[Prepared]) -> Arc<[Arc<Selector>]> {
    prepared.iter().map(|prepared| Arc::clone(&prepared.selector)).collect()
}

/// A subscription is filed: live runs are judged from here on, if it asked for the past.
pub(super) fn begin_past(
    turn: &mut Turn<'_>,
    slot: ReceiverSlot,
    token: Token,
    selectors: Arc<[Arc<Selector>]>,
) {
    let path = &mut *turn.path;
    let Some(joins) = path.receivers.get_mut(slot).and_then(|receiver| receiver.joins.as_mut()) else {
        return;
    };
    if let Some(join) = joins.of(token) {
        let positions = &mut path.positions;
        join.begin(selectors, turn.config, &mut positions.sources, &positions.files.past);
    }
}

/// The owners of this router match a subscription: they are asked, if it asked for the past.
pub(super) fn ask_owners(turn: &mut Turn<'_>, slot: ReceiverSlot, token: Token) {
    let path = &mut *turn.path;
    let joins = path.receivers.get_mut(slot).and_then(|receiver| receiver.joins.as_mut());
    if let Some(join) = joins.and_then(|joins| joins.of(token)) {
        join.is_effective = true;
        join.miss_ended(&path.positions.replays.far);
        path.positions.replays.active.insert(slot);
        path.positions.replays.has_more = true;
    }
}
