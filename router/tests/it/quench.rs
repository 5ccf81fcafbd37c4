//! Publishers that nobody listens to, and subscribers on another router.

use std::sync::mpsc;
use std::time::Duration;

use millrace_client::publisher::Quench;
use millrace_client::{ConfirmLevel, Outcome, Publisher, PublisherOptions};
use millrace_router::{Router, RouterHandle};

use crate::world::{LONG, World, event, linked, receiver, tags, within};

/// Two routers of two cores that know each other, and quench soon.
fn routers(world: &World) -> [RouterHandle; 2] {
    let start = |name: &str, seeds: Vec<String>| {
        let mut config = world.config(name);
        config.cores = 2;
        config.limits.quench_after = Duration::from_millis(100);
        config.mesh.seeds = seeds;
        Router::start(config).unwrap()
    };
    let first = start("one", Vec::new());
    let second = start("two", vec![first.addr().to_string()]);
    linked(&[&first, &second]);
    [first, second]
}

/// Publishes until the router has said that nobody wants it.
async fn publish_until_quenched(publisher: &Publisher, texts: &[&str]) -> u64 {
    let (sender, told) = mpsc::channel();
    publisher.on_wanted(move |tags, wanted| drop(sender.send((tags.clone(), wanted))));
    let mut published = 0;
    while publisher.wanted(&tags(texts)) {
        within(publisher.publish(&tags(texts), "nobody reads this")).await.unwrap();
        within(publisher.flush()).await;
        published += 1;
    }
    assert_eq!(told.recv_timeout(LONG).unwrap(), (tags(texts), false));
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_wants_is_skipped_until_somebody_does_on_any_router_and_core() {
    let world = World::new();
    let [first, second] = routers(&world);
    let options = PublisherOptions::default().linger(Duration::ZERO);
    for number in 0..8 {
        let text = format!("host=h{number}");
        let publisher = within(world.client(&first).publisher(options.clone())).await.unwrap();
        let published = publish_until_quenched(&publisher, &[&text]).await;
        within(publisher.publish(&tags(&[&text]), "skipped")).await.unwrap();
        let stats = publisher.stats();
        assert_eq!((stats.published, stats.skipped), (published, 1));
        let there = world.client(if number % 2 == 0 { &second } else { &first });
        let mut receiver = receiver(&there, &[&text]).await;
        // The subscription is effective in the cluster: nothing is missed from here on.
        within(publisher.publish(&tags(&[&text]), "wanted")).await.unwrap();
        // What was published before the publisher heard may still have been on its way.
        let mut next = event(&mut receiver).await;
        while next.payload[..] == *b"nobody reads this" {
            next = event(&mut receiver).await;
        }
        assert_eq!(&next.payload[..], b"wanted");
        assert_eq!(publisher.stats().skipped, 1);
    }
    let quenches = first.wait_until(LONG, |seen| seen.sum(|core| core.engine.quenches) >= 8).unwrap();
    assert_eq!(quenches.sum(|core| core.engine.quench_left_out), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmed_events_are_sent_unless_they_are_to_be_skipped_always() {
    let world = World::new();
    let [first, _second] = routers(&world);
    let options = PublisherOptions::default().level(ConfirmLevel::Routed).linger(Duration::ZERO);
    let usual = within(world.client(&first).publisher(options.clone())).await.unwrap();
    let always = within(world.client(&first).publisher(options.quench(Quench::Always))).await.unwrap();
    publish_until_quenched(&always, &["host=a"]).await;
    for publisher in [&usual, &always] {
        let sent = within(publisher.publish_confirmed(&tags(&["host=a"]), "x")).await.unwrap();
        assert_eq!(within(sent).await, Outcome::Confirmed { receivers: 0 });
    }
    assert_eq!((usual.stats().skipped, usual.stats().published, always.stats().skipped), (0, 1, 1));
}
