//! Who gets in when many come at once.

use std::time::Duration;

use millrace_quic::{Admission, CloseReason, CoreSettings, NewcomerLimits, ServerSettings};

use crate::tls;
use crate::world::{CLIENT, Faults, SERVER, World};

fn world(admission: Admission, core: CoreSettings) -> World {
    World::with(1, Faults::NONE, ServerSettings { admission, ..tls::server() }, core)
}

#[test]
fn crowd_is_asked_for_proof_and_waits_in_line() {
    let admission = Admission { handshakes_per_second: 1, burst: 4 };
    let mut world = world(admission, CoreSettings::default());
    let conns: Vec<_> = (0..6).map(|_| world.dial(tls::client(), None)).collect();
    world.run_for(Duration::from_millis(500));
    let connected =
        |world: &World| conns.iter().filter(|conn| world.nodes[CLIENT].app.is_connected(**conn)).count();
    // Three find the bucket at least half full; the other three must prove their address, and one
    // token is left.
    assert_eq!(connected(&world), 4);
    assert_eq!(world.nodes[SERVER].driver.metrics().handshakes_retried, 3);
    world.run_until("connected", |world| connected(world) == 6);
    let metrics = world.nodes[SERVER].driver.metrics();
    assert_eq!((metrics.handshakes_accepted, metrics.handshakes_refused), (6, 0));
}

#[test]
fn while_many_strangers_have_begun_newcomers_prove_their_address_first() {
    let mut world = world(Admission::default(), CoreSettings::default());
    world.faults.delay = Duration::from_millis(200);
    let retried = |world: &World| world.nodes[SERVER].driver.metrics().handshakes_retried;
    let mut conns: Vec<_> = (0..130).map(|_| world.dial(tls::client(), None)).collect();
    world.run_for(Duration::from_millis(300));
    assert_eq!(retried(&world), 0, "they came at once, and few were under way");
    conns.extend((0..10).map(|_| world.dial(tls::client(), None)));
    world.run_for(Duration::from_millis(300));
    assert_eq!(retried(&world), 10);
    world
        .run_until("connected", |world| conns.iter().all(|conn| world.nodes[CLIENT].app.is_connected(*conn)));
    let late = world.dial(tls::client(), None);
    world.run_until("connected", |world| world.nodes[CLIENT].app.is_connected(late));
    assert_eq!(retried(&world), 10, "all others are known by then");
}

#[test]
fn line_that_stands_still_is_joined_by_nobody() {
    let admission = Admission { handshakes_per_second: 1, burst: 2 };
    let mut world = world(admission, CoreSettings::default());
    for _ in 0..12 {
        world.dial(tls::client(), None);
    }
    // One is let in per second; by now the next in line has waited for more than two.
    world.run_for(Duration::from_millis(3500));
    let late = world.dial(tls::client(), None);
    world.run_for(Duration::from_millis(200));
    assert!(world.nodes[SERVER].driver.metrics().drops.admission_full > 0);
    assert!(!world.nodes[CLIENT].app.is_connected(late));
    world.run_until("connected", |world| world.nodes[CLIENT].app.is_connected(late));
}

#[test]
fn while_a_core_is_behind_newcomers_are_served_at_an_eighth_of_the_rate_however_often_it_turns() {
    let admission = Admission { handshakes_per_second: 80, burst: 100 };
    let mut world = world(admission, CoreSettings::default());
    world.is_behind = true;
    for _ in 0..40 {
        world.dial(tls::client(), None);
    }
    let begun = |world: &World| world.nodes[SERVER].driver.metrics().handshakes_accepted;
    // One at once and ten in a second, whether it turns a hundred times in that time or a thousand
    // times.
    for turns in [100, 1000] {
        let before = begun(&world);
        world.turn_every(Duration::from_secs(1) / turns, turns);
        let begun = begun(&world) - before;
        assert!((9..=11).contains(&begun), "{begun} in {turns} turns");
    }
    world.is_behind = false;
    world.run_for(Duration::from_millis(200));
    assert_eq!(begun(&world), 40);
}

#[test]
fn who_has_waited_until_it_has_given_up_is_not_served() {
    let admission = Admission { handshakes_per_second: 8, burst: 100 };
    let mut world = world(admission, CoreSettings::default());
    world.is_behind = true;
    for _ in 0..20 {
        world.dial(tls::client(), None);
    }
    world.turn_every(Duration::from_millis(5), 10);
    // Nothing more is heard of those who wait.
    world.cut = true;
    world.turn_every(Duration::from_millis(5), 900);
    let metrics = world.nodes[SERVER].driver.metrics();
    let (served, expired) = (metrics.handshakes_accepted, metrics.drops.admission_expired);
    assert!((4..=6).contains(&served), "one in a second: {served}");
    assert_eq!(served + expired, 20);
    // Who comes now finds no line.
    (world.cut, world.is_behind) = (false, false);
    let late = world.dial(tls::client(), None);
    world.run_for(Duration::from_millis(200));
    assert!(world.nodes[CLIENT].app.is_connected(late));
}

#[test]
fn few_handshakes_are_begun_per_turn() {
    let core = CoreSettings { handshakes_per_turn: 1, ..CoreSettings::default() };
    let mut world = world(Admission::default(), core);
    for _ in 0..8 {
        world.dial(tls::client(), None);
    }
    let mut before = 0;
    while before < 8 {
        assert!(world.step());
        let accepted = world.nodes[SERVER].driver.metrics().handshakes_accepted;
        assert!(accepted <= before + 1, "{accepted} after {before}");
        before = accepted;
    }
}

#[test]
fn full_core_refuses() {
    let core = CoreSettings { connections_max: 2, ..CoreSettings::default() };
    let mut world = world(Admission::default(), core);
    let conns: Vec<_> = (0..3).map(|_| world.dial(tls::client(), None)).collect();
    world.run_for(Duration::from_millis(500));
    let app = &world.nodes[CLIENT].app;
    assert_eq!(conns.iter().filter(|conn| app.is_connected(**conn)).count(), 2);
    assert_eq!(conns.iter().filter(|conn| app.reason(**conn) == Some(&CloseReason::Refused)).count(), 1);
}

#[test]
fn node_without_server_settings_takes_no_connections() {
    let mut world = world(Admission::default(), CoreSettings::default());
    world.restart(SERVER, None);
    let conn = world.dial(tls::client(), None);
    world.run_for(Duration::from_secs(2));
    assert!(!world.nodes[CLIENT].app.is_connected(conn));
    assert_eq!(world.nodes[SERVER].driver.connections(), 0);
}

fn limited(newcomers: NewcomerLimits) -> World {
    let server = ServerSettings { newcomers, ..tls::server() };
    World::with(1, Faults::NONE, server, CoreSettings::default())
}

#[test]
fn handshake_that_is_never_finished_ends_after_its_time_and_gives_its_place_back() {
    let mut world = limited(NewcomerLimits::default());
    world.dial(tls::client(), None);
    world.run_until("begun", |world| world.nodes[SERVER].driver.metrics().handshakes_accepted == 1);
    world.cut = true;
    world.turn_every(Duration::from_millis(100), 99);
    let metrics = |world: &World| world.nodes[SERVER].driver.metrics().clone();
    assert_eq!((metrics(&world).handshakes_expired, world.nodes[SERVER].driver.connections()), (0, 1));
    world.turn_every(Duration::from_millis(100), 200);
    assert_eq!((metrics(&world).handshakes_expired, metrics(&world).handshakes_failed), (1, 1));
    assert_eq!(world.nodes[SERVER].driver.connections(), 0);
}

#[test]
fn address_with_as_many_connections_as_it_may_have_is_refused_until_one_ends() {
    let mut world = limited(NewcomerLimits { connections_per_prefix: 4, ..NewcomerLimits::default() });
    let conns: Vec<_> = (0..6).map(|_| world.dial(tls::client(), None)).collect();
    world.run_for(Duration::from_secs(2));
    let connected =
        |world: &World| conns.iter().filter(|conn| world.nodes[CLIENT].app.is_connected(**conn)).count();
    assert_eq!(connected(&world), 4);
    let metrics = world.nodes[SERVER].driver.metrics();
    assert_eq!((metrics.drops.prefix_connections, metrics.handshakes_refused), (2, 2));
    assert!(metrics.handshakes_retried >= 2, "from half of the bound on they prove their address");
    let refused = |conn: &&_| world.nodes[CLIENT].app.reason(**conn) == Some(&CloseReason::Refused);
    assert_eq!(conns.iter().filter(refused).count(), 2);
    let ended = *conns.iter().find(|conn| world.nodes[CLIENT].app.is_connected(**conn)).unwrap();
    world.io(CLIENT, |_, io| io.close(ended, 0, b""));
    world.run_for(Duration::from_secs(5));
    let late = world.dial(tls::client(), None);
    world.run_for(Duration::from_secs(1));
    assert!(world.nodes[CLIENT].app.is_connected(late));
}

#[test]
fn network_without_bounds_is_not_counted() {
    let mut world = limited(NewcomerLimits {
        connections_per_prefix: 2,
        unbounded: vec!["10.0.0.0/8".parse().unwrap()],
        ..NewcomerLimits::default()
    });
    let conns: Vec<_> = (0..6).map(|_| world.dial(tls::client(), None)).collect();
    world.run_for(Duration::from_secs(2));
    assert!(conns.iter().all(|conn| world.nodes[CLIENT].app.is_connected(*conn)));
}

#[test]
fn those_who_leave_and_come_give_way_to_those_who_stay() {
    let admission = Admission { handshakes_per_second: 10_000, burst: 1_000 };
    let mut world = world(admission, CoreSettings { handshakes_per_turn: 8, ..CoreSettings::default() });
    let leaving: Vec<_> = (0..100).map(|_| world.dial(tls::client(), None)).collect();
    let staying = world.connect();
    world.run_for(Duration::from_secs(2));
    assert!(leaving.iter().all(|conn| world.nodes[CLIENT].app.is_connected(*conn)));
    for conn in leaving {
        world.io(CLIENT, |_, io| io.close(conn, 0, b""));
    }
    for _ in 0..20 {
        world.dial(tls::client(), None);
    }
    let key = world.io(CLIENT, |app, io| {
        let key = (staying, io.open_bi(staying).unwrap());
        app.send(io, key, b"in time", true);
        key
    });
    world.step();
    world.deliver();
    // All has arrived, and the server takes one turn.
    let (now, server) = (world.now, &mut world.nodes[SERVER]);
    server.driver.begin_turn(now, &mut server.net, false);
    let heard = server.app.received.len();
    while server.driver.dispatch_next(now, &mut server.net, &mut server.app) {}
    assert_eq!((server.app.received.len(), server.app.closed.len()), (heard + 1, 0));
    while server.driver.dispatch_aside(now, &mut server.net, &mut server.app) {}
    assert_eq!(server.app.closed.len(), 100);
    world.run_until("echo", |world| world.nodes[CLIENT].app.ended.contains_key(&key));
}
