//! The address that a router advertises when its settings name none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// An advertised address that no setting names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reachable {
    pub(crate) address: SocketAddr,
    /// Whether it is a guess: the router listens on all addresses, and no route shows which one
    /// others see.
    is_guessed: bool,
}

impl Reachable {
    /// For an unspecified address, the one that packets of this host leave from; any other as it
    /// is.
    pub(crate) fn from(bound: SocketAddr) -> Self {
        Self::among(bound, leaves_from)
    }

    fn among(bound: SocketAddr, leaves_from: impl Fn(&str, &str) -> Option<IpAddr>) -> Self {
        if !bound.ip().is_unspecified() {
            return Self { address: bound, is_guessed: false };
        }
        // These are reserved for documentation (RFC 5737, RFC 3849): no host has them, so that
        // packets to them leave by the default route.
        let v4 = || leaves_from("0.0.0.0:0", "192.0.2.1:9");
        let v6 = || leaves_from("[::]:0", "[2001:db8::1]:9").filter(|_| bound.is_ipv6());
        let found = v4().or_else(v6);
        let ip = found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Self { address: SocketAddr::new(ip, bound.port()), is_guessed: found.is_none() }
    }

    /// A warning about a guess.
    pub(crate) fn warning(self) -> Option<String> {
        self.is_guessed.then(|| {
            format!(
                "this host has no default route, so that the router advertises {}, which no other host can dial: set \
                 `advertise` (--advertise HOST:PORT) to what others reach it by",
                self.address
            )
        })
    }
}

/// The address that packets to `remote` leave from. Connecting a UDP socket sends nothing.
fn leaves_from(local: &str, remote: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(local).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_address_becomes_one_that_others_can_use() {
        let route = |local: &str, _: &str| local.starts_with('0').then(|| IpAddr::from([10, 0, 0, 7]));
        let reached = Reachable::among("[::]:7400".parse().unwrap(), route);
        assert_eq!(reached.address, "10.0.0.7:7400".parse().unwrap());
        assert_eq!(reached.warning(), None);
    }

    #[test]
    fn host_without_a_default_route_is_told_that_nobody_will_reach_it() {
        let reached = Reachable::among("0.0.0.0:7400".parse().unwrap(), |_, _| None);
        assert_eq!(reached.address, "127.0.0.1:7400".parse().unwrap());
        assert!(reached.warning().unwrap().contains("--advertise"));
        let chosen = Reachable::among("127.0.0.1:7400".parse().unwrap(), |_, _| None);
        assert_eq!(chosen.warning(), None);
    }
}
