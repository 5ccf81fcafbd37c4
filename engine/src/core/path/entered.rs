//! A run as it enters a stage of the path.

use millrace_proto::PublisherKey;

use super::reader::RunIn;
use crate::history::Place;
use crate::ledger::Origin;
use crate::message::CoreIndex;

/// How far a run may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Scope {
    /// Anywhere: its owner routes it.
    All,
    /// Anywhere within this router, because it came from a peer: one hop, no loops.
    Router,
    /// To this core's sessions, because a sibling has routed it.
    Core,
}

/// A run as it enters a stage.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Entered<'a> {
    pub(in crate::core) publisher: PublisherKey,
    pub(in crate::core) flags: u64,
    pub(in crate::core) run: &'a RunIn<'a>,
    /// The sibling core that handed it over.
    pub(in crate::core) from: Option<CoreIndex>,
    /// Whom to tell how it ends, if its flags have a level.
    pub(in crate::core) origin: Option<Origin>,
    /// Where it stands in what its owner has routed, where that is told.
    pub(in crate::core) place: Option<&'a Place>,
}
