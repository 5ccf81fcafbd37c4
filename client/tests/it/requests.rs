//! Requests of one requester, at a router that answers as the test says.

use std::time::Duration;

use millrace_client::{AskError, Client, Replies, Request, RequestEnd, Requester};
use millrace_proto::control::{ControlFrame, Refused, RefusedReason, Subscribe};
use millrace_proto::{Features, ReceiverNumber, feature};

use crate::router::{Authority, FakeRouter, Peer, soon, tags};

/// A router that knows requests.
fn router(authority: &Authority) -> FakeRouter {
    let mut router = authority.router();
    router.features = Features::default().with(feature::CONFIRMS).with(feature::NAMES);
    router
}

/// A requester with one request, and its router, which has not acknowledged the receiver of
/// replies.
async fn asking(client: &Client, router: &FakeRouter) -> (Requester, Replies, Peer, Subscribe) {
    let (requester, mut peer) = tokio::join!(client.requester(), router.accept());
    let requester = requester.unwrap();
    let subscribe = peer.subscribe().await;
    peer.credit(1 << 20).await;
    let replies = ask(&requester).await.unwrap();
    (requester, replies, peer, subscribe)
}

async fn ask(requester: &Requester) -> Result<Replies, AskError> {
    requester.request(&tags(), "?", Request::default().timeout(Duration::from_secs(3600))).await
}

/// How a request ended that has no replies.
async fn end(mut replies: Replies) -> RequestEnd {
    assert_eq!(soon("the end of a request", replies.next()).await, None);
    replies.end().unwrap()
}

#[tokio::test]
async fn a_request_waits_until_the_router_knows_the_receiver_of_its_replies() {
    let authority = Authority::new();
    let router = router(&authority);
    let client = authority.client(&[&router], |_| {});
    let (_requester, _replies, mut peer, subscribe) = asking(&client, &router).await;
    // Somebody who replies at once would find nobody who waits for the reply.
    let early = tokio::time::timeout(Duration::from_millis(200), peer.connection.accept_uni());
    assert!(early.await.is_err(), "nothing is published yet");
    peer.acknowledge(&subscribe).await;
    assert_eq!(peer.event().await, (0, b"?".to_vec()));
}

#[tokio::test]
async fn what_waits_for_replies_ends_with_its_requester() {
    let authority = Authority::new();
    let router = router(&authority);
    let client = authority.client(&[&router], |_| {});
    let (requester, replies, mut peer, subscribe) = asking(&client, &router).await;
    peer.acknowledge(&subscribe).await;
    peer.event().await;
    drop(requester);
    assert_eq!(end(replies).await, RequestEnd::Ended);
}

#[tokio::test]
async fn a_requester_that_is_refused_ends_what_it_has_asked_and_asks_no_more() {
    let authority = Authority::new();
    let router = router(&authority);
    let client = authority.client(&[&router], |_| {});
    let (requester, replies, mut peer, subscribe) = asking(&client, &router).await;
    peer.acknowledge(&subscribe).await;
    peer.event().await;
    let (reason, message) = (RefusedReason::Forbidden, "no receivers for you".to_owned());
    let refused = Refused { reason, receiver: ReceiverNumber(0), message, ..Refused::default() };
    peer.send(ControlFrame::Refused(refused)).await;
    assert_eq!(end(replies).await, RequestEnd::Ended);
    let refused = ask(&requester).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("no receivers for you"), "{refused}");
}
