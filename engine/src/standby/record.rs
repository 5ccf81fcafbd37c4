//! Who holds a set.

use std::cmp::Reverse;

use millrace_proto::mesh::SetRecord;
use millrace_proto::{PublisherId, RouterId};

/// Who holds a set, in which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The generation: it rises with each claim.
    pub generation: u64,
    /// The holder's rank.
    pub rank: u8,
    /// The holder.
    pub publisher: PublisherId,
    /// The router that serves it.
    pub router: RouterId,
    /// Its router says that it is dead, has left, or hands over.
    pub is_vacant: bool,
    /// Why it holds the set.
    pub why: Why,
}

/// Why somebody holds a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nobody did.
    First,
    /// The holder before was silent, or its connection broke.
    Died,
    /// The holder before left.
    Left,
    /// The holder before was asked to hand over.
    HandedOver,
    /// It has a lower rank than the holder before, and was to take over.
    Preempted,
    /// The holder itself came back at another router.
    Moved,
    /// Another member held the same generation.
    Conflict,
    /// The router of the holder before is lost, or cannot be reached.
    RouterLost,
    /// A peer says something else.
    Other,
}

impl Why {
    /// All that have a number on the wire, from 1.
    const ALL: [Self; 8] = [
        Self::First,
        Self::Died,
        Self::Left,
        Self::HandedOver,
        Self::Preempted,
        Self::Moved,
        Self::Conflict,
        Self::RouterLost,
    ];

    /// Its name for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Died => "died",
            Self::Left => "left",
            Self::HandedOver => "handed_over",
            Self::Preempted => "preempted",
            Self::Moved => "moved",
            Self::Conflict => "conflict",
            Self::RouterLost => "router_lost",
            Self::Other => "other",
        }
    }

    fn of_number(number: u32) -> Self {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        index.and_then(|index| Self::ALL.get(index)).copied().unwrap_or(Self::Other)
    }

    pub(super) fn number(self) -> u32 {
        let index = Self::ALL.iter().position(|why| *why == self);
        index.and_then(|index| u32::try_from(index + 1).ok()).unwrap_or(0)
    }
}

impl Record {
    /// What decides between two records: the higher one counts. The router comes last, for a holder
    /// that claims the same generation at two routers, one after the other.
    #[must_use]
    pub const fn age(&self) -> (u64, Reverse<u8>, PublisherId, RouterId) {
        (self.generation, Reverse(self.rank), self.publisher, self.router)
    }

    /// What a peer has told; none for one that is no record.
    pub(super) fn read(told: &SetRecord) -> Option<Self> {
        let publisher = publisher(&told.publisher)?;
        let rank = u8::try_from(told.rank).ok()?;
        let SetRecord { generation, router, vacant, why, .. } = *told;
        Some(Self { generation, rank, publisher, router, is_vacant: vacant, why: Why::of_number(why) })
    }

    /// The record of a set as peers are told it.
    pub(super) fn told(&self, set: &str, identity: &str, next_source_seq: u64) -> SetRecord {
        SetRecord {
            set: set.to_owned(),
            generation: self.generation,
            rank: self.rank.into(),
            publisher: self.publisher.0.to_be_bytes().to_vec(),
            router: self.router,
            vacant: self.is_vacant,
            identity: identity.to_owned(),
            next_source_seq,
            why: self.why.number(),
        }
    }
}

/// A publisher's id, as frames between routers have it.
pub(super) fn publisher(bytes: &[u8]) -> Option<PublisherId> {
    bytes.try_into().ok().map(u128::from_be_bytes).map(PublisherId)
}
