//! Batched receiving: recvmmsg into buffers, each of which the kernel may fill with many datagrams
//! (GRO).

use std::io::{self, IoSliceMut};

use quinn_udp::{BATCH_SIZE, RecvMeta};

use super::sockets::{Sockets, lookup};
use crate::{Arrival, Ecn, SocketId};

/// Size of a buffer: the most that the kernel merges.
const BUFFER_BYTES: usize = 1 << 16;
/// Buffers per call under bulk traffic: about 256 KiB, which decrypt in the time that receiving may
/// take.
const BULK_BUFFERS: usize = 4;
/// Average bytes per buffer from which traffic counts as bulk.
const BULK_BYTES: usize = BUFFER_BYTES / 4;

/// Receive buffers of one core.
pub(crate) struct Receiver {
    buffers: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
    filled: usize,
    /// Buffers to offer in the next call.
    offered: usize,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![0; BUFFER_BYTES * BATCH_SIZE].into_boxed_slice(),
            meta: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
            offered: BATCH_SIZE,
        }
    }

    /// Fills buffers from one socket; `true` when it may have more.
    pub(crate) fn receive(&mut self, sockets: &mut Sockets, id: SocketId) -> bool {
        self.filled = 0;
        let Some(socket) = lookup(&mut sockets.slots, id) else { return false };
        let mut buffers = self.buffers.chunks_exact_mut(BUFFER_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
        sockets.counters.receive_calls += 1;
        match socket.receive(&mut slices[..self.offered], &mut self.meta) {
            Ok(count) => {
                self.filled = count;
                let more = count == self.offered;
                let bytes: usize = self.meta[..count].iter().map(|meta| meta.len).sum();
                let is_bulk = bytes >= count * BULK_BYTES;
                self.offered = if is_bulk { BULK_BUFFERS } else { BATCH_SIZE };
                more
            }
            Err(error) => {
                sockets.counters.socket_errors += u64::from(error.kind() != io::ErrorKind::WouldBlock);
                false
            }
        }
    }

    /// What the last call received: where it came in, the bytes, and the size of each datagram in
    /// them.
    pub(crate) fn received(&self, id: SocketId) -> impl Iterator<Item = (Arrival, &[u8], usize)> {
        let buffers = self.buffers.chunks_exact(BUFFER_BYTES);
        self.meta[..self.filled].iter().zip(buffers).map(move |(meta, buffer)| {
            let arrival = Arrival {
                socket: id,
                remote: meta.addr,
                local_ip: meta.dst_ip,
                ecn: meta.ecn.map(|ecn| match ecn {
                    quinn_udp::EcnCodepoint::Ect0 => Ecn::Ect0,
                    quinn_udp::EcnCodepoint::Ect1 => Ecn::Ect1,
                    quinn_udp::EcnCodepoint::Ce => Ecn::Ce,
                }),
            };
            (arrival, &buffer[..meta.len], meta.stride)
        })
    }
}
