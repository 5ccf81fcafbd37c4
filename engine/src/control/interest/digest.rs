//! A digest of entries that both sides of a link can compute.

use millrace_proto::mesh::{InterestDigest, InterestKind};
use xxhash_rust::xxh3::Xxh3Default;

/// Sums on the wire are cut to 62 bits, the most that a varint holds.
pub(super) const SUM_MASK: u64 = (1 << 62) - 1;

/// A digest of a set of entries, updated as entries come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    count: u64,
    sum: u64,
}

impl Digest {
    /// The part of one entry in the sum: XXH3-64 of its kind and its selector's text.
    pub(super) fn of_entry(kind: InterestKind, selector: &str) -> u64 {
        let mut hash = Xxh3Default::new();
        hash.update(&[kind as u8]);
        hash.update(selector.as_bytes());
        hash.digest()
    }

    pub(super) fn add(&mut self, entry: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(entry);
    }

    pub(super) fn remove(&mut self, entry: u64) {
        self.count = self.count.saturating_sub(1);
        self.sum = self.sum.wrapping_sub(entry);
    }

    pub(super) fn frame(self, version: u64) -> InterestDigest {
        InterestDigest { version, count: self.count, sum: self.sum & SUM_MASK }
    }
}
