//! Lanes are lost, peers fall silent, leave, and come back.

use millrace_proto::control::Stage;
use millrace_proto::data::GapReason;
use millrace_proto::{RouterId, feature};

use super::cluster::{Cluster, ms};
use crate::control::{ControlConfig, PeerState};
use crate::message::ToControl;
use crate::time::Time;

fn pair(seed: u64, cores: u16) -> Cluster {
    let mut cluster = Cluster::new(seed);
    cluster.add(1, cores, &["r1:1"]);
    cluster.add(2, cores, &[]);
    cluster.subscribe(0, 0, "a=1");
    cluster.subscribe(1, 0, "b=1");
    cluster.run(ms(1000));
    cluster.check_converged();
    cluster
}

#[test]
fn a_lost_lane_is_a_gap_at_both_ends_and_is_dialled_again() {
    for seed in 0..10 {
        for lane in 0..3 {
            let mut cluster = pair(seed, 3);
            let (conn, _, _) = cluster.lanes_of(0)[lane];
            cluster.cut(conn);
            cluster.run(ms(2000));
            cluster.check_converged();
            assert_eq!(cluster.lanes_of(0).len(), 3);
            for (router, other) in [(0, 2), (1, 1)] {
                let gaps = &cluster.routers[router].gaps;
                assert!(gaps.contains(&(GapReason::RouterLost, RouterId(other))), "{gaps:?}");
            }
        }
    }
}

#[test]
fn a_lane_whose_successor_arrives_before_its_loss_is_noticed_is_declared_lost_first() {
    for seed in 0..10 {
        let mut cluster = pair(seed, 2);
        let (conn, core, _) = cluster.lanes_of(0)[0];
        let gone = ToControl::LaneClosed { conn, dial: None, orderly: false, code: None };
        cluster.tell(0, core, gone);
        cluster.run(ms(2000));
        cluster.check_converged();
        assert!(cluster.routers[1].gaps.contains(&(GapReason::RouterLost, RouterId(1))));
    }
}

#[test]
fn a_silent_peer_is_suspect_and_left_out_until_it_is_heard() {
    let mut cluster = pair(1, 2);
    let (conn, core, _) = cluster.lanes_of(0)[1];
    cluster.tell(0, core, ToControl::LaneSilent { conn });
    assert_eq!(cluster.state(0, 1), Some(PeerState::Suspect));
    let token = cluster.subscribe(0, 0, "c=1");
    cluster.run(ms(200));
    assert_eq!(cluster.routers[0].told(token, Stage::Cluster), Some(&[RouterId(2)][..]));
    assert_eq!(cluster.peer(0, 1).unwrap().interest, 1, "its interest stays");
    cluster.tell(0, core, ToControl::LaneHeard { conn });
    cluster.run(ms(200));
    cluster.check_converged();
    let metrics = cluster.routers[0].control.metrics();
    assert_eq!((metrics.suspects, metrics.recovered), (1, 1));
    assert_eq!(cluster.routers[0].gaps, []);
}

#[test]
fn a_peer_that_falls_silent_while_it_is_waited_for_is_left_out() {
    let mut cluster = pair(1, 1);
    cluster.crash(1);
    let token = cluster.subscribe(0, 0, "c=1");
    cluster.run(ms(500));
    assert_eq!(cluster.routers[0].told(token, Stage::Cluster), None);
    cluster.run(ms(1000));
    assert_eq!(cluster.routers[0].told(token, Stage::Cluster), Some(&[RouterId(2)][..]));
}

#[test]
fn a_router_that_cannot_reach_its_seeds_says_so_when_it_acknowledges() {
    let mut cluster = pair(1, 2);
    // The next life of 0 knows only an address, and whoever is there does not answer.
    cluster.crash(0);
    cluster.crash(1);
    cluster.restart(0);
    let token = cluster.subscribe(0, 0, "c=1");
    cluster.run(ms(500));
    assert!(cluster.routers[0].told(token, Stage::Router).is_some());
    cluster.run(ms(2000));
    assert_eq!(cluster.routers[0].told(token, Stage::Cluster), Some(&[][..]));
    assert_eq!(cluster.routers[0].unanswered, 1);
    cluster.restart(1);
    cluster.run(ms(2000));
    let token = cluster.subscribe(0, 0, "d=1");
    cluster.run(ms(500));
    assert_eq!(cluster.routers[0].told(token, Stage::Cluster), Some(&[][..]));
    assert_eq!(cluster.routers[0].unanswered, 0);
}

#[test]
fn a_crashed_peer_is_suspect_then_forgotten() {
    let mut cluster = pair(1, 2);
    cluster.crash(1);
    cluster.run(ms(4000));
    assert_eq!(cluster.state(0, 1), Some(PeerState::Suspect));
    assert_eq!(cluster.peer(0, 1).unwrap().interest, 1);
    assert!(cluster.routers[0].gaps.contains(&(GapReason::RouterLost, RouterId(2))));
    cluster.run(ms(4000));
    assert_eq!(cluster.state(0, 1), None);
    cluster.check_converged();
    assert_eq!(cluster.routers[0].control.metrics().forgotten, 1);
}

#[test]
fn a_peer_that_is_silent_for_too_long_is_forgotten_and_may_come_back() {
    let mut cluster = pair(1, 2);
    for (conn, core, _) in cluster.lanes_of(0) {
        cluster.tell(0, core, ToControl::LaneSilent { conn });
    }
    cluster.run(ms(4900));
    assert_eq!(cluster.state(0, 1), Some(PeerState::Suspect));
    cluster.run(ms(5000));
    cluster.check_converged();
    assert_eq!(cluster.routers[0].control.metrics().forgotten, 1);
}

#[test]
fn a_restarted_peer_is_a_gap_and_its_old_interest_goes() {
    for (crashed, pause) in [(0, 200), (1, 200), (0, 3500), (1, 3500), (0, 20_000), (1, 20_000)] {
        let mut cluster = pair(pause, 2);
        let (stays, lost) = (1 - crashed, RouterId(crashed as u64 + 1));
        // Only the side that stays may know where the other is.
        cluster.routers[crashed].seeds.clear();
        let address = format!("r{crashed}:1");
        cluster.routers[stays].control.set_seeds(cluster.now, vec![address]);
        cluster.drain_outputs(stays);
        cluster.crash(crashed);
        cluster.run(ms(pause));
        cluster.restart(crashed);
        cluster.subscribe(crashed, 1, "new=1");
        cluster.run(ms(12_000));
        cluster.check_converged();
        let gaps = &cluster.routers[stays].gaps;
        assert!(gaps.contains(&(GapReason::RouterLost, lost)), "{crashed} {pause}: {gaps:?}");
    }
}

#[test]
fn a_life_that_has_ended_is_known_to_all_to_its_next_one_and_to_those_who_come_later() {
    for (seed, pause, has_files) in (0..8)
        .flat_map(|seed| [(seed, 200, false), (seed, 9_000, false), (seed, 200, true), (seed, 9_000, true)])
    {
        let mut cluster = Cluster::new(seed);
        let keep = |config: &mut ControlConfig| {
            config.features = config.features.with(feature::HISTORY);
            if has_files {
                config.features = config.features.with(feature::FILES);
            }
        };
        for (id, seeds) in [(1, vec![]), (2, vec!["r0:1"]), (3, vec!["r0:1"])] {
            cluster.add_with(id, 2, &seeds, keep);
        }
        cluster.run(ms(2000));
        let ended = |cluster: &Cluster, router: usize| -> Vec<(RouterId, Time)> {
            cluster.routers[router].control.owners.ended.clone()
        };
        assert_eq!(ended(&cluster, 0), []);
        let crashed = cluster.now;
        cluster.crash(1);
        cluster.run(ms(pause));
        let late = (pause > 200).then(|| {
            let late = cluster.add_with(4, 1, &["r0:1"], keep);
            cluster.run(ms(2000));
            assert_eq!(ended(&cluster, late).len(), 1, "seed {seed}: it was told");
            late
        });
        cluster.restart(1);
        cluster.run(ms(4000));
        for router in [0, 1, 2].into_iter().chain(late) {
            let ended = ended(&cluster, router);
            if has_files {
                assert_eq!(ended, [], "seed {seed}: what files keep is there again");
            } else {
                let &[(of, at)] = &ended[..] else { panic!("seed {seed}, router {router}: {ended:?}") };
                assert!(of == RouterId(2) && at >= crashed && at < cluster.now, "seed {seed}: {at:?}");
            }
        }
    }
}

#[test]
fn a_draining_peer_is_used_until_its_lanes_end_and_then_forgotten_without_a_gap() {
    let mut cluster = pair(1, 2);
    cluster.routers[1].control.drain(cluster.now, ms(1000));
    cluster.drain_outputs(1);
    cluster.run(ms(100));
    assert_eq!(cluster.state(0, 1), Some(PeerState::Leaving));
    assert_eq!(cluster.peer(0, 1).unwrap().interest, 1);
    assert!(cluster.routers[0].alternates.is_empty());
    for (conn, core, _) in cluster.lanes_of(0) {
        cluster.tell(0, core, ToControl::LaneClosed { conn, dial: None, orderly: true, code: None });
    }
    assert_eq!(cluster.state(0, 1), None);
    let control = &cluster.routers[0].control;
    assert_eq!((control.metrics().lanes_lost, control.metrics().forgotten), (0, 1));
    assert_eq!(control.directory_dump().count(), 1);
}

#[test]
fn a_router_that_starts_while_another_drains_is_linked_with_it_and_told() {
    for (seed, drains, starts) in (0..10).flat_map(|seed| [(seed, 5, 7), (seed, 7, 5)]) {
        let mut cluster = Cluster::new(seed);
        cluster.add(drains, 2, &[]);
        cluster.subscribe(0, 0, "a=1");
        cluster.run(ms(500));
        cluster.routers[0].control.drain(cluster.now, ms(60_000));
        cluster.drain_outputs(0);
        cluster.add(starts, 3, &["r0:1"]);
        cluster.run(ms(3000));
        assert_eq!(cluster.state(1, 0), Some(PeerState::Leaving));
        assert_eq!(cluster.lanes_of(1).len(), 3);
        let token = cluster.subscribe(1, 0, "b=1");
        cluster.run(ms(1000));
        assert_eq!(cluster.routers[1].told(token, Stage::Cluster), Some(&[][..]));
        assert_eq!(cluster.routers[0].control.directory_dump().count(), 2);
        assert!(cluster.routers[1].control.status().synced);
    }
}

#[test]
fn a_router_that_knows_only_another_one_learns_of_a_draining_peer_before_it_is_synced() {
    for (seed, drains, starts) in (0..10).flat_map(|seed| [(seed, 5, 7), (seed, 7, 5)]) {
        let mut cluster = Cluster::new(seed);
        cluster.add(drains, 2, &[]);
        cluster.add(1, 1, &["r0:1"]);
        cluster.run(ms(500));
        cluster.routers[0].control.drain(cluster.now, ms(60_000));
        cluster.drain_outputs(0);
        cluster.run(ms(500));
        cluster.add(starts, 3, &["r1:1"]);
        let token = cluster.subscribe(2, 0, "b=1");
        while cluster.routers[2].told(token, Stage::Cluster).is_none() {
            cluster.run(ms(1));
        }
        assert_eq!(cluster.routers[2].told(token, Stage::Cluster), Some(&[][..]));
        assert_eq!(cluster.routers[0].control.directory_dump().count(), 1, "seed {seed}, {drains} drains");
    }
}

#[test]
fn a_peer_that_drained_before_it_was_linked_is_told_to_those_who_were_linked_before() {
    for (seed, drains) in (0..10).flat_map(|seed| [(seed, 1), (seed, 9)]) {
        let mut cluster = Cluster::new(seed);
        cluster.add(5, 1, &["r2:1"]);
        cluster.add(6, 1, &["r0:1"]);
        cluster.run(ms(500));
        cluster.add(drains, 2, &[]);
        cluster.run(ms(1));
        cluster.routers[2].control.drain(cluster.now, ms(60_000));
        cluster.drain_outputs(2);
        cluster.run(ms(5000));
        assert_eq!(cluster.state(0, 2), Some(PeerState::Leaving), "seed {seed}, {drains} drains");
        assert_eq!(cluster.state(1, 2), Some(PeerState::Leaving), "seed {seed}, {drains} drains");
        let token = cluster.subscribe(1, 0, "b=1");
        cluster.run(ms(1000));
        assert_eq!(cluster.routers[1].told(token, Stage::Cluster), Some(&[][..]));
        assert_eq!(cluster.routers[2].control.directory_dump().count(), 1);
    }
}

#[test]
fn a_draining_peer_that_is_gone_is_forgotten_by_all_at_once() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(seed);
        cluster.add(9, 2, &[]);
        for id in [1, 2, 3] {
            cluster.add(id, 1, &["r0:1"]);
        }
        cluster.run(ms(2000));
        cluster.routers[0].control.drain(cluster.now, ms(1000));
        cluster.drain_outputs(0);
        cluster.run(ms(500));
        let ends: Vec<_> = (1..4)
            .flat_map(|router| cluster.lanes_of(router).into_iter().map(move |lane| (router, lane)))
            .filter(|(_, (_, _, other))| *other == 0)
            .collect();
        cluster.crash(0);
        for (router, (conn, core, _)) in ends {
            cluster.tell(router, core, ToControl::LaneClosed { conn, dial: None, orderly: true, code: None });
            cluster.run(ms(3));
        }
        cluster.run(ms(300));
        for router in 1..4 {
            assert_eq!(cluster.state(router, 0), None, "seed {seed}: {router} still knows who left");
        }
    }
}
