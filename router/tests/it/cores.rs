//! Routers of several cores.

use millrace_router::Router;

use crate::world::{World, event, linked, publisher, receiver, tags, within};

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
        let mut seen = std::collections::BTreeSet::new();
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
async fn routers_of_one_two_and_three_cores_share_one_mesh() {
    let world = World::new();
    let mut routers = Vec::new();
    for (name, cores) in [("a", 1), ("b", 2), ("c", 3)] {
        let mut config = world.config(name);
        config.cores = cores;
        config.mesh.seeds = routers
            .first()
            .map(|first: &millrace_router::RouterHandle| first.addr().to_string())
            .into_iter()
            .collect();
        routers.push(Router::start(config).unwrap());
    }
    linked(&routers.iter().collect::<Vec<_>>());
    let clients: Vec<_> = routers.iter().map(|router| world.client(router)).collect();
    let mut receivers = Vec::new();
    for client in &clients {
        receivers.push(receiver(client, &["*"]).await);
    }
    for client in &clients {
        let publisher = publisher(client).await;
        for number in 0..20 {
            publisher.publish(&tags(&[&format!("number={number}")]), "x").await.unwrap();
        }
        within(publisher.flush()).await;
    }
    for receiver in &mut receivers {
        for _ in 0..60 {
            event(receiver).await;
        }
    }
    for router in &routers {
        let seen = router.look().unwrap();
        assert_eq!(seen.sum(|core| core.engine.dropped.iter().sum()), 0);
    }
}
