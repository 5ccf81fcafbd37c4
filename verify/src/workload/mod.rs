//! Workloads: who emits, who subscribes to what, how much of it, as data.
//!
//! A [`Workload`] is a few numbers and a seed; its [`Generator`] gives any emitter's tag set and any receiver's
//! subscriptions, the same on every machine, so that several load processes share one workload without talking.
//!
//! | shape | what it is like |
//! |---|---|
//! | [`Shape::Fleet`] | hosts in racks, clusters and regions; every event has at least one taker (`million`, pipes, fan-out) |
//! | [`Shape::Blocks`] | the same hosts; each receiver has one selector, which takes a block of neighbours (connections by the thousand) |
//! | [`Shape::Everything`] | the same hosts; every receiver takes everything (pipes with many tag sets) |
//! | [`Shape::Random`] | tags and selectors drawn from a small universe, with every operator of the grammar (simulator) |

mod fleet;
mod random;
mod words;

use millrace_proto::{Selector, SelectorError, TagSet};
use serde::{Deserialize, Serialize};

pub use words::{WORDS_MAX, WordMask, Words};

use fleet::Fleet;
use random::Universe;

/// What emitters' tags and receivers' selectors look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Hosts in racks, clusters and regions. Every emitter has at least one receiver, every receiver an emitter.
    Fleet,
    /// The hosts of a fleet. Each receiver has one selector, which takes a block of hosts: every host has a receiver, and
    /// every receiver one host or more.
    Blocks,
    /// The hosts of a fleet. Each receiver has the selector `*`.
    Everything,
    /// Tags and selectors drawn from a small universe. Some emitters have no receiver, some have all.
    Random,
}

/// Up to this many emitters are named by those who take everything.
const NAMED_MAX: u32 = 64;

/// A tag set holds 32, of which nine are a host's own.
const EXTRA_TAGS_MAX: u32 = 23;

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
    /// Selectors of each receiver, 1 to 1,024. A fleet needs `receivers × selectors_per_receiver ≥ emitters`.
    pub selectors_per_receiver: u32,
    /// Of a fleet's selectors, percent that name one emitter by `fqdn`; the others hide it behind other requirements.
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

/// What one receiver wants under one number: any of the selectors may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its number within its receiver.
    pub number: u32,
    /// At least one.
    pub selectors: Vec<Selector>,
}

/// Why a workload cannot be generated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// A number is out of its range.
    #[error("{what} is {value}: expected {expected}")]
    Range {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What would do.
        expected: &'static str,
    },
    /// A fleet in which some emitters would have no receiver.
    #[error(
        "{selectors} selectors cannot cover {emitters} emitters: add receivers or selectors per receiver"
    )]
    TooFewSelectors {
        /// Selectors of all receivers.
        selectors: u64,
        /// Emitters.
        emitters: u32,
    },
    /// A generated selector does not parse: the generator and the grammar disagree.
    #[error("generated selector {text:?}: {error}")]
    Selector {
        /// The selector.
        text: String,
        /// What the parser says.
        error: SelectorError,
    },
}

impl Workload {
    /// The main job: 100,000 emitters, 10,000 receivers with ten selectors each, 128-byte payloads, one event per run, a
    /// million events per second.
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

    /// A fleet in which every receiver names one emitter: `receivers / emitters` copies of each event, one of each with
    /// equal numbers.
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

    /// The shape, and the selectors of each receiver, by which everything is taken: each emitter by name where they are few.
    #[must_use]
    pub const fn everything_by(emitters: u32) -> (Shape, u32) {
        if emitters <= NAMED_MAX { (Shape::Fleet, emitters) } else { (Shape::Everything, 1) }
    }

    /// A fleet in which every receiver has one selector, for its own block of emitters. 60,000 events per second.
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

    /// A small random workload: every operator, several selectors and subscriptions per receiver, payload patterns.
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
            words: random::words(),
            ..Self::million()
        }
    }

    /// The same workload for another number of emitters and receivers.
    #[must_use]
    pub fn scaled(self, emitters: u32, receivers: u32) -> Self {
        Self { emitters, receivers, ..self }
    }

    /// Checks the numbers and prepares to generate.
    ///
    /// # Errors
    /// [`WorkloadError`] names the number that does not fit.
    pub fn generator(&self) -> Result<Generator, WorkloadError> {
        let range = |what, value: u32, min, max, expected| match (min..=max).contains(&value) {
            true => Ok(()),
            false => Err(WorkloadError::Range { what, value: u64::from(value), expected }),
        };
        range("emitters", self.emitters, 1, 10_000_000, "1 to 10,000,000")?;
        range("receivers", self.receivers, 1, 1_000_000, "1 to 1,000,000")?;
        range("selectors_per_receiver", self.selectors_per_receiver, 1, 1024, "1 to 1,024")?;
        range("extra_tags", self.extra_tags, 0, EXTRA_TAGS_MAX, "0 to 23")?;
        range("fqdn_percent", self.fqdn_percent, 0, 100, "0 to 100")?;
        range("events_per_run", self.events_per_run, 1, 4096, "1 to 4,096")?;
        let kind = match self.shape {
            Shape::Fleet => Kind::Fleet(Fleet::new(self)?),
            Shape::Blocks => Kind::Blocks(Fleet::without_targets(self)),
            Shape::Everything => Kind::Everything(Fleet::without_targets(self)),
            Shape::Random => Kind::Random(Universe::new(self)),
        };
        Ok(Generator { emitters: self.emitters, receivers: self.receivers, words: self.words.clone(), kind })
    }
}

/// Gives tag sets and subscriptions of a [`Workload`], one emitter or receiver at a time.
#[derive(Debug, Clone)]
pub struct Generator {
    emitters: u32,
    receivers: u32,
    words: Words,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Fleet(Fleet),
    Blocks(Fleet),
    Everything(Fleet),
    Random(Universe),
}

impl Generator {
    /// Number of emitters.
    #[must_use]
    pub const fn emitters(&self) -> u32 {
        self.emitters
    }

    /// Number of receivers.
    #[must_use]
    pub const fn receivers(&self) -> u32 {
        self.receivers
    }

    /// What payloads say.
    #[must_use]
    pub const fn words(&self) -> &Words {
        &self.words
    }

    /// The tag set of an emitter, below [`Generator::emitters`].
    #[must_use]
    pub fn tags(&self, emitter: u32) -> TagSet {
        match &self.kind {
            Kind::Fleet(fleet) | Kind::Blocks(fleet) | Kind::Everything(fleet) => fleet.tags(emitter),
            Kind::Random(universe) => universe.tags(emitter),
        }
    }

    /// The tag sets of all emitters, in order of their numbers.
    #[must_use]
    pub fn tag_sets(&self) -> Vec<TagSet> {
        (0..self.emitters).map(|emitter| self.tags(emitter)).collect()
    }

    /// The subscriptions of a receiver, below [`Generator::receivers`].
    ///
    /// # Errors
    /// [`WorkloadError::Selector`] when a selector does not parse.
    pub fn subscriptions(&self, receiver: u32) -> Result<Vec<Subscription>, WorkloadError> {
        let texts = match &self.kind {
            Kind::Fleet(fleet) => fleet.selectors(receiver),
            Kind::Blocks(fleet) => [vec![fleet.block_selector(receiver)], Vec::new()],
            Kind::Everything(_) => [vec!["*".to_owned()], Vec::new()],
            Kind::Random(universe) => universe.selectors(receiver),
        };
        let parse = |text: String| {
            Selector::parse(&text).map_err(|error| WorkloadError::Selector { text: text.clone(), error })
        };
        let filled = texts.into_iter().filter(|selectors| !selectors.is_empty());
        filled
            .zip(0..)
            .map(|(texts, number)| {
                let selectors = texts.into_iter().map(parse).collect::<Result<_, _>>()?;
                Ok(Subscription { number, selectors })
            })
            .collect()
    }
}

/// A number that looks random and follows from `seed` and `number` alone (the finalizer of SplitMix64).
const fn scatter(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One of `values`, chosen by `number`.
fn pick<'a>(values: &[&'a str], number: u64) -> &'a str {
    let at = usize::try_from(number % values.len() as u64).expect("below a length");
    values[at]
}

#[cfg(test)]
mod tests;
