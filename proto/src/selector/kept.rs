//! A selector as it is kept: its canonical text, and where in it everything stands.
//!
//! Routers hold each other's selectors by the million, so that a selector is little more than its
//! text:
//!
//! ```text
//! store    host=web-1,x in (a,"b\\"")b"     the text, behind it those values whose spelling in it differs
//! spans    Equals 0+4 5+5 | In 11+1 [16+1 26+2]
//! ```
//!
//! A requirement takes ten bytes besides its text and each value of a list four. [`Requirement`]
//! and [`Operation`] are views that borrow from it.

use super::ast::{self, Comparison};
use super::{glob, number};
use crate::tag::TagSetRef;

/// One requirement on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requirement<'a> {
    /// The key.
    pub key: &'a str,
    /// What is required of it.
    pub operation: Operation<'a>,
}

/// What is required of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation<'a> {
    /// `key=value`
    Equals(&'a str),
    /// `key!=value`: also met when the key is absent, as in Kubernetes.
    NotEquals(&'a str),
    /// `key in (a,b)`, sorted, unique, at least two.
    In(Values<'a>),
    /// `key notin (a,b)`: also met when the key is absent. Sorted, unique, at least two.
    NotIn(Values<'a>),
    /// `key`
    Exists,
    /// `!key`
    Absent,
    /// `key=web-*`: `*` is any text, `?` any one character.
    Glob(&'a str),
    /// `key!=web-*`: also met when the key is absent.
    NotGlob(&'a str),
    /// `key>10`: met when the value is a decimal number and compares so.
    Compare(Comparison, &'a str),
}

/// The values of a list, sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Values<'a> {
    store: &'a str,
    /// Begin and length of each.
    spans: &'a [u16],
}

impl<'a> Values<'a> {
    /// The values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let store = self.store;
        self.spans.chunks_exact(2).map(move |span| text(store, span))
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spans.len() / 2
    }

    /// Never: a list has two values at least.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether `value` is one of them.
    #[must_use]
    pub fn contains(&self, value: &[u8]) -> bool {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match bytes(self.store, &self.spans[2 * middle..]).cmp(value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }
}

impl Operation<'_> {
    /// Whether a key with this value (its bytes as they stand in the tag set), or an absent key,
    /// meets it.
    #[must_use]
    #[inline]
    pub fn matches(&self, value: Option<&[u8]>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Absent | Self::NotEquals(_) | Self::NotIn(_) | Self::NotGlob(_));
        };
        match self {
            Self::Equals(wanted) => wanted.as_bytes() == value,
            Self::NotEquals(unwanted) => unwanted.as_bytes() != value,
            Self::In(wanted) => wanted.contains(value),
            Self::NotIn(unwanted) => !unwanted.contains(value),
            Self::Exists => true,
            Self::Absent => false,
            Self::Glob(pattern) => glob::matches(pattern.as_bytes(), value),
            Self::NotGlob(pattern) => !glob::matches(pattern.as_bytes(), value),
            Self::Compare(comparison, bound) => {
                match (number::parse(value), number::parse(bound.as_bytes())) {
                    (Some(value), Some(bound)) => comparison.holds(value.cmp(&bound)),
                    _ => false,
                }
            }
        }
    }
}

impl Requirement<'_> {
    /// Whether a tag set meets it.
    #[must_use]
    pub fn matches(&self, tags: TagSetRef<'_>) -> bool {
        self.operation.matches(tags.get(self.key).map(str::as_bytes))
    }
}

/// How a requirement's operation is written in `spans`; a comparison is one code for each symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Code {
    Equals,
    NotEquals,
    In,
    NotIn,
    Exists,
    Absent,
    Glob,
    NotGlob,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Code {
    const ALL: [Self; 12] = [
        Self::Equals,
        Self::NotEquals,
        Self::In,
        Self::NotIn,
        Self::Exists,
        Self::Absent,
        Self::Glob,
        Self::NotGlob,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
    ];

    const fn of(operation: &ast::Operation) -> Self {
        match operation {
            ast::Operation::Equals(_) => Self::Equals,
            ast::Operation::NotEquals(_) => Self::NotEquals,
            ast::Operation::In(_) => Self::In,
            ast::Operation::NotIn(_) => Self::NotIn,
            ast::Operation::Exists => Self::Exists,
            ast::Operation::Absent => Self::Absent,
            ast::Operation::Glob(_) => Self::Glob,
            ast::Operation::NotGlob(_) => Self::NotGlob,
            ast::Operation::Compare(Comparison::Less, _) => Self::Less,
            ast::Operation::Compare(Comparison::LessOrEqual, _) => Self::LessOrEqual,
            ast::Operation::Compare(Comparison::Greater, _) => Self::Greater,
            ast::Operation::Compare(Comparison::GreaterOrEqual, _) => Self::GreaterOrEqual,
        }
    }
}

/// Numbers of one requirement in `spans`: its code, its key, and its value or the place and number
/// of its list's.
const PER_REQUIREMENT: usize = 5;

/// The requirements and the text of a selector.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    store: Box<str>,
    /// Requirements, then the values of their lists.
    spans: Box<[u16]>,
    /// Bytes of the canonical text.
    text_bytes: u16,
    /// Bytes of it that the requirements are, without patterns.
    tags_bytes: u16,
    requirements: u16,
}

impl Kept {
    /// Writes the canonical text of sorted parts, and notes where everything stands in it.
    pub(super) fn new(requirements: &[ast::Requirement], patterns: &[String]) -> Self {
        let mut writer = Writer { out: String::new(), respelt: String::new() };
        let mut spans = Vec::with_capacity(requirements.len() * PER_REQUIREMENT);
        let mut lists: Vec<u16> = Vec::new();
        let list_base = requirements.len() * PER_REQUIREMENT;
        for requirement in requirements {
            if !writer.out.is_empty() {
                writer.out.push(',');
            }
            let code = Code::of(&requirement.operation);
            let key = writer.key(requirement);
            let value = match &requirement.operation {
                ast::Operation::Exists | ast::Operation::Absent => [0, 0],
                ast::Operation::Equals(value) | ast::Operation::NotEquals(value) => writer.literal(value),
                ast::Operation::Glob(text)
                | ast::Operation::NotGlob(text)
                | ast::Operation::Compare(_, text) => writer.plain(text),
                ast::Operation::In(values) | ast::Operation::NotIn(values) => {
                    let place = list_base + lists.len();
                    lists.extend(writer.list(values));
                    [narrow(place), narrow(values.len())]
                }
            };
            spans.extend([code as u16, key[0], key[1], value[0], value[1]]);
        }
        let tags_bytes = narrow(writer.out.len());
        for pattern in patterns {
            if !writer.out.is_empty() {
                writer.out.push(',');
            }
            ast::write_pattern(&mut writer.out, pattern);
        }
        if writer.out.is_empty() {
            writer.out.push('*');
        }
        let Writer { mut out, respelt } = writer;
        let text_bytes = narrow(out.len());
        // What was respelt is placed behind the text only now that its length is known.
        for place in value_places(&spans, &lists) {
            let span = if place < list_base { &mut spans[place] } else { &mut lists[place - list_base] };
            if *span >= RESPELT {
                *span = (*span - RESPELT).saturating_add(text_bytes);
            }
        }
        out.push_str(&respelt);
        spans.extend(lists);
        Self {
            store: out.into_boxed_str(),
            spans: spans.into(),
            text_bytes,
            tags_bytes,
            requirements: narrow(requirements.len()),
        }
    }

    /// The canonical text.
    pub(super) fn text(&self) -> &str {
        &self.store[..usize::from(self.text_bytes)]
    }

    /// The canonical text of the requirements alone; empty when there are none.
    pub(super) fn tags_text(&self) -> &str {
        &self.store[..usize::from(self.tags_bytes)]
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.store.len() + size_of_val(&*self.spans)
    }

    /// The requirements, in order.
    pub(super) fn requirements(&self) -> impl ExactSizeIterator<Item = Requirement<'_>> + Clone {
        let rows = &self.spans[..usize::from(self.requirements) * PER_REQUIREMENT];
        rows.chunks_exact(PER_REQUIREMENT).map(|row| self.requirement(row))
    }

    #[inline]
    fn requirement<'a>(&'a self, row: &[u16]) -> Requirement<'a> {
        let store = &*self.store;
        let value = || text(store, &row[3..]);
        let values = || {
            let from = usize::from(row[3]);
            Values { store, spans: &self.spans[from..from + 2 * usize::from(row[4])] }
        };
        let operation = match Code::ALL[usize::from(row[0])] {
            Code::Equals => Operation::Equals(value()),
            Code::NotEquals => Operation::NotEquals(value()),
            Code::In => Operation::In(values()),
            Code::NotIn => Operation::NotIn(values()),
            Code::Exists => Operation::Exists,
            Code::Absent => Operation::Absent,
            Code::Glob => Operation::Glob(value()),
            Code::NotGlob => Operation::NotGlob(value()),
            Code::Less => Operation::Compare(Comparison::Less, value()),
            Code::LessOrEqual => Operation::Compare(Comparison::LessOrEqual, value()),
            Code::Greater => Operation::Compare(Comparison::Greater, value()),
            Code::GreaterOrEqual => Operation::Compare(Comparison::GreaterOrEqual, value()),
        };
        Requirement { key: text(store, &row[1..]), operation }
    }

    /// Whether every requirement is met; both sides are sorted by key, so one walk over the tags is
    /// enough.
    #[inline]
    pub(super) fn met_by<'t>(&self, mut tags: impl Iterator<Item = (&'t [u8], &'t [u8])>) -> bool {
        let mut current = tags.next();
        let rows = &self.spans[..usize::from(self.requirements) * PER_REQUIREMENT];
        rows.chunks_exact(PER_REQUIREMENT).all(|row| {
            let key = bytes(&self.store, &row[1..]);
            while let Some((candidate, _)) = current
                && candidate < key
            {
                current = tags.next();
            }
            let value = current.and_then(|(candidate, value)| (candidate == key).then_some(value));
            // The usual one, without the detour over a view.
            if row[0] == Code::Equals as u16 {
                return value == Some(bytes(&self.store, &row[3..]));
            }
            self.requirement(row).operation.matches(value)
        })
    }
}

/// Added to the place of a value that is spelt differently in the text, until the text's length is
/// known: above any place in a text.
const RESPELT: u16 = 0x8000;

/// Where in `spans` and behind them in `lists` the places of values stand.
fn value_places(spans: &[u16], lists: &[u16]) -> Vec<usize> {
    let single = [Code::Equals as u16, Code::NotEquals as u16];
    let rows = spans.chunks_exact(PER_REQUIREMENT).enumerate();
    let values = rows.filter(|(_, row)| single.contains(&row[0])).map(|(at, _)| at * PER_REQUIREMENT + 3);
    values.chain((0..lists.len()).step_by(2).map(|at| spans.len() + at)).collect()
}

struct Writer {
    out: String,
    respelt: String,
}

impl Writer {
    /// Appends a requirement's key and what stands around it.
    fn key(&mut self, requirement: &ast::Requirement) -> [u16; 2] {
        let (before, behind) = match &requirement.operation {
            ast::Operation::Exists => ("", ""),
            ast::Operation::Absent => ("!", ""),
            ast::Operation::Equals(_) | ast::Operation::Glob(_) => ("", "="),
            ast::Operation::NotEquals(_) | ast::Operation::NotGlob(_) => ("", "!="),
            ast::Operation::In(_) => ("", " in ("),
            ast::Operation::NotIn(_) => ("", " notin ("),
            ast::Operation::Compare(comparison, _) => ("", comparison.symbol()),
        };
        self.out.push_str(before);
        let span = self.plain(&requirement.key);
        self.out.push_str(behind);
        span
    }

    fn plain(&mut self, text: &str) -> [u16; 2] {
        let at = self.out.len();
        self.out.push_str(text);
        [narrow(at), narrow(text.len())]
    }

    /// Appends a value that stands for itself.
    fn literal(&mut self, value: &str) -> [u16; 2] {
        if ast::is_bare_literal(value) {
            return self.plain(value);
        }
        let at = self.out.len() + 1;
        ast::push_quoted(&mut self.out, value);
        if self.out.len() == at + value.len() + 1 {
            return [narrow(at), narrow(value.len())];
        }
        let at = RESPELT.saturating_add(narrow(self.respelt.len()));
        self.respelt.push_str(value);
        [at, narrow(value.len())]
    }

    fn list(&mut self, values: &[String]) -> Vec<u16> {
        let mut spans = Vec::with_capacity(2 * values.len());
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            spans.extend(self.literal(value));
        }
        self.out.push(')');
        spans
    }
}

/// Texts are read from at most [`SELECTOR_BYTES_MAX`](crate::limits::SELECTOR_BYTES_MAX) bytes, and
/// canonical ones are refused beyond it, so that every place is far below 2^15.
fn narrow(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[inline]
fn text<'a>(store: &'a str, span: &[u16]) -> &'a str {
    let from = usize::from(span[0]);
    store.get(from..from + usize::from(span[1])).unwrap_or_default()
}

#[inline]
fn bytes<'a>(store: &'a str, span: &[u16]) -> &'a [u8] {
    let from = usize::from(span[0]);
    store.as_bytes().get(from..from + usize::from(span[1])).unwrap_or_default()
}
