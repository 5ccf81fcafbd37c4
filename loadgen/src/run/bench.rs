//! What a run works with.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::disturb::Disturbers;
use crate::fleet::Fleet;
use crate::progress::Progress;
use crate::scenario::Scenario;

/// Between two looks at the counters.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a run works with.
pub(super) struct Bench<'a> {
    pub(super) fleet: Fleet,
    pub(super) cluster: &'a Cluster,
    pub(super) scenario: &'a Scenario,
    pub(super) disturbers: Disturbers,
    pub(super) progress: &'a Progress,
}
