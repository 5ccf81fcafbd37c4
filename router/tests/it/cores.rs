//! Routers of several cores.

use std::collections::BTreeSet;

use millrace_client::{Client, Receiver};
use millrace_proto::control::{ControlFrame, Ping};
use millrace_router::{Router, RouterHandle, Seen};

use crate::raw::Raw;
use crate::world::{LONG, World, event, linked, publisher, receiver, tags, within};

#[tokio::test(flavor = "multi_thread")]
async fn events_cross_cores_and_every_receiver_gets_its_own_once() {
    let world = World::new();
    let mut config = world.config("two");
    config.cores = 2;
    let router = Router::start(config).unwrap();
    let client = world.client(&router);
    let mut receivers = Vec::new();
    for _ in 0..4 {
        receivers.push(receiver(&client, &["*"]).await);
    }
    let publisher = publisher(&client).await;
    for number in 0..100 {
        publisher.publish(&tags(&[&format!("number={number}")]), "x").await.unwrap();
    }
    within(publisher.flush()).await;
    for receiver in &mut receivers {
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            assert!(seen.insert(event(receiver).await.tags));
        }
    }
    let seen = router.look().unwrap();
    assert_eq!(seen.sum(|core| core.shell.batches_malformed), 0);
    assert!(seen.sum(|core| core.shell.batches_in) > 0, "nothing crossed");
    assert_eq!(seen.sum(|core| core.shell.batches_in), seen.sum(|core| core.shell.batches_out));
    assert!(seen.cores.iter().all(|core| core.position > 0), "both cores own shards");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_steering_by_the_kernel_cores_pass_packets_on_and_nothing_is_lost() {
    let world = World::new();
    let mut config = world.config("unsteered");
    config.cores = 3;
    config.kernel_steering = false;
    let router = Router::start(config).unwrap();
    let clients: Vec<_> = (0..6).map(|_| world.client(&router)).collect();
    let mut receivers = Vec::new();
    for client in &clients {
        receivers.push(receiver(client, &["*"]).await);
    }
    let publisher = publisher(&clients[0]).await;
    for number in 0..100 {
        publisher.publish(&tags(&[&format!("number={number}")]), "x").await.unwrap();
    }
    within(publisher.flush()).await;
    for receiver in &mut receivers {
        for _ in 0..100 {
            event(receiver).await;
        }
    }
    let seen = router.look().unwrap();
    assert!(
        seen.sum(|core| core.quic.foreign_out) > 0,
        "seven connections do not all land on their core by chance"
    );
    assert_eq!(seen.sum(|core| core.quic.drops.foreign), 0);
    assert_eq!(seen.sum(|core| core.engine.clients), 7, "a connection was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_of_one_two_three_and_five_cores_share_one_mesh() {
    const CORES: [u16; 4] = [1, 2, 3, 5];
    const EVENTS: usize = 60;
    let world = World::new();
    let mut routers: Vec<RouterHandle> = Vec::new();
    for cores in CORES {
        let mut config = world.config(&format!("of-{cores}"));
        config.cores = cores;
        config.mesh.seeds = routers.first().map(|first| first.addr().to_string()).into_iter().collect();
        routers.push(Router::start(config).unwrap());
    }
    linked(&routers.iter().collect::<Vec<_>>());
    for (router, own) in routers.iter().zip(CORES) {
        let others = CORES.into_iter().filter(|&other| other != own);
        let lanes = others.map(|other| u64::from(own.max(other))).sum::<u64>();
        router.wait_until(LONG, |seen| seen.sum(|core| core.engine.lanes) == lanes).unwrap();
    }
    let clients: Vec<_> = routers.iter().map(|router| world.client(router)).collect();
    let mut receivers = Vec::new();
    for client in &clients {
        for _ in 0..2 {
            receivers.push(receiver(client, &["*"]).await);
        }
    }
    for (client, cores) in clients.iter().zip(CORES) {
        let publisher = publisher(client).await;
        for number in 0..EVENTS {
            let tags = tags(&[&format!("entry={cores}"), &format!("number={number}")]);
            publisher.publish(&tags, "x").await.unwrap();
        }
        within(publisher.flush()).await;
    }
    for receiver in &mut receivers {
        let mut seen = BTreeSet::new();
        for _ in 0..CORES.len() * EVENTS {
            assert!(seen.insert(event(receiver).await.tags), "an event came twice");
        }
    }
    let deliveries = (2 * CORES.len() * EVENTS) as u64;
    for router in &routers {
        let seen = router.look().unwrap();
        assert_eq!(seen.sum(|core| core.engine.events_out), deliveries, "nothing more came");
        assert_eq!(seen.sum(|core| core.engine.dropped.iter().sum()), 0);
        assert_eq!(seen.sum(|core| core.shell.batches_malformed), 0);
    }
}

/// A receiver that never reads: its host's buffers fill, then its queue here.
async fn stalled(client: &Client) -> Receiver {
    receiver(client, &["load"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_all_receivers_stall_subscribes_pings_and_other_publishers_pass() {
    const EVENTS: usize = 24_000;
    let world = World::new();
    let mut config = world.config("stalled");
    config.cores = 2;
    let router = Router::start(config).unwrap();
    let clients: Vec<_> = (0..4).map(|_| world.client(&router)).collect();
    let mut receivers = Vec::new();
    for client in &clients {
        receivers.push(stalled(client).await);
    }
    let busy = world.client(&router);
    let loading = tokio::spawn(async move {
        let publisher = publisher(&busy).await;
        let sets: Vec<_> = (0..16).map(|number| tags(&["load=yes", &format!("number={number}")])).collect();
        for number in 0..EVENTS {
            publisher.publish(&sets[number % sets.len()], vec![0; 1000]).await.unwrap();
        }
        publisher.close().await
    });
    let overflown = |seen: &Seen| seen.sum(|core| core.engine.dropped[0]) > 0;
    router.wait_until(LONG, overflown).unwrap();

    let mut raw = Raw::welcomed(&router);
    for nonce in 1..=20 {
        let client = world.client(&router);
        let mut other = receiver(&client, &[&format!("other={nonce}")]).await;
        let publisher = publisher(&client).await;
        publisher.publish(&tags(&[&format!("other={nonce}")]), "passes").await.unwrap();
        within(publisher.flush()).await;
        assert_eq!(event(&mut other).await.payload, "passes");
        let mut ping = Vec::new();
        Ping { nonce }.encode(&mut ping);
        raw.say(&ping);
        raw.frame("pong", |frame| matches!(frame, ControlFrame::Pong(pong) if pong.nonce == nonce));
    }
    let stats = tokio::time::timeout(LONG, loading).await.unwrap().unwrap();
    assert_eq!((stats.received, stats.unknown), (EVENTS as u64, 0), "a publisher never waits for a receiver");
    let seen = router.look().unwrap();
    assert_eq!(seen.sum(|core| core.engine.dropped[1..].iter().sum()), 0, "drops are the receivers' own");
    assert_eq!(seen.sum(|core| core.shell.batches_malformed), 0);
    drop(receivers);
}
