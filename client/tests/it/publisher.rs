//! Publishers: what arrives, what waits, what is lost, and moving on.

use std::time::Duration;

use millrace_client::{ConnectError, Disconnect, PublishError, PublisherOptions, TlsError, Trust};
use millrace_proto::CloseCode;
use millrace_proto::control::{ControlFrame, Goaway};

use crate::router::{Authority, soon, tags};

const PLENTY: u64 = 1 << 40;

#[tokio::test]
async fn close_returns_when_everything_was_received() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let (publisher, mut peer) = tokio::join!(client.publisher(PublisherOptions::default()), router.accept());
    let publisher = publisher.unwrap();
    let handle = publisher.register(&tags()).unwrap();
    for n in 0..500u32 {
        publisher.publish(handle, n.to_string()).await.unwrap();
    }
    let router_side = async {
        peer.credit(PLENTY).await;
        for n in 0..500u64 {
            assert_eq!(peer.event().await, (n, n.to_string().into_bytes()));
        }
        peer.received(500).await;
        peer.closed_with().await
    };
    let (stats, code) = soon("both sides", async { tokio::join!(publisher.close(), router_side) }).await;
    assert_eq!((stats.published, stats.received, stats.unknown, stats.connections), (500, 500, 0, 1));
    assert_eq!(code, Some(CloseCode::Done));
    client.close().await;
}

#[tokio::test]
async fn a_full_queue_pushes_back_until_the_router_gives_credit() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let options = PublisherOptions::default().buffer_bytes(10_000);
    let (publisher, mut peer) = tokio::join!(client.publisher(options), router.accept());
    let publisher = publisher.unwrap();
    let tags = tags();
    let taken = (0..).take_while(|_| publisher.try_publish(&tags, [0; 1000]).is_ok()).count() as u64;
    assert!((8..=11).contains(&taken), "{taken}");
    assert_eq!(publisher.try_publish(&tags, [0; 1000]), Err(PublishError::WouldBlock));
    let router_side = async {
        peer.credit(PLENTY).await;
        for _ in 0..=taken {
            peer.event().await;
        }
    };
    let waits = async { assert_eq!(publisher.publish(&tags, [0; 1000]).await.map(|id| id.seq), Ok(taken)) };
    soon("room", async { tokio::join!(waits, router_side) }).await;
}

#[tokio::test]
async fn what_was_on_its_way_is_unknown_and_what_was_queued_goes_out_on_the_next_connection() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let options = PublisherOptions::default().linger(Duration::ZERO);
    let (publisher, mut peer) = tokio::join!(client.publisher(options), router.accept());
    let publisher = publisher.unwrap();
    peer.credit(PLENTY).await;
    for payload in ["a", "b", "c"] {
        publisher.publish(&tags(), payload).await.unwrap();
    }
    while peer.event().await.0 < 2 {}
    peer.received(1).await;
    while publisher.stats().received == 0 {
        tokio::task::yield_now().await;
    }
    peer.close(CloseCode::GoingAway);
    let lost = soon("the report", publisher.lost()).await;
    assert_eq!(lost.seqs, 1..3);
    assert_eq!(lost.reason, Disconnect::Closed { code: Some(CloseCode::GoingAway), reason: String::new() });
    publisher.publish(&tags(), "d").await.unwrap();
    let mut peer = router.accept().await;
    peer.credit(PLENTY).await;
    assert_eq!(peer.event().await, (3, b"d".to_vec()));
    peer.received(4).await;
    let stats = soon("the end", publisher.close()).await;
    assert_eq!((stats.published, stats.received, stats.unknown, stats.connections), (4, 2, 2, 2));
}

#[tokio::test]
async fn a_publisher_that_resends_leaves_nothing_unknown() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |_| {});
    let options = PublisherOptions::default().linger(Duration::ZERO).resend(true).buffer_bytes(4_000);
    let (publisher, mut peer) = tokio::join!(client.publisher(options), router.accept());
    let publisher = publisher.unwrap();
    peer.credit(PLENTY).await;
    while publisher.try_publish(&tags(), [b'x'; 1000]).is_ok() {}
    let published = publisher.stats().published;
    while peer.event().await.0 + 1 < published {}
    peer.close(CloseCode::GoingAway);
    let mut peer = router.accept().await;
    peer.credit(PLENTY).await;
    for seq in 0..published {
        assert_eq!(peer.event().await, (seq, vec![b'x'; 1000]));
    }
    let tags = tags();
    let waits = publisher.publish(&tags, "behind");
    let router_side = async {
        peer.received(published).await;
        assert_eq!(peer.event().await, (published, b"behind".to_vec()));
        peer.received(published + 1).await;
    };
    let (id, ()) = soon("room", async { tokio::join!(waits, router_side) }).await;
    assert_eq!((id.map(|id| id.seq), publisher.try_lost()), (Ok(published), None));
    let stats = soon("the end", publisher.close()).await;
    assert_eq!((stats.received, stats.unknown, stats.connections), (published + 1, 0, 2));
}

#[tokio::test]
async fn a_publisher_moves_without_loss_when_its_router_goes_away() {
    let authority = Authority::new();
    let (first, second) = (authority.router(), authority.router());
    let client = authority.client(&[&first], |_| {});
    let (publisher, mut peer) = tokio::join!(client.publisher(PublisherOptions::default()), first.accept());
    let publisher = publisher.unwrap();
    peer.credit(PLENTY).await;
    publisher.publish(&tags(), "a").await.unwrap();
    peer.event().await;
    let alternates = vec![second.address().to_string()];
    peer.send(ControlFrame::Goaway(Goaway { alternates, grace_us: 10_000_000, ..Goaway::default() })).await;
    peer.received(1).await;
    let mut next = second.accept().await;
    assert_eq!(peer.closed_with().await, Some(CloseCode::Done));
    next.credit(PLENTY).await;
    publisher.publish(&tags(), "b").await.unwrap();
    assert_eq!(next.event().await, (1, b"b".to_vec()));
    next.received(2).await;
    let stats = soon("the end", publisher.close()).await;
    assert_eq!((stats.received, stats.unknown, stats.connections), (2, 0, 2));
}

#[tokio::test]
async fn a_router_that_does_not_answer_pings_is_left_while_events_are_pending() {
    let authority = Authority::new();
    let router = authority.router();
    let client = authority.client(&[&router], |config| config.silence = Duration::from_millis(150));
    let (publisher, mut peer) = tokio::join!(client.publisher(PublisherOptions::default()), router.accept());
    let publisher = publisher.unwrap();
    peer.credit(PLENTY).await;
    publisher.publish(&tags(), "a").await.unwrap();
    assert_eq!(peer.closed_with().await, Some(CloseCode::Timeout));
    let lost = soon("the report", publisher.lost()).await;
    assert!(matches!(lost.reason, Disconnect::Silent { .. }), "{lost:?}");
    router.accept().await;
}

#[tokio::test]
async fn reasons_not_to_connect_are_told() {
    let authority = Authority::new();
    let router = authority.router();
    let stranger = authority.client(&[&router], |config| {
        config.trust = Trust::Pem(b"-----BEGIN NOTHING-----".to_vec());
    });
    let error = stranger.publisher(PublisherOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(TlsError::Pem { .. })), "{error}");
    let distrust = Authority::new().client(&[&router], |_| {});
    let (error, ()) = tokio::join!(distrust.publisher(PublisherOptions::default()), router.fail_handshake());
    assert!(matches!(error, Err(ConnectError::Failed { reason: Disconnect::Tls(_), .. })));
    let far = authority.client(&[&router], |config| {
        config.trust = Trust::Dev;
        config.routers = vec!["router.example".parse().unwrap()];
    });
    let error = far.publisher(PublisherOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(TlsError::DevIsLocal { .. })), "{error}");
}
