//! Receivers that move from a router to another one, which both say what they are asked.

use millrace_client::{GapReason, Item, Receiver, ReceiverOptions};
use millrace_proto::control::{ControlFrame, Goaway};
use millrace_proto::{CloseCode, Features, feature};
use quinn::SendStream;

use crate::router::{Authority, FakeRouter, Peer, mark, run, soon};

/// A router that writes marks.
fn marking(authority: &Authority) -> FakeRouter {
    let mut router = authority.router();
    router.features = Features::default().with(feature::MOVES);
    router
}

async fn write(stream: &mut SendStream, frames: &[Vec<u8>]) {
    stream.write_all(&frames.concat()).await.unwrap();
}

/// The next payload, or the reason of a gap.
async fn next(receiver: &mut Receiver) -> String {
    match soon("an item", receiver.next()).await {
        Some(Item::Event(event)) => String::from_utf8_lossy(&event.payload).into_owned(),
        Some(Item::Gap(gap)) => gap.reason.name().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// A receiver at a router that asks it to go, and the two routers as it is subscribed to both.
async fn moving(
    first: &FakeRouter,
    second: &FakeRouter,
    authority: &Authority,
) -> (Receiver, Peer, SendStream, Peer) {
    let client = authority.client(&[first], |_| {});
    let (receiver, mut old) = tokio::join!(client.receiver(ReceiverOptions::default()), first.accept());
    let receiver = receiver.unwrap();
    receiver.subscribe(["*"]).unwrap();
    let subscribe = old.subscribe().await;
    old.acknowledge(&subscribe).await;
    let stream = old.deliveries().await;
    let alternates = vec![second.address().to_string()];
    old.send(ControlFrame::Goaway(Goaway { alternates, grace_us: 20_000_000, ..Goaway::default() })).await;
    let mut new = second.accept().await;
    let subscribe = new.subscribe().await;
    new.acknowledge(&subscribe).await;
    (receiver, old, stream, new)
}

#[tokio::test]
async fn a_receiver_moves_without_a_gap_or_a_repeat() {
    let authority = Authority::new();
    let (first, second) = (marking(&authority), marking(&authority));
    let (mut receiver, mut old, mut from_old, mut new) = moving(&first, &second, &authority).await;
    let mut from_new = new.deliveries().await;
    write(&mut from_old, &[run(0, &["a"])]).await;
    assert_eq!(next(&mut receiver).await, "a", "the old router delivers on");
    let joined = mark(new.asked_for_mark().await);
    write(&mut from_old, &[run(2, &["c"])]).await;
    write(&mut from_new, &[run(1, &["b"]), joined, run(2, &["c"]), run(3, &["d"])]).await;
    let drained = mark(old.asked_for_mark().await);
    write(&mut from_old, &[run(1, &["b"]), drained, run(3, &["d"])]).await;
    let emptied = mark(old.asked_for_mark().await);
    write(&mut from_old, &[run(4, &["e"]), emptied]).await;
    assert_eq!(old.closed_with().await, Some(CloseCode::Done));
    write(&mut from_new, &[run(4, &["e"])]).await;
    for expected in ["c", "b", "d", "e"] {
        assert_eq!(next(&mut receiver).await, expected);
    }
}

#[tokio::test]
async fn what_was_routed_where_nobody_could_be_asked_is_told_as_a_gap() {
    let authority = Authority::new();
    let (first, second) = (marking(&authority), marking(&authority));
    let (mut receiver, mut old, mut from_old, mut new) = moving(&first, &second, &authority).await;
    let mut from_new = new.deliveries().await;
    let joined = mark(new.asked_for_mark().await);
    write(&mut from_new, &[joined, run(3, &["d"])]).await;
    let number = old.asked_for_mark().await;
    let mut partial = Vec::new();
    millrace_proto::data::Mark { number, partial: true, ..Default::default() }.encode(&mut partial);
    write(&mut from_old, &[run(0, &["a"]), partial]).await;
    let emptied = mark(old.asked_for_mark().await);
    write(&mut from_old, &[emptied]).await;
    for expected in ["a", GapReason::SessionLost.name(), "d"] {
        assert_eq!(next(&mut receiver).await, expected);
    }
}

#[tokio::test]
async fn a_router_that_dies_in_a_move_leaves_a_gap_and_what_the_next_one_has_brought() {
    let authority = Authority::new();
    let (first, second) = (marking(&authority), marking(&authority));
    let (mut receiver, mut old, mut from_old, mut new) = moving(&first, &second, &authority).await;
    let mut from_new = new.deliveries().await;
    let joined = mark(new.asked_for_mark().await);
    write(&mut from_new, &[joined, run(0, &["a"]), run(3, &["d"])]).await;
    old.asked_for_mark().await;
    write(&mut from_old, &[run(0, &["a"])]).await;
    assert_eq!(next(&mut receiver).await, "a");
    old.close(CloseCode::Internal);
    for expected in [GapReason::SessionLost.name(), "d"] {
        assert_eq!(next(&mut receiver).await, expected);
    }
}

#[tokio::test]
async fn a_receiver_stays_when_the_router_that_it_moves_to_is_lost() {
    let authority = Authority::new();
    let (first, second) = (marking(&authority), marking(&authority));
    let (mut receiver, _old, mut from_old, mut new) = moving(&first, &second, &authority).await;
    new.asked_for_mark().await;
    new.close(CloseCode::Busy);
    write(&mut from_old, &[run(0, &["a"])]).await;
    assert_eq!(next(&mut receiver).await, "a");
    write(&mut from_old, &[run(1, &["b"])]).await;
    assert_eq!(next(&mut receiver).await, "b");
}
