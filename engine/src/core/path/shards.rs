//! The shards that a core owns, and the positions of their runs.

use millrace_proto::tag::Shard;

use crate::message::CoreIndex;

/// The shards that this core owns among those of its router, and the position of their next run.
#[derive(Debug)]
pub(super) struct OwnShards {
    core: CoreIndex,
    cores: CoreIndex,
    /// Position of the next run that this core owns.
    pub(super) position: u64,
}

impl OwnShards {
    pub(super) const fn new(core: CoreIndex, cores: CoreIndex) -> Self {
        Self { core, cores, position: 0 }
    }

    /// The sibling that owns tag sets of this hash; none when this core does.
    #[inline]
    pub(super) fn other_owner(&self, hash: u64) -> Option<CoreIndex> {
        let owner = Shard::of_hash(hash).owner(self.cores);
        (owner != self.core).then_some(owner)
    }

    /// Gives a run its position.
    #[inline]
    pub(super) const fn number(&mut self) -> u64 {
        self.position += 1;
        self.position - 1
    }
}
