//! The queue of packets that wait while others are heard.

use std::collections::VecDeque;

use bytes::BytesMut;
use quinn_proto::ConnectionEvent;

use crate::{Arrival, ConnId};

/// Packets that wait, at most: about what a socket's buffer of 8 MiB holds.
const PACKETS_MAX: usize = 8_192;
/// Bytes of datagrams that wait, at most.
const BYTES_MAX: usize = 16 << 20;

/// A packet that waits.
#[derive(Debug)]
pub(super) enum Packet {
    /// Its connection is known.
    Known { conn: ConnId, event: ConnectionEvent, bytes: usize },
    /// It begins a connection.
    First { arrival: Arrival, data: BytesMut },
}

impl Packet {
    fn bytes(&self) -> usize {
        match self {
            Self::Known { bytes, .. } => *bytes,
            Self::First { data, .. } => data.len(),
        }
    }
}

/// Packets that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct SetAside {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// Whether the last turn could not receive everything.
    is_behind: bool,
}

impl SetAside {
    /// Whether packets of connections that are not in use are set aside.
    pub(super) fn is_on(&self) -> bool {
        self.is_behind || !self.packets.is_empty()
    }

    pub(super) fn set_behind(&mut self, is_behind: bool) {
        self.is_behind = is_behind;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(super) fn push(&mut self, packet: Packet) {
        self.bytes += packet.bytes();
        self.packets.push_back(packet);
    }

    pub(super) fn pop(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.bytes();
        if self.packets.is_empty() {
            // What thousands have taken does not stay.
            self.packets = VecDeque::new();
        }
        Some(packet)
    }

    pub(super) fn is_full(&self) -> bool {
        self.packets.len() >= PACKETS_MAX || self.bytes >= BYTES_MAX
    }
}
