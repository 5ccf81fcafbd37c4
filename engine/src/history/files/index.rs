//! What is known of history files without reading runs: segments, and in them the blocks of each
//! owner of each life.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millrace_proto::data::Source;

use super::format::{Kind, RecordHead, SegmentHead, source_of};
use crate::history::{KeptLife, PastLives};

/// A block of an owner's runs in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of the segment.
    pub(super) segment: u64,
    /// Where its record begins.
    pub(super) at: u64,
    pub(super) head: RecordHead,
}

/// A segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) head: SegmentHead,
    pub(super) bytes: u64,
    /// Arrival of its youngest run, nanoseconds since 1970; when it was begun while it has none.
    pub(super) youngest_at: u64,
}

/// One owner in one life.
#[derive(Debug, Default)]
pub(super) struct Owner {
    /// Its blocks, in order.
    pub(super) blocks: VecDeque<Entry>,
    /// Position before which it has ended in order.
    ended: Option<u64>,
    /// Arrival of the youngest run that was let go.
    gone_until: u64,
}

impl Owner {
    /// Oldest position that is kept.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.blocks.front().map(|entry| entry.head.first)
    }

    fn kept(&self, source: Source, begun: u64) -> Option<KeptLife> {
        let Some((first, last)) = self.blocks.front().zip(self.blocks.back()) else {
            let at = self.ended?;
            return Some(KeptLife { is_whole: true, ..KeptLife::nothing(source, at, begun) });
        };
        let (first, last) = (first.head, last.head);
        // What an earlier process has let go had arrived before what it has left.
        let gone_until =
            if self.gone_until == 0 && first.first > 0 { first.arrived.0 } else { self.gone_until };
        Some(KeptLife {
            source,
            oldest: first.first,
            to: last.next,
            youngest_at: last.arrived.1,
            gone_until,
            is_whole: self.ended == Some(last.next),
        })
    }
}

/// One life of a router.
#[derive(Debug)]
struct Life {
    /// The router in that life, with any owner.
    of: SegmentHead,
    owners: BTreeMap<u16, Owner>,
}

impl Life {
    fn is_empty(&self) -> bool {
        self.owners.values().all(|owner| owner.blocks.is_empty())
    }
}

/// Segments and blocks, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) segments: VecDeque<Segment>,
    lives: VecDeque<Life>,
    blocks: usize,
}

impl Index {
    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Blocks of all segments.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }

    /// Lives that are known.
    pub(super) fn lives(&self) -> usize {
        self.lives.len()
    }

    /// Lives of which something is kept.
    pub(super) fn lives_kept(&self) -> usize {
        self.lives.iter().filter(|life| !life.is_empty()).count()
    }

    /// Lets the oldest life go of which nothing is kept, the last one excepted. Returns the numbers
    /// of its segments; `None` when there is no such life.
    pub(super) fn evict_empty(&mut self) -> Option<Vec<u64>> {
        let last = self.lives.len().checked_sub(1)?;
        let at = self.lives.iter().take(last).position(Life::is_empty)?;
        let of = self.lives.remove(at)?.of;
        let is_of = |segment: &Segment| {
            segment.head.router == of.router && segment.head.incarnation == of.incarnation
        };
        let (gone, left): (VecDeque<Segment>, VecDeque<Segment>) =
            std::mem::take(&mut self.segments).into_iter().partition(is_of);
        self.segments = left;
        Some(gone.iter().map(|segment| segment.head.number).collect())
    }

    /// Arrival of the oldest run, nanoseconds since 1970.
    pub(super) fn oldest_at(&self) -> Option<u64> {
        let owners = self.lives.iter().flat_map(|life| life.owners.values());
        owners.filter_map(|owner| owner.blocks.front()).map(|entry| entry.head.arrived.0).min()
    }

    /// A segment begins, and with the first one its life.
    pub(super) fn begin(&mut self, head: SegmentHead, bytes: u64) {
        self.segments.push_back(Segment { head, bytes, youngest_at: head.begun });
        let is_life = |life: &Life| life.of.router == head.router && life.of.incarnation == head.incarnation;
        if !self.lives.back().is_some_and(is_life) {
            self.lives.push_back(Life { of: head, owners: BTreeMap::new() });
        }
    }

    /// A record stands at the end of the last segment.
    pub(super) fn add(&mut self, at: u64, head: RecordHead) {
        let Some(segment) = self.segments.back_mut() else { return };
        segment.bytes = at + head.record_bytes();
        segment.youngest_at = segment.youngest_at.max(head.arrived.1);
        let number = segment.head.number;
        if head.kind == Kind::Other {
            return;
        }
        let Some(life) = self.lives.back_mut() else { return };
        let owner = life.owners.entry(head.owner).or_default();
        match head.kind {
            // What stands behind what is there already is new; the rest is a copy.
            Kind::Runs if owner.blocks.back().is_none_or(|last| last.head.next <= head.first) => {
                owner.blocks.push_back(Entry { segment: number, at, head });
                self.blocks += 1;
            }
            Kind::Runs | Kind::Other => {}
            Kind::End => owner.ended = Some(head.next),
        }
    }

    /// Lets the oldest segment go. Returns its number, and how many events went with it.
    pub(super) fn evict(&mut self) -> Option<(u64, u64)> {
        let segment = self.segments.pop_front()?;
        let (number, mut events) = (segment.head.number, 0);
        for owner in self.lives.iter_mut().flat_map(|life| life.owners.values_mut()) {
            while let Some(entry) = owner.blocks.front().filter(|entry| entry.segment == number) {
                events += entry.head.events;
                owner.gone_until = owner.gone_until.max(entry.head.arrived.1);
                owner.blocks.pop_front();
                self.blocks -= 1;
            }
        }
        self.forget_empty();
        Some((number, events))
    }

    /// Forgets lives that have no segment; what stays of the last one is still to come.
    fn forget_empty(&mut self) {
        let last = self.lives.back().map(|life| life.of.incarnation);
        let left: BTreeSet<_> = self.segments.iter().map(|segment| segment.head.incarnation).collect();
        self.lives.retain(|life| Some(life.of.incarnation) == last || left.contains(&life.of.incarnation));
    }

    /// Lets a block go that cannot be read.
    pub(super) fn drop_block(&mut self, source: &Source, at: usize) {
        if let Some(owner) = self.owner_mut(source) {
            let gone = owner.blocks.remove(at);
            self.blocks -= usize::from(gone.is_some());
        }
    }

    /// What is known of an owner.
    pub(super) fn owner(&self, source: &Source) -> Option<&Owner> {
        self.lives.iter().find(|life| source_of(&life.of, source.owner) == *source)?.owners.get(&source.owner)
    }

    fn owner_mut(&mut self, source: &Source) -> Option<&mut Owner> {
        let life = self.lives.iter_mut().find(|life| source_of(&life.of, source.owner) == *source)?;
        life.owners.get_mut(&source.owner)
    }

    /// The head of a segment.
    pub(super) fn segment(&self, number: u64) -> Option<&Segment> {
        let at = self.segments.binary_search_by_key(&number, |segment| segment.head.number).ok()?;
        self.segments.get(at)
    }

    /// What is kept of lives other than the present one.
    pub(super) fn past(&self, present: &SegmentHead) -> PastLives {
        let lives = self.lives.iter().filter(|life| life.of.incarnation != present.incarnation);
        let kept = lives.flat_map(|life| {
            let owners = life.owners.iter();
            let kept = owners.filter_map(|(&owner, of)| of.kept(source_of(&life.of, owner), life.of.begun));
            let kept: Vec<KeptLife> = kept.collect();
            // Of a life that was killed before it kept anything is known that it was there.
            let nothing = KeptLife::nothing(source_of(&life.of, 0), 0, life.of.begun);
            if kept.is_empty() { vec![nothing] } else { kept }
        });
        PastLives::new(kept.collect())
    }
}
