//! What a chaos run is: sizes, times, and who wants which events.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use millrace_client::{AddressError, ConfirmLevel, RouterAddress};
use serde::Serialize;

use super::proxy::Weather;
use crate::features::standby::TAG;

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
    /// A set of three standby publishers of one numbered stream, whose holder is killed again and
    /// again, and two receivers of it.
    Standby,
    /// A second cluster of one router, linked both ways, with two receivers of everything.
    Forwarding,
}

/// What a receiver of a run is, with its place among its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One that wants its part of the events.
    Plain(usize),
    /// A member of the group.
    Member(usize),
    /// One of the far cluster.
    Far(usize),
    /// One of the standby set's stream.
    Ear(usize),
}

/// Levels of the group's members.
const MEMBER_LEVELS: [u32; 4] = [1, 1, 2, 2];
/// Members of the standby set.
pub(super) const PUBLISHERS_OF_SET: usize = 3;
/// Numbers per second of its stream.
pub(super) const NUMBERS_PER_S: u64 = 1_000;
/// Receivers of it.
const EARS: usize = 2;
/// Receivers of the far cluster.
const FAR_RECEIVERS: usize = 2;

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

    /// Whether something takes part.
    pub(super) fn has(&self, with: With) -> bool {
        self.with.contains(&with)
    }

    /// The router of the far cluster, if there is one: it is numbered behind the others.
    pub(super) fn far(&self) -> Option<u16> {
        self.has(With::Forwarding).then_some(self.routers)
    }

    /// Router processes of both clusters.
    pub(super) fn processes(&self) -> u16 {
        self.routers + u16::from(self.far().is_some())
    }

    /// All receivers, by their numbers.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let of = |with, count| 0..if self.has(with) { count } else { 0 };
        let plain = (0..usize::from(self.receivers)).map(Kind::Plain);
        let members = of(With::Groups, MEMBER_LEVELS.len()).map(Kind::Member);
        let far = of(With::Forwarding, FAR_RECEIVERS).map(Kind::Far);
        let ears = of(With::Standby, EARS).map(Kind::Ear);
        plain.chain(members).chain(far).chain(ears).collect()
    }

    /// The level of a member of the group; none: it is a receiver of its own.
    pub(super) fn level(&self, kind: Kind) -> Option<u32> {
        match kind {
            Kind::Member(at) => MEMBER_LEVELS.get(at).copied(),
            _ => None,
        }
    }

    /// The selector of a receiver.
    pub(super) fn selector(&self, kind: Kind) -> String {
        match kind {
            Kind::Plain(at) => format!("chaos,part={}", at % self.parts() as usize),
            Kind::Member(_) | Kind::Far(_) => "chaos".to_owned(),
            Kind::Ear(_) => TAG.to_owned(),
        }
    }
}

/// Routers' addresses as the client library wants them.
pub(crate) fn addresses(fronts: &[SocketAddr]) -> Result<Vec<RouterAddress>, AddressError> {
    fronts.iter().map(|front| front.to_string().parse()).collect()
}

/// The tags of an emitter.
pub(super) fn tags(emitter: u32, parts: u32) -> [String; 3] {
    ["chaos=yes".to_owned(), format!("emitter={emitter}"), format!("part={}", emitter % parts)]
}
