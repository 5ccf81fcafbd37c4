//! Runs that are kept together: what is known of each in one list, their bytes one behind the
//! other. A tag set stands once in a block, however many of its runs have it.
//!
//! A ring consists of blocks, is evicted by blocks, and answers with a block of the runs that were
//! asked for.

use std::collections::HashMap;
use std::ops::Range;

use millrace_proto::{PublisherKey, TagSetRef};

use crate::routes::TagId;
use crate::time::Time;

/// A run as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct KeptRun<'a> {
    /// Its position.
    pub position: u64,
    /// When its owner routed it, by the owner's clock.
    pub arrived: Time,
    /// Its tag set's name in its owner's route cache then.
    pub tag: TagId,
    /// Its tag set.
    pub tags: TagSetRef<'a>,
    /// Who published it.
    pub publisher: PublisherKey,
    /// Its flags.
    pub flags: u64,
    /// Its body.
    pub body: &'a [u8],
    /// Its events.
    pub events: u64,
}

/// What is known of a run: 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    publisher: PublisherKey,
    position: u64,
    arrived: Time,
    /// Where its body begins among the bytes, and how long it is.
    start: u32,
    body_bytes: u32,
    /// Index of its tag set.
    tags: u32,
    events: u16,
    flags: u16,
}

/// A tag set of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tags {
    id: TagId,
    /// Where its canonical form stands among the bytes.
    canonical: Range<usize>,
}

/// Bytes that a tag set takes besides its canonical form: its entry, and its place in the map.
const TAGS_BYTES: usize = size_of::<Tags>() + 2 * size_of::<(TagId, usize)>();

/// Runs, in the order of their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    heads: Vec<Head>,
    tags: Vec<Tags>,
    /// Where the tag sets are: only while the block grows.
    places: HashMap<TagId, usize, ahash::RandomState>,
    bytes: Vec<u8>,
}

impl Block {
    /// An empty block with room for about so many bytes.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Runs in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Tag sets in it: [`tag_of`](Self::tag_of) is below.
    #[must_use]
    pub const fn tag_sets(&self) -> usize {
        self.tags.len()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.bytes.capacity() + self.heads.capacity() * size_of::<Head>() + self.tags.len() * TAGS_BYTES
    }

    /// Bytes of memory that another run takes, if nothing of it is here yet and no list grows.
    #[must_use]
    pub const fn memory_of(run: &KeptRun<'_>) -> usize {
        run.body.len() + run.tags.canonical().len() + size_of::<Head>() + TAGS_BYTES
    }

    /// Whether a run fits without more memory for bytes.
    #[must_use]
    pub const fn fits(&self, run: &KeptRun<'_>) -> bool {
        self.bytes.capacity() - self.bytes.len() >= run.body.len() + run.tags.canonical().len()
    }

    /// Bytes of tag sets and bodies.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a run.
    pub fn push(&mut self, run: &KeptRun<'_>) {
        let next = self.tags.len();
        let place = *self.places.entry(run.tag).or_insert(next);
        if place == next {
            let canonical = append(&mut self.bytes, run.tags.canonical());
            self.tags.push(Tags { id: run.tag, canonical });
        }
        let body = append(&mut self.bytes, run.body);
        let &KeptRun { position, arrived, publisher, flags, events, .. } = run;
        self.heads.push(Head {
            publisher,
            position,
            arrived,
            start: small(body.start),
            body_bytes: small(body.len()),
            tags: small(place),
            // The wire has at most 4,096 events in a run, and eight flags.
            events: u16::try_from(events).unwrap_or(u16::MAX),
            flags: u16::try_from(flags).unwrap_or(u16::MAX),
        });
    }

    /// Nothing more is appended: gives back what only appending needs.
    pub fn close(&mut self) {
        self.places = HashMap::default();
    }

    /// A run, by its place in the block.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<KeptRun<'_>> {
        let head = self.heads.get(index)?;
        let (tags, start) = (head.tags as usize, head.start as usize);
        Some(KeptRun {
            position: head.position,
            arrived: head.arrived,
            tag: self.tags.get(tags)?.id,
            tags: self.tag_set(tags),
            publisher: head.publisher,
            flags: head.flags.into(),
            body: self.bytes.get(start..start + head.body_bytes as usize)?,
            events: head.events.into(),
        })
    }

    /// Which of the block's tag sets a run has.
    #[must_use]
    pub fn tag_of(&self, index: usize) -> usize {
        self.heads.get(index).map_or(0, |head| head.tags as usize)
    }

    /// A tag set of the block.
    #[must_use]
    pub fn tag_set(&self, index: usize) -> TagSetRef<'_> {
        let canonical = self.tags.get(index).map_or(0..0, |tags| tags.canonical.clone());
        TagSetRef::trusted(&self.bytes[canonical])
    }

    /// Position of the first run.
    #[must_use]
    pub fn first_position(&self) -> Option<u64> {
        self.heads.first().map(|head| head.position)
    }

    /// When the first and the last run arrived.
    #[must_use]
    pub fn arrivals(&self) -> Option<(Time, Time)> {
        Some((self.heads.first()?.arrived, self.heads.last()?.arrived))
    }

    /// Index of the first run at or above a position.
    #[must_use]
    pub fn at_position(&self, position: u64) -> usize {
        self.heads.partition_point(|head| head.position < position)
    }

    /// Index of the first run that arrived at or after a time.
    #[must_use]
    pub fn at_time(&self, time: Time) -> usize {
        self.heads.partition_point(|head| head.arrived < time)
    }

    /// Events of all runs.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.heads.iter().map(|head| u64::from(head.events)).sum()
    }
}

/// A place in a block, whose bytes stay below 4 GiB: a ring's block has room for 1 MiB, or for one
/// run, and a chunk for one run more than it was asked for.
fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(more);
    start..bytes.len()
}
