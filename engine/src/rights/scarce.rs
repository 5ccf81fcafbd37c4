//! Which groups, sets and names one identity has on one router, on all its cores.
//!
//! Several receivers may be members of one group, and several publishers of one set, on different
//! cores: they count once. So their names are kept, each with how many have it, and locked only
//! when one is taken or given back.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::quota::Scarce;

/// What one identity has, by kind.
#[derive(Debug, Default)]
pub(super) struct Scarcities([Mutex<BTreeMap<Box<str>, u64>>; 3]);

impl Scarcities {
    /// One more has this. Says whether it is the first one.
    ///
    /// # Errors
    /// Nobody has it yet, and there are as many others as may be: how many.
    pub(super) fn take(&self, scarce: Scarce, name: &str, most: Option<u64>) -> Result<bool, u64> {
        let mut had = self.of(scarce);
        if let Some(count) = had.get_mut(name) {
            *count += 1;
            return Ok(false);
        }
        let others = had.len() as u64;
        if most.is_some_and(|most| others >= most) {
            return Err(others);
        }
        had.insert(name.into(), 1);
        Ok(true)
    }

    /// One less has this.
    pub(super) fn give(&self, scarce: Scarce, name: &str) {
        let mut had = self.of(scarce);
        let Some(count) = had.get_mut(name) else { return };
        *count -= 1;
        if *count == 0 {
            had.remove(name);
        }
    }

    /// Counts are whole at every moment, so that a panic elsewhere leaves nothing half done.
    fn of(&self, scarce: Scarce) -> MutexGuard<'_, BTreeMap<Box<str>, u64>> {
        self.0[scarce as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_have_counts_once_until_the_last_gives_it_back() {
        let had = Scarcities::default();
        assert_eq!(had.take(Scarce::Group, "a", Some(1)), Ok(true));
        assert_eq!(had.take(Scarce::Group, "a", Some(1)), Ok(false));
        assert_eq!(had.take(Scarce::Group, "b", Some(1)), Err(1));
        assert_eq!(had.take(Scarce::Set, "b", Some(1)), Ok(true), "kinds are counted apart");
        had.give(Scarce::Group, "a");
        assert_eq!(had.take(Scarce::Group, "b", Some(1)), Err(1));
        had.give(Scarce::Group, "a");
        had.give(Scarce::Group, "a");
        assert_eq!(had.take(Scarce::Group, "b", Some(1)), Ok(true));
        assert_eq!(had.take(Scarce::Group, "b", Some(0)), Ok(false), "a reload takes nothing away");
    }
}
