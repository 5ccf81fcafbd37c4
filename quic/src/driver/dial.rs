//! Dialling, on behalf of [`crate::Io`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::Driver;
use super::slots::Phase;
use crate::{ConnId, ConnectError, Dial, Network, cid};

impl Driver {
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        net: &dyn Network,
        dial: &Dial,
    ) -> Result<ConnId, ConnectError> {
        if self.slots.count() >= self.connections_max {
            return Err(ConnectError::TooMany);
        }
        let local = net.local_addr(dial.via).ok_or(ConnectError::NoSocket)?;
        let remote = reachable(local, dial.remote).ok_or(ConnectError::AddressFamily)?;
        let mut config = dial.client.config(remote, net);
        let destination = cid::initial_destination(dial.shard, &self.cids, &mut self.rng);
        config.initial_dst_cid_provider(Arc::new(move || destination));
        let (handle, conn) = self
            .endpoint
            .connect(now, config, remote, &dial.server_name)
            .map_err(ConnectError::from_proto)?;
        let index = self.slots.insert(handle, conn, dial.via, Phase::Dialling, now);
        self.metrics.dials += 1;
        self.mark_transmit(index);
        Ok(self.slots.id(index))
    }
}

/// `remote` in the form that a socket bound to `local` needs; `None` when the two address families
/// do not meet.
fn reachable(local: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
    match (local, remote.ip()) {
        (SocketAddr::V6(_), IpAddr::V4(ip)) => {
            Some(SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), remote.port()))
        }
        (SocketAddr::V4(_), IpAddr::V6(ip)) => {
            ip.to_ipv4_mapped().map(|ip| SocketAddr::new(IpAddr::V4(ip), remote.port()))
        }
        _ => Some(remote),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dual_stack_sockets_name_ipv4_peers_as_mapped() {
        let (v4, v6) = ("127.0.0.1:9".parse().unwrap(), "[::]:9".parse().unwrap());
        assert_eq!(reachable(v6, v4), Some("[::ffff:127.0.0.1]:9".parse().unwrap()));
        assert_eq!(reachable(v4, "[::ffff:1.2.3.4]:9".parse().unwrap()), Some("1.2.3.4:9".parse().unwrap()));
        assert_eq!(reachable(v4, "[2001:db8::1]:9".parse().unwrap()), None);
        assert_eq!(reachable(v4, v4), Some(v4));
    }
}
