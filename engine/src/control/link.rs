//! A link: the lanes between this router and a peer, and the state of lane 0.

use millrace_proto::feature::{self, Features};

use super::targets::Retry;
use super::unheard::Unheard;
use crate::message::{CoreIndex, DialId};
use crate::time::Time;
use crate::transport::ConnKey;

/// All lanes to one peer. A link begins and ends with lane 0.
#[derive(Debug)]
pub(super) struct Link {
    /// The address that this router dialled; `None` when the peer dialled.
    pub(super) target: Option<String>,
    /// Lanes by number: as many as the side with more cores has.
    pub(super) lanes: Vec<Lane>,
    /// Cores of the peer: the lane of each owner has its number.
    pub(super) owners: u16,
    /// Whether all lanes were up at one time.
    pub(super) was_complete: bool,
    /// Version of the own interest that the peer has acknowledged; 0 before the first.
    pub(super) acked: u64,
    /// Publishers at the peer that may not know a version of the own interest.
    pub(super) unheard: Unheard,
    /// Whether the peer's first interest on this link was applied.
    pub(super) joined: bool,
    /// Whether events may be missing that entered through an earlier life of the peer.
    pub(super) after_loss: bool,
    /// Features that both sides know.
    pub(super) features: Features,
    /// When the last snapshot was sent.
    pub(super) snapshot_at: Time,
    /// Whether the peer waits for a snapshot that it has asked for.
    pub(super) snapshot_wanted: bool,
    /// When the next digest is due.
    pub(super) digest_at: Time,
}

/// One lane's place in its link.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) up: Option<LaneUp>,
    /// The attempt to dial it, on the dialling side.
    pub(super) dial: Option<DialId>,
    pub(super) retry: Retry,
}

/// A lane that was accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneUp {
    pub(super) core: CoreIndex,
    pub(super) conn: ConnKey,
    pub(super) epoch: u64,
    /// Since when the lane is silent; `None` while it is heard.
    pub(super) silent_since: Option<Time>,
}

impl Lane {
    /// Since when the lane is up and silent.
    pub(super) fn silent_since(&self) -> Option<Time> {
        self.up?.silent_since
    }
}

impl Link {
    pub(super) fn new(now: Time, target: Option<String>, lanes: u16) -> Self {
        Self {
            target,
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            owners: 0,
            was_complete: false,
            acked: 0,
            unheard: Unheard::default(),
            joined: false,
            after_loss: false,
            features: Features::default(),
            snapshot_at: now,
            snapshot_wanted: false,
            digest_at: now,
        }
    }

    /// Whether this router dialled it. The peer's lanes then belong to another link, and the other
    /// way round. Epochs of two diallers cannot be compared.
    pub(super) const fn is_ours(&self) -> bool {
        self.target.is_some()
    }

    /// Whether the peer can read the literals of interest.
    pub(super) const fn knows_literals(&self) -> bool {
        self.features.contains(feature::LITERALS)
    }

    /// Whether the peer keeps members of groups.
    pub(super) const fn knows_groups(&self) -> bool {
        self.features.contains(feature::GROUPS)
    }

    /// Whether the peer keeps sets of standby publishers.
    pub(super) const fn knows_sets(&self) -> bool {
        self.features.contains(feature::STANDBY)
    }

    pub(super) fn lane(&mut self, lane: u16) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::from(lane))
    }

    /// Lane 0, which carries interest, while it is up.
    pub(super) fn control(&self) -> Option<LaneUp> {
        self.lanes.first()?.up
    }

    pub(super) fn lanes_up(&self) -> impl Iterator<Item = LaneUp> {
        self.lanes.iter().filter_map(|lane| lane.up)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.lanes.iter().all(|lane| lane.up.is_some())
    }

    pub(super) fn is_silent(&self) -> bool {
        self.lanes_up().any(|lane| lane.silent_since.is_some())
    }
}
