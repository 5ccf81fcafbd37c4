//! Connection ids that steer: bytes 1 and 2 give the core, all others are random.
//!
//! `value = bytes 1–2, big-endian, & 0xfff`; the core is `value % cores`. Byte 0 is left to load
//! balancers. The kernel's steering program ([`crate::steer`]), [`steering_value`] on received
//! packets, and the ids that a core issues use the same arithmetic, so that all packets of a
//! connection reach the core that made it. A client may put a shard number (12 bits, too) into its
//! initial destination id, and so chooses the core that accepts it.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Length in bytes of the ids that we issue.
pub(crate) const CID_BYTES: usize = 8;
/// The bits of bytes 1–2 that steer.
pub(crate) const VALUE_MASK: u16 = 0xfff;

/// The steering value of a UDP payload; `None` when it is too short to be QUIC.
///
/// A long header has the destination id at byte 6 (after flags, version and length), a short one at
/// byte 1.
pub(crate) fn steering_value(packet: &[u8]) -> Option<u16> {
    let at = if packet.first()? & 0x80 != 0 { 7 } else { 2 };
    let bytes = packet.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]) & VALUE_MASK)
}

/// Issues ids of one core.
#[derive(Debug)]
pub(crate) struct CoreIds {
    core: u16,
    cores: u16,
    rng: StdRng,
}

impl CoreIds {
    /// `cores` is 1..=4096 and `core` below it.
    pub(crate) fn new(core: u16, cores: u16, seed: [u8; 32]) -> Self {
        Self { core, cores, rng: StdRng::from_seed(seed) }
    }
}

impl ConnectionIdGenerator for CoreIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CID_BYTES];
        self.rng.fill_bytes(&mut id);
        // Each core uses the same number of values: as many as fit.
        let per_core = (VALUE_MASK + 1) / self.cores;
        let value = self.rng.random_range(0..per_core) * self.cores + self.core;
        set_value(&mut id, value);
        ConnectionId::new(&id)
    }

    /// A core never answers an id of another core with a reset, because the sibling may know it.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let steers_here = id.len() == CID_BYTES
            && (u16::from_be_bytes([id[1], id[2]]) & VALUE_MASK) % self.cores == self.core;
        if steers_here { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// An unpredictable initial destination id, whose steering value is `shard` when there is one.
pub(crate) fn initial_destination(shard: Option<u16>, rng: &mut impl Rng) -> ConnectionId {
    let mut id = [0; 20];
    rng.fill_bytes(&mut id);
    if let Some(shard) = shard {
        set_value(&mut id, shard);
    }
    ConnectionId::new(&id)
}

fn set_value(id: &mut [u8], value: u16) {
    let kept = u16::from_be_bytes([id[1], id[2]]) & !VALUE_MASK;
    id[1..3].copy_from_slice(&(kept | value & VALUE_MASK).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_ids_steer_to_their_core_and_siblings_refuse_them() {
        for cores in [1, 2, 3, 5, 64, 4096] {
            for core in [0, cores / 2, cores - 1] {
                let mut ids = CoreIds::new(core, cores, [9; 32]);
                let sibling = CoreIds::new((core + 1) % cores, cores, [9; 32]);
                for _ in 0..50 {
                    let id = ids.generate_cid();
                    assert!(ids.validate(&id).is_ok());
                    assert_eq!(sibling.validate(&id).is_err(), cores > 1);
                    let mut short = vec![0x40];
                    short.extend_from_slice(&id);
                    assert_eq!(steering_value(&short).unwrap() % cores, core);
                }
            }
        }
    }

    #[test]
    fn initial_destination_carries_the_shard() {
        let mut rng = StdRng::from_seed([3; 32]);
        for shard in [0, 1, 0x123, 0xfff] {
            let id = initial_destination(Some(shard), &mut rng);
            let mut long = vec![0xc0, 0, 0, 0, 1, 20];
            long.extend_from_slice(&id);
            assert_eq!(steering_value(&long), Some(shard));
        }
    }

    #[test]
    fn packets_too_short_to_steer_have_no_value() {
        for packet in [&[][..], &[0x40, 1, 2], &[0xc0, 0, 0, 0, 1, 8, 1, 2]] {
            assert_eq!(steering_value(packet), None);
        }
    }
}
