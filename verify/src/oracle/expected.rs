//! The expected takers of a whole workload.

use std::ops::Range;

use super::matcher::{Match, Matcher, PatternError};
use crate::workload::{Generator, WordMask, Words, WorkloadError};

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

/// Below this many emitters a thread costs more than it saves.
const EMITTERS_PER_THREAD_MIN: u32 = 4096;

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
    /// The expected takers of a whole workload. Large workloads are matched on all cores; the
    /// result does not depend on it.
    ///
    /// # Errors
    /// [`OracleError`] when a selector of the workload does not parse or a pattern does not
    /// compile.
    pub fn of(generator: &Generator) -> Result<Self, OracleError> {
        let mut matcher = Matcher::new(generator.words().clone());
        for receiver in 0..generator.receivers() {
            for subscription in generator.subscriptions(receiver)? {
                for selector in subscription.selectors {
                    matcher.add(receiver, subscription.number, selector)?;
                }
            }
        }
        let mut expected = Self { words: generator.words().clone(), starts: vec![0], matches: Vec::new() };
        std::thread::scope(|scope| {
            let takers = |emitters| scope.spawn(|| takers(generator, &matcher, emitters));
            let threads: Vec<_> = shares(generator.emitters()).map(takers).collect();
            for thread in threads {
                expected.append(thread.join().expect("matching does not panic"));
            }
        });
        Ok(expected)
    }

    /// Adds the takers of the next emitters: how many matches each has, and the matches.
    fn append(&mut self, (counts, matches): (Vec<u32>, Vec<Match>)) {
        self.matches.extend(matches);
        let mut end = self.starts.last().copied().unwrap_or(0);
        for count in counts {
            end += count;
            self.starts.push(end);
        }
    }

    /// The words that masks speak of.
    #[must_use]
    pub const fn words(&self) -> &Words {
        &self.words
    }

    /// Number of emitters.
    #[must_use]
    pub fn emitters(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).expect("emitters are numbered by u32")
    }

    /// The subscriptions that take events of `emitter`, in order of (receiver, subscription).
    #[must_use]
    pub fn matches(&self, emitter: u32) -> &[Match] {
        let at = emitter as usize;
        &self.matches[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The receivers that take events of `emitter`, in order, each once, with the words that any of
    /// its subscriptions takes.
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

/// Cuts `0..emitters` into a share for each thread that helps.
fn shares(emitters: u32) -> impl Iterator<Item = Range<u32>> {
    let threads =
        std::thread::available_parallelism().ok().and_then(|threads| u32::try_from(threads.get()).ok());
    let share = emitters.div_ceil(threads.unwrap_or(1)).max(EMITTERS_PER_THREAD_MIN);
    (0..emitters).step_by(share as usize).map(move |from| from..emitters.min(from.saturating_add(share)))
}

/// How many matches each of these emitters has, and the matches.
fn takers(generator: &Generator, matcher: &Matcher, emitters: Range<u32>) -> (Vec<u32>, Vec<Match>) {
    let mut matches = Vec::with_capacity(emitters.len() * 2);
    let counts = emitters.map(|emitter| {
        let before = matches.len();
        matcher.matches(generator.tags(emitter).borrow(), &mut matches);
        u32::try_from(matches.len() - before).expect("fewer than 2^32 subscriptions")
    });
    (counts.collect(), matches)
}
