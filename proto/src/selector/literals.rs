//! Literals of payload patterns: bytes of which a payload must contain some, or the pattern is not
//! in it.
//!
//! A router that has events for another one looks for the literals of its patterns, which takes
//! about a step per byte whatever the patterns are, and keeps to itself what has none of them:
//!
//! | pattern | literals |
//! |---|---|
//! | `RAID STATUS CHANGE` | `RAID STATUS CHANGE` |
//! | `disk \w+ (failed\|lost)` | `disk ` |
//! | `^(sshd\|sudo): ` | `sshd: `, `sudo: ` |
//! | `[a-z]+` | none: every payload may have it |
//!
//! Literals are always a superset: what a pattern is found in contains one of them.

use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, HirKind};

use super::payload;
use crate::limits::{LITERAL_BYTES_MAX, LITERALS_PER_INTEREST_MAX};

/// Bytes of a literal, at least: a shorter one is in so many payloads that looking for it costs
/// more than it spares.
pub const LITERAL_BYTES_MIN: usize = 3;
/// Parts of a pattern that are looked at together for where a literal begins: what follows adds
/// little.
const PARTS_TOGETHER: usize = 8;

/// Bytes of which a payload must contain one: at least one literal and at most
/// [`LITERALS_PER_INTEREST_MAX`], sorted, each of [`LITERAL_BYTES_MIN`] to [`LITERAL_BYTES_MAX`]
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Literals(Box<[Box<[u8]>]>);

impl Literals {
    /// These literals, the long ones cut. None when there are none or too many, or one is too
    /// short: such a filter keeps nothing away.
    #[must_use]
    pub fn new<'a>(literals: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let cut = |literal: &'a [u8]| &literal[..literal.len().min(LITERAL_BYTES_MAX)];
        let mut literals: Vec<&[u8]> = literals.into_iter().map(cut).collect();
        literals.sort_unstable();
        literals.dedup();
        let fits = (1..=LITERALS_PER_INTEREST_MAX).contains(&literals.len())
            && literals.iter().all(|literal| literal.len() >= LITERAL_BYTES_MIN);
        fits.then(|| Self(literals.into_iter().map(Box::from).collect()))
    }

    /// The literals of a selector's patterns, all of which must be found: those of the pattern that
    /// tells most.
    pub(super) fn of_patterns(patterns: &[Box<str>]) -> Option<Self> {
        let hirs = patterns.iter().filter_map(|pattern| payload::parse(pattern).ok());
        hirs.filter_map(|hir| best(&hir)).max_by_key(Self::promise)
    }

    /// The literals.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(|literal| &**literal)
    }

    /// Whether bytes contain one of them. For checks: it looks for one after the other.
    #[must_use]
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        self.iter().any(|literal| bytes.windows(literal.len()).any(|window| window == literal))
    }

    /// Bytes of memory that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.iter().map(|literal| size_of::<Box<[u8]>>() + literal.len()).sum::<usize>()
    }

    /// Long literals keep more away, and few of them are found faster.
    fn promise(&self) -> (usize, usize) {
        let shortest = self.iter().map(<[u8]>::len).min().unwrap_or(0);
        (shortest, LITERALS_PER_INTEREST_MAX - self.0.len())
    }
}

/// The most telling literals that every match of `hir` contains.
fn best(hir: &Hir) -> Option<Literals> {
    let ends = [ExtractKind::Prefix, ExtractKind::Suffix].map(|kind| extract(hir, &kind));
    let whole = ends.into_iter().flatten().max_by_key(Literals::promise);
    let inner = match hir.kind() {
        HirKind::Capture(capture) => best(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => best(&repetition.sub),
        HirKind::Concat(parts) => parts
            .iter()
            .enumerate()
            .flat_map(|(at, part)| {
                let together = parts[at..].iter().take(PARTS_TOGETHER).cloned().collect();
                [extract(&Hir::concat(together), &ExtractKind::Prefix), best(part)]
            })
            .flatten()
            .max_by_key(Literals::promise),
        HirKind::Alternation(parts) => {
            let all: Option<Vec<Literals>> = parts.iter().map(best).collect();
            all.and_then(|all| Literals::new(all.iter().flat_map(Literals::iter)))
        }
        _ => None,
    };
    whole.into_iter().chain(inner).max_by_key(Literals::promise)
}

/// The literals that every match begins, or ends, with.
fn extract(hir: &Hir, kind: &ExtractKind) -> Option<Literals> {
    let found = Extractor::new()
        .kind(kind.clone())
        .limit_total(LITERALS_PER_INTEREST_MAX)
        .limit_literal_len(LITERAL_BYTES_MAX)
        .extract(hir);
    Literals::new(found.literals()?.iter().map(regex_syntax::hir::literal::Literal::as_bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::selector::Pattern;

    fn literals(pattern: &str) -> Option<Vec<String>> {
        let found = Literals::of_patterns(&[pattern.into()])?;
        Some(found.iter().map(|literal| String::from_utf8_lossy(literal).into_owned()).collect())
    }

    #[test]
    fn what_a_pattern_must_contain_is_found_wherever_it_stands() {
        let some = |all: &[&str]| Some(all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>());
        assert_eq!(literals("RAID STATUS CHANGE"), some(&["RAID STATUS CHANGE"]));
        assert_eq!(literals(r"\d+ (RAID STATUS) \w+"), some(&[" RAID STATUS "]));
        assert_eq!(literals(r"^(sshd|sudo): "), some(&["sshd: ", "sudo: "]));
        assert_eq!(literals(r"\w+ failed$"), some(&[" failed"]));
        assert_eq!(literals(r"(\w+ lost|\w+ failed)\."), some(&[" failed.", " lost."]));
        assert_eq!(literals("(?:degraded)+"), some(&["degraded"]));
        assert_eq!(literals("(?i)raid").map(|all| all.len()), Some(16));
        for nothing in ["[a-z]+", "", "ab", "a|bcd", ".*", "(disk)?", "(disk)*x", r"\b"] {
            assert_eq!(literals(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_most_telling_pattern_of_several_counts() {
        let found = Literals::of_patterns(&["disk".into(), "[0-9]".into(), "status change".into()]).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), [b"status change"]);
    }

    #[test]
    fn long_literals_are_cut_and_many_are_none() {
        let long = "x".repeat(100);
        assert_eq!(literals(&long), Some(vec!["x".repeat(LITERAL_BYTES_MAX)]));
        let many: Vec<String> = (100..120).map(|number| format!("host{number}")).collect();
        assert!(literals(&many.join("|")).is_none_or(|all| all.len() <= LITERALS_PER_INTEREST_MAX));
        assert!(Literals::new([&b""[..]]).is_none());
    }

    /// Pieces of patterns; put together they make all shapes that the extraction tells apart.
    fn pattern() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "abc",
            "cab",
            "aa",
            "b",
            "[ab]",
            "[^c]",
            ".",
            "a+",
            "(abc)?",
            "(?:bca){2}",
            "^",
            "$",
            r"\b",
            "(?i:ab)",
            "",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
                (inner, prop::sample::select(vec!["*", "+", "?", "{2}", "{1,3}"]))
                    .prop_map(|(part, times)| format!("(?:{part}){times}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_payload_that_a_pattern_is_found_in_contains_a_literal(
            pattern in pattern(),
            payloads in prop::collection::vec("[abcAB]{0,12}", 1..32),
        ) {
            let Ok(compiled) = Pattern::compile(&pattern) else { return Ok(()) };
            let Some(literals) = Literals::of_patterns(&[pattern.clone().into()]) else { return Ok(()) };
            for payload in payloads {
                if compiled.automaton().is_match(payload.as_bytes()) {
                    prop_assert!(literals.are_in(payload.as_bytes()), "{} in {}: {:?}", pattern, payload, literals);
                }
            }
        }
    }
}
