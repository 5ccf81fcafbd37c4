//! On which ways events have come from other clusters.

use std::collections::BTreeMap;

use crate::forward::ClusterPath;

/// Paths that are told apart, at most; those beyond are counted nowhere but as events.
const PATHS_MAX: usize = 256;

/// What has come from other clusters.
#[derive(Debug, Default)]
pub(in crate::core) struct Arrivals {
    /// Events, by the path on which they came.
    by_path: BTreeMap<ClusterPath, u64>,
}

impl Arrivals {
    pub(super) fn count(&mut self, path: ClusterPath, events: u64) {
        if self.by_path.len() < PATHS_MAX || self.by_path.contains_key(&path) {
            *self.by_path.entry(path).or_default() += events;
        }
    }

    /// Events, by the path on which they came.
    pub(in crate::core) const fn by_path(&self) -> &BTreeMap<ClusterPath, u64> {
        &self.by_path
    }
}
