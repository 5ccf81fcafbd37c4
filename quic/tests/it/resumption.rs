//! Who may resume a TLS session, and who is asked for a certificate again.

use std::sync::Arc;
use std::time::Duration;

use millrace_quic::{
    Authorities, ClientSettings, CoreSettings, Resumption, ServerSettings, TransportSettings, tls,
};
use rustls::RootCertStore;

use crate::tls::{ALPN, client_tls_with_certificate, identity, server, server_tls};
use crate::world::{CLIENT, Faults, SERVER, World};

/// The protocol that goes without tickets.
const PEER: &[u8] = b"peer/1";

/// Resumption with an authority that stands for nobody and, if wanted, that of the tests' clients.
fn resuming(is_known: bool) -> ServerSettings {
    let mut roots = RootCertStore::empty();
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    roots.add(other.cert.der().clone()).unwrap();
    if is_known {
        roots.add(identity().0).unwrap();
    }
    let own = [identity().0];
    let authorities = Authorities::new(&roots, &tls::crypto_provider()).unwrap();
    let resumption = Some(Resumption::new(authorities, PEER.to_vec(), &own));
    let base = rustls::ServerConfig::clone(&server_tls());
    ServerSettings { tls: tls::server(base, &[ALPN, PEER]), resumption, ..server() }
}

/// Clients with a certificate, which keep their tickets in one place.
fn client(config: &rustls::ClientConfig, alpn: &[u8]) -> Arc<ClientSettings> {
    let config = tls::client(config.clone(), &[alpn]);
    Arc::new(ClientSettings::new(config, TransportSettings::client_facing()).unwrap())
}

/// Dials once; whether it was connected, and how many tickets the server has refused since it
/// started.
fn dial(world: &mut World, client: Arc<ClientSettings>) -> (bool, u64) {
    let conn = world.dial(client, None);
    world.run_for(Duration::from_secs(1));
    let is_connected = world.nodes[CLIENT].app.is_connected(conn);
    (is_connected, world.nodes[SERVER].driver.metrics().resumptions_refused)
}

fn world() -> World {
    World::with(3, Faults::NONE, resuming(true), CoreSettings::default())
}

#[test]
fn session_is_resumed_while_its_authority_stands() {
    let (mut world, config) = (world(), client_tls_with_certificate());
    for _ in 0..3 {
        assert_eq!(dial(&mut world, client(&config, ALPN)), (true, 0));
    }
}

#[test]
fn changed_authority_ends_resumption() {
    let (mut world, config) = (world(), client_tls_with_certificate());
    assert_eq!(dial(&mut world, client(&config, ALPN)), (true, 0));
    world.restart(SERVER, Some(resuming(false)));
    assert_eq!(dial(&mut world, client(&config, ALPN)).1, 1);
    let metrics = world.nodes[SERVER].driver.metrics();
    assert_eq!((metrics.connected, metrics.handshakes_failed), (0, 1), "its certificate was looked at again");
}

#[test]
fn no_ticket_leads_to_the_peer_protocol() {
    let (mut world, config) = (world(), client_tls_with_certificate());
    assert_eq!(dial(&mut world, client(&config, ALPN)), (true, 0));
    assert_eq!(dial(&mut world, client(&config, PEER)), (true, 1), "by a full handshake");
}
