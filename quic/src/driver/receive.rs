//! Hands received datagrams to their connections, past the steering guard.

use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{DatagramEvent, Transmit};

use super::Driver;
use crate::network::Ecn;
use crate::{Arrival, ForeignSegment, Network, Outgoing, SocketId};

impl Driver {
    /// Takes the bytes that one receive call put into one buffer: datagrams of `stride` bytes each,
    /// the last may be shorter.
    ///
    /// The kernel merges datagrams by sender and port, so that those in one buffer may belong to
    /// several connections and even to several cores. On the shared port the guard compares each
    /// with this core before quinn sees it: quinn would not know a sibling's connection, and answer
    /// with a reset.
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
        for segment in buffer.chunks(stride) {
            self.metrics.datagrams_in += 1;
            let owner = self.owner(segment).filter(|owner| guarded && *owner != self.core);
            // Each datagram gets memory of its own, because a connection keeps slices of datagrams
            // that it cannot read yet. In shared memory, one that waits for its predecessor would
            // hold the whole burst that it came in.
            let data = BytesMut::from(segment);
            match owner {
                Some(owner) => {
                    self.metrics.foreign_out += 1;
                    let (remote, local_ip, ecn) = (arrival.remote, arrival.local_ip, arrival.ecn);
                    self.foreign.push_back((owner, ForeignSegment { remote, local_ip, ecn, data }));
                }
                None => self.route(now, net, arrival, data, true),
            }
        }
    }

    /// Takes one datagram that a sibling core received for this one. It counts and drops one that
    /// belongs to another core, so that none travels in circles.
    pub fn inject(&mut self, now: Instant, net: &mut dyn Network, segment: ForeignSegment) {
        if self.owner(&segment.data).is_none_or(|owner| owner != self.core) {
            self.metrics.drops.foreign += 1;
            return;
        }
        self.metrics.foreign_in += 1;
        let (remote, local_ip, ecn) = (segment.remote, segment.local_ip, segment.ecn);
        let arrival = Arrival { socket: SocketId::SHARED, remote, local_ip, ecn };
        self.route(now, net, &arrival, segment.data, true);
    }

    fn owner(&self, datagram: &[u8]) -> Option<u16> {
        self.cids.steering_value(datagram).map(|value| value % self.cores)
    }

    /// Finds the connection of a datagram, which may be new. What has waited for its turn does not
    /// wait again.
    pub(super) fn route(
        &mut self,
        now: Instant,
        net: &mut dyn Network,
        arrival: &Arrival,
        data: BytesMut,
        may_wait: bool,
    ) {
        let data = if may_wait {
            let Some(data) = self.set_first_aside(now, net, arrival, data) else { return };
            data
        } else {
            data
        };
        let bytes = data.len();
        self.scratch.clear();
        let ecn = arrival.ecn.map(Ecn::to_proto);
        match self.endpoint.handle(now, arrival.remote, arrival.local_ip, ecn, data, &mut self.scratch) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let index = u32::try_from(handle.0).expect("slots are numbered in u32");
                self.hear(now, net, (index, event), may_wait.then_some(bytes));
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

    /// Sends a packet of the endpoint's, which is in `scratch`; drops it when the socket is
    /// blocked.
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
