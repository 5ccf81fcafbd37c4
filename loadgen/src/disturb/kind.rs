//! What disturbs, and how much of it.

use std::time::Duration;

use clap::ValueEnum;

/// Something that disturbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Disturbance {
    /// A receiver stalls, or several of one connection.
    SlowReceiver,
    /// Distinct selectors are subscribed and unsubscribed.
    Churn,
    /// Clients reconnect at once, each with a full handshake.
    Storm,
    /// Clients reconnect at once and resume their TLS sessions.
    StormResumed,
    /// Strangers begin handshakes, let routers sign, and do not finish.
    JunkHandshakes,
    /// First packets arrive from addresses where nobody hears an answer.
    JunkSpoofed,
    /// Routers read a changed configuration again and again.
    Reload,
}

impl Disturbance {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowReceiver => "slow-receiver",
            Self::Churn => "churn",
            Self::Storm => "storm",
            Self::StormResumed => "storm-resumed",
            Self::JunkHandshakes => "junk-handshakes",
            Self::JunkSpoofed => "junk-spoofed",
            Self::Reload => "reload",
        }
    }

    /// What goes on, for people.
    #[must_use]
    pub const fn stage(self) -> &'static str {
        match self {
            Self::SlowReceiver => "measuring with receivers that stall",
            Self::Churn => "measuring with churn",
            Self::Storm => "measuring with a storm",
            Self::StormResumed => "measuring with a storm, resumed",
            Self::JunkHandshakes => "measuring with junk handshakes",
            Self::JunkSpoofed => "measuring with spoofed handshakes",
            Self::Reload => "measuring with reloads",
        }
    }

    /// How many times the undisturbed p99 that of the others may be, as the median of all rounds;
    /// none where no bar is set.
    #[must_use]
    pub const fn p99_ratio_max(self) -> Option<f64> {
        match self {
            Self::JunkHandshakes | Self::JunkSpoofed => Some(2.0),
            Self::Reload => Some(1.5),
            Self::SlowReceiver | Self::Churn | Self::Storm | Self::StormResumed => None,
        }
    }

    pub(super) const fn is_storm(self) -> bool {
        matches!(self, Self::Storm | Self::StormResumed)
    }
}

/// How much of a disturbance.
#[derive(Debug, Clone, Copy)]
pub struct DisturbSettings {
    /// Distinct selectors subscribed per second, and as many unsubscribed.
    pub churn_per_second: u32,
    /// Clients that reconnect.
    pub storm_clients: u32,
    /// Junk handshakes begun per second, of either kind.
    pub junk_per_second: u32,
    /// Between two reloads of all routers.
    pub reload_every: Duration,
    /// Times that the undisturbed phase and the disturbed ones are played.
    pub rounds: u32,
}

impl Default for DisturbSettings {
    fn default() -> Self {
        Self {
            churn_per_second: 50_000,
            storm_clients: 10_000,
            junk_per_second: 1_000,
            reload_every: Duration::from_secs(1),
            rounds: 1,
        }
    }
}

/// What goes on beside a run from before its warm-up to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Background {
    /// Selectors that match nothing, at most 256,000.
    pub held_selectors: u32,
    /// Distinct selectors subscribed per second, and as many unsubscribed.
    pub churn_per_second: u32,
}

/// What a crowd is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Begin(Disturbance),
    End,
    Finish,
}
