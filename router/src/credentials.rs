//! Whether a peer may have the id that it claims: a router's id follows from its certificate's name
//! and the address that it advertises.
//!
//! The holder of one router's certificate can prove to be that router under any address, and no
//! other router. Routers that share a certificate differ by their addresses. A peer that proves
//! nothing may have an id that nobody has proven; control takes it away when a peer proves it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use millrace_engine::transport::ConnKey;
use millrace_proto::RouterId;
use millrace_proto::mesh::PeerHello;

/// Time between two log lines about peers whose claims are not proven.
const SAID_FOR: Duration = Duration::from_secs(10);

/// The id of a router: the first 8 bytes of SHA-256 over its certificate's name, a zero byte, and
/// its advertised address.
pub(crate) fn router_id(name: &str, advertise: &str) -> RouterId {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [name.as_bytes(), &[0], advertise.as_bytes()] {
        hash.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finish().as_ref()[..8]);
    RouterId(u64::from_be_bytes(first).max(1))
}

/// The names in the certificates of this core's peers, at most one for each connection.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    names: BTreeMap<ConnKey, String>,
    said: Option<Instant>,
    unsaid: u64,
}

impl Credentials {
    /// Keeps the certificate's name of a peer that has connected.
    pub(crate) fn admit(&mut self, conn: ConnKey, name: String) {
        self.names.insert(conn, name);
    }

    /// Forgets a connection that has ended.
    pub(crate) fn forget(&mut self, conn: ConnKey) {
        self.names.remove(&conn);
    }

    /// Whether a peer's certificate proves the id in its hello. Where it does not, the log says so
    /// once in a while.
    pub(crate) fn proves(&mut self, now: Instant, conn: ConnKey, hello: &PeerHello) -> bool {
        let name = self.names.get(&conn).map_or("", String::as_str);
        if hello.router == router_id(name, &hello.advertise) {
            return true;
        }
        self.unsaid += 1;
        if self.said.is_none_or(|said| now.duration_since(said) >= SAID_FOR) {
            self.said = Some(now);
            let times = std::mem::take(&mut self.unsaid);
            tracing::warn!(
                certificate = ?name, claims = %hello.router, advertise = ?hello.advertise, times,
                "a peer's id does not follow from its certificate and address: it is another version, or its \
                 certificate is in wrong hands; it is no substitute for a router that proves this id"
            );
        }
        false
    }
}

/// What a client hears without the role of one, with a certificate of a believed authority or none.
pub(crate) const fn unproven(shows_one: bool) -> &'static str {
    if shows_one {
        "the certificate names no client: it needs one URI `millrace://client/NAME` or \
         `spiffe://DOMAIN/millrace/client/NAME` among its subject alternative names"
    } else {
        "this router asks clients for a certificate"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_follows_from_name_and_address_together() {
        assert_eq!(router_id("a", "x:7400"), router_id("a", "x:7400"));
        assert_ne!(router_id("a", "x:7400"), router_id("b", "x:7400"));
        assert_ne!(router_id("a", "x:7400"), router_id("a", "y:7400"));
        assert_ne!(router_id("ab", "c:1"), router_id("a", "bc:1"));
    }

    #[test]
    fn a_certificate_proves_its_own_ids_and_no_other() {
        let mut credentials = Credentials::default();
        credentials.admit(ConnKey(1), "evil".to_owned());
        let hello = |name: &str| PeerHello {
            router: router_id(name, "x:1"),
            advertise: "x:1".to_owned(),
            ..PeerHello::default()
        };
        let now = Instant::now();
        assert!(credentials.proves(now, ConnKey(1), &hello("evil")));
        assert!(!credentials.proves(now, ConnKey(1), &hello("good")));
        credentials.forget(ConnKey(1));
        assert!(!credentials.proves(now, ConnKey(1), &hello("evil")), "nobody vouches for it");
    }
}
