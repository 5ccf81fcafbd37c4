//! Automata that find payload patterns: one table step per byte of the payload, whatever pattern
//! and payload are.
//!
//! An [`Automaton`] is a dense table (a DFA): a row per state, a column per class of bytes. Whoever
//! subscribes chooses the pattern and whoever publishes chooses the payload, so nothing that is
//! slow on some payloads is used, and a pattern whose table is too large is refused. One automaton
//! can find several patterns in one pass; its table may be the product of theirs, so that many
//! patterns take several automata.
//!
//! A [`Scan`] can stop after any byte and go on later: the work of one call is bounded by the
//! caller.

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};

use crate::limits::PATTERN_COMPILED_BYTES_MAX;

/// How deep groups may nest in a pattern: bounds the recursion of reading it.
pub(crate) const NEST_MAX: u32 = 64;
/// Bytes of the graph that a table is made from.
const GRAPH_BYTES_MAX: usize = 1 << 20;
/// Bytes that making a table may take besides the table: bounds the time, too, some 100 ms.
const WORK_BYTES_MAX: usize = 4 << 20;
/// Patterns that one automaton finds: bounds what is told for one byte of a payload.
pub const PATTERNS_PER_AUTOMATON_MAX: usize = 32;

/// Finds some patterns in a payload, in one pass.
#[derive(Debug)]
pub struct Automaton {
    table: dense::DFA<Vec<u32>>,
    start: StateID,
    patterns: usize,
}

/// How far an automaton has read one payload.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    state: StateID,
    /// Bytes read.
    at: usize,
    /// Nothing that follows in the payload changes what was found.
    is_over: bool,
}

impl Scan {
    /// Bytes of the payload that were read.
    #[must_use]
    pub const fn bytes_read(&self) -> usize {
        self.at
    }
}

impl Automaton {
    /// Makes the automaton of some patterns, of at most `bytes_max` bytes. It takes up to 100 ms:
    /// not for a core's loop.
    ///
    /// # Errors
    /// Why it cannot be made, in words; nothing was kept.
    pub fn new(patterns: &[&str], bytes_max: usize) -> Result<Self, String> {
        if patterns.len() > PATTERNS_PER_AUTOMATON_MAX {
            return Err(format!("{} patterns, at most {PATTERNS_PER_AUTOMATON_MAX}", patterns.len()));
        }
        let table = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::All)
                    .start_kind(StartKind::Unanchored)
                    .accelerate(false)
                    .dfa_size_limit(Some(bytes_max))
                    .determinize_size_limit(Some(WORK_BYTES_MAX)),
            )
            .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(NEST_MAX))
            .thompson(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(GRAPH_BYTES_MAX))
                    .which_captures(thompson::WhichCaptures::None),
            )
            .build_many(patterns)
            .map_err(|error| cause(&error))?;
        let beginning = start::Config::new().anchored(Anchored::No);
        let start = table.start_state(&beginning).map_err(|error| error.to_string())?;
        Ok(Self { table, start, patterns: patterns.len() })
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.table.memory_usage()
    }

    /// How many patterns it finds.
    #[must_use]
    pub const fn patterns(&self) -> usize {
        self.patterns
    }

    /// The beginning of a payload.
    #[must_use]
    pub const fn begin(&self) -> Scan {
        Scan { state: self.start, at: 0, is_over: false }
    }

    /// Reads on in a payload while `work` is left, which a byte takes one of, and each pattern
    /// told. `found` is told the index of each pattern that matches, maybe several times, and
    /// says whether that was the last one of interest. True when nothing more can be found in
    /// this payload.
    pub fn advance(
        &self,
        scan: &mut Scan,
        payload: &[u8],
        work: &mut usize,
        mut found: impl FnMut(usize) -> bool,
    ) -> bool {
        // The state that was told last: a pattern that goes on matching, like `a.*`, stays there
        // and is not told again.
        let mut told = None;
        while !scan.is_over && scan.at < payload.len() && *work > 0 {
            let end = payload.len().min(scan.at.saturating_add(*work));
            let begun = scan.at;
            let mut state = scan.state;
            for &byte in &payload[begun..end] {
                state = self.table.next_state(state, byte);
                scan.at += 1;
                if self.table.is_special_state(state) && told != Some(state) {
                    break;
                }
            }
            scan.state = state;
            *work -= scan.at - begun;
            if told != Some(state) && self.tell(state, work, &mut found) {
                scan.is_over = true;
            }
            told = Some(state);
        }
        if !scan.is_over && scan.at >= payload.len() {
            // A match is told one step late, also that at the end.
            self.tell(self.table.next_eoi_state(scan.state), work, &mut found);
            scan.is_over = true;
        }
        scan.is_over
    }

    /// Tells what a state has found; whether that is the end.
    fn tell(&self, state: StateID, work: &mut usize, found: &mut impl FnMut(usize) -> bool) -> bool {
        if !self.table.is_special_state(state) {
            return false;
        }
        if self.table.is_match_state(state) {
            let matched = self.table.match_len(state);
            *work = work.saturating_sub(matched);
            return (0..matched).any(|index| found(self.table.match_pattern(state, index).as_usize()));
        }
        self.table.is_dead_state(state) || self.table.is_quit_state(state)
    }

    /// Whether any pattern is found in a payload, read to its end.
    #[must_use]
    pub fn is_match(&self, payload: &[u8]) -> bool {
        let (mut scan, mut work, mut is_found) = (self.begin(), usize::MAX, false);
        self.advance(&mut scan, payload, &mut work, |_| {
            is_found = true;
            true
        });
        is_found
    }
}

/// What is wrong, without what it led to.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

/// Bytes that one pattern's automaton may take.
pub(super) const PATTERN_BYTES_MAX: usize = PATTERN_COMPILED_BYTES_MAX;
