//! What an accepted connection keeps when its handshake is over.
//!
//! Keys of packets are counted where ring makes them, and not where aws-lc does, which takes their
//! memory from C: 1.2 KB.

use std::sync::Arc;
use std::time::Duration;

use millrace_quic::{ClientSettings, TransportSettings, tls};

use crate::allocations::live_bytes;
use crate::tls::{ALPN, client_tls_with_certificate};
use crate::world::{CLIENT, Faults, SERVER, World};

/// Bytes of an idle connection that showed a certificate: 15,083 with aws-lc, of which 400 are the
/// test's own. Whoever makes it smaller lowers this.
const IDLE_BYTES_MAX: isize = 16_900;
/// Connections that are held: two pages of slots.
const CONNECTIONS: u16 = 42;

#[test]
fn idle_connection_keeps_little_of_its_handshake() {
    let mut world = World::new(1, Faults::NONE);
    let tls = tls::client((*client_tls_with_certificate()).clone(), &[ALPN]);
    let client = Arc::new(ClientSettings::new(tls, TransportSettings::client_facing()).unwrap());
    for _ in 0..CONNECTIONS {
        let conn = world.dial(client.clone(), None);
        world.run_until("connected", |world| world.nodes[CLIENT].app.is_connected(conn));
    }
    world.run_for(Duration::from_secs(5));
    let server = world.nodes.remove(SERVER);
    assert_eq!(server.driver.connections(), usize::from(CONNECTIONS));
    let before = live_bytes();
    drop(server);
    let each = (before - live_bytes()) / isize::try_from(CONNECTIONS).unwrap();
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes per connection, of {IDLE_BYTES_MAX}");
}
