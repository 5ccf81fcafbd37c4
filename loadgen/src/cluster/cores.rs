//! What each core of the routers did: how busy it was, and what went between it and its siblings.

use millrace_measure::figures::whole;
use std::time::Duration;

use millrace_router::CoreSnapshot;
use serde::Serialize;

/// One core in a stretch of time.
#[derive(Debug, Default, Clone, Serialize)]
pub struct CoreUse {
    /// Which router, in the order in which they were started.
    pub router: usize,
    /// Which of its cores.
    pub core: u16,
    /// Length of the stretch, seconds.
    #[serde(skip)]
    pub uptime_s: f64,
    /// Of it, awake.
    pub busy_s: f64,
    /// Turns of its loop.
    pub turns: u64,
    /// Datagrams received, those that belonged to siblings included.
    pub datagrams_in: u64,
    /// Most batches that waited in one of its mailboxes at once, since its start.
    pub mailbox_depth_max: u64,
    /// Segments that siblings received for it.
    pub foreign_segments: u64,
    /// Segments that belonged to siblings.
    #[serde(skip)]
    pub foreign_out: u64,
    /// Datagrams that reached it without a hop from a sibling, because the kernel or their own
    /// socket steered them here.
    pub hops_saved: u64,
}

impl CoreUse {
    pub(super) fn of(router: usize, core: &CoreSnapshot) -> Self {
        Self {
            router,
            core: core.core,
            uptime_s: core.uptime.as_secs_f64(),
            busy_s: Duration::from_nanos(core.quic.busy_ns).as_secs_f64(),
            turns: core.quic.turns,
            datagrams_in: core.quic.datagrams_in,
            mailbox_depth_max: core.shell.mailbox_depth_max,
            foreign_segments: core.quic.foreign_in,
            foreign_out: core.quic.foreign_out,
            hops_saved: core.hops_saved(),
        }
    }

    /// A core that has done nothing.
    pub(super) fn new(router: usize, core: u16, uptime_s: f64) -> Self {
        Self { router, core, uptime_s, ..Self::default() }
    }

    /// Takes a value by its name in `/metrics`, if it is one of these.
    pub(super) fn read(&mut self, name: &str, value: f64) {
        match name {
            "busy_share" => self.busy_s = value * self.uptime_s,
            "turns" => self.turns = whole(value),
            "datagrams_in" => self.datagrams_in = whole(value),
            "mailbox_depth_max" => self.mailbox_depth_max = whole(value),
            "foreign_segments_in" => self.foreign_segments = whole(value),
            "foreign_segments_out" => self.foreign_out = whole(value),
            _ => {}
        }
        self.hops_saved = self.datagrams_in.saturating_sub(self.foreign_out);
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            uptime_s: self.uptime_s - before.uptime_s,
            busy_s: self.busy_s - before.busy_s,
            turns: self.turns - before.turns,
            datagrams_in: self.datagrams_in - before.datagrams_in,
            foreign_segments: self.foreign_segments - before.foreign_segments,
            hops_saved: self.hops_saved.saturating_sub(before.hops_saved),
            ..*self
        }
    }

    /// The part of its time that it was awake, 0 to 1.
    #[must_use]
    pub fn busy_share(&self) -> f64 {
        self.busy_s / self.uptime_s.max(1e-9)
    }

    /// Datagrams received in a turn.
    #[must_use]
    pub fn datagrams_per_turn(&self) -> f64 {
        self.datagrams_in as f64 / (self.turns as f64).max(1.0)
    }
}
