//! Gives the tag sets and subscriptions of a workload.

use millrace_proto::{Selector, TagSet};

use super::error::WorkloadError;
use super::fleet::Fleet;
use super::random::Universe;
use super::spec::{Shape, Workload};
use super::words::Words;

/// A tag set holds 32, of which nine are a host's own.
const EXTRA_TAGS_MAX: u32 = 23;

/// What one receiver wants under one number: any of the selectors may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its number within its receiver.
    pub number: u32,
    /// At least one.
    pub selectors: Vec<Selector>,
}

impl Workload {
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
