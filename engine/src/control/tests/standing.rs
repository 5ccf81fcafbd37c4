//! How a router stands: when it has joined, what is wrong with its place, and what it says of that.

use millrace_proto::mesh::{KnownPeer, LinkFrame, PeerHello, Peers};
use millrace_proto::{CloseCode, Incarnation, RouterId};

use super::cluster::{Cluster, ms};
use crate::control::{Notice, PeerState, Suspicion, Trouble};
use crate::message::ToControl;
use crate::transport::ConnKey;

fn trouble(cluster: &Cluster, router: usize) -> Option<Trouble> {
    cluster.routers[router].control.status().trouble
}

#[test]
fn the_first_router_of_a_cluster_is_ready_at_once() {
    let mut cluster = Cluster::new(1);
    let first = cluster.add(1, 1, &[]);
    assert!(cluster.routers[first].control.status().ready());
    assert_eq!(cluster.routers[first].said, [Notice::Joined { linked: 0, others: 0, timed_out: false }]);
}

#[test]
fn a_router_waits_for_half_of_the_others_and_not_for_ever() {
    let mut cluster = Cluster::new(1);
    let seeds = ["r1:1", "dead:1", "dead:2", "dead:3"];
    let lonely = cluster.add(1, 1, &seeds);
    cluster.add(2, 1, &[]);
    cluster.run(ms(10_000));
    let status = cluster.routers[lonely].control.status();
    assert!(status.synced && !status.ready(), "its publishers get credit, and clients are not sent yet");
    assert_eq!((status.peers_needed, cluster.state(0, 1)), (2, Some(PeerState::Linked)));
    cluster.run(ms(21_000));
    assert!(cluster.routers[lonely].control.status().ready());
    let joined = Notice::Joined { linked: 1, others: 4, timed_out: true };
    assert!(cluster.routers[lonely].said.contains(&joined), "{:?}", cluster.routers[lonely].said);
}

#[test]
fn a_setting_says_how_many_routers_are_needed() {
    let mut cluster = Cluster::new(1);
    cluster.add_with(1, 1, &["r1:1"], |config| config.min_peers = Some(2));
    cluster.add(2, 1, &[]);
    cluster.run(ms(5_000));
    assert!(!cluster.routers[0].control.status().ready());
    cluster.add(3, 1, &["r1:1"]);
    cluster.run(ms(5_000));
    assert!(cluster.routers[0].control.status().ready());
}

#[test]
fn names_that_do_not_resolve_are_others_that_do_not_answer() {
    let mut cluster = Cluster::new(1);
    let router = cluster.add(1, 1, &[]);
    let mut cluster2 = Cluster::new(1);
    cluster2.add_with(1, 1, &["r1:1"], |_| {});
    cluster2.routers[0].control.set_found_seeds(cluster2.now, Vec::new(), 2);
    cluster2.drain_outputs(0);
    let status = cluster2.routers[0].control.status();
    assert!(status.unanswered >= 2 && !status.joined);
    assert!(cluster.routers[router].control.status().joined);
    cluster2.run(ms(31_000));
    let status = cluster2.routers[0].control.status();
    assert!(status.ready() && status.unanswered >= 2);
    assert_eq!(status.trouble, Some(Trouble::Alone));
}

#[test]
fn a_router_that_loses_all_others_stays_ready_and_says_so() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &["r1:1"]);
    cluster.add(2, 1, &[]);
    cluster.run(ms(2_000));
    assert!(cluster.routers[0].said.contains(&Notice::Linked(RouterId(2))));
    cluster.crash(1);
    cluster.run(ms(8_000));
    let status = cluster.routers[0].control.status();
    assert!(status.ready() && status.degraded);
    let said = &cluster.routers[0].said;
    assert!(said.contains(&Notice::Suspect { router: RouterId(2), cause: Suspicion::Silent }), "{said:?}");
    assert!(said.contains(&Notice::Degraded(Some(Trouble::Alone))), "{said:?}");
    cluster.restart(1);
    cluster.run(ms(10_000));
    assert_eq!(trouble(&cluster, 0), None);
    assert!(cluster.routers[0].said.contains(&Notice::Degraded(None)));
}

#[test]
fn a_router_whose_address_nobody_reaches_counts_that_against_itself() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &["r1:1"]);
    cluster.add(9, 1, &[]);
    let wrong =
        cluster.add_with(3, 1, &["r0:1", "r1:1"], |config| "nowhere:1".clone_into(&mut config.advertise));
    cluster.run(ms(30_000));
    for good in 0..2 {
        let status = cluster.routers[good].control.status();
        assert!(status.ready() && !status.degraded, "{:?}", status.trouble);
    }
    assert_eq!(trouble(&cluster, wrong), Some(Trouble::Unreached));
    assert_eq!(cluster.state(0, wrong), Some(PeerState::Linked), "1 has dialled in vain, and is called");
    assert!(cluster.routers[wrong].said.contains(&Notice::Degraded(Some(Trouble::Unreached))));
}

#[test]
fn a_seed_that_only_others_reach_is_this_routers_own_evidence() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &["r1:1"]);
    cluster.add(2, 1, &[]);
    cluster.add(3, 1, &["r1:1"]);
    cluster.run(ms(3_000));
    assert_eq!(cluster.state(0, 2), Some(PeerState::Linked));
    // The path between 1 and 3 breaks, and nothing else.
    for (conn, _, other) in cluster.lanes_of(0) {
        if other == 2 {
            cluster.cut(conn);
        }
    }
    cluster.alias("r2:1", usize::MAX);
    cluster.alias("r0:1", usize::MAX);
    cluster.run(ms(10_000));
    let status = cluster.routers[0].control.status();
    assert!(status.ready(), "it was ready, and another router's word is no reason to send clients away");
    assert_eq!(status.trouble, Some(Trouble::Unlinked));
    cluster.alias("r2:1", 2);
    cluster.alias("r0:1", 0);
    cluster.run(ms(70_000));
    assert_eq!(trouble(&cluster, 0), None);
}

/// Says lane 0's frames to router 0 as a peer with id 1, which must be the smaller one.
fn speak(cluster: &mut Cluster, frames: Vec<LinkFrame>) -> ConnKey {
    let conn = ConnKey(1 << 40);
    let hello = PeerHello {
        version: millrace_proto::PROTOCOL_VERSION,
        router: RouterId(1),
        incarnation: Incarnation(7),
        cores: 1,
        epoch: 1,
        advertise: "evil:1".to_owned(),
        ..PeerHello::default()
    };
    cluster.tell(0, 0, ToControl::LaneHello { conn, dial: None, hello });
    for frame in frames {
        cluster.tell(0, 0, ToControl::LinkFrame { conn, frame });
    }
    conn
}

fn known(range: std::ops::Range<u64>) -> LinkFrame {
    let peers = range
        .map(|id| KnownPeer {
            router: RouterId(id),
            advertise: format!("victim:{id}"),
            linked: true,
            ended: None,
        })
        .collect();
    LinkFrame::Peers(Peers { peers })
}

#[test]
fn what_one_peer_says_neither_degrades_nor_fills_the_table() {
    let mut cluster = Cluster::new(1);
    cluster.add(50, 1, &[]);
    speak(&mut cluster, vec![known(100..1100)]);
    let status = cluster.routers[0].control.status();
    assert_eq!(status.peers.len(), 1 + crate::control::INTRODUCED_MAX);
    cluster.run(ms(60_000));
    let control = &cluster.routers[0].control;
    assert!(control.status().ready() && !control.status().degraded);
    let dials = control.metrics().dials;
    assert!(dials < 14 * crate::control::INTRODUCED_MAX as u64, "{dials} dials in a minute");
}

#[test]
fn an_honest_address_is_tried_beside_a_false_one() {
    let mut cluster = Cluster::new(1);
    cluster.add(50, 1, &[]);
    let false_one =
        KnownPeer { router: RouterId(60), advertise: "victim:1".to_owned(), linked: true, ended: None };
    speak(&mut cluster, vec![LinkFrame::Peers(Peers { peers: vec![false_one] })]);
    cluster.add(60, 1, &[]);
    cluster.add(55, 1, &["r0:1", "r1:1"]);
    cluster.run(ms(20_000));
    assert_eq!(cluster.state(0, 1), Some(PeerState::Linked));
}

#[test]
fn another_process_with_this_id_is_told_and_makes_both_unready() {
    let mut cluster = Cluster::new(1);
    cluster.add(7, 1, &[]);
    cluster.add_with(7, 1, &["r0:1"], |config| config.incarnation = Incarnation(1));
    cluster.run(ms(5_000));
    for router in &cluster.routers {
        let status = router.control.status();
        assert!(!status.ready() && status.trouble == Some(Trouble::Twin));
        assert!(router.said.iter().any(|said| matches!(said, Notice::Twin { .. })));
    }
    assert!(cluster.routers[1].refused.contains(&CloseCode::MyOwnAddress));
    assert_eq!(cluster.routers[1].control.status().unanswered, 1);
    cluster.crash(0);
    cluster.run(ms(40_000));
    assert!(cluster.routers[1].control.status().ready());
}

#[test]
fn a_peer_that_claims_this_address_under_another_id_is_told_and_changes_no_readiness() {
    let mut cluster = Cluster::new(1);
    cluster.add_with(50, 1, &[], |config| "evil:1".clone_into(&mut config.advertise));
    speak(&mut cluster, Vec::new());
    let status = cluster.routers[0].control.status();
    assert!(status.ready() && status.trouble == Some(Trouble::Twin));
    assert!(status.peers.is_empty());
}

#[test]
fn whoever_proves_an_id_has_it_and_nobody_else() {
    let mut cluster = Cluster::new(1);
    cluster.add(50, 1, &[]);
    let hello = |incarnation| PeerHello {
        version: millrace_proto::PROTOCOL_VERSION,
        router: RouterId(1),
        incarnation: Incarnation(incarnation),
        cores: 1,
        epoch: 1000,
        advertise: "x:1".to_owned(),
        ..PeerHello::default()
    };
    let linked = |cluster: &Cluster| {
        let status = cluster.routers[0].control.status();
        status.peers.iter().find(|peer| peer.lanes_up > 0).and_then(|peer| peer.incarnation)
    };
    let unproven =
        |conn, life| ToControl::UnprovenHello { conn: ConnKey(conn), dial: None, hello: hello(life) };
    let proven = |conn, life| ToControl::LaneHello { conn: ConnKey(conn), dial: None, hello: hello(life) };
    cluster.tell(0, 0, unproven(1 << 40, 1));
    assert_eq!(linked(&cluster), Some(Incarnation(1)), "nobody proves this id");
    cluster.tell(0, 0, proven(2 << 40, 2));
    assert_eq!(linked(&cluster), Some(Incarnation(2)));
    cluster.tell(0, 0, unproven(3 << 40, 3));
    assert_eq!(linked(&cluster), Some(Incarnation(2)));
    let control = &cluster.routers[0].control;
    assert_eq!((control.metrics().impostors, control.status().ready()), (1, true));
    let own = PeerHello { router: RouterId(50), ..hello(9) };
    cluster.tell(0, 0, ToControl::UnprovenHello { conn: ConnKey(4 << 40), dial: None, hello: own });
    assert!(cluster.routers[0].control.status().ready(), "its own id, too, is taken by proof only");
}

#[test]
fn a_router_that_is_heard_and_does_not_hear_is_told_so() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &["r1:1"]);
    cluster.add(2, 1, &[]);
    cluster.run(ms(2_000));
    let (conn, core, _) = cluster.lanes_of(1)[0];
    cluster.tell(1, core, ToControl::LaneSilent { conn });
    cluster.run(ms(4_000));
    assert_eq!(cluster.state(0, 1), Some(PeerState::Suspect), "it hears from 2 that 2 hears nothing");
    let said = &cluster.routers[0].said;
    assert!(said.contains(&Notice::Suspect { router: RouterId(2), cause: Suspicion::Deaf }), "{said:?}");
    cluster.tell(1, core, ToControl::LaneHeard { conn });
    cluster.run(ms(1_000));
    cluster.check_converged();
    assert!(cluster.routers[0].said.contains(&Notice::Healed(RouterId(2))));
}

#[test]
fn a_lane_that_stays_silent_is_dialled_beside_itself() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 2, &["r1:1"]);
    cluster.add_with(2, 2, &[], |config| config.forget_after = ms(60_000));
    cluster.routers[0].config.forget_after = ms(60_000);
    cluster.run(ms(2_000));
    let dials = cluster.routers[0].control.metrics().dials;
    let (conn, core, _) = cluster.lanes_of(0)[1];
    cluster.tell(0, core, ToControl::LaneSilent { conn });
    cluster.run(ms(4_000));
    assert_eq!(cluster.routers[0].control.metrics().dials, dials, "a pause is waited out");
    cluster.run(ms(8_000));
    assert!(cluster.routers[0].control.metrics().dials > dials);
    cluster.check_converged();
}

#[test]
fn more_selectors_than_may_be_told_keep_the_mesh_linked() {
    let mut cluster = Cluster::new(1);
    cluster.add_with(1, 1, &["r1:1"], |config| config.interest_told_max = 3);
    cluster.add_with(2, 1, &[], |config| config.interest_per_peer_max = 4);
    for number in 0..6 {
        cluster.subscribe(0, 0, &format!("a={number}"));
        cluster.run(ms(100));
    }
    cluster.run(ms(2_000));
    assert_eq!(cluster.state(1, 0), Some(PeerState::Linked));
    assert_eq!(cluster.peer(1, 0).unwrap().interest, 2, "everything, and routers' own events");
    assert!(cluster.routers[0].control.status().coarse);
    assert!(cluster.routers[0].said.contains(&Notice::InterestOverflow(true)));
    for number in 1..6 {
        cluster.unsubscribe(0, 0, &format!("a={number}"));
    }
    cluster.run(ms(2_000));
    cluster.check_converged();
    assert!(cluster.routers[0].said.contains(&Notice::InterestOverflow(false)));
}

#[test]
fn nobody_tells_of_a_hidden_router_and_all_are_linked_with_it() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &["r1:1"]);
    cluster.add(2, 1, &[]);
    // The larger id calls, and the smaller one dials back.
    let hidden = cluster.add_with(9, 1, &["r1:1"], |config| config.hidden = true);
    cluster.run(ms(5_000));
    for router in [0, 1] {
        assert_eq!(cluster.state(router, hidden), Some(PeerState::Linked));
        let status = cluster.routers[router].control.status();
        let peer = status.peers.iter().find(|peer| peer.router == RouterId(9)).unwrap();
        assert!(peer.hidden && peer.reached_by == 0, "{peer:?}");
        assert_eq!(cluster.routers[router].alternates, [format!("r{}:1", 1 - router)]);
        assert_eq!(status.peers_needed, 1, "it counts for nobody");
    }
    assert!(cluster.routers[hidden].control.status().ready());
    cluster.crash(hidden);
    cluster.run(ms(8_000));
    assert_eq!((trouble(&cluster, 0), trouble(&cluster, 1)), (None, None));
    cluster.restart(hidden);
    cluster.run(ms(8_000));
    cluster.routers[hidden].control.set_hidden(cluster.now, false);
    cluster.drain_outputs(hidden);
    cluster.run(ms(1_000));
    assert_eq!(cluster.routers[0].alternates.len(), 2);
}

#[test]
fn a_route_leads_to_a_router_of_which_nobody_tells_and_holds_nobody_up() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &[]);
    cluster.add_with(2, 1, &[], |config| config.hidden = true);
    cluster.routers[0].control.set_routes(cluster.now, &["r1:1".to_owned(), "dead:1".to_owned()]);
    cluster.drain_outputs(0);
    cluster.run(ms(5_000));
    let status = cluster.routers[0].control.status();
    assert!(status.ready() && !status.degraded && status.peers[0].route, "{status:?}");
    assert_eq!(cluster.state(0, 1), Some(PeerState::Linked));
    cluster.routers[0].control.set_routes(cluster.now, &[]);
    cluster.drain_outputs(0);
    cluster.run(ms(5_000));
    assert_eq!(cluster.state(0, 1), Some(PeerState::Linked), "a link stays when its route is taken away");
    assert_eq!(cluster.routers[0].control.status().unanswered, 0);
}
