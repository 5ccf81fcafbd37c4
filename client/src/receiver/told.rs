//! What a router says of the receivers of a connection: on the control stream, and where their
//! streams end.

use millrace_proto::control::{Refused, RefusedReason};
use millrace_proto::data::{EndReason, ReceiverEnd};

use super::incoming::Incoming;
use super::opening::open;
use super::present::{End, Present, hear};
use super::task::Task;
use crate::change::Change;
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::session::ConnectionEvent;

impl Task {
    /// Handles an event of the control stream.
    pub(super) fn event(
        &mut self,
        event: ConnectionEvent,
        link: &mut Link,
        present: &mut Present,
    ) -> Result<(), End> {
        let incoming = &mut present.incoming;
        match event {
            ConnectionEvent::Subscribed(subscribed) => {
                if let Some(member) = self.members.0.get_mut(&subscribed.receiver) {
                    member.was_open = true;
                    let mut state = member.shared.lock();
                    state.plan.on_subscribed(&subscribed);
                    state.show_progress();
                    let waker = state.inbox.take_waker();
                    drop(state);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
            }
            ConnectionEvent::Refused(refused) if refused.publisher.is_none() => {
                return self.refused(refused, incoming);
            }
            ConnectionEvent::Refused(refused) => self.attaching.connector().tell(Change::dropping(&refused)),
            ConnectionEvent::ReceiverClosed(closed) => {
                if !self.closing.contains(&closed.receiver) {
                    let reason = format!("the receiver is closed: {}", closed.reason);
                    return Err(End::Lost(Disconnect::Ended(reason)));
                }
                if incoming.gone(closed.receiver) {
                    self.closing.remove(&closed.receiver);
                    self.free(closed.receiver);
                }
            }
            ConnectionEvent::Goaway(goaway) => self.attaching.goaway(&goaway, link),
            ConnectionEvent::Dead { silent_ns } => return Err(End::Lost(link.dead(silent_ns))),
            ConnectionEvent::Credit { .. }
            | ConnectionEvent::Received { .. }
            | ConnectionEvent::Outcome(_)
            | ConnectionEvent::Quench(_)
            | ConnectionEvent::Unquench(_) => {
                if let ConnectionEvent::Credit { bytes } = event {
                    present.credit = present.credit.max(bytes);
                }
                if let Some(publisher) = self.publisher.as_mut().filter(|_| present.publishes) {
                    return hear(publisher, &event, link);
                }
            }
            // A member of a set has a connection of its own, and so has who forwards.
            ConnectionEvent::Welcomed(_)
            | ConnectionEvent::SetState { .. }
            | ConnectionEvent::Forwarding(_) => {}
        }
        Ok(())
    }

    fn refused(&mut self, refused: Refused, incoming: &mut Incoming) -> Result<(), End> {
        let number = refused.receiver;
        let is_only = self.members.0.len() == 1;
        let Some(member) = self.members.0.get(&number) else {
            if refused.subscription.is_none() && incoming.gone(number) && self.closing.remove(&number) {
                self.free(number);
            }
            return Ok(());
        };
        if let Some(subscription) = refused.subscription {
            member.shared.lock().subscription_refused(subscription, refused);
            return Ok(());
        }
        // The refusal may pass, because places become free, here and elsewhere. Other receivers of
        // the connection must not suffer for it.
        if member.was_open && is_only && refused.reason == RefusedReason::Limit {
            let reason = format!("{}: {}", refused.reason.name(), refused.message);
            return Err(End::Lost(Disconnect::Ended(reason)));
        }
        self.end_refused(&refused, incoming);
        Ok(())
    }

    /// Ends a receiver that the router has refused.
    fn end_refused(&mut self, refused: &Refused, incoming: &mut Incoming) {
        let number = refused.receiver;
        let Some(member) = self.members.0.remove(&number) else { return };
        member.shared.lock().receiver_refused(refused);
        member.shared.end();
        incoming.close(number);
        if incoming.gone(number) {
            self.free(number);
        } else {
            self.closing.insert(number);
        }
    }

    /// Handles the end of a receiver on the shared stream: it was asked for, or the receiver is
    /// opened again where that may help.
    pub(super) fn ended(
        &mut self,
        end: ReceiverEnd,
        link: &mut Link,
        incoming: &mut Incoming,
    ) -> Result<(), End> {
        let number = end.receiver;
        if self.closing.remove(&number) {
            self.free(number);
            return Ok(());
        }
        let Some(member) = self.members.0.get(&number) else { return Ok(()) };
        match end.reason {
            EndReason::Forbidden | EndReason::Replaced => {
                let is_replaced = end.reason == EndReason::Replaced;
                let reason = if is_replaced { RefusedReason::Fenced } else { RefusedReason::Forbidden };
                let message = end.message;
                self.end_refused(
                    &Refused { reason, receiver: number, message, ..Refused::default() },
                    incoming,
                );
            }
            EndReason::GoingAway => return Err(End::Lost(Disconnect::WentAway)),
            _ => {
                member.shared.lost();
                open(&member.shared, link, incoming);
            }
        }
        Ok(())
    }
}
