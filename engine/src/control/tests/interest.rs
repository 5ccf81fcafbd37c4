//! Interest reaches the peers, and what is acknowledged is true.

use std::sync::Arc;

use millrace_proto::control::Stage;
use millrace_proto::data::GapReason;
use millrace_proto::feature::{self, Features};
use millrace_proto::mesh::{Interest, InterestEntry, InterestKind, LinkFrame, Literal, MeshFrame, PeerHello};
use millrace_proto::{Incarnation, RouterId, Selector};

use super::cluster::{Cluster, ms};
use crate::control::ControlOutput;
use crate::message::{PrepareOrder, ToControl, ToCore, Token};
use crate::transport::ConnKey;

fn pair(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(seed);
    cluster.add(1, 2, &["r1:1"]);
    cluster.add(2, 3, &[]);
    cluster.run(ms(1000));
    cluster
}

#[test]
fn a_subscription_is_acknowledged_on_the_router_and_then_in_the_cluster() {
    for seed in 0..20 {
        let mut cluster = pair(seed);
        let token = cluster.subscribe(0, 1, "a=1");
        let again = cluster.subscribe(0, 0, "a=1");
        cluster.run(ms(500));
        cluster.check_converged();
        for token in [token, again] {
            assert_eq!(cluster.routers[0].told(token, Stage::Router), Some(&[][..]));
            assert_eq!(cluster.routers[0].told(token, Stage::Cluster), Some(&[][..]));
        }
    }
}

#[test]
fn a_selector_that_comes_and_goes_at_once_holds_no_later_subscription_up() {
    for (seed, cores) in (0..20).flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let mut cluster = Cluster::new(seed);
        cluster.add(1, cores, &["r1:1"]);
        cluster.add(2, 1, &[]);
        cluster.subscribe(0, 0, "known=1");
        cluster.run(ms(1000));
        // The first change opens a batch, so that the others wait for its end.
        cluster.subscribe(0, 0, "a=1");
        cluster.run(ms(6));
        let gone = cluster.subscribe(0, 0, "b=1");
        cluster.unsubscribe(0, 0, "b=1");
        let behind = cluster.subscribe(0, 0, "known=1");
        cluster.run(ms(500));
        for token in [gone, behind] {
            assert_eq!(cluster.routers[0].told(token, Stage::Cluster), Some(&[][..]), "seed {seed}");
        }
        assert_eq!(cluster.routers[0].control.status().waiting, 0);
    }
}

#[test]
fn interest_that_fits_for_a_moment_and_stays_coarse_holds_no_subscription_up() {
    let mut cluster = Cluster::new(1);
    cluster.add_with(1, 3, &["r1:1"], |config| config.interest_told_max = 4);
    cluster.add(2, 2, &[]);
    for number in 0..5 {
        cluster.subscribe(0, 0, &format!("a={number}"));
    }
    cluster.run(ms(1000));
    assert!(cluster.routers[0].control.status().coarse);
    let change = |cluster: &mut Cluster, add: &[&str], remove: &[&str], token| {
        let read = |texts: &[&str]| -> Vec<_> {
            texts.iter().map(|text| Arc::new(Selector::parse(text).unwrap())).collect()
        };
        let (add, remove) = (read(add), read(remove));
        cluster.tell(0, 0, ToControl::Interest { add, remove, token: Some(Token(token)) });
    };
    change(&mut cluster, &["b=0"], &[], 1001);
    change(&mut cluster, &[], &["a=0", "a=1", "a=2", "a=3"], 1002);
    change(&mut cluster, &["b=1", "b=2", "b=3"], &[], 1003);
    cluster.run(ms(1000));
    let router = &cluster.routers[0];
    assert!(router.control.status().coarse);
    for token in [1001, 1002, 1003] {
        assert_eq!(router.told(Token(token), Stage::Cluster), Some(&[][..]), "{token}");
    }
}

#[test]
fn alone_a_subscription_is_effective_in_the_cluster_as_soon_as_on_the_router() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 2, &[]);
    let token = cluster.subscribe(0, 0, "a=1");
    cluster.run(ms(100));
    assert_eq!(cluster.routers[0].told(token, Stage::Cluster), Some(&[][..]));
}

#[test]
fn an_acknowledgement_that_does_not_come_is_waited_for() {
    let mut cluster = pair(1);
    cluster.filter =
        Box::new(|from, frame| !(from == 1 && matches!(frame, MeshFrame::Link(LinkFrame::InterestAck(_)))));
    let token = cluster.subscribe(0, 0, "a=1");
    cluster.run(ms(2000));
    assert!(cluster.routers[0].told(token, Stage::Router).is_some());
    assert_eq!(cluster.routers[0].told(token, Stage::Cluster), None);
}

#[test]
fn a_lost_delta_is_caught_by_the_digest_and_repaired() {
    let mut cluster = pair(1);
    cluster.subscribe(0, 0, "a=1");
    cluster.run(ms(300));
    cluster.filter = Box::new(|_, frame| !matches!(frame, MeshFrame::Link(LinkFrame::Interest(_))));
    cluster.subscribe(0, 0, "a=2");
    cluster.unsubscribe(0, 0, "a=1");
    cluster.run(ms(100));
    cluster.filter = Box::new(|_, _| true);
    cluster.run(ms(4000));
    cluster.check_converged();
    assert!(cluster.routers[1].control.metrics().digests_mismatched > 0);
}

#[test]
fn a_delta_that_does_not_follow_is_not_applied() {
    let mut cluster = pair(1);
    cluster.filter = Box::new(|_, frame| !matches!(frame, MeshFrame::Link(LinkFrame::Interest(_))));
    cluster.subscribe(0, 0, "a=1");
    cluster.run(ms(50));
    cluster.filter = Box::new(|_, frame| !matches!(frame, MeshFrame::Link(LinkFrame::InterestDigest(_))));
    cluster.subscribe(0, 0, "a=2");
    cluster.run(ms(3000));
    cluster.check_converged();
    let metrics = cluster.routers[1].control.metrics();
    assert_eq!((metrics.deltas_out_of_order, metrics.digests_mismatched), (1, 0));
}

#[test]
fn a_copy_that_was_altered_on_the_way_is_caught_by_the_digest() {
    let mut cluster = pair(1);
    cluster.subscribe(0, 0, "a=1");
    cluster.run(ms(300));
    // A delta that the peer never sent, at the version that its next digest is about.
    let version = cluster.routers[0].control.status().interest_version;
    let (conn, core, _) = lane_zero(&cluster, 1);
    let add = vec![InterestEntry { number: 99, selector: "b=1".into(), ..InterestEntry::default() }];
    let frame = Interest { version: version + 1, from: version, add, ..Interest::default() };
    cluster.tell(1, core, ToControl::LinkFrame { conn, frame: LinkFrame::Interest(frame) });
    assert_eq!(cluster.peer(1, 0).map(|peer| peer.interest), Some(2));
    cluster.run(ms(4000));
    cluster.check_converged();
    assert!(cluster.routers[1].control.metrics().digests_mismatched > 0);
}

/// The lane of a router that carries control: the one its peer's frames of interest come on.
fn lane_zero(cluster: &Cluster, router: usize) -> (ConnKey, u16, usize) {
    cluster.lanes_of(router).into_iter().min_by_key(|lane| lane.0).unwrap()
}

#[test]
fn interest_that_cannot_be_read_is_ignored_without_a_mismatch() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &["r1:1"]);
    cluster.add(2, 1, &[]);
    cluster.run(ms(500));
    let (conn, core, _) = lane_zero(&cluster, 1);
    let entry = |number, kind, selector: &str| InterestEntry {
        number,
        kind,
        selector: selector.into(),
        ..InterestEntry::default()
    };
    let add = vec![
        entry(1, InterestKind::Plain, "a=(("),
        entry(2, InterestKind::Payload, "b=1"),
        entry(3, InterestKind::Group, "c=1"),
        entry(3, InterestKind::Plain, "d=1"),
    ];
    let version = cluster.peer(1, 0).unwrap().interest_version;
    let frame =
        Interest { version: version + 1, from: version, add, remove: vec![77], ..Interest::default() };
    cluster.tell(1, core, ToControl::LinkFrame { conn, frame: LinkFrame::Interest(frame) });
    let control = &cluster.routers[1].control;
    assert_eq!(control.metrics().interest_refused, 2);
    let texts: Vec<_> = control.directory_dump().map(|(_, text)| text.to_owned()).collect();
    assert_eq!(texts, ["b=1", "d=1"]);
}

#[test]
fn a_peer_that_tells_too_much_loses_its_link() {
    let mut cluster = Cluster::new(1);
    cluster.add_with(1, 1, &["r1:1"], |config| config.interest_per_peer_max = 10);
    cluster.add(2, 1, &[]);
    cluster.run(ms(500));
    for number in 0..11 {
        cluster.subscribe(1, 0, &format!("a={number}"));
    }
    cluster.run(ms(100));
    assert_eq!(cluster.routers[0].control.metrics().interest_overflows, 1);
    assert!(cluster.peer(0, 1).unwrap().interest <= 10);
}

#[test]
fn joining_a_router_that_already_routed_puts_a_gap_into_the_streams() {
    for (position, wants, gaps) in [(0, true, 0), (5, true, 1), (5, false, 0)] {
        let mut cluster = Cluster::new(1);
        cluster.add(1, 1, &[]);
        cluster.routers[0].positions[0] = position;
        cluster.run(ms(500));
        cluster.add(2, 1, &["r0:1"]);
        if wants {
            cluster.subscribe(1, 0, "a=1");
        }
        cluster.run(ms(2000));
        cluster.check_converged();
        let expected = vec![(GapReason::Joined, RouterId(1)); gaps];
        assert_eq!(cluster.routers[1].gaps, expected, "position {position}");
        assert_eq!(cluster.routers[0].gaps, []);
    }
}

#[test]
fn selectors_are_prepared_or_refused_with_the_column() {
    let mut cluster = Cluster::new(1);
    cluster.add(1, 1, &[]);
    for text in ["a=1", "a in ("] {
        let selectors = vec![text.to_owned()];
        cluster.prepare(
            0,
            0,
            &PrepareOrder { token: Token(1), client: ConnKey(1), selectors, allowed: None },
        );
    }
    cluster.run(ms(100));
    let prepared = &cluster.routers[0].prepared;
    assert_eq!(prepared[0], Ok(1));
    assert!(prepared[1].as_ref().is_err_and(|error| error.contains("a in (") && error.contains("column")));
}

#[test]
fn many_changes_at_once_make_few_versions() {
    let mut cluster = pair(1);
    let before = cluster.routers[0].control.metrics().directory_versions;
    for number in 0..2000 {
        cluster.subscribe(0, 0, &format!("a={number}"));
    }
    cluster.run(ms(500));
    cluster.check_converged();
    assert!(cluster.routers[0].control.metrics().directory_versions - before < 10);
    assert!(cluster.routers[0].control.metrics().deltas_sent < 10);
}

/// What a router of features `own` tells a peer of `features` of its interest in a pattern.
fn told_to(own: Features, features: Features) -> (Vec<InterestEntry>, u64) {
    let mut cluster = Cluster::new(1);
    let router = cluster.add_with(5, 1, &[], |config| config.features = own);
    let now = cluster.now;
    let control = &mut cluster.routers[router].control;
    let selector = Arc::new(Selector::parse("a=1,payload ~ /RAID STATUS/").unwrap().interest());
    control.handle(now, 0, ToControl::Interest { add: vec![selector], remove: Vec::new(), token: None });
    let hello = PeerHello {
        version: 1,
        router: RouterId(1),
        incarnation: Incarnation(7),
        cores: 1,
        epoch: 1,
        advertise: "r9:1".to_owned(),
        features,
        ..PeerHello::default()
    };
    control.handle(now, 0, ToControl::LaneHello { conn: ConnKey(1_000_000), dial: None, hello });
    let (mut entries, mut sum) = (Vec::new(), 0);
    while let Some(output) = control.poll_output() {
        let ControlOutput::ToCore { message: ToCore::LinkFrame { frame, .. }, .. } = output else { continue };
        match frame {
            LinkFrame::Interest(interest) => entries.extend(interest.add),
            LinkFrame::InterestDigest(digest) => sum = digest.sum,
            _ => {}
        }
    }
    (entries, sum)
}

#[test]
fn interest_is_plain_unless_both_sides_know_literals() {
    let (none, literals) = (Features::default(), Features::default().with(feature::LITERALS));
    let (new, new_sum) = told_to(literals, literals);
    let (old, old_sum) = told_to(literals, none);
    assert_eq!(told_to(none, literals), (old.clone(), old_sum));
    let literals = vec![Literal(b"RAID STATUS".to_vec())];
    assert_eq!((new[0].kind, &new[0].literals), (InterestKind::Payload, &literals));
    assert_eq!((old[0].kind, &*old[0].selector, old[0].literals.len()), (InterestKind::Plain, "a=1", 0));
    assert_ne!(new_sum, old_sum);
}
