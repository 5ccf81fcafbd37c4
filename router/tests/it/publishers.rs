//! Which core a publisher's connection is on, and what that saves.

use millrace_client::{Client, Connections, Publisher, PublisherOptions};
use millrace_router::{Router, RouterHandle};

use crate::world::{LONG, World, event, receiver, tags, within};

const CORES: u16 = 3;

fn router(world: &World) -> RouterHandle {
    let mut config = world.config("three");
    config.cores = CORES;
    Router::start(config).unwrap()
}

async fn publisher(client: &Client, options: PublisherOptions) -> Publisher {
    within(client.publisher(options)).await.unwrap()
}

/// Events that each core's clients have sent.
fn published_on(router: &RouterHandle) -> Vec<u64> {
    router.cores().iter().map(|core| core.engine.events_in).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_of_one_tag_set_is_on_the_core_that_owns_it() {
    let world = World::new();
    let router = router(&world);
    for number in 0..12 {
        let before = published_on(&router);
        let tags = tags(&[&format!("host={number}")]);
        let client = world.client(&router);
        let options = PublisherOptions::default().shard(tags.shard());
        let publisher = publisher(&client, options).await;
        publisher.publish(&tags, "x").await.unwrap();
        within(publisher.flush()).await;
        let mut expected = before;
        expected[usize::from(tags.shard().owner(CORES))] += 1;
        assert_eq!(published_on(&router), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_per_core_spares_every_hop_between_cores() {
    let world = World::new();
    let router = router(&world);
    let client = world.client(&router);
    let options = PublisherOptions::default().connections(Connections::PerCore);
    let publisher = publisher(&client, options).await;
    assert_eq!(publisher.keys().count(), usize::from(CORES));
    for number in 0..300 {
        publisher.publish(&tags(&[&format!("host={number}")]), "x").await.unwrap();
    }
    within(publisher.flush()).await;
    let seen = router.look().unwrap();
    assert_eq!(seen.sum(|core| core.engine.events_in), 300);
    assert!(published_on(&router).iter().all(|&events| events > 50), "{:?}", published_on(&router));
    assert_eq!(seen.sum(|core| core.shell.batches_out), 0, "nothing had to cross");

    // With receivers, too, each event comes once.
    let mut receiver = receiver(&client, &["*"]).await;
    for number in 0..300 {
        publisher.publish(&tags(&[&format!("host={number}")]), "x").await.unwrap();
    }
    let mut hosts = std::collections::BTreeSet::new();
    for _ in 0..300 {
        assert!(hosts.insert(event(&mut receiver).await.tags));
    }
    let stats = within(publisher.close()).await;
    assert_eq!((stats.published, stats.received, stats.unknown), (600, 600, 0));
    router.wait_until(LONG, |seen| seen.sum(|core| core.engine.clients) == 1).unwrap();
}
