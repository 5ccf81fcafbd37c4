//! Selectors beside selectors: what both select, whether one lies within another, and whether any
//! tag set can meet one.
//!
//! Routers restrict what clients ask for with these: the effective selector is what was asked AND
//! what is allowed.

use super::{Operation, Requirement, Selector, SelectorError, glob};

/// Whether `name` is one of the texts that `pattern` stands for: `*` is any text, `?` any one
/// character, everything else is itself.
#[must_use]
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    glob::matches(pattern.as_bytes(), name.as_bytes())
}

impl Selector {
    /// The selector of what both select.
    ///
    /// # Errors
    /// [`SelectorError`] when both together exceed the bounds of one selector.
    pub fn and(&self, other: &Self) -> Result<Self, SelectorError> {
        // Canonical texts, joined, are a selector: only `*` stands alone.
        match (self.text(), other.text()) {
            ("*", both) | (both, "*") => Self::parse(both),
            (one, two) => Self::parse(&format!("{one},{two}")),
        }
    }

    /// Whether every tag set that meets this selector meets the tags' requirements of `other`. Yes
    /// is certain; No is said of some that do, too, such as `x>5` within `x>3`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.requirements().all(|wanted| {
            let mut own = self.requirements().filter(|own| own.key == wanted.key);
            own.any(|own| implies(own.operation, wanted.operation))
        })
    }

    /// Whether no tag set can meet it, as far as its equalities and lists show: `a=1,a=2`, but not
    /// `a>2,a<1`.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.requirements().any(|requirement| match requirement.operation {
            Operation::Equals(value) => !self.may_have(requirement, value),
            Operation::In(values) => !values.iter().any(|value| self.may_have(requirement, value)),
            _ => false,
        })
    }

    /// Whether the requirement's key may have this value, by all that is required of it.
    fn may_have(&self, requirement: Requirement<'_>, value: &str) -> bool {
        let mut others = self.requirements().filter(|other| other.key == requirement.key);
        others.all(|other| other.operation.matches(Some(value.as_bytes())))
    }
}

/// Whether a value that meets `own` certainly meets `wanted`.
fn implies(own: Operation<'_>, wanted: Operation<'_>) -> bool {
    let meets = |value: &str| wanted.matches(Some(value.as_bytes()));
    match (own, wanted) {
        (Operation::Equals(value), _) => meets(value),
        (Operation::In(values), _) => values.iter().all(meets),
        (Operation::NotIn(own), Operation::NotIn(wanted)) => {
            wanted.iter().all(|value| own.contains(value.as_bytes()))
        }
        (Operation::NotIn(own), Operation::NotEquals(value)) => own.contains(value.as_bytes()),
        (Operation::Exists | Operation::Glob(_) | Operation::Compare(..), Operation::Exists) => true,
        (own, wanted) => own == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::TagSet;

    fn selector(text: &str) -> Selector {
        Selector::parse(text).unwrap()
    }

    #[test]
    fn both_together_are_the_canonical_text_of_all_requirements() {
        for (one, two, both) in [
            ("*", "tenant=a", "tenant=a"),
            ("tenant=a", "*", "tenant=a"),
            ("*", "*", "*"),
            ("type=x,tenant=a", "tenant=a", "tenant=a,type=x"),
            ("payload ~ /x,y/", "tenant=a", "tenant=a,payload ~ /x,y/"),
            ("host=\"a,b\"", "tenant in (a,b)", "host=\"a,b\",tenant in (a,b)"),
        ] {
            assert_eq!(selector(one).and(&selector(two)).unwrap().text(), both);
        }
        let long = selector(&format!("a={}", "x".repeat(1024)));
        let longer = ["b", "c", "d"].map(|key| format!("{key}={}", "x".repeat(1024))).join(",");
        assert!(long.and(&selector(&longer)).is_err());
    }

    #[test]
    fn what_no_value_can_meet_is_void() {
        for text in ["a=1,a=2", "a=1,!a", "a in (1,2),a in (3,4)", "a=1,a!=1", "a=x,a>3", "a in (x,y),a=z*"] {
            assert!(selector(text).is_void(), "{text}");
        }
        for text in ["*", "a=1", "a in (1,2),a in (2,3)", "a=x1,a=x*", "a=4,a>3", "!a", "a=1,b=2"] {
            assert!(!selector(text).is_void(), "{text}");
        }
    }

    #[test]
    fn one_within_another_is_certain() {
        for (own, wanted) in [
            ("a=1", "*"),
            ("a=1,b=2", "a=1"),
            ("a=1", "a in (1,2)"),
            ("a in (1,2)", "a in (1,2,3)"),
            ("a=web-1", "a=web-*"),
            ("a>3", "a"),
            ("a=web-*", "a"),
            ("a notin (x,y)", "a!=x"),
            ("a notin (x,y,z)", "a notin (x,z)"),
            ("b=1,a notin (x,y)", "a notin (x,y)"),
            ("!a", "!a"),
        ] {
            assert!(selector(own).is_within(&selector(wanted)), "{own} within {wanted}");
        }
        for (own, wanted) in [
            ("*", "a=1"),
            ("a=1", "a=2"),
            ("b=1", "a=1"),
            ("a in (1,2)", "a=1"),
            ("a", "a=1"),
            ("a!=x", "a"),
            ("a=web-*", "a=web-1"),
        ] {
            assert!(!selector(own).is_within(&selector(wanted)), "{own} within {wanted}");
        }
    }

    #[test]
    fn relations_hold_for_every_tag_set_of_a_small_world() {
        let parts =
            ["a=1", "a=2", "a in (1,2)", "a notin (1,3)", "a", "!a", "a!=1", "a=1*", "a>1", "b=1", "b"];
        let values = [None, Some("1"), Some("2"), Some("3"), Some("12")];
        let sets = values.iter().flat_map(|a| values.iter().map(move |b| (a, b))).map(|(a, b)| {
            let tags = [("a", a), ("b", b)];
            TagSet::new(tags.into_iter().filter_map(|(key, value)| Some((key, (*value)?)))).unwrap()
        });
        let sets: Vec<TagSet> = sets.collect();
        for one in parts {
            for two in parts {
                let (one, two) = (selector(one), selector(two));
                let both = one.and(&two).unwrap();
                for tags in &sets {
                    let (first, second) = (one.matches_tags(tags.borrow()), two.matches_tags(tags.borrow()));
                    assert_eq!(both.matches_tags(tags.borrow()), first && second);
                    assert!(!(both.is_void() && first && second), "{both} is not void");
                    assert!(!one.is_within(&two) || !first || second, "{one} is not within {two}");
                }
            }
        }
    }
}
