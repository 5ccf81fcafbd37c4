//! Which automata find a receiver's patterns: as few as stay small.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::selector::{Automaton, PATTERNS_PER_AUTOMATON_MAX, Pattern};

/// Bytes that an automaton of several patterns may take.
const COMBINED_BYTES_MAX: usize = 128 * 1024;
/// Automata that are tried for one subscription: each takes up to some 50 ms of the thread that
/// makes them.
const TRIES_MAX: usize = 8;

/// Automata of some patterns.
#[derive(Debug, Default)]
pub struct Cover {
    automata: Vec<Arc<Automaton>>,
    /// By address of a pattern, which `patterns` keeps alive: its automaton, and its index there.
    places: HashMap<usize, (u32, u32), ahash::RandomState>,
    patterns: Vec<Arc<Pattern>>,
    bytes: usize,
}

impl Cover {
    /// The automaton that finds a pattern, by its index here, and the pattern's index there.
    #[must_use]
    pub fn place(&self, pattern: &Arc<Pattern>) -> Option<(&Arc<Automaton>, u32)> {
        let &(automaton, index) = self.places.get(&address(pattern))?;
        Some((&self.automata[automaton as usize], index))
    }

    /// Bytes that its automata take besides the patterns' own.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Automata of several patterns.
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

/// The address of a pattern: its name while somebody holds it.
pub(super) fn address(pattern: &Arc<Pattern>) -> usize {
    Arc::as_ptr(pattern).addr()
}

/// Makes automata of several patterns each, where they stay small. It takes half a second at the
/// most: not for a core's loop. A pattern that goes with no other is left out, for it has its own.
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
        // What is not small apart is not small together.
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
