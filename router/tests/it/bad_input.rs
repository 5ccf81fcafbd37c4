//! What peers and clients may do wrong: each gets a code and a count, and nobody else notices.

use millrace_client::ReceiverOptions;
use millrace_proto::control::{ControlFrame, Hello, OpenReceiver, OverflowPolicy, Subscribe, TableCapacity};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::limits::{CONTROL_FRAME_BYTES_MAX, TAGS_PER_SET_MAX};
use millrace_proto::mesh::{self, LaneFrame, MeshFrame, PeerHello};
use millrace_proto::stream::{LanePreamble, stream_kind};
use millrace_proto::{
    ALPN_CLIENT, ALPN_PEER, CloseCode, DecodeError, Incarnation, PROTOCOL_VERSION, ReceiverNumber, RouterId,
    SubscriptionNumber, TagSet, data, varint,
};
use millrace_router::{Identity, Router, RouterConfig, RouterHandle, StartError};

use crate::raw::Raw;
use crate::world::{Certificates, LONG, World, event, linked, publisher, tags, within};

/// The router has closed so many connections with this code.
fn closed(router: &RouterHandle, code: CloseCode, count: u64) {
    router.wait_until(LONG, |seen| seen.sum(|core| core.closed(code)) == count).unwrap();
}

/// The router has closed one connection with this code, and still serves others.
async fn counted(world: &World, router: &RouterHandle, code: CloseCode) {
    closed(router, code, 1);
    let client = world.client(router);
    let mut receiver = within(client.receiver(ReceiverOptions::default())).await.unwrap();
    within(receiver.subscribe(["still=here"]).unwrap().on_router()).await.unwrap();
    let publisher = publisher(&client).await;
    publisher.publish(&tags(&["still=here"]), "yes").await.unwrap();
    within(publisher.flush()).await;
    assert_eq!(event(&mut receiver).await.payload, "yes");
}

fn hello(version: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let tables = TableCapacity::CLIENT;
    Hello { version, software: "raw".into(), tables, receivers: 1, ..Hello::default() }.encode(&mut bytes);
    bytes
}

/// A frame with this body.
fn framed(kind: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, kind, |out| out.extend_from_slice(body));
    bytes
}

async fn control_bytes_are_refused(bytes: &[u8], code: CloseCode) {
    let world = World::new();
    let router = world.router("strict");
    let mut raw = Raw::welcomed(&router);
    raw.say(bytes);
    assert_eq!(raw.close().0, code);
    counted(&world, &router, code).await;
}

async fn publish_bytes_are_refused(bytes: &[u8], code: CloseCode) {
    let world = World::new();
    let router = world.router("strict");
    let mut raw = Raw::welcomed(&router);
    let stream = raw.open_uni();
    raw.write(stream, &framed(stream_kind::PUBLISH, &[]));
    raw.write(stream, bytes);
    assert_eq!(raw.close().0, code);
    counted(&world, &router, code).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_control_frame_closes_with_malformed() {
    let subscribe = framed(millrace_proto::control::kind::SUBSCRIBE, &[0xff; 3]);
    control_bytes_are_refused(&subscribe, CloseCode::Malformed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_control_frame_closes_with_limit_before_it_has_arrived() {
    let mut bytes = Vec::new();
    varint::put(&mut bytes, millrace_proto::control::kind::SUBSCRIBE);
    varint::put(&mut bytes, CONTROL_FRAME_BYTES_MAX as u64 + 1);
    control_bytes_are_refused(&bytes, CloseCode::Limit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_even_frame_closes_and_an_odd_one_is_skipped() {
    let mut bytes = framed(0x3f_ff, b"to be skipped");
    bytes.extend(framed(0x3f_fe, b"to be understood"));
    control_bytes_are_refused(&bytes, CloseCode::UnknownFrame).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_run_closes_with_malformed() {
    publish_bytes_are_refused(&framed(data::kind::RUN, &[0xff; 2]), CloseCode::Malformed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_data_frame_closes_with_limit() {
    let mut bytes = Vec::new();
    varint::put(&mut bytes, data::kind::RUN);
    varint::put(&mut bytes, 1 << 30);
    publish_bytes_are_refused(&bytes, CloseCode::Limit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn number_beyond_the_announced_table_closes_with_limit() {
    let mut bytes = Vec::new();
    let tags = TagSet::from_texts(["a=b"]).unwrap();
    data::put_define_tags(&mut bytes, TableCapacity::CLIENT.tag_sets, tags.borrow());
    publish_bytes_are_refused(&bytes, CloseCode::Limit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocol_version_is_refused_as_such() {
    let world = World::new();
    let router = world.router("strict");
    let mut raw = Raw::dial(&router, ALPN_CLIENT, None);
    raw.say(&hello(PROTOCOL_VERSION + 1));
    assert_eq!(raw.close().0, CloseCode::Version);
    counted(&world, &router, CloseCode::Version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frame_before_hello_is_unexpected() {
    let world = World::new();
    let router = world.router("strict");
    let mut raw = Raw::dial(&router, ALPN_CLIENT, None);
    let mut bytes = Vec::new();
    millrace_proto::control::Ping { nonce: 1 }.encode(&mut bytes);
    raw.say(&bytes);
    assert_eq!(raw.close().0, CloseCode::Unexpected);
    counted(&world, &router, CloseCode::Unexpected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_on_the_peer_protocol_is_forbidden_with_and_without_its_certificate() {
    let world = World::new();
    let router = world.router("strict");
    let identity = world.authority.client("curious").unwrap();
    let (code, why) = Raw::dial(&router, ALPN_PEER, Some(&identity)).close();
    assert_eq!(code, CloseCode::Forbidden);
    assert!(why.contains("role of a router"), "{why}");
    counted(&world, &router, CloseCode::Forbidden).await;
    assert_eq!(Raw::dial(&router, ALPN_PEER, None).close().0, CloseCode::Forbidden);
    closed(&router, CloseCode::Forbidden, 2);
}

/// A hello of a router that may dial everybody: none has a smaller id.
fn peer_hello() -> Vec<u8> {
    hello_of(RouterId(1))
}

fn hello_of(router: RouterId) -> Vec<u8> {
    let mut bytes = Vec::new();
    PeerHello {
        version: PROTOCOL_VERSION,
        router,
        incarnation: Incarnation(1),
        cores: 1,
        lane: 0,
        epoch: 1,
        advertise: "127.0.0.1:1".into(),
        tables: TableCapacity::LANE,
        name: "raw".into(),
        software: "raw".into(),
        ..PeerHello::default()
    }
    .encode(&mut bytes);
    bytes
}

/// A router, and the certificate and key of another one of its cluster.
fn router_with_a_peers_identity() -> (RouterHandle, (String, String)) {
    let made = Certificates::new(&["localhost", "127.0.0.1"]);
    let identity = Identity::from_pem(&made.cert, &made.key, &made.ca, [7; 32]).unwrap();
    (Router::start(RouterConfig::new(identity)).unwrap(), (made.cert, made.key))
}

/// A router of the same cluster says this on its control stream, and that on the stream of its
/// runs.
async fn peer_bytes_are_refused(control: &[u8], runs: &[u8], code: CloseCode) {
    let (router, identity) = router_with_a_peers_identity();
    let mut raw = Raw::dial(&router, ALPN_PEER, Some(&identity));
    raw.say(control);
    if !runs.is_empty() {
        let stream = raw.open_uni();
        raw.write(stream, runs);
    }
    assert_eq!(raw.close().0, code);
    counted(&World::new(), &router, code).await;
}

#[test]
fn peer_that_may_not_dial_hears_who_refuses_it() {
    let (router, identity) = router_with_a_peers_identity();
    let mut raw = Raw::dial(&router, ALPN_PEER, Some(&identity));
    raw.say(&hello_of(RouterId(u64::MAX)));
    let said = raw.stream("a refusal", 0, |bytes| peer_hello_in(bytes).is_some());
    let refusal = peer_hello_in(&said).unwrap();
    assert_eq!((refusal.epoch, refusal.router), (0, router.router_id()));
}

/// The hello at the beginning of a control stream, once all of it is there.
fn peer_hello_in(bytes: &[u8]) -> Option<PeerHello> {
    let mut hello = None;
    let all = FrameReader::new().feed::<DecodeError>(bytes, CONTROL_FRAME_BYTES_MAX, |kind, body| {
        if let MeshFrame::Lane(LaneFrame::PeerHello(said)) = MeshFrame::decode(kind, body)? {
            hello.get_or_insert(said);
        }
        Ok(())
    });
    all.unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_hello_of_a_peer_closes_with_malformed() {
    peer_bytes_are_refused(&framed(mesh::kind::PEER_HELLO, &[0xff; 3]), &[], CloseCode::Malformed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frame_before_the_hello_of_a_peer_is_unexpected() {
    let mut bytes = Vec::new();
    mesh::InterestRequest { version: 1 }.encode(&mut bytes);
    peer_bytes_are_refused(&bytes, &[], CloseCode::Unexpected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_interest_of_a_peer_closes_with_malformed() {
    let bytes = [peer_hello(), framed(mesh::kind::INTEREST, &[0xff; 3])].concat();
    peer_bytes_are_refused(&bytes, &[], CloseCode::Malformed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frame_that_a_peer_must_understand_and_does_not_exist_closes() {
    let bytes = [peer_hello(), framed(0x3f_fe, b"to be understood")].concat();
    peer_bytes_are_refused(&bytes, &[], CloseCode::UnknownFrame).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_run_of_a_peer_closes_with_malformed() {
    let runs = [lane_preamble(1), framed(data::kind::RUN, &[0xff; 2])].concat();
    peer_bytes_are_refused(&peer_hello(), &runs, CloseCode::Malformed).await;
}

/// The first frame of a lane's runs.
fn lane_preamble(epoch: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch }.encode(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_another_epoch_than_their_lane_are_unexpected() {
    peer_bytes_are_refused(&peer_hello(), &lane_preamble(7), CloseCode::Unexpected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_that_stops_the_stream_of_a_lane_is_closed_with_unexpected_and_counted() {
    let (router, identity) = router_with_a_peers_identity();
    let mut raw = Raw::dial(&router, ALPN_PEER, Some(&identity));
    raw.say(&peer_hello());
    // The router's first unidirectional stream.
    raw.stream("the lane's stream", 3, |bytes| !bytes.is_empty());
    raw.stop(3);
    assert_eq!(raw.close().0, CloseCode::Unexpected);
    assert_eq!(router.look().unwrap().sum(|core| core.engine.lane_stops), 1);
    counted(&World::new(), &router, CloseCode::Unexpected).await;
}

#[test]
fn publisher_that_writes_without_credit_is_closed_with_limit() {
    let world = World::new();
    let mut config = world.config("strict");
    // A router that waits for others grants nothing.
    config.mesh.seeds = vec!["127.0.0.1:9".into()];
    config.mesh.join_timeout = std::time::Duration::from_secs(3600);
    let router = Router::start(config).unwrap();
    let mut raw = Raw::welcomed(&router);
    let stream = raw.open_uni();
    raw.write(stream, &framed(stream_kind::PUBLISH, &[]));
    let (code, why) = raw.close();
    assert_eq!(code, CloseCode::Limit);
    assert!(why.contains("credit"), "{why}");
    closed(&router, CloseCode::Limit, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connection_is_closed_after_the_hello_timeout() {
    let world = World::new();
    let mut config = world.config("strict");
    config.limits.hello_timeout = std::time::Duration::from_millis(50);
    let router = Router::start(config).unwrap();
    let mut raw = Raw::dial(&router, ALPN_CLIENT, None);
    assert_eq!(raw.close().0, CloseCode::Timeout);
    closed(&router, CloseCode::Timeout, 1);
}

#[test]
fn bad_selector_is_refused_with_its_column_and_the_connection_lives() {
    let world = World::new();
    let router = world.router("strict");
    let mut raw = Raw::welcomed(&router);
    let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(7));
    let mut bytes = Vec::new();
    let (policy, grant) = (OverflowPolicy::DropOldest, 1 << 20);
    OpenReceiver { receiver, policy, grant, ..OpenReceiver::default() }.encode(&mut bytes);
    Subscribe { receiver, subscription, selectors: vec!["host in (a".into()], ..Subscribe::default() }
        .encode(&mut bytes);
    raw.say(&bytes);
    raw.frame("refused", |frame| match frame {
        ControlFrame::Refused(refused) => refused.message.contains("column"),
        _ => false,
    });
    let mut bytes = Vec::new();
    Subscribe { receiver, subscription, selectors: vec!["host in (a)".into()], ..Subscribe::default() }
        .encode(&mut bytes);
    raw.say(&bytes);
    raw.frame("subscribed", |frame| matches!(frame, ControlFrame::Subscribed(_)));
    let seen = router.look().unwrap();
    assert_eq!(seen.sum(|core| core.engine.refused), 1);
    assert_eq!(seen.sum(|core| core.shell.selectors_bad), 1);
}

#[test]
fn tag_set_beyond_its_bound_cannot_even_be_made() {
    let texts: Vec<String> = (0..=TAGS_PER_SET_MAX).map(|n| format!("k{n}=v")).collect();
    assert!(TagSet::from_texts(texts.iter().map(String::as_str)).is_err());
}

#[test]
fn second_router_on_the_port_is_told_who_holds_it() {
    let world = World::new();
    let first = world.router("first");
    let mut config = world.config("second");
    config.listen = first.addr();
    let error = Router::start(config).unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(error.to_string().contains("another process holds this port"), "{error}");
    Raw::welcomed(&first);
}

#[test]
fn client_without_a_certificate_is_forbidden_where_one_is_required() {
    let world = World::new();
    let mut config = world.config("strict");
    config.require_client_certificate = true;
    let router = Router::start(config).unwrap();
    assert_eq!(Raw::dial(&router, ALPN_CLIENT, None).close().0, CloseCode::Forbidden);
    closed(&router, CloseCode::Forbidden, 1);
    let identity = world.authority.client("known").unwrap();
    let mut raw = Raw::dial(&router, ALPN_CLIENT, Some(&identity));
    raw.say(&hello(PROTOCOL_VERSION));
    raw.frame("welcome", |frame| matches!(frame, ControlFrame::Welcome(_)));
}

#[test]
fn routers_find_each_other_while_costly_selectors_are_read() {
    const ORDERS: u32 = 200;
    let world = World::new();
    let router = world.router("busy");
    let mut raw = Raw::welcomed(&router);
    let (policy, grant) = (OverflowPolicy::DropOldest, 1 << 20);
    let mut bytes = Vec::new();
    for number in 0..ORDERS {
        let receiver = ReceiverNumber(number % 4);
        if number < 4 {
            OpenReceiver { receiver, policy, grant, ..OpenReceiver::default() }.encode(&mut bytes);
        }
        let selectors = vec![["payload ~ /[a-z]{1,600}!/"; 4].join(","); 20];
        let subscription = SubscriptionNumber(number / 4);
        Subscribe { receiver, subscription, selectors, ..Subscribe::default() }.encode(&mut bytes);
    }
    raw.say(&bytes);
    raw.frame("first answer", |frame| match frame {
        ControlFrame::Refused(refused) => panic!("{refused:?}"),
        frame => matches!(frame, ControlFrame::Subscribed(_)),
    });
    let other = world.joining("other", &router);
    linked(&[&router, &other]);
    let read = router.look().unwrap().sum(|core| core.shell.selectors_read);
    if read >= u64::from(ORDERS) {
        // The routers had less of the machine than the selectors: it can be told, and not helped.
        eprintln!("all selectors were read before the routers met: this run shows nothing");
    }
}
