//! What strangers have in common: those who are no clients of the cluster, and cost it something
//! all the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use millrace_measure::figures::whole;

/// Addresses, or ports where there is one address, that strangers come from.
pub(super) const SOURCES: u8 = 64;
/// Between two looks at the schedule.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Where strangers come from: on loopback, where any address can be had, an address each, else a
/// port each.
pub(super) fn sources(target: SocketAddr) -> impl Iterator<Item = SocketAddr> {
    (1..=SOURCES).map(move |number| {
        let address: IpAddr = match target.ip() {
            IpAddr::V4(address) if address.is_loopback() => Ipv4Addr::new(127, 66, 0, number).into(),
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(address, 0)
    })
}

/// How many are due of a steady rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    at: Instant,
    per_second: f64,
    begun: u64,
}

impl Pace {
    pub(super) fn new(at: Instant, per_second: u32) -> Self {
        Self { at, per_second: f64::from(per_second), begun: 0 }
    }

    /// Those that are due and have not begun: they count as begun.
    pub(super) fn take(&mut self, now: Instant) -> u64 {
        let due = whole(self.elapsed(now) * self.per_second);
        let missing = due.saturating_sub(self.begun);
        self.begun += missing;
        missing
    }

    /// Seconds so far.
    pub(super) fn elapsed(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.at).as_secs_f64()
    }
}

/// A socket at one of the places that strangers come from.
pub(super) fn socket(source: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind(source)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_taken_once() {
        let at = Instant::now();
        let mut pace = Pace::new(at, 1_000);
        assert_eq!(pace.take(at), 0);
        assert_eq!(pace.take(at + Duration::from_millis(250)), 250);
        assert_eq!(pace.take(at + Duration::from_millis(250)), 0);
        assert_eq!(pace.take(at + Duration::from_secs(1)), 750);
    }

    #[test]
    fn strangers_on_loopback_have_addresses_of_their_own() {
        let places: std::collections::BTreeSet<_> =
            sources(SocketAddr::from(([127, 0, 0, 1], 7400))).map(|source| source.ip()).collect();
        assert_eq!(places.len(), usize::from(SOURCES));
    }
}
