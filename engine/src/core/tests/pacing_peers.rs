//! Publishers wait for receivers behind a peer, too.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{ControlFrame, Grant, TableCapacity};
use millrace_proto::feature::{self, Features};
use millrace_proto::mesh::{MeshFrame, PeerHello};
use millrace_proto::{Incarnation, ReceiverNumber, RouterId, Selector};

use super::pacing::{dropped, later, receiver};
use super::world::{CONTROL, World, tag_of};
use crate::core::{Core, CoreConfig};
use crate::matching::{Index, Location};
use crate::message::ToCore;
use crate::transport::{ConnKey, StreamKey};

const LANE: ConnKey = ConnKey(9);

/// Two linked routers of so many cores each. The lane ends at one core of each; runs go from the
/// first router to the second.
pub(super) struct Routers {
    pub(super) cores: [Vec<World>; 2],
    lane: [usize; 2],
}

impl Routers {
    pub(super) fn new(counts: [usize; 2], lane: [usize; 2], features: Features) -> Self {
        let cores = |router: usize| (0..counts[router]).map(move |core| world(router, core, counts[router]));
        let mut routers = Self { cores: [cores(0).collect(), cores(1).collect()], lane };
        for (router, core) in lane.into_iter().enumerate() {
            let end = &mut routers.cores[router][core];
            end.core.peer_connected(end.now, &mut end.memory, LANE);
            let mut hello = Vec::new();
            MeshFrame::from(PeerHello { features, ..PeerHello::default() }).encode(&mut hello);
            end.send(LANE, CONTROL, &hello);
            let accept = ToCore::AcceptLane {
                conn: LANE,
                peer: 0,
                router: RouterId(2 - router as u64),
                proven: true,
                lane: 0,
                epoch: 3,
                outgoing: router == 0,
                incoming: router == 1,
                missed: false,
                lost: false,
                hello: None,
                tables: TableCapacity::CLIENT,
            };
            end.core.handle_message(end.now, &mut end.memory, accept);
            end.settle();
        }
        let peer = std::iter::once(Location::Peer(0));
        wants(&mut routers.cores[0][lane[0]], peer);
        let others = (0..counts[1]).filter(|&core| core != lane[1]);
        let others = others.map(|core| Location::Core(u16::try_from(core).unwrap()));
        wants(&mut routers.cores[1][lane[1]], others);
        routers.settle();
        routers
    }

    /// The core at an end of the lane.
    fn end(&mut self, router: usize) -> &mut World {
        &mut self.cores[router][self.lane[router]]
    }

    /// Takes what a stream of the lane's end has written.
    fn take(&mut self, router: usize, stream: StreamKey) -> Vec<u8> {
        self.end(router).memory.written.remove(&(LANE, stream)).unwrap_or_default()
    }

    /// Carries what cores and routers say to each other until they are silent.
    pub(super) fn settle(&mut self) {
        let mut is_silent = false;
        while !is_silent {
            is_silent = true;
            for cores in &mut self.cores {
                is_silent &= settle_cores(cores);
            }
            for (from, stream, to) in
                [(0, StreamKey(3), StreamKey(2)), (0, CONTROL, CONTROL), (1, CONTROL, CONTROL)]
            {
                let bytes = self.take(from, stream);
                if !bytes.is_empty() {
                    is_silent = false;
                    self.end(1 - from).send(LANE, to, &bytes);
                }
            }
        }
    }

    pub(super) fn later(&mut self, time: Duration) {
        self.cores.iter_mut().flatten().for_each(|world| later(world, time));
        self.settle();
    }

    fn publish(&mut self, publisher: ConnKey, tag: &str, seqs: std::ops::Range<u64>) {
        for seq in seqs {
            self.cores[0][0].publish(publisher, tag, seq, &["event"]);
            self.settle();
        }
    }

    pub(super) fn read(&self) -> u64 {
        self.cores[0][0].core.metrics().events_in
    }
}

fn world(router: usize, core: usize, cores: usize) -> World {
    let mut world = World::new();
    let [core, cores] = [core, cores].map(|number| u16::try_from(number).unwrap());
    let config = CoreConfig::new(RouterId(router as u64 + 1), Incarnation(2), core, cores);
    world.core = Core::new(config, world.now);
    world.core.handle_message(world.now, &mut world.memory, ToCore::Synced(true));
    world
}

/// A directory in which these locations want everything.
fn wants(world: &mut World, locations: impl Iterator<Item = Location>) {
    let mut index = Index::new(CoreConfig::new(RouterId(1), Incarnation(2), 0, 1).seed);
    let everything = Arc::new(Selector::parse("*").unwrap());
    for location in locations {
        index.insert(&everything, location.into());
    }
    let directory = ToCore::Directory { version: 1, index, prefilter: Arc::default(), joined: Vec::new() };
    world.core.handle_message(world.now, &mut world.memory, directory);
    world.settle();
}

/// Hands over what the cores of a router have for each other. Returns whether that was nothing.
fn settle_cores(cores: &mut [World]) -> bool {
    let mut is_silent = true;
    let count = cores.len();
    for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
        if from == to {
            continue;
        }
        let (source, target) = (u16::try_from(from).unwrap(), u16::try_from(to).unwrap());
        let now = cores[to].now;
        while let Some(word) = cores[from].core.next_to_sibling(target) {
            is_silent = false;
            cores[to].core.sibling_told(now, source, word);
        }
        while let Some(batch) = cores[from].core.next_batch(target) {
            is_silent = false;
            cores[to].core.batch(now, source, &batch).unwrap();
        }
        cores[to].settle();
    }
    is_silent
}

fn pacing() -> Features {
    Features::default().with(feature::PACING)
}

/// A receiver on core `has` of the second router that takes some of what core 0 of the first reads
/// and the core with the lane owns, and then no more.
fn crowded(counts: [usize; 2], lane: [usize; 2], has: usize) -> (Routers, ConnKey, ConnKey, String) {
    let mut routers = Routers::new(counts, lane, pacing());
    let slow = receiver(&mut routers.cores[1][has], 1, 100);
    let publisher = routers.cores[0][0].client(2);
    let tag = tag_of(u16::try_from(lane[0]).unwrap(), u16::try_from(counts[0]).unwrap());
    routers.publish(publisher, &tag, 0..16);
    let grant = Grant { receiver: ReceiverNumber(0), bytes: 400 };
    routers.cores[1][has].say(slow, &ControlFrame::Grant(grant));
    routers.publish(publisher, &tag, 16..60);
    let read = routers.read();
    assert!((20..45).contains(&read), "{read} of 60 were read: {counts:?} {lane:?} {has}");
    (routers, slow, publisher, tag)
}

#[test]
fn a_publisher_waits_for_a_receiver_behind_a_peer_and_nothing_is_dropped() {
    for (counts, lane, has) in [
        ([1, 1], [0, 0], 0),
        ([2, 1], [1, 0], 0),
        ([1, 2], [0, 0], 1),
        ([2, 2], [1, 1], 0),
        ([2, 2], [0, 1], 1),
    ] {
        let (mut routers, slow, ..) = crowded(counts, lane, has);
        assert_eq!(routers.cores[1].iter().map(dropped).sum::<u64>(), 0);
        let grant = Grant { receiver: ReceiverNumber(0), bytes: 1 << 20 };
        routers.cores[1][has].say(slow, &ControlFrame::Grant(grant));
        for _ in 0..3 {
            routers.later(Duration::from_millis(1));
        }
        assert_eq!(routers.read(), 60, "{counts:?} {lane:?} {has}");
        let at = &routers.cores[1][has];
        assert_eq!((dropped(at), at.stream(slow).len()), (0, 60), "{counts:?} {lane:?} {has}");
        assert!(routers.end(1).core.metrics().holds_at_peers > 0);
        assert_eq!(
            routers.end(0).core.metrics().holds_of_peers,
            routers.end(1).core.metrics().holds_at_peers
        );
    }
}

#[test]
fn a_publisher_waits_for_a_receiver_behind_a_peer_no_longer_than_the_limit() {
    let (mut routers, _, publisher, tag) = crowded([1, 1], [0, 0], 0);
    routers.later(Duration::from_millis(251));
    routers.later(Duration::from_millis(251));
    assert_eq!(routers.read(), 60);
    routers.publish(publisher, &tag, 60..100);
    assert_eq!(routers.read(), 100, "nobody waits for it again");
    assert!(dropped(&routers.cores[1][0]) > 0, "it overflows by its own policy");
}

#[test]
fn a_peer_that_knows_no_holds_is_told_of_none() {
    let mut routers = Routers::new([1, 1], [0, 0], Features::default());
    let slow = receiver(&mut routers.cores[1][0], 1, 100);
    let publisher = routers.cores[0][0].client(2);
    routers.publish(publisher, &tag_of(0, 1), 0..16);
    let grant = Grant { receiver: ReceiverNumber(0), bytes: 400 };
    routers.cores[1][0].say(slow, &ControlFrame::Grant(grant));
    routers.publish(publisher, &tag_of(0, 1), 16..60);
    assert_eq!(routers.read(), 60);
    assert_eq!(routers.end(1).core.metrics().holds_at_peers, 0);
}

#[test]
fn others_at_the_publishers_router_do_not_wait_for_a_peers_receiver() {
    let (mut routers, ..) = crowded([1, 1], [0, 0], 0);
    let other = routers.cores[0][0].client(3);
    let read = routers.read();
    // The core makes ids of clients that show no secret: these two are different publishers.
    routers.publish(other, "other=yes", 0..1);
    assert_eq!(routers.read(), read + 1);
}
