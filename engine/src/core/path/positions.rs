//! What a core knows of positions: those that it gives itself, with what it does to the runs that
//! get them, and those that others tell.

use std::sync::Arc;

use millrace_proto::data::Source;

use super::ruling::Ruling;
use super::shards::OwnShards;
use crate::core::config::CoreConfig;
use crate::core::files::Files;
use crate::core::replays::Replays;
use crate::history::{KnownSource, Ring, SourceTable, Sources};

/// What a core knows of positions.
#[derive(Debug)]
pub(in crate::core) struct Positions {
    pub(super) shards: OwnShards,
    /// Whether the owner has more to do than to give a run its position: it keeps runs, or has
    /// rules.
    pub(super) is_stepwise: bool,
    /// Tag rules for the runs that this core owns.
    pub(in crate::core) ruling: Ruling,
    /// The runs that this core owned lately.
    pub(in crate::core) ring: Ring,
    /// What this core has for history files.
    pub(in crate::core) files: Files,
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
            is_stepwise: config.limits.kept.history.bytes > 0,
            ruling: Ruling::default(),
            ring: Ring::new(config.limits.kept.history, 0),
            files: Files::default(),
            own,
            sources,
            of_siblings: std::iter::repeat_with(SourceTable::default).take(usize::from(cores)).collect(),
            replays: Replays::new(cores),
        }
    }

    /// Looks anew at what an owner has to do, because history or rules have changed.
    pub(in crate::core) fn review_steps(&mut self) {
        self.is_stepwise = self.ring.is_on() || self.ruling.ruler.is_on();
    }
}
