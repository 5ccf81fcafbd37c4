//! Sorts out globs whose longest literal a value does not have, by the texts of four bytes in both.
//!
//! Each glob is filed by two of the grams of its literal, which a seeded hash chooses, so that
//! nobody can write many globs whose grams stand in every value:
//!
//! ```text
//! *web-db7*    grams web- eb-d b-db -db7    mark: two places of 65,536, for eb-d and -db7
//! ```
//!
//! A value marks the places of all of its grams, and a glob is a candidate when both of its places
//! are marked. That is so whenever the value has the literal. A value of 1,024 bytes lets one glob
//! in 4,000 pass that has no gram in common with it. A row costs some 2 ns, where the glob itself
//! may cost 3 µs.

/// Bytes of a gram.
pub(super) const LEN: usize = 4;

const PLACE_BITS: u32 = 16;
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;

/// The places of a value's grams.
pub(super) struct Grams([u64; PLACES / 64]);

impl Grams {
    pub(super) fn of(value: &[u8], seed: u64) -> Self {
        let mut grams = Self([0; PLACES / 64]);
        for hash in hashes(value, seed) {
            let place = place(hash) as usize;
            grams.0[place / 64] |= 1 << (place % 64);
        }
        grams
    }

    /// Whether both places of a mark are among them.
    #[inline]
    pub(super) fn has(&self, mark: u32) -> bool {
        self.has_place(mark & PLACE_MASK) && self.has_place(mark >> PLACE_BITS & PLACE_MASK)
    }

    #[inline]
    fn has_place(&self, place: u32) -> bool {
        self.0[place as usize / 64] >> (place % 64) & 1 == 1
    }
}

/// The mark of a literal of [`LEN`] bytes or more: the places of the two grams with the least
/// hashes.
pub(super) fn mark(literal: &[u8], seed: u64) -> u32 {
    let mut least = [u32::MAX; 2];
    for hash in hashes(literal, seed) {
        if hash < least[0] {
            least = [hash, least[0]];
        } else if hash > least[0] && hash < least[1] {
            least[1] = hash;
        }
    }
    // All of its grams may be one.
    let second = if least[1] == u32::MAX { least[0] } else { least[1] };
    place(least[0]) | place(second) << PLACE_BITS
}

fn hashes(text: &[u8], seed: u64) -> impl Iterator<Item = u32> + '_ {
    let [a, b, c, d, rest @ ..] = seed.to_le_bytes();
    let (first, second) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(rest));
    text.windows(LEN).filter_map(|gram| gram.first_chunk::<LEN>()).map(move |&gram| {
        // Two rounds of a multiplication, so that all bits of the seed have their part.
        let mixed = (u32::from_le_bytes(gram) ^ first).wrapping_mul(0x9e37_79b1);
        ((mixed ^ mixed >> 15) ^ second).wrapping_mul(0x85eb_ca77)
    })
}

const fn place(hash: u32) -> u32 {
    hash >> (u32::BITS - PLACE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_the_literal_always_passes_and_most_others_do_not() {
        let mut passed = 0;
        for seed in 0..200_u64 {
            let literal = format!("web-{seed}-db");
            let mark = mark(literal.as_bytes(), seed);
            let has = |value: &str| Grams::of(value.as_bytes(), seed).has(mark);
            assert!(has(&literal) && has(&format!("eu.{literal}.example")));
            passed += usize::from(has("mail-17-cache.example"));
        }
        assert!(passed < 5, "{passed}");
        assert!(!Grams::of(b"abc", 1).has(mark(b"abcd", 1)));
    }

    #[test]
    fn one_gram_again_and_again_is_a_mark_too() {
        assert!(Grams::of(b"aaaaaa", 1).has(mark(b"aaaaa", 1)));
    }
}
