//! Tag sets: what an event is about, as `key=value` tags, and the shard they hash to.
//!
//! The canonical form is the only form: a count, then for each tag, in order of its key's bytes,
//! key and value behind their lengths. Two tag sets are equal exactly when their canonical bytes
//! are. `{rack=r7, host=web-1}` is
//!
//! ```text
//! 02   04 h o s t   05 w e b - 1   04 r a c k   02 r 7
//! ```
//!
//! Keys are 1–128 bytes of `A–Z a–z 0–9 . _ - /`; values are 0–1,024 bytes of UTF-8 without control
//! characters. The shard is the low twelve bits of XXH3-64 over the canonical bytes: the same on
//! every machine and in every language.

#[cfg(feature = "serde")]
mod serde;
mod spelling;

use std::fmt;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::DecodeError;
use crate::limits::{TAG_KEY_BYTES_MAX, TAG_SET_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_PER_SET_MAX};
use crate::varint;

/// Keys that begin so are set by routers only: they refuse them from clients.
pub const RESERVED_PREFIX: &str = "millrace/";
/// Whom a router took the publisher for, stamped where the event entered.
pub const IDENTITY_KEY: &str = "millrace/identity";
/// Marks events of routers themselves: only selectors that require this key match them.
pub const INTERNAL_KEY: &str = "millrace/internal";

/// Number of shards: every tag set belongs to one of them, every shard to one core of each router.
pub const SHARDS: u16 = 4096;

/// The shard of a tag set: `xxh3_64(canonical published tag set) & 0xfff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u16);

impl Shard {
    /// The shard that a tag set with this hash belongs to.
    #[inline]
    #[must_use]
    pub const fn of_hash(hash: u64) -> Self {
        Self((hash & 0xfff) as u16)
    }

    /// Its number, below [`SHARDS`].
    #[inline]
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The core that owns it in a router of `cores` cores.
    #[inline]
    #[must_use]
    pub const fn owner(self, cores: u16) -> u16 {
        self.0 % cores
    }
}

/// Why tags do not make a tag set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// A key is empty, too long, or has a character that keys cannot have.
    #[error("tag key {key:?}: a key is 1 to {TAG_KEY_BYTES_MAX} characters of A-Z a-z 0-9 . _ - /")]
    Key {
        /// The key, cut to a readable length.
        key: String,
    },
    /// A value is too long or has a control character.
    #[error(
        "value of tag {key:?}: a value is at most {TAG_VALUE_BYTES_MAX} bytes of text without control characters"
    )]
    Value {
        /// The key of the tag.
        key: String,
    },
    /// A key appears twice.
    #[error("tag {key:?} is given twice: keys are unique within a tag set")]
    Twice {
        /// The key.
        key: String,
    },
    /// More tags than one set may have.
    #[error("{count} tags: a tag set has at most {TAGS_PER_SET_MAX}")]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// Text that is not `key=value`.
    #[error("tag {text:?} is not of the form key=value")]
    Form {
        /// The text.
        text: String,
    },
}

/// A tag set that owns its canonical bytes. Cloning it counts a reference.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagSet {
    canonical: Bytes,
}

impl TagSet {
    /// The tag set of `tags`, in any order.
    ///
    /// # Errors
    /// [`TagError`] names the first tag that is not allowed.
    pub fn new<K: AsRef<str>, V: AsRef<str>>(
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, TagError> {
        let mut sorted: Vec<(K, V)> = tags.into_iter().collect();
        if sorted.len() > TAGS_PER_SET_MAX {
            return Err(TagError::TooMany { count: sorted.len() });
        }
        sorted.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        let mut canonical = Vec::with_capacity(128);
        varint::put(&mut canonical, sorted.len() as u64);
        let mut previous: Option<&str> = None;
        for (key, value) in &sorted {
            let (key, value) = (key.as_ref(), value.as_ref());
            if !is_key(key.as_bytes()) {
                return Err(TagError::Key { key: key.chars().take(TAG_KEY_BYTES_MAX).collect() });
            }
            if previous == Some(key) {
                return Err(TagError::Twice { key: key.to_owned() });
            }
            if !is_value(value.as_bytes()) {
                return Err(TagError::Value { key: key.to_owned() });
            }
            varint::put_prefixed(&mut canonical, key.as_bytes());
            varint::put_prefixed(&mut canonical, value.as_bytes());
            previous = Some(key);
        }
        Ok(Self { canonical: canonical.into() })
    }

    /// The tag set of `key=value` texts, as on a command line.
    ///
    /// # Errors
    /// [`TagError`] names the first text that is not allowed.
    pub fn from_texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, TagError> {
        let mut tags = Vec::new();
        for text in texts {
            let text = text.as_ref();
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| TagError::Form { text: text.chars().take(200).collect() })?;
            tags.push((key.to_owned(), value.to_owned()));
        }
        Self::new(tags)
    }

    /// This tag set, borrowed.
    #[inline]
    #[must_use]
    pub fn borrow(&self) -> TagSetRef<'_> {
        TagSetRef { canonical: &self.canonical }
    }

    /// The canonical bytes.
    #[inline]
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The shard that it belongs to.
    #[must_use]
    pub fn shard(&self) -> Shard {
        self.borrow().shard()
    }
}

impl fmt::Debug for TagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.borrow(), f)
    }
}

impl fmt::Display for TagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.borrow(), f)
    }
}

/// A tag set that borrows its canonical bytes, which were checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagSetRef<'a> {
    canonical: &'a [u8],
}

impl<'a> TagSetRef<'a> {
    /// Checks that `bytes` are exactly one tag set in canonical form.
    ///
    /// # Errors
    /// [`DecodeError`] when they are not: wrong order, repeated keys, forbidden characters, bounds,
    /// left-over bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > TAG_SET_BYTES_MAX {
            return Err(DecodeError::Limit { what: "tag set" });
        }
        let mut rest = bytes;
        let count = varint::take(&mut rest)?;
        if count > TAGS_PER_SET_MAX as u64 {
            return Err(DecodeError::Limit { what: "tags per set" });
        }
        // One form only: the shortest varints.
        let mut size = varint::size(count);
        let mut previous: &[u8] = &[];
        for _ in 0..count {
            let key = varint::take_prefixed(&mut rest, TAG_KEY_BYTES_MAX, "tag key")?;
            let value = varint::take_prefixed(&mut rest, TAG_VALUE_BYTES_MAX, "tag value")?;
            if !is_key(key) || key <= previous {
                return Err(DecodeError::Malformed { what: "tag key" });
            }
            if !is_value(value) {
                return Err(DecodeError::Malformed { what: "tag value" });
            }
            size += varint::size(key.len() as u64) + key.len();
            size += varint::size(value.len() as u64) + value.len();
            previous = key;
        }
        if !rest.is_empty() || size != bytes.len() {
            return Err(DecodeError::Malformed { what: "tag set" });
        }
        Ok(Self { canonical: bytes })
    }

    /// Takes bytes that [`TagSetRef::parse`] accepted before, without checking them again. Bytes
    /// that were not accepted give a tag set whose iteration ends early; nothing panics.
    #[inline]
    #[must_use]
    pub const fn trusted(canonical: &'a [u8]) -> Self {
        Self { canonical }
    }

    /// The canonical bytes.
    #[inline]
    #[must_use]
    pub const fn canonical(self) -> &'a [u8] {
        self.canonical
    }

    /// XXH3-64 of the canonical bytes.
    #[inline]
    #[must_use]
    pub fn hash(self) -> u64 {
        xxh3_64(self.canonical)
    }

    /// The shard that it belongs to.
    #[must_use]
    pub fn shard(self) -> Shard {
        Shard::of_hash(self.hash())
    }

    /// The tags, in order of their keys.
    #[inline]
    #[must_use]
    pub fn iter(self) -> Tags<'a> {
        Tags { tags: self.iter_bytes() }
    }

    /// The tags as bytes, in order of their keys: what matching compares.
    #[inline]
    #[must_use]
    pub fn iter_bytes(self) -> TagBytes<'a> {
        let mut rest = self.canonical;
        let left = varint::take(&mut rest).unwrap_or(0);
        TagBytes { rest, left }
    }

    /// The value of `key`, if the set has it. Linear in the number of tags.
    #[inline]
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a str> {
        let (found, value) = self.iter_bytes().find(|&(candidate, _)| candidate >= key.as_bytes())?;
        if found == key.as_bytes() { std::str::from_utf8(value).ok() } else { None }
    }

    /// The first key that only routers may set, if it has one: what a router refuses from a client.
    #[must_use]
    pub fn reserved_key(self) -> Option<&'a str> {
        let prefix = RESERVED_PREFIX.as_bytes();
        let mut later = self.iter_bytes().skip_while(|&(key, _)| key < prefix);
        let (key, _) = later.next().filter(|(key, _)| key.starts_with(prefix))?;
        std::str::from_utf8(key).ok()
    }

    /// Number of tags.
    #[must_use]
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Whether it has no tags.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// A tag set that owns its bytes: one copy.
    #[must_use]
    pub fn to_owned(self) -> TagSet {
        TagSet { canonical: Bytes::copy_from_slice(self.canonical) }
    }
}

impl fmt::Debug for TagSetRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// The tags of a set as bytes, in order of their keys.
#[derive(Debug, Clone)]
pub struct TagBytes<'a> {
    rest: &'a [u8],
    left: u64,
}

impl<'a> Iterator for TagBytes<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = varint::take_prefixed(&mut self.rest, TAG_KEY_BYTES_MAX, "tag key").ok()?;
        let value = varint::take_prefixed(&mut self.rest, TAG_VALUE_BYTES_MAX, "tag value").ok()?;
        Some((key, value))
    }
}

/// The tags of a set, in order of their keys.
#[derive(Debug, Clone)]
pub struct Tags<'a> {
    tags: TagBytes<'a>,
}

impl<'a> Iterator for Tags<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.tags.next()?;
        Some((std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?))
    }
}

/// Whether `byte` may stand in a tag's key.
#[inline]
pub(crate) fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-/".contains(&byte)
}

fn is_key(key: &[u8]) -> bool {
    (1..=TAG_KEY_BYTES_MAX).contains(&key.len()) && key.iter().copied().all(is_key_byte)
}

fn is_value(value: &[u8]) -> bool {
    value.len() <= TAG_VALUE_BYTES_MAX
        && match std::str::from_utf8(value) {
            Ok(text) => !text.chars().any(char::is_control),
            Err(_) => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_tags_does_not_matter_and_the_bytes_are_golden() {
        let a = TagSet::new([("rack", "r7"), ("host", "web-1")]).unwrap();
        let b = TagSet::from_texts(["host=web-1", "rack=r7"]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.canonical(), b"\x02\x04host\x05web-1\x04rack\x02r7");
        assert_eq!(a.to_string(), "host=web-1,rack=r7");
        assert_eq!(a.borrow().get("rack"), Some("r7"));
        assert_eq!(a.borrow().get("ra"), None);
    }

    #[test]
    fn other_forms_of_the_same_set_are_refused() {
        for bytes in [
            &b"\x02\x04rack\x02r7\x04host\x05web-1"[..],
            b"\x02\x04host\x01a\x04host\x01b",
            b"\x40\x01\x04host\x01a",
            b"\x01\x04host\x01a\x00",
            b"\x01\x04ho t\x01a",
            b"\x01\x04host\x01\n",
            b"\x21",
            b"",
        ] {
            assert!(TagSetRef::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn keys_that_only_routers_set_are_found() {
        let reserved =
            |texts: &[&str]| TagSet::from_texts(texts).unwrap().borrow().reserved_key().map(str::to_owned);
        assert_eq!(reserved(&["a=1", "millrace/identity=x", "z=1"]).as_deref(), Some(IDENTITY_KEY));
        assert_eq!(reserved(&[&format!("{INTERNAL_KEY}=")]).as_deref(), Some(INTERNAL_KEY));
        assert_eq!(reserved(&["millrace=1", "millrace.x=1", "millrace0=2", "xmillrace/y=1"]), None);
        assert_eq!(reserved(&[]), None);
    }

    #[test]
    fn shards_are_golden() {
        let empty = TagSet::new::<&str, &str>([]).unwrap();
        assert_eq!(empty.borrow().hash(), xxh3_64(&[0]));
        let web = TagSet::from_texts(["host=web-1", "rack=r7"]).unwrap();
        assert_eq!(web.shard().number(), (web.borrow().hash() & 0xfff) as u16);
        assert_eq!(web.shard().owner(1), 0);
    }
}
