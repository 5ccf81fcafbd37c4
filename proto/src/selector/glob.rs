//! Globs: `*` stands for any text, also none; `?` for any one character.
//!
//! Matching costs a walk over the glob and the value, whatever both are, because whoever subscribes
//! chooses the one and whoever publishes the other. A glob is cut at its stars:
//!
//! ```text
//! web-*-db?-*.example     begins with `web-`, then has `-db?-` somewhere, and ends with `.example` behind that
//! ```
//!
//! The first and the last part stand at the ends of the value. Each part between two stars is
//! looked for from where the one before it ended, and the earliest place is the best, because it
//! leaves the most for the others. A part without `?` is found by a linear substring search; one
//! with `?` by [`find_characters`], 64 bytes of the part at a time. Values are compared as UTF-8
//! bytes, `?` takes a whole character.

use memchr::memmem;

use crate::limits::TAG_VALUE_BYTES_MAX;

/// Whether `text` is a glob: has one of the two wildcards.
pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The one spelling of a glob: in each sequence of wildcards, the `?`s first, then at most one `*`.
pub(super) fn canonical(glob: &str) -> String {
    let mut out = String::with_capacity(glob.len());
    let mut star = false;
    for c in glob.chars() {
        match c {
            '*' => star = true,
            '?' => out.push('?'),
            _ => {
                if std::mem::take(&mut star) {
                    out.push('*');
                }
                out.push(c);
            }
        }
    }
    if star {
        out.push('*');
    }
    out
}

/// Whether `value` is one of the texts that `glob` stands for.
pub(super) fn matches(glob: &[u8], value: &[u8]) -> bool {
    let Some(first_star) = memchr::memchr(b'*', glob) else {
        return begins(glob, value) == Some(value.len());
    };
    let Some(from) = begins(&glob[..first_star], value) else { return false };
    let last_star = memchr::memrchr(b'*', glob).unwrap_or(first_star);
    let Some(mut rest) = value.get(from..) else { return false };
    let Some(to) = ends(&glob[last_star + 1..], rest) else { return false };
    rest = &rest[..to];
    let mut parts = &glob[first_star..last_star];
    while let Some((_star, more)) = parts.split_first() {
        let end = memchr::memchr(b'*', more).unwrap_or(more.len());
        let Some(found) = find(&more[..end], rest) else { return false };
        rest = &rest[found..];
        parts = &more[end..];
    }
    true
}

/// Where the beginning of `value` that `part` stands for ends.
fn begins(part: &[u8], value: &[u8]) -> Option<usize> {
    let mut at = 0;
    for &byte in part {
        let next = *value.get(at)?;
        match byte {
            b'?' => at += character_bytes(next),
            _ if byte == next => at += 1,
            _ => return None,
        }
    }
    Some(at)
}

/// Where the end of `value` that `part` stands for begins.
fn ends(part: &[u8], value: &[u8]) -> Option<usize> {
    let mut at = value.len();
    for &byte in part.iter().rev() {
        at = at.checked_sub(1)?;
        if byte == b'?' {
            while is_continuation(value[at]) {
                at = at.checked_sub(1)?;
            }
        } else if byte != value[at] {
            return None;
        }
    }
    Some(at)
}

/// Where the earliest text in `value` that `part` stands for ends.
fn find(part: &[u8], value: &[u8]) -> Option<usize> {
    if memchr::memchr(b'?', part).is_some() {
        find_characters(part, value)
    } else if part.len() > 2 * END_BYTES
        && (memmem::find(value, &part[part.len() - END_BYTES..]).is_none()
            || memmem::find(value, &part[..END_BYTES]).is_none())
    {
        None
    } else {
        memmem::find(value, part).map(|at| at + part.len())
    }
}

/// The ends of a long part are looked for first: to get ready for all of it takes microseconds.
const END_BYTES: usize = 16;

const WORD_BITS: usize = u64::BITS as usize;
const WORDS_MAX: usize = TAG_VALUE_BYTES_MAX.div_ceil(WORD_BITS);

/// [`find`] for a part with `?`: bit `i` of `state` says that the value, up to the byte that was
/// read last, ends with what the first `i + 1` bytes of the part stand for. Each byte of the value
/// moves all bits one place on (the Shift-And search of Baeza-Yates and Gonnet, 1992); inside a
/// character, those that stand at a `?` stay.
fn find_characters(part: &[u8], value: &[u8]) -> Option<usize> {
    let words = part.len().div_ceil(WORD_BITS);
    // Parsing bounds a glob, so that nothing is cut here.
    let part = &part[..part.len().min(WORDS_MAX * WORD_BITS)];
    // By byte of the value: at which places of the part it may stand.
    let mut allowed = vec![0_u64; 256 * words];
    let mut any = [0_u64; WORDS_MAX];
    for (place, &byte) in part.iter().enumerate() {
        let (word, bit) = (place / WORD_BITS, 1 << (place % WORD_BITS));
        if byte == b'?' {
            any[word] |= bit;
        } else {
            allowed[usize::from(byte) * words + word] |= bit;
        }
    }
    let any = &any[..words];
    let mut state = [0_u64; WORDS_MAX];
    let last = part.len() - 1;
    for (at, &byte) in value.iter().enumerate() {
        let within = is_continuation(byte);
        let row = &allowed[usize::from(byte) * words..][..words];
        let mut carry = 1;
        for ((state, &literal), &any) in state.iter_mut().zip(row).zip(any) {
            let moved = *state << 1 | carry;
            carry = *state >> (WORD_BITS - 1);
            *state = if within { moved & literal | *state & any } else { moved & (literal | any) };
        }
        let is_end = value.get(at + 1).is_none_or(|&next| !is_continuation(next));
        if is_end && state[last / WORD_BITS] >> (last % WORD_BITS) & 1 == 1 {
            return Some(at + 1);
        }
    }
    None
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Bytes of the UTF-8 character that starts with `lead`.
const fn character_bytes(lead: u8) -> usize {
    match lead {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(glob: &str, value: &str) -> bool {
        matches(glob.as_bytes(), value.as_bytes())
    }

    #[test]
    fn wildcards_stand_for_characters_not_bytes() {
        assert!(check("web-*", "web-"));
        assert!(check("web-*", "web-12"));
        assert!(!check("web-*", "xweb-1"));
        assert!(check("*-db-*", "eu-db-db-7"));
        assert!(!check("*-db-*", "eu-db"));
        assert!(check("caf?", "café"));
        assert!(!check("caf??", "café"));
        assert!(check("*?", "é"));
        assert!(!check("?", ""));
        assert!(check("a*b*c", "a-b-b-c-c"));
        assert!(!check("a*b*c", "a-b-b-c-d"));
        assert!(check("*b?d*", "aébédx"));
        assert!(!check("*b?d*", "abéxd"));
        assert!(!check("a*a", "a"));
        assert!(check("*?é?*", "éé1"));
    }

    /// The definition, written recursively.
    fn naive(glob: &[char], value: &[char]) -> bool {
        match glob.split_first() {
            None => value.is_empty(),
            Some((&'*', rest)) => (0..=value.len()).any(|skip| naive(rest, &value[skip..])),
            Some((&'?', rest)) => !value.is_empty() && naive(rest, &value[1..]),
            Some((c, rest)) => value.first() == Some(c) && naive(rest, &value[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition_and_canonical_globs_mean_the_same(
            glob in "[abé*?]{0,10}", value in "[abé]{0,10}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&glob), &chars(&value));
            prop_assert_eq!(check(&glob, &value), expected);
            let one = canonical(&glob);
            prop_assert_eq!(check(&one, &value), expected);
            prop_assert_eq!(canonical(&one), one);
        }
    }

    #[test]
    fn parts_of_more_than_one_word_are_found() {
        for len in [63, 64, 65, 127, 128, 300] {
            let part = format!("{}?z", "é".repeat(len / 2));
            let value = format!("{}az-{}bz", "é".repeat(len / 2 - 1), "é".repeat(len));
            assert!(check(&format!("*{part}*"), &value), "{len}");
            assert!(!check(&format!("*{part}*"), &value.replace("bz", "bbz")), "{len}");
        }
    }

    #[test]
    fn globs_made_to_be_slow_do_not_match_by_accident() {
        let value = "a".repeat(1024);
        let globs = [
            format!("*{}b*", "a".repeat(500)),
            format!("*{}?b*", "a".repeat(500)),
            format!("*{}b", "a?".repeat(250)),
            "*a".repeat(500) + "*b",
            "*a?".repeat(300) + "*b*",
        ];
        for glob in globs {
            assert!(!check(&glob, &value), "{glob}");
        }
    }
}
