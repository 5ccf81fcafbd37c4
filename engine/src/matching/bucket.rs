//! The table of groups: the selectors under each access tag, found by the tag's hash.
//!
//! Two tags with one hash share a group. That is harmless: every candidate is evaluated in full.

use std::sync::Arc;

use super::paged::Paged;
use super::sieve::Sieve;
use super::tag_hash::TagHash;

/// Selectors that a group keeps as plain numbers, because evaluating so few costs no more than
/// sieving them.
const FEW_MAX: usize = 6;

/// The selectors filed under one access tag.
#[derive(Debug, Clone)]
pub(super) struct Group {
    access: TagHash,
    members: Members,
}

#[derive(Debug, Clone)]
pub(super) enum Members {
    Few { count: u8, numbers: [u32; FEW_MAX] },
    Many(Arc<Sieve>),
}

impl Group {
    /// Number of selectors.
    pub(super) fn len(&self) -> usize {
        match &self.members {
            Members::Few { count, .. } => usize::from(*count),
            Members::Many(sieve) => sieve.len(),
        }
    }

    #[inline]
    pub(super) const fn members(&self) -> &Members {
        &self.members
    }

    pub(super) const fn members_mut(&mut self) -> &mut Members {
        &mut self.members
    }

    /// The numbers of all selectors, in an order that means nothing and is the same each time.
    pub(super) fn numbers(&self) -> Vec<u32> {
        match &self.members {
            Members::Few { .. } => self.members.few().to_vec(),
            Members::Many(sieve) => sieve.numbers(),
        }
    }
}

impl Members {
    /// The plain numbers; empty when there are many.
    #[inline]
    pub(super) fn few(&self) -> &[u32] {
        match self {
            Self::Few { count, numbers } => &numbers[..usize::from(*count)],
            Self::Many(_) => &[],
        }
    }

    /// Adds a plain number; false when there is no room for it.
    pub(super) fn push(&mut self, number: u32) -> bool {
        match self {
            Self::Few { count, numbers } if usize::from(*count) < FEW_MAX => {
                numbers[usize::from(*count)] = number;
                *count += 1;
                true
            }
            _ => false,
        }
    }

    /// Takes out a plain number.
    pub(super) fn pull(&mut self, number: u32) {
        if let Self::Few { count, numbers } = self
            && let Some(place) = numbers[..usize::from(*count)].iter().position(|&other| other == number)
        {
            *count -= 1;
            numbers[place] = numbers[usize::from(*count)];
        }
    }
}

/// 65,536 buckets: a million groups are sixteen to a bucket, which a lookup reads in a few cache
/// lines.
#[derive(Debug, Clone)]
pub(super) struct Buckets {
    slots: Paged<Option<Arc<[Group]>>>,
}

impl Buckets {
    pub(super) const fn new() -> Self {
        Self { slots: Paged::new() }
    }

    /// The group of an access tag, if anything is filed under it.
    #[inline]
    pub(super) fn get(&self, access: TagHash) -> Option<&Group> {
        let groups = self.slots.get(access.bucket())?.as_ref()?;
        groups.iter().find(|group| group.access == access)
    }

    /// The group of an access tag for writing; made if there is none.
    pub(super) fn get_mut(&mut self, access: TagHash) -> &mut Group {
        let slot = self.slots.get_mut(access.bucket());
        let groups = slot.get_or_insert_with(|| Arc::new([]));
        let place = groups.iter().position(|group| group.access == access).unwrap_or_else(|| {
            let new = Group { access, members: Members::Few { count: 0, numbers: [0; FEW_MAX] } };
            *groups = groups.iter().cloned().chain([new]).collect();
            groups.len() - 1
        });
        &mut Arc::make_mut(groups)[place]
    }

    /// Forgets the group of an access tag.
    pub(super) fn remove(&mut self, access: TagHash) {
        let slot = self.slots.get_mut(access.bucket());
        let left: Vec<Group> = slot
            .iter()
            .flat_map(|groups| groups.iter())
            .filter(|group| group.access != access)
            .cloned()
            .collect();
        *slot = (!left.is_empty()).then(|| left.into());
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes()
    }
}
