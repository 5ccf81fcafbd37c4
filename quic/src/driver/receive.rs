//! From received buffers to connections, past the steering guard.

use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{DatagramEvent, Transmit};

use super::Driver;
use crate::network::Ecn;
use crate::{Arrival, ForeignSegment, Network, Outgoing, SocketId, cid};

/// From here on a received buffer is copied into memory that is used again and again.
const POOLED_BYTES: usize = 4 << 10;
/// The largest buffer that is received, and the size of pooled memory.
const BUFFER_BYTES: usize = 1 << 16;
/// Pieces of pooled memory: about what is received before the app has read it.
const POOL_SIZE: usize = 8;

/// Memory for received bytes. quinn keeps slices of it; a piece whose slices are all gone is filled again while it is still
/// in cache, and one that somebody holds on to is left to them and replaced.
#[derive(Debug)]
pub(super) struct Pool {
    pieces: Vec<BytesMut>,
    next: usize,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self { pieces: vec![BytesMut::new(); POOL_SIZE], next: 0 }
    }

    /// Small buffers get memory of their own, so that a lone packet that waits for its predecessor pins no more than itself.
    fn copy(&mut self, buffer: &[u8]) -> BytesMut {
        if buffer.len() < POOLED_BYTES {
            return BytesMut::from(buffer);
        }
        let piece = &mut self.pieces[self.next];
        self.next = (self.next + 1) % POOL_SIZE;
        if piece.capacity() < buffer.len() {
            piece.reserve(BUFFER_BYTES.max(buffer.len()));
        }
        piece.extend_from_slice(buffer);
        piece.split()
    }
}

impl Driver {
    /// Takes what one receive call put into one buffer: datagrams of `stride` bytes each, the last may be shorter.
    ///
    /// The kernel merges datagrams by sender and port, so those in one buffer may be of several connections and even of
    /// several cores. On the shared port, each is compared with this core before quinn sees it: quinn would not know a
    /// sibling's connection, and answer with a reset.
    pub fn handle_buffer(
        &mut self,
        now: Instant,
        net: &mut dyn Network,
        arrival: &Arrival,
        buffer: &[u8],
        stride: usize,
    ) {
        if buffer.is_empty() {
            return;
        }
        let stride = stride.clamp(1, buffer.len());
        self.metrics.bytes_in += buffer.len() as u64;
        let guarded = self.cores > 1 && arrival.socket == SocketId::SHARED;
        // One copy per buffer; what connections keep are slices of it.
        let mut rest = self.pool.copy(buffer);
        while !rest.is_empty() {
            let segment = rest.split_to(stride.min(rest.len()));
            self.metrics.datagrams_in += 1;
            match self.owner(&segment).filter(|owner| guarded && *owner != self.core) {
                Some(owner) => {
                    self.metrics.foreign_out += 1;
                    // A copy of its own: the other core must not hold on to this batch.
                    let (remote, local_ip, ecn) = (arrival.remote, arrival.local_ip, arrival.ecn);
                    let segment =
                        ForeignSegment { remote, local_ip, ecn, data: BytesMut::from(&segment[..]) };
                    self.foreign.push_back((owner, segment));
                }
                None => self.handle_datagram(now, net, arrival, segment),
            }
        }
    }

    /// Takes one datagram that a sibling core received for this one. One that is not for this core after all is counted
    /// and dropped: it must not travel in circles.
    pub fn inject(&mut self, now: Instant, net: &mut dyn Network, segment: ForeignSegment) {
        if self.owner(&segment.data).is_none_or(|owner| owner != self.core) {
            self.metrics.drops.foreign += 1;
            return;
        }
        self.metrics.foreign_in += 1;
        let (remote, local_ip, ecn) = (segment.remote, segment.local_ip, segment.ecn);
        self.handle_datagram(
            now,
            net,
            &Arrival { socket: SocketId::SHARED, remote, local_ip, ecn },
            segment.data,
        );
    }

    fn owner(&self, datagram: &[u8]) -> Option<u16> {
        cid::steering_value(datagram).map(|value| value % self.cores)
    }

    fn handle_datagram(&mut self, now: Instant, net: &mut dyn Network, arrival: &Arrival, data: BytesMut) {
        self.scratch.clear();
        let ecn = arrival.ecn.map(Ecn::to_proto);
        match self.endpoint.handle(now, arrival.remote, arrival.local_ip, ecn, data, &mut self.scratch) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let index = u32::try_from(handle.0).expect("slots are numbered in u32");
                if let Some(live) = self.slots.get(index) {
                    live.conn.handle_event(event);
                    self.mark_events(index);
                    self.mark_transmit(index);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(now, net, arrival.socket, incoming),
            Some(DatagramEvent::Response(transmit)) => {
                if self.answers.take(now) {
                    self.metrics.answers += 1;
                    self.respond(net, arrival.socket, &transmit);
                } else {
                    self.metrics.drops.answer_budget += 1;
                }
            }
            None => self.metrics.drops.unroutable += 1,
        }
    }

    /// Sends a packet of the endpoint's, which is in `scratch`. Nothing is kept for it when the socket is blocked.
    pub(super) fn respond(&mut self, net: &mut dyn Network, socket: SocketId, transmit: &Transmit) {
        if net.is_blocked(socket) {
            self.metrics.drops.answer_blocked += 1;
            return;
        }
        self.scratch.truncate(transmit.size);
        let outgoing = Outgoing {
            socket,
            destination: transmit.destination,
            source_ip: transmit.src_ip,
            ecn: transmit.ecn.map(Ecn::from_proto),
            segment_size: None,
        };
        net.send(outgoing, &mut self.scratch);
    }
}
