//! The locations of a run beside this core's own receivers: sibling cores, peers, and links to
//! other clusters, each with its outlet.

use std::sync::Arc;

use millrace_proto::RouterId;
use millrace_proto::control::OutcomeReason;
use millrace_proto::data::{Gap, GapReason, Mark};

use super::fate::Fates;
use crate::core::config::CoreConfig;
use crate::core::metrics::DropReason;
use crate::core::outlet::{ForwardOutlet, LaneOutlet, MailboxOutlet};
use crate::core::run::{Fate, RunOut};
use crate::history::KnownSource;
use crate::ledger::{EntryId, Ledger, Legs, Tally};
use crate::matching::Location;
use crate::message::{CoreIndex, PeerIndex};
use crate::transport::{ConnKey, StreamKey};

/// This core's lane to a peer, for runs that it owns.
#[derive(Debug)]
pub(in crate::core) struct PeerLane {
    pub(in crate::core) conn: ConnKey,
    /// The peer.
    pub(in crate::core) router: RouterId,
    pub(in crate::core) stream: Option<StreamKey>,
    pub(in crate::core) outlet: LaneOutlet,
    /// Whether nothing more is routed to it: the stream ends behind what was written.
    pub(in crate::core) finished: bool,
    /// Position up to which the peer was told that it may have missed runs.
    pub(in crate::core) told: u64,
    /// Whether the peer answers for runs.
    pub(in crate::core) answers: bool,
    /// The peer takes tickets for members of groups.
    pub(in crate::core) has_groups: bool,
    /// The peer counts rules of other versions.
    pub(in crate::core) has_rules: bool,
    /// Whether the lane was silent for a while, so that its runs count as missed.
    pub(in crate::core) is_suspect: bool,
}

impl PeerLane {
    /// Tells the peer that it may have missed runs before `position`: the gap stands behind the
    /// runs that it got and before those that it will get.
    pub(in crate::core) fn missed(&mut self, position: u64) {
        if position > self.told {
            self.told = position;
            self.outlet.push_gap(Gap { reason: GapReason::Joined, events: 0, router: None });
        }
    }

    /// The optional fields of a run to which tags were added.
    #[cold]
    fn fields<'a>(&self, run: &RunOut<'a>, added: &'a [u8]) -> &'a [u8] {
        if self.has_rules { added } else { run.fields }
    }

    /// Opens a leg to the peer; none when nobody counts on the peer: then the events count as
    /// missed at once.
    #[inline]
    fn follow(&self, run: &RunOut<'_>, fates: &mut Fates<'_>) -> Option<EntryId> {
        let entry = run.entry?;
        if self.answers && !self.is_suspect {
            fates.ledger.add(entry, run.span());
            return Some(entry);
        }
        let reason = if self.answers { OutcomeReason::PeerLost } else { OutcomeReason::CannotAcknowledge };
        fates.ledger.count(entry, run.span(), Tally::missed(reason));
        None
    }

    /// Ends the legs of a lane that is gone, or that nobody counts on, without an answer.
    pub(in crate::core) fn give_up(&mut self, ledger: &mut Ledger) {
        self.outlet.legs().end_all(Tally::missed(OutcomeReason::PeerLost), ledger);
    }

    /// Ends the lane and drops what waits for it. Returns the events dropped.
    pub(in crate::core) fn end(mut self, ledger: &mut Ledger) -> u64 {
        let lost = Tally::missed(OutcomeReason::PeerLost);
        self.give_up(ledger);
        self.outlet.clear(|run| {
            if let Some(entry) = run.entry {
                ledger.end(entry, run.span(), lost);
            }
        })
    }
}

/// Outlets to siblings and peers.
#[derive(Debug)]
pub(in crate::core) struct Locations {
    /// By core; none for this core.
    siblings: Vec<Option<MailboxOutlet>>,
    /// By peer index.
    peers: Vec<Option<PeerLane>>,
    /// Hop field 9 of the run at hand, which is told to peers; empty for a run without added tags.
    pub(super) added: Vec<u8>,
    /// What links to other clusters take.
    pub(in crate::core) forwards: ForwardOutlet,
}

impl Locations {
    pub(super) fn new(config: &CoreConfig) -> Self {
        let outlet =
            || MailboxOutlet::new(config.lane_tables, config.limits.link_queue_bytes, config.out_bytes);
        let siblings = (0..config.cores).map(|core| (core != config.core).then(outlet)).collect();
        let forwards = ForwardOutlet::default();
        Self { siblings, peers: Vec::new(), added: Vec::new(), forwards }
    }

    /// Copies a run to a sibling or peer. Returns whether that is a location beside this core.
    #[inline]
    pub(super) fn copy(&mut self, location: Location, run: &RunOut<'_>, fates: &mut Fates<'_>) -> bool {
        match location {
            Location::Core(core) => {
                let Some(Some(outlet)) = self.siblings.get_mut(usize::from(core)) else { return false };
                fates.metrics.events_to_siblings += run.events;
                fates.add(run);
                let overflow = DropReason::MailboxOverflow;
                let fate = outlet.push(run, |older| fates.lost(older, overflow));
                fates.tell(fate, run, overflow);
            }
            Location::Peer(peer) => match self.peers.get_mut(usize::from(peer)) {
                Some(Some(lane)) if !lane.finished => {
                    fates.metrics.events_to_peers += run.events;
                    let fields =
                        if self.added.is_empty() { run.fields } else { lane.fields(run, &self.added) };
                    let run = &RunOut { entry: lane.follow(run, fates), fields, ..*run };
                    let overflow = DropReason::LaneOverflow;
                    let fate = lane.outlet.push(run, |older| fates.lost(older, overflow));
                    fates.tell(fate, run, overflow);
                }
                _ => {
                    fates.add(run);
                    fates.lost(run, DropReason::PeerLost);
                }
            },
            Location::Forward(link) => self.forwards.push(link, run),
            Location::Member(_) => return false,
        }
        true
    }

    /// Sends a run with its ticket to the core or peer where its member is. Says whether it is on
    /// its way.
    pub(super) fn give(&mut self, location: Location, run: &RunOut<'_>, fates: &mut Fates<'_>) -> bool {
        let fate = match location {
            Location::Core(core) => {
                let Some(Some(outlet)) = self.siblings.get_mut(usize::from(core)) else { return false };
                fates.metrics.events_to_siblings += run.events;
                outlet.push(run, |older| fates.lost(older, DropReason::MailboxOverflow))
            }
            Location::Peer(peer) => {
                let Some(Some(lane)) = self.peers.get_mut(usize::from(peer)) else { return false };
                if lane.finished || lane.is_suspect || !lane.has_groups {
                    return false;
                }
                fates.metrics.events_to_peers += run.events;
                lane.outlet.push(run, |older| fates.lost(older, DropReason::LaneOverflow))
            }
            Location::Forward(_) | Location::Member(_) => return false,
        };
        fate == Fate::Kept
    }

    /// Runs that a sibling core has not answered for.
    pub(in crate::core) fn sibling_legs(&mut self, core: CoreIndex) -> Option<&mut Legs> {
        Some(self.siblings.get_mut(usize::from(core))?.as_mut()?.legs())
    }

    /// Runs that siblings and peers have not answered for.
    pub(in crate::core) fn all_legs(&mut self) -> impl Iterator<Item = &mut Legs> {
        let siblings = self.siblings.iter_mut().flatten().map(MailboxOutlet::legs);
        siblings.chain(self.peers.iter_mut().flatten().map(|lane| lane.outlet.legs()))
    }

    /// The lane to a peer, if it is on this connection.
    pub(in crate::core) fn peer_on(&mut self, peer: PeerIndex, conn: ConnKey) -> Option<&mut PeerLane> {
        self.peers.get_mut(usize::from(peer))?.as_mut().filter(|lane| lane.conn == conn)
    }

    /// The place of a router that this core has a lane to.
    pub(super) fn peer_of(&self, router: RouterId) -> Option<PeerIndex> {
        let is_it = |lane: &Option<PeerLane>| lane.as_ref().is_some_and(|lane| lane.router == router);
        PeerIndex::try_from(self.peers.iter().position(is_it)?).ok()
    }

    pub(super) fn sibling(&self, core: CoreIndex) -> Option<&MailboxOutlet> {
        self.siblings.get(usize::from(core))?.as_ref()
    }

    pub(super) fn peer(&self, peer: PeerIndex) -> Option<&PeerLane> {
        self.peers.get(usize::from(peer))?.as_ref()
    }

    /// The lanes for this core's runs.
    pub(in crate::core) fn peers_mut(&mut self) -> impl Iterator<Item = &mut PeerLane> {
        self.peers.iter_mut().flatten()
    }

    /// Whether everything for peers was handed to the transport.
    pub(in crate::core) fn has_written_peers(&self) -> bool {
        self.peers.iter().flatten().all(|lane| lane.outlet.is_empty())
    }

    /// Makes a lane the one for this core's runs to a peer. Returns the one that it replaces.
    pub(in crate::core) fn set_peer(&mut self, peer: PeerIndex, lane: PeerLane) -> Option<PeerLane> {
        let index = usize::from(peer);
        if self.peers.len() <= index {
            self.peers.resize_with(index + 1, || None);
        }
        self.peers[index].replace(lane)
    }

    /// Removes the lane to a peer, if it is on this connection.
    pub(in crate::core) fn remove_peer(&mut self, peer: PeerIndex, conn: ConnKey) -> Option<PeerLane> {
        let lane = self.peers.get_mut(usize::from(peer))?;
        if lane.as_ref()?.conn == conn { lane.take() } else { None }
    }

    /// Takes the next batch for a sibling's mailbox.
    pub(in crate::core) fn take_batch(&mut self, to: CoreIndex) -> Option<Vec<u8>> {
        self.siblings.get_mut(usize::from(to))?.as_mut()?.take_batch()
    }

    /// Whether runs wait for a sibling's mailbox.
    pub(in crate::core) fn has_batches(&self) -> bool {
        self.siblings.iter().flatten().any(|outlet| !outlet.is_empty())
    }

    /// Whether a sibling does not keep up, so that publish streams stay unread.
    pub(in crate::core) fn siblings_pressed(&self, link_queue_bytes: u64) -> bool {
        self.siblings.iter().flatten().any(|outlet| outlet.queued_bytes() > link_queue_bytes / 2)
    }

    /// Tells these peers what they may have missed before `position`, from which on the directory
    /// has their interest.
    pub(in crate::core) fn tell_joined(&mut self, peers: &[PeerIndex], position: u64) {
        for &peer in peers {
            if let Some(Some(lane)) = self.peers.get_mut(usize::from(peer)) {
                lane.missed(position);
            }
        }
    }

    /// Says to every sibling how far sources have come.
    pub(in crate::core) fn cursor_to_siblings(&mut self, positions: &[(Arc<KnownSource>, u64)]) {
        for outlet in self.siblings.iter_mut().flatten() {
            outlet.cursor(positions);
        }
    }

    /// Says to every peer how far this core has come.
    pub(in crate::core) fn cursor_to_peers(&mut self, own: &Arc<KnownSource>, position: u64) {
        for lane in self.peers_mut().filter(|lane| !lane.finished) {
            lane.outlet.cursor(own, position);
        }
    }

    /// Puts a mark behind the runs for a sibling.
    pub(in crate::core) fn mark_to_sibling(&mut self, core: CoreIndex, mark: Mark) {
        if let Some(Some(outlet)) = self.siblings.get_mut(usize::from(core)) {
            outlet.push_mark(mark);
        }
    }

    /// Puts a gap into the mailbox of every sibling.
    pub(in crate::core) fn gap_to_siblings(&mut self, gap: &Gap) {
        for outlet in self.siblings.iter_mut().flatten() {
            outlet.push_gap(gap.clone());
        }
    }

    /// Puts a gap into the lane to every peer.
    pub(in crate::core) fn gap_to_peers(&mut self, gap: &Gap) {
        for lane in self.peers_mut() {
            lane.outlet.push_gap(gap.clone());
        }
    }
}
