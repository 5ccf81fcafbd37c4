//! Sets of seqs: pages of bits, because seqs are dense but for jumps.

use ahash::AHashMap;

const PAGE_BITS: u64 = 4_096;
const WORDS: usize = (PAGE_BITS / 64) as usize;

/// A set of seqs. An eighth of a byte each where they are dense.
#[derive(Debug, Default)]
pub(super) struct SeqSet {
    pages: AHashMap<u64, Box<[u64; WORDS]>>,
}

impl SeqSet {
    /// Adds a seq; whether it is new.
    pub(super) fn insert(&mut self, seq: u64) -> bool {
        let page = self.pages.entry(seq / PAGE_BITS).or_insert_with(|| Box::new([0; WORDS]));
        let (word, bit) = place(seq);
        let is_new = page[word] & bit == 0;
        page[word] |= bit;
        is_new
    }

    /// Whether it has a seq.
    pub(super) fn contains(&self, seq: u64) -> bool {
        let (word, bit) = place(seq);
        self.pages.get(&(seq / PAGE_BITS)).is_some_and(|page| page[word] & bit != 0)
    }
}

/// The word of a page, and the bit in it.
const fn place(seq: u64) -> (usize, u64) {
    ((seq % PAGE_BITS / 64) as usize, 1 << (seq % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seqs_are_new_once() {
        let mut seqs = SeqSet::default();
        for seq in [0, 63, 64, 4_095, 4_096, 1 << 50] {
            assert!(!seqs.contains(seq) && seqs.insert(seq) && seqs.contains(seq) && !seqs.insert(seq));
        }
        assert!(!seqs.contains(1) && !seqs.contains(4_097));
    }
}
