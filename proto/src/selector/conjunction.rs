//! A selector as programs hold it: its requirements in their kept form, its payload patterns, and
//! its canonical text, by which it is compared.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::claim::{Claim, NameError};
use super::error::SelectorError;
use super::kept::{Kept, Operation, Requirement};
use super::literals::Literals;
use super::membership::Membership;
use super::parse;
use super::payload::{PatternError, PayloadMatcher};
use crate::limits::SELECTOR_BYTES_MAX;
use crate::tag::{INTERNAL_KEY, TagSetRef};

/// One conjunction of requirements on tags, optionally on the payload.
///
/// ```
/// use millrace_proto::{Selector, TagSet};
/// let selector = Selector::parse("type in (raid, disk), severity!=debug, host=web-*")?;
/// assert_eq!(selector.text(), "host=web-*,severity!=debug,type in (disk,raid)");
/// let tags = TagSet::from_texts(["host=web-7", "type=raid"]).unwrap();
/// assert!(selector.matches_tags(tags.borrow()));
/// assert_eq!(Selector::parse("host=web-7 && type=raid").unwrap_err().column, 12);
/// # Ok::<(), millrace_proto::SelectorError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Selector {
    kept: Kept,
    patterns: Box<[Box<str>]>,
    /// Of a selector that stands for others with payload patterns.
    literals: Option<Arc<Literals>>,
    /// Of an interest of a group's member.
    membership: Option<Arc<Membership>>,
    /// Of an interest in what is addressed to a name.
    claim: Option<Arc<Claim>>,
}

/// The canonical text, and the literals, the member and the name of an interest: comparing and
/// hashing look at nothing else.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
            && self.literals == other.literals
            && self.membership == other.membership
            && self.claim == other.claim
    }
}

impl Eq for Selector {}

impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
        self.literals.hash(state);
        self.membership.hash(state);
        self.claim.hash(state);
    }
}

impl PartialOrd for Selector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Selector {
    fn cmp(&self, other: &Self) -> Ordering {
        let texts = self.text().cmp(other.text());
        texts
            .then_with(|| self.literals.cmp(&other.literals))
            .then_with(|| self.membership.cmp(&other.membership))
            .then_with(|| self.claim.cmp(&other.claim))
    }
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`SelectorError`] names the column and what was expected there.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let parse::Parts { mut requirements, mut patterns } = parse::parse(text)?;
        requirements.sort_unstable();
        requirements.dedup();
        patterns.sort_unstable();
        patterns.dedup();
        let kept = Kept::new(&requirements, &patterns);
        if kept.text().len() > SELECTOR_BYTES_MAX {
            let message = format!("in canonical text, a selector is at most {SELECTOR_BYTES_MAX} bytes long");
            return Err(SelectorError { column: text.chars().count(), message });
        }
        let patterns = patterns.into_iter().map(String::into_boxed_str).collect();
        Ok(Self { kept, patterns, literals: None, membership: None, claim: None })
    }

    /// The canonical text: two selectors with the same text are the same, and the text reads back
    /// to the selector.
    #[must_use]
    pub fn text(&self) -> &str {
        self.kept.text()
    }

    /// Its requirements on tags, sorted.
    pub fn requirements(&self) -> impl ExactSizeIterator<Item = Requirement<'_>> + Clone {
        self.kept.requirements()
    }

    /// Its payload patterns (all must match), as regular expressions.
    #[must_use]
    pub fn patterns(&self) -> &[Box<str>] {
        &self.patterns
    }

    /// Bytes of memory that it takes: its text, ten bytes for each requirement, four for each value
    /// of a list, and its patterns once more.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let patterns: usize = self.patterns.iter().map(|pattern| size_of::<Box<str>>() + pattern.len()).sum();
        let literals = self.literals.as_ref().map_or(0, |literals| literals.bytes());
        size_of::<Self>() + self.kept.heap_bytes() + patterns + literals
    }

    /// The tags that it requires to be equal: `(key, value)`.
    pub fn equalities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.requirements().filter_map(|requirement| match requirement.operation {
            Operation::Equals(value) => Some((requirement.key, value)),
            _ => None,
        })
    }

    /// Whether a tag set meets every requirement on tags. One walk over the tags, without
    /// allocation. Tags of routers' own events, those with [`INTERNAL_KEY`], match only selectors
    /// that require that key, so that `*` shows nobody what routers tell each other.
    #[must_use]
    pub fn matches_tags(&self, tags: TagSetRef<'_>) -> bool {
        self.kept.met_by(tags.iter_bytes())
            && (tags.get(INTERNAL_KEY).is_none() || self.requires(INTERNAL_KEY))
    }

    /// Whether only tag sets that have this key match.
    #[must_use]
    pub fn requires(&self, key: &str) -> bool {
        use Operation::{Compare, Equals, Exists, Glob, In};
        let is_met_by_presence =
            |operation| matches!(operation, Equals(_) | In(_) | Exists | Glob(_) | Compare(..));
        self.requirements().any(|one| one.key == key && is_met_by_presence(one.operation))
    }

    /// Whether tags that were taken apart before, sorted by key, meet every requirement. Whoever
    /// takes apart the tags of an internal event asks for [`requires`](Self::requires), too.
    #[inline]
    pub fn met_by<'t>(&self, tags: impl Iterator<Item = (&'t [u8], &'t [u8])>) -> bool {
        self.kept.met_by(tags)
    }

    /// This selector without its payload patterns.
    #[must_use]
    pub fn without_payload(&self) -> Self {
        let text = match self.kept.tags_text() {
            "" => "*",
            text => text,
        };
        // The beginning of a canonical text, up to a comma between two parts, is one.
        Self::parse(text).unwrap_or_else(|_| self.clone())
    }

    /// What routers tell each other of this selector: itself without its payload patterns, and the
    /// literals of which a payload must contain one, if its patterns have any.
    #[must_use]
    pub fn interest(&self) -> Self {
        let literals = Literals::of_patterns(&self.patterns).map(Arc::new);
        Self { literals, ..self.without_payload() }
    }

    /// The interest of a member of a group: the same requirements on tags, without literals.
    #[must_use]
    pub fn for_member(self, membership: Arc<Membership>) -> Self {
        Self { literals: None, membership: Some(membership), ..self }
    }

    /// Of an interest: the member of a group that wants it. It is no part of the text.
    #[must_use]
    pub const fn membership(&self) -> Option<&Arc<Membership>> {
        self.membership.as_ref()
    }

    /// The interest in what is addressed to a receiver's name. It matches no event by its tags.
    ///
    /// # Errors
    /// [`NameError`] when the claim's name is none.
    pub fn of_claim(claim: Arc<Claim>) -> Result<Self, NameError> {
        let text = claim.text()?;
        let selector = Self::parse(&text).map_err(|_| NameError::Characters)?;
        Ok(Self { claim: Some(claim), ..selector })
    }

    /// Of an interest: the name that it is for. It is no part of the text.
    #[must_use]
    pub const fn claim(&self) -> Option<&Arc<Claim>> {
        self.claim.as_ref()
    }

    /// The same requirements on tags, and these literals. They are no part of the text.
    #[must_use]
    pub fn with_literals(self, literals: Option<Literals>) -> Self {
        Self { literals: literals.map(Arc::new), ..self }
    }

    /// Of an interest: a payload must contain one of them.
    #[must_use]
    pub const fn literals(&self) -> Option<&Arc<Literals>> {
        self.literals.as_ref()
    }

    /// Compiles its payload patterns; `None` when it has none.
    ///
    /// # Errors
    /// [`PatternError`] when a pattern takes more memory than
    /// [`PATTERN_COMPILED_BYTES_MAX`](crate::limits::PATTERN_COMPILED_BYTES_MAX).
    pub fn compile_payload(&self) -> Result<Option<PayloadMatcher>, PatternError> {
        if self.patterns.is_empty() {
            return Ok(None);
        }
        PayloadMatcher::compile(&self.patterns).map(Some)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
