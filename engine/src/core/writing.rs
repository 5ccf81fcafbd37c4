//! Hands the runs that have gathered for receivers and peers to the transport.

use bytes::Bytes;
use millrace_proto::CloseCode;

use super::config::{AheadLimits, CoreConfig};
use super::path::Path;
use super::slot::{DeliverySlot, ReceiverSlot};
use super::timers::{Timer, end_of_linger};
use super::turn::{Close, Turn};
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey, Transport};

/// Receivers whose streams are prefetched together before they are written.
pub(super) const WRITE_WINDOW: usize = 16;

/// The outcome of writing a receiver.
#[derive(Debug)]
pub(super) enum Done {
    /// The receiver goes on.
    GoesOn,
    /// The receiver is closed and everything was written: its stream is finished.
    IsOver(ConnKey),
    /// Its connection is to be closed.
    Close(ConnKey, Close),
}

/// Writes a receiver with gathered runs at once, or sets the timer of its linger.
pub(super) fn write_dirty(turn: &mut Turn<'_>, slot: ReceiverSlot) -> Done {
    let Some(receiver) = turn.path.receivers.get_mut(slot) else { return Done::GoesOn };
    receiver.dirty = false;
    if receiver.queue.has_refused() {
        let reason = "a receiver's queue overflowed and its policy is disconnect";
        return Done::Close(receiver.conn, Close::new(CloseCode::Overflow, reason));
    }
    if receiver.has_gathered() {
        return write_receiver(turn, slot);
    }
    receiver.queue.keep_time(turn.now);
    if receiver.due.is_none() && receiver.own().is_some_and(|own| own.has_output()) {
        let due = end_of_linger(turn.now, receiver.linger);
        receiver.due = Some(due);
        turn.timers.set(due, Timer::Linger(slot));
    }
    Done::GoesOn
}

/// Writes a receiver whose linger is over, unless it was written after the timer was set.
pub(super) fn write_lingering(turn: &mut Turn<'_>, slot: ReceiverSlot, due: Time) -> Done {
    match turn.path.receivers.get(slot) {
        Some(receiver) if receiver.due == Some(due) => write_receiver(turn, slot),
        _ => Done::GoesOn,
    }
}

/// Writes a receiver's gathered runs as far as its stream takes them.
pub(super) fn write_receiver(turn: &mut Turn<'_>, slot: ReceiverSlot) -> Done {
    let Turn { now, transport, config, path, timers, .. } = turn;
    let Some(receiver) = path.receivers.get_mut(slot) else { return Done::GoesOn };
    if let Some(due) = receiver.due.take() {
        timers.cancel(due, Timer::Linger(slot));
    }
    let conn = receiver.conn;
    if let Some(stream) = receiver.stream()
        && let Some((queue, outlet)) = receiver.own_mut()
    {
        outlet.set_ahead(ahead_max(config, *transport, conn));
        queue.drain_into(outlet);
        while let Some((taken, rest)) = offer(*transport, conn, stream, outlet.take()) {
            path.metrics.bytes_out += taken as u64;
            if !rest.is_empty() {
                outlet.put_back(rest);
                break;
            }
            if outlet.is_bare() && queue.is_empty() {
                break;
            }
            queue.drain_into(outlet);
        }
        if !queue.is_empty() {
            outlet.wait_for_room(slot);
        }
        let written = outlet.take_written();
        path.metrics.events_out += written.events;
        path.metrics.gaps += written.gaps;
    }
    receiver.queue.keep_time(*now);
    if receiver.is_over() { Done::IsOver(conn) } else { Done::GoesOn }
}

/// Writes a shared stream with gathered runs at once, or sets the timer of its receivers' shortest
/// linger.
pub(super) fn write_dirty_delivery(turn: &mut Turn<'_>, slot: DeliverySlot) {
    let Some(delivery) = turn.path.receivers.deliveries.get_mut(slot) else { return };
    delivery.clean();
    if delivery.has_gathered() {
        write_delivery(turn, slot);
    } else if let Some(due) = delivery.take_due(turn.now) {
        if let Some(before) = delivery.due.replace(due) {
            turn.timers.cancel(before, Timer::Gathered(slot));
        }
        turn.timers.set(due, Timer::Gathered(slot));
    }
}

/// Writes a shared stream whose linger is over, unless it was written after the timer was set.
pub(super) fn write_gathered(turn: &mut Turn<'_>, slot: DeliverySlot, due: Time) {
    if turn.path.receivers.deliveries.get(slot).is_some_and(|delivery| delivery.due == Some(due)) {
        write_delivery(turn, slot);
    }
}

/// Writes a shared stream and its receivers' queues as far as the stream takes them.
fn write_delivery(turn: &mut Turn<'_>, slot: DeliverySlot) {
    let Turn { now, transport, config, path, timers, .. } = turn;
    let Some(delivery) = path.receivers.deliveries.get_mut(slot) else { return };
    if let Some(due) = delivery.due.take() {
        timers.cancel(due, Timer::Gathered(slot));
    }
    let (conn, Some(key)) = (delivery.conn, delivery.key) else { return };
    delivery.begin_anew();
    delivery.stream.set_ahead(ahead_max(config, *transport, conn));
    loop {
        path.receivers.drain_into(slot, *now);
        let Some(delivery) = path.receivers.deliveries.get_mut(slot) else { return };
        let offered = offer(*transport, conn, key, delivery.stream.take());
        if let Some((taken, rest)) = offered {
            path.metrics.bytes_out += taken as u64;
            if rest.is_empty() {
                continue;
            }
            delivery.stream.put_back(rest);
        }
        if delivery.has_line() {
            delivery.stream.wait_for_room(slot);
        }
        let written = delivery.stream.take_written();
        path.metrics.events_out += written.events;
        path.metrics.gaps += written.gaps;
        return;
    }
}

/// How far a stream to a client may run ahead of its host, in bytes.
fn ahead_max(config: &CoreConfig, transport: &dyn Transport, conn: ConnKey) -> usize {
    let AheadLimits { bytes_min, bytes_max } = config.limits.ahead;
    let (min, max) = (bytes_min as u64, bytes_max as u64);
    let ahead = transport.congestion_window(conn).saturating_mul(2).clamp(min, max);
    usize::try_from(ahead).unwrap_or(usize::MAX)
}

/// Writes runs to peers, and finishes streams that end.
pub(super) fn write_peers(path: &mut Path, transport: &mut dyn Transport) {
    for lane in path.locations.peers_mut() {
        if !lane.outlet.has_output() && !lane.finished {
            continue;
        }
        if lane.stream.is_none() {
            lane.stream = transport.open_uni(lane.conn);
        }
        let Some(stream) = lane.stream else { continue };
        while let Some((_, rest)) = offer(transport, lane.conn, stream, lane.outlet.take()) {
            if !rest.is_empty() {
                lane.outlet.put_back(rest);
                break;
            }
            lane.outlet.drain();
        }
        if lane.finished && lane.outlet.is_empty() {
            transport.finish(lane.conn, stream);
        }
    }
}

/// Offers bytes to a stream. Returns how many it took, and the rest if it is full; none when there
/// were no bytes, or the stream is gone.
fn offer(
    transport: &mut dyn Transport,
    conn: ConnKey,
    stream: StreamKey,
    mut bytes: Bytes,
) -> Option<(usize, Bytes)> {
    let offered = bytes.len();
    if offered == 0 || transport.write(conn, stream, &mut bytes).is_err() {
        return None;
    }
    Some((offered - bytes.len(), bytes))
}
