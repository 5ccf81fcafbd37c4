//! The targets of one selector: nearly always one, sometimes thousands.

use std::sync::Arc;

/// A sorted set that is never empty while its selector is filed.
#[derive(Debug, Clone)]
pub(super) enum Targets<T> {
    One(T),
    Many(Arc<Vec<T>>),
}

impl<T: Copy + Ord> Targets<T> {
    #[inline]
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(target) => std::slice::from_ref(target),
            Self::Many(targets) => targets,
        }
    }

    /// Adds a target; false when it is there already.
    pub(super) fn insert(&mut self, target: T) -> bool {
        let Err(place) = self.as_slice().binary_search(&target) else { return false };
        match self {
            Self::One(first) => {
                let first = *first;
                let pair = if place == 0 { vec![target, first] } else { vec![first, target] };
                *self = Self::Many(Arc::new(pair));
            }
            Self::Many(targets) => Arc::make_mut(targets).insert(place, target),
        }
        true
    }

    /// Takes a target out.
    pub(super) fn remove(&mut self, target: T) -> Removal {
        let Ok(place) = self.as_slice().binary_search(&target) else { return Removal::Missing };
        match self {
            Self::One(_) => Removal::Last,
            Self::Many(targets) => {
                if let [first, second] = targets[..] {
                    *self = Self::One(if place == 0 { second } else { first });
                } else {
                    Arc::make_mut(targets).remove(place);
                }
                Removal::Removed
            }
        }
    }
}

/// The outcome of removing a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It was not there.
    Missing,
    /// It is gone, others are left.
    Removed,
    /// It is the last one and was left: the selector goes with it.
    Last,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_sorted_and_unique() {
        let mut targets = Targets::One(5);
        assert!(!targets.insert(5));
        assert!(targets.insert(3) && targets.insert(9) && targets.insert(4));
        assert_eq!(targets.as_slice(), [3, 4, 5, 9]);
        assert_eq!(targets.remove(7), Removal::Missing);
        for gone in [4, 3, 9] {
            assert_eq!(targets.remove(gone), Removal::Removed);
        }
        assert_eq!(targets.as_slice(), [5]);
        assert_eq!(targets.remove(5), Removal::Last);
    }
}
