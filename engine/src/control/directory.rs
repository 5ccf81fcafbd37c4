//! The directory: all interest of cores and peers, indexed, versioned, and handed to the cores.
//!
//! Changes gather in the index; [`Directory::publish`] makes a version of them. A core gets the
//! newest version when it has applied the one before, so that at most one is on its way to each
//! core and versions may be skipped.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use millrace_proto::{PublisherId, Selector};

use super::members::MemberBook;
use super::names::NameBook;
use super::output::ControlOutput;
use super::places::Places;
use super::unheard::Unheard;
use crate::matching::{Index, Location, Taker};
use crate::message::{CoreIndex, PeerIndex, ToCore};
use crate::payload::FilterTable;

/// The index, and the version that each core routes by.
#[derive(Debug)]
pub(super) struct Directory {
    index: Index<Taker>,
    filters: FilterTable,
    entries: usize,
    version: u64,
    changed: bool,
    cores: Vec<CoreView>,
    peers: Places,
    /// Members of groups that the index names.
    pub(super) members: MemberBook,
    /// Names of receivers. They stand in no index: cores are told of them before the version that
    /// counts on them.
    pub(super) names: NameBook,
    /// Publishers that have not said that they know a version.
    pub(super) unheard: Unheard,
}

#[derive(Debug, Clone, Default)]
struct CoreView {
    sent: u64,
    applied: u64,
    /// The version that its publishers know.
    settled: u64,
    position: u64,
    /// Peers whose interest is new in the next version.
    joined: BTreeSet<PeerIndex>,
}

impl Directory {
    /// An empty directory that has published no version.
    pub(super) fn new(seed: u64, cores: u16) -> Self {
        Self {
            index: Index::new(seed),
            filters: FilterTable::new(seed),
            entries: 0,
            version: 0,
            changed: true,
            cores: vec![CoreView::default(); usize::from(cores)],
            peers: Places::new(Taker::PEER_PLACES_MAX),
            members: MemberBook::new(),
            names: NameBook::default(),
            unheard: Unheard::default(),
        }
    }

    /// Adds a pair that the directory does not have.
    pub(super) fn insert(&mut self, selector: &Arc<Selector>, location: Location) {
        if let Some(membership) = selector.membership() {
            let applied = self.applied_everywhere();
            // One that finds no place gets nothing: its group has thousands of others.
            if let Some(index) = self.members.refer(location, membership, applied)
                && self.index.insert(selector, Taker::new(Location::Member(index), None))
            {
                self.entries += 1;
                self.changed = true;
            }
            return;
        }
        if let Some(claim) = selector.claim() {
            self.names.insert(location, claim);
            self.entries += 1;
            self.changed = true;
            return;
        }
        if self.is_for_nobody(location) {
            self.entries += 1;
            return;
        }
        let filter = selector.literals().and_then(|literals| self.filters.refer(literals));
        if self.index.insert(selector, Taker::new(location, filter)) {
            self.entries += 1;
            self.changed = true;
        }
    }

    /// Removes a pair that the directory has.
    pub(super) fn remove(&mut self, selector: &Arc<Selector>, location: Location) {
        if let Some(membership) = selector.membership() {
            // The change that takes it out makes a version of its own.
            let version = self.version + 1;
            if let Some(index) = self.members.unrefer(location, membership.member, version)
                && self.index.remove(selector, Taker::new(Location::Member(index), None))
            {
                self.entries -= 1;
                self.changed = true;
            }
            return;
        }
        if let Some(claim) = selector.claim() {
            self.names.remove(location, claim);
            self.entries -= 1;
            self.changed = true;
            return;
        }
        if self.is_for_nobody(location) {
            self.entries -= 1;
            return;
        }
        // A pair that came when there were too many filters has none.
        let literals = selector.literals();
        let filter = literals.and_then(|literals| self.filters.get(literals));
        if filter.is_some() && self.index.remove(selector, Taker::new(location, filter)) {
            literals.into_iter().for_each(|literals| self.filters.unrefer(literals));
        } else if !self.index.remove(selector, Taker::new(location, None)) {
            return;
        }
        self.entries -= 1;
        self.changed = true;
    }

    /// Whether a location reads no version: a core finds its own subscribers in an index of its
    /// own, so that the interest of a router's only core is counted and makes no version. That
    /// halves the cost of a change here.
    fn is_for_nobody(&self, location: Location) -> bool {
        matches!(location, Location::Core(_)) && self.cores.len() == 1
    }

    /// Pairs of selector and location.
    pub(super) const fn entries(&self) -> usize {
        self.entries
    }

    /// The newest version that was published.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// The version that covers every change so far.
    pub(super) fn version_of_changes(&self) -> u64 {
        self.version + u64::from(self.changed)
    }

    /// Whether changes wait for a version.
    pub(super) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Makes a version of the changes, if there are any, and gives it to the cores that are ready.
    pub(super) fn publish(&mut self, outputs: &mut VecDeque<ControlOutput>) -> bool {
        if !self.changed {
            return false;
        }
        self.changed = false;
        self.version += 1;
        for core in 0..self.cores.len() {
            self.send(core, outputs);
        }
        true
    }

    /// Notes that a core routes by a version. Messages without a meaning are ignored.
    pub(super) fn applied(
        &mut self,
        core: CoreIndex,
        version: u64,
        position: u64,
        outputs: &mut VecDeque<ControlOutput>,
    ) {
        let Some(view) = self.cores.get_mut(usize::from(core)) else { return };
        if version <= view.applied || version > view.sent {
            return;
        }
        view.applied = version;
        view.position = position;
        self.send(usize::from(core), outputs);
    }

    /// Notes that a core's publishers know what a version wants, but for those left out. Messages
    /// without a meaning are ignored.
    pub(super) fn settled(&mut self, core: CoreIndex, version: u64, left_out: Vec<PublisherId>) {
        if let Some(view) = self.cores.get_mut(usize::from(core)).filter(|view| version <= view.applied) {
            view.settled = view.settled.max(version);
            self.unheard.add(version, left_out);
        }
    }

    fn send(&mut self, core: usize, outputs: &mut VecDeque<ControlOutput>) {
        let view = &mut self.cores[core];
        if view.sent == view.applied && view.sent < self.version {
            view.sent = self.version;
            outputs.push_back(ControlOutput::ToCore {
                core: CoreIndex::try_from(core).unwrap_or(CoreIndex::MAX),
                message: ToCore::Directory {
                    version: self.version,
                    index: self.index.clone(),
                    prefilter: self.filters.prefilter(),
                    joined: std::mem::take(&mut view.joined).into_iter().collect(),
                },
            });
        }
    }

    /// The newest version that every core routes by.
    pub(super) fn applied_everywhere(&self) -> u64 {
        self.cores.iter().map(|view| view.applied).min().unwrap_or(self.version)
    }

    /// The newest version that the publishers of every core know.
    pub(super) fn settled_everywhere(&self) -> u64 {
        self.cores.iter().map(|view| view.settled).min().unwrap_or(self.version)
    }

    /// Position at which a core applied its version, if that is at least `version`.
    fn position(&self, core: usize, version: u64) -> Option<u64> {
        let view = self.cores.get(core)?;
        (view.applied >= version).then_some(view.position)
    }

    /// Notes that the changes hold the first interest of a new link, if it has any: with their
    /// version, cores tell the peer what they routed before.
    pub(super) fn joined(&mut self, peer: PeerIndex) {
        if self.changed {
            for view in &mut self.cores {
                view.joined.insert(peer);
            }
        }
    }

    /// A place for a peer: the lowest that no core may have in its directory. `None` when all are
    /// taken, because cores are far behind.
    pub(super) fn allocate_peer(&mut self) -> Option<PeerIndex> {
        let applied = self.applied_everywhere();
        self.peers.allocate(applied)
    }

    /// Frees a peer's place, whose entries were removed, once all cores have applied that.
    pub(super) fn release_peer(&mut self, peer: PeerIndex) {
        for view in &mut self.cores {
            view.joined.remove(&peer);
        }
        self.peers.release(self.version_of_changes(), peer);
    }
}

/// Versions of a peer's interest on their way to the cores, to be acknowledged when all have
/// applied them.
///
/// Two at most: the one that is awaited, whose positions are noted core by core, and the newest one
/// behind it.
#[derive(Debug, Default)]
pub(super) struct Applying {
    awaited: Option<Awaited>,
    next: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Awaited {
    interest: u64,
    directory: u64,
    positions: Vec<Option<u64>>,
}

impl Applying {
    /// Adds a version of the peer's interest, which the directory has from its version `directory`
    /// on.
    pub(super) fn push(&mut self, interest: u64, directory: u64) {
        if self.awaited.is_some() {
            self.next = Some((interest, directory));
        } else {
            self.awaited = Some(Awaited { interest, directory, positions: Vec::new() });
        }
    }

    /// Notes how far the cores are. Returns a version that all of them have applied and their
    /// publishers know, with each core's position, and the publishers that may not know it.
    pub(super) fn poll(&mut self, directory: &Directory) -> Option<(u64, Vec<u64>, Vec<PublisherId>)> {
        let awaited = self.awaited.as_mut()?;
        awaited.positions.resize(directory.cores.len(), None);
        for (core, position) in awaited.positions.iter_mut().enumerate() {
            *position = position.or_else(|| directory.position(core, awaited.directory));
        }
        let positions = awaited.positions.iter().copied().collect::<Option<Vec<_>>>()?;
        if directory.settled_everywhere() < awaited.directory {
            return None;
        }
        let interest = awaited.interest;
        let unheard = directory.unheard.from(awaited.directory).collect();
        self.awaited = self.next.take().map(|(interest, directory)| Awaited {
            interest,
            directory,
            positions: Vec::new(),
        });
        Some((interest, positions, unheard))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Arc<Selector> {
        Arc::new(Selector::parse(text).unwrap())
    }

    fn sent(outputs: &mut VecDeque<ControlOutput>) -> Vec<(CoreIndex, u64)> {
        let version = |output| match output {
            ControlOutput::ToCore { core, message: ToCore::Directory { version, .. } } => (core, version),
            other => panic!("{other:?}"),
        };
        outputs.drain(..).map(version).collect()
    }

    #[test]
    fn a_slow_core_skips_versions_and_is_given_the_newest() {
        let mut outputs = VecDeque::new();
        let mut directory = Directory::new(1, 2);
        assert!(directory.publish(&mut outputs));
        assert_eq!(sent(&mut outputs), [(0, 1), (1, 1)]);
        directory.applied(0, 1, 0, &mut outputs);
        for round in 0..3 {
            directory.insert(&selector(&format!("a={round}")), Location::Core(0));
            directory.publish(&mut outputs);
            directory.applied(0, directory.version(), round, &mut outputs);
        }
        assert_eq!(sent(&mut outputs), [(0, 2), (0, 3), (0, 4)]);
        assert_eq!(directory.applied_everywhere(), 0);
        directory.applied(1, 9, 7, &mut outputs);
        directory.applied(1, 1, 7, &mut outputs);
        assert_eq!(sent(&mut outputs), [(1, 4)]);
        assert_eq!(directory.applied_everywhere(), 1);
    }

    #[test]
    fn a_place_is_given_again_only_when_no_core_can_still_see_it() {
        let mut outputs = VecDeque::new();
        let mut directory = Directory::new(1, 1);
        let first = directory.allocate_peer().unwrap();
        directory.insert(&selector("a=1"), Location::Peer(first));
        directory.publish(&mut outputs);
        directory.applied(0, 1, 0, &mut outputs);
        directory.remove(&selector("a=1"), Location::Peer(first));
        directory.release_peer(first);
        assert_ne!(directory.allocate_peer(), Some(first));
        directory.publish(&mut outputs);
        directory.applied(0, 2, 0, &mut outputs);
        assert_eq!(directory.allocate_peer(), Some(first));
    }

    #[test]
    fn the_positions_of_an_acknowledgement_are_those_of_the_first_application() {
        let mut outputs = VecDeque::new();
        let mut directory = Directory::new(1, 2);
        let mut applying = Applying::default();
        directory.insert(&selector("a=1"), Location::Peer(0));
        applying.push(5, directory.version_of_changes());
        directory.publish(&mut outputs);
        assert_eq!(applying.poll(&directory), None);
        directory.applied(0, 1, 3, &mut outputs);
        assert_eq!(applying.poll(&directory), None);
        directory.insert(&selector("a=2"), Location::Peer(0));
        applying.push(6, directory.version_of_changes());
        directory.publish(&mut outputs);
        directory.applied(0, 2, 90, &mut outputs);
        directory.settled(0, 2, Vec::new());
        assert_eq!(applying.poll(&directory), None);
        directory.applied(1, 1, 4, &mut outputs);
        assert_eq!(applying.poll(&directory), None, "its publishers may not know");
        directory.settled(1, 1, vec![PublisherId(9)]);
        assert_eq!(applying.poll(&directory), Some((5, vec![3, 4], vec![PublisherId(9)])));
        assert_eq!(applying.poll(&directory), None);
        directory.applied(1, 2, 40, &mut outputs);
        directory.settled(1, 2, Vec::new());
        assert_eq!(applying.poll(&directory), Some((6, vec![90, 40], Vec::new())));
    }
}
