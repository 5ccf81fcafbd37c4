//! What a workload is: a few numbers and a seed.

use serde::{Deserialize, Serialize};

use super::words::Words;

/// What emitters' tags and receivers' selectors look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Hosts in racks, clusters and regions. Every emitter has at least one receiver, every
    /// receiver an emitter.
    Fleet,
    /// The hosts of a fleet. Each receiver has one selector, which takes a block of hosts: every
    /// host has a receiver, and every receiver one host or more.
    Blocks,
    /// The hosts of a fleet. Each receiver has the selector `*`.
    Everything,
    /// Tags and selectors drawn from a small universe. Some emitters have no receiver, some have
    /// all.
    Random,
}

/// Up to this many emitters are named by those who take everything.
const NAMED_MAX: u32 = 64;

/// A workload. All fields are counts unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name in reports.
    pub name: String,
    /// Everything random follows from it.
    pub seed: u64,
    /// What tags and selectors look like.
    pub shape: Shape,
    /// Emitters, each with its own tag set, at least 1.
    pub emitters: u32,
    /// Receivers, at least 1.
    pub receivers: u32,
    /// Selectors of each receiver, 1 to 1,024. A fleet needs `receivers × selectors_per_receiver ≥
    /// emitters`.
    pub selectors_per_receiver: u32,
    /// Of a fleet's selectors, percent that name one emitter by `fqdn`; the others hide it behind
    /// other requirements.
    pub fqdn_percent: u32,
    /// Of a fleet's other selectors, at most how many have no equality at all.
    pub scan_selectors: u32,
    /// Tags that a fleet's emitters have beyond their nine, at most 23.
    #[serde(default)]
    pub extra_tags: u32,
    /// Values that each of those takes, dealt out at random; 0 counts as 1.
    #[serde(default)]
    pub extra_tag_values: u32,
    /// Bytes of each payload.
    pub payload_bytes: u32,
    /// Events that an emitter publishes at a time, as one run, at least 1.
    pub events_per_run: u32,
    /// Events per second over all emitters that are to be offered.
    pub events_per_second: u64,
    /// Texts that payloads carry in turn.
    pub words: Words,
}

impl Workload {
    /// The main job: 100,000 emitters, 10,000 receivers with ten selectors each, 128-byte payloads,
    /// one event per run, a million events per second.
    #[must_use]
    pub fn million() -> Self {
        Self {
            name: "million".into(),
            seed: 1,
            shape: Shape::Fleet,
            emitters: 100_000,
            receivers: 10_000,
            selectors_per_receiver: 10,
            fqdn_percent: 70,
            scan_selectors: 24,
            extra_tags: 0,
            extra_tag_values: 16,
            payload_bytes: 128,
            events_per_run: 1,
            events_per_second: 1_000_000,
            words: Words::default(),
        }
    }

    /// A fleet in which every receiver names one emitter: `receivers / emitters` copies of each
    /// event, one of each with equal numbers.
    #[must_use]
    pub fn pipes(emitters: u32, receivers: u32) -> Self {
        Self {
            name: "pipes".into(),
            emitters,
            receivers,
            selectors_per_receiver: emitters.div_ceil(receivers.max(1)).max(1),
            fqdn_percent: 100,
            scan_selectors: 0,
            events_per_run: 16,
            ..Self::million()
        }
    }

    /// A fleet in which every receiver takes everything, in runs of 16.
    #[must_use]
    pub fn everything(emitters: u32, receivers: u32) -> Self {
        let (shape, selectors_per_receiver) = Self::everything_by(emitters);
        Self { name: "everything".into(), shape, selectors_per_receiver, ..Self::pipes(emitters, receivers) }
    }

    /// The shape, and the selectors of each receiver, by which everything is taken: each emitter by
    /// name where they are few.
    #[must_use]
    pub const fn everything_by(emitters: u32) -> (Shape, u32) {
        if emitters <= NAMED_MAX { (Shape::Fleet, emitters) } else { (Shape::Everything, 1) }
    }

    /// A fleet in which every receiver has one selector, for its own block of emitters. 60,000
    /// events per second.
    #[must_use]
    pub fn blocks(emitters: u32, receivers: u32) -> Self {
        Self {
            name: "blocks".into(),
            shape: Shape::Blocks,
            emitters,
            receivers,
            selectors_per_receiver: 1,
            events_per_second: 60_000,
            ..Self::million()
        }
    }

    /// A small random workload: every operator, several selectors and subscriptions per receiver,
    /// payload patterns.
    #[must_use]
    pub fn random(seed: u64, emitters: u32, receivers: u32) -> Self {
        Self {
            name: "random".into(),
            seed,
            shape: Shape::Random,
            emitters,
            receivers,
            selectors_per_receiver: 4,
            payload_bytes: 96,
            events_per_second: 1000,
            words: Words::of_random(),
            ..Self::million()
        }
    }

    /// The same workload for another number of emitters and receivers.
    #[must_use]
    pub fn scaled(self, emitters: u32, receivers: u32) -> Self {
        Self { emitters, receivers, ..self }
    }
}
