//! What peers and clients may do wrong: each gets a code and a count, and nobody else notices.

use millrace_proto::control::{ControlFrame, Hello, OpenReceiver, OverflowPolicy, Subscribe, TableCapacity};
use millrace_proto::frame::{self, stream_kind};
use millrace_proto::limits::{CONTROL_FRAME_BYTES_MAX, TAGS_PER_SET_MAX};
use millrace_proto::{
    ALPN_CLIENT, ALPN_PEER, CloseCode, PROTOCOL_VERSION, ReceiverNumber, SubscriptionNumber, TagSet, data,
    varint,
};
use millrace_router::{Router, RouterHandle, StartError};

use crate::raw::Raw;
use crate::world::{LONG, World, event, publisher, receiver, tags, within};

/// The router has closed one connection with this code, and still serves others.
async fn counted(world: &World, router: &RouterHandle, code: CloseCode) {
    let count = |seen: &millrace_router::Seen| seen.sum(|core| core.closed(code));
    router.wait_until(LONG, |seen| count(seen) == 1).unwrap();
    let client = world.client(router);
    let mut receiver = receiver(&client, &["still=here"]).await;
    let publisher = publisher(&client).await;
    publisher.publish(&tags(&["still=here"]), "yes").await.unwrap();
    within(publisher.flush()).await;
    assert_eq!(event(&mut receiver).await.payload, "yes");
}

fn hello(version: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let tables = TableCapacity::CLIENT;
    Hello { version, software: "raw".into(), tables, receivers: 1 }.encode(&mut bytes);
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
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connection_is_closed_after_the_hello_timeout() {
    let world = World::new();
    let mut config = world.config("strict");
    config.limits.hello_timeout = std::time::Duration::from_millis(50);
    let router = Router::start(config).unwrap();
    let mut raw = Raw::dial(&router, ALPN_CLIENT, None);
    assert_eq!(raw.close().0, CloseCode::Timeout);
}

#[test]
fn bad_selector_is_refused_with_its_column_and_the_connection_lives() {
    let world = World::new();
    let router = world.router("strict");
    let mut raw = Raw::welcomed(&router);
    let (receiver, subscription) = (ReceiverNumber(0), SubscriptionNumber(7));
    let mut bytes = Vec::new();
    let (policy, grant) = (OverflowPolicy::DropOldest, 1 << 20);
    OpenReceiver { receiver, policy, queue_bytes: 0, linger_us: 0, grant }.encode(&mut bytes);
    Subscribe { receiver, subscription, selectors: vec!["host in (a".into()] }.encode(&mut bytes);
    raw.say(&bytes);
    raw.frame("refused", |frame| match frame {
        ControlFrame::Refused(refused) => refused.message.contains("column"),
        _ => false,
    });
    let mut bytes = Vec::new();
    Subscribe { receiver, subscription, selectors: vec!["host in (a)".into()] }.encode(&mut bytes);
    raw.say(&bytes);
    raw.frame("subscribed", |frame| matches!(frame, ControlFrame::Subscribed(_)));
    let seen = router.look().unwrap();
    assert_eq!(seen.sum(|core| core.engine.refused), 1);
    assert_eq!(seen.control.prepare_refused, 1);
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
    assert!(error.to_string().contains("in use by another Millrace process"), "{error}");
}

#[test]
fn client_without_a_certificate_is_forbidden_where_one_is_required() {
    let world = World::new();
    let mut config = world.config("strict");
    config.require_client_certificate = true;
    let router = Router::start(config).unwrap();
    assert_eq!(Raw::dial(&router, ALPN_CLIENT, None).close().0, CloseCode::Forbidden);
    let identity = world.authority.client("known").unwrap();
    let mut raw = Raw::dial(&router, ALPN_CLIENT, Some(&identity));
    raw.say(&hello(PROTOCOL_VERSION));
    raw.frame("welcome", |frame| matches!(frame, ControlFrame::Welcome(_)));
}
