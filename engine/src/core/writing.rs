//! The end of a turn: what has gathered for receivers and clients goes to the transport.

use bytes::Bytes;
use millrace_proto::CloseCode;

use super::Core;
use super::outbound::RunWriter;
use super::receiver::ReceiverSlot;
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey, Transport};

/// A receiver that gathers writes at once when this much has gathered.
pub(super) const LINGER_BYTES: usize = 16 * 1024;

impl Core {
    /// Writes a receiver that has gathered something, now or when its linger is over.
    pub(super) fn write_dirty(&mut self, now: Time, transport: &mut dyn Transport, slot: ReceiverSlot) {
        let Some(receiver) = self.routing.receivers.get_mut(slot) else { return };
        receiver.dirty = false;
        if receiver.overflowed {
            let conn = receiver.conn;
            let reason = "a receiver's queue overflowed and its policy is disconnect";
            self.close_connection(transport, conn, CloseCode::Overflow, reason);
            return;
        }
        let full = receiver.writer.out_bytes() >= LINGER_BYTES || receiver.writer.can_gather_no_more();
        if receiver.linger.is_zero() || full {
            self.write_receiver(now, transport, slot);
        } else if receiver.due.is_none() && receiver.writer.has_output() {
            let due = now + receiver.linger;
            receiver.due = Some(due);
            self.lingering.insert((due, slot));
        }
    }

    pub(super) fn write_receiver(&mut self, _now: Time, transport: &mut dyn Transport, slot: ReceiverSlot) {
        let Some(receiver) = self.routing.receivers.get_mut(slot) else { return };
        if let Some(due) = receiver.due.take() {
            self.lingering.remove(&(due, slot));
        }
        let Some(stream) = receiver.stream else {
            self.finish_closed(transport, slot);
            return;
        };
        let ahead = transport.congestion_window(receiver.conn).saturating_mul(2);
        let ahead = ahead.clamp(self.config.stream_ahead_min as u64, self.config.stream_ahead_max as u64);
        receiver.writer.set_ahead(usize::try_from(ahead).unwrap_or(usize::MAX));
        let bytes = write_runs(transport, receiver.conn, stream, &mut receiver.writer);
        receiver.writer.wait_for_room(slot);
        let written = receiver.writer.take_written();
        self.routing.metrics.bytes_out += bytes;
        self.routing.metrics.events_out += written.events;
        self.routing.metrics.gaps += written.gaps;
        if receiver.closing {
            self.finish_closed(transport, slot);
        }
    }

    pub(super) fn write_client(&mut self, transport: &mut dyn Transport, conn: ConnKey) {
        let out_max = self.config.control_out_bytes;
        let Some(client) = self.client(conn) else { return };
        client.dirty = false;
        let Some(stream) = client.control else { return };
        write_out(transport, conn, stream, &mut client.out);
        if client.out.len() > out_max {
            self.close_connection(transport, conn, CloseCode::Busy, "control frames are not read");
        }
    }
}

/// Writes control frames; what the stream does not take stays.
pub(super) fn write_out(transport: &mut dyn Transport, conn: ConnKey, stream: StreamKey, out: &mut Vec<u8>) {
    if out.is_empty() {
        return;
    }
    let mut bytes = Bytes::from(std::mem::take(out));
    if transport.write(conn, stream, &mut bytes).is_ok() && !bytes.is_empty() {
        out.extend_from_slice(&bytes);
    }
}

/// Writes runs until the stream takes no more or nothing is left; returns the bytes taken.
pub(super) fn write_runs(
    transport: &mut dyn Transport,
    conn: ConnKey,
    stream: StreamKey,
    writer: &mut RunWriter,
) -> u64 {
    let mut taken = 0;
    loop {
        let mut bytes = writer.take();
        if bytes.is_empty() {
            return taken;
        }
        let offered = bytes.len();
        if transport.write(conn, stream, &mut bytes).is_err() {
            return taken;
        }
        taken += (offered - bytes.len()) as u64;
        if !bytes.is_empty() {
            writer.put_back(bytes);
            return taken;
        }
        writer.pump();
    }
}
