//! What the run tells the fleet's threads, and how they hear of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One stretch of publishing at a rate.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Scheduled time of the first event.
    pub start: Instant,
    /// Events per second over all threads.
    pub events_per_second: f64,
    /// Events in all, over all threads.
    pub events: u64,
    /// Forget what was published and received before: numbers start at 0, checkers are new.
    pub reset: bool,
    /// Whether latency is recorded.
    pub measured: bool,
    /// Whether slow receivers stall, where the scenario has some; from the next stretch without
    /// this on they catch up.
    pub stalled: bool,
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Order {
    /// Connect, subscribe, and keep what was begun going.
    Idle,
    /// Publish.
    Publish(Stretch),
    /// Report how often each emitter has published.
    Count,
    /// Report the verdict and the latencies, given how often each emitter of the whole workload has
    /// published.
    Judge(Arc<[u64]>),
    /// Close everything and return.
    Finish,
}

/// The order in force, with a number that tells threads when to look again.
#[derive(Debug)]
pub struct Orders {
    number: AtomicU64,
    order: Mutex<Order>,
}

impl Default for Orders {
    fn default() -> Self {
        Self { number: AtomicU64::new(0), order: Mutex::new(Order::Idle) }
    }
}

impl Orders {
    /// Gives a new order; returns its number.
    pub fn give(&self, order: Order) -> u64 {
        let mut held = self.order.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = order;
        self.number.fetch_add(1, Ordering::Release) + 1
    }

    /// The order in force, if it is newer than `seen`.
    #[must_use]
    pub fn newer(&self, seen: u64) -> Option<(u64, Order)> {
        let number = self.number.load(Ordering::Acquire);
        if number == seen {
            return None;
        }
        let held = self.order.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Some((self.number.load(Ordering::Acquire), held.clone()))
    }
}
