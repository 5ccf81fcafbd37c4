//! Levels of endpoints: the next one when the first is busy, and back by itself.

use std::time::Duration;

use millrace_client::{PublisherOptions, ReceiverOptions};
use millrace_proto::CloseCode;

use crate::router::{Authority, FakeRouter, Peer, soon, tags};

/// A client of `near`, or else of `far`.
fn client(authority: &Authority, near: &FakeRouter, far: &FakeRouter) -> millrace_client::Client {
    authority.client(&[near], |config| {
        config.fallbacks = vec![vec![far.address()]];
        config.return_every = Duration::from_millis(200);
    })
}

async fn takes(peer: &mut Peer, seq: u64) {
    peer.credit(1 << 40).await;
    assert_eq!(peer.event().await.0, seq);
    peer.received(seq + 1).await;
}

#[tokio::test]
async fn a_publisher_goes_to_the_next_level_and_comes_back_without_loss() {
    let authority = Authority::new();
    let (near, far) = (authority.router(), authority.router());
    let client = client(&authority, &near, &far);
    let (publisher, ((), mut there)) = tokio::join!(client.publisher(PublisherOptions::default()), async {
        tokio::join!(near.refuse(), far.accept())
    });
    let publisher = publisher.unwrap();
    publisher.publish(&tags(), "there").await.unwrap();
    takes(&mut there, 0).await;

    let (mut here, closed) =
        soon("the way back", async { tokio::join!(near.accept(), there.closed_with()) }).await;
    assert_eq!(closed, Some(CloseCode::Done));
    publisher.publish(&tags(), "here").await.unwrap();
    let (stats, ()) = soon("close", async { tokio::join!(publisher.close(), takes(&mut here, 1)) }).await;
    assert_eq!((stats.published, stats.received, stats.unknown, stats.connections), (2, 2, 0, 2));
}

#[tokio::test]
async fn a_receiver_comes_back_with_its_subscriptions() {
    let authority = Authority::new();
    let (near, far) = (authority.router(), authority.router());
    let client = client(&authority, &near, &far);
    let (receiver, ((), mut there)) = tokio::join!(client.receiver(ReceiverOptions::default()), async {
        tokio::join!(near.refuse(), far.accept())
    });
    let receiver = receiver.unwrap();
    let mut subscription = receiver.subscribe(["host"]).unwrap();
    let wish = there.subscribe().await;
    there.acknowledge(&wish).await;
    let mut here = soon("the way back", near.accept()).await;
    let again = here.subscribe().await;
    assert_eq!(again, wish);
    here.acknowledge(&again).await;
    soon("a subscription", subscription.in_cluster()).await.unwrap();
    assert_eq!(there.closed_with().await, Some(CloseCode::Done));
}
