//! A router of few words: it greets, and then does what the test says.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Client, Config, RouterAddress, Trust};
use millrace_proto::control::{ControlFrame, Credit, Received, Stage, Subscribe, Subscribed, Welcome};
use millrace_proto::data::{self, DataFrame, HopHeader, Mark, TagsOnStream};
use millrace_proto::frame::FrameReader;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::{DeliverAllPreamble, DeliverPreamble, PublishPreamble};
use millrace_proto::{
    ALPN_CLIENT, CloseCode, DecodeError, Epoch, Features, Incarnation, PublisherId, PublisherKey,
    ReceiverNumber, TagSet,
};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// Bounds every wait, so that a hanging test says where it hangs.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), work).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

pub(crate) fn tags() -> TagSet {
    TagSet::from_texts(["host=web-1"]).unwrap()
}

/// Routers that share one authority, and clients that trust it.
pub(crate) struct Authority {
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        Self { certificate: rcgen::generate_simple_self_signed(names).unwrap() }
    }

    pub(crate) fn router(&self) -> FakeRouter {
        self.router_of(1)
    }

    /// A router that says it has so many cores.
    pub(crate) fn router_of(&self, cores: u16) -> FakeRouter {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivatePkcs8KeyDer::from(self.certificate.signing_key.serialize_der());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.cert.der().clone()], key.into())
            .unwrap();
        tls.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
        let quic = QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(quic));
        let endpoint = Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        FakeRouter { endpoint, cores, deliveries: 0, features: Features::default() }
    }

    pub(crate) fn client(&self, routers: &[&FakeRouter], change: impl FnOnce(&mut Config)) -> Client {
        let mut config = Config::new(routers.iter().map(|router| router.address()))
            .trust(Trust::Pem(self.certificate.cert.pem().into_bytes()));
        change(&mut config);
        Client::new(config).unwrap()
    }
}

pub(crate) struct FakeRouter {
    endpoint: Endpoint,
    /// As its Welcome says.
    pub(crate) cores: u16,
    /// What it answers to deliveries.
    pub(crate) deliveries: u64,
    /// The features that it lists.
    pub(crate) features: Features,
}

impl FakeRouter {
    pub(crate) fn address(&self) -> RouterAddress {
        self.endpoint.local_addr().unwrap().to_string().parse().unwrap()
    }

    /// Its port: another one for each router.
    fn incarnation(&self) -> Incarnation {
        Incarnation(u64::from(self.address().port()))
    }

    /// Takes part in a handshake that the client gives up.
    pub(crate) async fn fail_handshake(&self) {
        let incoming = soon("a client", self.endpoint.accept()).await.unwrap();
        assert!(soon("the handshake to fail", incoming.into_future()).await.is_err());
    }

    /// Refuses the next connection.
    pub(crate) async fn refuse(&self) {
        soon("a client", self.endpoint.accept()).await.unwrap().refuse();
    }

    /// The next client, greeted.
    pub(crate) async fn accept(&self) -> Peer {
        let connection =
            soon("a client", async { self.endpoint.accept().await.unwrap().await.unwrap() }).await;
        let (send, recv) = soon("control", connection.accept_bi()).await.unwrap();
        let mut peer = Peer {
            connection,
            send,
            recv,
            frames: FrameReader::new(),
            waiting: VecDeque::new(),
            published: None,
        };
        assert!(matches!(peer.frame().await, ControlFrame::Hello(_)));
        let (incarnation, cores) = (self.incarnation(), self.cores);
        let (deliveries, features) = (self.deliveries, self.features);
        let welcome = Welcome { version: 1, incarnation, cores, deliveries, features, ..Welcome::default() };
        peer.send(ControlFrame::Welcome(welcome)).await;
        peer
    }
}

/// A client as the router sees it.
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    send: SendStream,
    recv: RecvStream,
    frames: FrameReader,
    waiting: VecDeque<ControlFrame>,
    published: Option<Published>,
}

struct Published {
    stream: RecvStream,
    frames: FrameReader,
    events: VecDeque<(u64, Vec<u8>)>,
}

impl Peer {
    pub(crate) async fn send(&mut self, frame: ControlFrame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send.write_all(&bytes).await.unwrap();
    }

    /// The next control frame; pings are answered on the way.
    pub(crate) async fn frame(&mut self) -> ControlFrame {
        loop {
            match self.waiting.pop_front() {
                Some(ControlFrame::Ping(ping)) => {
                    let pong = millrace_proto::control::Pong { nonce: ping.nonce };
                    self.send(ControlFrame::Pong(pong)).await;
                }
                Some(frame) => return frame,
                None => {
                    let chunk = soon("control", self.recv.read_chunk(4096, true)).await.unwrap().unwrap();
                    let waiting = &mut self.waiting;
                    self.frames
                        .feed::<DecodeError>(&chunk.bytes, CONTROL_FRAME_BYTES_MAX, |kind, body| {
                            waiting.push_back(ControlFrame::decode(kind, body)?);
                            Ok(())
                        })
                        .unwrap();
                }
            }
        }
    }

    pub(crate) async fn credit(&mut self, bytes: u64) {
        self.send(ControlFrame::Credit(Credit { bytes })).await;
    }

    pub(crate) async fn received(&mut self, next_seq: u64) {
        self.send(ControlFrame::Received(Received { publisher: 0, next_seq })).await;
    }

    /// The next published event.
    pub(crate) async fn event(&mut self) -> (u64, Vec<u8>) {
        if self.published.is_none() {
            let stream = soon("a publish stream", self.connection.accept_uni()).await.unwrap();
            self.published = Some(Published { stream, frames: FrameReader::new(), events: VecDeque::new() });
        }
        let Published { stream, frames, events } = self.published.as_mut().unwrap();
        loop {
            if let Some(event) = events.pop_front() {
                return event;
            }
            let chunk = soon("events", stream.read_chunk(65_536, true)).await.unwrap().unwrap();
            frames
                .feed::<DecodeError>(&chunk.bytes, data::FRAME_BYTES_MAX, |kind, body| {
                    if kind != PublishPreamble::KIND
                        && let DataFrame::Run { body, .. } = data::decode(kind, body)?
                    {
                        events.extend(body.events().map(|event| (event.seq, event.payload.to_vec())));
                    }
                    Ok(())
                })
                .unwrap();
        }
    }

    /// The next Subscribe; what else comes is let pass.
    pub(crate) async fn subscribe(&mut self) -> Subscribe {
        loop {
            if let ControlFrame::Subscribe(subscribe) = self.frame().await {
                return subscribe;
            }
        }
    }

    pub(crate) async fn acknowledge(&mut self, subscribe: &Subscribe) {
        for stage in [Stage::Router, Stage::Cluster] {
            let Subscribe { receiver, subscription, .. } = *subscribe;
            let frame = Subscribed { receiver, subscription, stage, ..Subscribed::default() };
            self.send(ControlFrame::Subscribed(frame)).await;
        }
    }

    /// The number of the next mark that it is asked for; what else comes is let pass.
    pub(crate) async fn asked_for_mark(&mut self) -> u64 {
        loop {
            if let ControlFrame::Move(request) = self.frame().await {
                return request.mark;
            }
        }
    }

    /// Opens the stream of all receivers.
    pub(crate) async fn shared_deliveries(&self) -> SendStream {
        let mut stream = self.connection.open_uni().await.unwrap();
        let mut preamble = Vec::new();
        DeliverAllPreamble {}.encode(&mut preamble);
        stream.write_all(&preamble).await.unwrap();
        stream
    }

    /// Opens the stream of receiver 0.
    pub(crate) async fn deliveries(&self) -> SendStream {
        self.deliveries_of(ReceiverNumber(0)).await
    }

    /// Opens the stream of a receiver.
    pub(crate) async fn deliveries_of(&self, receiver: ReceiverNumber) -> SendStream {
        let mut stream = self.connection.open_uni().await.unwrap();
        let mut preamble = Vec::new();
        DeliverPreamble { receiver }.encode(&mut preamble);
        stream.write_all(&preamble).await.unwrap();
        stream
    }

    pub(crate) fn close(&self, code: CloseCode) {
        self.connection.close(VarInt::from_u64(code.code()).unwrap(), b"");
    }

    pub(crate) async fn closed_with(&self) -> Option<CloseCode> {
        match soon("the client to close", self.connection.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                CloseCode::from_code(close.error_code.into_inner())
            }
            other => panic!("not closed by the client: {other}"),
        }
    }
}

/// A mark, as bytes of a receiver's stream.
pub(crate) fn mark(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Mark { number, ..Mark::default() }.encode(&mut out);
    out
}

/// One run with inline tags, as bytes of a receiver's stream.
pub(crate) fn run(first_seq: u64, payloads: &[&str]) -> Vec<u8> {
    let mut run = RunBuilder::default();
    run.start(first_seq, first_seq, 1_000);
    for payload in payloads {
        run.push(1_000, payload.as_bytes());
    }
    let mut body = Vec::new();
    run.finish(&mut body);
    let tags = tags();
    let mut out = Vec::new();
    let key = PublisherKey { publisher: PublisherId(1), epoch: Epoch(2) };
    data::put_define_publisher(&mut out, 0, key);
    let header = HopHeader { tags: TagsOnStream::Inline(tags.borrow()), ..HopHeader::numbered(0, 0) };
    data::put_run(&mut out, &header, &body);
    out
}
