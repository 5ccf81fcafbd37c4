//! Standby publishers at two routers: one publishes, the other takes over, and whoever was replaced
//! is fenced.

use std::time::Duration;

use millrace_client::{
    Client, ConfirmLevel, GapReason, Item, Numbered, PublishError, Publisher, PublisherOptions, Receiver,
    StandbyOptions, StandbyState,
};
use millrace_router::{Router, RouterHandle};
use tokio::sync::mpsc;

use crate::reload::post;
use crate::world::{World, event, get, linked, publisher, receiver, tags, within};

const TAG: &[&str] = &["kind=tick"];

/// A member of a set, and what it is told.
struct Member {
    publisher: Publisher,
    states: mpsc::UnboundedReceiver<StandbyState>,
}

async fn member(client: &Client, rank: u8, options: PublisherOptions) -> Member {
    let (sender, states) = mpsc::unbounded_channel();
    let standby = StandbyOptions::new("feed").rank(rank).on_standby(move |state| {
        // Nobody listens at the end of a test.
        let _ = sender.send(state);
    });
    let options = options.linger(Duration::ZERO).standby(standby);
    let publisher = within(client.publisher(options)).await.unwrap();
    Member { publisher, states }
}

impl Member {
    /// Waits until it is told something of the kind.
    async fn until(&mut self, is_it: impl Fn(StandbyState) -> bool) -> StandbyState {
        loop {
            let state = within(self.states.recv()).await.unwrap();
            if is_it(state) {
                return state;
            }
        }
    }

    async fn is_active(&mut self) -> u64 {
        let state = self.until(|state| matches!(state, StandbyState::Active { .. })).await;
        if let StandbyState::Active { generation } = state { generation } else { 0 }
    }

    async fn waits(&mut self) {
        self.until(|state| matches!(state, StandbyState::Waiting { is_held: true, .. })).await;
    }

    async fn numbered(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            within(self.publisher.publish_numbered(&tags(TAG), number, number.to_string())).await.unwrap();
        }
    }
}

/// The next payloads, as numbers.
async fn numbers(receiver: &mut Receiver, count: usize) -> Vec<u64> {
    let mut got = Vec::new();
    while got.len() < count {
        got.push(String::from_utf8_lossy(&event(receiver).await.payload).parse().unwrap());
    }
    got
}

/// Two routers, and a receiver at a third one.
async fn cluster(world: &World) -> ([RouterHandle; 3], Receiver) {
    let first = world.router("one");
    let second = world.joining("two", &first);
    let mut config = world.config("three");
    config.mesh.seeds = vec![first.addr().to_string()];
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let third = Router::start(config).unwrap();
    linked(&[&first, &second, &third]);
    let receiver = receiver(&world.client(&third), TAG).await;
    ([first, second, third], receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_numbers_a_takeover_loses_nothing_and_repeats_nothing() {
    let world = World::new();
    let ([first, second, _third], mut receiver) = cluster(&world).await;
    let mut one = member(&world.client(&first), 1, PublisherOptions::default()).await;
    assert_eq!(one.is_active().await, 1);
    let mut two = member(&world.client(&second), 2, PublisherOptions::default()).await;
    two.waits().await;
    // Both read the same source; the second one is behind.
    one.numbered(0..50).await;
    two.numbered(0..40).await;
    assert_eq!(numbers(&mut receiver, 50).await, (0..50).collect::<Vec<_>>());
    drop(one);
    assert_eq!(two.is_active().await, 2);
    two.numbered(40..80).await;
    assert_eq!(numbers(&mut receiver, 30).await, (50..80).collect::<Vec<_>>());
    let again = within(two.publisher.publish_numbered(&tags(TAG), 79, "79")).await.unwrap();
    assert_eq!(again, Numbered::PassedOver, "numbers rise");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_numbers_a_takeover_is_a_gap_and_a_waiting_member_publishes_nothing() {
    let world = World::new();
    let ([first, second, _third], mut receiver) = cluster(&world).await;
    let mut one = member(&world.client(&first), 1, PublisherOptions::default()).await;
    one.is_active().await;
    let mut two = member(&world.client(&second), 1, PublisherOptions::default()).await;
    two.waits().await;
    within(one.publisher.publish(&tags(TAG), "one")).await.unwrap();
    assert_eq!(event(&mut receiver).await.payload, "one");
    let refused = within(two.publisher.publish(&tags(TAG), "two")).await.unwrap_err();
    assert_eq!(refused, PublishError::OnStandby);
    within(one.publisher.close()).await;
    two.is_active().await;
    within(two.publisher.publish(&tags(TAG), "two")).await.unwrap();
    let Some(Item::Gap(gap)) = within(receiver.next()).await else { panic!("no gap") };
    assert_eq!(gap.reason, GapReason::Takeover);
    assert_eq!(event(&mut receiver).await.payload, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_that_any_router_is_asked_for_leaves_the_old_holder_waiting() {
    let world = World::new();
    let ([first, second, third], mut receiver) = cluster(&world).await;
    let options = || PublisherOptions::default().level(ConfirmLevel::Routed);
    let mut one = member(&world.client(&first), 1, options()).await;
    one.is_active().await;
    let mut two = member(&world.client(&second), 2, options()).await;
    two.waits().await;
    let id = within(one.publisher.publish_confirmed(&tags(TAG), "one")).await.unwrap();
    assert!(within(id).await.is_confirmed());
    assert_eq!(event(&mut receiver).await.payload, "one");
    let admin = third.admin_addr().unwrap();
    let page: serde_json::Value = serde_json::from_str(&get(admin, "/standby").1).unwrap();
    let set = &page["sets"][0];
    assert_eq!((&set["set"], &set["generation"], &set["why"]), (&"feed".into(), &1.into(), &"first".into()));
    assert_eq!(set["members"].as_array().unwrap().len(), 2, "{page}");
    assert_eq!((&set["holder"]["router_name"], &set["holder"]["rank"]), (&"one".into(), &1.into()));
    let answer = post(admin, "/standby/hand-over?set=feed", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(two.is_active().await, 2);
    one.waits().await;
    let stranger = post(admin, "/standby/hand-over?set=other", "");
    assert!(stranger.starts_with("HTTP/1.1 409"), "{stranger}");
    // Whoever joins no set is no concern of sets.
    let plain = publisher(&world.client(&first)).await;
    within(plain.publish(&tags(TAG), "plain")).await.unwrap();
    assert_eq!(event(&mut receiver).await.payload, "plain");
}
