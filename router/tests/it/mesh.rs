//! Routers that find each other: one attachment is enough.

use std::time::Duration;

use millrace_client::{Client, Config, Item, Trust};
use millrace_router::Router;
use millrace_router::config::IdentityEntry;

use crate::world::{LONG, World, event, linked, publisher, receiver, tags, within};

#[tokio::test(flavor = "multi_thread")]
async fn event_entering_one_router_reaches_receivers_of_the_other_once() {
    let world = World::new();
    let a = world.router("a");
    let b = world.joining("b", &a);
    linked(&[&a, &b]);
    let (at_a, at_b) = (world.client(&a), world.client(&b));
    let mut near = receiver(&at_a, &["*"]).await;
    let mut far = receiver(&at_b, &["kind in (x,y)"]).await;
    let publisher = publisher(&at_a).await;
    for (kind, payload) in [("x", "1"), ("z", "2"), ("y", "3"), ("x", "4")] {
        publisher.publish(&tags(&[&format!("kind={kind}")]), payload).await.unwrap();
    }
    within(publisher.flush()).await;
    for _ in 0..4 {
        event(&mut near).await;
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(event(&mut far).await.payload);
    }
    seen.sort();
    assert_eq!(seen, ["1", "3", "4"]);
    let seen = a.look().unwrap();
    assert_eq!(seen.sum(|core| core.engine.events_to_peers), 3, "what nobody wants there stays here");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_routers_that_know_only_one_of_them_form_a_full_mesh() {
    let world = World::new();
    let a = world.router("a");
    let (b, c) = (world.joining("b", &a), world.joining("c", &a));
    linked(&[&a, &b, &c]);
    let (at_b, at_c) = (world.client(&b), world.client(&c));
    let mut receiver = receiver(&at_b, &["*"]).await;
    let publisher = publisher(&at_c).await;
    publisher.publish(&tags(&["from=c"]), "hello").await.unwrap();
    within(publisher.flush()).await;
    assert_eq!(event(&mut receiver).await.payload, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_payload_pattern_wants_crosses_the_mesh_if_it_may_be_found_there() {
    const EVENTS: u64 = 10_000;
    let world = World::new();
    let a = world.router("a");
    let (b, c) = (world.joining("b", &a), world.joining("c", &a));
    linked(&[&a, &b, &c]);
    let (at_a, at_b, at_c) = (world.client(&a), world.client(&b), world.client(&c));
    let mut far = receiver(&at_b, &["payload ~ /RAID STATUS CHANGE/"]).await;
    let mut other = receiver(&at_c, &["host, payload ~ /RAID STATUS CHANGE/"]).await;
    let publisher = publisher(&at_a).await;
    let sets = [tags(&["host=web-1"]), tags(&["host=web-2"]), tags(&["host=web-3"])];
    for (number, tags) in (0..EVENTS).zip(sets.iter().cycle()) {
        let payload = match number % 1_000 {
            999 => format!("{number}: RAID STATUS CHANGE"),
            _ => format!("{number}: nothing that anybody asks for"),
        };
        publisher.publish(tags, payload).await.unwrap();
    }
    within(publisher.flush()).await;
    for receiver in [&mut far, &mut other] {
        for _ in 0..EVENTS / 1_000 {
            assert!(event(receiver).await.payload.ends_with(b"RAID STATUS CHANGE"));
        }
    }
    let seen = a.look().unwrap();
    let crossed = seen.sum(|core| core.engine.events_to_peers);
    assert!(crossed <= 2 * EVENTS / 100, "{crossed} events for two peers");
    assert_eq!(seen.sum(|core| core.engine.events_prefiltered), 2 * EVENTS - crossed);
}

#[test]
fn lost_peer_is_suspected_then_forgotten_and_used_again_when_it_returns() {
    let world = World::new();
    let mut config = world.config("a");
    config.mesh.forget_after = Duration::from_millis(700);
    let a = Router::start(config).unwrap();
    let b = world.joining("b", &a);
    linked(&[&a, &b]);
    let addr = b.addr();
    b.kill();
    drop(b);
    a.wait_until(LONG, |seen| seen.control.suspects >= 1).unwrap();
    a.wait_until(LONG, |seen| seen.control.forgotten >= 1).unwrap();
    let mut config = world.config("b");
    config.listen = addr;
    config.mesh.seeds = vec![a.addr().to_string()];
    let b = Router::start(config).unwrap();
    linked(&[&a, &b]);
}

#[test]
fn router_that_is_its_own_seed_recognises_itself() {
    let world = World::new();
    let first = world.router("a");
    let addr = first.addr();
    drop(first);
    let mut config = world.config("a");
    config.listen = addr;
    config.mesh.seeds = vec![addr.to_string()];
    config.advertise = Some(format!("localhost:{}", addr.port()));
    let a = Router::start(config).unwrap();
    let seen = a.wait_until(LONG, |seen| seen.control.own_address >= 1 && seen.status.ready()).unwrap();
    assert!(seen.status.peers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn router_that_stops_in_order_loses_nothing_and_leaves_no_gap() {
    let world = World::new();
    let a = world.router("a");
    let b = world.joining("b", &a);
    linked(&[&a, &b]);
    let (at_a, at_b) = (world.client(&a), world.client(&b));
    let mut receiver = receiver(&at_a, &["*"]).await;
    let publisher = publisher(&at_b).await;
    for number in 0..1000 {
        publisher.publish(&tags(&[&format!("number={number}")]), "x").await.unwrap();
    }
    publisher.close().await;
    at_b.close().await;
    tokio::task::block_in_place(|| b.stop(Duration::from_secs(1)));
    for _ in 0..1000 {
        event(&mut receiver).await;
    }
    let seen = a.wait_until(LONG, |seen| seen.sum(|core| core.engine.lanes) == 0).unwrap();
    assert_eq!((seen.control.lanes_lost, seen.control.suspects), (0, 0));
    assert_eq!(seen.sum(|core| core.engine.gaps), 0);
}

#[test]
fn seed_of_another_cluster_is_counted_and_disturbs_neither() {
    let (world, other) = (World::new(), World::new());
    let stranger = other.router("stranger");
    let a = world.joining("a", &stranger);
    let met = a.wait_until(LONG, |seen| {
        seen.sum(|core| core.shell.strangers) >= 3 && seen.control.dials_failed >= 3 && seen.status.ready()
    });
    assert!(met.unwrap().status.peers.is_empty());
    let seen = stranger.wait_until(LONG, |seen| seen.sum(|core| core.quic.handshakes_failed) >= 3).unwrap();
    assert!(seen.status.peers.is_empty());
}

#[test]
fn a_reload_finds_other_seeds_and_hides_a_router() {
    let world = World::new();
    let (one, two) = (world.router("one"), world.router("two"));
    let mut config = world.config("one");
    config.mesh.seeds = vec![two.addr().to_string()];
    one.reload(&config).unwrap();
    linked(&[&one, &two]);
    let mut config = world.config("two");
    config.mesh.no_advertise = true;
    two.reload(&config).unwrap();
    let is_hidden = |seen: &millrace_router::Seen| seen.status.peers.iter().any(|peer| peer.hidden);
    one.wait_until(LONG, is_hidden).unwrap();
    assert!(two.status().unwrap().hidden);
    two.reload(&world.config("two")).unwrap();
    one.wait_until(LONG, |seen| !is_hidden(seen)).unwrap();
    linked(&[&one, &two]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_zone_moves_to_the_router_there_and_elsewhere_when_it_is_gone() {
    let world = World::new();
    let zoned = |name: &str, zone: &str, seed: Option<&str>| {
        let mut config = world.config(name);
        config.zone = Some(zone.to_owned());
        config.mesh.seeds = seed.map(str::to_owned).into_iter().collect();
        Router::start(config).unwrap()
    };
    let far = zoned("far", "a", None);
    let near = zoned("near", "b", Some(&far.addr().to_string()));
    linked(&[&far, &near]);
    let config = Config::new([far.addr().to_string().parse().unwrap()])
        .trust(Trust::Pem(far.ca_pem().as_bytes().to_vec()))
        .zone("b".to_owned());
    let client = Client::new(config).unwrap();
    let mut events = receiver(&client, &["*"]).await;
    near.wait_until(LONG, |seen| seen.sum(|core| core.engine.receivers) == 1).unwrap();
    far.wait_until(LONG, |seen| seen.sum(|core| core.engine.clients) == 0).unwrap();
    near.kill();
    far.wait_until(LONG, |seen| seen.sum(|core| core.engine.receivers) == 1).unwrap();
    let publisher = publisher(&world.client(&far)).await;
    publisher.publish(&tags(&["x=1"]), "home").await.unwrap();
    while !matches!(within(events.next()).await.unwrap(), Item::Event(_)) {}
}

#[test]
fn canaries_cross_every_link_and_return() {
    let world = World::new();
    let flying = |name: &str, seed: Option<&str>| {
        let mut config = world.config(name);
        config.canary_every = Duration::from_millis(100);
        config.cores = 2;
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        // Nobody but routers may publish: their canaries do all the same.
        config.identities = vec![IdentityEntry { publish: Some(vec![]), ..IdentityEntry::new("nobody") }];
        config.mesh.seeds = seed.map(str::to_owned).into_iter().collect();
        Router::start(config).unwrap()
    };
    let one = flying("one", None);
    let two = flying("two", Some(&one.addr().to_string()));
    linked(&[&one, &two]);
    for router in [&one, &two] {
        let shows = |name: &str| {
            let (_, page) = crate::world::get(router.admin_addr().unwrap(), "/metrics");
            let counts = |line: &&str| {
                line.starts_with("millrace_canary_round_trip_seconds_count")
                    && line.contains(&format!("name=\"{name}\""))
            };
            let count =
                page.lines().find(counts).and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            count.is_some_and(|count| count >= 5)
        };
        router.wait_until(LONG, |_| shows("one") && shows("two")).unwrap();
        assert_eq!(router.look().unwrap().sum(|core| core.engine.clients), 0, "a canary is no client");
    }
    let begin = std::time::Instant::now();
    two.stop(LONG);
    assert!(begin.elapsed() < LONG / 2, "nobody waits for the canary to leave");
}
