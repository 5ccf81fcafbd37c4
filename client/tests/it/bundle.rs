//! Bundles: several publishers on one connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::publisher::BUNDLE_PUBLISHERS_MAX;
use millrace_client::spool::SpoolConfig;
use millrace_client::{
    Client, Config, ConfirmLevel, ConnectError, Item, Publisher, PublisherId, PublisherOptions,
    PublisherSecret, ReceiverOptions, SpoolOptions, Trust,
};
use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use tempfile::TempDir;

use crate::router::{soon, tags};

const SECRET: PublisherSecret = PublisherSecret([7; 32]);

/// A router's place, and a folder for spools.
struct World {
    authority: DevAuthority,
    config: RouterConfig,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let authority = DevAuthority::new().unwrap();
        let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
        config.cores = 1;
        let first = Router::start(config.clone()).unwrap();
        config.listen = first.addr();
        first.stop(Duration::ZERO);
        Self { authority, config, folder: tempfile::tempdir().unwrap() }
    }

    fn router(&self) -> RouterHandle {
        Router::start(self.config.clone()).unwrap()
    }

    fn client(&self) -> Client {
        let config = Config::new([self.config.listen.to_string().parse().unwrap()])
            .trust(Trust::Pem(self.authority.ca_pem().as_bytes().to_vec()))
            .backoff_max(Duration::from_millis(100));
        Client::new(config).unwrap()
    }

    /// A publisher's options, with a spool of this name.
    fn spooled(&self, name: &str) -> PublisherOptions {
        let config = SpoolConfig { max_bytes: 10 << 20, free_percent: 0, ..SpoolConfig::default() };
        confirmed().spool(SpoolOptions::new(self.folder.path().join(name)).config(config))
    }
}

fn confirmed() -> PublisherOptions {
    PublisherOptions::default().level(ConfirmLevel::Routed).linger(Duration::ZERO)
}

fn connections(router: &RouterHandle) -> u64 {
    router.cores().iter().map(|core| core.connections).sum()
}

async fn publish(publisher: &Publisher, numbers: std::ops::Range<u64>) {
    for number in numbers {
        soon("room", publisher.publish(&tags(), number.to_string())).await.unwrap();
    }
}

#[tokio::test]
async fn publishers_of_a_bundle_share_a_connection_and_nothing_else() {
    let world = World::new();
    let (router, client) = (world.router(), world.client());
    let mut receiver = soon("a receiver", world.client().receiver(ReceiverOptions::default())).await.unwrap();
    let mut subscription = receiver.subscribe(["host"]).unwrap();
    soon("a subscription", subscription.in_cluster()).await.unwrap();
    let before = connections(&router);
    let bundle = client.bundle(SECRET);
    let mut publishers = Vec::new();
    for index in 0..20 {
        let options = if index % 2 == 0 { confirmed() } else { world.spooled(&index.to_string()) };
        publishers.push(bundle.publisher(index, options).await.unwrap());
    }
    for round in 0..3 {
        for publisher in &publishers {
            publish(publisher, round * 10..round * 10 + 10).await;
        }
    }
    let mut received: BTreeMap<PublisherId, Vec<String>> = BTreeMap::new();
    for _ in 0..20 * 30 {
        let Some(Item::Event(event)) = soon("an event", receiver.next()).await else { panic!("no event") };
        let text = String::from_utf8(event.payload.to_vec()).unwrap();
        assert_eq!(event.id.seq.to_string(), text, "each has seqs of its own");
        received.entry(event.id.publisher.publisher).or_default().push(text);
    }
    let ids: BTreeMap<_, _> = (0..20).map(|index| (PublisherId::derive(&SECRET, "", index), index)).collect();
    assert_eq!(received.keys().collect::<Vec<_>>(), ids.keys().collect::<Vec<_>>());
    let in_order: Vec<String> = (0..30).map(|number: u64| number.to_string()).collect();
    assert!(received.values().all(|texts| *texts == in_order));
    assert_eq!(connections(&router), before + 1);
    for publisher in publishers {
        let stats = soon("close", publisher.close()).await;
        assert_eq!((stats.published, stats.confirmed, stats.connections), (30, 30, 1));
    }
    drop(bundle);
    let gone = async {
        while connections(&router) > before {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the connection", gone).await;
}

#[tokio::test]
async fn a_bundle_begins_without_a_router_and_goes_on_at_the_next_one() {
    let world = World::new();
    let bundle = Arc::new(world.client().bundle(SECRET));
    let mut publishers = Vec::new();
    for index in 0..4 {
        let options = world.spooled(&index.to_string());
        publishers.push(soon("no router", bundle.publisher(index, options)).await.unwrap());
        publish(&publishers[publishers.len() - 1], 0..20).await;
    }
    for round in 1..=2 {
        let router = world.router();
        for publisher in &publishers {
            soon("outcomes", publisher.flush()).await;
        }
        assert_eq!(connections(&router), 1);
        router.stop(Duration::ZERO);
        for publisher in &publishers {
            publish(publisher, round * 20..round * 20 + 20).await;
        }
        // Who comes while there is no router is served by the next.
        let (index, options) = (3 + round, world.spooled(&(3 + round).to_string()));
        publishers.push(bundle.publisher(index, options).await.unwrap());
        publish(&publishers[publishers.len() - 1], 0..20).await;
    }
    let left = publishers.remove(0);
    let stats = soon("stop", left.stop()).await;
    assert_eq!((stats.published, stats.confirmed, stats.pending), (60, 40, 20));
    let _router = world.router();
    let again = bundle.publisher(0, world.spooled("0")).await.unwrap();
    soon("what was left", again.flush()).await;
    assert_eq!((again.stats().found, again.stats().confirmed), (20, 20));
    for publisher in publishers {
        let stats = soon("close", publisher.close()).await;
        assert_eq!(stats.published, stats.confirmed);
    }
}

#[tokio::test]
async fn a_spool_keeps_its_id_in_a_bundle_and_out_of_it() {
    let world = World::new();
    let (router, client) = (world.router(), world.client());
    let old = client.publisher(world.spooled("old")).await.unwrap();
    let old_key = old.key();
    soon("close", old.close()).await;
    let bundle = client.bundle(SECRET);
    let old = bundle.publisher(5, world.spooled("old")).await.unwrap();
    let new = bundle.publisher(6, world.spooled("new")).await.unwrap();
    let new_key = new.key();
    assert_eq!((old.key(), new_key.publisher), (old_key, PublisherId::derive(&SECRET, "", 6)));
    for publisher in [&old, &new] {
        publish(publisher, 0..5).await;
        soon("outcomes", publisher.flush()).await;
        assert_eq!(publisher.stats().confirmed, 5);
    }
    assert_eq!(connections(&router), 2, "one for the bundle, one for the spool of another secret");
    soon("close", new.close()).await;
    let alone = client.publisher(world.spooled("new")).await.unwrap();
    publish(&alone, 5..6).await;
    soon("outcomes", alone.flush()).await;
    assert_eq!((alone.key(), alone.stats().confirmed), (new_key, 1));
}

#[tokio::test]
async fn receivers_of_a_bundle_are_on_its_connection() {
    let world = World::new();
    let bundle = world.client().bundle(SECRET);
    let publisher = bundle.publisher(0, world.spooled("0")).await.unwrap();
    let mut receivers = Vec::new();
    for _ in 0..3 {
        let receiver = soon("no router", bundle.receiver(ReceiverOptions::default())).await.unwrap();
        let subscription = receiver.subscribe(["host"]).unwrap();
        receivers.push((receiver, subscription));
    }
    let mut router = world.router();
    for round in 0..2 {
        for (_, subscription) in &mut receivers {
            soon("a subscription", subscription.in_cluster()).await.unwrap();
        }
        assert_eq!(connections(&router), 1);
        publish(&publisher, round * 10..round * 10 + 10).await;
        for (receiver, _) in &mut receivers {
            let mut next = round * 10;
            while next < round * 10 + 10 {
                match soon("an event", receiver.next()).await {
                    Some(Item::Event(event)) => {
                        assert_eq!(
                            (event.id.seq, event.payload.to_vec()),
                            (next, next.to_string().into_bytes())
                        );
                        next += 1;
                    }
                    Some(Item::Gap(_)) => assert!(round == 1 && next == 10, "the router was away"),
                    _ => panic!("the receiver has ended"),
                }
            }
        }
        soon("outcomes", publisher.flush()).await;
        if round == 0 {
            router.stop(Duration::ZERO);
            router = world.router();
            // New subscriptions tell that the next router is reached.
            for (receiver, subscription) in &mut receivers {
                *subscription = receiver.subscribe(["host"]).unwrap();
            }
        }
    }
    // Receivers go on when the publishers have ended, and with the last one the connection ends.
    let stats = soon("close", publisher.close()).await;
    assert_eq!((stats.published, stats.confirmed), (20, 20));
    drop(bundle);
    let (mut receiver, subscription) = receivers.pop().unwrap();
    drop(receivers);
    let other = world.client().publisher(confirmed()).await.unwrap();
    publish(&other, 0..1).await;
    let Some(Item::Event(event)) = soon("an event", receiver.next()).await else { panic!("no event") };
    assert_eq!((event.id.publisher, connections(&router)), (other.key(), 2));
    soon("close", other.close()).await;
    drop((receiver, subscription));
    let gone = async {
        while connections(&router) > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the connection", gone).await;
}

#[tokio::test]
async fn a_bundle_has_so_many_places() {
    let world = World::new();
    let bundle = world.client().bundle(SECRET);
    let mut publishers = Vec::new();
    for index in 0..BUNDLE_PUBLISHERS_MAX as u64 {
        publishers.push(bundle.publisher(index, confirmed()).await.unwrap());
    }
    let one_more = bundle.publisher(999, confirmed()).await;
    assert!(matches!(one_more, Err(ConnectError::BundleFull { max: BUNDLE_PUBLISHERS_MAX })));
    publishers.pop();
    let freed = async {
        while bundle.publisher(999, confirmed()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon("a place", freed).await;
}
