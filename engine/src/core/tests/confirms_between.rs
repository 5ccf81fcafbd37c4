//! What publishers are told of events that went to sibling cores and to peers.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{OutcomeKind, SeqRanges, TableCapacity};
use millrace_proto::data;
use millrace_proto::feature::{self, Features};
use millrace_proto::frame::FrameReader;
use millrace_proto::mesh::{LaneFrame, LegAck, MeshFrame, PeerHello};
use millrace_proto::stream::LanePreamble;
use millrace_proto::tag::Shard;
use millrace_proto::{DecodeError, Incarnation, RouterId, Selector, TagSet};

use super::confirms::{DELIVERED, ROUTED, run};
use super::world::{CONTROL, KEY, World};
use crate::core::{Core, CoreConfig};
use crate::matching::{Index, Location, Taker};
use crate::message::ToCore;
use crate::payload::FilterTable;
use crate::transport::{ConnKey, StreamKey};

/// Cores of one router, each in a world of its own, whose directories say that every other core
/// wants `*`.
pub(super) struct Cores(pub(super) Vec<World>);

impl Cores {
    pub(super) fn new(count: u16) -> Self {
        let world = |core| {
            let mut world = World::new();
            let config = CoreConfig::new(RouterId(1), Incarnation(2), core, count);
            world.core = Core::new(config, world.now);
            wants(&mut world, (0..count).filter(|&other| other != core).map(Location::Core));
            world
        };
        Self((0..count).map(world).collect())
    }

    /// Carries what cores say to each other until they are silent.
    pub(super) fn settle(&mut self) {
        loop {
            let mut is_silent = true;
            for from in 0..self.0.len() {
                for to in (0..self.0.len()).filter(|&to| to != from) {
                    let (source, target) = (u16::try_from(from).unwrap(), u16::try_from(to).unwrap());
                    let now = self.0[to].now;
                    while let Some(word) = self.0[from].core.next_to_sibling(target) {
                        self.0[to].core.sibling_told(now, source, word);
                        is_silent = false;
                    }
                    while let Some(batch) = self.0[from].core.next_batch(target) {
                        self.0[to].core.batch(now, source, &batch).unwrap();
                        is_silent = false;
                    }
                    self.0[to].settle();
                }
            }
            if is_silent {
                return;
            }
        }
    }
}

/// A directory in which these locations want everything.
fn wants(world: &mut World, locations: impl Iterator<Item = Location>) {
    let (seed, mut filters) = (CoreConfig::new(RouterId(1), Incarnation(2), 0, 1).seed, FilterTable::new(3));
    let mut index = Index::new(seed);
    let everything = Arc::new(Selector::parse("*").unwrap());
    for location in locations {
        index.insert(&everything, Taker::new(location, None));
    }
    let prefilter = filters.prefilter();
    let directory = ToCore::Directory { version: 1, index, prefilter, joined: Vec::new() };
    for message in [ToCore::Synced(true), directory] {
        world.core.handle_message(world.now, &mut world.memory, message);
    }
    world.settle();
}

#[test]
fn receivers_of_all_cores_count_whichever_core_owns_the_run() {
    for level in [ROUTED, DELIVERED] {
        let mut cores = Cores::new(3);
        let takers: Vec<ConnKey> = cores.0.iter_mut().map(|world| world.taker(1, "host")).collect();
        let tags: Vec<String> = (0..3).map(own_tag).collect();
        let publisher = cores.0[0].confirming(2, 0);
        for (seq, tag) in (0..).zip(&tags) {
            cores.0[0].publish_with(publisher, tag, seq, &["x"], level);
        }
        cores.settle();
        if level == DELIVERED {
            assert_eq!(cores.0[0].told(publisher), [""; 0]);
            for (world, &taker) in cores.0.iter_mut().zip(&takers) {
                world.take(taker, 0, 3);
            }
            cores.settle();
        }
        let told = cores.0[0].told(publisher).join(" ");
        let each = |seq: u64| told.contains(&seq.to_string());
        assert!((0..3).all(each) && !told.contains("partial"), "{told}");
        assert!(told.matches("3/0").count() >= 1, "{told}");
        assert!(cores.0.iter().all(|world| world.core.metrics().open_confirms == 0));
    }
}

#[test]
fn a_core_that_was_idle_waits_as_long_as_any_other() {
    let mut cores = Cores::new(2);
    cores.0[1].taker(1, "host");
    let publisher = cores.0[0].confirming(2, 0);
    for world in &mut cores.0 {
        world.now = world.now + Duration::from_secs(60);
    }
    cores.0[0].publish_with(publisher, &own_tag_of(1, 2), 0, &["x"], DELIVERED);
    cores.settle();
    cores.0[1].now = cores.0[1].now + Duration::from_secs(1);
    cores.settle();
    assert_eq!(cores.0[0].told(publisher), [""; 0], "its receiver has time to acknowledge");
}

fn own_tag(core: u16) -> String {
    own_tag_of(core, 3)
}

fn own_tag_of(core: u16, cores: u16) -> String {
    let is_own = |tag: &String| {
        let hash = TagSet::from_texts([tag.as_str()]).unwrap().borrow().hash();
        Shard::of_hash(hash).owner(cores) == core
    };
    (0..).map(|number| format!("host=h{number}")).find(is_own).unwrap()
}

/// A lane to a router with these features, which said hello.
pub(super) fn lane_to(world: &mut World, features: Features, outgoing: bool) -> ConnKey {
    let conn = ConnKey(9);
    world.core.peer_connected(world.now, &mut world.memory, conn);
    accept_lane(world, (conn, CONTROL), features, outgoing);
    wants(world, std::iter::once(Location::Peer(0)));
    conn
}

/// The peer says hello on a lane's control stream, and control accepts the lane.
pub(super) fn accept_lane(
    world: &mut World,
    (conn, control): (ConnKey, StreamKey),
    features: Features,
    outgoing: bool,
) {
    let mut hello = Vec::new();
    MeshFrame::from(PeerHello { features, ..PeerHello::default() }).encode(&mut hello);
    world.send(conn, control, &hello);
    let accept = ToCore::AcceptLane {
        conn,
        peer: 0,
        router: RouterId(5),
        proven: true,
        lane: 0,
        epoch: 3,
        outgoing,
        incoming: true,
        missed: false,
        lost: false,
        hello: None,
        tables: TableCapacity::CLIENT,
    };
    world.core.handle_message(world.now, &mut world.memory, accept);
    world.settle();
}

fn leg_ack(world: &mut World, conn: ConnKey, first: u64, count: u64, ack: LegAck) {
    let mut runs = SeqRanges::new();
    runs.push(first, count);
    let mut bytes = Vec::new();
    MeshFrame::from(LegAck { runs, ..ack }).encode(&mut bytes);
    world.send(conn, CONTROL, &bytes);
}

#[test]
fn a_peer_answers_for_its_receivers_and_what_it_has_not_answered_is_lost_with_its_lane() {
    let mut world = World::new();
    let conn = lane_to(&mut world, Features::default().with(feature::CONFIRMS), true);
    let publisher = world.confirming(2, 0);
    for seq in 0..5 {
        world.publish_with(publisher, "host=a", seq * 2, &["x", "y"], ROUTED);
    }
    assert_eq!(world.told(publisher), [""; 0]);
    let confirmed = LegAck { kind: OutcomeKind::Confirmed, level: 1, receivers: 4, ..LegAck::default() };
    leg_ack(&mut world, conn, 1, 2, confirmed.clone());
    assert_eq!(world.told(publisher), ["confirmed [2, 3, 4, 5] 4/0"]);
    let mut events = SeqRanges::new();
    events.push(1, 1);
    leg_ack(&mut world, conn, 0, 1, LegAck { events, ..confirmed.clone() });
    assert_eq!(world.told(publisher)[1..], ["confirmed [1] 4/0"]);
    // What was answered, or was never asked, changes nothing.
    leg_ack(&mut world, conn, 1, 2, confirmed.clone());
    leg_ack(&mut world, conn, 90, 1 << 60, confirmed);
    leg_ack(&mut world, conn, 3, 1, LegAck { kind: OutcomeKind::Partial, level: 1, ..LegAck::default() });
    assert_eq!(world.told(publisher)[2..], ["partial [6, 7] 0/1 other"]);
    world.core.closed(world.now, &mut world.memory, conn, None);
    world.settle();
    assert_eq!(world.told(publisher)[3..], ["partial [0, 8, 9] 0/1 peer_lost"]);
}

#[test]
fn a_peer_that_is_silent_or_cannot_answer_is_not_counted_on() {
    let mut world = World::new();
    let conn = lane_to(&mut world, Features::default().with(feature::CONFIRMS), true);
    let publisher = world.confirming(2, 0);
    world.publish_with(publisher, "host=a", 0, &["x"], ROUTED);
    world.pass(Duration::from_millis(1_500));
    assert_eq!(world.told(publisher), ["partial [0] 0/1 peer_lost"]);
    world.publish_with(publisher, "host=a", 1, &["x"], ROUTED);
    assert_eq!(world.told(publisher)[1..], ["partial [1] 0/1 peer_lost"]);
    // Heard again: by an answer that comes too late.
    leg_ack(&mut world, conn, 0, 1, LegAck { kind: OutcomeKind::Confirmed, ..LegAck::default() });
    world.publish_with(publisher, "host=a", 2, &["x"], ROUTED);
    assert_eq!(world.told(publisher).len(), 2);
    leg_ack(&mut world, conn, 2, 1, LegAck { kind: OutcomeKind::Confirmed, ..LegAck::default() });
    assert_eq!(world.told(publisher)[2..], ["confirmed [2] 0/0"]);

    let mut world = World::new();
    lane_to(&mut world, Features::default(), true);
    let publisher = world.confirming(2, 0);
    world.publish_with(publisher, "host=a", 0, &["x"], ROUTED);
    assert_eq!(world.told(publisher), ["partial [0] 0/1 cannot_acknowledge"]);
}

#[test]
fn runs_of_a_peer_are_answered_in_ranges_and_only_to_who_can_read_that() {
    for answers in [true, false] {
        let mut world = World::new();
        let mut features = Features::default();
        if answers {
            features = features.with(feature::CONFIRMS);
        }
        let conn = lane_to(&mut world, features, false);
        world.taker(1, "host=a");
        let mut bytes = Vec::new();
        LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
        data::put_define_publisher(&mut bytes, 0, KEY);
        for seq in 0..4 {
            let tags = if seq == 2 { "host=b" } else { "host=a" };
            bytes.extend(run(tags, seq, &["x"], ROUTED));
        }
        world.send(conn, StreamKey(2), &bytes);
        let mut acks = Vec::new();
        let each = |kind: u64, body: &[u8]| {
            if let MeshFrame::Lane(LaneFrame::LegAck(ack)) = MeshFrame::decode(kind, body)? {
                acks.push((ack.runs.iter().collect::<Vec<_>>(), ack.kind, ack.receivers, ack.level));
            }
            Ok(())
        };
        let written = world.memory.written.get(&(conn, CONTROL)).cloned().unwrap_or_default();
        FrameReader::new().feed::<DecodeError>(&written, 65_536, each).unwrap();
        let confirmed = OutcomeKind::Confirmed;
        let expected = match answers {
            true => vec![(vec![(2, 1)], confirmed, 0, 1), (vec![(0, 2), (3, 1)], confirmed, 1, 1)],
            false => Vec::new(),
        };
        assert_eq!(acks, expected);
    }
}
