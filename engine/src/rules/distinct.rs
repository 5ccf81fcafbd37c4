//! How many values captures have had lately: a payload must not make tag sets without end.

use std::collections::HashSet;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::time::Time;

/// Values are counted for this long, and then from nothing.
const WINDOW: Duration = Duration::from_secs(600);

/// The values of each captured tag in this window. Bounded by 64 rules, 8 tags each, and the bound
/// of values, 8 bytes each.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    begun: Option<Time>,
    seen: Vec<((usize, usize), HashSet<u64, ahash::RandomState>)>,
    has_overflowed: bool,
}

impl Distinct {
    /// Whether a value of a rule's tag may be used.
    pub(super) fn admits(&mut self, tag: (usize, usize), value: &str, most: usize) -> bool {
        let place = self.seen.iter().position(|(other, _)| *other == tag).unwrap_or_else(|| {
            self.seen.push((tag, HashSet::default()));
            self.seen.len() - 1
        });
        let (_, values) = &mut self.seen[place];
        let hash = xxh3_64(value.as_bytes());
        if values.contains(&hash) {
            return true;
        }
        let has_room = values.len() < most;
        if has_room {
            values.insert(hash);
        }
        self.has_overflowed |= !has_room;
        has_room
    }

    /// Begins anew when the window is over. Says whether values were refused in it, so that what
    /// was decided then is to be decided again.
    pub(super) fn begin_turn(&mut self, now: Time) -> bool {
        let begun = *self.begun.get_or_insert(now);
        if now.since(begun) < WINDOW {
            return false;
        }
        self.begun = Some(now);
        self.seen.clear();
        std::mem::take(&mut self.has_overflowed)
    }
}
