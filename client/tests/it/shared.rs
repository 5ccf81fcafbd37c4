//! Receivers and a publisher that share a connection, with one delivery stream and with one for
//! each.

use millrace_client::{Client, Item, PublisherOptions, Receiver, ReceiverConnection, ReceiverOptions};
use millrace_proto::control::{ControlFrame, Goaway, Refused, RefusedReason};
use millrace_proto::data::{self, EndReason, HopHeader, ReceiverEnd, TagsOnStream, Target};
use millrace_proto::run::RunBuilder;
use millrace_proto::{CloseCode, Epoch, PublisherId, PublisherKey, ReceiverNumber};

use crate::router::{Authority, Peer, run, soon, tags};

fn options() -> ReceiverOptions {
    ReceiverOptions::default().connection(ReceiverConnection::Shared).window_bytes(1_000)
}

async fn text(receiver: &mut Receiver) -> String {
    match soon("an item", receiver.next()).await {
        Some(Item::Event(event)) => String::from_utf8_lossy(&event.payload).into_owned(),
        Some(Item::Gap(gap)) => format!("gap {}", gap.reason.name()),
        Some(other) => panic!("{other:?}"),
        None => "end".to_owned(),
    }
}

/// A run for receivers, with a definition of its publisher.
fn deliver(receivers: &[u32], payload: &str) -> Vec<u8> {
    let mut run = RunBuilder::default();
    run.start(0, 0, 1_000);
    run.push(1_000, payload.as_bytes());
    let (mut body, mut targets, mut out) = (Vec::new(), Vec::new(), Vec::new());
    run.finish(&mut body);
    receivers.iter().for_each(|&receiver| Target::plain(ReceiverNumber(receiver)).put(&mut targets));
    data::put_define_publisher(&mut out, 0, PublisherKey { publisher: PublisherId(1), epoch: Epoch(2) });
    let tags = tags();
    let header = HopHeader { tags: TagsOnStream::Inline(tags.borrow()), ..HopHeader::numbered(0, 0) };
    data::put_deliver(&mut out, &header, &targets, &body);
    out
}

/// Two receivers, each with a subscription.
async fn two(client: &Client, accept: impl Future<Output = Peer>) -> (Receiver, Receiver, Peer) {
    let (first, mut peer) = tokio::join!(client.receiver(options()), accept);
    let first = first.unwrap();
    let second = soon("the second", client.clone().receiver(options())).await.unwrap();
    let _ = (first.subscribe(["*"]).unwrap(), second.subscriber().subscribe(["rack"]).unwrap());
    let mut asked = [peer.subscribe().await, peer.subscribe().await];
    asked.sort_by_key(|subscribe| subscribe.receiver);
    assert_eq!(asked.map(|subscribe| subscribe.receiver.0), [0, 1]);
    (first, second, peer)
}

#[tokio::test]
async fn receivers_share_a_connection_and_its_stream_and_come_back_together() {
    let authority = Authority::new();
    let mut router = authority.router();
    router.deliveries = 1;
    let client = authority.client(&[&router], |_| {});
    let (mut first, mut second, peer) = two(&client, router.accept()).await;
    let mut stream = peer.shared_deliveries().await;
    stream.write_all(&deliver(&[0, 1], "both")).await.unwrap();
    stream.write_all(&deliver(&[1], "one")).await.unwrap();
    assert_eq!((text(&mut first).await, text(&mut second).await), ("both".to_owned(), "both".to_owned()));
    assert_eq!(text(&mut second).await, "one");
    peer.close(CloseCode::Internal);
    assert_eq!(text(&mut first).await, "gap session_lost");
    assert_eq!(text(&mut second).await, "gap session_lost");
    let mut peer = router.accept().await;
    assert_eq!([peer.subscribe().await.receiver.0, peer.subscribe().await.receiver.0], [0, 1]);
    let mut stream = peer.shared_deliveries().await;
    stream.write_all(&deliver(&[1, 0], "again")).await.unwrap();
    assert_eq!((text(&mut first).await, text(&mut second).await), ("again".to_owned(), "again".to_owned()));
    drop((first, second));
    assert_eq!(peer.closed_with().await, Some(CloseCode::Done));
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_holds_up_no_other() {
    let authority = Authority::new();
    let mut router = authority.router();
    router.deliveries = 1;
    let client = authority.client(&[&router], |_| {});
    let (slow, mut second, mut peer) = two(&client, router.accept()).await;
    let mut stream = peer.shared_deliveries().await;
    let payload = "x".repeat(600);
    stream.write_all(&deliver(&[0, 1], &payload)).await.unwrap();
    stream.write_all(&deliver(&[0, 1], &payload)).await.unwrap();
    for count in 0..20 {
        assert_eq!(text(&mut second).await, payload);
        if count % 2 == 1 {
            let ControlFrame::Grant(grant) = peer.frame().await else { panic!("a grant") };
            assert_eq!(grant.receiver, ReceiverNumber(1), "only who takes is granted more");
            for _ in 0..2 {
                stream.write_all(&deliver(&[1], &payload)).await.unwrap();
            }
        }
    }
    drop(slow);
    let mut closed = peer.frame().await;
    while matches!(closed, ControlFrame::Grant(_)) {
        closed = peer.frame().await;
    }
    let ControlFrame::CloseReceiver(closed) = closed else { panic!("the end of the slow one") };
    assert_eq!(closed.receiver, ReceiverNumber(0));
}

#[tokio::test]
async fn one_receiver_ends_or_is_refused_without_the_others() {
    let authority = Authority::new();
    let mut router = authority.router();
    router.deliveries = 1;
    let client = authority.client(&[&router], |_| {});
    let (mut first, mut second, mut peer) = two(&client, router.accept()).await;
    let mut stream = peer.shared_deliveries().await;
    let mut end = deliver(&[0, 1], "a");
    let (receiver, reason) = (ReceiverNumber(0), EndReason::Overflow);
    ReceiverEnd { receiver, reason, ..ReceiverEnd::default() }.encode(&mut end);
    stream.write_all(&end).await.unwrap();
    assert_eq!(
        (text(&mut first).await, text(&mut first).await),
        ("a".to_owned(), "gap session_lost".to_owned())
    );
    assert_eq!(peer.subscribe().await.receiver, receiver, "it is opened anew");
    stream.write_all(&deliver(&[0, 1], "b")).await.unwrap();
    assert_eq!(text(&mut first).await, "b");
    let refused = Refused { receiver, reason: RefusedReason::Forbidden, ..Refused::default() };
    peer.send(ControlFrame::Refused(refused)).await;
    assert_eq!(text(&mut first).await, "end");
    assert!(first.refused().is_some());
    stream.write_all(&deliver(&[1], "c")).await.unwrap();
    assert_eq!([text(&mut second).await, text(&mut second).await, text(&mut second).await], ["a", "b", "c"]);
}

#[tokio::test]
async fn a_subscription_that_crosses_the_end_of_its_receiver_is_asked_for_again() {
    let authority = Authority::new();
    let mut router = authority.router();
    router.deliveries = 1;
    let client = authority.client(&[&router], |_| {});
    let (first, _second, mut peer) = two(&client, router.accept()).await;
    let mut stream = peer.shared_deliveries().await;
    let mut subscription = first.subscribe(["host"]).unwrap();
    let asked = peer.subscribe().await;
    let (receiver, number) = (asked.receiver, Some(u64::from(asked.subscription.0)));
    let reason = RefusedReason::Receiver;
    let refused = Refused { receiver, subscription: number, reason, ..Refused::default() };
    peer.send(ControlFrame::Refused(refused)).await;
    let mut end = Vec::new();
    ReceiverEnd { receiver, reason: EndReason::Overflow, ..ReceiverEnd::default() }.encode(&mut end);
    stream.write_all(&end).await.unwrap();
    for selector in ["*", "host"] {
        let asked = peer.subscribe().await;
        assert_eq!(
            (asked.receiver, asked.selectors.as_slice()),
            (receiver, [selector.to_owned()].as_slice())
        );
        peer.acknowledge(&asked).await;
    }
    soon("the subscription", subscription.in_cluster()).await.unwrap();
}

#[tokio::test]
async fn a_router_that_shares_no_stream_gives_each_receiver_its_own() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (mut first, mut second, peer) = two(&client, router.accept()).await;
    let mut streams = [peer.deliveries().await, peer.deliveries_of(ReceiverNumber(1)).await];
    streams[1].write_all(&run(0, &["b"])).await.unwrap();
    streams[0].write_all(&run(0, &["a"])).await.unwrap();
    assert_eq!((text(&mut first).await, text(&mut second).await), ("a".to_owned(), "b".to_owned()));
    drop(first);
    streams[1].write_all(&run(1, &["c"])).await.unwrap();
    assert_eq!(text(&mut second).await, "c");
}

/// Waits for an event of this client's publisher and says that it was received.
async fn take(peer: &mut Peer, seq: u64) {
    assert_eq!(peer.event().await.0, seq);
    peer.received(seq + 1).await;
}

#[tokio::test]
async fn the_publisher_of_a_client_uses_the_connection_of_its_receivers() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (receiver, mut peer) = tokio::join!(client.receiver(ReceiverOptions::default()), router.accept());
    let receiver = receiver.unwrap();
    peer.credit(1 << 20).await;
    let publisher = soon("a publisher", client.publisher(PublisherOptions::default())).await.unwrap();
    let options = PublisherOptions::default();
    let (second, mut other) = tokio::join!(client.publisher(options), router.accept());
    let second = second.unwrap();
    publisher.publish(&tags(), "a").await.unwrap();
    take(&mut peer, 0).await;
    other.credit(1 << 20).await;
    second.publish(&tags(), "of the second").await.unwrap();
    take(&mut other, 0).await;
    assert_ne!(publisher.key().publisher, second.key().publisher);
    drop(second);
    assert_eq!(other.closed_with().await, Some(CloseCode::Done));

    // Both are lost, and come back, together; the publisher goes on with its seqs.
    publisher.flush().await;
    peer.close(CloseCode::GoingAway);
    let mut peer = router.accept().await;
    peer.credit(1 << 20).await;
    publisher.publish(&tags(), "b").await.unwrap();
    take(&mut peer, 1).await;
    let stats = soon("the publisher's end", publisher.close()).await;
    assert_eq!((stats.received, stats.unknown, stats.connections), (2, 0, 2));

    // The receiver stays, and the connection has had its publisher.
    let mut subscription = receiver.subscribe(["host"]).unwrap();
    let asked = peer.subscribe().await;
    peer.acknowledge(&asked).await;
    soon("the subscription", subscription.in_cluster()).await.unwrap();
    let (third, _other) = tokio::join!(client.publisher(PublisherOptions::default()), router.accept());
    drop(third.unwrap());
    drop(receiver);
    assert_eq!(peer.closed_with().await, Some(CloseCode::Done));
}

#[tokio::test]
async fn a_receiver_joins_the_connection_of_a_publisher_and_both_move_without_loss() {
    let authority = Authority::new();
    let (first, second) = (authority.router(), authority.router());
    let client = authority.client(&[&first], |_| {});
    let (publisher, mut peer) = tokio::join!(client.publisher(PublisherOptions::default()), first.accept());
    let publisher = publisher.unwrap();
    peer.credit(1 << 20).await;
    let receiver = soon("a receiver", client.receiver(ReceiverOptions::default())).await.unwrap();
    let _subscription = receiver.subscribe(["host"]).unwrap();
    peer.subscribe().await;
    publisher.publish(&tags(), "a").await.unwrap();
    assert_eq!(peer.event().await.0, 0);
    let alternates = vec![second.address().to_string()];
    peer.send(ControlFrame::Goaway(Goaway { alternates, grace_us: 10_000_000, ..Goaway::default() })).await;
    let mut next = second.accept().await;
    peer.received(1).await;
    assert_eq!(peer.closed_with().await, Some(CloseCode::Done));
    next.credit(1 << 20).await;
    next.subscribe().await;
    publisher.publish(&tags(), "b").await.unwrap();
    take(&mut next, 1).await;
    publisher.flush().await;
    assert_eq!((publisher.stats().unknown, publisher.stats().connections), (0, 2));
}

#[tokio::test]
async fn a_subscription_is_a_stream_of_its_own_on_the_same_connection() {
    let authority = Authority::new();
    let mut router = authority.router();
    router.deliveries = 1;
    let client = authority.client(&[&router], |_| {});
    let (first, mut peer) = tokio::join!(client.subscribe(["rack"], options()), router.accept());
    let mut first = first.unwrap();
    let mut second = soon("the second", client.subscribe(["host"], options())).await.unwrap();
    let asked = [peer.subscribe().await, peer.subscribe().await];
    for subscribe in &asked {
        peer.acknowledge(subscribe).await;
    }
    soon("the acknowledgement", second.subscription().in_cluster()).await.unwrap();
    let mut stream = peer.shared_deliveries().await;
    stream.write_all(&deliver(&[1], "for the second")).await.unwrap();
    stream.write_all(&deliver(&[0, 1], "for both")).await.unwrap();
    for expected in ["for the second", "for both"] {
        let item = soon("an event", second.next()).await;
        assert!(matches!(item, Some(Item::Event(event)) if event.payload == expected));
    }
    let item = soon("an event", first.next()).await;
    assert!(matches!(item, Some(Item::Event(event)) if event.payload == "for both"));
    let error = client.subscribe(["=="], options()).await.unwrap_err().to_string();
    assert!(error.contains("selector \"==\""), "{error}");
}
