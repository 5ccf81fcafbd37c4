//! Who must get what: the expected takers of every emitter's events, found by a naive [`Matcher`].

mod matcher;

use crate::workload::{Generator, WordMask, Words, WorkloadError};

pub use matcher::{Matcher, PatternError, words_taken};

/// One subscription that takes events of an emitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// The receiver.
    pub receiver: u32,
    /// The subscription's number within its receiver.
    pub subscription: u32,
    /// Of the emitter's events, those that it takes, by the word they carry.
    pub words: WordMask,
}

/// Why the expected takers could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OracleError {
    /// The workload does not generate.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A payload pattern is no regular expression.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// For each emitter, the subscriptions that take its events, in order of (receiver, subscription).
///
/// Emitters' lists lie one behind the other in one vector: 12 bytes per match and 4 per emitter.
#[derive(Debug, Clone)]
pub struct Expected {
    words: Words,
    /// Where each emitter's matches start, and one more: where the last ends.
    starts: Vec<u32>,
    matches: Vec<Match>,
}

impl Expected {
    /// The expected takers of a whole workload.
    ///
    /// # Errors
    /// [`OracleError`] when a selector of the workload does not parse or a pattern does not compile.
    pub fn of(generator: &Generator) -> Result<Self, OracleError> {
        let mut matcher = Matcher::new(generator.words().clone());
        for receiver in 0..generator.receivers() {
            for subscription in generator.subscriptions(receiver)? {
                for selector in subscription.selectors {
                    matcher.add(receiver, subscription.number, selector)?;
                }
            }
        }
        let mut starts = vec![0];
        let mut matches = Vec::with_capacity(generator.emitters() as usize * 2);
        for emitter in 0..generator.emitters() {
            matcher.matches(generator.tags(emitter).borrow(), &mut matches);
            starts.push(u32::try_from(matches.len()).expect("fewer than 2^32 matches in a workload"));
        }
        Ok(Self { words: generator.words().clone(), starts, matches })
    }

    /// The words that masks speak of.
    #[must_use]
    pub const fn words(&self) -> &Words {
        &self.words
    }

    /// Number of emitters.
    #[must_use]
    pub fn emitters(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    /// The subscriptions that take events of `emitter`, in order of (receiver, subscription).
    #[must_use]
    pub fn matches(&self, emitter: u32) -> &[Match] {
        let at = emitter as usize;
        &self.matches[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The receivers that take events of `emitter`, in order, each once, with the words that any of its subscriptions takes.
    pub fn receivers(&self, emitter: u32) -> impl Iterator<Item = (u32, WordMask)> {
        self.matches(emitter)
            .chunk_by(|a, b| a.receiver == b.receiver)
            .map(|group| (group[0].receiver, group.iter().fold(0, |words, item| words | item.words)))
    }

    /// How many deliveries follow when emitter `e` publishes events `0..published[e]`.
    #[must_use]
    pub fn deliveries(&self, published: &[u64]) -> u64 {
        (0..self.emitters())
            .zip(published)
            .flat_map(|(emitter, &count)| {
                self.receivers(emitter).map(move |(_, words)| (emitter, count, words))
            })
            .map(|(emitter, count, words)| self.words.taken(words, emitter, 0, count))
            .sum()
    }
}
