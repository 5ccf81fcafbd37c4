//! Greeting, pings, what waits for the Welcome, and what a router may not do.

use millrace_proto::control::{Credit, OverflowPolicy, Received, Stage, Subscribed};
use millrace_proto::{CloseCode, DecodeError, RouterId};
use proptest::prelude::*;

use super::*;

fn welcome() -> Vec<u8> {
    let mut out = Vec::new();
    Welcome { version: 1, router: RouterId(4), cores: 2, receivers_max: 8, ..Welcome::default() }
        .encode(&mut out);
    out
}

fn open() -> ConnectionSession {
    let mut session = ConnectionSession::new(ConnectionConfig::default(), Time::ZERO);
    session.control_data(Time::ZERO, &welcome()).unwrap();
    assert!(matches!(session.poll_event(), Some(ConnectionEvent::Welcomed(_))));
    session.poll_control_output();
    session
}

fn written(session: &mut ConnectionSession) -> Vec<ControlFrame> {
    let mut frames = Vec::new();
    while let Some(bytes) = session.poll_control_output() {
        FrameReader::new()
            .feed::<DecodeError>(&bytes, CONTROL_FRAME_BYTES_MAX, |kind, body| {
                frames.push(ControlFrame::decode(kind, body)?);
                Ok(())
            })
            .unwrap();
    }
    frames
}

#[test]
fn any_wait_for_received_fits_the_hello() {
    for (wished, said) in [(0, 0), (8_000_000, 8_000_000), (u64::MAX, varint::MAX)] {
        let config = ConnectionConfig { received_within_us: wished, ..ConnectionConfig::default() };
        let frames = written(&mut ConnectionSession::new(config, Time::ZERO));
        let [ControlFrame::Hello(hello)] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!(hello.received_within_us, said);
    }
}

#[test]
fn deliveries_are_shared_where_both_sides_say_so() {
    for (asked, answered, shared) in [(true, 1, true), (true, 0, false), (false, 0, false)] {
        let config = ConnectionConfig { share_deliveries: asked, ..ConnectionConfig::default() };
        let mut session = ConnectionSession::new(config, Time::ZERO);
        let frames = written(&mut session);
        let [ControlFrame::Hello(hello)] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!(hello.deliveries, u64::from(asked));
        assert_eq!(hello.features.contains(feature::DELIVERIES), asked);
        assert!(!session.shares_deliveries());
        let mut bytes = Vec::new();
        Welcome { version: 1, deliveries: answered, ..Welcome::default() }.encode(&mut bytes);
        session.control_data(Time::ZERO, &bytes).unwrap();
        assert_eq!(session.shares_deliveries(), shared);
    }
    let mut bytes = Vec::new();
    Welcome { version: 1, deliveries: 1, ..Welcome::default() }.encode(&mut bytes);
    let mut session = ConnectionSession::new(ConnectionConfig::default(), Time::ZERO);
    assert!(session.control_data(Time::ZERO, &bytes).is_err());
}

#[test]
fn requests_wait_for_the_welcome() {
    let mut session = ConnectionSession::new(ConnectionConfig::default(), Time::ZERO);
    session.open_receiver(&OpenReceiver { policy: OverflowPolicy::DropNewest, ..OpenReceiver::default() });
    session.subscribe(ReceiverNumber(0), SubscriptionNumber(3), &["host=web-*".to_owned()]);
    assert!(matches!(written(&mut session)[..], [ControlFrame::Hello(_)]));
    session.control_data(Time::ZERO, &welcome()).unwrap();
    let Some(ConnectionEvent::Welcomed(welcome)) = session.poll_event() else { panic!("welcomed") };
    assert_eq!(welcome.tables, TableCapacity::CLIENT, "what is absent has its default");
    let frames = written(&mut session);
    assert!(matches!(&frames[..], [ControlFrame::OpenReceiver(_), ControlFrame::Subscribe(_)]), "{frames:?}");
}

#[test]
fn frames_of_the_router_become_events_however_they_are_cut() {
    let mut stream = Vec::new();
    Credit { bytes: 70_000 }.encode(&mut stream);
    Received { publisher: 0, next_seq: 12 }.encode(&mut stream);
    Subscribed { stage: Stage::Cluster, left_out: vec![RouterId(1)], ..Subscribed::default() }
        .encode(&mut stream);
    for step in [1, 3, stream.len()] {
        let mut session = open();
        let mut events = Vec::new();
        for chunk in stream.chunks(step) {
            session.control_data(Time::ZERO, chunk).unwrap();
            events.extend(std::iter::from_fn(|| session.poll_event()));
        }
        assert_eq!(events.len(), 3);
        assert_eq!(events[0], ConnectionEvent::Credit { bytes: 70_000 });
        assert_eq!(events[1], ConnectionEvent::Received { publisher: 0, next_seq: 12 });
    }
}

#[test]
fn many_pings_cost_one_pong() {
    let mut session = open();
    let mut stream = Vec::new();
    (1..100).for_each(|nonce| Ping { nonce }.encode(&mut stream));
    session.control_data(Time::ZERO, &stream).unwrap();
    assert_eq!(written(&mut session), [ControlFrame::Pong(Pong { nonce: 99 })]);
}

#[test]
fn what_a_router_may_not_send_closes_with_its_code() {
    let bytes = |frame: ControlFrame| {
        let mut out = Vec::new();
        frame.encode(&mut out);
        out
    };
    let hello = bytes(ControlFrame::Hello(Hello::default()));
    let other = bytes(ControlFrame::Welcome(Welcome { version: 2, ..Welcome::default() }));
    let stranger = bytes(ControlFrame::Received(Received { publisher: 1, next_seq: 0 }));
    for (early, stream, code) in [
        (false, &hello, CloseCode::Unexpected),
        (false, &welcome(), CloseCode::Unexpected),
        (false, &stranger, CloseCode::Unexpected),
        (true, &bytes(ControlFrame::Credit(Credit { bytes: 1 })), CloseCode::Unexpected),
        (true, &other, CloseCode::Version),
        (false, &vec![0x0e, 0x00], CloseCode::UnknownFrame),
        (false, &vec![0x24, 0x80, 0x02, 0, 0], CloseCode::Limit),
        (false, &vec![0x2a, 0x02, 0x01, 0x05], CloseCode::Malformed),
    ] {
        let mut session =
            if early { ConnectionSession::new(ConnectionConfig::default(), Time::ZERO) } else { open() };
        let error = session.control_data(Time::ZERO, stream).unwrap_err();
        assert_eq!(error.close_code(), code, "{error}");
    }
}

#[test]
fn a_router_that_never_answers_is_dead() {
    let mut session = ConnectionSession::new(ConnectionConfig::default(), Time::ZERO);
    let deadline = session.poll_timeout().unwrap();
    session.control_data(deadline, &[0x7f]).unwrap();
    session.handle_timeout(deadline);
    assert!(matches!(session.poll_event(), Some(ConnectionEvent::Dead { .. })));
    assert_eq!(session.poll_timeout(), None);
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut session = open();
        let _ = session.control_data(Time::ZERO, &bytes);
        while session.poll_event().is_some() {}
        let _ = session.poll_control_output();
    }
}
