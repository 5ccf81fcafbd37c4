//! Connection ids that steer: two of their bytes give the core.
//!
//! ```text
//! plain, 8 bytes       │ any │ steering, 2 │ random, 5                        │
//! QUIC-LB, 16 bytes    │ len │ server id, 8          │ steering, 2 │ random, 5 │
//! ```
//!
//! `value = the two bytes, big-endian, & 0xfff`; the core is `value % cores`. Where the two stand,
//! how long an id is, and whether a balancer's server id stands in front of them, says a
//! [`CidShape`], one for all cores of a router. The kernel's steering program ([`crate::steer`]),
//! [`CidShape::steering_value`] on received packets, and the ids that a core issues use the same
//! arithmetic, so that all packets of a connection reach the core that made it.
//!
//! A client may put a shard number (12 bits, too) into its initial destination id, and so chooses
//! the core that accepts it. It does not know the router's shape, so that it writes the number at
//! both usual places, bytes 1–2 and 9–10.

use std::fmt;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::SettingsError;

/// The bits of the two bytes that steer.
pub(crate) const VALUE_MASK: u16 = 0xfff;
/// Where the steering bytes stand in plain ids, and in initial ids that are too short for the
/// router's own place.
const PLAIN_OFFSET: usize = 1;
/// Where they stand behind a server id of 8 bytes.
const BALANCED_OFFSET: usize = 9;
/// Bytes of ids, at least: those of initial ids (RFC 9000, section 7.2).
const LENGTH_MIN: usize = 8;
/// Bytes of ids, at most, in QUIC version 1.
const LENGTH_MAX: usize = 20;
/// Bytes of a server id, at most (QUIC-LB, section 3).
const SERVER_ID_MAX: usize = 15;
/// Bytes behind a server id, at least: QUIC-LB wants a nonce of 4, in which the steering bytes
/// count.
const NONCE_MIN: usize = 4;

/// How the connection ids of a router look, for balancers in front of it. Default: 8 bytes, which
/// steer by bytes 1 and 2 and are random otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CidShape {
    length: usize,
    steering_offset: usize,
    server_id: [u8; SERVER_ID_MAX],
    server_id_bytes: usize,
}

impl Default for CidShape {
    fn default() -> Self {
        let server_id = [0; SERVER_ID_MAX];
        Self { length: LENGTH_MIN, steering_offset: PLAIN_OFFSET, server_id, server_id_bytes: 0 }
    }
}

impl CidShape {
    /// Ids of `length` bytes, 8 to 20, whose bytes from `steering_offset` on, 1 or more, steer.
    /// With a server id of 1 to 15 bytes they have the plain shape of QUIC-LB
    /// (draft-ietf-quic-load-balancers, section 5.2): a first octet of configuration 0 that says
    /// the length, the server id, and a nonce of at least 4 bytes, of which the first may steer.
    ///
    /// # Errors
    /// [`SettingsError::OutOfRange`] with the name of the number that does not fit.
    pub fn new(length: usize, steering_offset: usize, server_id: &[u8]) -> Result<Self, SettingsError> {
        let out = |name| Err(SettingsError::OutOfRange { name });
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return out("length");
        }
        let taken = 1 + server_id.len();
        if server_id.len() > SERVER_ID_MAX || (!server_id.is_empty() && taken + NONCE_MIN > length) {
            return out("server_id");
        }
        if steering_offset < taken || steering_offset + 2 > length {
            return out("steering_offset");
        }
        let mut shape = Self { length, steering_offset, ..Self::default() };
        shape.server_id[..server_id.len()].copy_from_slice(server_id);
        shape.server_id_bytes = server_id.len();
        Ok(shape)
    }

    /// The place of the steering bytes.
    pub(crate) const fn steering_offset(&self) -> usize {
        self.steering_offset
    }

    /// Bytes that a client's initial id has at least where they stand at that place. A shorter one
    /// steers by bytes 1 and 2.
    pub(crate) const fn initial_bytes_min(&self) -> usize {
        self.steering_offset + 2
    }

    /// The steering value of a UDP payload; `None` when it is too short to be QUIC.
    ///
    /// A long header has the destination id at byte 6 (after flags, version and length), a short
    /// one at byte 1.
    pub(crate) fn steering_value(&self, packet: &[u8]) -> Option<u16> {
        let at = if packet.first()? & 0x80 == 0 {
            1 + self.steering_offset
        } else if usize::from(*packet.get(5)?) >= self.initial_bytes_min() {
            6 + self.steering_offset
        } else {
            6 + PLAIN_OFFSET
        };
        let bytes = packet.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]) & VALUE_MASK)
    }

    fn server_id(&self) -> &[u8] {
        &self.server_id[..self.server_id_bytes]
    }

    /// Bytes in front of the nonce, where there is a server id.
    const fn routed_bytes(&self) -> usize {
        1 + self.server_id_bytes
    }

    /// Gives a random id this shape, but for its steering value.
    fn mark(&self, id: &mut [u8]) {
        if self.server_id_bytes > 0 {
            // Configuration 0 in the three high bits; the length counts without this octet.
            id[0] = u8::try_from(self.length - 1).unwrap_or(0);
            id[1..self.routed_bytes()].copy_from_slice(self.server_id());
        }
    }

    fn is_marked(&self, id: &[u8]) -> bool {
        self.server_id_bytes == 0 || id[1..self.routed_bytes()] == *self.server_id()
    }
}

impl fmt::Debug for CidShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CidShape")
            .field("length", &self.length)
            .field("steering_offset", &self.steering_offset)
            .field("server_id", &self.server_id())
            .finish()
    }
}

/// Issues ids of one core.
#[derive(Debug)]
pub(crate) struct CoreIds {
    core: u16,
    cores: u16,
    shape: CidShape,
    rng: StdRng,
}

impl CoreIds {
    /// `cores` is 1..=4096 and `core` below it.
    pub(crate) fn new(core: u16, cores: u16, shape: CidShape, seed: [u8; 32]) -> Self {
        Self { core, cores, shape, rng: StdRng::from_seed(seed) }
    }
}

impl ConnectionIdGenerator for CoreIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; LENGTH_MAX];
        let id = &mut id[..self.shape.length];
        self.rng.fill_bytes(id);
        self.shape.mark(id);
        // Each core uses the same number of values: as many as fit.
        let per_core = (VALUE_MASK + 1) / self.cores;
        let value = self.rng.random_range(0..per_core) * self.cores + self.core;
        set_value(id, self.shape.steering_offset, value);
        ConnectionId::new(id)
    }

    /// A core never answers an id of another core with a reset, because the sibling may know it.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let steers_here = || value_at(id, self.shape.steering_offset) % self.cores == self.core;
        let is_own = id.len() == self.shape.length && self.shape.is_marked(id) && steers_here();
        if is_own { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        self.shape.length
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// An unpredictable initial destination id, whose steering value is `shard` when there is one: at
/// the usual places, and at that of `shape`, which the router that is dialled probably has, too.
pub(crate) fn initial_destination(shard: Option<u16>, shape: &CidShape, rng: &mut impl Rng) -> ConnectionId {
    let mut id = [0; LENGTH_MAX];
    rng.fill_bytes(&mut id);
    if let Some(shard) = shard {
        for offset in [PLAIN_OFFSET, BALANCED_OFFSET, shape.steering_offset] {
            set_value(&mut id, offset, shard);
        }
    }
    ConnectionId::new(&id)
}

fn value_at(id: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([id[offset], id[offset + 1]]) & VALUE_MASK
}

fn set_value(id: &mut [u8], offset: usize, value: u16) {
    let kept = u16::from_be_bytes([id[offset], id[offset + 1]]) & !VALUE_MASK;
    id[offset..offset + 2].copy_from_slice(&(kept | value & VALUE_MASK).to_be_bytes());
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const SERVER: [u8; 8] = [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 7, 8];

    /// Plain ids, those behind a balancer of QUIC-LB, and long ones that steer elsewhere.
    pub(crate) fn shapes() -> [CidShape; 3] {
        [CidShape::default(), CidShape::new(16, 9, &SERVER).unwrap(), CidShape::new(20, 18, &[]).unwrap()]
    }

    #[test]
    fn issued_ids_steer_to_their_core_and_siblings_refuse_them() {
        for shape in shapes() {
            for cores in [1, 2, 3, 5, 64, 4096] {
                for core in [0, cores / 2, cores - 1] {
                    let mut ids = CoreIds::new(core, cores, shape, [9; 32]);
                    let sibling = CoreIds::new((core + 1) % cores, cores, shape, [9; 32]);
                    for _ in 0..50 {
                        let id = ids.generate_cid();
                        assert!(ids.validate(&id).is_ok());
                        assert_eq!(sibling.validate(&id).is_err(), cores > 1);
                        let mut short = vec![0x40];
                        short.extend_from_slice(&id);
                        assert_eq!(shape.steering_value(&short).unwrap() % cores, core);
                    }
                }
            }
        }
    }

    #[test]
    fn ids_of_quic_lb_have_their_first_octet_and_server_id_and_a_nonce() {
        let mut ids = CoreIds::new(1, 4, shapes()[1], [9; 32]);
        let (one, two) = (ids.generate_cid(), ids.generate_cid());
        for id in [one, two] {
            assert_eq!((id.len(), id[0], &id[1..9]), (16, 15, &SERVER[..]));
        }
        assert_ne!(one[9..], two[9..]);
        let mut foreign = one.to_vec();
        foreign[3] ^= 1;
        assert!(ids.validate(&ConnectionId::new(&foreign)).is_err(), "another server's");
    }

    #[test]
    fn initial_destination_carries_the_shard_for_routers_of_every_shape() {
        let mut rng = StdRng::from_seed([3; 32]);
        for shape in shapes() {
            for shard in [0, 1, 0x123, 0xfff] {
                let id = initial_destination(Some(shard), &shape, &mut rng);
                let mut long = vec![0xc0, 0, 0, 0, 1, 20];
                long.extend_from_slice(&id);
                assert_eq!(shape.steering_value(&long), Some(shard));
                assert_eq!(CidShape::default().steering_value(&long), Some(shard));
            }
        }
    }

    #[test]
    fn short_initial_ids_steer_by_bytes_that_they_have() {
        let long = [0xc0, 0, 0, 0, 1, 8, 9, 0x01, 0x23, 1, 1, 1, 1, 1, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        for shape in shapes() {
            assert_eq!(shape.steering_value(&long), Some(0x123), "{shape:?}");
        }
    }

    #[test]
    fn packets_too_short_to_steer_have_no_value() {
        for packet in [&[][..], &[0x40, 1, 2], &[0xc0, 0, 0, 0, 1, 8, 1, 2]] {
            assert!(shapes().iter().all(|shape| shape.steering_value(packet).is_none()));
        }
    }

    #[test]
    fn shapes_that_cannot_be_are_refused_by_name() {
        for (length, offset, server_id, name) in [
            (7, 1, &[][..], "length"),
            (21, 1, &[], "length"),
            (8, 0, &[], "steering_offset"),
            (8, 7, &[], "steering_offset"),
            (16, 8, &SERVER, "steering_offset"),
            (12, 9, &SERVER, "server_id"),
            (20, 17, &[0; 16], "server_id"),
        ] {
            let refused = CidShape::new(length, offset, server_id).unwrap_err();
            assert_eq!(refused, SettingsError::OutOfRange { name });
        }
        assert!(CidShape::new(13, 9, &SERVER).is_ok() && CidShape::new(8, 6, &[]).is_ok());
    }
}
