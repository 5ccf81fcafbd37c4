//! Reading, writing and ending of streams, on behalf of [`crate::Io`].

use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{Dir, FinishError, ReadError, ReadableError, VarInt};

use super::Driver;
use crate::ids::{stream_from_proto, stream_to_proto};
use crate::{ConnId, ConnStats, ReadOutcome, ReadState, SocketId, StreamId, WriteError};

/// Most streams that wait for [`crate::Io::wake`] in a turn: more than one core can have open
/// streams that are read in parts.
const WAKES_MAX: usize = 1 << 20;

impl Driver {
    pub(crate) fn open(&mut self, id: ConnId, dir: Dir) -> Option<StreamId> {
        self.slots.by_id(id)?.conn.streams().open(dir).map(stream_from_proto)
    }

    pub(crate) fn read(
        &mut self,
        id: ConnId,
        stream: StreamId,
        bytes_max: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> ReadOutcome {
        let mut outcome = ReadOutcome { bytes: 0, state: ReadState::Unknown };
        let Some(live) = self.slots.by_id(id) else { return outcome };
        if stream.is_uni() && stream.is_client_initiated() == live.conn.side().is_client() {
            return outcome;
        }
        let mut reader = live.conn.recv_stream(stream_to_proto(stream));
        let mut chunks = match reader.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => return outcome,
        };
        outcome.state = loop {
            if outcome.bytes >= bytes_max {
                break ReadState::More;
            }
            match chunks.next(bytes_max - outcome.bytes) {
                Ok(Some(chunk)) => {
                    outcome.bytes += chunk.bytes.len();
                    sink(&chunk.bytes);
                }
                Ok(None) => break ReadState::Finished,
                Err(ReadError::Blocked) => break ReadState::Blocked,
                Err(ReadError::Reset(code)) => break ReadState::Reset(code.into_inner()),
            }
        };
        // Reading may have made room that the remote should hear of.
        if chunks.finalize().should_transmit() {
            self.mark_transmit(id.index());
        }
        outcome
    }

    pub(crate) fn write(
        &mut self,
        id: ConnId,
        stream: StreamId,
        chunks: &mut [Bytes],
    ) -> Result<usize, WriteError> {
        let live = self.slots.by_id(id).filter(|live| !live.conn.is_closed()).ok_or(WriteError::Closed)?;
        if !may_write(live.conn.side().is_client(), stream) {
            return Err(WriteError::Closed);
        }
        let mut writer = live.conn.send_stream(stream_to_proto(stream));
        let (mut taken, mut first) = (0, 0);
        // Writes until all is taken or quinn says that it is full, because only then it reports
        // room again.
        let result = loop {
            if chunks[first..].iter().all(Bytes::is_empty) {
                break Ok(());
            }
            match writer.write_chunks(&mut chunks[first..]) {
                Ok(written) => {
                    taken += written.bytes;
                    first += written.chunks;
                }
                Err(quinn_proto::WriteError::Blocked) => break Ok(()),
                Err(quinn_proto::WriteError::Stopped(code)) => {
                    break Err(WriteError::Stopped(code.into_inner()));
                }
                Err(quinn_proto::WriteError::ClosedStream) => break Err(WriteError::Closed),
            }
        };
        // Marked even when nothing was taken, because the remote is told what blocks us.
        self.mark_transmit(id.index());
        result.map(|()| taken)
    }

    /// Reads quinn's state of a stream that we write, and discards it.
    pub(crate) fn prefetch(&mut self, id: ConnId, stream: StreamId) {
        let Some(live) = self.slots.by_id(id) else { return };
        if may_write(live.conn.side().is_client(), stream) {
            let stopped = live.conn.send_stream(stream_to_proto(stream)).stopped();
            std::hint::black_box(stopped.is_ok());
        }
    }

    pub(crate) fn finish(&mut self, id: ConnId, stream: StreamId) -> Result<(), WriteError> {
        let live = self.slots.by_id(id).ok_or(WriteError::Closed)?;
        if !may_write(live.conn.side().is_client(), stream) {
            return Err(WriteError::Closed);
        }
        live.conn.send_stream(stream_to_proto(stream)).finish().map_err(|error| match error {
            FinishError::Stopped(code) => WriteError::Stopped(code.into_inner()),
            FinishError::ClosedStream => WriteError::Closed,
        })?;
        self.mark_transmit(id.index());
        Ok(())
    }

    pub(crate) fn reset(&mut self, id: ConnId, stream: StreamId, code: u64) {
        let Some(live) = self.slots.by_id(id) else { return };
        if may_write(live.conn.side().is_client(), stream) {
            // An error means that it is over already.
            let _ = live.conn.send_stream(stream_to_proto(stream)).reset(varint(code));
            self.mark_transmit(id.index());
        }
    }

    pub(crate) fn stop(&mut self, id: ConnId, stream: StreamId, code: u64) {
        let Some(live) = self.slots.by_id(id) else { return };
        if !stream.is_uni() || stream.is_client_initiated() != live.conn.side().is_client() {
            // An error means that it is over already.
            let _ = live.conn.recv_stream(stream_to_proto(stream)).stop(varint(code));
            self.mark_transmit(id.index());
        }
    }

    pub(crate) fn wake(&mut self, id: ConnId, stream: StreamId) {
        if self.woken.len() < WAKES_MAX {
            self.woken.push((id, stream));
        } else {
            self.metrics.drops.wake_overflow += 1;
        }
    }

    pub(crate) fn close(&mut self, now: Instant, id: ConnId, code: u64, reason: &[u8]) {
        let Some(live) = self.slots.by_id(id) else { return };
        live.conn.close(now, varint(code), Bytes::copy_from_slice(reason));
        live.closing = true;
        self.mark_events(id.index());
        self.mark_transmit(id.index());
    }

    pub(crate) fn migrate(&mut self, id: ConnId, via: SocketId) -> bool {
        let Some(live) = self.slots.by_id(id).filter(|live| live.conn.side().is_client()) else {
            return false;
        };
        live.socket = via;
        live.conn.local_address_changed();
        self.mark_transmit(id.index());
        true
    }

    pub(crate) fn stats(&self, id: ConnId) -> Option<ConnStats> {
        let stats = self.slots.peek(id)?.conn.stats();
        Some(ConnStats {
            rtt: stats.path.rtt,
            congestion_window_bytes: stats.path.cwnd,
            mtu_bytes: stats.path.current_mtu,
            mtu_probes: stats.path.sent_plpmtud_probes,
            congestion_events: stats.path.congestion_events,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            datagrams_in: stats.udp_rx.datagrams,
            datagrams_out: stats.udp_tx.datagrams,
            bytes_in: stats.udp_rx.bytes,
            bytes_out: stats.udp_tx.bytes,
        })
    }

    pub(crate) fn congestion_window(&self, id: ConnId) -> u64 {
        self.slots.peek(id).map_or(0, |live| live.conn.congestion_state().window())
    }

    pub(crate) fn rtt(&self, id: ConnId) -> Option<std::time::Duration> {
        Some(self.slots.peek(id)?.conn.rtt())
    }

    pub(crate) fn remote(&self, id: ConnId) -> Option<std::net::SocketAddr> {
        let remote = self.slots.peek(id)?.conn.remote_address();
        Some(std::net::SocketAddr::new(remote.ip().to_canonical(), remote.port()))
    }
}

fn may_write(is_client: bool, stream: StreamId) -> bool {
    !stream.is_uni() || stream.is_client_initiated() == is_client
}

/// A code as QUIC carries it, at most 2⁶² − 1.
fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}
