//! To links to other clusters: runs as they are, because a link's thread has tables of its own.
//!
//! The core gives all that it has to the driver at the end of a turn. What the driver does not take
//! in time is dropped, the newest first, and counted for its link.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::core::run::RunOut;
use crate::forward::{ClusterPath, CrossingRun, Handed, LinkNumber};

/// Bytes that may wait for the driver: far more than a turn brings.
const BYTES_MAX: u64 = 8 << 20;

/// What links to other clusters take of this core's runs.
#[derive(Debug, Default)]
pub(in crate::core) struct ForwardOutlet {
    /// The clusters that the run has crossed which is being routed.
    crossed: ClusterPath,
    waiting: BTreeMap<LinkNumber, Handed>,
    bytes: u64,
}

impl ForwardOutlet {
    /// Sets what the runs have crossed that are routed from here on.
    pub(in crate::core) const fn set_crossed(&mut self, path: ClusterPath) {
        self.crossed = path;
    }

    /// Takes a run for a link.
    #[cold]
    pub(in crate::core) fn push(&mut self, link: LinkNumber, run: &RunOut<'_>) {
        let handed = self.waiting.entry(link).or_insert_with(|| Handed { link, ..Handed::default() });
        if self.bytes >= BYTES_MAX {
            handed.lost += run.events;
            return;
        }
        let run = CrossingRun {
            tags: run.tags.to_owned(),
            publisher: run.publisher,
            flags: run.flags,
            path: self.crossed,
            body: run
                .buffer
                .map_or_else(|| Bytes::copy_from_slice(run.body), |buffer| buffer.slice_ref(run.body)),
            events: run.events,
        };
        self.bytes += run.bytes();
        handed.runs.push(run);
    }

    /// Whether something waits for the driver.
    pub(in crate::core) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts back what was taken, before what has come since.
    pub(in crate::core) fn take_back(&mut self, mut handed: Handed) {
        self.bytes += handed.runs.iter().map(CrossingRun::bytes).sum::<u64>();
        if let Some(newer) = self.waiting.remove(&handed.link) {
            handed.lost += newer.lost;
            handed.runs.extend(newer.runs);
        }
        self.waiting.insert(handed.link, handed);
    }

    /// What waits for one of the links.
    pub(in crate::core) fn take(&mut self) -> Option<Handed> {
        let (_, handed) = self.waiting.pop_first()?;
        self.bytes -= handed.runs.iter().map(CrossingRun::bytes).sum::<u64>();
        Some(handed)
    }
}
