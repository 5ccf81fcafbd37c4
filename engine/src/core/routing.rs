//! The owner's work: where a run goes.
//!
//! A run that a publisher sent goes to its shard's owner ([`Routing::enter`]): this core, or a sibling. The owner gives
//! it a position and copies it once to each location that wants it: its own sessions, sibling cores, peers
//! ([`Scope::All`]). A run from a peer goes to this core's sessions and to siblings ([`Scope::Router`]), never to a peer:
//! one hop, no loops. A run that a sibling already routed goes to this core's sessions alone ([`Scope::Core`]).

use millrace_proto::data::{self, Gap, GapReason, flag};
use millrace_proto::run::{RunBody, RunBuilder};
use millrace_proto::tag::Shard;
use millrace_proto::{PublisherKey, RouterId};

use super::config::CoreConfig;
use super::inbound::{Coming, KnownTags, RunIn, Window};
use super::metrics::{CoreMetrics, DropReason};
use super::outbound::{Overflow, Pushed, RunOut, RunWriter};
use super::receiver::{Receiver, Receivers};
use crate::matching::{Index, LocalTarget, Location};
use crate::message::PeerIndex;
use crate::routes::{RouteCache, TagId};
use crate::transport::{ConnKey, StreamKey};

/// Flags that are forwarded.
const FORWARDED: u64 = flag::LEVEL_MASK | flag::RESENT;

/// Receivers that are fetched together, at most.
const FETCHED_MAX: usize = 32;

/// How far a run may still go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Anywhere.
    All,
    /// Anywhere within this router.
    Router,
    /// This core's sessions.
    Core,
}

/// This core's lane to a peer, for the runs that it owns.
#[derive(Debug)]
pub(super) struct PeerLane {
    pub(super) conn: ConnKey,
    pub(super) stream: Option<StreamKey>,
    pub(super) writer: RunWriter,
    pub(super) finished: bool,
    /// Position up to which the peer was told that it may have missed runs.
    pub(super) told: u64,
}

impl PeerLane {
    /// The peer may have missed runs before `position`: a gap behind the runs that it did not miss and before those that
    /// it will not miss.
    pub(super) fn missed(&mut self, position: u64) {
        if position > self.told {
            self.told = position;
            self.writer.push_gap(Gap { reason: GapReason::Joined, events: 0, router: None });
        }
    }
}

/// Everything that routing touches.
#[derive(Debug)]
pub(super) struct Routing {
    core: u16,
    cores: u16,
    /// Position of the next run that this core owns.
    pub(super) position: u64,
    pub(super) routes: RouteCache,
    pub(super) directory: Index<Location>,
    pub(super) local: Index<LocalTarget>,
    pub(super) receivers: Receivers,
    /// By peer index.
    pub(super) peers: Vec<Option<PeerLane>>,
    /// By core; none for this core.
    pub(super) siblings: Vec<Option<RunWriter>>,
    pub(super) metrics: CoreMetrics,
    fields: Vec<u8>,
    builder: RunBuilder,
    body: Vec<u8>,
}

impl Routing {
    pub(super) fn new(config: &CoreConfig) -> Self {
        let siblings = (0..config.cores)
            .map(|core| {
                (core != config.core).then(|| {
                    RunWriter::new(
                        config.lane_tables,
                        config.link_queue_bytes,
                        config.out_bytes,
                        u64::MAX,
                        Overflow::DropOldest,
                        GapReason::MailboxOverflow,
                    )
                })
            })
            .collect();
        Self {
            core: config.core,
            cores: config.cores,
            position: 0,
            routes: RouteCache::new(config.routes),
            directory: Index::new(config.seed),
            local: Index::new(config.seed),
            receivers: Receivers::default(),
            peers: Vec::new(),
            siblings,
            metrics: CoreMetrics::default(),
            fields: Vec::new(),
            builder: RunBuilder::default(),
            body: Vec::new(),
        }
    }

    /// A publisher's run enters the router on this core.
    #[inline]
    pub(super) fn enter(
        &mut self,
        tags: &mut KnownTags,
        publisher: PublisherKey,
        flags: u64,
        run: &RunIn<'_>,
    ) {
        let owner = Shard::of_hash(tags.hash).owner(self.cores);
        if owner == self.core {
            self.own(tags, publisher, flags, run);
            return;
        }
        // The table of the mailbox needs a name for the tag set, which the route cache gives. A name that the cache has given
        // up since is still no other's, so the cache is not asked again.
        let tag = if tags.id == TagId::default() { self.intern(tags) } else { tags.id };
        let events = run.body.count();
        let run = RunOut {
            tag,
            tags: tags.tags(),
            publisher,
            flags: flags & FORWARDED | flag::UNROUTED,
            fields: &[],
            body: run.body.bytes(),
            buffer: None,
            events,
        };
        if let Some(Some(sibling)) = self.siblings.get_mut(usize::from(owner)) {
            self.metrics.events_to_siblings += events;
            count_drops(&mut self.metrics, sibling.push(&run), events, DropReason::MailboxOverflow);
        }
    }

    /// A run arrives from a sibling core: to be routed by its owner, or routed already.
    pub(super) fn sibling_run(
        &mut self,
        tags: &mut KnownTags,
        publisher: PublisherKey,
        flags: u64,
        run: &RunIn<'_>,
    ) {
        self.metrics.events_from_siblings += run.body.count();
        if flags & flag::UNROUTED != 0 {
            self.own(tags, publisher, flags, run);
        } else {
            self.deliver(tags, publisher, flags, run, Scope::Core);
        }
    }

    #[inline]
    fn own(&mut self, tags: &mut KnownTags, publisher: PublisherKey, flags: u64, run: &RunIn<'_>) {
        self.position += 1;
        self.deliver(tags, publisher, flags, run, Scope::All);
    }

    /// Starts the way of what routing these runs reads to the core: their routes, then the receivers and streams that these
    /// name, then the names on those streams. Each step needs what the one before has fetched; within a step all wait
    /// together.
    pub(super) fn fetch(&self, window: &Window, scope: Scope) {
        for run in window.runs().iter().filter(|run| scope != Scope::All || self.owns(run.hash)) {
            self.routes.fetch(run.tag);
        }
        let mut receivers = [(0, 0); FETCHED_MAX];
        let mut len = 0;
        for (index, run) in window.runs().iter().enumerate() {
            let owner = Shard::of_hash(run.hash).owner(self.cores);
            if scope == Scope::All && owner != self.core {
                self.fetch_name(Location::Core(owner), run);
                continue;
            }
            let Some(route) = self.routes.resolved_last(run.tag) else { continue };
            for location in route.locations().filter(|_| scope != Scope::Core) {
                self.fetch_name(location, run);
            }
            for target in route.local() {
                let Some(place) = receivers.get_mut(len) else { break };
                *place = (target.receiver, index);
                len += 1;
                self.receivers.fetch(target.receiver);
            }
        }
        for &(slot, index) in &receivers[..len] {
            let (receiver, run) = (self.receivers.get(slot), &window.runs()[index]);
            if let Some(receiver) = receiver {
                receiver.writer.fetch_names(&run.tag, &run.publisher);
            }
        }
    }

    fn fetch_name(&self, location: Location, run: &Coming) {
        let writer = match location {
            Location::Core(core) => self.siblings.get(usize::from(core)).and_then(Option::as_ref),
            Location::Peer(peer) => {
                self.peers.get(usize::from(peer)).and_then(Option::as_ref).map(|lane| &lane.writer)
            }
        };
        if let Some(writer) = writer {
            writer.fetch_names(&run.tag, &run.publisher);
        }
    }

    fn owns(&self, hash: u64) -> bool {
        Shard::of_hash(hash).owner(self.cores) == self.core
    }

    fn intern(&mut self, tags: &mut KnownTags) -> TagId {
        if !self.routes.contains(tags.id) {
            tags.id = self.routes.intern(tags.tags(), tags.hash);
        }
        tags.id
    }

    /// Copies a run to every location within `scope` that wants it.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        tags: &mut KnownTags,
        publisher: PublisherKey,
        flags: u64,
        run: &RunIn<'_>,
        scope: Scope,
    ) {
        let body = &run.body;
        let tag = self.intern(tags);
        let Self { core, routes, directory, local, receivers, peers, siblings, metrics, .. } = self;
        let Some(resolved) = routes.resolve(tag, directory, local) else { return };
        let events = body.count();
        let run = RunOut {
            tag,
            tags: tags.tags(),
            publisher,
            flags: flags & FORWARDED,
            fields: &[],
            body: body.bytes(),
            buffer: run.buffer,
            events,
        };
        let mut wanted = false;
        if scope != Scope::Core {
            for location in resolved.locations() {
                match location {
                    Location::Core(sibling) if sibling != *core => {
                        wanted = true;
                        if let Some(Some(sibling)) = siblings.get_mut(usize::from(sibling)) {
                            metrics.events_to_siblings += events;
                            count_drops(metrics, sibling.push(&run), events, DropReason::MailboxOverflow);
                        }
                    }
                    Location::Core(_) => {}
                    Location::Peer(_) if scope == Scope::Router => {}
                    Location::Peer(peer) => {
                        wanted = true;
                        match peers.get_mut(usize::from(peer)) {
                            Some(Some(lane)) if !lane.finished => {
                                metrics.events_to_peers += events;
                                count_drops(
                                    metrics,
                                    lane.writer.push(&run),
                                    events,
                                    DropReason::LaneOverflow,
                                );
                            }
                            _ => metrics.drop(DropReason::PeerLost, events),
                        }
                    }
                }
            }
        }
        let mut targets = resolved.local();
        wanted |= !targets.is_empty();
        while let Some(first) = targets.first() {
            let slot = first.receiver;
            let same = targets.iter().take_while(|target| target.receiver == slot).count();
            let (group, rest) = targets.split_at(same);
            targets = rest;
            let Some(receiver) = receivers.get_mut(slot) else { continue };
            let by_payload = !receiver.patterns.is_empty()
                && group.iter().any(|target| receiver.pattern(target.selector).is_some());
            let kept = if by_payload {
                let scratch = (&mut self.fields, &mut self.builder, &mut self.body);
                deliver_by_payload(receiver, group, &run, body, scratch, metrics)
            } else {
                self.fields.clear();
                data::put_matched(&mut self.fields, group.iter().map(|target| target.subscription));
                push(receiver, &RunOut { fields: &self.fields, ..run }, metrics)
            };
            if kept {
                receivers.mark(slot);
            }
        }
        if !wanted && scope == Scope::All {
            metrics.events_unmatched += events;
        }
    }

    /// Puts a gap into the stream of every receiver on this core.
    pub(super) fn gap_to_all(&mut self, gap: &Gap) {
        let mut slots = Vec::new();
        for (slot, receiver) in self.receivers.iter_mut().filter(|(_, receiver)| !receiver.closing) {
            receiver.writer.push_gap(gap.clone());
            slots.push(slot);
        }
        for slot in slots {
            self.receivers.mark(slot);
        }
    }

    /// Puts a gap into the mailbox of every sibling.
    pub(super) fn gap_to_siblings(&mut self, gap: &Gap) {
        for sibling in self.siblings.iter_mut().flatten() {
            sibling.push_gap(gap.clone());
        }
    }

    /// Puts a gap into the lane to every peer.
    pub(super) fn gap_to_peers(&mut self, gap: &Gap) {
        for lane in self.peers.iter_mut().flatten() {
            lane.writer.push_gap(gap.clone());
        }
    }

    /// What entered through a router, and reached this one on a lane of this core, may be missing from here on: said on
    /// every core behind the lane's runs.
    pub(super) fn router_lost(&mut self, router: RouterId) {
        let gap = Gap { reason: GapReason::RouterLost, events: 0, router: Some(router) };
        self.gap_to_all(&gap);
        self.gap_to_siblings(&gap);
    }

    /// Peers' interest is new in the directory: says to each what it may have missed.
    pub(super) fn joined(&mut self, peers: &[PeerIndex]) {
        for &peer in peers {
            if let Some(Some(lane)) = self.peers.get_mut(usize::from(peer)) {
                lane.missed(self.position);
            }
        }
    }

    /// Whether runs wait for a sibling's mailbox.
    pub(super) fn has_batches(&self) -> bool {
        self.siblings.iter().flatten().any(|sibling| !sibling.is_empty())
    }

    /// The lane for this core's runs to a peer, created by the caller.
    pub(super) fn set_peer(&mut self, peer: PeerIndex, lane: Option<PeerLane>) -> Option<PeerLane> {
        let index = usize::from(peer);
        if self.peers.len() <= index {
            self.peers.resize_with(index + 1, || None);
        }
        std::mem::replace(&mut self.peers[index], lane)
    }

    /// Whether a sibling cannot keep up: then publishers are left unread.
    pub(super) fn siblings_pressed(&self, link_queue_bytes: u64) -> bool {
        self.siblings.iter().flatten().any(|sibling| sibling.queued_bytes() > link_queue_bytes / 2)
    }
}

fn count_drops(metrics: &mut CoreMetrics, pushed: Pushed, events: u64, reason: DropReason) {
    match pushed {
        Pushed::Kept { dropped: 0 } => {}
        Pushed::Kept { dropped } => metrics.drop(reason, dropped),
        Pushed::Refused => metrics.drop(reason, events),
        Pushed::TooLarge => metrics.drop(DropReason::TooLarge, events),
    }
}

/// Pushes a run to a receiver; whether it now has something to write.
#[inline]
fn push(receiver: &mut Receiver, run: &RunOut<'_>, metrics: &mut CoreMetrics) -> bool {
    let pushed = receiver.writer.push(run);
    count_drops(metrics, pushed, run.events, DropReason::ReceiverOverflow);
    if pushed == Pushed::Refused && receiver.policy == millrace_proto::control::OverflowPolicy::Disconnect {
        receiver.overflowed = true;
    }
    true
}

/// Delivers those events of a run whose payload, too, is wanted: consecutive events that the same subscriptions want
/// form a new run.
fn deliver_by_payload(
    receiver: &mut Receiver,
    group: &[LocalTarget],
    run: &RunOut<'_>,
    body: &RunBody<'_>,
    (fields, builder, scratch): (&mut Vec<u8>, &mut RunBuilder, &mut Vec<u8>),
    metrics: &mut CoreMetrics,
) -> bool {
    let mut kept = false;
    let mut current: Vec<u16> = Vec::new();
    let mut wanted: Vec<u16> = Vec::new();
    let mut flush = |receiver: &mut Receiver, builder: &mut RunBuilder, current: &[u16]| {
        if builder.count() == 0 {
            return;
        }
        let events = builder.count();
        scratch.clear();
        builder.finish(scratch);
        fields.clear();
        data::put_matched(fields, current.iter().copied());
        kept |= push(receiver, &RunOut { fields, body: scratch, buffer: None, events, ..*run }, metrics);
    };
    for event in body.events() {
        wanted.clear();
        for target in group {
            let wants =
                receiver.pattern(target.selector).is_none_or(|pattern| pattern.matches(event.payload));
            if wants && wanted.last() != Some(&target.subscription) {
                wanted.push(target.subscription);
            }
        }
        if wanted != current {
            flush(receiver, builder, &current);
            std::mem::swap(&mut current, &mut wanted);
        }
        if current.is_empty() {
            continue;
        }
        if builder.count() == 0 {
            builder.start(event.seq, body.floor(), body.base_time_ns());
        }
        builder.push(event.time_ns, event.payload);
    }
    flush(receiver, builder, &current);
    kept
}
