//! The budget of receivers' queues: when they hold more than the core allows, the largest give way
//! first.
//!
//! ```text
//! queues    9 7 7 3 1  = 27     budget 20: those above 5 are cut to 5     5 5 5 3 1 = 19
//! ```
//!
//! What counts is the memory that a queue has reserved. The queues of receivers with policy `block`
//! give way to nobody: their room was set aside when they were opened. A small queue loses nothing.
//! Each cut frees a sixteenth of the budget, so that the events that came since pay for looking at
//! all queues.

use super::fate::Fates;
use super::state::Path;
use crate::core::metrics::DropReason;

impl Path {
    /// Whether receivers' queues hold more than the budget.
    #[inline]
    pub(super) fn is_over_budget(&self) -> bool {
        self.receivers.queued().bytes() > self.clients.queue_budget_bytes
    }

    /// Cuts the largest queues.
    #[cold]
    pub(super) fn shed(&mut self) {
        // What waits for replays has a share of its own, and gives way by itself.
        let budget = self.clients.queue_budget_bytes.saturating_sub(self.receivers.held.bytes());
        let blocking = self.receivers.iter().filter(|receiver| receiver.queue.blocks());
        let blocked: u64 = blocking.map(|receiver| receiver.queue.room()).sum();
        let target = (budget - budget / 16).saturating_sub(blocked);
        let others = self.receivers.iter().filter(|receiver| !receiver.queue.blocks());
        let level = level(others.map(|receiver| receiver.queue.room()).collect(), target);
        let (mut fates, mut cut) = (
            Fates { metrics: &mut self.metrics, missed: &mut self.missed, ledger: &mut self.ledger },
            Vec::new(),
        );
        for (slot, receiver) in self
            .receivers
            .iter_mut()
            .filter(|(_, receiver)| receiver.queue.room() > level && !receiver.queue.blocks())
        {
            let mut events = 0;
            receiver.queue.shed(level, |run| {
                events += run.events;
                fates.lost(run, DropReason::ReceiverOverflow);
            });
            receiver.dropped += events;
            fates.metrics.queue_budget_drops += events;
            cut.push(slot);
        }
        for slot in cut {
            self.receivers.mark(slot);
        }
    }
}

/// The size to which larger queues are cut, so that all together take `target`.
fn level(mut sizes: Vec<u64>, target: u64) -> u64 {
    sizes.sort_unstable();
    let (mut smaller, mut larger) = (0, sizes.len() as u64);
    for size in sizes {
        if smaller + size * larger > target {
            return (target - smaller) / larger;
        }
        smaller += size;
        larger -= 1;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn larger_queues_are_cut_to_one_level() {
        assert_eq!(level(vec![9, 7, 7, 3, 1], 20), 5);
        assert_eq!(level(vec![9, 7, 7, 3, 1], 27), u64::MAX);
        assert_eq!(level(vec![10, 10], 0), 0);
        assert_eq!(level(vec![100, 1, 1], 52), 50);
        assert_eq!(level(vec![], 5), u64::MAX);
    }
}
