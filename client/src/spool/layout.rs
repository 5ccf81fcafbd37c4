//! Small checked blocks of fixed size, and the numbers in them.
//!
//! Everything in a spool's files that is no event is such a block: numbers of eight bytes,
//! little-endian, behind a tag that says what the block is, and a CRC32C over all of it at its end.

/// Bytes of a block with `N` numbers.
pub(super) const fn block_bytes(numbers: usize) -> usize {
    8 + numbers * 8 + 8
}

/// A block: the tag, the numbers, the checksum.
pub(super) fn block<const N: usize>(tag: [u8; 8], numbers: [u64; N]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block_bytes(N));
    out.extend_from_slice(&tag);
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let sum = u64::from(crc32c::crc32c(&out));
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// Most numbers of a block of another version that is known as one.
const NUMBERS_MAX: usize = 16;

/// Whether there is a whole block at `at` whose tag is that of `known` but for its last byte, the
/// version: what a program of another version has written, and no damage.
pub(super) fn is_newer_block(bytes: &[u8], at: usize, known: &[[u8; 8]]) -> bool {
    let Some(tag) = bytes.get(at..at + 8) else { return false };
    if known.iter().all(|known| known[..7] != tag[..7]) || known.iter().any(|known| known == tag) {
        return false;
    }
    let is_whole = |numbers: usize| {
        let body = bytes.get(at..at + block_bytes(numbers) - 8)?;
        let sum = bytes.get(at + body.len()..at + block_bytes(numbers))?;
        (sum == u64::from(crc32c::crc32c(body)).to_le_bytes()).then_some(())
    };
    (0..=NUMBERS_MAX).any(|numbers| is_whole(numbers).is_some())
}

/// The numbers of the block at `at`; `None` when it is not there or damaged.
pub(super) fn read_block<const N: usize>(bytes: &[u8], at: usize, tag: [u8; 8]) -> Option<[u64; N]> {
    let block = bytes.get(at..at.checked_add(block_bytes(N))?)?;
    let (body, sum) = block.split_at(8 + N * 8);
    if body[..8] != tag || sum != u64::from(crc32c::crc32c(body)).to_le_bytes() {
        return None;
    }
    let number = |index: usize| body[8 + index * 8..16 + index * 8].try_into().map_or(0, u64::from_le_bytes);
    Some(std::array::from_fn(number))
}
