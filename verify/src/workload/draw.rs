//! Numbers that look random and follow from a seed.

/// A number that looks random and follows from `seed` and `number` alone (the finalizer of
/// SplitMix64).
pub(super) const fn scatter(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One of `values`, chosen by `number`.
pub(super) fn pick<'a>(values: &[&'a str], number: u64) -> &'a str {
    let at = usize::try_from(number % values.len() as u64).expect("below a length");
    values[at]
}
