//! Two routers whose lane a test carries: an owner far away, and the two cores of the router that
//! its receivers are at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::TableCapacity;
use millrace_proto::data::Source;
use millrace_proto::feature::{self, Features};
use millrace_proto::mesh::PeerHello;
use millrace_proto::{Incarnation, PROTOCOL_VERSION, RouterId, Selector};

use super::places::keeping;
use super::world::{World, tag_of};
use crate::core::CoreConfig;
use crate::history::{FarOwner, FarOwners};
use crate::matching::{Index, Location, Taker};
use crate::message::{DialId, ToCore};
use crate::time::Time;
use crate::transport::{ConnKey, StreamKey};

pub(super) const LANE: ConnKey = ConnKey(9);
pub(super) const FAR: RouterId = RouterId(5);
/// The far owner's number: none of the near router has it.
pub(super) const FAR_OWNER: u16 = 2;

/// An owner of one router, and the two cores of another: the first has the lane, the second the
/// receiver.
pub(super) struct Cluster {
    pub(super) far: World,
    pub(super) near: [World; 2],
    /// Bytes of each of the lane's streams that were carried, away from the far owner or towards
    /// it.
    pub(super) carried: BTreeMap<(bool, StreamKey), usize>,
    /// Those that their reader knows; the far owner has opened the control stream itself.
    opened: BTreeSet<(bool, StreamKey)>,
}

pub(super) fn everything_for(location: Location) -> ToCore {
    let mut index = Index::new(2);
    index.insert(&Arc::new(Selector::parse("*").unwrap()), Taker::new(location, None));
    ToCore::Directory { version: 1, index, prefilter: Arc::default(), joined: Vec::new() }
}

pub(super) fn hello(router: RouterId, incarnation: Incarnation) -> PeerHello {
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

pub(super) fn accept(router: RouterId, is_far: bool, hello: Option<PeerHello>) -> ToCore {
    ToCore::AcceptLane {
        conn: LANE,
        peer: 0,
        router,
        proven: true,
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

pub(super) fn far_source() -> Source {
    Source { router: FAR, incarnation: Incarnation(6), owner: FAR_OWNER }
}

impl Cluster {
    pub(super) fn new() -> Self {
        let mut cluster = Self::accepted_by_one();
        cluster.accept_far();
        cluster.settle();
        cluster
    }

    /// The near router has accepted the lane and knows the far owner, whose router has not accepted
    /// it yet.
    pub(super) fn accepted_by_one() -> Self {
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
        let owner = FarOwner { source: far_source(), core: 0, conn: LANE };
        cluster.tell_owners(FarOwners { owners: vec![owner], missing: Vec::new(), ended: Vec::new() });
        cluster
    }

    pub(super) fn accept_far(&mut self) {
        let far = &mut self.far;
        far.core.handle_message(far.now, &mut far.memory, accept(RouterId(1), true, None));
        far.core.handle_message(far.now, &mut far.memory, everything_for(Location::Peer(0)));
    }

    pub(super) fn tell_owners(&mut self, owners: FarOwners) {
        let owners = Arc::new(owners);
        for world in &mut self.near {
            let told = ToCore::FarOwners(Arc::clone(&owners));
            world.core.handle_message(world.now, &mut world.memory, told);
        }
    }

    /// Carries what one side of the lane has written on, up to so many bytes of each stream.
    pub(super) fn carry_lane(&mut self, from_far: bool, most: usize) -> bool {
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
            // A stream opens those that were opened before it, as in QUIC.
            let first = if stream.is_uni() { 3 } else { stream.0 };
            for before in (first..=stream.0).step_by(4).map(StreamKey) {
                if opened.insert((from_far, before)) {
                    to.core.stream_opened(to.now, &mut to.memory, conn, before);
                }
            }
            to.core.readable(to.now, &mut to.memory, conn, stream);
        }
        has_carried
    }

    /// Carries one word, or one batch, between the near cores.
    pub(super) fn carry(&mut self, from: u16) -> bool {
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

    pub(super) fn worlds(&mut self) -> impl Iterator<Item = &mut World> {
        std::iter::once(&mut self.far).chain(&mut self.near)
    }

    /// Goes on until nothing happens.
    pub(super) fn settle(&mut self) {
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

    pub(super) fn publish_far(&mut self, seq: u64, payload: &str) {
        let publisher = ConnKey(1);
        self.far.publish(publisher, &tag_of(FAR_OWNER, FAR_OWNER + 1), seq, &[payload]);
    }

    /// Time goes on for everybody.
    pub(super) fn pass(&mut self, seconds: u64) {
        // In steps that are shorter than the silence of a lane.
        for _ in 0..4 * seconds {
            for world in self.worlds() {
                world.now = world.now + Duration::from_millis(250);
            }
            self.settle();
        }
    }
}
