//! Finds an entry's index by the hash of its tag set.
//!
//! Linear probing over 8-byte slots, at most half full, so that the lookup of a cached entry nearly
//! always reads one cache line. A removal shifts back the slots behind it, so that there are no
//! tombstones, and never a pause to rebuild the table. A probe ends after [`PROBE_MAX`] slots.
//! Because hashes are not seeded, a client may send tag sets that collide; it loses their entries,
//! and nobody waits.

/// Slots that a probe reads. In a table that is half full, fewer than one random set of hashes in
/// 100,000 needs more.
const PROBE_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    mask: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    mark: u32,
    /// Index plus one; 0: empty, so that a new table is untouched memory.
    link: u32,
}

/// No free slot was found near an index's home: the entry `index` must be evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded {
    pub(super) index: u32,
}

/// The bits of a tag set's hash that the table uses. The low ones belong to the shard, and are
/// alike for all tag sets of one core.
#[inline]
pub(super) const fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Table {
    pub(super) fn new(entries_max: usize) -> Self {
        let slots = (entries_max * 2).next_power_of_two().max(2 * PROBE_MAX);
        Self { slots: vec![Slot { mark: 0, link: 0 }; slots], mask: slots - 1 }
    }

    /// The index of the entry with this mark that `is_it`.
    #[inline]
    pub(super) fn find(&self, mark: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        for step in 0..PROBE_MAX {
            let slot = self.slots[self.at(mark, step)];
            let index = slot.link.checked_sub(1)?;
            if slot.mark == mark && is_it(index) {
                return Some(index);
            }
        }
        None
    }

    /// Adds an index that is not in the table.
    pub(super) fn insert(&mut self, mark: u32, index: u32) -> Result<(), Crowded> {
        for step in 0..PROBE_MAX {
            let at = self.at(mark, step);
            if self.slots[at].link == 0 {
                self.slots[at] = Slot { mark, link: index + 1 };
                return Ok(());
            }
        }
        Err(Crowded { index: self.slots[self.at(mark, 0)].link - 1 })
    }

    /// Takes an index out.
    pub(super) fn remove(&mut self, mark: u32, index: u32) {
        let found =
            (0..PROBE_MAX).map(|step| self.at(mark, step)).find(|&at| self.slots[at].link == index + 1);
        let Some(mut hole) = found else { return };
        let mut next = hole;
        loop {
            next = (next + 1) & self.mask;
            let slot = self.slots[next];
            if slot.link == 0 {
                break;
            }
            // A slot may move back unless its home lies behind the hole.
            let from_home = next.wrapping_sub(self.at(slot.mark, 0)) & self.mask;
            let from_hole = next.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = Slot::default();
    }

    #[inline]
    const fn at(&self, mark: u32, step: usize) -> usize {
        (mark as usize + step) & self.mask
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_exactly_what_was_added(steps in prop::collection::vec((0u32..12, 0u32..60, any::<bool>()), 1..300)) {
            let mut table = Table::new(64);
            let mut model = BTreeMap::new();
            for (mark, index, add) in steps {
                // Marks at both ends of the table, so that probes wrap.
                let mark = mark.wrapping_sub(6);
                if add && !model.contains_key(&index) {
                    prop_assert_eq!(table.insert(mark, index), Ok(()));
                    model.insert(index, mark);
                } else if let Some(mark) = model.remove(&index) {
                    table.remove(mark, index);
                }
                for index in 0..60 {
                    let expected = model.get(&index).map(|_| index);
                    let mark = model.get(&index).copied().unwrap_or(mark);
                    prop_assert_eq!(table.find(mark, |other| other == index), expected);
                }
            }
        }
    }

    #[test]
    fn colliding_marks_are_refused_after_a_bounded_probe() {
        let mut table = Table::new(1_000);
        for index in 0..64 {
            assert_eq!(table.insert(9, index), Ok(()));
        }
        assert_eq!(table.insert(9, 64), Err(Crowded { index: 0 }));
        table.remove(9, 0);
        assert_eq!(table.insert(9, 64), Ok(()));
    }
}
