//! The shards that a core owns, and the positions of their runs.

use millrace_proto::TagSetRef;
use millrace_proto::tag::Shard;

use crate::core::hot::{HotPicture, HotTags};
use crate::message::CoreIndex;

/// The shards that this core owns among those of its router, and the position of their next run.
#[derive(Debug)]
pub(super) struct OwnShards {
    core: CoreIndex,
    cores: CoreIndex,
    /// Position of the next run that this core owns.
    pub(super) position: u64,
    /// Position behind the last one of them that was not a router's own.
    pub(super) public: u64,
    hot: HotTags,
}

impl OwnShards {
    pub(super) fn new(core: CoreIndex, cores: CoreIndex, seed: u64) -> Self {
        Self { core, cores, position: 0, public: 0, hot: HotTags::new(seed.wrapping_add(u64::from(core))) }
    }

    /// The sibling that owns tag sets of this hash; none when this core does.
    #[inline]
    pub(super) fn other_owner(&self, hash: u64) -> Option<CoreIndex> {
        let owner = Shard::of_hash(hash).owner(self.cores);
        (owner != self.core).then_some(owner)
    }

    /// This core.
    pub(super) const fn core(&self) -> CoreIndex {
        self.core
    }

    /// Gives a run its position.
    #[inline]
    pub(super) const fn number(&mut self, is_internal: bool) -> u64 {
        self.position += 1;
        if !is_internal {
            self.public = self.position;
        }
        self.position - 1
    }

    /// Whether the run that has got its position last is one of those that are sampled.
    #[inline]
    pub(super) const fn is_sampled(&self) -> bool {
        self.hot.is_due(self.position)
    }

    /// Samples it.
    #[cold]
    pub(super) fn sample(&mut self, tags: TagSetRef<'_>, events: u64) {
        self.hot.sample(tags, events);
    }

    /// What the samples say.
    pub(super) fn hot(&self) -> HotPicture {
        self.hot.picture()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_routers_have_positions_and_are_nothing_that_a_receiver_misses() {
        let mut shards = OwnShards::new(0, 1, 0);
        assert_eq!((shards.number(true), shards.public), (0, 0));
        assert_eq!((shards.number(false), shards.public), (1, 2));
        assert_eq!((shards.number(true), shards.public), (2, 2));
    }
}
