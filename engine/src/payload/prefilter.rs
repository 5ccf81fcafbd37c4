//! The prefilter: which locations may want a run, when payload patterns are all their reason.
//!
//! A location that wants events only for patterns tells the patterns' [`Literals`]; equal ones are
//! one *filter*. The core that has a run for such locations looks for the literals of all filters
//! in one pass over the run's bytes, and copies the run to locations whose filters it has found:
//!
//! ```text
//! filters    0: "RAID STATUS"      1: "sshd: " or "sudo: "
//! heads      "RAI" -> 0: "RAID STATUS"      "ssh" -> 1: "sshd: "      "sud" -> 1: "sudo: "
//! run        ... RAID status ... sudo: x ...      0 is not found (its head is, its rest is not), 1 is
//! ```
//!
//! Each position costs one look into a table of 64 Ki bits, by the hash of the three bytes there.
//! Where the bit is set, the core compares the literals with that head. Such comparisons are *work*
//! that the caller bounds, because clients choose literals and payloads.
//!
//! The filters found are a superset of what the patterns want, because a literal may lie across two
//! payloads of the run. A literal inside a payload is always found.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use millrace_proto::selector::{LITERAL_BYTES_MIN, Literals};

use crate::matching::{FilterNumber, Taker};

/// Most filters of one directory: with 16 literals each, a quarter of the table's bits is set. A
/// location with a filter beyond them gets everything.
pub const FILTERS_MAX: usize = 1024;
const _: () = assert!(FILTERS_MAX <= Taker::FILTERS_MAX as usize, "a taker names every filter");

const HEAD_BITS: u32 = 16;

/// The filters of one version of the directory. Immutable, because cores share it.
#[derive(Debug, Default)]
pub struct Prefilter {
    /// A bit for each hash of a literal's first three bytes; empty when there is no filter.
    heads: Box<[u64]>,
    /// Literals with the filters that have them, by their first three bytes.
    literals: HashMap<u32, Vec<Filtered>, RandomState>,
}

/// A literal, and a filter that has it.
type Filtered = (Box<[u8]>, FilterNumber);

/// A set of filters, a bit each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found([u64; FILTERS_MAX / 64]);

impl Found {
    /// Whether a filter was found. True for a filter that no directory has, because an unknown
    /// filter lets everything pass.
    #[must_use]
    pub fn has(&self, filter: FilterNumber) -> bool {
        self.0.get(usize::from(filter / 64)).is_none_or(|bits| bits >> (filter % 64) & 1 == 1)
    }

    /// Whether no filter was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&bits| bits == 0)
    }

    fn set(&mut self, filter: FilterNumber) {
        if let Some(bits) = self.0.get_mut(usize::from(filter / 64)) {
            *bits |= 1 << (filter % 64);
        }
    }
}

impl Prefilter {
    /// Takes filters by their numbers. Hashing is seeded because peers choose literals.
    fn new<'a>(filters: impl Iterator<Item = (FilterNumber, &'a Literals)>, hash: &RandomState) -> Self {
        let mut made = Self { heads: Box::default(), literals: HashMap::with_hasher(hash.clone()) };
        let mut heads = vec![0; 1 << HEAD_BITS >> 6];
        for (number, filter) in filters {
            for literal in filter.iter() {
                let Some(head) = head(literal) else { continue };
                let bit = slot(head);
                heads[bit / 64] |= 1 << (bit % 64);
                made.literals.entry(head).or_default().push((literal.into(), number));
            }
        }
        if !made.literals.is_empty() {
            made.heads = heads.into();
        }
        made
    }

    /// The filters of which `bytes` contain a literal; none when the comparisons need more than
    /// `work`.
    #[must_use]
    pub fn scan(&self, bytes: &[u8], work: &mut usize) -> Option<Found> {
        let mut found = Found::default();
        let Ok(heads) = <&[u64; 1 << HEAD_BITS >> 6]>::try_from(&*self.heads) else { return Some(found) };
        for (at, window) in bytes.windows(LITERAL_BYTES_MIN).enumerate() {
            let &[a, b, c] = window else { break };
            let head = u32::from_le_bytes([a, b, c, 0]);
            let bit = slot(head);
            if heads[bit / 64] >> (bit % 64) & 1 == 1 {
                self.compare(head, &bytes[at..], work, &mut found)?;
            }
        }
        Some(found)
    }

    /// Finds the literals that `bytes` begin with.
    #[inline(never)]
    fn compare(&self, head: u32, bytes: &[u8], work: &mut usize, found: &mut Found) -> Option<()> {
        let literals = self.literals.get(&head).map_or(&[][..], Vec::as_slice);
        *work = work.checked_sub(1 + literals.len())?;
        for (literal, filter) in literals {
            if bytes.starts_with(literal) {
                found.set(*filter);
            }
        }
        Some(())
    }
}

fn head(literal: &[u8]) -> Option<u32> {
    let &[a, b, c] = literal.first_chunk()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

#[inline]
const fn slot(head: u32) -> usize {
    (head.wrapping_mul(0x9e37_79b1) >> (u32::BITS - HEAD_BITS)) as usize
}

/// The numbers of filters, for the writer of the directory.
#[derive(Debug)]
pub struct FilterTable {
    hash: RandomState,
    /// The number of each filter, and how many entries of the directory have it.
    numbers: HashMap<Arc<Literals>, (FilterNumber, usize), RandomState>,
    free: Vec<FilterNumber>,
    used: FilterNumber,
    made: Arc<Prefilter>,
    is_changed: bool,
}

impl FilterTable {
    /// A table without filters. The seed is for hashing in memory only.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hash = RandomState::with_seeds(seed, !seed, 0x6c69_7465, 0x7261_6c73);
        Self {
            numbers: HashMap::with_hasher(hash.clone()),
            hash,
            free: Vec::new(),
            used: 0,
            made: Arc::default(),
            is_changed: false,
        }
    }

    /// Counts one more entry for a filter and returns its number; none when there are too many
    /// filters.
    pub fn refer(&mut self, literals: &Arc<Literals>) -> Option<FilterNumber> {
        if let Some((number, references)) = self.numbers.get_mut(literals) {
            *references += 1;
            return Some(*number);
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None if usize::from(self.used) < FILTERS_MAX => {
                self.used += 1;
                self.used - 1
            }
            None => return None,
        };
        self.numbers.insert(Arc::clone(literals), (number, 1));
        self.is_changed = true;
        Some(number)
    }

    /// The number of a filter that an entry has.
    #[must_use]
    pub fn get(&self, literals: &Arc<Literals>) -> Option<FilterNumber> {
        self.numbers.get(literals).map(|&(number, _)| number)
    }

    /// Counts one entry fewer for a filter.
    pub fn unrefer(&mut self, literals: &Arc<Literals>) {
        let Some((number, references)) = self.numbers.get_mut(literals) else { return };
        *references -= 1;
        if *references == 0 {
            self.free.push(*number);
            self.numbers.remove(literals);
            self.is_changed = true;
        }
    }

    /// Filters that entries have.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no entry has a filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The prefilter of the current filters. After a change it is made again, which takes a
    /// millisecond with the most filters.
    pub fn prefilter(&mut self) -> Arc<Prefilter> {
        if std::mem::take(&mut self.is_changed) {
            let filters = self.numbers.iter().map(|(literals, &(number, _))| (number, &**literals));
            self.made = Arc::new(Prefilter::new(filters, &self.hash));
        }
        Arc::clone(&self.made)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn literals(all: &[&str]) -> Arc<Literals> {
        Arc::new(Literals::new(all.iter().map(|one| one.as_bytes())).unwrap())
    }

    fn table(filters: &[Arc<Literals>]) -> (FilterTable, Vec<Option<FilterNumber>>) {
        let mut table = FilterTable::new(7);
        let numbers = filters.iter().map(|filter| table.refer(filter)).collect();
        (table, numbers)
    }

    #[test]
    fn a_number_is_free_again_when_nobody_has_it() {
        let (one, two) = (literals(&["disk"]), literals(&["raid", "fan failed"]));
        let (mut table, numbers) = table(&[one.clone(), two.clone(), one.clone()]);
        assert_eq!(numbers, [Some(0), Some(1), Some(0)]);
        let both = table.prefilter();
        table.unrefer(&one);
        assert!(Arc::ptr_eq(&both, &table.prefilter()), "nothing came or went");
        table.unrefer(&one);
        assert_eq!((table.get(&one), table.len()), (None, 1));
        let found = table.prefilter().scan(b"a disk", &mut 100).unwrap();
        assert!(!found.has(0));
        assert_eq!(table.refer(&literals(&["power"])), Some(0));
        let found = table.prefilter().scan(b"fan failed, no power", &mut 100).unwrap();
        assert!(found.has(0) && found.has(1));
    }

    #[test]
    fn filters_are_bounded() {
        let (mut table, _) = table(&[]);
        for number in 0..FILTERS_MAX {
            assert!(table.refer(&literals(&[&format!("host-{number}")])).is_some());
        }
        assert_eq!(table.refer(&literals(&["one more"])), None);
    }

    #[test]
    fn what_comparisons_take_is_bounded() {
        let all: Vec<_> = (0..100).map(|number| literals(&[&format!("aaaaaaaa{number}")])).collect();
        let (mut table, _) = table(&all);
        let mut work = 10_000;
        assert!(table.prefilter().scan("a".repeat(1_000).as_bytes(), &mut work).is_none());
        assert!(work < 10_000);
        assert!(table.prefilter().scan("b".repeat(1_000_000).as_bytes(), &mut 0).is_some());
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_contains_a_literal(
            filters in prop::collection::vec(prop::collection::vec("[ab]{3,6}", 1..4), 1..8),
            bytes in "[abc]{0,40}",
        ) {
            let filters: Vec<_> = filters
                .iter()
                .map(|all| literals(&all.iter().map(String::as_str).collect::<Vec<_>>()))
                .collect();
            let (mut table, numbers) = table(&filters);
            let found = table.prefilter().scan(bytes.as_bytes(), &mut usize::MAX.clone()).unwrap();
            for (filter, number) in filters.iter().zip(numbers) {
                prop_assert_eq!(found.has(number.unwrap()), filter.are_in(bytes.as_bytes()));
            }
        }
    }
}
