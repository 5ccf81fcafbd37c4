//! Clients that have no identity yet: how many there may be, from one network and in all.
//!
//! Each may hold [`super::HEAD_BYTES_MAX`], so these bounds are what a door spends on strangers.
//! Loopback counts in all and not as a network: what comes from there is this host's, and often a
//! proxy that has many clients.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bounds::{WAITING_MAX, WAITING_PER_NETWORK_MAX};

/// The strangers of one door. All clones are one room.
#[derive(Debug, Clone)]
pub struct WaitingRoom {
    occupied: Arc<Mutex<Occupied>>,
    max: usize,
    per_network_max: usize,
}

impl Default for WaitingRoom {
    fn default() -> Self {
        Self::new(WAITING_MAX, WAITING_PER_NETWORK_MAX)
    }
}

#[derive(Debug, Default)]
struct Occupied {
    all: usize,
    by_network: HashMap<u128, usize>,
}

/// A client's place in a room, until it has an identity or is gone. By default it has none.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Option<Arc<Place>>);

#[derive(Debug)]
struct Place {
    room: WaitingRoom,
    network: Option<u128>,
    is_free: AtomicBool,
}

impl WaitingRoom {
    /// A room for so many, and so many of one network.
    #[must_use]
    pub fn new(max: usize, per_network_max: usize) -> Self {
        Self { occupied: Arc::default(), max, per_network_max }
    }

    /// A place for a client from this address; `None` if the room, or that of its network, is full.
    #[must_use]
    pub fn enter(&self, ip: IpAddr) -> Option<Waiting> {
        let network = network(ip);
        let mut occupied = self.occupied();
        if occupied.all >= self.max {
            return None;
        }
        if let Some(network) = network {
            let count = occupied.by_network.entry(network).or_default();
            if *count >= self.per_network_max {
                return None;
            }
            *count += 1;
        }
        occupied.all += 1;
        drop(occupied);
        let place = Place { room: self.clone(), network, is_free: AtomicBool::new(false) };
        Some(Waiting(Some(Arc::new(place))))
    }

    fn occupied(&self) -> MutexGuard<'_, Occupied> {
        self.occupied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether the client has a place: it has no identity yet.
    pub(super) fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|place| !place.is_free.load(Ordering::Relaxed))
    }

    /// The client has an identity: its place is for somebody else.
    pub(super) fn end(&self) {
        if let Some(place) = &self.0 {
            place.free();
        }
    }
}

impl Place {
    fn free(&self) {
        if self.is_free.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut occupied = self.room.occupied();
        occupied.all -= 1;
        let Some(network) = self.network else { return };
        if let Some(count) = occupied.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                occupied.by_network.remove(&network);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free();
    }
}

/// What an address counts for: itself, or the /64 of an IPv6 address, which one host has whole.
fn network(ip: IpAddr) -> Option<u128> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V4(v4) => Some(v4.to_ipv6_mapped().to_bits()),
        IpAddr::V6(v6) => Some(v6.to_bits() >> 64 << 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_cannot_take_the_room_of_all() {
        let room = WaitingRoom::new(5, 2);
        let enter = |ip: &str| room.enter(ip.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let _other = enter("192.0.2.2").unwrap();
        let _six = (enter("2001:db8::1").unwrap(), enter("2001:db8::ffff:1").unwrap());
        assert!(enter("2001:db8:0:1::1").is_none() && enter("127.0.0.1").is_none(), "the room is full");
        // Clones are one place, which is free once.
        first.clone().end();
        first.end();
        drop(first);
        assert!(enter("2001:db8::2").is_none(), "its network is full");
        let _again = enter("192.0.2.1").unwrap();
        drop(second);
        let _local = enter("127.0.0.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        assert_eq!(room.occupied().by_network.len(), 3);
    }
}
