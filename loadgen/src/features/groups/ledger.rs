//! Who took which event of which group, and when.

use serde::Serialize;

use super::settings::Number;

/// Levels that are used.
const LEVELS: usize = 2;

/// One event.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    copies: u32,
    unmarked: u32,
    /// The level that took it first, from 1; 0: nobody yet.
    level: u8,
}

/// One group.
#[derive(Debug, Default)]
struct Group {
    /// By number.
    events: Vec<Taken>,
    /// When each level took something first since it is watched, and how many.
    first_us: [Option<u64>; LEVELS],
    count: [u64; LEVELS],
}

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    groups: Vec<Group>,
}

/// What became of all events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Outcome {
    pub published: u64,
    /// Events that no member took.
    pub missing: u64,
    /// Copies beyond the first that were not marked as possible duplicates.
    pub twice_unmarked: u64,
    /// Copies beyond the first that were.
    pub again_marked: u64,
}

impl Ledger {
    fn group(&mut self, group: Number) -> &mut Group {
        let at = group as usize;
        if self.groups.len() <= at {
            self.groups.resize_with(at + 1, Group::default);
        }
        &mut self.groups[at]
    }

    /// A member of a level has taken an event.
    pub(super) fn take(&mut self, group: Number, level: u8, number: u64, marked: bool, at_us: u64) {
        let group = self.group(group);
        let at = usize::try_from(number).unwrap_or(usize::MAX - 1);
        if group.events.len() <= at {
            group.events.resize(at + 1, Taken::default());
        }
        let event = &mut group.events[at];
        event.copies += 1;
        event.unmarked += u32::from(!marked);
        if event.level == 0 {
            event.level = level;
        }
        let level = usize::from(level.saturating_sub(1)).min(LEVELS - 1);
        group.first_us[level].get_or_insert(at_us);
        group.count[level] += 1;
    }

    /// From here on [`Ledger::first_us`] and [`Ledger::count`] count.
    pub(super) fn watch(&mut self, group: Number) {
        let group = self.group(group);
        (group.first_us, group.count) = ([None; LEVELS], [0; LEVELS]);
    }

    /// When a level took something first since its group is watched.
    pub(super) fn first_us(&mut self, group: Number, level: u8) -> Option<u64> {
        self.group(group).first_us[usize::from(level) - 1]
    }

    /// What a level has taken since its group is watched.
    pub(super) fn count(&mut self, group: Number, level: u8) -> u64 {
        self.group(group).count[usize::from(level) - 1]
    }

    /// How often the level changed from one event of a group to the next.
    pub(super) fn switches(&mut self, group: Number) -> u64 {
        let taken = self.group(group).events.iter().filter(|event| event.level > 0).map(|event| event.level);
        let levels: Vec<u8> = taken.collect();
        levels.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64
    }

    /// What became of everything, when groups have published so many events each.
    pub(super) fn outcome(&mut self, published: &[u64]) -> Outcome {
        let mut outcome = Outcome::default();
        for (group, &count) in (0..).zip(published) {
            outcome.published += count;
            let events = &self.group(group).events;
            outcome.missing += count.saturating_sub(events.len() as u64);
            for event in events {
                match event.copies {
                    0 => outcome.missing += 1,
                    copies => {
                        let unmarked = u64::from(event.unmarked.saturating_sub(1));
                        outcome.twice_unmarked += unmarked;
                        outcome.again_marked += u64::from(copies - 1) - unmarked;
                    }
                }
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_nobody_took_or_two_did_are_told_apart_by_their_marks() {
        let mut ledger = Ledger::default();
        for (level, number, marked) in
            [(1, 0, false), (1, 2, false), (2, 2, true), (2, 3, false), (1, 3, false)]
        {
            ledger.take(0, level, number, marked, 10 * number);
        }
        let outcome = ledger.outcome(&[5]);
        assert_eq!(outcome, Outcome { published: 5, missing: 2, twice_unmarked: 1, again_marked: 1 });
        assert_eq!(ledger.switches(0), 1, "0 and 2 at level 1, 3 at level 2");
        assert_eq!((ledger.first_us(0, 2), ledger.count(0, 2)), (Some(20), 2));
        ledger.watch(0);
        assert_eq!((ledger.first_us(0, 2), ledger.count(0, 2)), (None, 0));
    }
}
