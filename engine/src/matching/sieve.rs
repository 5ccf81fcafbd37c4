//! Sorts out, among many selectors that share an access tag, those that cannot match.
//!
//! Each selector is filed by one more requirement, the one that promises to let the fewest tag sets
//! pass, as one row: a 32-bit *mark* and the selector's number. Rows of one kind (a *facet* of one
//! key) lie side by side, so that a lookup computes one mark from the tag's value and compares it
//! with a run of marks, many at a time:
//!
//! | requirement | facet | mark | a row is a candidate when |
//! |---|---|---|---|
//! | `k=v`, `k in (a,b)` | `Value` | hash of the value, one row each | marks are equal |
//! | `k=web-*` | `Prefix(4)` | hash of `web-` | equal to the hash of the value's first 4 bytes |
//! | `k=*-db` | `Suffix(3)` | hash of `-db` | equal to the hash of the value's last 3 bytes |
//! | `k=*web-db*` | `Contains` | two of `web-`, `eb-d`, `b-db` ([`grams`](super::grams)) | the value has both |
//! | `k>10`, `k<10` | `Above`, `Below` | the number, in 32 ordered bits | the value's number is not on the other side |
//! | `k` | `Present` | | the key is there |
//! | anything else | `Any` | | always |
//!
//! Candidates are a superset: each is evaluated in full afterwards. `in (a,b)` is one candidate at
//! most, since a key has one value (rows of one selector never have the same mark). 10,000 rows are
//! 40 KB of marks: about 2 µs.

use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::selector::{Comparison, Operation, Requirement};

use super::grams::{self, Grams};
use super::probe::Probe;
use super::tag_hash::TagHasher;

/// Rows in one chunk, which a write copies when a snapshot shares it.
const ROWS_PER_CHUNK: usize = 512;

/// What a row's mark says about the key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Facet {
    Value,
    Prefix(u16),
    Suffix(u16),
    Contains,
    Above,
    Below,
    Present,
    Any,
}

/// The selectors under one access tag, or of the scan list.
#[derive(Debug, Clone, Default)]
pub(super) struct Sieve {
    /// Sorted by key, then facet: one pass joins them with a tag set.
    runs: Vec<Run>,
    selectors: usize,
}

#[derive(Debug, Clone)]
struct Run {
    key: Arc<str>,
    facet: Facet,
    /// Full but for the last.
    chunks: Vec<Arc<Chunk>>,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    marks: Vec<u32>,
    selectors: Vec<u32>,
}

/// Where a selector's rows are.
struct Filing<'a> {
    key: &'a str,
    facet: Facet,
    marks: Vec<u32>,
}

impl Sieve {
    /// Number of selectors.
    pub(super) const fn len(&self) -> usize {
        self.selectors
    }

    /// Files selector number `number`; `access` is the requirement that its whole group has.
    pub(super) fn insert(
        &mut self,
        number: u32,
        selector: &Selector,
        access: Option<(&str, &str)>,
        hasher: &TagHasher,
    ) {
        let filing = Filing::of(selector, access, hasher);
        let place = match self.find(&filing) {
            Ok(place) => place,
            Err(place) => {
                let run = Run { key: filing.key.into(), facet: filing.facet, chunks: Vec::new() };
                self.runs.insert(place, run);
                place
            }
        };
        for mark in filing.marks {
            self.runs[place].push(mark, number);
        }
        self.selectors += 1;
    }

    /// Takes out the rows that [`Sieve::insert`] filed with the same arguments.
    pub(super) fn remove(
        &mut self,
        number: u32,
        selector: &Selector,
        access: Option<(&str, &str)>,
        hasher: &TagHasher,
    ) {
        let filing = Filing::of(selector, access, hasher);
        let Ok(place) = self.find(&filing) else { return };
        let run = &mut self.runs[place];
        for mark in filing.marks {
            run.remove(mark, number);
        }
        if run.chunks.is_empty() {
            self.runs.remove(place);
        }
        self.selectors -= 1;
    }

    /// The numbers of all selectors, each once, in order.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let chunks = self.runs.iter().flat_map(|run| &run.chunks);
        let mut numbers: Vec<u32> = chunks.flat_map(|chunk| chunk.selectors.iter().copied()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Visits the number of every selector that may match, each once.
    #[inline]
    pub(super) fn candidates(&self, probe: &Probe<'_>, hasher: &TagHasher, mut visit: impl FnMut(u32)) {
        let mut runs = &self.runs[..];
        while let Some((run, rest)) = runs.split_first()
            && run.facet == Facet::Any
        {
            run.all(&mut visit);
            runs = rest;
        }
        for &(key, value) in probe.tags() {
            let skip = match runs {
                [] => return,
                [first, ..] if first.key.as_bytes() >= key => 0,
                _ => runs.partition_point(|run| run.key.as_bytes() < key),
            };
            runs = &runs[skip..];
            while let Some((run, rest)) = runs.split_first()
                && run.key.as_bytes() == key
            {
                run.candidates(value, hasher, &mut visit);
                runs = rest;
            }
        }
    }

    fn find(&self, filing: &Filing<'_>) -> Result<usize, usize> {
        self.runs.binary_search_by(|run| (&*run.key, run.facet).cmp(&(filing.key, filing.facet)))
    }
}

impl Run {
    fn push(&mut self, mark: u32, number: u32) {
        if self.chunks.last().is_none_or(|chunk| chunk.marks.len() == ROWS_PER_CHUNK) {
            self.chunks.push(Arc::default());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            let chunk = Arc::make_mut(chunk);
            chunk.marks.push(mark);
            chunk.selectors.push(number);
        }
    }

    /// Puts the last row in place of the one that goes.
    fn remove(&mut self, mark: u32, number: u32) {
        let found = self.chunks.iter().enumerate().find_map(|(at, chunk)| {
            let rows = chunk.marks.iter().zip(&chunk.selectors);
            let row = rows.into_iter().position(|row| row == (&mark, &number))?;
            Some((at, row))
        });
        let Some((at, row)) = found else { return };
        let Some(last) = self.chunks.last_mut() else { return };
        let last = Arc::make_mut(last);
        if let (Some(mark), Some(number)) = (last.marks.pop(), last.selectors.pop()) {
            if last.marks.is_empty() {
                self.chunks.pop();
            }
            // The row itself may have been the last one.
            if let Some(chunk) = self.chunks.get_mut(at)
                && row < chunk.marks.len()
            {
                let chunk = Arc::make_mut(chunk);
                chunk.marks[row] = mark;
                chunk.selectors[row] = number;
            }
        }
    }

    fn all(&self, visit: &mut impl FnMut(u32)) {
        self.chunks.iter().flat_map(|chunk| &chunk.selectors).copied().for_each(visit);
    }

    #[inline]
    fn candidates(&self, value: &[u8], hasher: &TagHasher, visit: &mut impl FnMut(u32)) {
        match self.facet {
            Facet::Value => self.equal(hasher.mark(value), visit),
            Facet::Prefix(len) => {
                if let Some((prefix, _)) = value.split_at_checked(usize::from(len)) {
                    self.equal(hasher.mark(prefix), visit);
                }
            }
            Facet::Suffix(len) => {
                if let Some(at) = value.len().checked_sub(usize::from(len)) {
                    self.equal(hasher.mark(&value[at..]), visit);
                }
            }
            Facet::Contains => {
                let grams = Grams::of(value, hasher.seed());
                self.sift(|mark| grams.has(mark), visit);
            }
            Facet::Above => {
                if let Some(number) = ordered(value) {
                    self.sift(|mark| mark <= number, visit);
                }
            }
            Facet::Below => {
                if let Some(number) = ordered(value) {
                    self.sift(|mark| mark >= number, visit);
                }
            }
            Facet::Present | Facet::Any => self.all(visit),
        }
    }

    fn equal(&self, wanted: u32, visit: &mut impl FnMut(u32)) {
        self.sift(|mark| mark == wanted, visit);
    }

    /// Visits the rows whose mark passes. Sixteen at a time are compared without a branch, because
    /// hardly any passes.
    #[inline]
    fn sift(&self, passes: impl Fn(u32) -> bool, visit: &mut impl FnMut(u32)) {
        for chunk in &self.chunks {
            let mut numbers = chunk.selectors.chunks(16);
            for marks in chunk.marks.chunks(16) {
                let numbers = numbers.next().unwrap_or_default();
                if !marks.iter().fold(false, |any, &mark| any | passes(mark)) {
                    continue;
                }
                for (&mark, &number) in marks.iter().zip(numbers) {
                    if passes(mark) {
                        visit(number);
                    }
                }
            }
        }
    }
}

impl<'a> Filing<'a> {
    /// The filing of a selector: by the requirement that promises most, apart from the access tag.
    fn of(selector: &'a Selector, access: Option<(&str, &str)>, hasher: &TagHasher) -> Self {
        let is_access = |requirement: &Requirement<'_>| match (requirement.operation, access) {
            (Operation::Equals(value), Some(access)) => (requirement.key, value) == access,
            _ => false,
        };
        let best = selector
            .requirements()
            .filter(|requirement| !is_access(requirement))
            .map(|requirement| (promise(&requirement.operation), requirement))
            .max_by_key(|&(promise, _)| promise);
        let Some((1.., requirement)) = best else {
            return Self { key: "", facet: Facet::Any, marks: vec![0] };
        };
        let key = requirement.key;
        let hashed = |text: &str| vec![hasher.mark(text.as_bytes())];
        let (facet, marks) = match requirement.operation {
            Operation::Equals(value) => (Facet::Value, hashed(value)),
            Operation::In(values) => {
                let mut marks: Vec<u32> = values.iter().map(|value| hasher.mark(value.as_bytes())).collect();
                marks.sort_unstable();
                marks.dedup();
                (Facet::Value, marks)
            }
            Operation::Glob(pattern) => match (prefix(pattern), suffix(pattern)) {
                (start, end)
                    if start.len().max(end.len()) < grams::LEN && inner(pattern).len() >= grams::LEN =>
                {
                    (Facet::Contains, vec![grams::mark(inner(pattern).as_bytes(), hasher.seed())])
                }
                (start, end) if start.len() >= end.len() && !start.is_empty() => {
                    (Facet::Prefix(length(start)), hashed(start))
                }
                (_, end) if !end.is_empty() => (Facet::Suffix(length(end)), hashed(end)),
                _ => (Facet::Present, vec![0]),
            },
            Operation::Compare(comparison, number) => match (comparison, ordered(number.as_bytes())) {
                (Comparison::Greater | Comparison::GreaterOrEqual, Some(mark)) => (Facet::Above, vec![mark]),
                (Comparison::Less | Comparison::LessOrEqual, Some(mark)) => (Facet::Below, vec![mark]),
                (_, None) => (Facet::Present, vec![0]),
            },
            _ => (Facet::Present, vec![0]),
        };
        Self { key, facet, marks }
    }
}

/// How many tag sets a requirement promises to sort out. 0: none, because tag sets without the key
/// meet it.
fn promise(operation: &Operation<'_>) -> usize {
    match operation {
        Operation::Equals(_) => 1_000,
        Operation::In(values) if values.len() <= 16 => 900 - values.len(),
        Operation::Glob(pattern) => {
            let ends = prefix(pattern).len().max(suffix(pattern).len()).min(700);
            100 + ends.max(inner(pattern).len().min(grams::LEN))
        }
        Operation::In(_) => 99,
        Operation::Compare(..) => 50,
        Operation::Exists => 1,
        Operation::NotEquals(_) | Operation::NotIn(_) | Operation::NotGlob(_) | Operation::Absent => 0,
    }
}

/// What a selector that no tag leads to costs a lookup, as so many usual ones of some 50 ns: parts
/// of globs that are looked for in the middle of a value take up to some microseconds where both
/// are long.
pub(crate) fn lookup_weight(selector: &Selector) -> usize {
    let weight = |requirement: Requirement<'_>| match requirement.operation {
        Operation::Glob(glob) if inner(glob).len() >= grams::LEN => glob_weight(glob) / SIEVED_PART,
        Operation::Glob(glob) | Operation::NotGlob(glob) => glob_weight(glob),
        _ => 0,
    };
    selector.requirements().map(weight).sum::<usize>().max(1)
}

/// What evaluating a selector costs, in steps.
pub(super) fn step_weight(selector: &Selector) -> u16 {
    let weight = |requirement: Requirement<'_>| match requirement.operation {
        Operation::Glob(glob) | Operation::NotGlob(glob) => glob_weight(glob),
        _ => 0,
    };
    u16::try_from(selector.requirements().map(weight).sum::<usize>().max(1)).unwrap_or(u16::MAX)
}

/// The same for a glob that is not sieved out before.
fn glob_weight(glob: &str) -> usize {
    let middle = glob.split_once('*').and_then(|(_, rest)| rest.rsplit_once('*'));
    let Some((middle, _)) = middle else { return 0 };
    let part_weight = |part: &str| match part.contains('?') {
        true => 16 * (1 + part.len() / 64),
        false => 1 + part.len() / 8,
    };
    middle.split('*').map(part_weight).sum()
}

/// Of globs that are sieved, few are looked at.
const SIEVED_PART: usize = 8;

const WILD: [char; 3] = ['*', '?', '\\'];

/// The literal start of a glob.
fn prefix(pattern: &str) -> &str {
    pattern.find(WILD).map_or(pattern, |end| &pattern[..end])
}

/// The literal end of a glob.
fn suffix(pattern: &str) -> &str {
    pattern.rfind(WILD).map_or(pattern, |last| &pattern[last + 1..])
}

/// The longest literal of a glob.
fn inner(pattern: &str) -> &str {
    pattern.split(WILD).max_by_key(|part| part.len()).unwrap_or_default()
}

fn length(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(u16::MAX)
}

/// A number as 32 bits whose order never contradicts that of the numbers: from `a < b` follows that
/// `a` gives at most as much as `b`. None for a text that is no number, which no comparison
/// accepts.
fn ordered(text: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|number| !number.is_nan())?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding keeps the order, which is all that is asked"
    )]
    let bits = (number as f32 + 0.0).to_bits();
    Some(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
}
