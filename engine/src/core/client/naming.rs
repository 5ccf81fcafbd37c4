//! Receivers that have a name: claimed when they are opened, given back when they end, and lost
//! when another receiver takes it.

use millrace_proto::control::{OpenReceiver, Refused, RefusedReason};
use millrace_proto::data::EndReason;
use millrace_proto::selector::Claim;

use super::claims;
use super::session::ClientSession;
use crate::core::mail::InterestChange;
use crate::core::slot::ReceiverSlot;
use crate::core::turn::Turn;

/// What a client is told whose receiver has lost its name.
const TAKEN: &str = "another receiver has taken its name";

impl ClientSession {
    /// Why a receiver cannot have the name that it asks for.
    pub(super) fn objection_to_name(
        &self,
        turn: &Turn<'_>,
        open: &OpenReceiver,
    ) -> Option<(RefusedReason, String)> {
        if open.name.is_empty() {
            return None;
        }
        let (names, name) = (&turn.path.clients.names, &open.name);
        if !self.asked.names {
            let message = "a named receiver needs the feature names: update the client, or the router";
            Some((RefusedReason::Unsupported, message.to_owned()))
        } else if let Err(error) = Claim::check(name) {
            Some((RefusedReason::Limit, error.to_string()))
        } else if !open.group.is_empty() {
            let message = "a receiver has a name or is a member of a group: open one for each";
            Some((RefusedReason::Unsupported, message.to_owned()))
        } else if names.is_of_another(name, &self.who.rights.identity) {
            let message =
                format!("the name {name:?} belongs to another identity while its receiver is there");
            Some((RefusedReason::Name, message))
        } else if !names.has_room() {
            let message = "this router has no room for more names: use another one";
            Some((RefusedReason::Limit, message.to_owned()))
        } else {
            None
        }
    }

    /// Gives a receiver that was opened its name, from whoever has it.
    pub(super) fn claim_name(&self, turn: &mut Turn<'_>, slot: ReceiverSlot, name: &str) {
        if name.is_empty() {
            return;
        }
        let clients = &mut turn.path.clients;
        let claim = clients.names.claim(name, &self.who.rights.identity, slot, self.conn);
        clients.members.watch(self.conn);
        clients.members.arm(turn.now, turn.timers);
        turn.path.metrics.named_receivers = clients.names.len() as u64;
        let add = claims::interest(&claim);
        if let Some(receiver) = turn.path.receivers.get_mut(slot) {
            receiver.address.name = Some(claim);
        }
        turn.mail.tell_interest(InterestChange { add, remove: Vec::new() });
    }

    /// A receiver has lost its name to another one: it ends.
    pub(in crate::core) fn name_lost(&mut self, turn: &mut Turn<'_>, slot: ReceiverSlot) {
        let Some(number) = turn.path.receivers.get(slot).map(|receiver| receiver.number) else { return };
        if self.receivers.get(&number) != Some(&slot) {
            return;
        }
        if self.asked.shares {
            self.end_receiver(turn, slot, EndReason::Replaced, TAKEN);
        } else {
            let (reason, message) = (RefusedReason::Fenced, TAKEN.to_owned());
            self.refuse(turn, &Refused { reason, receiver: number, message, ..Refused::default() });
            self.close_own(turn, number, TAKEN);
        }
    }
}
