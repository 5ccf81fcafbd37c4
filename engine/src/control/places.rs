//! Places in the directory, of peers and of members of groups. A place is used again when no core
//! can still have in its directory who had it.

use std::collections::{BTreeSet, VecDeque};

/// Which places are free.
#[derive(Debug)]
pub(super) struct Places {
    /// One more than the highest.
    most: u16,
    used: u16,
    free: BTreeSet<u16>,
    /// With the version from which on no core knows it, in order.
    retiring: VecDeque<(u64, u16)>,
}

impl Places {
    /// So many places, none of them used.
    pub(super) const fn new(most: u16) -> Self {
        Self { most, used: 0, free: BTreeSet::new(), retiring: VecDeque::new() }
    }

    /// The lowest free place, when all cores have applied the version `applied`.
    pub(super) fn allocate(&mut self, applied: u64) -> Option<u16> {
        while let Some(&(version, place)) = self.retiring.front()
            && version <= applied
        {
            self.retiring.pop_front();
            self.free.insert(place);
        }
        if let Some(free) = self.free.pop_first() {
            return Some(free);
        }
        if self.used == self.most {
            return None;
        }
        self.used += 1;
        Some(self.used - 1)
    }

    /// Nobody has the place from the version on.
    pub(super) fn release(&mut self, version: u64, place: u16) {
        self.retiring.push_back((version, place));
    }
}
