//! What is compared: workloads, and the bars that Millrace has to clear on them.

use std::time::Duration;

use super::drive::Stretches;
use super::load::{Pattern, Shape};
use super::system::System;

/// A workload that every system runs in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Workload {
    /// One publisher, one receiver, one tag set.
    P2p,
    /// One publisher, one receiver, 10,000 tag sets in turn: no two events in a row share one.
    P2pRunsOfOne,
    /// One publisher, one receiver, 64 tag sets and runs of 16 events: the load of `group`, without
    /// one.
    #[value(name = "p2p-runs-of-16")]
    P2pRunsOf16,
    /// The first one through the public client library.
    P2pClient,
    /// The same, and what each promise costs: levels, a spool, history, beside JetStream.
    Confirmed,
    /// One publisher, four receivers of everything.
    FanOut,
    /// Four publishers, four receivers of everything.
    AllToAll,
    /// One publisher, one receiver, at 100,000 events per second.
    #[value(name = "latency-100k")]
    Latency100k,
    /// One publisher, a group of four receivers of which one gets each event; 64 tag sets.
    Group,
    /// One asks and one answers, through the public client library.
    RequestReply,
    /// One publisher, one receiver, at 200,000 events per second.
    #[value(name = "latency-200k")]
    Latency200k,
    /// One publisher, one receiver, at 500,000 events per second.
    #[value(name = "latency-500k")]
    Latency500k,
}

/// The load at which latency is taken besides saturating workloads: every system holds it.
const BESIDES_EVENTS_PER_S: f64 = 100_000.0;
/// The same for requests: each is an event there and one back, and a task that waits for it.
const REQUESTS_PER_S: f64 = 10_000.0;

impl Workload {
    /// Its name, as on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P2p => "p2p",
            Self::P2pRunsOfOne => "p2p-runs-of-one",
            Self::P2pRunsOf16 => "p2p-runs-of-16",
            Self::P2pClient => "p2p-client",
            Self::Confirmed => "confirmed",
            Self::FanOut => "fan-out",
            Self::AllToAll => "all-to-all",
            Self::Latency100k => "latency-100k",
            Self::Group => "group",
            Self::RequestReply => "request-reply",
            Self::Latency200k => "latency-200k",
            Self::Latency500k => "latency-500k",
        }
    }

    /// Events per second at which latency is taken.
    #[must_use]
    pub const fn paced_events_per_s(self) -> f64 {
        match self {
            Self::Latency100k => 100_000.0,
            Self::Latency200k => 200_000.0,
            Self::Latency500k => 500_000.0,
            Self::RequestReply => REQUESTS_PER_S,
            _ => BESIDES_EVENTS_PER_S,
        }
    }

    /// Whether it is about throughput.
    #[must_use]
    pub const fn saturates(self) -> bool {
        !matches!(self, Self::Latency100k | Self::Latency200k | Self::Latency500k)
    }

    /// Whether a system takes part.
    #[must_use]
    pub fn concerns(self, system: System) -> bool {
        let is_shared = matches!(self, Self::Group | Self::RequestReply);
        match system {
            System::Millrace => true,
            _ if self == Self::Confirmed || system.is_promising() => {
                self == Self::Confirmed && system.is_promising()
            }
            _ if self == Self::P2pRunsOf16 => false,
            // What spinning saves is the time of a wake-up, which saturated cores have none of.
            System::MillraceSpin => !self.saturates(),
            System::NatsPlain | System::NatsTls => self != Self::P2pClient,
            _ => self != Self::P2pClient && !is_shared,
        }
    }

    pub(super) const fn shape(self, payload_bytes: u32, window: u64) -> Shape {
        let (publishers, receivers, emitters, events_per_run) = match self {
            Self::FanOut => (1, 4, 1, 16),
            Self::AllToAll => (4, 4, 4, 16),
            Self::Group => (1, 4, 64, 16),
            Self::P2pRunsOf16 => (1, 1, 64, 16),
            Self::P2pRunsOfOne => (1, 1, 10_000, 1),
            Self::RequestReply => (1, 1, 1, 1),
            Self::P2p
            | Self::P2pClient
            | Self::Confirmed
            | Self::Latency100k
            | Self::Latency200k
            | Self::Latency500k => (1, 1, 1, 16),
        };
        let pattern = match self {
            Self::Group => Pattern::Group,
            Self::RequestReply => Pattern::Request,
            _ => Pattern::Everyone,
        };
        Shape { publishers, receivers, pattern, emitters, events_per_run, payload_bytes, window }
    }

    pub(super) fn stretches(self, duration: Duration) -> Stretches {
        let (saturate, paced) = match self {
            // Throughput is the question.
            Self::Confirmed => (duration, (duration / 2).min(Duration::from_secs(2))),
            _ if self.saturates() => (duration, duration / 2),
            _ => (Duration::ZERO, duration),
        };
        Stretches {
            warm: duration.min(Duration::from_secs(2)) / 4,
            saturate,
            paced,
            rate: self.paced_events_per_s(),
        }
    }
}

/// What a bar is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Deliveries per second: more is better.
    Egress,
    /// Median latency: less is better.
    P50,
    /// 99th percentile of latency: less is better.
    P99,
}

/// A ratio that Millrace has to reach.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    /// Which router of Millrace's.
    pub of: System,
    /// Its workload.
    pub workload: Workload,
    /// Against which system …
    pub against: System,
    /// … on which workload.
    pub on: Workload,
    /// Of what.
    pub measure: Measure,
    /// At least this for throughput, at most this for latency.
    pub bar: f64,
    /// Where it is going.
    pub aim: f64,
}

const fn egress(workload: Workload, against: System, bar: f64, aim: f64) -> Bar {
    Bar { of: System::Millrace, workload, against, on: workload, measure: Measure::Egress, bar, aim }
}

const fn own(workload: Workload, on: Workload, bar: f64, aim: f64) -> Bar {
    let of = System::Millrace;
    Bar { of, workload, against: of, on, measure: Measure::Egress, bar, aim }
}

const fn promise(of: System, against: System, bar: f64, aim: f64) -> Bar {
    let workload = Workload::Confirmed;
    Bar { of, workload, against, on: workload, measure: Measure::Egress, bar, aim }
}

const fn latency(workload: Workload, against: System, measure: Measure) -> Bar {
    Bar { of: System::Millrace, workload, against, on: workload, measure, bar: 1.0, aim: 0.5 }
}

const fn spinning(workload: Workload) -> Bar {
    let (of, against) = (System::MillraceSpin, System::NatsPlain);
    Bar { of, workload, against, on: workload, measure: Measure::P50, bar: 1.0, aim: 0.5 }
}

/// All bars.
pub const BARS: &[Bar] = &[
    egress(Workload::P2p, System::Ceiling, 0.85, 0.95),
    egress(Workload::P2p, System::NatsPlain, 1.6, 2.0),
    egress(Workload::P2p, System::NatsTls, 3.4, 5.0),
    egress(Workload::P2p, System::ZenohQuic, 3.2, 5.0),
    own(Workload::P2pRunsOfOne, Workload::P2p, 0.5, 0.7),
    own(Workload::P2pClient, Workload::P2p, 0.6, 0.8),
    promise(System::MillraceRouted, System::Millrace, 0.9, 0.95),
    promise(System::MillraceDelivered, System::Millrace, 0.7, 0.8),
    promise(System::MillraceSpool, System::Millrace, 0.5, 0.6),
    promise(System::MillraceHistory, System::Millrace, 0.9, 0.95),
    promise(System::MillraceRouted, System::NatsJetstream, 1.0, 2.0),
    promise(System::MillraceSpool, System::NatsJetstream, 1.0, 2.0),
    egress(Workload::FanOut, System::Ceiling, 0.85, 0.95),
    egress(Workload::FanOut, System::NatsPlain, 1.2, 1.6),
    egress(Workload::FanOut, System::NatsTls, 4.5, 4.5),
    egress(Workload::AllToAll, System::Ceiling, 0.85, 0.95),
    egress(Workload::AllToAll, System::NatsPlain, 1.05, 1.4),
    egress(Workload::AllToAll, System::NatsTls, 4.0, 4.0),
    latency(Workload::Latency100k, System::NatsTls, Measure::P50),
    latency(Workload::Latency100k, System::NatsTls, Measure::P99),
    own(Workload::Group, Workload::P2p, 0.7, 0.8),
    own(Workload::Group, Workload::P2pRunsOf16, 0.7, 0.8),
    egress(Workload::Group, System::NatsTls, 1.0, 2.0),
    latency(Workload::Group, System::NatsTls, Measure::P50),
    latency(Workload::Group, System::NatsTls, Measure::P99),
    egress(Workload::RequestReply, System::NatsTls, 1.0, 1.0),
    latency(Workload::RequestReply, System::NatsTls, Measure::P50),
    latency(Workload::RequestReply, System::NatsTls, Measure::P99),
    latency(Workload::Latency200k, System::NatsTls, Measure::P50),
    latency(Workload::Latency200k, System::NatsTls, Measure::P99),
    latency(Workload::Latency500k, System::NatsTls, Measure::P50),
    latency(Workload::Latency500k, System::NatsTls, Measure::P99),
    latency(Workload::Latency500k, System::NatsPlain, Measure::P50),
    latency(Workload::Latency500k, System::NatsPlain, Measure::P99),
    spinning(Workload::Latency100k),
    spinning(Workload::Latency200k),
    spinning(Workload::Latency500k),
];
