//! Routers of several cores.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use millrace_client::{Client, Config, PublisherOptions, Receiver, Trust};
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
    assert!(seen.cores.iter().any(|core| core.shell.mailbox_depth_max > 0));
    for core in &seen.cores {
        assert_eq!(core.hops_saved(), core.quic.datagrams_in, "the kernel steers everything");
        assert!((0.0..=1.0).contains(&core.busy_share()) && core.datagrams_per_turn() < 100.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_steering_by_the_kernel_cores_pass_packets_on_and_nothing_is_lost() {
    let world = World::new();
    let mut config = world.config("unsteered");
    config.cores = 3;
    config.kernel_steering = false;
    let router = Router::start(config).unwrap();
    let clients: Vec<_> = (0..7).map(|_| world.client(&router)).collect();
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

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_families_share_one_port_and_its_cores() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let world = World::new();
    let mut config = world.config("both");
    (config.cores, config.listen) = (2, "[::]:0".parse().unwrap());
    let router = Router::start(config).unwrap();
    let clients = ["127.0.0.1", "[::1]"].map(|host| {
        let config = Config::new([format!("{host}:{}", router.addr().port()).parse().unwrap()])
            .trust(Trust::Pem(router.ca_pem().as_bytes().to_vec()));
        Client::new(config).unwrap()
    });
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
        for _ in 0..40 {
            event(receiver).await;
        }
    }
    let seen = router.look().unwrap();
    assert_eq!(seen.sum(|core| core.quic.foreign_out), 0, "both families are steered");
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

/// Sends packets of every kind at an address, whoever is there, until it is dropped.
struct Rain {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rain {
    fn on(addr: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (end, socket) = (over.clone(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let thread = std::thread::spawn(move || {
            let mut number = 0_u16;
            while !end.load(Ordering::Relaxed) {
                number = number.wrapping_add(1);
                let [high, low] = number.to_be_bytes();
                // While nobody listens, each second one only reports that the one before was
                // refused.
                let _ = socket.send_to(&[0x40, 9, high, low, 1, 1, 1, 1, 1, 7, 7, 7, 7], addr);
                let mut long = vec![0xc0, 0, 0, 0, 1, 8, 9, high, low, 1, 1, 1, 1, 1, 0, 0];
                long.resize(1200, 7);
                let _ = socket.send_to(&long, addr);
                std::thread::yield_now();
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Rain {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn router_starts_while_packets_already_arrive() {
    let world = World::new();
    let addr = world.router("one").addr();
    let rain = Rain::on(addr);
    let mut config = world.config("one");
    (config.cores, config.listen) = (3, addr);
    // Clients try before anybody listens.
    let early = tokio::spawn({
        let config = Config::new([addr.to_string().parse().unwrap()])
            .trust(Trust::Pem(config.identity.ca_pem().as_bytes().to_vec()));
        async move { publisher(&Client::new(config).unwrap()).await }
    });
    let router = Router::start(config).unwrap();
    let mut receivers = Vec::new();
    for _ in 0..6 {
        receivers.push(receiver(&world.client(&router), &["*"]).await);
    }
    let publisher = within(early).await.unwrap();
    for number in 0..100 {
        publisher.publish(&tags(&[&format!("number={number}")]), "x").await.unwrap();
    }
    for receiver in &mut receivers {
        for _ in 0..100 {
            event(receiver).await;
        }
    }
    drop(rain);
    assert_eq!(within(publisher.close()).await.unknown, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_router_of_several_cores_tells_its_predecessors_clients_at_once() {
    let world = World::new();
    let mut config = world.config("one");
    config.cores = 3;
    let first = Router::start(config.clone()).unwrap();
    // So patient that only the new router can tell them.
    let patient = Config::new([first.addr().to_string().parse().unwrap()])
        .trust(Trust::Pem(first.ca_pem().as_bytes().to_vec()))
        .silence(10 * LONG)
        .idle_silence(10 * LONG);
    config.listen = first.addr();
    let mut publishers = Vec::new();
    for number in 0..6 {
        let tags = tags(&[&format!("host={number}")]);
        let options = PublisherOptions::default().shard(tags.shard());
        let publisher = within(Client::new(patient.clone()).unwrap().publisher(options)).await.unwrap();
        publisher.publish(&tags, "before").await.unwrap();
        within(publisher.flush()).await;
        publishers.push((publisher, tags));
    }
    first.kill();
    drop(first);
    let second = Router::start(config).unwrap();
    let mut lost = 0;
    for (publisher, tags) in &publishers {
        publisher.publish(tags, "into the void").await.unwrap();
        within(publisher.flush()).await;
        // Whoever had something else to say to the new router knew before the event, and lost
        // nothing.
        if let Ok(range) = tokio::time::timeout(std::time::Duration::ZERO, publisher.lost()).await {
            assert_eq!(range.seqs, 1..2);
            lost += 1;
        }
        publisher.publish(tags, "after").await.unwrap();
        within(publisher.flush()).await;
    }
    let seen = second.look().unwrap();
    assert_eq!(seen.sum(|core| core.engine.events_in), 12 - lost);
    assert!(seen.cores.iter().all(|core| core.engine.clients > 0), "the cores' resets, each for its own");
}
