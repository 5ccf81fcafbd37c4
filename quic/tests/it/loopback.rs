//! Real sockets on the loopback interface.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_quic::{
    ClientSettings, CloseReason, ConnId, Core, CoreSettings, Dial, ReadState, ServerSettings, Side, SocketId,
    TransportSettings, steer,
};

use crate::peer::Peer;
use crate::tls;

/// A server and a client core, run in turn on one thread.
pub(crate) struct Pair {
    pub(crate) server: Core<Peer>,
    pub(crate) client: Core<Peer>,
    pub(crate) addr: SocketAddr,
    via: SocketId,
}

impl Pair {
    pub(crate) fn new(app: Peer) -> Self {
        Self::with(app, tls::server(), "127.0.0.1:0")
    }

    pub(crate) fn with(app: Peer, settings: ServerSettings, bind: &str) -> Self {
        let mut group = steer::bind_group(bind.parse().unwrap(), 1).unwrap();
        let shared = group.sockets.pop();
        let server = Core::new(CoreSettings::default(), Some(settings), shared, app).unwrap();
        let mut client = Core::new(CoreSettings::default(), None, None, Peer::default()).unwrap();
        let via = client.with_io(|_, io| io.add_socket("127.0.0.1:0".parse().unwrap())).unwrap();
        Self { server, client, addr: group.addr, via }
    }

    pub(crate) fn dial(&mut self) -> ConnId {
        self.dial_with(tls::client())
    }

    pub(crate) fn dial_with(&mut self, client: Arc<ClientSettings>) -> ConnId {
        let port = self.addr.port();
        let dial = Dial {
            remote: SocketAddr::new("127.0.0.1".parse().unwrap(), port),
            server_name: "localhost".into(),
            client,
            via: self.via,
            shard: None,
        };
        self.client.with_io(|_, io| io.connect(&dial)).unwrap()
    }

    pub(crate) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(Instant::now() < end, "never came: {what}");
            self.server.turn(Duration::from_micros(200));
            self.client.turn(Duration::from_micros(200));
        }
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        let conn = self.dial();
        self.run_until("connected", |pair| {
            pair.client.app().is_connected(conn) && !pair.server.app().connected.is_empty()
        });
        conn
    }
}

#[test]
fn bytes_come_back_on_a_stream_and_the_connection_closes() {
    let mut pair = Pair::new(Peer::echo());
    let conn = pair.connect();
    let data: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let key = pair.client.with_io(|app, io| {
        let stream = io.open_bi(conn).unwrap();
        app.send(io, (conn, stream), &data, true);
        (conn, stream)
    });
    pair.run_until("echo", |pair| pair.client.app().ended.contains_key(&key));
    assert_eq!(pair.client.app().ended[&key], ReadState::Finished);
    assert!(pair.client.app().received[&key] == data, "the echo differs");

    pair.client.with_io(|_, io| io.close(conn, 7, b"done"));
    pair.run_until("both closed", |pair| {
        !pair.client.app().closed.is_empty() && !pair.server.app().closed.is_empty()
    });
    assert_eq!(pair.client.app().reason(conn), Some(&CloseReason::Local));
    let (_, reason) = &pair.server.app().closed[0];
    assert_eq!(*reason, CloseReason::Application { code: 7, reason: "done".into() });
    pair.run_until("memory returned", |pair| {
        pair.client.connections() == 0 && pair.server.connections() == 0
    });
    let metrics = pair.server.metrics();
    assert_eq!((metrics.handshakes_accepted, metrics.connected, metrics.freed), (1, 1, 1));
    assert!(
        metrics.datagrams_out > metrics.send_calls,
        "offload or batching sends several at once: {metrics:?}"
    );
}

#[test]
fn certificates_and_protocol_are_told_on_both_sides() {
    let mut pair = Pair::new(Peer::default());
    let settings =
        ClientSettings::new(tls::client_tls_with_certificate(), TransportSettings::client_facing());
    let conn = pair.dial_with(Arc::new(settings.unwrap()));
    pair.run_until("connected", |pair| {
        pair.client.app().is_connected(conn) && !pair.server.app().connected.is_empty()
    });
    let (_, seen) = &pair.server.app().connected[0];
    let local = pair.client.local_addr(pair.via).unwrap();
    assert_eq!((seen.side, seen.remote, seen.socket), (Side::Server, local, SocketId::SHARED));
    assert_eq!(seen.peer_certificates, vec![tls::identity().0]);
    assert_eq!(seen.alpn.as_deref(), Some(tls::ALPN));
    let (_, seen) = &pair.client.app().connected[0];
    assert_eq!((seen.side, seen.remote, seen.socket), (Side::Client, pair.addr, pair.via));
    assert_eq!(seen.peer_certificates, vec![tls::identity().0]);
}

#[test]
fn failed_dial_is_closed_once_and_the_server_never_hears_of_it() {
    let mut pair = Pair::new(Peer::default());
    let settings =
        ClientSettings::new(tls::client_tls(b"other/1"), TransportSettings::client_facing()).unwrap();
    let conn = pair.dial_with(Arc::new(settings));
    pair.run_until("closed", |pair| pair.client.app().reason(conn).is_some());
    assert!(matches!(pair.client.app().reason(conn), Some(CloseReason::Remote { code: 0x178, .. })));
    assert!(!pair.client.app().is_connected(conn));
    pair.run_until("memory returned", |pair| {
        pair.client.connections() == 0 && pair.server.connections() == 0
    });
    assert!(pair.server.app().connected.is_empty() && pair.server.app().closed.is_empty());
    assert_eq!(pair.server.metrics().handshakes_failed, 1);
}

#[test]
fn hello_in_an_unknown_version_is_answered_with_the_versions_spoken() {
    let mut pair = Pair::new(Peer::default());
    let (to, from) = ([0xd1; 8], [0xc5; 5]);
    let mut hello = vec![0xc0];
    hello.extend(0x1a2a_3a4a_u32.to_be_bytes());
    for id in [&to[..], &from[..]] {
        hello.push(u8::try_from(id.len()).unwrap());
        hello.extend(id);
    }
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The second is too short to be answered: nobody shall be flooded through us.
    for size in [1_200, 1_000] {
        hello.resize(size, 0);
        stranger.send_to(&hello, pair.addr).unwrap();
    }
    pair.run_until("both seen", |pair| pair.server.metrics().datagrams_in == 2);

    let mut answer = [0; 1_500];
    let (size, sender) = stranger.recv_from(&mut answer).unwrap();
    assert_eq!(sender, pair.addr);
    // RFC 9000 §17.2.1: a long header of version 0, both ids the other way round, versions.
    let mut ids = vec![5];
    ids.extend(from);
    ids.push(8);
    ids.extend(to);
    let (head, versions) = answer[..size].split_at(5 + ids.len());
    assert_eq!((head[0] & 0x80, &head[1..5], &head[5..]), (0x80, &[0; 4][..], &ids[..]));
    assert!(versions.chunks(4).any(|version| version == 1_u32.to_be_bytes()), "{versions:?}");
    assert_eq!((pair.server.metrics().answers, pair.server.connections()), (1, 0));
    assert_eq!(pair.server.metrics().drops.unroutable, 1);
}

#[test]
fn dual_stack_port_takes_ipv4_clients_and_shows_ipv4_addresses() {
    let mut pair = Pair::with(Peer::echo(), tls::server(), "[::]:0");
    let conn = pair.connect();
    let local = pair.client.local_addr(pair.via).unwrap();
    assert_eq!(pair.server.app().connected[0].1.remote, local);
    let key = pair.client.with_io(|app, io| {
        let stream = io.open_bi(conn).unwrap();
        app.send(io, (conn, stream), &[5; 200_000], true);
        (conn, stream)
    });
    pair.run_until("echo", |pair| pair.client.app().ended.contains_key(&key));
    assert_eq!(pair.client.app().received[&key], vec![5; 200_000]);
}

#[test]
fn waker_ends_a_sleep() {
    let mut pair = Pair::new(Peer::default());
    pair.server.turn(Duration::ZERO);
    let waker = pair.server.waker();
    let begun = Instant::now();
    let thread = std::thread::spawn(move || waker.wake());
    let mut turns = 0;
    while pair.server.turn(Duration::from_secs(30)).slept > Duration::from_secs(20) {
        turns += 1;
        assert!(turns < 2, "the waker had no effect");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    thread.join().unwrap();
}

#[test]
fn socket_buffers_are_read_back() {
    let pair = Pair::new(Peer::default());
    let buffers = pair.server.socket_buffers(SocketId::SHARED).unwrap();
    assert!(buffers.receive_bytes >= 64 << 10 && buffers.send_bytes >= 64 << 10, "{buffers:?}");
    assert_eq!(pair.server.kernel_drops(), 0);
}

#[test]
fn removed_socket_is_not_taken_for_its_successor() {
    let mut pair = Pair::new(Peer::default());
    let local = "127.0.0.1:0".parse().unwrap();
    let (old, new) = pair.client.with_io(|_, io| {
        let old = io.add_socket(local).unwrap();
        io.remove_socket(old);
        (old, io.add_socket(local).unwrap())
    });
    assert_eq!(old.index(), new.index());
    assert_ne!(old, new);
    assert_eq!(pair.client.local_addr(old), None);
    assert!(pair.client.local_addr(new).is_some());
}

#[test]
fn connection_moves_to_another_socket_and_goes_on() {
    let mut pair = Pair::new(Peer::echo());
    let conn = pair.connect();
    let key = pair.client.with_io(|app, io| {
        let stream = io.open_bi(conn).unwrap();
        app.send(io, (conn, stream), b"before", false);
        (conn, stream)
    });
    pair.run_until("first echo", |pair| pair.client.app().received.get(&key).is_some_and(|r| r == b"before"));
    let via = pair.client.with_io(|app, io| {
        let via = io.add_socket("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(io.migrate(conn, via));
        app.send(io, key, b" and after", true);
        via
    });
    pair.run_until("second echo", |pair| pair.client.app().ended.contains_key(&key));
    assert_eq!(pair.client.app().received[&key], b"before and after");
    let (moved, remote) = (pair.client.local_addr(via).unwrap(), pair.server.app().connected[0].0);
    pair.run_until("the server follows", |_| true);
    assert_eq!(pair.server.with_io(|_, io| io.remote_addr(remote)), Some(moved));
}
