//! What a core has counted, as others see it: a picture taken between two turns.

use std::time::Duration;

use millrace_engine::core::{CoreMetrics, HotPicture, Queued};
use millrace_engine::forward::{Arrived, ClusterPath};
use millrace_engine::metrics::{Kind, Metric, Read};
use millrace_engine::routes::RouteCacheMetrics;
use millrace_engine::rules::RulePicture;
use millrace_proto::CloseCode;

use crate::ending::Ending;

millrace_engine::metrics! {
    /// Counters of the router's own part of a core, above QUIC and below the engine.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct ShellMetrics {
        /// Connections closed because their certificate does not allow what they asked for.
        forbidden: counter "forbidden_connections",
        /// Connections closed because they speak none of our protocols.
        no_protocol: counter "unknown_protocol_connections",
        /// Connections that ended, by [`Ending`].
        ended: counter "ended_connections" by "reason" in Ending,
        /// Dials that could not be begun.
        dials_refused: counter "dials_refused",
        /// Dials that were answered by something that is no router of this cluster.
        strangers: counter "strangers",
        /// Hellos of peers whose id does not follow from their certificate's name and their
        /// address.
        unproven_peers: counter "mesh_unproven_hellos",
        /// Batches handed to siblings.
        batches_out: counter "mailbox_batches_out",
        /// Batches taken from siblings.
        batches_in: counter "mailbox_batches_in",
        /// Batches of siblings that could not be read: a defect.
        batches_malformed: counter "mailbox_malformed",
        /// Subscriptions whose selectors were read.
        selectors_read: counter "selectors_read",
        /// Those of them that were refused, because a selector is not valid.
        selectors_bad: counter "selectors_bad",
        /// Subscriptions refused because too many selectors of this router wait to be read.
        selectors_overload: counter "selectors_overload",
        /// Turns that ended with mail that did not fit its mailbox.
        mail_held: counter "mail_held",
        /// Most batches that waited in one mailbox at once.
        mailbox_depth_max: level "mailbox_depth_max",
    }
}

impl ShellMetrics {
    /// Adds the connections that the shell closed to those that the engine did.
    pub(crate) fn add_closed(&self, engine: &mut CoreMetrics) {
        for (code, count) in [(CloseCode::Forbidden, self.forbidden), (CloseCode::Version, self.no_protocol)]
        {
            let index = usize::try_from(code.code()).ok();
            if let Some(closed) = index.and_then(|index| engine.closed.get_mut(index)) {
                *closed += count;
            }
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
    /// What the engine counted; connections that the shell closed are among those closed.
    pub engine: CoreMetrics,
    /// What QUIC counted.
    pub quic: millrace_quic::Metrics,
    /// What the route cache counted.
    pub routes: RouteCacheMetrics,
    /// What the shell counted.
    pub shell: ShellMetrics,
    /// What the core has counted of each tag rule.
    pub rules: Vec<RulePicture>,
    /// What has come from other clusters, by its path.
    pub arrivals: Vec<(ClusterPath, Arrived)>,
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
    /// Which tags and shards most of its events have.
    pub hot: HotPicture,
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

    /// Datagrams that reached this core without a hop from a sibling, because the kernel or their
    /// own socket steered them here.
    #[must_use]
    pub const fn hops_saved(&self) -> u64 {
        self.quic.datagrams_in.saturating_sub(self.quic.foreign_out)
    }

    /// Connections that this core closed with a code.
    #[must_use]
    pub fn closed(&self, code: CloseCode) -> u64 {
        let index = usize::try_from(code.code()).ok();
        index.and_then(|index| self.engine.closed.get(index)).copied().unwrap_or(0)
    }

    /// Tells every whole number of this core: its metric's name, the value of its label where it
    /// has one, and itself.
    pub fn each_number(&self, mut tell: impl FnMut(&'static str, Option<&'static str>, u64)) {
        numbers(CoreMetrics::DECLARED, &self.engine, &mut tell);
        numbers(RouteCacheMetrics::DECLARED, &self.routes, &mut tell);
        numbers(ShellMetrics::DECLARED, &self.shell, &mut tell);
        numbers(DECLARED, self, &mut tell);
    }
}

fn numbers<T>(
    declared: &[Metric<T>],
    of: &T,
    tell: &mut impl FnMut(&'static str, Option<&'static str>, u64),
) {
    for metric in declared {
        match metric.read {
            Read::Number(number) => tell(metric.name, None, number(of)),
            Read::ByLabel { rows, .. } => rows(of, &mut |label, count| tell(metric.name, Some(label), count)),
            Read::Real(_) | Read::Times(_) => {}
        }
    }
}

const fn counter(
    name: &'static str,
    help: &'static str,
    number: fn(&CoreSnapshot) -> u64,
) -> Metric<CoreSnapshot> {
    Metric { name, help, kind: Kind::Counter, read: Read::Number(number) }
}

const fn level(
    name: &'static str,
    help: &'static str,
    number: fn(&CoreSnapshot) -> u64,
) -> Metric<CoreSnapshot> {
    Metric { name, help, kind: Kind::Level, read: Read::Number(number) }
}

/// What QUIC and the thread of a core count.
pub(crate) const DECLARED: &[Metric<CoreSnapshot>] = &[
    counter("turns", "Turns of the loop", |core| core.quic.turns),
    counter("sleeps", "Turns that slept before they worked", |core| core.quic.sleeps),
    counter("datagrams_in", "QUIC datagrams received", |core| core.quic.datagrams_in),
    counter("datagrams_out", "QUIC datagrams handed to the kernel", |core| core.quic.datagrams_out),
    counter("datagram_in_bytes", "UDP payload received", |core| core.quic.bytes_in),
    counter("datagram_out_bytes", "UDP payload handed to the kernel", |core| core.quic.bytes_out),
    counter("receive_calls", "System calls that receive", |core| core.quic.receive_calls),
    counter("send_calls", "System calls that send", |core| core.quic.send_calls),
    counter("send_blocked", "Times that the kernel took no more datagrams", |core| core.quic.send_blocked),
    counter("socket_errors", "Errors of receive and send calls", |core| core.quic.socket_errors),
    counter("offload_disabled", "Sockets on which the system refused segmentation offload", |core| {
        core.quic.offload_disabled
    }),
    counter("packets_lost", "QUIC packets declared lost", |core| core.packets_lost),
    counter("udp_drops", "Datagrams dropped by the kernel because a receive buffer was full", |core| {
        core.kernel_drops
    }),
    counter("foreign_segments_out", "Segments that belonged to a sibling core", |core| core.quic.foreign_out),
    counter("foreign_segments_in", "Segments that a sibling core received for this one", |core| {
        core.quic.foreign_in
    }),
    counter(
        "packets_set_aside",
        "Packets that waited until those of connections in use were opened, because the core was behind",
        |core| core.quic.packets_set_aside,
    ),
    counter("stateless_answers", "Stateless resets and version negotiations sent", |core| core.quic.answers),
    counter("dials", "Connections dialled", |core| core.quic.dials),
    counter("connected", "Connections that completed their handshake", |core| core.quic.connected),
    Metric {
        name: "handshakes",
        help: "Incoming handshakes by outcome",
        kind: Kind::Counter,
        read: Read::ByLabel {
            label: "outcome",
            rows: |core, row| {
                row("accepted", core.quic.handshakes_accepted);
                row("retried", core.quic.handshakes_retried);
                row("refused", core.quic.handshakes_refused);
                row("failed", core.quic.handshakes_failed);
                row("expired", core.quic.handshakes_expired);
            },
        },
    },
    counter("resumptions_accepted", "Clients that went on with an earlier TLS session", |core| {
        core.quic.resumptions_accepted
    }),
    counter("resumptions_refused", "Resumption tickets that were not accepted", |core| {
        core.quic.resumptions_refused
    }),
    Metric {
        name: "dropped_datagrams",
        help: "Datagrams given up, by reason",
        kind: Kind::Counter,
        read: Read::ByLabel {
            label: "reason",
            rows: |core, row| {
                let drops = &core.quic.drops;
                row("admission_full", drops.admission_full);
                row("admission_expired", drops.admission_expired);
                row("prefix_handshakes", drops.prefix_handshakes);
                row("prefix_connections", drops.prefix_connections);
                row("not_accepting", drops.not_accepting);
                row("answer_budget", drops.answer_budget);
                row("answer_blocked", drops.answer_blocked);
                row("foreign", drops.foreign);
                row("send_error", drops.send_error);
                row("too_large", drops.too_large);
                row("socket_gone", drops.socket_gone);
                row("unroutable", drops.unroutable);
                row("wake_overflow", drops.wake_overflow);
            },
        },
    },
    level("connections", "Connections, those that are closing included", |core| core.connections),
    level("queued_receivers", "Receivers for which bytes wait", |core| core.queued.receivers),
    level(
        "stream_ahead_bytes",
        "Bytes in receivers' streams that their hosts have not acknowledged",
        |core| core.queued.ahead_bytes,
    ),
    level("mailbox_depth", "Batches that wait for sibling cores", |core| core.mailbox_depth),
    Metric {
        name: "spun_seconds",
        help: "Time in which the core looked for packets before it slept (cores.spin)",
        kind: Kind::Counter,
        read: Read::Real(|core| Duration::from_nanos(core.quic.spun_ns).as_secs_f64()),
    },
    Metric {
        name: "cpu_seconds",
        help: "CPU time of the core's thread, the kernel's included",
        kind: Kind::Counter,
        read: Read::Real(|core| core.cpu.as_secs_f64()),
    },
    Metric {
        name: "busy_share",
        help: "The part of its life that the core was awake, 0 to 1",
        kind: Kind::Level,
        read: Read::Real(CoreSnapshot::busy_share),
    },
];

/// CPU time of the calling thread as the scheduler counts it; zero where the system does not tell.
pub(crate) fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = text.split_ascii_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(ran.unwrap_or(0))
}
