//! What was measured.

use millrace_measure::figures::grouped;
use serde::Serialize;

use super::settings::QuenchSettings;
use crate::features::{Came, Figures, Spread};

/// What emitters and routers did in one stretch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Stretch {
    pub seconds: f64,
    /// Events that emitters had.
    pub offered: u64,
    /// Of them, of emitters that are wanted.
    pub wanted: u64,
    /// Events that left their publisher.
    pub sent: u64,
    /// Events that stayed there.
    pub skipped: u64,
    /// Events that routers read from publishers.
    pub router_events_in: u64,
    /// Of clients and other routers, acknowledgements and keep-alives included.
    pub router_datagrams_in: u64,
    pub router_datagram_in_bytes: u64,
    pub router_cpu_s: f64,
}

impl Stretch {
    /// Events that were sent although nobody wants them: one of each emitter every 10 s.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.sent.saturating_sub(self.wanted)
    }

    fn line(&self) -> String {
        let Self { offered, router_events_in, router_datagrams_in, router_datagram_in_bytes, .. } = *self;
        format!(
            "{} of {} events reached a router; {} datagrams, {} KiB in",
            grouped(router_events_in as f64),
            grouped(offered as f64),
            grouped(router_datagrams_in as f64),
            grouped(router_datagram_in_bytes as f64 / 1024.0),
        )
    }
}

/// What the preset measured.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct QuenchFigures {
    pub emitters: u32,
    pub wanted_emitters: u32,
    pub connections: u32,
    pub routers: u16,
    /// Events per second that were to be offered.
    pub rate: u64,
    /// Of the emitters that nobody wants, those whose publisher was told so.
    pub quenched_emitters: u64,
    /// From the last first event of an emitter until all were told.
    pub told_within_s: f64,
    /// With quench off.
    pub sent: Stretch,
    /// With quench.
    pub quenched: Stretch,
    /// With quench, what nobody wants alone.
    pub unwanted: Stretch,
    /// Nothing.
    pub silent: Stretch,
    /// Of the events that did not come in with quench, the part of those that did without.
    pub saved_events_share: f64,
    /// The same of bytes.
    pub saved_bytes_share: f64,
    /// What whoever wants one in so many got.
    #[serde(flatten)]
    pub came: Came,
    /// Events of emitters that nobody wants, at that receiver.
    pub unexpected: u64,
    /// From a subscription to one more emitter until it is effective in the cluster.
    pub effective_us: Spread,
    /// From then until its next event, published at once, is there.
    pub next_event_us: Spread,
    /// Events that were published then, and did not come.
    pub switches_missed: u64,
    /// Publishers that did not answer before a subscription was effective.
    pub left_out_publishers: u64,
}

impl QuenchFigures {
    pub(super) fn new(settings: &QuenchSettings) -> Self {
        Self {
            emitters: settings.emitters,
            wanted_emitters: settings.wanted(),
            connections: settings.connections,
            routers: settings.routers,
            rate: settings.rate,
            quenched_emitters: 0,
            told_within_s: 0.0,
            sent: Stretch::default(),
            quenched: Stretch::default(),
            unwanted: Stretch::default(),
            silent: Stretch::default(),
            saved_events_share: 0.0,
            saved_bytes_share: 0.0,
            came: Came::default(),
            unexpected: 0,
            effective_us: Spread::default(),
            next_event_us: Spread::default(),
            switches_missed: 0,
            left_out_publishers: 0,
        }
    }

    /// Works out what was saved.
    pub(super) fn work_out(&mut self) {
        let saved = |with: u64, offered: u64, without: u64, offered_without: u64| {
            let rate = |count: u64, offered: u64| count as f64 / (offered as f64).max(1.0);
            1.0 - rate(with, offered) / rate(without, offered_without).max(f64::MIN_POSITIVE)
        };
        let (quenched, sent) = (&self.quenched, &self.sent);
        self.saved_events_share =
            saved(quenched.router_events_in, quenched.offered, sent.router_events_in, sent.offered);
        self.saved_bytes_share = saved(
            quenched.router_datagram_in_bytes,
            quenched.offered,
            sent.router_datagram_in_bytes,
            sent.offered,
        );
    }
}

impl Figures for QuenchFigures {
    const SCHEMA: &'static str = "millrace-loadgen-quench/1";
    const PASSED: &'static str =
        "what nobody wants cost what silence costs, and nobody who wanted something missed it.";

    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "emitters",
                format!(
                    "{} on {} connections, {} wanted; {} routers",
                    grouped(f64::from(self.emitters)),
                    self.connections,
                    grouped(f64::from(self.wanted_emitters)),
                    self.routers
                ),
            ),
            (
                "told",
                format!(
                    "{} that nobody wants, {:.1} s after their first event",
                    grouped(self.quenched_emitters as f64),
                    self.told_within_s
                ),
            ),
            ("sent", self.sent.line()),
            ("quenched", self.quenched.line()),
            ("unwanted", self.unwanted.line()),
            ("silent", self.silent.line()),
            (
                "saved",
                format!(
                    "{:.1} % of events, {:.1} % of bytes at routers",
                    self.saved_events_share * 100.0,
                    self.saved_bytes_share * 100.0
                ),
            ),
            (
                "verified",
                format!(
                    "{} delivered, {} missing, {} twice, {} out of order, {} unwanted",
                    grouped(self.came.delivered as f64),
                    self.came.missing,
                    self.came.duplicated,
                    self.came.reordered,
                    self.unexpected
                ),
            ),
            ("effective", format!("{}, for one more emitter", self.effective_us)),
            ("next event", format!("{}, {} missed", self.next_event_us, self.switches_missed)),
        ]
    }
}
