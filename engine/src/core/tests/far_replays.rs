//! Receivers that ask for the past of another router: its owner's ring is read over the lane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{ControlFrame, Grant, SourcePosition, Subscribe, TableCapacity};
use millrace_proto::data::{GapReason, Source};
use millrace_proto::feature::{self, Features};
use millrace_proto::mesh::PeerHello;
use millrace_proto::{Incarnation, PROTOCOL_VERSION, RouterId, Selector, SubscriptionNumber};

use super::places::keeping;
use super::replays::{Random, Said, asks, said, seqs, since};
use super::world::{World, tag_of};
use crate::core::CoreConfig;
use crate::history::{FarOwner, FarOwners};
use crate::matching::{Index, Location, Taker};
use crate::message::{DialId, ToCore};
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

const LANE: ConnKey = ConnKey(9);
const FAR: RouterId = RouterId(5);
/// The far owner's number: none of the near router has it.
const FAR_OWNER: u16 = 2;

/// An owner of one router, and the two cores of another: the first has the lane, the second the
/// receiver.
struct Cluster {
    far: World,
    near: [World; 2],
    /// Bytes of each of the lane's streams that were carried, away from the far owner or towards
    /// it.
    carried: BTreeMap<(bool, StreamKey), usize>,
    /// Those that their reader knows; the far owner has opened the control stream itself.
    opened: BTreeSet<(bool, StreamKey)>,
}

fn everything_for(location: Location) -> ToCore {
    let mut index = Index::new(2);
    index.insert(&Arc::new(Selector::parse("*").unwrap()), Taker::new(location, None));
    ToCore::Directory { version: 1, index, prefilter: Arc::default(), joined: Vec::new() }
}

fn hello(router: RouterId, incarnation: Incarnation) -> PeerHello {
    let features = Features::default().with(feature::HISTORY);
    let lane = FAR_OWNER;
    PeerHello {
        version: PROTOCOL_VERSION,
        router,
        incarnation,
        lane,
        epoch: 1,
        features,
        ..PeerHello::default()
    }
}

fn accept(router: RouterId, is_far: bool, hello: Option<PeerHello>) -> ToCore {
    ToCore::AcceptLane {
        conn: LANE,
        peer: 0,
        router,
        lane: FAR_OWNER,
        epoch: 1,
        outgoing: is_far,
        incoming: !is_far,
        missed: false,
        lost: false,
        hello,
        tables: TableCapacity::LANE,
    }
}

fn far_source() -> Source {
    Source { router: FAR, incarnation: Incarnation(6), owner: FAR_OWNER }
}

impl Cluster {
    fn new() -> Self {
        let mut config = CoreConfig::new(FAR, Incarnation(6), FAR_OWNER, FAR_OWNER + 1);
        // The seed of the directories.
        config.seed = 2;
        config.limits.kept.history.bytes = 1 << 20;
        config.features = config.features.with(feature::HISTORY);
        let near = [keeping(0, 2), keeping(1, 2)];
        let mut cluster = Self {
            far: World::with(config),
            near,
            carried: BTreeMap::new(),
            opened: BTreeSet::from([(false, StreamKey(1))]),
        };
        for (core, world) in (0..).zip(&mut cluster.near) {
            world.core.handle_message(world.now, &mut world.memory, everything_for(Location::Core(1 - core)));
        }
        let Self { far, near: [first, _], .. } = &mut cluster;
        let dialled = ToCore::LaneDialled { dial: DialId(1), conn: LANE, hello: hello(FAR, Incarnation(6)) };
        far.core.handle_message(far.now, &mut far.memory, dialled);
        far.core.peer_connected(far.now, &mut far.memory, LANE);
        first.core.peer_connected(first.now, &mut first.memory, LANE);
        cluster.carry_lane(true, usize::MAX);
        let [first, _] = &mut cluster.near;
        let answer = accept(FAR, false, Some(hello(RouterId(1), Incarnation(2))));
        first.core.handle_message(first.now, &mut first.memory, answer);
        cluster.carry_lane(false, usize::MAX);
        let far = &mut cluster.far;
        far.core.handle_message(far.now, &mut far.memory, accept(RouterId(1), true, None));
        far.core.handle_message(far.now, &mut far.memory, everything_for(Location::Peer(0)));
        let owner = FarOwner { source: far_source(), core: 0, conn: LANE };
        cluster.tell_owners(FarOwners { owners: vec![owner], missing: Vec::new(), ended: Vec::new() });
        cluster.settle();
        cluster
    }

    fn tell_owners(&mut self, owners: FarOwners) {
        let owners = Arc::new(owners);
        for world in &mut self.near {
            let told = ToCore::FarOwners(Arc::clone(&owners));
            world.core.handle_message(world.now, &mut world.memory, told);
        }
    }

    /// Carries what one side of the lane has written on, up to so many bytes of each stream.
    fn carry_lane(&mut self, from_far: bool, most: usize) -> bool {
        let Self { far, near: [first, _], carried, opened } = self;
        let (from, to) = if from_far { (far, first) } else { (first, far) };
        let mut has_carried = false;
        let written: Vec<_> = from.memory.written.iter().filter(|((conn, _), _)| *conn == LANE).collect();
        for (&(conn, stream), bytes) in written {
            let done = carried.entry((from_far, stream)).or_default();
            let next = bytes.len().min(done.saturating_add(most));
            let more = &bytes[*done..next];
            let is_over = next == bytes.len() && from.memory.finished.contains(&(conn, stream));
            let ends = is_over && !to.memory.ended.contains(&(conn, stream));
            if more.is_empty() && !ends {
                continue;
            }
            *done = next;
            has_carried = true;
            to.memory.input.entry((conn, stream)).or_default().extend(more);
            if ends {
                to.memory.ended.insert((conn, stream));
            }
            if opened.insert((from_far, stream)) {
                to.core.stream_opened(to.now, &mut to.memory, conn, stream);
            }
            to.core.readable(to.now, &mut to.memory, conn, stream);
        }
        has_carried
    }

    /// Carries one word, or one batch, between the near cores.
    fn carry(&mut self, from: u16) -> bool {
        let (source, target) = (usize::from(from), usize::from(1 - from));
        if let Some(word) = self.near[source].core.next_to_sibling(1 - from) {
            let now = self.near[target].now;
            self.near[target].core.sibling_told(now, from, word);
            return true;
        }
        let Some(batch) = self.near[source].core.next_batch(1 - from) else { return false };
        let now = self.near[target].now;
        self.near[target].core.batch(now, from, &batch).unwrap();
        true
    }

    fn worlds(&mut self) -> impl Iterator<Item = &mut World> {
        std::iter::once(&mut self.far).chain(&mut self.near)
    }

    /// Goes on until nothing happens.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..20_000 {
            let carried = self.carry_lane(true, usize::MAX)
                | self.carry_lane(false, usize::MAX)
                | self.carry(0)
                | self.carry(1);
            let has_more = self.worlds().any(|world| world.core.poll_timeout() == Some(Time::ZERO));
            self.worlds().for_each(|world| world.turns(1));
            quiet = if carried || has_more { 0 } else { quiet + 1 };
            if quiet == 3 {
                return;
            }
        }
        panic!("it never settles");
    }

    fn publish_far(&mut self, seq: u64, payload: &str) {
        let publisher = ConnKey(1);
        self.far.publish(publisher, &tag_of(FAR_OWNER, FAR_OWNER + 1), seq, &[payload]);
    }

    /// Time goes on for everybody.
    fn pass(&mut self, seconds: u64) {
        // In steps that are shorter than the silence of a lane.
        for _ in 0..4 * seconds {
            for world in self.worlds() {
                world.now = world.now + Duration::from_millis(250);
            }
            self.settle();
        }
    }
}

#[test]
fn the_past_of_another_router_comes_flagged_and_its_live_runs_follow() {
    for deliveries in [0, 1] {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        (0..300).for_each(|seq| cluster.publish_far(seq, &"x".repeat(1000)));
        cluster.settle();
        let receiver = asks(&mut cluster.near[1], deliveries, 1 << 30, since("*"));
        cluster.settle();
        (300..310).for_each(|seq| cluster.publish_far(seq, "live"));
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        let far: Vec<_> = said
            .iter()
            .filter_map(|said| match said {
                Said::Event { owner: FAR_OWNER, position, seq, replayed } => {
                    Some((*position, *seq, *replayed))
                }
                _ => None,
            })
            .collect();
        let expected: Vec<_> = (0..310).map(|seq| (seq, seq, seq < 300)).collect();
        assert_eq!(far, expected, "deliveries {deliveries}");
        assert!(said.contains(&Said::Begins { owner: FAR_OWNER, from: 0, to: 300, oldest: 0 }));
        assert!(said.contains(&Said::Joined { owner: FAR_OWNER, to: 300 }));
        assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))), "{said:?}");
        assert_eq!(cluster.far.core.metrics().events_replayed_to_peers, 300);
    }
}

#[test]
fn no_interleaving_of_two_routers_misses_repeats_or_reorders() {
    for seed in 0..24 {
        let mut random = Random(seed);
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        let publisher = cluster.near[0].client(1);
        let (mut far, mut near) = (0, 0);
        let mut publish = |cluster: &mut Cluster, random: &mut Random| {
            if random.below(3) == 0 {
                cluster.near[0].publish(publisher, &tag_of(near % 2, 2), u64::from(near), &["near"]);
                near += 1;
            } else {
                cluster.publish_far(far, "some event of the far router");
                far += 1;
            }
            (far, u64::from(near))
        };
        let mut last = (0, 0);
        for _ in 0..random.below(300) {
            last = publish(&mut cluster, &mut random);
        }
        let deliveries = random.below(2);
        let (mut granted, mut receiver) = (300, None);
        for _ in 0..900 {
            match random.below(16) {
                0..=3 => last = publish(&mut cluster, &mut random),
                4 | 5 => drop(cluster.carry(0)),
                6 | 7 => drop(cluster.carry(1)),
                8 | 9 => {
                    let most = 1 + usize::try_from(random.below(300)).unwrap();
                    cluster.carry_lane(true, most);
                }
                10 | 11 => drop(cluster.carry_lane(false, usize::MAX)),
                12 => cluster.far.turns(1),
                13 => cluster.near[0].turns(1),
                14 => cluster.near[1].turns(1),
                _ => match receiver {
                    None => receiver = Some(asks(&mut cluster.near[1], deliveries, granted, since("*"))),
                    Some(conn) => {
                        granted += random.below(600);
                        let grant = Grant { bytes: granted, ..Grant::default() };
                        cluster.near[1].say(conn, &ControlFrame::Grant(grant));
                    }
                },
            }
        }
        let receiver = receiver.unwrap();
        let grant = Grant { bytes: 1 << 30, ..Grant::default() };
        cluster.near[1].say(receiver, &ControlFrame::Grant(grant));
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))), "seed {seed}");
        assert_eq!(seqs(&said, FAR_OWNER), (0..last.0).collect::<Vec<_>>(), "seed {seed}, far");
        let (first, second) = (seqs(&said, 0), seqs(&said, 1));
        assert!(first.is_sorted() && second.is_sorted(), "seed {seed}: {first:?} {second:?}");
        let mut near = [first, second].concat();
        near.sort_unstable();
        assert_eq!(near, (0..last.1).collect::<Vec<_>>(), "seed {seed}, near");
    }
}

#[test]
fn a_router_that_dies_during_its_replay_is_a_gap_and_the_rest_goes_on() {
    for carried in 0..20 {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        let publisher = cluster.near[1].client(1);
        (0..200).for_each(|seq| cluster.publish_far(seq, &"x".repeat(1000)));
        cluster.settle();
        let receiver = asks(&mut cluster.near[1], 1, 1 << 30, since("*"));
        for _ in 0..carried {
            cluster.carry(1);
            cluster.carry_lane(false, usize::MAX);
            cluster.far.turns(1);
            cluster.carry_lane(true, 2_000);
            cluster.near[0].turns(1);
            cluster.carry(0);
            cluster.near[1].turns(1);
        }
        cluster.near[0].core.closed(cluster.near[0].now, &mut cluster.near[0].memory, LANE, None);
        cluster.tell_owners(FarOwners::default());
        cluster.carried.iter_mut().for_each(|(_, done)| *done = usize::MAX);
        cluster.far.memory.written.retain(|(conn, _), _| *conn != LANE);
        cluster.near[0].memory.written.retain(|(conn, _), _| *conn != LANE);
        cluster.settle();
        cluster.near[1].publish(publisher, &tag_of(1, 2), 0, &["live"]);
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        let far = seqs(&said, FAR_OWNER);
        assert_eq!(far, (0..far.len() as u64).collect::<Vec<_>>(), "carried {carried}");
        assert!(said.contains(&Said::Gap("router_lost")), "carried {carried}: {said:?}");
        assert_eq!(seqs(&said, 1), [0], "carried {carried}: what is live goes on");
        let world = &cluster.near[1];
        assert!(!world.core.path.receivers.iter().any(|receiver| receiver.joins.is_some()), "{carried}");
    }
}

#[test]
fn routers_that_cannot_be_asked_are_named_by_a_gap() {
    let gone = RouterId(6);
    for reason in [GapReason::RouterLost, GapReason::Evicted] {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
        let owner = FarOwner { source: far_source(), core: 0, conn: LANE };
        cluster.tell_owners(FarOwners {
            owners: vec![owner],
            missing: vec![(gone, reason)],
            ended: Vec::new(),
        });
        let receiver = asks(&mut cluster.near[1], 1, 1 << 30, since("*"));
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        assert_eq!(said[0], Said::Gap(reason.name()), "the gap comes first");
        assert_eq!(seqs(&said, FAR_OWNER), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn how_far_a_life_had_come_that_is_over_is_not_told_to_quiet_receivers() {
    for is_over in [false, true] {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        let subscribe = Subscribe { selectors: vec!["host".to_owned()], since_us: 1, ..Subscribe::default() };
        let receiver = asks(&mut cluster.near[1], 1, 1 << 20, subscribe);
        (0..10).for_each(|seq| cluster.publish_far(seq, "event"));
        cluster.settle();
        if is_over {
            cluster.tell_owners(FarOwners::default());
            cluster.settle();
        }
        cluster.pass(5);
        let said = said(&cluster.near[1], receiver);
        let names_far = |said: &Said| matches!(said, Said::Cursor(told) if told.contains_key(&FAR_OWNER));
        assert_eq!(said.iter().any(names_far), !is_over, "{said:?}");
    }
}

#[test]
fn runs_that_come_late_are_not_given_again_to_who_has_had_them_elsewhere() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    let missing = vec![(FAR, GapReason::RouterLost)];
    cluster.tell_owners(FarOwners { owners: Vec::new(), missing, ended: Vec::new() });
    let Source { router, incarnation, owner } = far_source();
    let cursor = vec![SourcePosition { router, incarnation, owner, position: 7 }];
    let subscribe = Subscribe { selectors: vec!["host".to_owned()], cursor, ..Subscribe::default() };
    let receiver = asks(&mut cluster.near[1], 1, 1 << 20, subscribe);
    cluster.settle();
    assert!(cluster.near[1].core.path.positions.replays.active.is_empty(), "nothing is to be done");
    for seq in 0..10 {
        cluster.publish_far(seq, "event");
        cluster.settle();
    }
    assert_eq!(seqs(&said(&cluster.near[1], receiver), FAR_OWNER), [7, 8, 9]);
    cluster.tell_owners(FarOwners::default());
    cluster.settle();
    let world = &cluster.near[1];
    assert!(!world.core.path.receivers.iter().any(|receiver| receiver.joins.is_some()));
}

#[test]
fn an_answer_that_comes_after_its_lane_was_silent_is_no_fault_of_the_peer() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
    cluster.settle();
    let receiver = asks(&mut cluster.near[1], 1, 1 << 30, since("*"));
    for _ in 0..3 {
        cluster.near[1].turns(1);
        cluster.carry(1);
        cluster.near[0].turns(1);
    }
    cluster.near[0].now = cluster.near[0].now + Duration::from_secs(2);
    cluster.near[0].turns(1);
    cluster.settle();
    assert!(said(&cluster.near[1], receiver).contains(&Said::Gap("router_lost")));
    assert_eq!(cluster.near[0].memory.closed, []);
    let again = Subscribe { subscription: SubscriptionNumber(1), ..since("*") };
    cluster.near[1].say(receiver, &ControlFrame::Subscribe(again));
    cluster.settle();
    assert_eq!(seqs(&said(&cluster.near[1], receiver), FAR_OWNER), [0, 1, 2, 3, 4]);
}

#[test]
fn a_life_that_ended_with_what_is_asked_for_is_named_by_a_gap_first() {
    let at = |cluster: &Cluster, back: Duration| {
        Time::from_nanos(cluster.near[1].now.as_nanos() - u64::try_from(back.as_nanos()).unwrap())
    };
    let half = Duration::from_millis(500);
    let short = Subscribe { since_us: 1_000, ..since("*") };
    let cursor =
        vec![SourcePosition { router: FAR, incarnation: Incarnation(6), owner: FAR_OWNER, position: 0 }];
    let named = Subscribe { cursor, ..since("*") };
    for (subscribe, gaps) in [(since("*"), 1), (short, 0), (named, 0)] {
        let mut cluster = Cluster::new();
        cluster.far.client(1);
        let ended = vec![(FAR, at(&cluster, half))];
        (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
        cluster.settle();
        let owner = FarOwner { source: far_source(), core: 0, conn: LANE };
        cluster.tell_owners(FarOwners { owners: vec![owner], missing: Vec::new(), ended });
        let receiver = asks(&mut cluster.near[1], 1, 1 << 30, subscribe);
        cluster.settle();
        let said = said(&cluster.near[1], receiver);
        let told = said.iter().filter(|said| **said == Said::Gap("evicted")).count();
        assert_eq!(told, gaps, "{said:?}");
        assert!(gaps == 0 || said[0] == Said::Gap("evicted"), "{said:?}");
    }
}

#[test]
fn news_of_a_life_that_ended_come_before_the_runs_of_the_next_one() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    (0..5).for_each(|seq| cluster.publish_far(seq, "event"));
    // Nothing may be written yet.
    let receiver = asks(&mut cluster.near[1], 1, 1, since("*"));
    cluster.settle();
    let (owner, now) = (FarOwner { source: far_source(), core: 0, conn: LANE }, cluster.near[1].now);
    let ended = vec![(RouterId(6), now)];
    cluster.tell_owners(FarOwners { owners: vec![owner], missing: Vec::new(), ended });
    let grant = Grant { bytes: 1 << 30, ..Grant::default() };
    cluster.near[1].say(receiver, &ControlFrame::Grant(grant));
    cluster.settle();
    let said = said(&cluster.near[1], receiver);
    assert_eq!(said.iter().filter(|said| **said == Said::Gap("evicted")).count(), 1, "{said:?}");
}

#[test]
fn a_cursor_goes_on_at_another_router_and_is_advanced_for_quiet_receivers() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    (0..10).for_each(|seq| cluster.publish_far(seq, "event"));
    cluster.settle();
    let Source { router, incarnation, owner } = far_source();
    let cursor = vec![SourcePosition { router, incarnation, owner, position: 7 }];
    let subscribe = Subscribe { selectors: vec!["host".to_owned()], cursor, ..Subscribe::default() };
    let receiver = asks(&mut cluster.near[1], 1, 1 << 20, subscribe);
    cluster.settle();
    assert_eq!(seqs(&said(&cluster.near[1], receiver), FAR_OWNER), [7, 8, 9]);
    cluster.pass(5);
    let cursors = said(&cluster.near[1], receiver);
    let last = cursors.iter().rev().find_map(|said| match said {
        Said::Cursor(positions) => Some(positions.clone()),
        _ => None,
    });
    assert_eq!(last.unwrap()[&FAR_OWNER], 10);
}

#[test]
fn what_live_runs_overtake_is_replayed_further_and_then_given_up_with_a_gap() {
    let mut cluster = Cluster::new();
    cluster.far.client(1);
    let payload = "x".repeat(100_000);
    (0..3).for_each(|seq| cluster.publish_far(seq, &payload));
    cluster.settle();
    // Nothing may be written, so that everything live waits.
    let receiver = asks(&mut cluster.near[1], 1, 1, since("*"));
    cluster.settle();
    for seq in 3..360 {
        cluster.publish_far(seq, &payload);
        cluster.settle();
    }
    let grant = Grant { bytes: 1 << 30, ..Grant::default() };
    cluster.near[1].say(receiver, &ControlFrame::Grant(grant));
    cluster.settle();
    let said = said(&cluster.near[1], receiver);
    let far = seqs(&said, FAR_OWNER);
    assert!(far.is_sorted_by(|one, next| one < next), "{far:?}");
    assert_eq!(far.last(), Some(&359));
    assert!(said.contains(&Said::Gap("overrun")), "{far:?}");
}
