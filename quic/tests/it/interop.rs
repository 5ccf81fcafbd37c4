//! Against stock quinn on tokio, which is what users' clients run on: both ways.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_quic::{Core, CoreSettings, Dial, steer};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};

use crate::peer::Peer;
use crate::tls;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn data() -> Vec<u8> {
    (0..500_000_u32).map(|i| i.to_le_bytes()[1]).collect()
}

#[test]
fn quinn_client_gets_its_echo_from_our_server() {
    let mut group = steer::bind_group("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let (addr, shared) = (group.addr, group.sockets.pop());
    let done = Arc::new(AtomicBool::new(false));
    let stop = done.clone();
    let server = std::thread::spawn(move || {
        let mut core = Core::new(CoreSettings::default(), Some(tls::server()), shared, Peer::echo()).unwrap();
        while !stop.load(Ordering::Relaxed) {
            core.turn(Duration::from_millis(5));
        }
        core.metrics().clone()
    });
    let echo = runtime().block_on(async {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let crypto = QuicClientConfig::try_from(tls::client_tls(tls::ALPN)).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let conn = endpoint.connect_with(config, addr, "localhost").unwrap().await.unwrap();
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        let writer = tokio::spawn(async move {
            send.write_all(&data()).await.unwrap();
            send.finish().unwrap();
        });
        let echo = recv.read_to_end(1 << 20).await.unwrap();
        writer.await.unwrap();
        conn.close(3_u32.into(), b"done");
        endpoint.wait_idle().await;
        echo
    });
    done.store(true, Ordering::Relaxed);
    assert!(echo == data(), "the echo differs");
    assert_eq!(server.join().unwrap().connected, 1);
}

#[test]
fn our_client_gets_its_echo_from_a_quinn_server() {
    let (sender, receiver) = std::sync::mpsc::channel::<SocketAddr>();
    let server = std::thread::spawn(move || {
        runtime().block_on(async {
            let crypto = QuicServerConfig::try_from(tls::server_tls()).unwrap();
            let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
            let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
            sender.send(endpoint.local_addr().unwrap()).unwrap();
            let conn = endpoint.accept().await.unwrap().await.unwrap();
            let (mut send, mut recv) = conn.accept_bi().await.unwrap();
            let bytes = recv.read_to_end(1 << 20).await.unwrap();
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
            conn.closed().await
        })
    });
    let mut core = Core::new(CoreSettings::default(), None, None, Peer::default()).unwrap();
    let remote = receiver.recv().unwrap();
    let conn = core.with_io(|_, io| {
        let via = io.add_socket("127.0.0.1:0".parse().unwrap()).unwrap();
        let dial =
            Dial { remote, server_name: "localhost".into(), client: tls::client(), via, shard: Some(5) };
        io.connect(&dial).unwrap()
    });
    while !core.app().is_connected(conn) {
        assert!(core.app().closed.is_empty(), "{:?}", core.app().closed);
        core.turn(Duration::from_millis(5));
    }
    let key = core.with_io(|app, io| {
        let key = (conn, io.open_bi(conn).unwrap());
        app.send(io, key, &data(), true);
        key
    });
    while !core.app().ended.contains_key(&key) {
        core.turn(Duration::from_millis(5));
    }
    assert!(core.app().received[&key] == data(), "the echo differs");
    core.with_io(|_, io| io.close(conn, 9, b"done"));
    while core.connections() > 0 {
        core.turn(Duration::from_millis(5));
    }
    let reason = server.join().unwrap();
    assert!(
        matches!(reason, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == 9_u32.into())
    );
}
