//! When who asks for the past is told that the subscription is effective: an event that is
//! published from then on is live, so that its publisher hears that it has come.

use millrace_proto::control::{ControlFrame, Stage};

use super::confirms::ROUTED;
use super::far_cluster::Cluster;
use super::far_replays::die_after;
use super::replays::{Random, Router, asks, asks_as, said, seqs, since};
use super::world::{World, tag_of};
use crate::transport::ConnKey;

/// Whether a client was told that its subscription is effective in the cluster.
fn is_told(world: &World, conn: ConnKey) -> bool {
    let is_cluster = |frame: &ControlFrame| match frame {
        ControlFrame::Subscribed(said) => said.stage == Stage::Cluster,
        _ => false,
    };
    world.control_frames(conn).iter().any(is_cluster)
}

#[test]
fn what_is_published_once_a_receiver_was_told_is_confirmed_though_it_catches_up() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut router = Router::new();
        let publisher = router.0[0].confirming(1, 0);
        let tags = [tag_of(0, 2), tag_of(1, 2)];
        let mut seq = 0;
        for _ in 0..random.below(20) {
            router.0[0].publish_with(publisher, &tags[(seq % 2) as usize], seq, &["past"], 0);
            seq += 1;
        }
        let receiver = asks(&mut router.0[1], random.below(2), 1 << 20, since("*"));
        let first = 20 + seq;
        let mut next = first;
        for _ in 0..200 {
            match random.below(6) {
                0 => drop(router.carry(0)),
                1 => drop(router.carry(1)),
                2 => router.0[0].turns(1),
                3 => router.0[1].turns(1),
                _ if is_told(&router.0[1], receiver) => {
                    let tags = &tags[usize::from(random.below(2) == 1)];
                    router.0[0].publish_with(publisher, tags, next, &["live"], ROUTED);
                    next += 1;
                }
                _ => {}
            }
        }
        router.settle();
        assert!(next > first, "seed {seed}: it was told");
        let heard = router.0[0].told(publisher);
        let not_confirmed = heard.iter().find(|heard| !heard.starts_with("confirmed"));
        assert_eq!(not_confirmed, None, "seed {seed}");
        assert!(!heard.is_empty(), "seed {seed}");
    }
}

#[test]
fn who_asks_for_the_past_is_told_when_the_owners_of_all_routers_have_answered() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    (0..300).for_each(|seq| cluster.publish_far(seq, &"x".repeat(1000)));
    cluster.settle();
    // No grant: nothing can be replayed yet.
    let receiver = asks(&mut cluster.near[1], 1, 0, since("*"));
    for _ in 0..10 {
        while cluster.carry(0) | cluster.carry(1) {}
        cluster.near.iter_mut().for_each(|world| world.turns(1));
    }
    assert!(!is_told(&cluster.near[1], receiver), "the far owner was not asked");
    cluster.settle();
    assert!(is_told(&cluster.near[1], receiver));
    let last = asks_as(&mut cluster.near[1], 78, 1, 0, since("nobody=x"));
    cluster.settle();
    assert!(is_told(&cluster.near[1], last));
}

#[test]
fn who_asks_for_the_past_is_told_though_an_owner_dies() {
    for carried in 0..6 {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        (0..20).for_each(|seq| cluster.publish_far(seq, "event"));
        cluster.settle();
        let receiver = asks(&mut cluster.near[1], 1, 1 << 20, since("*"));
        die_after(&mut cluster, carried);
        cluster.settle();
        assert!(is_told(&cluster.near[1], receiver), "carried {carried}");
    }
}

#[test]
fn what_a_replay_brings_in_place_of_a_live_run_is_not_confirmed() {
    let mut router = Router::new();
    let publisher = router.0[0].confirming(1, 0);
    let receiver = asks(&mut router.0[1], 0, 1 << 20, since("*"));
    router.0[1].turns(3);
    // It is on its way to the receiver's core when its owner is asked.
    assert!(!is_told(&router.0[1], receiver));
    router.0[0].publish_with(publisher, &tag_of(0, 2), 0, &["event"], ROUTED);
    while router.carry(1) {}
    router.0[0].turns(2);
    // Words are read before batches.
    while let Some(word) = router.0[0].core.next_to_sibling(1) {
        let now = router.0[1].now;
        router.0[1].core.sibling_told(now, 0, word);
    }
    router.0[1].turns(2);
    router.settle();
    assert_eq!(seqs(&said(&router.0[1], receiver), 0), [0]);
    assert_eq!(router.0[0].told(publisher), ["partial [0] 0/1 overflow"]);
}
