//! A tag set prepared for one uncached lookup: split and hashed once, for many selectors.

use millrace_proto::limits::TAGS_PER_SET_MAX;
use millrace_proto::tag::INTERNAL_KEY;
use millrace_proto::{Selector, TagSetRef};

use super::tag_hash::{TagHash, TagHasher};

pub(super) struct Probe<'a> {
    count: usize,
    /// An event of routers' own: only selectors that require that key match.
    is_internal: bool,
    tags: [(&'a [u8], &'a [u8]); TAGS_PER_SET_MAX],
    hashes: [TagHash; TAGS_PER_SET_MAX],
}

impl<'a> Probe<'a> {
    pub(super) fn new(set: TagSetRef<'a>, hasher: &TagHasher) -> Self {
        let mut probe = Self {
            count: 0,
            is_internal: set.get(INTERNAL_KEY).is_some(),
            tags: [(&[][..], &[][..]); TAGS_PER_SET_MAX],
            hashes: [TagHash::default(); TAGS_PER_SET_MAX],
        };
        for ((tag, hash), (tag_slot, hash_slot)) in
            set.iter_bytes().zip(hasher.tags(set)).zip(probe.tags.iter_mut().zip(&mut probe.hashes))
        {
            *tag_slot = tag;
            *hash_slot = hash;
            probe.count += 1;
        }
        probe
    }

    /// The tags, in order of their keys.
    #[inline]
    pub(super) fn tags(&self) -> &[(&'a [u8], &'a [u8])] {
        &self.tags[..self.count]
    }

    /// The hash of each tag.
    #[inline]
    pub(super) fn hashes(&self) -> &[TagHash] {
        &self.hashes[..self.count]
    }

    /// Whether the tags meet every requirement of `selector`. Both are sorted by key, so that one
    /// pass over both decides. An internal event meets only selectors that require it.
    #[inline]
    pub(super) fn meets(&self, selector: &Selector) -> bool {
        selector.met_by(self.tags().iter().copied()) && (!self.is_internal || selector.requires(INTERNAL_KEY))
    }
}
