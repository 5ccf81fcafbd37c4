//! Connections by the address prefix that they came from, so that one host cannot take the room of
//! all others.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::NewcomerLimits;

/// One IPv4 address or one IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Prefix {
    V4(u32),
    V6(u64),
}

/// The room that one prefix has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Less than half is taken.
    Plenty,
    /// Half is taken: newcomers prove their address first.
    Scarce,
    /// The prefix has as many handshakes as it may.
    NoHandshakes,
    /// The prefix has as many connections as it may.
    NoConnections,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    handshakes: u32,
    open: u32,
}

/// Counts per prefix with connections: at most as many as there are connections and newcomers in
/// line.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    limits: NewcomerLimits,
    counts: HashMap<Prefix, Count>,
}

impl Prefixes {
    pub(super) fn set_limits(&mut self, limits: NewcomerLimits) {
        self.limits = limits;
    }

    pub(super) fn handshake_timeout(&self) -> std::time::Duration {
        self.limits.handshake_timeout
    }

    /// The prefix that an address counts for; `None` in networks without bounds.
    pub(super) fn of(&self, address: IpAddr) -> Option<Prefix> {
        if self.limits.unbounded.iter().any(|block| block.contains(address)) {
            return None;
        }
        Some(match address.to_canonical() {
            IpAddr::V4(address) => Prefix::V4(address.to_bits()),
            IpAddr::V6(address) => {
                Prefix::V6(u64::try_from(address.to_bits() >> 64).expect("64 of 128 bits are left"))
            }
        })
    }

    pub(super) fn room(&self, prefix: Option<Prefix>) -> Room {
        let count = prefix.and_then(|prefix| self.counts.get(&prefix)).copied().unwrap_or_default();
        let (handshakes, all) = (count.handshakes, count.handshakes + count.open);
        match &self.limits {
            limits if all >= limits.connections_per_prefix => Room::NoConnections,
            limits if handshakes >= limits.handshakes_per_prefix => Room::NoHandshakes,
            limits
                if handshakes >= limits.handshakes_per_prefix / 2
                    || all >= limits.connections_per_prefix / 2 =>
            {
                Room::Scarce
            }
            _ => Room::Plenty,
        }
    }

    /// Counts a newcomer that waits for its handshake.
    pub(super) fn begin(&mut self, prefix: Option<Prefix>) {
        if let Some(prefix) = prefix {
            self.counts.entry(prefix).or_default().handshakes += 1;
        }
    }

    /// Counts its handshake as complete.
    pub(super) fn complete(&mut self, prefix: Option<Prefix>) {
        if let Some(count) = prefix.and_then(|prefix| self.counts.get_mut(&prefix)) {
            count.handshakes = count.handshakes.saturating_sub(1);
            count.open += 1;
        }
    }

    /// Forgets a connection, with or without a complete handshake.
    pub(super) fn end(&mut self, prefix: Option<Prefix>, was_complete: bool) {
        let Some(prefix) = prefix else { return };
        let Some(count) = self.counts.get_mut(&prefix) else { return };
        let part = if was_complete { &mut count.open } else { &mut count.handshakes };
        *part = part.saturating_sub(1);
        if count.handshakes + count.open == 0 {
            self.counts.remove(&prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes() -> Prefixes {
        let limits =
            NewcomerLimits { handshakes_per_prefix: 4, connections_per_prefix: 6, ..Default::default() };
        Prefixes { limits, ..Default::default() }
    }

    #[test]
    fn hosts_of_one_ipv6_network_count_together_and_those_of_ipv4_apart() {
        let prefixes = prefixes();
        let of = |address: &str| prefixes.of(address.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!((of("127.0.0.9"), of("::1")), (None, None), "loopback is not counted");
    }

    #[test]
    fn prefix_is_full_at_its_bounds_and_forgotten_at_the_end() {
        let mut prefixes = prefixes();
        let prefix = prefixes.of("192.0.2.1".parse().unwrap());
        let other = prefixes.of("192.0.2.2".parse().unwrap());
        let rooms = std::array::from_fn(|_| {
            let room = prefixes.room(prefix);
            prefixes.begin(prefix);
            room
        });
        assert_eq!(rooms, [Room::Plenty, Room::Plenty, Room::Scarce, Room::Scarce, Room::NoHandshakes]);
        assert_eq!((prefixes.room(other), prefixes.room(None)), (Room::Plenty, Room::Plenty));
        (0..5).for_each(|_| prefixes.complete(prefix));
        assert_eq!(prefixes.room(prefix), Room::Scarce);
        prefixes.begin(prefix);
        assert_eq!(prefixes.room(prefix), Room::NoConnections);
        prefixes.end(prefix, false);
        (0..5).for_each(|_| prefixes.end(prefix, true));
        assert!(prefixes.counts.is_empty());
    }
}
