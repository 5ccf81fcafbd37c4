//! Lists of selectors of which a client's events, or subscriptions, must meet one.

use millrace_proto::tag::INTERNAL_KEY;
use millrace_proto::{Selector, SelectorError, TagSetRef};

/// Selectors of one list: each selector that a client asks for may become as many.
pub const ALLOWED_MAX: usize = 16;

/// What an identity may publish, or receive: what meets any of these selectors. An empty list
/// allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList {
    selectors: Vec<Selector>,
}

impl AllowList {
    /// Reads a list, at most [`ALLOWED_MAX`] selectors.
    ///
    /// # Errors
    /// Which selector cannot be read or used, and why.
    pub fn read<T: AsRef<str>>(texts: &[T]) -> Result<Self, String> {
        if texts.len() > ALLOWED_MAX {
            return Err(format!("{} selectors are more than the {ALLOWED_MAX} that a list has", texts.len()));
        }
        let read = |text: &T| {
            let text = text.as_ref();
            let selector = Selector::parse(text).map_err(|error| format!("selector \"{text}\": {error}"))?;
            if !selector.patterns().is_empty() {
                return Err(format!("selector \"{text}\": a list looks at tags alone, not at the payload"));
            }
            if selector.is_void() {
                return Err(format!("selector \"{text}\": no event can meet it"));
            }
            Ok(selector)
        };
        Ok(Self { selectors: texts.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// This list, and events that are routers' own.
    #[must_use]
    pub fn with_internal(&self) -> Self {
        let internal = Selector::parse(INTERNAL_KEY).expect("a key alone is a selector");
        Self { selectors: self.selectors.iter().cloned().chain([internal]).collect() }
    }

    /// Its selectors.
    #[must_use]
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Whether it allows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.selectors.is_empty()
    }

    /// Whether events with these tags are allowed.
    #[must_use]
    pub fn permits(&self, tags: TagSetRef<'_>) -> bool {
        self.selectors.iter().any(|selector| selector.matches_tags(tags))
    }

    /// The selectors of what is both asked for and allowed; none when nothing can be.
    ///
    /// # Errors
    /// [`SelectorError`] when both together exceed the bounds of one selector.
    pub fn narrow(&self, asked: &Selector) -> Result<Vec<Selector>, SelectorError> {
        if self.covers(asked) {
            return Ok(vec![asked.clone()]);
        }
        let mut narrowed = Vec::with_capacity(self.selectors.len());
        for allowed in &self.selectors {
            let both = asked.and(allowed)?;
            if !both.is_void() {
                narrowed.push(both);
            }
        }
        Ok(narrowed)
    }

    /// Whether all that a selector selects is allowed. Yes is certain for selectors that
    /// [`narrow`](Self::narrow) of this list gave.
    #[must_use]
    pub fn covers(&self, selector: &Selector) -> bool {
        self.selectors.iter().any(|allowed| selector.is_within(allowed))
    }

    /// The selectors in words.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.selectors.is_empty() {
            return "nothing".to_owned();
        }
        let texts = self.selectors.iter().map(|selector| format!("\"{selector}\""));
        texts.collect::<Vec<_>>().join(" or ")
    }
}
