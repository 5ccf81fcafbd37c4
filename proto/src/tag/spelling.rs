//! Tag sets as text, and from what applications hold: `host=web-1,path="/a, b"`.
//!
//! Tags are joined by commas. A value stands as it is, or in double quotes with `\"` and `\\`; it
//! is written in quotes when it has a comma, a quote or a backslash, or white space at an end.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use super::{TagError, TagSet, TagSetRef, Tags};

impl TagSet {
    /// The value of `key`, if the set has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.borrow().get(key)
    }

    /// The tags, in order of their keys.
    #[must_use]
    pub fn iter(&self) -> Tags<'_> {
        self.borrow().iter()
    }

    /// Number of tags.
    #[must_use]
    pub fn len(&self) -> usize {
        self.borrow().len()
    }

    /// Whether it has no tags.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.borrow().is_empty()
    }
}

impl<'a> IntoIterator for &'a TagSet {
    type Item = (&'a str, &'a str);
    type IntoIter = Tags<'a>;

    fn into_iter(self) -> Tags<'a> {
        self.iter()
    }
}

/// Reads `key=value,key=value`; an empty text is the empty set.
impl FromStr for TagSet {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let form = || TagError::Form { text: text.chars().take(200).collect() };
        let mut tags: Vec<(&str, String)> = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (key, behind) = rest.split_once('=').ok_or_else(form)?;
            let (value, behind) = match behind.strip_prefix('"') {
                Some(quoted) => unquoted(quoted).ok_or_else(form)?,
                None => {
                    let end = behind.find(',').unwrap_or(behind.len());
                    (behind[..end].trim_end().to_owned(), &behind[end..])
                }
            };
            tags.push((key.trim(), value));
            rest = match behind.trim_start().strip_prefix(',') {
                Some(more) if more.trim().is_empty() => return Err(form()),
                Some(more) => more.trim_start(),
                None if behind.trim().is_empty() => "",
                None => return Err(form()),
            };
        }
        Self::new(tags)
    }
}

/// What stands before the closing quote, and what is behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

impl fmt::Display for TagSetRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{key}=")?;
            if value.trim().len() == value.len() && !value.contains([',', '"', '\\']) {
                f.write_str(value)?;
            } else {
                write!(f, "\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))?;
            }
        }
        Ok(())
    }
}

impl TryFrom<&str> for TagSet {
    type Error = TagError;

    fn try_from(text: &str) -> Result<Self, TagError> {
        text.parse()
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> TryFrom<[(K, V); N]> for TagSet {
    type Error = TagError;

    fn try_from(tags: [(K, V); N]) -> Result<Self, TagError> {
        Self::new(tags)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> TryFrom<Vec<(K, V)>> for TagSet {
    type Error = TagError;

    fn try_from(tags: Vec<(K, V)>) -> Result<Self, TagError> {
        Self::new(tags)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> TryFrom<BTreeMap<K, V>> for TagSet {
    type Error = TagError;

    fn try_from(tags: BTreeMap<K, V>) -> Result<Self, TagError> {
        Self::new(tags)
    }
}

impl<K: AsRef<str>, V: AsRef<str>, S> TryFrom<HashMap<K, V, S>> for TagSet {
    type Error = TagError;

    fn try_from(tags: HashMap<K, V, S>) -> Result<Self, TagError> {
        Self::new(tags)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_are_read_from_what_applications_hold() {
        let expected = TagSet::new([("host", "web-1"), ("rack", "r7")]).unwrap();
        assert_eq!("host=web-1,rack=r7".parse(), Ok(expected.clone()));
        assert_eq!(" rack=r7 , host=\"web-1\" ".parse(), Ok(expected.clone()));
        assert_eq!(TagSet::try_from("rack=r7,host=web-1"), Ok(expected.clone()));
        assert_eq!(TagSet::try_from([("rack", "r7"), ("host", "web-1")]), Ok(expected.clone()));
        assert_eq!(
            TagSet::try_from(BTreeMap::from([("rack", "r7"), ("host", "web-1")])),
            Ok(expected.clone())
        );
        assert_eq!(
            TagSet::try_from(HashMap::from([("rack", "r7"), ("host", "web-1")])),
            Ok(expected.clone())
        );
        assert_eq!((expected.get("rack"), expected.get("x"), expected.len()), (Some("r7"), None, 2));
        assert_eq!((&expected).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["host", "rack"]);
        assert!("".parse::<TagSet>().unwrap().is_empty());
        assert_eq!("empty=".parse::<TagSet>().unwrap().get("empty"), Some(""));
    }

    #[test]
    fn what_is_no_tag_set_is_refused() {
        for text in
            ["host", "host=a,", ",host=a", "host=a,,b=c", "a=b,a=c", "a=\"b", "a=\"b\"c", "=a", "a b=c"]
        {
            assert!(text.parse::<TagSet>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_reads_back_to_the_same_set(
            tags in prop::collection::btree_map("[a-z/]{1,4}", "[a-c ,\"\\\\=é]{0,6}", 0..5),
        ) {
            let tags = TagSet::try_from(tags).unwrap();
            prop_assert_eq!(tags.to_string().parse(), Ok(tags));
        }
    }
}
