//! Globs: `*` stands for any text, also none; `?` for any one character.
//!
//! Matching keeps one place to return to, the last `*`, so it needs no memory and at most `pattern × value` steps; both
//! are bounded by [`limits`](crate::limits). Values are compared as UTF-8 bytes, `?` takes a whole character.

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
    let (mut g, mut v) = (0, 0);
    // Behind the last `*`, and the place in the value from which the rest is being tried.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match glob.get(g) {
            Some(b'*') if g + 1 == glob.len() => return true,
            Some(b'*') => {
                g += 1;
                retry = Some((g, v));
                continue;
            }
            Some(b'?') if v < value.len() => {
                g += 1;
                v += character_bytes(value[v]);
                continue;
            }
            Some(byte) if value.get(v) == Some(byte) => {
                g += 1;
                v += 1;
                continue;
            }
            None if v == value.len() => return true,
            _ => {}
        }
        match retry {
            Some((behind_star, from)) if from < value.len() => {
                let from = from + character_bytes(value[from]);
                retry = Some((behind_star, from));
                (g, v) = (behind_star, from);
            }
            _ => return false,
        }
    }
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
            glob in "[abé*?]{0,8}", value in "[abé]{0,8}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&glob), &chars(&value));
            prop_assert_eq!(check(&glob, &value), expected);
            let one = canonical(&glob);
            prop_assert_eq!(check(&one, &value), expected);
            prop_assert_eq!(canonical(&one), one);
        }
    }
}
