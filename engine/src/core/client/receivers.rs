//! Opens, grants and closes a client's receivers.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::ReceiverNumber;
use millrace_proto::control::{
    Ack, AckKind, Grant, OpenReceiver, OutcomeReason, OverflowPolicy, ReceiverClosed, Refused, RefusedReason,
    TableCapacity,
};
use millrace_proto::data::{EndReason, GapReason, ReceiverEnd};
use millrace_proto::stream::{DeliverAllPreamble, DeliverPreamble};

use super::filing;
use super::session::ClientSession;
use crate::core::delivery::Delivery;
use crate::core::metrics::DropReason;
use crate::core::outlet::{Ahead, DeliveryStream, LINGER_BYTES, Overflow, QueuePolicy, ReceiverQueue, Wakes};
use crate::core::receiver::{Address, Outlet, Receiver, State};
use crate::core::selectors::Selectors;
use crate::core::slot::{DeliverySlot, ReceiverSlot};
use crate::core::turn::Turn;
use crate::core::writing::{self, Done};
use crate::ledger::Tally;
use crate::transport::StreamKey;

/// Longest linger that a receiver may ask for.
const LINGER_MAX: Duration = Duration::from_secs(10);

/// Receivers of a connection whose streams have as many names as the client reads.
const WHOLE_TABLES: u64 = 8;

/// The names on the stream of a receiver that comes behind so many others. Those of many receivers
/// have fewer, so that all together take no more memory than some forty of the first: beyond, tag
/// sets are written out.
fn table_behind(receivers: u64, announced: TableCapacity) -> TableCapacity {
    let part = receivers / WHOLE_TABLES + 1;
    let TableCapacity { tag_sets, tag_bytes, publishers } = announced;
    TableCapacity { tag_sets: tag_sets / part, tag_bytes: tag_bytes / part, publishers: publishers / part }
}

impl ClientSession {
    pub(super) fn open_receiver(&mut self, turn: &mut Turn<'_>, open: &OpenReceiver) {
        if let Some((reason, message)) = self.objection(turn, open) {
            let refused = Refused { reason, receiver: open.receiver, message, ..Refused::default() };
            self.refuse(turn, &refused);
            return;
        }
        let policy = QueuePolicy {
            bytes_max: queue_bytes(turn, open),
            overflow: match open.policy {
                OverflowPolicy::DropNewest => Overflow::DropNewest,
                OverflowPolicy::Disconnect => Overflow::Refuse,
                OverflowPolicy::Block => Overflow::Block,
                _ => Overflow::DropOldest,
            },
            reason: GapReason::Overflow,
        };
        let (outlet, state) = if self.asked.shares {
            (Outlet::Shared(self.delivery(turn)), State::Shared)
        } else {
            let mut preamble = Vec::new();
            DeliverPreamble { receiver: open.receiver }.encode(&mut preamble);
            let wakes = turn.path.receivers.wakes();
            (Outlet::Own(self.new_stream(turn, wakes, &preamble)), State::Opening)
        };
        let Ok(member) = self.begin_membership(turn, open) else {
            let message = "no more members of groups: use another router".to_owned();
            let reason = RefusedReason::Limit;
            self.refuse(turn, &Refused { reason, receiver: open.receiver, message, ..Refused::default() });
            return;
        };
        if let Err(message) = self.take_scarce(turn, open) {
            let reason = RefusedReason::Limit;
            self.refuse(turn, &Refused { reason, receiver: open.receiver, message, ..Refused::default() });
            return;
        }
        let number = member.as_ref().map(|member| member.membership().member);
        let queued = turn.path.receivers.queued().clone();
        let slot = turn.path.receivers.insert(Receiver {
            queue: ReceiverQueue::new(policy, open.grant, queued),
            outlet,
            dirty: false,
            in_line: false,
            state,
            selectors: Selectors::default(),
            joins: None,
            number: open.receiver,
            acknowledges: self.asked.confirms,
            conn: self.conn,
            linger: Duration::from_micros(open.linger_us).min(LINGER_MAX),
            due: None,
            dropped: 0,
            opened: turn.mail.last_token(),
            member,
            address: Address { name: None, is_read: self.asked.names, reads_sets: self.asked.standby },
        });
        if let Some(number) = number {
            turn.path.clients.members.insert(number, slot, self.conn);
            turn.path.clients.members.arm(turn.now, turn.timers);
        }
        turn.path.metrics.receivers += u64::from(!self.is_router());
        self.receivers.insert(open.receiver, slot);
        self.claim_name(turn, slot, &open.name);
        if !self.asked.shares {
            self.unopened.push(slot);
        }
        self.open_streams(turn);
    }

    /// The names that the next stream to this client may have at once.
    fn table_of_next(&self) -> TableCapacity {
        let announced = self.tables.unwrap_or_default();
        if self.asked.shares { announced } else { table_behind(self.receivers.len() as u64, announced) }
    }

    /// Makes a stream to this client that begins with `preamble`.
    fn new_stream(&self, turn: &Turn<'_>, wakes: Arc<Wakes>, preamble: &[u8]) -> DeliveryStream {
        let limits = &turn.config.limits;
        let ahead = Ahead::new(limits.ahead.bytes_min, LINGER_BYTES, turn.config.out_bytes, wakes);
        let stream = DeliveryStream::new(self.table_of_next(), ahead, preamble);
        if self.asked.positions { stream.telling_places() } else { stream }
    }

    /// The stream that this client's receivers share; made with the first receiver.
    fn delivery(&mut self, turn: &mut Turn<'_>) -> DeliverySlot {
        if let Some(slot) = self.delivery {
            return slot;
        }
        let mut preamble = Vec::new();
        DeliverAllPreamble::default().encode(&mut preamble);
        let wakes = turn.path.receivers.deliveries.wakes();
        let stream = self.new_stream(turn, wakes, &preamble);
        let slot = turn.path.receivers.deliveries.insert(Delivery::new(self.conn, stream));
        self.delivery = Some(slot);
        slot
    }

    /// Whether this is the stream that its receivers share.
    pub(super) fn is_shared(&self, turn: &Turn<'_>, stream: StreamKey) -> bool {
        let delivery = self.delivery.and_then(|slot| turn.path.receivers.deliveries.get(slot));
        delivery.is_some_and(|delivery| delivery.key == Some(stream))
    }

    /// Marks the stream that its receivers share as having something to write.
    pub(super) fn mark_delivery(&self, turn: &mut Turn<'_>) {
        if let Some(slot) = self.delivery {
            turn.path.receivers.deliveries.mark(slot);
        }
    }

    /// Why a receiver cannot be opened.
    fn objection(&self, turn: &Turn<'_>, open: &OpenReceiver) -> Option<(RefusedReason, String)> {
        let is_full = turn.path.receivers.count() >= turn.config.limits.receivers_max;
        let delivery = self.delivery.and_then(|slot| turn.path.receivers.deliveries.get(slot));
        let unread = self.closing.len() + delivery.map_or(0, Delivery::ends);
        let is_unread = unread >= self.receivers_max as usize;
        if open.receiver.0 >= self.receivers_max || is_full || is_unread {
            let message = "no more receivers: close one, or use another connection";
            Some((RefusedReason::Limit, message.to_owned()))
        } else if self.receivers.contains_key(&open.receiver) {
            Some((RefusedReason::Receiver, format!("receiver {} is open already", open.receiver.0)))
        } else {
            match open.policy {
                OverflowPolicy::DropOldest | OverflowPolicy::DropNewest | OverflowPolicy::Disconnect => None,
                OverflowPolicy::Block => objection_to_block(turn, open),
                _ => {
                    let message =
                        "this router does not know the policy; use drop-oldest, drop-newest, block or disconnect";
                    Some((RefusedReason::Unsupported, message.to_owned()))
                }
            }
        }
        .or_else(|| self.objection_to_member(turn, open))
        .or_else(|| self.objection_to_name(turn, open))
    }

    /// Opens the streams of receivers that have none, as far as QUIC allows.
    pub(in crate::core) fn open_streams(&mut self, turn: &mut Turn<'_>) {
        if let Some(slot) = self.delivery
            && let Some(delivery) = turn.path.receivers.deliveries.get_mut(slot)
            && delivery.key.is_none()
        {
            let Some(stream) = turn.transport.open_uni(self.conn) else { return };
            delivery.open(stream);
            turn.path.receivers.deliveries.mark(slot);
        }
        while let Some(&slot) = self.unopened.last() {
            let Some(stream) = turn.transport.open_uni(self.conn) else { return };
            self.unopened.pop();
            self.streams.insert(stream, slot);
            if let Some(receiver) = turn.path.receivers.get_mut(slot) {
                receiver.state = State::Live(stream);
                turn.path.receivers.mark(slot);
            }
        }
    }

    pub(super) fn grant(&mut self, turn: &mut Turn<'_>, grant: &Grant) {
        let Some(&slot) = self.receivers.get(&grant.receiver) else { return };
        if let Some(receiver) = turn.path.receivers.get_mut(slot) {
            if let Some((queue, stream)) = receiver.own_mut() {
                queue.grant(grant.bytes, stream);
                turn.path.receivers.mark(slot);
            } else {
                receiver.queue.raise(grant.bytes);
                turn.path.receivers.line_up(slot);
            }
        }
    }

    /// Takes an acknowledgement: a receiver's application has taken runs, or refused them.
    pub(super) fn acknowledged(&mut self, turn: &mut Turn<'_>, ack: &Ack) {
        let Some(&slot) = self.receivers.get(&ack.receiver) else { return };
        let path = &mut *turn.path;
        let Some(receiver) = path.receivers.get_mut(slot) else { return };
        path.metrics.leg_answers += 1;
        let tally = match ack.kind {
            AckKind::Taken => Tally::TAKEN,
            _ => Tally::missed(OutcomeReason::Refused),
        };
        for (first, count) in ack.runs.iter() {
            receiver.queue.legs().answer(first, count, tally, &mut path.ledger);
        }
        if !ack.tickets.is_empty() {
            self.answer_tickets(turn, slot, ack);
        }
    }

    pub(super) fn close_receiver(&mut self, turn: &mut Turn<'_>, number: ReceiverNumber) {
        if self.asked.shares {
            if let Some(&slot) = self.receivers.get(&number) {
                self.end_receiver(turn, slot, EndReason::Closed, "closed by the client");
            }
            return;
        }
        self.close_own(turn, number, "closed by the client");
    }

    /// Closes a receiver with a stream of its own, which ends behind what was written.
    pub(super) fn close_own(&mut self, turn: &mut Turn<'_>, number: ReceiverNumber, reason: &str) {
        let Some(slot) = self.receivers.remove(&number) else { return };
        self.unopened.retain(|&unopened| unopened != slot);
        let reason = reason.to_owned();
        ReceiverClosed { receiver: number, reason }.encode(&mut self.control.out);
        self.mark(turn);
        filing::end_all(turn, slot);
        let Some(receiver) = turn.path.receivers.get_mut(slot) else { return };
        receiver.state = State::Closing(receiver.stream());
        let dropped = filing::drop_waiting(receiver, &mut turn.path.scans, &mut turn.path.ledger);
        turn.path.metrics.drop(DropReason::ReceiverGone, dropped);
        self.closing.push(slot);
        if let Done::IsOver(_) = writing::write_receiver(turn, slot) {
            self.finish_receiver(turn, slot);
        }
    }

    /// Ends a receiver on a shared stream: drops the runs that wait for it. Its number is free
    /// behind the end.
    pub(in crate::core) fn end_receiver(
        &mut self,
        turn: &mut Turn<'_>,
        slot: ReceiverSlot,
        reason: EndReason,
        message: &str,
    ) {
        let dropped = turn.path.receivers.get(slot).map_or(0, |receiver| receiver.queue.events());
        let Some(receiver) = filing::remove_receiver(turn, slot) else { return };
        self.receivers.remove(&receiver.number);
        let Outlet::Shared(at) = receiver.outlet else { return };
        let deliveries = &mut turn.path.receivers.deliveries;
        if let Some(delivery) = deliveries.get_mut(at) {
            delivery.end(ReceiverEnd {
                receiver: receiver.number,
                reason,
                dropped,
                message: message.to_owned(),
            });
            deliveries.mark(at);
        }
    }

    /// Finishes the stream of a closed receiver once everything that was written for it has left.
    pub(in crate::core) fn finish_receiver(&mut self, turn: &mut Turn<'_>, slot: ReceiverSlot) {
        let Some(receiver) = filing::remove_receiver(turn, slot) else { return };
        self.closing.retain(|&closing| closing != slot);
        if let Some(stream) = receiver.stream() {
            self.streams.remove(&stream);
            turn.transport.finish(self.conn, stream);
        }
    }

    /// Ends a receiver whose client asks for no more of its stream.
    pub(super) fn receiver_stopped(&mut self, turn: &mut Turn<'_>, stream: StreamKey) {
        let Some(slot) = self.streams.remove(&stream) else { return };
        self.closing.retain(|&closing| closing != slot);
        let Some(receiver) = filing::remove_receiver(turn, slot) else { return };
        // A receiver that its client has closed has its end already, and its number may be
        // another's.
        if !receiver.is_closing() {
            self.receivers.remove(&receiver.number);
            let reason = "its stream was stopped".to_owned();
            ReceiverClosed { receiver: receiver.number, reason }.encode(&mut self.control.out);
            self.mark(turn);
        }
        turn.transport.finish(self.conn, stream);
    }
}

/// Bytes that may wait for a receiver that is to be opened.
fn queue_bytes(turn: &Turn<'_>, open: &OpenReceiver) -> u64 {
    let queues = &turn.config.limits.queues;
    let wished = match open.queue_bytes {
        0 => queues.bytes_default,
        wished => wished,
    };
    let least = if open.policy == OverflowPolicy::Block { queues.blocking_bytes_min } else { 0 };
    wished.max(least).min(queues.bytes_max)
}

/// Why a receiver cannot be opened for which publishers are to wait. Its queue is set aside, so
/// that it never has to give way; others keep half of what the core has for queues.
fn objection_to_block(turn: &Turn<'_>, open: &OpenReceiver) -> Option<(RefusedReason, String)> {
    if !open.group.is_empty() {
        let message = "a member of a group is given what it has room for: use another policy than block";
        return Some((RefusedReason::Unsupported, message.to_owned()));
    }
    let most = turn.path.clients.queue_budget_bytes / 2;
    if turn.path.receivers.set_aside() + queue_bytes(turn, open) > most {
        let message = format!(
            "queues with policy block may take {most} bytes of a core together: ask for a smaller queue, or use \
             another router"
        );
        return Some((RefusedReason::Limit, message));
    }
    None
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_streams_of_many_receivers_are_bounded_together() {
        let of = |receivers| table_behind(receivers, TableCapacity::CLIENT);
        assert!((0..WHOLE_TABLES).all(|receivers| of(receivers) == TableCapacity::CLIENT));
        let all: u64 = (0..1024).map(|receivers| of(receivers).tag_sets).sum();
        assert!(all < 48 * TableCapacity::CLIENT.tag_sets, "{all}");
        assert!(of(1023).tag_sets >= 100 && of(1023).publishers >= 30);
    }
}
