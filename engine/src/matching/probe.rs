//! A tag set made ready for one uncached lookup, and the evaluation of one selector against tags.

use millrace_proto::selector::Operation;
use millrace_proto::{Selector, TagSetRef, limits::TAGS_PER_SET_MAX};

use super::tag_hash::{TagHash, TagHasher};

/// Tags taken apart and hashed once.
pub(super) struct Probe<'a> {
    set: TagSetRef<'a>,
    count: usize,
    tags: [(&'a str, &'a str); TAGS_PER_SET_MAX],
    hashes: [TagHash; TAGS_PER_SET_MAX],
}

impl<'a> Probe<'a> {
    pub(super) fn new(set: TagSetRef<'a>, hasher: &TagHasher) -> Self {
        let mut probe = Self {
            set,
            count: 0,
            tags: [("", ""); TAGS_PER_SET_MAX],
            hashes: [TagHash::default(); TAGS_PER_SET_MAX],
        };
        for ((tag, hash), (tag_slot, hash_slot)) in
            set.iter().zip(hasher.tags(set)).zip(probe.tags.iter_mut().zip(&mut probe.hashes))
        {
            *tag_slot = tag;
            *hash_slot = hash;
            probe.count += 1;
        }
        probe
    }

    /// The tags, in order of their keys.
    #[inline]
    pub(super) fn tags(&self) -> &[(&'a str, &'a str)] {
        &self.tags[..self.count]
    }

    /// The hash of each tag.
    #[inline]
    pub(super) fn hashes(&self) -> &[TagHash] {
        &self.hashes[..self.count]
    }

    /// Whether the tags meet every requirement of `selector`.
    #[inline]
    pub(super) fn meets(&self, selector: &Selector) -> bool {
        meets(selector, self.set, self.tags().iter().copied())
    }
}

/// Whether `tags`, which are those of `set`, meet every requirement of `selector`. Both are in order of their keys: one
/// pass over both decides.
#[inline]
pub(super) fn meets<'a>(
    selector: &Selector,
    set: TagSetRef<'a>,
    mut tags: impl Iterator<Item = (&'a str, &'a str)>,
) -> bool {
    let mut tag = tags.next();
    selector.requirements().iter().all(|requirement| {
        while tag.is_some_and(|(key, _)| key < requirement.key.as_str()) {
            tag = tags.next();
        }
        let value = tag.filter(|(key, _)| *key == requirement.key).map(|(_, value)| value);
        match (&requirement.operation, value) {
            (Operation::Equals(wanted), value) => value == Some(wanted),
            (Operation::NotEquals(unwanted), value) => value != Some(unwanted),
            (Operation::In(wanted), Some(value)) => wanted.iter().any(|wanted| wanted == value),
            (Operation::NotIn(unwanted), Some(value)) => unwanted.iter().all(|unwanted| unwanted != value),
            (Operation::Exists, value) => value.is_some(),
            (Operation::Absent, value) => value.is_none(),
            (Operation::In(_) | Operation::Glob(_) | Operation::Compare(..), None) => false,
            (Operation::NotIn(_) | Operation::NotGlob(_), None) => true,
            (Operation::Glob(_) | Operation::NotGlob(_) | Operation::Compare(..), Some(_)) => {
                requirement.matches(set)
            }
        }
    })
}
