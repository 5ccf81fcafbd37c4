//! A client of quinn-proto and an accepted session, without packets.

use std::sync::Arc;

use bytes::BytesMut;
use quinn_proto::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn_proto::crypto::{ClientConfig as _, KeyPair, Keys, PacketKey, Session};
use quinn_proto::transport_parameters::TransportParameters;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::server::begin;
use crate::tls;

const ALPN: &[u8] = b"test/1";
/// QUIC's version 1 (RFC 9000).
const VERSION: u32 = 1;
const HEADER: [u8; 5] = [0x40, 1, 2, 3, 4];

/// A client's session and an accepted one, whose certificates both are the same.
struct Two {
    client: Box<dyn Session>,
    server: Box<dyn Session>,
    /// The client's keys of one RTT, and the server's.
    keys: Option<(Keys, Keys)>,
}

impl Two {
    fn shaken() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone()).unwrap();
        let roots = Arc::new(roots);
        let key = || PrivateKeyDer::Pkcs8(key.clone().into());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            roots.clone(),
            tls::crypto_provider(),
        );
        let server = rustls::ServerConfig::builder_with_provider(tls::crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![cert.clone()], key())
            .unwrap();
        let client = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert], key())
            .unwrap();
        let (server, client) = (tls::server(server, &[ALPN]), tls::client(client, &[ALPN]));
        let quic = Arc::new(QuicServerConfig::try_from(server.clone()).unwrap());
        let params = TransportParameters::read(quinn_proto::Side::Client, &mut &[][..]).unwrap();
        let client = Arc::new(QuicClientConfig::try_from(client).unwrap());
        let mut two = Self {
            client: client.start_session(VERSION, "localhost", &params).unwrap(),
            server: begin(server, &quic, VERSION, &params),
            keys: None,
        };
        let (mut clients, mut servers) = (None, None);
        for _ in 0..8 {
            speak(&mut *two.client, &mut *two.server, &mut clients);
            speak(&mut *two.server, &mut *two.client, &mut servers);
        }
        assert!(!two.client.is_handshaking() && !two.server.is_handshaking());
        two.keys = clients.zip(servers);
        two
    }
}

/// Lets one side say what it has to say, flight by flight; the last keys that it comes to are
/// those of one RTT.
fn speak(from: &mut dyn Session, to: &mut dyn Session, keys: &mut Option<Keys>) {
    loop {
        let mut flight = Vec::new();
        let change = from.write_handshake(&mut flight);
        if flight.is_empty() && change.is_none() {
            return;
        }
        if change.is_some() {
            *keys = change;
        }
        if !flight.is_empty() {
            to.read_handshake(&flight).unwrap();
        }
    }
}

/// What one side seals, the other one opens.
fn check(sealing: &dyn PacketKey, opening: &dyn PacketKey) {
    assert_eq!(sealing.tag_len(), opening.tag_len());
    let mut packet = HEADER.to_vec();
    packet.extend_from_slice(b"what is sealed");
    packet.resize(packet.len() + sealing.tag_len(), 0);
    sealing.encrypt(7, &mut packet, HEADER.len());
    let mut payload = BytesMut::from(&packet[HEADER.len()..]);
    opening.decrypt(7, &HEADER, &mut payload).unwrap();
    assert_eq!(&payload[..], b"what is sealed");
}

fn check_both(client: &KeyPair<Box<dyn PacketKey>>, server: &KeyPair<Box<dyn PacketKey>>) {
    check(&*client.local, &*server.remote);
    check(&*server.local, &*client.remote);
    assert_eq!(client.local.confidentiality_limit(), server.remote.confidentiality_limit());
    assert_eq!(client.remote.integrity_limit(), server.local.integrity_limit());
}

#[test]
fn keys_agree_over_several_updates_whether_those_between_were_used_or_not() {
    let mut two = Two::shaken();
    let (client, server) = two.keys.take().unwrap();
    check_both(&client.packet, &server.packet);
    for number in 0..5 {
        let (client, server) = (two.client.next_1rtt_keys().unwrap(), two.server.next_1rtt_keys().unwrap());
        if number != 2 {
            check_both(&client, &server);
        }
    }
}

#[test]
fn keys_of_an_update_open_no_packet_of_another_one() {
    let mut two = Two::shaken();
    let first = two.client.next_1rtt_keys().unwrap();
    let _ = two.server.next_1rtt_keys();
    let second = two.server.next_1rtt_keys().unwrap();
    let mut packet = HEADER.to_vec();
    packet.resize(64, 0);
    first.local.encrypt(7, &mut packet, HEADER.len());
    assert!(second.remote.decrypt(7, &HEADER, &mut BytesMut::from(&packet[HEADER.len()..])).is_err());
}

#[test]
fn what_a_handshake_found_out_is_told_once_behind_it() {
    let two = Two::shaken();
    let data = two.server.handshake_data().unwrap().downcast::<HandshakeData>().unwrap();
    assert_eq!((data.protocol.as_deref(), data.server_name.as_deref()), (Some(ALPN), Some("localhost")));
    let chain = two.server.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
    assert_eq!(chain.len(), 1);
    assert!(two.server.handshake_data().is_none() && two.server.peer_identity().is_none());
}

#[test]
fn message_behind_the_handshake_is_refused() {
    let mut two = Two::shaken();
    // TLS's KeyUpdate (RFC 8446, section 4.6.3), which QUIC forbids.
    let error = two.server.read_handshake(&[24, 0, 0, 1, 0]).unwrap_err();
    assert_eq!(u64::from(error.code), 0x10a);
}
