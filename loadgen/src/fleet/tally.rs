//! Counters that a fleet thread shows while it runs: one writer, any reader.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! tally {
    (add { $($(#[$doc:meta])* $name:ident,)* } most { $($(#[$level:meta])* $most:ident,)* }) => {
        /// Counters of one thread since its start, but for those called a level.
        #[derive(Debug, Default)]
        pub struct Tally { $($(#[$doc])* pub $name: Counter,)* $($(#[$level])* pub $most: Counter,)* }

        /// The sum of several threads' counters at one moment.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Sum { $($(#[$doc])* pub $name: u64,)* $($(#[$level])* pub $most: u64,)* }

        impl Sum {
            /// Adds up.
            #[must_use]
            pub fn of<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Self {
                let mut sum = Self::default();
                for tally in tallies {
                    $(sum.$name += tally.$name.get();)*
                    $(sum.$most = sum.$most.max(tally.$most.get());)*
                }
                sum
            }
        }
    };
}

tally! {
    add {
    /// Level: connections that the router has welcomed.
    welcomed,
    /// Level: publishers with credit.
    credited,
    /// Level: subscriptions effective in the cluster.
    effective,
    /// Connections lost or refused, but for those that were dialled again at set-up.
    connections_lost,
    /// Connections lost or refused at set-up and dialled again.
    redials,
    /// Requests that a router refused.
    refused,
    /// Events offered: due by the schedule and taken by a publisher.
    published,
    /// Writes to publish streams: packets, where they are lone.
    writes,
    /// Events that routers have received.
    received,
    /// Deliveries.
    delivered,
    /// Deliveries that crossed the mesh.
    crossed,
    /// Gap markers.
    gaps,
    /// Events that gap markers say are missing.
    gap_events,
    /// Duplicates, disorder, damage and unexpected deliveries.
    faults,
    /// Level: how far the schedule is behind, nanoseconds.
    behind_ns,
    /// Times that a publisher's queue was full.
    blocked,
    /// Level: the stretch that was ordered last is published, as its order's number.
    published_order,
    /// CPU time of the thread, nanoseconds.
    cpu_ns,
    /// Time that the thread was ready to run and no CPU was free, nanoseconds.
    waited_ns,
    }
    most {
    /// Level: the 99th percentile of latency in the half second that ended last, microseconds; of a
    /// sum, the worst thread's.
    p99_us,
    }
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only its thread does.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.get() + count, Ordering::Relaxed);
    }

    /// Sets; only its thread does.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
