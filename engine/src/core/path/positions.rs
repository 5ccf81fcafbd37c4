//! What a core knows of positions: those that it gives itself, and those that others tell.

use std::sync::Arc;

use millrace_proto::data::Source;

use super::shards::OwnShards;
use crate::core::config::CoreConfig;
use crate::core::replays::Replays;
use crate::history::{KnownSource, Ring, SourceTable, Sources};

/// What a core knows of positions.
#[derive(Debug)]
pub(in crate::core) struct Positions {
    pub(super) shards: OwnShards,
    /// The runs that this core owned lately.
    pub(in crate::core) ring: Ring,
    /// This core as a source.
    pub(in crate::core) own: Arc<KnownSource>,
    /// All sources that this core knows.
    pub(in crate::core) sources: Sources,
    /// The numbers that each sibling's batches have for them, by core.
    pub(in crate::core) of_siblings: Vec<SourceTable>,
    /// Who is replayed what.
    pub(in crate::core) replays: Replays,
}

impl Positions {
    pub(super) fn new(config: &CoreConfig) -> Self {
        let &CoreConfig { router, incarnation, core, cores, .. } = config;
        let (sources, own) = Sources::of(Source { router, incarnation, owner: core });
        Self {
            shards: OwnShards::new(core, cores, config.seed),
            ring: Ring::new(config.limits.kept.history, 0),
            own,
            sources,
            of_siblings: std::iter::repeat_with(SourceTable::default).take(usize::from(cores)).collect(),
            replays: Replays::new(cores),
        }
    }
}
