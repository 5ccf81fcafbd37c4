//! The mailbox of the forwarding thread, for cores.

use millrace_engine::core::Core;
use millrace_engine::forward::{CrossingRun, Handed};
use tokio::sync::mpsc;

use crate::budget::{Budget, Share};

/// Batches that wait, at most: each core sends one for each link and turn.
const BATCHES_MAX: usize = 1024;
/// Bytes that wait, over all cores. Further runs wait in the cores, and are dropped there beyond a
/// bound.
const BYTES_MAX: usize = 32 << 20;

/// Batches for links, each with its share of the budget.
pub(crate) type ForwardInbox = mpsc::Receiver<(Handed, Share)>;

/// A core's end of the mailbox; clones share one budget.
#[derive(Debug, Clone)]
pub(crate) struct ForwardPost {
    batches: mpsc::Sender<(Handed, Share)>,
    budget: Budget,
}

impl ForwardPost {
    /// The mailbox, and its reader's end.
    pub(crate) fn new() -> (Self, ForwardInbox) {
        let (batches, inbox) = mpsc::channel(BATCHES_MAX);
        (Self { batches, budget: Budget::new(BYTES_MAX) }, inbox)
    }

    /// Takes what a core has for links. Returns whether some is left, for want of room.
    pub(crate) fn take_from(&self, core: &mut Core) -> bool {
        while core.has_handed() && self.has_room() {
            let Some(handed) = core.take_handed() else { return false };
            if let Err(handed) = self.post(handed) {
                core.take_back(handed);
                return true;
            }
        }
        core.has_handed()
    }

    /// Whether another batch may wait.
    fn has_room(&self) -> bool {
        self.budget.has_room() && self.batches.capacity() > 0
    }

    /// Posts a batch. One that finds no room, because another core was faster, or no reader any
    /// more, is given back.
    fn post(&self, handed: Handed) -> Result<(), Handed> {
        let bytes: u64 = handed.runs.iter().map(CrossingRun::bytes).sum();
        let share = self.budget.take(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.batches.try_send((handed, share)).map_err(|refused| refused.into_inner().0)
    }
}
