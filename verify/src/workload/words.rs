//! Texts that payloads carry in turn, so that payload patterns have something to match.
//!
//! Event `n` of emitter `e` carries word `(e + n) % words`: everyone can tell which events a
//! pattern takes, and count them without looking at each.

use serde::{Deserialize, Serialize};

/// Most words of a workload: a [`WordMask`] has one bit for each.
pub const WORDS_MAX: usize = 32;

/// Which words a subscription takes: bit `i` stands for word `i`. [`Words::ALL`] when it has no
/// patterns.
pub type WordMask = u32;

/// The texts, at most [`WORDS_MAX`]. None means that payloads carry no text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Words {
    texts: Vec<String>,
}

impl Words {
    /// The mask of a subscription without patterns.
    pub const ALL: WordMask = WordMask::MAX;

    /// The words of random workloads: the patterns of their selectors take some of them.
    pub(super) fn of_random() -> Self {
        let texts =
            ["RAID STATUS CHANGE", "disk failure", "link up", "link down", "raid rebuilt", "load 17", "ok"];
        Self::try_from(texts.map(str::to_owned).to_vec()).expect("seven words are few enough")
    }

    /// The words.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Number of the word that an event carries; 0 without words.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most 32 words")]
    pub fn index(&self, emitter: u32, n: u64) -> u32 {
        (u64::from(emitter).wrapping_add(n) % self.cycle()) as u32
    }

    /// The text that an event carries; empty without words.
    #[inline]
    #[must_use]
    pub fn text(&self, emitter: u32, n: u64) -> &str {
        self.texts.get(self.index(emitter, n) as usize).map_or("", String::as_str)
    }

    /// Whether a mask takes an event.
    #[inline]
    #[must_use]
    pub fn takes(&self, mask: WordMask, emitter: u32, n: u64) -> bool {
        mask == Self::ALL || mask & (1 << self.index(emitter, n)) != 0
    }

    /// How many of the events `from..to` of an emitter a mask takes.
    #[must_use]
    pub fn taken(&self, mask: WordMask, emitter: u32, from: u64, to: u64) -> u64 {
        let count = to.saturating_sub(from);
        if mask == Self::ALL {
            return count;
        }
        let cycle = self.cycle();
        let per_cycle = (0..cycle).filter(|&n| self.takes(mask, emitter, n)).count() as u64;
        let rest = count % cycle;
        let in_rest = (from..from + rest).filter(|&n| self.takes(mask, emitter, n)).count() as u64;
        count / cycle * per_cycle + in_rest
    }

    fn cycle(&self) -> u64 {
        self.texts.len().max(1) as u64
    }
}

impl TryFrom<Vec<String>> for Words {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, Self::Error> {
        match texts.len() {
            0..=WORDS_MAX => Ok(Self { texts }),
            count => Err(format!("{count} words: a workload has at most {WORDS_MAX}")),
        }
    }
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        words.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_agrees_with_looking_at_each() {
        let words = Words::try_from(vec!["a".to_owned(), "b".into(), "c".into()]).unwrap();
        for mask in [Words::ALL, 0b001, 0b110, 0] {
            for from in 0..5 {
                for to in from..20 {
                    let each = (from..to).filter(|&n| words.takes(mask, 7, n)).count() as u64;
                    assert_eq!(words.taken(mask, 7, from, to), each, "{mask:b} {from}..{to}");
                }
            }
        }
        assert_eq!(words.text(1, 1), "c");
        assert_eq!(Words::default().text(1, 1), "");
    }
}
