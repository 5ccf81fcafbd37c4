//! A client that says what it is told to, right or wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace_proto::control::{ControlFrame, Hello, Ping, TableCapacity};
use millrace_proto::frame::FrameReader;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::{CloseCode, DecodeError, PROTOCOL_VERSION};
use millrace_quic::{
    App, ClientSettings, CloseReason, ConnId, ConnectedInfo, Core, CoreSettings, Dial, Io, StreamId,
    TransportSettings, tls,
};
use millrace_router::RouterHandle;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::LONG;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    connected: bool,
    closed: Option<CloseReason>,
    received: BTreeMap<u64, Vec<u8>>,
}

impl App for Seen {
    fn connected(&mut self, _: &mut Io<'_>, _: ConnId, _: &ConnectedInfo) {
        self.connected = true;
    }
    fn stream_opened(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}
    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let received = self.received.entry(stream.0).or_default();
        io.read(conn, stream, usize::MAX, &mut |bytes| received.extend_from_slice(bytes));
    }
    fn writable(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}
    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, _: u64) {}
    fn streams_available(&mut self, _: &mut Io<'_>, _: ConnId, _: bool) {}
    fn closed(&mut self, _: &mut Io<'_>, _: ConnId, reason: &CloseReason) {
        self.closed = Some(reason.clone());
    }
    fn turn(&mut self, _: &mut Io<'_>) {}
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// One connection, and the thread that drives it: the test's own.
pub(crate) struct Raw {
    core: Core<Seen>,
    conn: ConnId,
    pub(crate) control: StreamId,
    pings: u64,
}

impl Raw {
    /// Dials and waits for the handshake; `identity` is a certificate chain and key as PEM.
    pub(crate) fn dial(router: &RouterHandle, alpn: &[u8], identity: Option<&(String, String)>) -> Self {
        Self::dial_at(router.addr(), router.ca_pem(), alpn, identity)
    }

    /// A client that is connected, says nothing, and agrees to be given up after `idle`.
    pub(crate) fn patient(router: &RouterHandle, idle: Duration) -> Self {
        let transport =
            TransportSettings { idle_timeout: idle, keep_alive: None, ..TransportSettings::client_facing() };
        let client = client_settings(router.ca_pem(), millrace_proto::ALPN_CLIENT, None, transport);
        Self::dial_with(router.addr(), client)
    }

    fn dial_at(remote: SocketAddr, ca: &str, alpn: &[u8], identity: Option<&(String, String)>) -> Self {
        Self::dial_with(remote, client_settings(ca, alpn, identity, TransportSettings::client_facing()))
    }

    fn dial_with(remote: SocketAddr, client: Arc<ClientSettings>) -> Self {
        let mut core = Core::new(CoreSettings::default(), None, None, Seen::default()).unwrap();
        let dial = |_: &mut Seen, io: &mut Io<'_>| {
            let via = io.add_socket("127.0.0.1:0".parse().unwrap()).unwrap();
            let server_name = "localhost".to_owned();
            io.connect(&Dial { remote, server_name, client, via, shard: None }).unwrap()
        };
        let conn = core.with_io(dial);
        let mut raw = Self { core, conn, control: StreamId(0), pings: 0 };
        raw.until("connected", |seen| seen.connected || seen.closed.is_some());
        raw
    }

    /// A client that has said hello and was welcomed.
    pub(crate) fn welcomed(router: &RouterHandle) -> Self {
        Self::welcomed_at(router.addr(), router.ca_pem())
    }

    /// The same, of a router in another process.
    pub(crate) fn welcomed_at(remote: SocketAddr, ca: &str) -> Self {
        let mut raw = Self::dial_at(remote, ca, millrace_proto::ALPN_CLIENT, None);
        let mut hello = Vec::new();
        let tables = TableCapacity::CLIENT;
        Hello { version: PROTOCOL_VERSION, tables, receivers: 4, ..Hello::default() }.encode(&mut hello);
        raw.say(&hello);
        raw.frame("welcome", |frame| matches!(frame, ControlFrame::Welcome(_)));
        raw
    }

    /// Writes to the control stream, which is opened by the first call.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let conn = self.conn;
        if !self.core.app().received.contains_key(&0) {
            self.core.with_io(|_, io| io.open_bi(conn));
        }
        let control = self.control;
        self.core.app_mut().received.entry(0).or_default();
        self.write(control, bytes);
    }

    pub(crate) fn open_uni(&mut self) -> StreamId {
        let conn = self.conn;
        self.core.with_io(|_, io| io.open_uni(conn).unwrap())
    }

    /// Writes as much as the stream takes.
    pub(crate) fn write(&mut self, stream: StreamId, bytes: &[u8]) {
        let (conn, mut chunk) = (self.conn, Bytes::copy_from_slice(bytes));
        // The router may have closed already: the test finds out.
        let _ = self.core.with_io(|_, io| io.write(conn, stream, std::slice::from_mut(&mut chunk)));
    }

    /// Asks the router to write no more on a stream.
    pub(crate) fn stop(&mut self, stream: u64) {
        let conn = self.conn;
        let code = CloseCode::Internal.code();
        self.core.with_io(|_, io| io.stop(conn, StreamId(stream), code));
    }

    fn until(&mut self, what: &str, done: impl Fn(&Seen) -> bool) {
        let end = Instant::now() + LONG;
        while !done(self.core.app()) {
            assert!(Instant::now() < end, "never came: {what}; {:?}", self.core.app().closed);
            self.core.turn(Duration::from_millis(10));
        }
    }

    /// Waits for a frame on the control stream.
    pub(crate) fn frame(&mut self, what: &str, is_it: impl Fn(&ControlFrame) -> bool) {
        self.until(what, |seen| {
            let mut found = false;
            let bytes = seen.received.get(&0).map_or(&[][..], Vec::as_slice);
            let all = FrameReader::new().feed::<DecodeError>(bytes, CONTROL_FRAME_BYTES_MAX, |kind, body| {
                found |= is_it(&ControlFrame::decode(kind, body)?);
                Ok(())
            });
            all.unwrap();
            found
        });
    }

    /// The router answers on this connection.
    pub(crate) fn is_served(&mut self) {
        self.pings += 1;
        let (mut bytes, nonce) = (Vec::new(), self.pings);
        Ping { nonce }.encode(&mut bytes);
        self.say(&bytes);
        self.frame("pong", |frame| matches!(frame, ControlFrame::Pong(pong) if pong.nonce == nonce));
    }

    /// Waits until what a stream has carried is enough.
    pub(crate) fn stream(&mut self, what: &str, stream: u64, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let bytes = |seen: &Seen| seen.received.get(&stream).cloned().unwrap_or_default();
        self.until(what, |seen| enough(&bytes(seen)));
        bytes(self.core.app())
    }

    /// Waits for the router to close the connection; its code, and what it says.
    pub(crate) fn close(&mut self) -> (CloseCode, String) {
        self.until("closed", |seen| seen.closed.is_some());
        match self.core.app().closed.clone() {
            Some(CloseReason::Application { code, reason }) => {
                (CloseCode::from_code(code).unwrap(), String::from_utf8_lossy(&reason).into_owned())
            }
            other => panic!("closed otherwise: {other:?}"),
        }
    }
}

fn client_settings(
    ca: &str,
    alpn: &[u8],
    identity: Option<&(String, String)>,
    transport: TransportSettings,
) -> Arc<ClientSettings> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    let config = tls::client(config, &[alpn]);
    Arc::new(ClientSettings::new(config, transport).unwrap())
}
