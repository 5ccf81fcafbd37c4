//! Hashes of single tags, their marks, and the regions that they fall into.
//!
//! A tag is hashed in the form that it has inside a canonical tag set (key and value behind their
//! lengths), with a seed, so that nobody can choose tags that collide. The hashes stay in memory,
//! because they differ between machines.

use ahash::RandomState;
use millrace_proto::{TagSetRef, limits, varint};

/// Bits of a region's number. The versions of 16,384 regions (128 KiB) fit a core's second cache.
/// With hundreds of changes between two lookups of a tag set, few of its regions have one.
const REGION_BITS: u32 = 14;

/// The hash of one `key=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TagHash(u64);

impl TagHash {
    /// Its upper half.
    #[inline]
    #[must_use]
    pub const fn mark(self) -> TagMark {
        TagMark((self.0 >> 32) as u32)
    }

    /// One of 65,536 buckets.
    #[inline]
    pub(super) const fn bucket(self) -> usize {
        (self.0 & 0xffff) as u16 as usize
    }
}

/// Half a [`TagHash`], by which a tag set asks for the changes of its tags. Tags with one mark
/// share their changes, which costs an evaluation in a few billion and never a wrong result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TagMark(u32);

impl TagMark {
    /// The region that the tag's changes are recorded in.
    #[inline]
    pub(super) const fn region(self) -> usize {
        (self.0 >> (u32::BITS - REGION_BITS)) as usize
    }
}

/// Hashes tags with one seed.
#[derive(Debug, Clone)]
pub struct TagHasher {
    seed: u64,
    state: RandomState,
}

impl TagHasher {
    /// A hasher; equal seeds give equal hashes.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let state = RandomState::with_seeds(seed, !seed, seed.rotate_left(32), seed ^ 0x9e37_79b9_7f4a_7c15);
        Self { seed, state }
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The hash of each tag, in the order of the tags.
    #[inline]
    pub fn tags<'a>(&self, tags: TagSetRef<'a>) -> impl Iterator<Item = TagHash> + use<'a, '_> {
        encoded(tags).map(|tag| TagHash(self.bytes(tag)))
    }

    /// The mark of each tag, in the order of the tags.
    #[inline]
    pub fn marks<'a>(&self, tags: TagSetRef<'a>) -> impl Iterator<Item = TagMark> + use<'a, '_> {
        self.tags(tags).map(TagHash::mark)
    }

    /// The hash of one tag.
    #[must_use]
    pub fn tag(&self, key: &str, value: &str) -> TagHash {
        let mut tag = Vec::with_capacity(key.len() + value.len() + 4);
        varint::put_prefixed(&mut tag, key.as_bytes());
        varint::put_prefixed(&mut tag, value.as_bytes());
        TagHash(self.bytes(&tag))
    }

    #[inline]
    pub(super) fn bytes(&self, bytes: &[u8]) -> u64 {
        self.state.hash_one(bytes)
    }

    /// Half a hash: enough to sort out most candidates that differ.
    #[inline]
    pub(super) fn mark(&self, bytes: &[u8]) -> u32 {
        (self.bytes(bytes) >> 32) as u32
    }
}

/// Each tag as its canonical bytes.
fn encoded<'a>(tags: TagSetRef<'a>) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = tags.canonical();
    let mut left = varint::take(&mut rest).unwrap_or(0);
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let start = rest;
        varint::take_prefixed(&mut rest, limits::TAG_KEY_BYTES_MAX, "tag key").ok()?;
        varint::take_prefixed(&mut rest, limits::TAG_VALUE_BYTES_MAX, "tag value").ok()?;
        Some(&start[..start.len() - rest.len()])
    })
}

#[cfg(test)]
mod tests {
    use millrace_proto::TagSet;

    use super::*;

    #[test]
    fn a_tag_hashes_alike_inside_a_set_and_alone() {
        let hasher = TagHasher::new(7);
        let set = TagSet::from_texts(["a=1", "b=", "c=three"]).unwrap();
        let inside: Vec<_> = hasher.tags(set.borrow()).collect();
        let alone = [hasher.tag("a", "1"), hasher.tag("b", ""), hasher.tag("c", "three")];
        assert_eq!(inside, alone);
        assert_ne!(hasher.tag("a", "1"), TagHasher::new(8).tag("a", "1"));
    }
}
