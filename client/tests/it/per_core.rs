//! Publishers with a connection for each core of their router.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_client::{Connections, Disconnect, Publisher, PublisherOptions};
use millrace_proto::{CloseCode, TagSet};

use crate::router::{Authority, FakeRouter, Peer, soon};

const PLENTY: u64 = 1 << 40;

fn options() -> PublisherOptions {
    PublisherOptions::default().connections(Connections::PerCore).linger(Duration::ZERO)
}

/// A tag set that belongs to this core of `cores`; `number` tells several of them apart.
fn tags_of(core: u16, cores: u16, number: usize) -> TagSet {
    let mut sets = (0..).map(|host| TagSet::from_texts([format!("host={host}")]).unwrap());
    sets.by_ref().filter(|tags| tags.shard().owner(cores) == core).nth(number).unwrap()
}

/// A publisher at a router of these cores, and the router's side of each connection, found by what
/// arrives on it.
async fn connect(client: &millrace_client::Client, router: &FakeRouter) -> (Publisher, Vec<Peer>) {
    let accept = async {
        let mut peers = Vec::new();
        for _ in 0..router.cores {
            peers.push(router.accept().await);
        }
        peers
    };
    let (publisher, mut peers) = tokio::join!(client.publisher(options()), accept);
    let publisher = publisher.unwrap();
    for peer in &mut peers {
        peer.credit(PLENTY).await;
    }
    for core in 0..router.cores {
        publisher.publish(&tags_of(core, router.cores, 0), [core.to_be_bytes()[1]]).await.unwrap();
    }
    let mut by_core: Vec<(Vec<u8>, Peer)> = Vec::new();
    for mut peer in peers {
        let (seq, payload) = peer.event().await;
        assert_eq!(seq, 0, "each connection has a publisher of its own");
        by_core.push((payload, peer));
    }
    by_core.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(by_core.iter().map(|(core, _)| core[0]).collect::<Vec<_>>(), [0, 1, 2]);
    (publisher, by_core.into_iter().map(|(_, peer)| peer).collect())
}

#[tokio::test]
async fn events_go_over_the_connection_of_the_core_that_owns_their_tags() {
    let authority = Authority::new();
    let router = authority.router_of(3);
    let client = authority.client(&[&router], |_| {});
    let (publisher, mut peers) = connect(&client, &router).await;
    let keys: BTreeSet<_> = publisher.keys().collect();
    assert_eq!(keys.len(), 3);
    let ports: BTreeSet<_> = peers.iter().map(|peer| peer.connection.remote_address().port()).collect();
    assert_eq!(ports.len(), 3, "what one core gets is never merged with what another one gets");
    for number in 0..60 {
        let core = number % 3;
        let tags = tags_of(core, 3, usize::from(number) % 5);
        let id = match number % 2 {
            0 => publisher.publish(&tags, number.to_string()).await,
            _ => publisher.publish(publisher.register(&tags).unwrap(), number.to_string()).await,
        };
        let id = id.unwrap();
        assert_eq!(id.publisher, publisher.keys().nth(usize::from(core)).unwrap());
        let seq = u64::from(number / 3) + 1;
        assert_eq!(id.seq, seq);
        assert_eq!(
            peers[usize::from(core)].event().await,
            (seq, number.to_string().into_bytes()),
            "on the core's own connection"
        );
    }
    let router_side = async {
        for peer in &mut peers {
            peer.received(21).await;
        }
        for peer in &mut peers {
            peer.closed_with().await;
        }
    };
    let (stats, ()) = soon("both sides", async { tokio::join!(publisher.close(), router_side) }).await;
    assert_eq!((stats.published, stats.received, stats.unknown, stats.connections), (63, 63, 0, 3));
    client.close().await;
}

#[tokio::test]
async fn one_lost_connection_is_made_anew_while_the_others_go_on() {
    let authority = Authority::new();
    let router = authority.router_of(3);
    let client = authority.client(&[&router], |_| {});
    let (publisher, mut peers) = connect(&client, &router).await;
    peers[0].received(1).await;
    peers[2].received(1).await;
    while publisher.stats().received < 2 {
        tokio::task::yield_now().await;
    }
    peers[1].connection.close(quinn::VarInt::from_u32(0), b"");
    let lost = soon("the report", publisher.lost()).await;
    assert_eq!((Some(lost.key), lost.seqs), (publisher.keys().nth(1), 0..1));
    assert!(matches!(lost.reason, Disconnect::Closed { .. }));

    for core in 0..3 {
        publisher.publish(&tags_of(core, 3, 1), "again").await.unwrap();
    }
    assert_eq!(peers[0].event().await, (1, b"again".to_vec()));
    assert_eq!(peers[2].event().await, (1, b"again".to_vec()));
    let mut back = router.accept().await;
    back.credit(PLENTY).await;
    assert_eq!(back.event().await, (1, b"again".to_vec()));
    let mut flush = Box::pin(publisher.flush());
    peers[0].received(2).await;
    peers[2].received(2).await;
    while publisher.stats().received < 4 {
        tokio::select! {
            biased;
            () = &mut flush => panic!("one has not received yet"),
            () = tokio::task::yield_now() => {}
        }
    }
    back.received(2).await;
    soon("the flush", flush).await;
    let stats = publisher.stats();
    assert_eq!((stats.published, stats.received, stats.unknown, stats.connections), (6, 5, 1, 4));
}

#[tokio::test]
async fn a_refused_connection_is_an_error_and_leaves_nothing_behind() {
    let authority = Authority::new();
    let router = authority.router_of(2);
    let client = authority.client(&[&router], |_| {});
    let router_side = async {
        let first = router.accept().await;
        router.refuse().await;
        first.closed_with().await
    };
    let (error, code) = soon("both", async { tokio::join!(client.publisher(options()), router_side) }).await;
    assert!(error.is_err());
    assert_eq!(code, Some(CloseCode::Done));
}

#[tokio::test]
async fn so_many_connections_as_asked_for_share_the_tag_sets_by_shard() {
    let authority = Authority::new();
    let router = authority.router_of(2);
    let client = authority.client(&[&router], |_| {});
    let options = options().connections("4".parse().unwrap());
    let accept = async {
        let mut peers = Vec::new();
        for _ in 0..4 {
            peers.push(router.accept().await);
        }
        peers
    };
    let (publisher, mut peers) = tokio::join!(client.publisher(options), accept);
    let publisher = publisher.unwrap();
    let mut seen = BTreeSet::new();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.credit(PLENTY).await;
        let place = u16::try_from(number).unwrap();
        publisher.publish(&tags_of(place, 4, 0), place.to_string()).await.unwrap();
    }
    for peer in &mut peers {
        let (seq, payload) = peer.event().await;
        assert_eq!(seq, 0);
        seen.insert(String::from_utf8(payload).unwrap());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert_eq!((publisher.keys().count(), publisher.stats().connections), (4, 4));
}
