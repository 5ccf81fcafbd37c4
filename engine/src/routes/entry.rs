//! One tag set and the route of its events, in two parts: one that every lookup reads, and one that
//! only changes and first lookups need.

use std::cell::Cell;

use millrace_proto::TagSetRef;
use millrace_proto::table::Memo;

use crate::matching::{Contribution, Index, LocalTarget, Location, Refresh, TagMark, Taker};

/// Names an interned tag set. The default names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TagId {
    pub(super) index: u32,
    /// 0 is no entry's.
    pub(super) generation: u32,
}

impl TagId {
    /// A name among tag sets that no cache has named, such as those of one block that was read from
    /// a file. It names nothing in any cache.
    #[must_use]
    pub(crate) const fn numbered(index: u32) -> Self {
        Self { index: index.saturating_add(1), generation: 0 }
    }

    /// Its place in the cache, which other tag sets have before and after it.
    #[must_use]
    pub const fn place(self) -> usize {
        self.index as usize
    }
}

const TAKERS_NEAR: usize = 4;
const LOCAL_NEAR: usize = 4;
const MARKS_NEAR: usize = 10;
/// Bytes of canonical tags that are kept in place: ten tags of usual length.
const CANONICAL_NEAR: usize = 224;
/// Stands for a count when there are more than fit, and they are in the far part.
const FAR: u8 = u8::MAX;
/// Most heat: a busy entry is cold after this many rounds without a lookup.
const HEAT_MAX: u8 = 3;
/// Newer than any version of an index, so that the first lookup fills the entry.
const NEVER: u64 = u64::MAX;

/// The part that every lookup reads: two cache lines, the first of which tells whether the second
/// is valid.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Near {
    pub(super) generation: u32,
    /// How often it was looked up in the last rounds.
    heat: u8,
    takers_len: u8,
    local_len: u8,
    marks_len: u8,
    directory_at: u64,
    local_at: u64,
    marks: [TagMark; MARKS_NEAR],
    takers: [Taker; TAKERS_NEAR],
    local: [LocalTarget; LOCAL_NEAR],
    /// The tag set's number on the stream to receivers of this core that it was last written to.
    pub(super) number: Cell<Memo>,
}

const _: () = assert!(size_of::<Near>() == 128, "a route is two cache lines");

/// The part that a search by tags, a change nearby, a first lookup or an eviction reads. Its place
/// follows from the index alone, so that its memory can be fetched together with the near part's.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Far {
    pub(super) hash: u64,
    canonical: Canonical,
    from_directory: Contribution<Taker>,
    from_local: Contribution<LocalTarget>,
    takers: Vec<Taker>,
    local: Vec<LocalTarget>,
    /// All marks, when they do not fit the near part.
    marks: Box<[TagMark]>,
}

/// The canonical bytes of a tag set.
#[derive(Debug)]
#[repr(C)]
struct Canonical {
    /// Length of bytes that are in place; 0 (no tag set is so short) when they are in `long`.
    len: u8,
    bytes: [u8; CANONICAL_NEAR],
    long: Box<[u8]>,
}

impl Canonical {
    fn new(canonical: &[u8]) -> Self {
        let mut bytes = [0; CANONICAL_NEAR];
        match (bytes.get_mut(..canonical.len()), u8::try_from(canonical.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(canonical);
                Self { len, bytes, long: Box::default() }
            }
            _ => Self { len: 0, bytes, long: canonical.into() },
        }
    }

    /// Prefetches all its cache lines. A reader of tags finds each behind the end of the one
    /// before, so that without this it would wait for every line by itself.
    #[inline]
    fn prefetch(&self) {
        let [a, b, c, d] = [self.len, self.bytes[63], self.bytes[127], self.bytes[191]];
        std::hint::black_box(a ^ b ^ c ^ d);
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        match self.bytes.get(..usize::from(self.len)) {
            Some(bytes) if !bytes.is_empty() => bytes,
            _ => &self.long,
        }
    }
}

impl Near {
    pub(super) fn new(generation: u32) -> Self {
        let none = LocalTarget { receiver: 0, subscription: 0, selector: 0 };
        Self {
            generation,
            heat: 0,
            takers_len: 0,
            local_len: 0,
            marks_len: FAR,
            directory_at: NEVER,
            local_at: NEVER,
            marks: [TagMark::default(); MARKS_NEAR],
            takers: [Taker::new(Location::Core(0), None); TAKERS_NEAR],
            local: [none; LOCAL_NEAR],
            number: Cell::default(),
        }
    }

    /// Reads a word of each cache line.
    #[inline]
    pub(super) const fn prefetch(&self) -> u32 {
        self.generation ^ self.local[LOCAL_NEAR - 1].receiver
    }

    #[inline]
    pub(super) const fn warm(&mut self) {
        // A saturated entry is not written, so that its line stays clean.
        if self.heat < HEAT_MAX {
            self.heat += 1;
        }
    }

    /// Takes one unit of heat. Returns how much there was before.
    pub(super) const fn cool(&mut self) -> u8 {
        let heat = self.heat;
        self.heat = heat.saturating_sub(1);
        heat
    }

    /// Whether it was never looked up.
    pub(super) const fn is_new(&self) -> bool {
        self.directory_at == NEVER
    }

    #[inline]
    pub(super) fn is_right_at(&self, directory: u64, local: u64) -> bool {
        self.directory_at == directory && self.local_at == local
    }

    /// Tries to validate the entry by the near part alone, which suffices while nothing changed in
    /// the regions of its tags.
    #[inline]
    pub(super) fn confirm(&mut self, directory: &Index<Taker>, local: &Index<LocalTarget>) -> bool {
        let Some(marks) = self.marks.get(..usize::from(self.marks_len)) else { return false };
        let right = (self.directory_at == directory.version()
            || directory.unchanged_since(self.directory_at, marks))
            && (self.local_at == local.version() || local.unchanged_since(self.local_at, marks));
        if right {
            self.set_right_at(directory, local);
        }
        right
    }

    /// Whether the entry is valid, as [`confirm`](Self::confirm) would find.
    pub(super) fn is_settled(&self, directory: &Index<Taker>, local: &Index<LocalTarget>) -> bool {
        let Some(marks) = self.marks.get(..usize::from(self.marks_len)) else {
            return self.is_right_at(directory.version(), local.version());
        };
        directory.unchanged_since(self.directory_at, marks) && local.unchanged_since(self.local_at, marks)
    }

    fn set_right_at(&mut self, directory: &Index<Taker>, local: &Index<LocalTarget>) {
        self.directory_at = directory.version();
        self.local_at = local.version();
    }

    #[inline]
    pub(super) fn takers<'a>(&'a self, far: &'a Far) -> &'a [Taker] {
        self.takers.get(..usize::from(self.takers_len)).unwrap_or(&far.takers)
    }

    #[inline]
    pub(super) fn local<'a>(&'a self, far: &'a Far) -> &'a [LocalTarget] {
        self.local.get(..usize::from(self.local_len)).unwrap_or(&far.local)
    }
}

impl Far {
    pub(super) fn new(tags: TagSetRef<'_>, hash: u64) -> Self {
        Self {
            hash,
            canonical: Canonical::new(tags.canonical()),
            from_directory: Contribution::default(),
            from_local: Contribution::default(),
            takers: Vec::new(),
            local: Vec::new(),
            marks: Box::default(),
        }
    }

    /// The state of an evicted entry.
    pub(super) fn vacant() -> Self {
        Self::new(TagSetRef::trusted(&[]), 0)
    }

    /// Prefetches the memory of its tags.
    #[inline]
    pub(super) fn prefetch(&self) {
        self.canonical.prefetch();
    }

    #[inline]
    pub(super) fn tags(&self) -> TagSetRef<'_> {
        TagSetRef::trusted(self.canonical.as_slice())
    }

    /// Whether no change matches, so that the entry is valid as it is, and marked so. Returns also
    /// how many changes were looked at.
    pub(super) fn is_unconcerned(
        &self,
        near: &mut Near,
        directory: &Index<Taker>,
        local: &Index<LocalTarget>,
    ) -> (bool, usize) {
        self.canonical.prefetch();
        let marks = near.marks.get(..usize::from(near.marks_len)).unwrap_or(&self.marks);
        let (there, far_steps) = directory.unconcerned_since(near.directory_at, self.tags(), marks);
        let (here, near_steps) =
            if there { local.unconcerned_since(near.local_at, self.tags(), marks) } else { (false, 0) };
        if here {
            near.set_right_at(directory, local);
        }
        (here, far_steps + near_steps)
    }

    /// Makes both parts valid. Returns what the lookups in the two indexes did, together.
    pub(super) fn refresh(
        &mut self,
        near: &mut Near,
        directory: &Index<Taker>,
        local: &Index<LocalTarget>,
    ) -> Refresh {
        if near.directory_at == NEVER {
            self.remember_marks(near, directory, local);
        }
        let tags = TagSetRef::trusted(self.canonical.as_slice());
        let marks = near.marks.get(..usize::from(near.marks_len)).unwrap_or(&self.marks);
        self.from_directory.confirm(near.directory_at);
        self.from_local.confirm(near.local_at);
        let from_directory = directory.refresh(tags, marks, &mut self.from_directory);
        let from_local = local.refresh(tags, marks, &mut self.from_local);
        if from_directory != Refresh::Hit {
            near.takers_len = place(self.from_directory.targets(), &mut near.takers, &mut self.takers);
        }
        if from_local != Refresh::Hit {
            near.local_len = place(self.from_local.targets(), &mut near.local, &mut self.local);
        }
        near.set_right_at(directory, local);
        match (from_directory, from_local) {
            (Refresh::Rebuilt(here), Refresh::Rebuilt(there)) => Refresh::Rebuilt(here + there),
            (one, other) => one.max(other),
        }
    }

    fn remember_marks(&mut self, near: &mut Near, directory: &Index<Taker>, local: &Index<LocalTarget>) {
        assert_eq!(directory.hasher().seed(), local.hasher().seed(), "both indexes hash tags with one seed");
        let marks: Vec<TagMark> = directory.hasher().marks(self.tags()).collect();
        if let Some(place) = near.marks.get_mut(..marks.len()) {
            place.copy_from_slice(&marks);
            near.marks_len = len_or_far(marks.len());
        } else {
            self.marks = marks.into();
        }
    }

    /// Bytes of the entry: both parts and what they own.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Near>()
            + size_of::<Self>()
            + self.canonical.long.len()
            + size_of_val(&*self.marks)
            + self.from_directory.heap_bytes()
            + self.from_local.heap_bytes()
            + self.takers.capacity() * size_of::<Taker>()
            + self.local.capacity() * size_of::<LocalTarget>()
    }
}

fn len_or_far(len: usize) -> u8 {
    u8::try_from(len).unwrap_or(FAR)
}

/// Puts the targets into the near slots if they fit, otherwise into the far list. Returns their
/// count, or [`FAR`].
fn place<T: Copy>(targets: impl ExactSizeIterator<Item = T>, near: &mut [T], far: &mut Vec<T>) -> u8 {
    far.clear();
    let len = targets.len();
    if let Some(slots) = near.get_mut(..len) {
        far.shrink_to_fit();
        for (slot, target) in slots.iter_mut().zip(targets) {
            *slot = target;
        }
        len_or_far(len)
    } else {
        far.extend(targets);
        FAR
    }
}
