//! Combines a receiver's patterns into few automata, as long as these stay small.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::selector::{Automaton, PATTERNS_PER_AUTOMATON_MAX, Pattern};

/// Most bytes of an automaton of several patterns.
const COMBINED_BYTES_MAX: usize = 128 * 1024;
/// Automata that are tried for one subscription. Each takes the thread that makes them up to some
/// 50 ms.
const TRIES_MAX: usize = 8;

/// Automata that find several patterns each.
#[derive(Debug, Default)]
pub struct Cover {
    automata: Vec<Arc<Automaton>>,
    /// The automaton of a pattern, and the pattern's index there, by the address of a pattern that
    /// `patterns` keeps alive.
    places: HashMap<usize, (u32, u32), ahash::RandomState>,
    patterns: Vec<Arc<Pattern>>,
    bytes: usize,
}

impl Cover {
    /// The automaton that finds a pattern, and the pattern's index there.
    #[must_use]
    pub fn place(&self, pattern: &Arc<Pattern>) -> Option<(&Arc<Automaton>, u32)> {
        let &(automaton, index) = self.places.get(&address(pattern))?;
        Some((&self.automata[automaton as usize], index))
    }

    /// Bytes of its automata, without those that patterns have of their own.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many automata it has.
    #[must_use]
    pub const fn automata(&self) -> usize {
        self.automata.len()
    }

    /// Its patterns.
    #[must_use]
    pub fn patterns(&self) -> &[Arc<Pattern>] {
        &self.patterns
    }
}

/// The address of a pattern, which names it while somebody holds it.
pub(super) fn address(pattern: &Arc<Pattern>) -> usize {
    Arc::as_ptr(pattern).addr()
}

/// Makes automata of several patterns each, where they stay small. That takes up to half a second,
/// too long for a core's loop. A pattern that fits no other keeps its own automaton alone.
#[must_use]
pub fn combine(mut patterns: Vec<Arc<Pattern>>) -> Cover {
    patterns.sort_unstable_by(|one, other| one.text().cmp(other.text()));
    patterns.dedup_by(|one, other| Arc::ptr_eq(one, other));
    let mut cover = Cover::default();
    let mut tries = 0;
    let mut parts: Vec<&[Arc<Pattern>]> = patterns.chunks(PATTERNS_PER_AUTOMATON_MAX).collect();
    while let Some(part) = parts.pop() {
        if part.len() < 2 || tries >= TRIES_MAX {
            continue;
        }
        // Patterns whose own automata are not small do not make a small one together.
        let apart: usize = part.iter().map(|pattern| pattern.automaton().bytes()).sum();
        let combined = (apart <= COMBINED_BYTES_MAX).then(|| {
            tries += 1;
            let texts: Vec<&str> = part.iter().map(|pattern| pattern.text()).collect();
            Automaton::new(&texts, COMBINED_BYTES_MAX)
        });
        if let Some(Ok(automaton)) = combined {
            let number = u32::try_from(cover.automata.len()).unwrap_or(u32::MAX);
            cover.bytes += automaton.bytes();
            cover.automata.push(Arc::new(automaton));
            for (index, pattern) in (0..).zip(part) {
                cover.places.insert(address(pattern), (number, index));
            }
        } else {
            let (one, other) = part.split_at(part.len() / 2);
            parts.extend([one, other]);
        }
    }
    cover.patterns = patterns;
    cover
}
