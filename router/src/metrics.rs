//! What a core has counted, as others see it: a picture taken between two turns.

use std::time::Duration;

use millrace_engine::core::{CoreMetrics, Queued};
use millrace_engine::routes::RouteCacheMetrics;
use millrace_proto::CloseCode;

use crate::ending::Ending;

/// Counters of the router's own part of a core, above QUIC and below the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShellMetrics {
    /// Connections closed because their certificate does not allow what they asked for.
    pub forbidden: u64,
    /// Connections closed because they speak none of our protocols.
    pub no_protocol: u64,
    /// Connections that ended, by [`Ending`].
    pub ended: [u64; Ending::ALL.len()],
    /// Dials that could not be begun.
    pub dials_refused: u64,
    /// Dials that were answered by something that is no router of this cluster.
    pub strangers: u64,
    /// Batches handed to siblings.
    pub batches_out: u64,
    /// Batches taken from siblings.
    pub batches_in: u64,
    /// Batches of siblings that could not be read: a defect.
    pub batches_malformed: u64,
    /// Subscriptions whose selectors were read.
    pub selectors_read: u64,
    /// Those of them that were refused, because a selector is not valid.
    pub selectors_bad: u64,
    /// Subscriptions refused because too many selectors of this router wait to be read.
    pub selectors_overload: u64,
    /// Turns that ended with mail that did not fit its mailbox.
    pub mail_held: u64,
    /// Most batches that waited in one mailbox at once.
    pub mailbox_depth_max: u64,
}

impl ShellMetrics {
    /// Connections that the shell closed with this code.
    #[must_use]
    pub fn closed(&self, code: CloseCode) -> u64 {
        match code {
            CloseCode::Forbidden => self.forbidden,
            CloseCode::Version => self.no_protocol,
            _ => 0,
        }
    }
}

/// One core at one moment. Counters grow since the core's start; levels are said to be such.
#[derive(Debug, Clone, Default)]
pub struct CoreSnapshot {
    /// Which core.
    pub core: u16,
    /// Since the router's start.
    pub uptime: Duration,
    /// CPU time of the core's thread, kernel included.
    pub cpu: Duration,
    /// What the engine counted.
    pub engine: CoreMetrics,
    /// What QUIC counted.
    pub quic: millrace_quic::Metrics,
    /// What the route cache counted.
    pub routes: RouteCacheMetrics,
    /// What the shell counted.
    pub shell: ShellMetrics,
    /// Level: connections, those that are closing included.
    pub connections: u64,
    /// Level: what waits for receivers.
    pub queued: Queued,
    /// Level: batches that wait in the mailboxes towards siblings.
    pub mailbox_depth: u64,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    pub kernel_drops: u64,
    /// QUIC packets declared lost.
    pub packets_lost: u64,
    /// Position that the next run of this core's shards gets.
    pub position: u64,
}

impl CoreSnapshot {
    /// The part of its time that the core was awake, 0 to 1.
    #[must_use]
    pub fn busy_share(&self) -> f64 {
        Duration::from_nanos(self.quic.busy_ns).as_secs_f64() / self.uptime.as_secs_f64().max(1e-9)
    }

    /// Datagrams received in a turn, on average.
    #[must_use]
    pub fn datagrams_per_turn(&self) -> f64 {
        self.quic.datagrams_in as f64 / (self.quic.turns as f64).max(1.0)
    }

    /// Datagrams that reached this core without a hop from a sibling, because the kernel or their own socket steered them
    /// here.
    #[must_use]
    pub const fn hops_saved(&self) -> u64 {
        self.quic.datagrams_in.saturating_sub(self.quic.foreign_out)
    }

    /// Connections that this core closed with a code.
    #[must_use]
    pub fn closed(&self, code: CloseCode) -> u64 {
        let engine = usize::try_from(code.code()).ok().and_then(|index| self.engine.closed.get(index));
        engine.copied().unwrap_or(0) + self.shell.closed(code)
    }
}

/// CPU time of the calling thread as the scheduler counts it; zero where the system does not tell.
pub(crate) fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = text.split_ascii_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(ran.unwrap_or(0))
}
