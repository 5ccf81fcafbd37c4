//! A run that a core hands over to a link.

use bytes::Bytes;
use millrace_proto::{PublisherKey, TagSet};

use super::path::ClusterPath;

/// Names a link within its router. A number is not given again while the router lives.
pub type LinkNumber = u16;

/// Bytes that a run is counted with besides its body and its tags.
const OVERHEAD_BYTES: usize = 96;

/// A run on its way to another cluster, as it entered this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossingRun {
    /// Its tags.
    pub tags: TagSet,
    /// Who published it.
    pub publisher: PublisherKey,
    /// Its flags in the hop header.
    pub flags: u64,
    /// The clusters that it has crossed, without this one.
    pub path: ClusterPath,
    /// Its body, as its publisher wrote it.
    pub body: Bytes,
    /// Its events.
    pub events: u64,
}

impl CrossingRun {
    /// The memory that it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.body.len() + self.tags.canonical().len() + OVERHEAD_BYTES) as u64
    }
}

/// What a core has for a link since it was asked last.
#[derive(Debug, Clone, Default)]
pub struct Handed {
    /// The link.
    pub link: LinkNumber,
    /// Runs, in the order in which their owner routed them.
    pub runs: Vec<CrossingRun>,
    /// Events for which the core had no room, before these runs.
    pub lost: u64,
}
