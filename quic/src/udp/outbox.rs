//! Datagrams of one turn, collected across connections until they fill a batch.
//!
//! Small ones are copied side by side into one buffer, so that a batch of lone packets stays in
//! cache. Large bursts keep the buffer that they were encrypted into, and leave an empty one of a
//! pool in its place.

use crate::sys::Message;
use crate::{Outgoing, SocketId};

/// Datagrams and bursts in one outbox.
const ENTRIES_MAX: usize = 256;
/// Bytes in one outbox, about.
const BYTES_MAX: usize = 512 << 10;
/// Bytes from which on a burst keeps its own buffer.
const LARGE_BYTES: usize = 8 << 10;
/// Capacity of such a buffer.
const BUFFER_BYTES: usize = 1 << 16;

#[derive(Debug)]
enum Place {
    /// Range in `small`.
    Small { start: usize, end: usize },
    /// Index into `large`.
    Large(usize),
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: Vec<(Outgoing, Place)>,
    small: Vec<u8>,
    /// Bursts of this outbox first, spare buffers behind them.
    large: Vec<Vec<u8>>,
    large_used: usize,
    bytes: usize,
}

impl Outbox {
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES_MAX || self.bytes >= BYTES_MAX
    }

    pub(super) fn push(&mut self, outgoing: Outgoing, data: &mut Vec<u8>) {
        self.bytes += data.len();
        let place = if data.len() < LARGE_BYTES {
            let start = self.small.len();
            self.small.extend_from_slice(data);
            Place::Small { start, end: self.small.len() }
        } else {
            if self.large_used == self.large.len() {
                self.large.push(Vec::with_capacity(BUFFER_BYTES));
            }
            std::mem::swap(data, &mut self.large[self.large_used]);
            self.large_used += 1;
            Place::Large(self.large_used - 1)
        };
        self.entries.push((outgoing, place));
    }

    /// Hands over the messages of each socket, in the order they were pushed.
    pub(super) fn for_each_socket(&mut self, mut send: impl FnMut(SocketId, Vec<Message<'_>>)) {
        // Stable, so that each connection's packets keep their order; nothing moves on a core with
        // one socket.
        self.entries.sort_by_key(|(outgoing, _)| outgoing.socket);
        for group in self.entries.chunk_by(|(a, _), (b, _)| a.socket == b.socket) {
            let messages = group.iter().map(|(outgoing, place)| Message {
                destination: outgoing.destination,
                source_ip: outgoing.source_ip,
                ecn: outgoing.ecn.map_or(0, crate::Ecn::bits),
                segment_size: outgoing.segment_size,
                data: match place {
                    Place::Small { start, end } => &self.small[*start..*end],
                    Place::Large(index) => &self.large[*index],
                },
            });
            send(group[0].0.socket, messages.collect());
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.small.clear();
        for buffer in &mut self.large[..self.large_used] {
            buffer.clear();
        }
        self.large_used = 0;
        self.bytes = 0;
    }
}
