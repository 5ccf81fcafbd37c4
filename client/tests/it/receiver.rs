//! Receivers: subscriptions and their acknowledgements, events and gaps, grants, reconnecting,
//! moving.

use std::time::Duration;

use millrace_client::receiver::BatchItem;
use millrace_client::{Coverage, GapReason, Item, PublisherOptions, ReceiverOptions, SubscribeError};
use millrace_proto::control::{ControlFrame, Goaway, Refused, RefusedReason};
use millrace_proto::{CloseCode, ReceiverNumber};

use crate::router::{Authority, run, soon, tags};

fn text(item: Option<Item>) -> String {
    match item {
        Some(Item::Event(event)) => format!("{} {:?}", event.id.seq, String::from_utf8_lossy(&event.payload)),
        Some(Item::Gap(gap)) => format!("gap {}", gap.reason.name()),
        Some(other) => panic!("{other:?}"),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn events_arrive_with_their_tags_and_both_acknowledgements_are_seen() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let mut receiver = receiver.unwrap();
    let mut subscription = receiver.subscribe(["host=web-1", "rack"]).unwrap();
    let asked = peer.subscribe().await;
    assert_eq!(asked.selectors, ["host=web-1", "rack"]);
    peer.acknowledge(&asked).await;
    soon("the first acknowledgement", subscription.on_router()).await.unwrap();
    assert_eq!(soon("the second", subscription.in_cluster()).await, Ok(Coverage::default()));
    let mut stream = peer.deliveries().await;
    stream.write_all(&run(7, &["a", "b"])).await.unwrap();
    let Some(Item::Event(event)) = soon("an event", receiver.next()).await else { panic!("an event") };
    assert_eq!((event.tags, event.id.seq, &event.payload[..]), (tags(), 7, &b"a"[..]));
    assert_eq!(event.matched[..], [subscription.number()]);
    assert_eq!(text(soon("an event", receiver.next()).await), "8 \"b\"");
    drop(receiver);
    assert_eq!(peer.closed_with().await, Some(CloseCode::Done));
}

#[tokio::test]
async fn the_router_may_send_more_when_the_application_takes() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let options = ReceiverOptions::default().window_bytes(4_000);
    let (receiver, mut peer) = tokio::join!(client.receiver(options), router.accept());
    let mut receiver = receiver.unwrap();
    let ControlFrame::OpenReceiver(open) = peer.frame().await else { panic!("a receiver is opened first") };
    assert_eq!((open.receiver, open.grant), (ReceiverNumber(0), 4_000));
    let mut stream = peer.deliveries().await;
    let payload = "x".repeat(100);
    let mut sent = 0;
    while sent < 3_000 {
        let bytes = run(sent, &[&payload]);
        stream.write_all(&bytes).await.unwrap();
        sent += bytes.len() as u64;
    }
    let mut taken = 0;
    while taken < sent / 200 {
        let batch = soon("a batch", receiver.next_batch()).await.unwrap();
        for item in batch.iter() {
            let BatchItem::Event(event) = item else { panic!("an event") };
            assert_eq!(event.payload, payload.as_bytes());
            taken += 1;
        }
    }
    let ControlFrame::Grant(grant) = peer.frame().await else { panic!("a grant") };
    assert!(grant.bytes > 4_000 + 1_900 && grant.bytes <= 4_000 + sent, "{grant:?}");
}

#[tokio::test]
async fn a_lost_session_leaves_a_gap_and_is_asked_for_anew() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let mut receiver = receiver.unwrap();
    let mut subscription = receiver.subscribe(["*"]).unwrap();
    let asked = peer.subscribe().await;
    peer.acknowledge(&asked).await;
    soon("acknowledgement", subscription.in_cluster()).await.unwrap();
    let mut stream = peer.deliveries().await;
    stream.write_all(&run(0, &["a"])).await.unwrap();
    assert_eq!(text(soon("an event", receiver.next()).await), "0 \"a\"");
    peer.close(CloseCode::Internal);
    assert_eq!(text(soon("the gap", receiver.next()).await), "gap session_lost");
    let mut peer = router.accept().await;
    let again = peer.subscribe().await;
    assert_eq!(again, asked);
    peer.acknowledge(&again).await;
    soon("acknowledgement", subscription.in_cluster()).await.unwrap();
    let mut stream = peer.deliveries().await;
    stream.write_all(&run(5, &["b"])).await.unwrap();
    assert_eq!(text(soon("an event", receiver.next()).await), "5 \"b\"");
}

#[tokio::test]
async fn a_silent_router_is_noticed_by_pings() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |config| config.silence = Duration::from_millis(150));
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let mut receiver = receiver.unwrap();
    let _subscription = receiver.subscribe(["*"]).unwrap();
    peer.subscribe().await;
    assert_eq!(peer.closed_with().await, Some(CloseCode::Timeout));
    assert_eq!(receiver.next().await, Some(Item::Gap(session_lost())));
    router.accept().await;
}

fn session_lost() -> millrace_client::Gap {
    millrace_client::Gap { reason: GapReason::SessionLost, ..Default::default() }
}

#[tokio::test]
async fn a_receiver_connects_elsewhere_before_it_leaves_a_router_that_goes_away() {
    let authority = Authority::new();
    let (first, second) = (authority.router(), authority.router());
    let client = authority.client(&[&first], |_| {});
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), first.accept());
    let mut receiver = receiver.unwrap();
    let _subscription = receiver.subscribe(["*"]).unwrap();
    peer.subscribe().await;
    let mut stream = peer.deliveries().await;
    let alternates = vec![second.address().to_string()];
    peer.send(ControlFrame::Goaway(Goaway { alternates, ..Goaway::default() })).await;
    stream.write_all(&run(0, &["a"])).await.unwrap();
    assert_eq!(text(soon("an event", receiver.next()).await), "0 \"a\"");
    let mut next = second.accept().await;
    assert_eq!(peer.closed_with().await, Some(CloseCode::Done));
    next.subscribe().await;
    assert_eq!(text(soon("the gap", receiver.next()).await), "gap session_lost");
}

#[tokio::test]
async fn a_receiver_stays_with_a_router_that_goes_away_while_there_is_no_other() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let mut receiver = receiver.unwrap();
    let _subscription = receiver.subscribe(["*"]).unwrap();
    peer.subscribe().await;
    let mut stream = peer.deliveries().await;
    peer.send(ControlFrame::Goaway(Goaway::default())).await;
    // It looks for another router, finds this one, and thinks better of it.
    assert_eq!(router.accept().await.closed_with().await, Some(CloseCode::Done));
    stream.write_all(&run(0, &["a"])).await.unwrap();
    assert_eq!(text(soon("an event", receiver.next()).await), "0 \"a\"");
}

#[tokio::test]
async fn refused_and_unreadable_subscriptions_are_told() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let receiver = receiver.unwrap();
    let error = receiver.subscribe(["host in ("]).unwrap_err();
    assert!(matches!(error, SubscribeError::Selector { .. }), "{error}");
    assert!(matches!(receiver.subscribe::<&str>([]), Err(SubscribeError::Plan(_))));
    let mut subscription = receiver.subscribe(["secret=yes"]).unwrap();
    let asked = peer.subscribe().await;
    let refused = Refused {
        reason: RefusedReason::Forbidden,
        receiver: asked.receiver,
        subscription: Some(u64::from(asked.subscription.0)),
        message: "not yours".to_owned(),
        publisher: None,
    };
    peer.send(ControlFrame::Refused(refused)).await;
    let error = soon("the refusal", subscription.on_router()).await.unwrap_err();
    assert_eq!(error.to_string(), "the router refused the subscription (forbidden): not yours");
}

fn refused_receiver(reason: RefusedReason, message: &str) -> ControlFrame {
    let message = message.to_owned();
    ControlFrame::Refused(Refused { reason, message, ..Refused::default() })
}

#[tokio::test]
async fn a_refused_receiver_ends_and_says_why() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let mut receiver = receiver.unwrap();
    let mut subscription = receiver.subscribe(["*"]).unwrap();
    assert_eq!(receiver.refused(), None);
    peer.subscribe().await;
    peer.send(refused_receiver(RefusedReason::Limit, "no more receivers")).await;
    assert_eq!(text(soon("the end", receiver.next()).await), "end");
    let why = "the router refused the receiver (limit): no more receivers";
    assert_eq!(receiver.refused().unwrap().to_string(), why);
    let error = soon("the refusal", subscription.on_router()).await.unwrap_err();
    assert!(matches!(error, SubscribeError::Receiver(_)) && error.to_string() == why, "{error}");
    assert_eq!(receiver.subscribe(["*"]).unwrap_err(), error);
    assert_eq!(peer.closed_with().await, Some(CloseCode::Done));
}

#[tokio::test]
async fn a_receiver_that_was_open_waits_for_a_place_at_a_full_router() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |config| config.backoff_max = Duration::from_millis(1));
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let mut receiver = receiver.unwrap();
    let mut subscription = receiver.subscribe(["*"]).unwrap();
    peer.subscribe().await;
    let mut stream = peer.deliveries().await;
    stream.write_all(&run(0, &["a"])).await.unwrap();
    assert_eq!(text(soon("an event", receiver.next()).await), "0 \"a\"");
    peer.close(CloseCode::GoingAway);
    for _ in 0..3 {
        let mut full = router.accept().await;
        full.subscribe().await;
        full.send(refused_receiver(RefusedReason::Limit, "no more receivers")).await;
        assert_eq!(full.closed_with().await, Some(CloseCode::Done));
    }
    let mut peer = router.accept().await;
    let asked = peer.subscribe().await;
    peer.acknowledge(&asked).await;
    soon("acknowledgement", subscription.in_cluster()).await.unwrap();
    let mut stream = peer.deliveries().await;
    stream.write_all(&run(5, &["b"])).await.unwrap();
    assert_eq!(text(soon("one gap", receiver.next()).await), "gap session_lost");
    assert_eq!(text(soon("an event", receiver.next()).await), "5 \"b\"");
}

#[tokio::test]
async fn the_end_of_a_subscription_is_told_before_the_next_one() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let receiver = receiver.unwrap();
    let first = receiver.subscribe(["a"]).unwrap();
    let told = peer.subscribe().await;
    let ended = first.number();
    first.unsubscribe();
    let mut second = receiver.subscribe(["b"]).unwrap();
    let ControlFrame::Unsubscribe(end) = peer.frame().await else { panic!("the end comes first") };
    assert_eq!(end.subscription, ended);
    let asked = peer.subscribe().await;
    assert_eq!((asked.subscription, &asked.selectors[..]), (second.number(), &["b".to_owned()][..]));
    // The answers cross the end on the way: they are not the second one's.
    peer.acknowledge(&told).await;
    let late = Refused {
        reason: RefusedReason::Selector,
        receiver: told.receiver,
        subscription: Some(u64::from(told.subscription.0)),
        message: "late".to_owned(),
        publisher: None,
    };
    peer.send(ControlFrame::Refused(late)).await;
    peer.acknowledge(&asked).await;
    assert_eq!(soon("its own acknowledgement", second.in_cluster()).await, Ok(Coverage::default()));
}

#[tokio::test]
async fn an_address_that_does_not_answer_keeps_nobody_from_the_others() {
    let authority = Authority::new();
    let router = authority.router();
    // A socket that nobody reads, and a name of which hosts with IPv6 know one more address: nobody
    // listens there.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = authority.client(&[], |config| {
        let silent = silent.local_addr().unwrap().to_string().parse().unwrap();
        let name = format!("localhost:{}", router.address().port()).parse().unwrap();
        config.routers = vec![silent, name];
        config.connect_timeout = Duration::from_secs(3600);
    });
    // The order is random: among these, each is first at some time.
    for _ in 0..4 {
        let connecting = client.publisher(PublisherOptions::default());
        let (publisher, _peer) = tokio::join!(connecting, router.accept());
        publisher.unwrap();
    }
}

#[tokio::test]
async fn a_router_that_breaks_the_protocol_is_left_with_its_code() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (receiver, peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let _receiver = receiver.unwrap();
    let mut stream = peer.deliveries().await;
    stream.write_all(&[0x14, 0x05, 0, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(peer.closed_with().await, Some(CloseCode::Malformed));
    router.accept().await;
}
