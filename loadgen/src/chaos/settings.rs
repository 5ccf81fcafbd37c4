//! What a chaos run is: sizes, times, and who wants which events.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use millrace_client::{AddressError, ConfirmLevel, RouterAddress};
use serde::Serialize;

use super::proxy::Weather;

/// Tag sets of each publisher.
pub(super) const EMITTERS_PER_PUBLISHER: u32 = 4;
/// Most parts into which events are divided; each receiver wants one part.
const PARTS_MAX: u32 = 4;

/// What publishers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// Each event is in the queue of every receiver that matches.
    Routed,
    /// The application of every receiver that matches has taken it.
    Delivered,
}

impl Confirm {
    /// The level of the client library.
    #[must_use]
    pub const fn level(self) -> ConfirmLevel {
        match self {
            Self::Routed => ConfirmLevel::Routed,
            Self::Delivered => ConfirmLevel::Delivered,
        }
    }

    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Delivered => "delivered",
        }
    }
}

/// A feature that takes part in a run, beside plain publishers and receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum With {
    /// A group of four members, two of each level, that wants every event.
    Groups,
}

/// Levels of the group's members.
const MEMBER_LEVELS: [u32; 4] = [1, 1, 2, 2];

/// Settings of a chaos run.
#[derive(Debug, Clone)]
pub struct ChaosSettings {
    /// How long publishers publish and faults happen.
    pub duration: Duration,
    /// What schedule and proxy follow from.
    pub seed: u64,
    /// Router processes, at least one.
    pub routers: u16,
    /// Cores of each.
    pub cores: u16,
    /// Publisher processes, at least one.
    pub publishers: u16,
    /// Receivers, each with a connection of its own.
    pub receivers: u16,
    /// Events per second of all publishers.
    pub rate: u64,
    /// Bytes of each payload, at least 28.
    pub payload_bytes: usize,
    /// What publishers ask for: routed or delivered.
    pub confirm: Confirm,
    /// What takes part besides.
    pub with: Vec<With>,
    /// The network.
    pub weather: Weather,
    /// Where spools and the logs of routers are kept; none: in a temporary folder.
    pub folder: Option<PathBuf>,
}

impl ChaosSettings {
    /// Parts into which events are divided.
    #[must_use]
    pub fn parts(&self) -> u32 {
        u32::from(self.receivers).clamp(1, PARTS_MAX)
    }

    /// Whether a receiver wants the events of an emitter: the naive matcher of the run.
    #[must_use]
    pub fn wants(&self, receiver: u16, emitter: u32) -> bool {
        u32::from(receiver) % self.parts() == emitter % self.parts()
    }

    /// The level of each member of the group, which are numbered behind the receivers.
    pub(super) fn members(&self) -> &'static [u32] {
        if self.with.contains(&With::Groups) { &MEMBER_LEVELS } else { &[] }
    }

    /// The level of a member of the group; none: it is a receiver of its own.
    pub(super) fn level(&self, receiver: u16) -> Option<u32> {
        self.members().get(usize::from(receiver.checked_sub(self.receivers)?)).copied()
    }

    /// The selector of a receiver.
    pub(super) fn selector(&self, receiver: u16) -> String {
        if receiver >= self.receivers {
            return "chaos".to_owned();
        }
        format!("chaos,part={}", u32::from(receiver) % self.parts())
    }
}

/// Routers' addresses as the client library wants them.
pub(super) fn addresses(fronts: &[SocketAddr]) -> Result<Vec<RouterAddress>, AddressError> {
    fronts.iter().map(|front| front.to_string().parse()).collect()
}

/// The tags of an emitter.
pub(super) fn tags(emitter: u32, parts: u32) -> [String; 3] {
    ["chaos=yes".to_owned(), format!("emitter={emitter}"), format!("part={}", emitter % parts)]
}
