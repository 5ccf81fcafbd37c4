//! Links form, whichever side finds the other.

use millrace_proto::feature::{self, Features};
use millrace_proto::mesh::{LinkFrame, MeshFrame, PeerHello};
use millrace_proto::{CloseCode, Incarnation, RouterId};

use super::cluster::{Cluster, ms};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::control::{Control, ControlConfig, ControlOutput, Notice, PeerState, Trouble};
use crate::message::ToControl;
use crate::time::Time;
use crate::transport::ConnKey;

#[test]
fn a_link_forms_whichever_side_has_the_seed() {
    for (first, second) in [(vec!["r1:1"], vec![]), (vec![], vec!["r0:1"]), (vec!["r1:1"], vec!["r0:1"])] {
        for seed in 0..20 {
            let mut cluster = Cluster::new(seed);
            cluster.add(1, 1, &first);
            cluster.add(2, 1, &second);
            cluster.run(ms(3000));
            cluster.check_converged();
            assert_eq!(cluster.lanes_of(0).len(), 1);
            assert_eq!(cluster.routers[0].alternates, ["r1:1"]);
            let gaps: usize = cluster.routers.iter().map(|router| router.gaps.len()).sum();
            assert_eq!(gaps, 0, "nothing was lost");
        }
    }
}

#[test]
fn a_router_that_is_refused_waits_for_who_will_dial_it_before_publishers_get_credit() {
    for (seed, closes_overtake) in (0..20).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut cluster = Cluster::new(seed);
        cluster.closes_overtake = closes_overtake;
        cluster.add(1, 2, &[]);
        cluster.subscribe(0, 0, "a=1");
        cluster.run(ms(100));
        let larger = cluster.add(2, 2, &["r0:1"]);
        while !cluster.routers[larger].control.status().synced {
            cluster.run(ms(1));
        }
        assert_eq!(cluster.state(larger, 0), Some(PeerState::Linked), "seed {seed}, {closes_overtake}");
        assert!(!cluster.routers[larger].control.status().join_timed_out);
    }
}

#[test]
fn each_owner_has_its_lane_between_the_right_cores() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed);
        cluster.add(1, 2, &["r1:1"]);
        cluster.add(2, 3, &[]);
        cluster.run(ms(1000));
        cluster.check_converged();
        let mut cores: Vec<_> = cluster.lanes_of(0).into_iter().map(|(_, core, _)| core).collect();
        cores.sort_unstable();
        assert_eq!(cores, [0, 0, 1]);
        for (router, owners) in [(0, 2), (1, 3)] {
            let mut outgoing = cluster.routers[router].outgoing.clone();
            outgoing.sort_unstable();
            assert_eq!(outgoing, (0..owners).map(|core| (core, core)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_peers_status_says_what_both_sides_can_read() {
    let mut cluster = Cluster::new(1);
    let both = Features::default().with(feature::NAMES);
    cluster.add_with(1, 1, &["r1:1"], |config| config.features = both.with(feature::GROUPS));
    cluster.add_with(2, 1, &[], |config| config.features = both.with(feature::RULES));
    let old = cluster.add_with(3, 1, &["r1:1"], |config| config.features = Features::default());
    cluster.run(ms(3000));
    cluster.check_converged();
    assert_eq!(cluster.peer(0, 1).unwrap().features, both);
    assert_eq!(cluster.peer(1, 0).unwrap().features, both);
    assert_eq!(cluster.peer(1, old).unwrap().features, Features::default());
}

#[test]
fn a_router_recognises_itself_behind_a_virtual_address_and_looks_again_for_others() {
    let mut cluster = Cluster::new(1);
    cluster.alias("virtual:1", 0);
    let router = cluster.add(1, 1, &["virtual:1", "r0:1"]);
    cluster.run(ms(5_000));
    let control = &cluster.routers[router].control;
    assert_eq!(control.metrics().own_address, 1);
    let status = control.status();
    assert!(status.peers.is_empty() && status.ready() && !status.join_timed_out);
    assert_eq!(status.unanswered, 1, "who else is behind it is not known");
    let other = cluster.add(2, 1, &[]);
    cluster.alias("virtual:1", other);
    cluster.run(ms(10_000));
    assert_eq!(cluster.state(router, other), Some(PeerState::Linked));
    assert_eq!(cluster.routers[router].control.status().unanswered, 0);
}

#[test]
fn an_address_of_this_host_is_dialled_once() {
    let config = ControlConfig::new(RouterId(1), Incarnation(1), "me:1".to_owned(), 1);
    let mut control = Control::new(config, Time::ZERO);
    control.set_seeds(Time::ZERO, vec!["10.0.0.1:1".to_owned()]);
    let dial = std::iter::from_fn(|| control.poll_output()).find_map(|output| match output {
        ControlOutput::Dial { dial, .. } => Some(dial),
        ControlOutput::ToCore { .. } => None,
    });
    control.dial_leads_home(Time::ZERO, dial.unwrap());
    for second in 1..100 {
        control.handle_timeout(Time::ZERO + ms(1000 * second));
    }
    assert_eq!((control.metrics().dials, control.metrics().own_address), (1, 1));
    let status = control.status();
    assert!(status.ready() && status.unanswered == 0 && status.trouble.is_none());
}

#[test]
fn two_clusters_behind_one_virtual_address_find_each_other() {
    let mut cluster = Cluster::new(1);
    for (id, seed) in [(1, "r1:1"), (2, "r0:1"), (3, "r3:1"), (4, "r2:1")] {
        cluster.add(id, 1, &[seed, "virtual:1"]);
    }
    cluster.alias("virtual:1", 1);
    cluster.run(ms(5_000));
    assert_eq!(
        cluster.state(0, 2),
        Some(PeerState::Linked),
        "the address leads to one of the others for all"
    );
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &["r1:1", "virtual:1"]);
    cluster.add(2, 1, &[]);
    cluster.alias("virtual:1", 1);
    cluster.run(ms(5_000));
    cluster.add(3, 1, &[]);
    cluster.alias("virtual:1", 2);
    cluster.run(ms(70_000));
    assert_eq!(cluster.state(0, 2), Some(PeerState::Linked), "it is asked again although it has answered");
    cluster.check_converged();
    assert!(cluster.routers.iter().all(|router| router.gaps.is_empty()), "and nothing is lost by that");
}

#[test]
fn two_addresses_of_one_router_lead_to_one_link_and_no_gap() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(seed);
        cluster.alias("v4:1", 1);
        cluster.alias("v6:1", 1);
        cluster.add(1, 2, &["v4:1", "v6:1"]);
        cluster.add(2, 2, &[]);
        cluster.subscribe(0, 0, "a=1");
        cluster.subscribe(1, 0, "a=1");
        cluster.run(ms(3000));
        cluster.check_converged();
        for router in &cluster.routers {
            assert_eq!(router.gaps, [], "seed {seed}");
        }
        assert_eq!(cluster.lanes_of(0).len(), 2);
    }
}

#[test]
fn routers_learn_of_each_other_from_a_common_peer() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed);
        for (id, seeds) in [(3, vec![]), (1, vec!["r0:1"]), (4, vec!["r0:1"]), (2, vec!["r2:1"])] {
            let router = cluster.add(id, 1, &seeds);
            cluster.subscribe(router, 0, &format!("id={id}"));
        }
        cluster.run(ms(5000));
        cluster.check_converged();
        assert!(cluster.routers.iter().all(|router| router.control.status().ready()));
    }
}

#[test]
fn without_seeds_a_router_is_synced_at_once_and_with_a_dead_one_after_the_first_attempt() {
    let mut cluster = Cluster::new(1);
    let alone = cluster.add(1, 1, &[]);
    let hopeful = cluster.add(2, 1, &["nobody:1"]);
    assert!(cluster.routers[alone].control.status().synced);
    assert!(!cluster.routers[hopeful].control.status().synced);
    cluster.run(ms(500));
    assert!(cluster.routers[hopeful].synced.is_some());
}

#[test]
fn a_router_whose_interest_does_not_come_delays_synced_until_the_timeout() {
    let mut cluster = Cluster::new(1);
    cluster.filter =
        Box::new(|from, frame| !(from == 0 && matches!(frame, MeshFrame::Link(LinkFrame::Interest(_)))));
    cluster.add(2, 1, &[]);
    cluster.add(1, 1, &["r0:1"]);
    cluster.run(ms(1900));
    assert_eq!(cluster.routers[1].synced, None);
    cluster.run(ms(200));
    let status = cluster.routers[1].control.status();
    assert!(status.synced && status.join_timed_out);
}

#[test]
fn a_router_that_starts_while_another_leaves_is_synced_with_the_interest_of_that_one() {
    for is_told in [true, false] {
        let mut cluster = Cluster::new(1);
        cluster.filter = Box::new(move |from, frame| {
            is_told || !(from == 0 && matches!(frame, MeshFrame::Link(LinkFrame::Interest(_))))
        });
        cluster.add(2, 1, &[]);
        cluster.subscribe(0, 0, "a=1");
        cluster.run(ms(500));
        cluster.routers[0].control.drain(cluster.now, ms(60_000));
        cluster.drain_outputs(0);
        cluster.add(1, 1, &["r0:1"]);
        cluster.run(ms(1900));
        assert_eq!(cluster.routers[1].synced.is_some(), is_told);
        cluster.run(ms(200));
        let status = cluster.routers[1].control.status();
        assert!(status.synced && status.join_timed_out != is_told);
    }
}

fn stranger(change: impl FnOnce(&mut PeerHello)) -> PeerHello {
    let mut hello = PeerHello {
        version: 1,
        router: RouterId(1),
        incarnation: Incarnation(7),
        cores: 2,
        epoch: 1,
        advertise: "r9:1".to_owned(),
        ..PeerHello::default()
    };
    change(&mut hello);
    hello
}

#[test]
fn hellos_that_make_no_sense_are_refused_with_their_reason() {
    let mut cluster = Cluster::new(1);
    let router = cluster.add(5, 2, &[]);
    let hellos = [
        (stranger(|hello| hello.version = 2), CloseCode::Version),
        (stranger(|hello| hello.router = RouterId(5)), CloseCode::MyOwnAddress),
        (stranger(|hello| hello.cores = 0), CloseCode::Limit),
        (stranger(|hello| hello.cores = 257), CloseCode::Limit),
        (stranger(|hello| hello.advertise.clear()), CloseCode::Limit),
        (stranger(|hello| hello.advertise = "x".repeat(1000)), CloseCode::Limit),
        (stranger(|hello| hello.epoch = 0), CloseCode::Malformed),
        (stranger(|hello| hello.lane = 1), CloseCode::Unexpected),
        (stranger(|hello| hello.router = RouterId(9)), CloseCode::Replaced),
    ];
    for (number, (hello, code)) in (1..).zip(hellos) {
        let conn = ConnKey(number * 1_000_000);
        cluster.tell(router, 0, ToControl::LaneHello { conn, dial: None, hello });
        cluster.run(ms(10));
        assert_eq!(cluster.routers[router].refused.pop(), Some(code));
    }
    assert!(cluster.routers[router].control.status().peers.iter().all(|peer| peer.lanes == 0));
    assert_eq!(cluster.routers[router].control.metrics().lanes_accepted, 0);
}

#[test]
fn the_table_of_peers_is_bounded() {
    let mut cluster = Cluster::new(1);
    let router = cluster.add(u64::MAX, 1, &[]);
    for id in 1..=300 {
        let hello = stranger(|hello| {
            hello.router = RouterId(id);
            hello.advertise = format!("x{id}:1");
        });
        cluster.tell(router, 0, ToControl::LaneHello { conn: ConnKey(id * 1000), dial: None, hello });
    }
    let control = &cluster.routers[router].control;
    assert_eq!(control.status().peers.len(), crate::control::PEERS_MAX);
    assert_eq!(control.metrics().peers_refused, 300 - crate::control::PEERS_MAX as u64);
}

/// As pods start behind one name: each has an address of its own besides the name that it
/// advertises, knows the addresses of all, and is there some time after the others begin to dial
/// it.
fn pods(seed: u64, delay_max_us: u64) -> Cluster {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut cluster = Cluster::new(seed);
    cluster.delay_max_us = delay_max_us;
    cluster.is_silent = rng.random();
    let seeds = ["ip0:1", "ip1:1", "ip2:1"];
    for (place, address) in seeds.iter().enumerate() {
        cluster.alias(address, place);
    }
    for _ in 0..seeds.len() {
        cluster.add(rng.random(), rng.random_range(1..4), &[]);
    }
    for place in 0..seeds.len() {
        cluster.crash(place);
    }
    for place in 0..seeds.len() {
        cluster.run(ms(rng.random_range(0..400)));
        cluster.routers[place].seeds = seeds.map(str::to_owned).to_vec();
        cluster.restart(place);
    }
    cluster
}

#[test]
fn pods_that_start_together_are_linked_soon_and_stay_so() {
    for seed in 0..200 {
        let mut cluster = pods(seed, 5_000);
        cluster.run(ms(8_000));
        cluster.check_converged();
        for router in &cluster.routers {
            let ill = |notice: &&Notice| matches!(notice, Notice::Suspect { .. } | Notice::Degraded(Some(_)));
            assert_eq!(router.said.iter().find(ill), None, "seed {seed}");
        }
    }
}

#[test]
fn pods_that_start_together_on_slow_machines_are_linked_in_the_end() {
    for seed in 0..70 {
        for delay_max_us in [30_000, 150_000, 400_000] {
            let mut cluster = pods(seed, delay_max_us);
            cluster.run(ms(20_000));
            cluster.check_converged();
        }
    }
}

#[test]
fn a_router_that_nobody_reaches_is_linked_with_all_lanes() {
    for cores in [(1, 2), (2, 1), (2, 2), (3, 2)] {
        let mut cluster = Cluster::new(1);
        cluster.add(1, cores.0, &[]);
        cluster.add_with(3, cores.1, &["r0:1"], |config| "nowhere:1".clone_into(&mut config.advertise));
        cluster.run(ms(15_000));
        cluster.check_converged();
    }
}

#[test]
fn a_router_that_was_not_there_yet_is_dialled_when_it_calls() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 2, &["r1:1"]);
    cluster.add(2, 2, &["r0:1"]);
    cluster.crash(1);
    cluster.run(ms(10_000));
    assert!(cluster.routers[0].control.metrics().dials_failed > 0);
    cluster.restart(1);
    cluster.run(ms(8_000));
    cluster.check_converged();
    assert_eq!(cluster.routers[1].control.status().trouble, None, "its address is right");
}

#[test]
fn a_router_that_had_to_call_is_at_peace_once_its_address_is_reached() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 2, &["r1:1"]);
    cluster.alias("r1:1", usize::MAX);
    cluster.add(2, 2, &["r0:1"]);
    cluster.alias("r1:1", usize::MAX);
    cluster.run(ms(15_000));
    cluster.check_converged();
    assert_eq!(cluster.routers[1].control.status().trouble, Some(Trouble::Unreached));
    cluster.alias("r1:1", 1);
    cluster.run(ms(8_000));
    assert_eq!(cluster.routers[1].control.status().trouble, None, "it is dialled again all the time");
    assert!(cluster.routers.iter().all(|router| router.gaps.is_empty()), "and keeps its link");
}
