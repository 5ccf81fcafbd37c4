//! Who holds the name of a receiver, as the interest in what is addressed to the name says.

use crate::limits::NAME_BYTES_MAX;

/// The key that stands for recipients where a selector is needed. Routers refuse it in what clients
/// publish, so that no event has it, and a selector that asks for it matches none.
const RECIPIENT_KEY: &str = "millrace/to";

/// A receiver that holds a name, or wants to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// The name.
    pub name: Box<str>,
    /// Of two receivers that claim a name, the one with the higher generation holds it.
    pub generation: u64,
    /// Whom the name belongs to while the receiver holds it; empty: anybody.
    pub identity: Box<str>,
}

/// Why a text is no name of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty.
    #[error("a name has at least one character")]
    Empty,
    /// It is too long.
    #[error("a name of {bytes} bytes exceeds the limit of {NAME_BYTES_MAX}")]
    Long {
        /// Its size.
        bytes: usize,
    },
    /// It has control characters.
    #[error("a name has no control characters")]
    Characters,
}

impl Claim {
    /// Checks that a text can be a name.
    ///
    /// # Errors
    /// [`NameError`] says why it cannot.
    pub fn check(name: &str) -> Result<(), NameError> {
        match name.len() {
            0 => Err(NameError::Empty),
            1..=NAME_BYTES_MAX if name.chars().any(char::is_control) => Err(NameError::Characters),
            1..=NAME_BYTES_MAX => Ok(()),
            bytes => Err(NameError::Long { bytes }),
        }
    }

    /// A selector for a subscription of a receiver that wants nothing but what is addressed to it:
    /// it matches no event.
    ///
    /// # Errors
    /// [`NameError`] when `name` is none.
    pub fn selector(name: &str) -> Result<String, NameError> {
        Self::check(name)?;
        let mut text = format!("{RECIPIENT_KEY}=\"");
        for character in name.chars() {
            if matches!(character, '"' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text.push('"');
        Ok(text)
    }

    /// The text of the interest.
    pub(super) fn text(&self) -> Result<String, NameError> {
        Self::selector(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Selector, TagSet};

    #[test]
    fn a_claim_is_part_of_its_interest_and_no_tag_set_meets_it() {
        let claim = |name: &str, generation| Claim { name: name.into(), generation, identity: "ops".into() };
        let interest = |name: &str, generation| Selector::of_claim(Arc::new(claim(name, generation)));
        for name in ["desk", "a,b", "\"quoted\" \\", "Zürich", " "] {
            let one = interest(name, 1).unwrap();
            assert_eq!(one.claim().map(|claim| &*claim.name), Some(name));
            assert_ne!(one, interest(name, 2).unwrap());
            assert!(!one.matches_tags(TagSet::from_texts(["host=desk"]).unwrap().borrow()));
        }
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(interest(&long, 1), Err(NameError::Long { bytes: 65 }));
        assert_eq!(interest("", 1), Err(NameError::Empty));
        assert_eq!(interest("a\nb", 1), Err(NameError::Characters));
    }
}
