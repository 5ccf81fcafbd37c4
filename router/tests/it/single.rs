//! One router: publishers to receivers.

use std::time::Duration;

use crate::world::{LONG, World, event, publisher, receiver, tags, within};

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_the_receivers_whose_selectors_match() {
    let world = World::new();
    let router = world.router("one");
    let client = world.client(&router);
    let mut web = receiver(&client, &["host=web-*,severity!=debug"]).await;
    let mut errors = receiver(&client, &["payload ~ /timed? out/"]).await;
    let publisher = publisher(&client).await;
    for (host, payload) in [("web-1", "up"), ("db-1", "query timed out"), ("web-2", "time out")] {
        publisher.publish(&tags(&[&format!("host={host}")]), payload).await.unwrap();
    }
    within(publisher.flush()).await;
    let mut seen = vec![event(&mut web).await.payload, event(&mut web).await.payload];
    seen.sort();
    assert_eq!(seen, ["time out", "up"]);
    let mut seen = vec![event(&mut errors).await.payload, event(&mut errors).await.payload];
    seen.sort();
    assert_eq!(seen, ["query timed out", "time out"]);
    let seen = router.wait_until(LONG, |seen| seen.sum(|core| core.engine.events_out) == 4).unwrap();
    assert_eq!(seen.sum(|core| core.engine.events_in), 3);
    assert_eq!(seen.sum(|core| core.engine.dropped.iter().sum()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_one_tag_set_is_kept_over_many_events() {
    let world = World::new();
    let router = world.router("one");
    let client = world.client(&router);
    let mut all = receiver(&client, &["*"]).await;
    let publisher = publisher(&client).await;
    let tags = tags(&["host=a", "kind=count"]);
    let publish = async {
        for number in 0..20_000_u32 {
            publisher.publish(&tags, number.to_be_bytes().to_vec()).await.unwrap();
        }
        within(publisher.flush()).await;
    };
    let receive = async {
        for number in 0..20_000_u32 {
            assert_eq!(event(&mut all).await.payload[..], number.to_be_bytes());
        }
    };
    tokio::join!(publish, receive);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_router_says_goodbye_and_ends_within_its_grace() {
    let world = World::new();
    let router = world.router("one");
    let client = world.client(&router);
    let mut all = receiver(&client, &["*"]).await;
    let publisher = publisher(&client).await;
    publisher.publish(&tags(&["a=b"]), "last").await.unwrap();
    within(publisher.flush()).await;
    assert_eq!(event(&mut all).await.payload, "last");
    let begin = std::time::Instant::now();
    tokio::task::spawn_blocking(move || router.stop(Duration::from_millis(300))).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_router_under_the_same_address_is_found_again() {
    let world = World::new();
    let first = world.router("one");
    let addr = first.addr();
    let client = world.client(&first);
    let mut all = receiver(&client, &["*"]).await;
    first.kill();
    drop(first);
    let mut config = world.config("one");
    config.listen = addr;
    let second = millrace_router::Router::start(config).unwrap();
    second.wait_until(LONG, |seen| seen.sum(|core| core.engine.receivers) == 1).unwrap();
    crate::world::gap(&mut all, &[millrace_client::GapReason::SessionLost]).await;
}
