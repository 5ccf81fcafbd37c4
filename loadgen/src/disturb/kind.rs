//! What disturbs, and how much of it.

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
}

impl Default for DisturbSettings {
    fn default() -> Self {
        Self { churn_per_second: 50_000, storm_clients: 10_000 }
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
