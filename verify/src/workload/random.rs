//! Random tags and selectors from a small universe, so that they meet often, with every operator of
//! the grammar.
//!
//! Each emitter and each receiver has its own random numbers, which follow from the seed and its
//! number alone.

use millrace_proto::TagSet;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::draw::{pick, scatter};
use super::spec::Workload;

/// Keys that text operators apply to, with their values. Some values need quotes.
const TEXTS: [(&str, &[&str]); 4] = [
    ("host", &["web-1", "web-2", "db-1", "db-2", "cache-1", "cache-22"]),
    ("role", &["web", "db", "cache"]),
    ("zone", &["a", "b", "c", "d"]),
    ("note", &["north hall", "a*b", "x,y", "12"]),
];
const NUMBERS: [(&str, &[&str]); 2] =
    [("load", &["0", "3", "7.5", "10", "-2", "high"]), ("unit", &["1", "2", "3", "4", "5"])];
const GLOBS: [&str; 6] = ["web-*", "*-1", "cache-?", "*", "?b*", "d*-?"];
const LIMITS: [&str; 5] = ["0", "2", "3.5", "7.5", "-1"];
const PATTERNS: [&str; 5] = ["RAID STATUS", "link (up|down)", "disk [a-z]+", "(?i)raid", "load [0-9]+"];

#[derive(Debug, Clone)]
pub(super) struct Universe {
    seed: u64,
    selectors_per_receiver: u32,
    with_patterns: bool,
}

impl Universe {
    pub(super) fn new(workload: &Workload) -> Self {
        Self {
            seed: workload.seed,
            selectors_per_receiver: workload.selectors_per_receiver,
            with_patterns: !workload.words.texts().is_empty(),
        }
    }

    pub(super) fn tags(&self, emitter: u32) -> TagSet {
        let mut rng = self.rng(u64::from(emitter) << 1);
        let mut tags = Vec::new();
        for (key, values) in TEXTS.iter().chain(&NUMBERS) {
            if *key == "host" || rng.random_range(0..4) != 0 {
                tags.push((*key, draw(&mut rng, values)));
            }
        }
        TagSet::new(tags).expect("six short tags with distinct keys")
    }

    /// The receiver's selectors, by subscription: one to four each.
    pub(super) fn selectors(&self, receiver: u32) -> [Vec<String>; 2] {
        let mut rng = self.rng(u64::from(receiver) << 1 | 1);
        let mut texts: Vec<String> =
            (0..self.selectors_per_receiver).map(|_| self.selector(&mut rng)).collect();
        let second = texts.split_off(rng.random_range(0..texts.len()) + 1);
        [texts, second]
    }

    fn selector(&self, rng: &mut Pcg64Mcg) -> String {
        if rng.random_range(0..24) == 0 {
            return "*".into();
        }
        let mut parts: Vec<String> = (0..rng.random_range(1..4)).map(|_| requirement(rng)).collect();
        if self.with_patterns && rng.random_range(0..6) == 0 {
            parts.push(format!("payload ~ /{}/", draw(rng, &PATTERNS)));
        }
        parts.join(",")
    }

    fn rng(&self, stream: u64) -> Pcg64Mcg {
        Pcg64Mcg::seed_from_u64(scatter(self.seed, stream))
    }
}

fn requirement(rng: &mut Pcg64Mcg) -> String {
    let (key, values) = TEXTS[rng.random_range(0..TEXTS.len())];
    let (number, numbers) = NUMBERS[rng.random_range(0..NUMBERS.len())];
    match rng.random_range(0..12) {
        0..3 => format!("{key}={}", quoted(draw(rng, values))),
        3 => format!("{key}!={}", quoted(draw(rng, values))),
        4 => format!("{key} in ({},{})", quoted(draw(rng, values)), quoted(draw(rng, values))),
        5 => format!("{key} notin ({},{})", quoted(draw(rng, values)), quoted(draw(rng, values))),
        6 => key.to_owned(),
        7 => format!("!{key}"),
        8 => format!("{key}={}", draw(rng, &GLOBS)),
        9 => format!("{key}!={}", draw(rng, &GLOBS)),
        10 => format!("{number}={}", quoted(draw(rng, numbers))),
        _ => format!("{number}{}{}", draw(rng, &["<", "<=", ">", ">="]), draw(rng, &LIMITS)),
    }
}

/// A literal: quotes keep commas, blanks and stars from meaning anything.
fn quoted(value: &str) -> String {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { value.to_owned() } else { format!("\"{value}\"") }
}

fn draw<'a>(rng: &mut Pcg64Mcg, values: &[&'a str]) -> &'a str {
    pick(values, rng.random_range(0..values.len() as u64))
}
