//! Claims of names: told as interest, and given back when a receiver ends.

use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::selector::Claim;

use crate::core::mail::InterestChange;
use crate::core::slot::ReceiverSlot;
use crate::core::turn::Turn;
use crate::rights::Scarce;

/// Gives the name of a receiver back that ends.
pub(super) fn give_back(turn: &mut Turn<'_>, slot: ReceiverSlot) {
    let Some(receiver) = turn.path.receivers.get_mut(slot) else { return };
    let conn = receiver.conn;
    let Some(claim) = receiver.address.name.take() else { return };
    let clients = &mut turn.path.clients;
    clients.names.release(&claim);
    clients.accounts.give_scarce(conn, Scarce::Name, &claim.name);
    clients.members.unwatch(conn);
    turn.path.metrics.named_receivers = clients.names.len() as u64;
    turn.mail.tell_interest(InterestChange { add: Vec::new(), remove: interest(&claim) });
}

/// The interest in what is addressed to a name.
pub(super) fn interest(claim: &Arc<Claim>) -> Vec<Arc<Selector>> {
    // The name was checked before it was claimed.
    Selector::of_claim(Arc::clone(claim)).map(Arc::new).into_iter().collect()
}
