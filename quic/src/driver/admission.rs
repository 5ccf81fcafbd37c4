//! Who may begin a handshake, and when.
//!
//! A handshake costs a signature, about 250 µs of a core that everybody else waits for. So newcomers pay from a token
//! bucket (see [`Admission`]), wait in a short queue, and few of them are served per turn.

use std::collections::VecDeque;
use std::time::Instant;

use quinn_proto::Incoming;

use super::Driver;
use super::bucket::Bucket;
use super::slots::Phase;
use crate::{Admission, Network, SocketId};

/// Connections that wait for their handshake: at two per turn of 500 µs about a quarter of a second.
const WAITING_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Door {
    bucket: Bucket,
    waiting: VecDeque<Incoming>,
    per_turn: usize,
}

impl Door {
    pub(super) fn new(admission: Admission, per_turn: usize) -> Self {
        Self::reopened(admission, per_turn, VecDeque::new())
    }

    /// With those who waited at the previous door.
    pub(super) fn reopened(admission: Admission, per_turn: usize, waiting: VecDeque<Incoming>) -> Self {
        Self { bucket: Bucket::new(admission.handshakes_per_second, admission.burst), waiting, per_turn }
    }

    pub(super) fn into_waiting(self) -> VecDeque<Incoming> {
        self.waiting
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Driver {
    /// Begins as many of the waiting handshakes as one turn may.
    pub fn begin_turn(&mut self, now: Instant, net: &mut dyn Network) {
        self.waking.extend(self.woken.drain(..));
        let per_turn = self.door.as_ref().map_or(0, |door| door.per_turn);
        for _ in 0..per_turn {
            let Some(incoming) = self.door.as_mut().and_then(|door| door.waiting.pop_front()) else { break };
            self.accept(now, net, incoming);
        }
    }

    /// Decides about one newcomer.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        net: &mut dyn Network,
        socket: SocketId,
        incoming: Incoming,
    ) {
        let Some(door) = self.door.as_mut().filter(|_| socket == SocketId::SHARED) else {
            self.metrics.drops.not_accepting += 1;
            self.endpoint.ignore(incoming);
            return;
        };
        let proven = incoming.remote_address_validated();
        if self.slots.count() + door.waiting.len() >= self.connections_max {
            return self.refuse(net, incoming);
        }
        if !proven && !door.bucket.is_half_full(now) {
            if !door.bucket.has_token() {
                self.metrics.drops.admission_empty += 1;
                self.endpoint.ignore(incoming);
                return;
            }
            return self.retry(net, incoming);
        }
        if door.waiting.len() >= WAITING_MAX {
            self.metrics.drops.admission_queue_full += 1;
            self.endpoint.ignore(incoming);
        } else if door.bucket.take(now) {
            door.waiting.push_back(incoming);
        } else {
            self.refuse(net, incoming);
        }
    }

    fn accept(&mut self, now: Instant, net: &mut dyn Network, incoming: Incoming) {
        self.scratch.clear();
        match self.endpoint.accept(incoming, now, &mut self.scratch, None) {
            Ok((handle, conn)) => {
                self.metrics.handshakes_accepted += 1;
                let index = self.slots.insert(handle, conn, SocketId::SHARED, Phase::Accepting);
                self.mark_events(index);
                self.mark_transmit(index);
            }
            Err(error) => {
                self.metrics.handshakes_failed += 1;
                if let Some(transmit) = error.response {
                    self.respond(net, SocketId::SHARED, &transmit);
                }
            }
        }
    }

    fn retry(&mut self, net: &mut dyn Network, incoming: Incoming) {
        self.scratch.clear();
        match self.endpoint.retry(incoming, &mut self.scratch) {
            Ok(transmit) => {
                self.metrics.handshakes_retried += 1;
                self.respond(net, SocketId::SHARED, &transmit);
            }
            Err(error) => self.endpoint.ignore(error.into_incoming()),
        }
    }

    fn refuse(&mut self, net: &mut dyn Network, incoming: Incoming) {
        self.scratch.clear();
        let transmit = self.endpoint.refuse(incoming, &mut self.scratch);
        self.metrics.handshakes_refused += 1;
        self.respond(net, SocketId::SHARED, &transmit);
    }
}
