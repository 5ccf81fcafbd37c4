//! The naive matcher: evaluates selectors as they are written.
//!
//! To be fast enough for 100,000 selectors it files each under the values of one of its `=` or `in`
//! requirements (under the hash of key and value) and looks only where the tag set has tags. That
//! is a superset of what matches; every candidate is then evaluated in full, so that neither a hash
//! collision nor a badly chosen requirement can change the result.

use ahash::AHashMap;
use millrace_proto::selector::{Operation, Requirement};
use millrace_proto::{Selector, TagSetRef};
use regex::bytes::{Regex, RegexBuilder};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::workload::{WordMask, Words};

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

/// A payload pattern that is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payload pattern /{pattern}/: {message}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub message: String,
}

/// Selectors of many receivers, matched one tag set at a time.
#[derive(Debug, Clone)]
pub struct Matcher {
    words: Words,
    filed: Vec<Filed>,
    by_value: AHashMap<u64, Vec<u32>>,
    /// Selectors that name no value: candidates for every tag set.
    others: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Filed {
    selector: Selector,
    result: Match,
}

impl Matcher {
    /// A matcher without selectors, for events that carry `words`.
    #[must_use]
    pub fn new(words: Words) -> Self {
        Self { words, filed: Vec::new(), by_value: AHashMap::new(), others: Vec::new() }
    }

    /// Adds a selector of a subscription.
    ///
    /// # Errors
    /// [`PatternError`] when one of its patterns does not compile; nothing is added.
    pub fn add(&mut self, receiver: u32, subscription: u32, selector: Selector) -> Result<(), PatternError> {
        let words = words_taken(&selector, &self.words)?;
        let id = u32::try_from(self.filed.len()).expect("fewer than 2^32 selectors");
        let filed_already = |hash: &u64| self.by_value.get(hash).map_or(0, Vec::len);
        let fewest = selector
            .requirements()
            .map(|requirement| value_hashes(&requirement))
            .filter(|hashes| !hashes.is_empty())
            .min_by_key(|hashes| hashes.iter().map(filed_already).sum::<usize>());
        match fewest {
            Some(hashes) => hashes.iter().for_each(|&hash| self.by_value.entry(hash).or_default().push(id)),
            None => self.others.push(id),
        }
        self.filed.push(Filed { selector, result: Match { receiver, subscription, words } });
        Ok(())
    }

    /// Appends the subscriptions that take a tag set's events: in order, each once.
    pub fn matches(&self, tags: TagSetRef<'_>, out: &mut Vec<Match>) {
        let from = out.len();
        let found = tags.iter().filter_map(|(key, value)| self.by_value.get(&tag_hash(key, value)));
        for &id in found.flatten().chain(&self.others) {
            let filed = &self.filed[id as usize];
            if filed.selector.matches_tags(tags) {
                out.push(filed.result);
            }
        }
        out[from..].sort_unstable();
        // One subscription may match through several selectors: it takes what any of them takes.
        let mut kept = from;
        for at in from..out.len() {
            let item = out[at];
            match out[from..kept].last_mut() {
                Some(last) if (last.receiver, last.subscription) == (item.receiver, item.subscription) => {
                    last.words |= item.words;
                }
                _ => {
                    out[kept] = item;
                    kept += 1;
                }
            }
        }
        out.truncate(kept);
    }
}

/// The words that satisfy all payload patterns of a selector; [`Words::ALL`] when it has none.
///
/// Patterns see the word alone, not the head or the filler of its payload.
///
/// # Errors
/// [`PatternError`] when a pattern does not compile.
pub fn words_taken(selector: &Selector, words: &Words) -> Result<WordMask, PatternError> {
    let mut mask = Words::ALL;
    for pattern in selector.patterns() {
        let regex = compile(pattern)?;
        let texts = words.texts().iter().enumerate();
        mask &=
            texts.filter(|(_, text)| regex.is_match(text.as_bytes())).fold(0, |mask, (at, _)| mask | 1 << at);
    }
    Ok(mask)
}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .build()
        .map_err(|error| PatternError { pattern: pattern.to_owned(), message: error.to_string() })
}

/// Where a requirement is met: the hashes of the tags that it names. None when it names no tags.
fn value_hashes(requirement: &Requirement<'_>) -> Vec<u64> {
    match requirement.operation {
        Operation::Equals(value) => vec![tag_hash(requirement.key, value)],
        Operation::In(values) => values.iter().map(|value| tag_hash(requirement.key, value)).collect(),
        _ => Vec::new(),
    }
}

fn tag_hash(key: &str, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), xxh3_64(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    /// Every selector against every tag set, nothing else.
    fn scan(generator: &crate::workload::Generator, tags: TagSetRef<'_>) -> Vec<Match> {
        let mut found = Vec::new();
        for receiver in 0..generator.receivers() {
            for subscription in generator.subscriptions(receiver).unwrap() {
                let mut words = None;
                for selector in &subscription.selectors {
                    if selector.matches_tags(tags) {
                        words = Some(words.unwrap_or(0) | words_taken(selector, generator.words()).unwrap());
                    }
                }
                found.extend(words.map(|words| Match { receiver, subscription: subscription.number, words }));
            }
        }
        found
    }

    #[test]
    fn filing_by_value_finds_what_a_plain_scan_finds() {
        let fleet = Workload::million().scaled(200, 20);
        for workload in (0..20).map(|seed| Workload::random(seed, 40, 15)).chain([fleet]) {
            let generator = workload.generator().unwrap();
            let expected = crate::oracle::Expected::of(&generator).unwrap();
            for emitter in 0..generator.emitters() {
                let tags = generator.tags(emitter);
                assert_eq!(
                    expected.matches(emitter),
                    scan(&generator, tags.borrow()),
                    "{tags} of {workload:?}"
                );
            }
        }
    }
}
