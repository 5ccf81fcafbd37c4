//! The cache: interning, resolving, and making room.

use std::cell::Cell;

use millrace_proto::TagSetRef;
use millrace_proto::table::Memo;

use super::entry::{Far, Near, TagId};
use super::eviction::{Eviction, Standing};
use super::table::{Table, mark};
use crate::matching::{Index, LocalTarget, Refresh, Taker};

/// Share of lookups that need the far part from which on a lookup asks for the far part's memory
/// before it has read the near part.
const FAR_SHARE_HIGH: u8 = 96;

/// What a tag set that was not there costs, beside the selectors that its lookup looks at: some
/// 3 µs, as steps.
const NEW_STEPS: u64 = 64;

/// Bounds of one core's route cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteCacheLimits {
    /// Tag sets, at least 1. The cache reserves address space for them at the start and takes
    /// memory on use: about 520 bytes each, more with many tags or targets. Default: 1,000,000.
    pub entries: u32,
    /// Bytes of all entries together. The entry that was looked up last stays even if it alone
    /// takes more. Default: 1 GiB.
    pub bytes: usize,
}

impl Default for RouteCacheLimits {
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 1 << 30 }
    }
}

crate::metrics! {
    /// What a route cache holds and did so far.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RouteCacheMetrics {
        /// Tag sets held.
        entries: level "route_cache_entries",
        /// Bytes that they take.
        bytes: level "route_cache_bytes",
        /// Lookups for which neither index had changed.
        hits: counter "route_cache_hits",
        /// Lookups for which an index had changed, but nothing near any of the tags.
        confirmed: counter "route_cache_confirmed",
        /// Lookups that evaluated changed selectors, none of which matched.
        unconcerned: counter "route_cache_unconcerned",
        /// Lookups that evaluated changed selectors only, and some matched.
        patched: counter "route_cache_patched",
        /// Lookups that evaluated everything: first ones, and those with too much changed since.
        rebuilt: counter "route_cache_rebuilt",
        /// Selectors that were looked at when everything was evaluated; one with a slow glob counts
        /// as several.
        steps: counter "route_cache_steps",
        /// Tag sets interned that were not there.
        added: counter "route_cache_added",
        /// Tag sets that went for want of room.
        evicted: counter "route_cache_evicted",
        /// Of these, those that went because too many hashes lay close together.
        crowded_out: counter "route_cache_crowded_out",
    }
}

/// Interned tag sets and the routes of their events. See the [module](super).
#[derive(Debug)]
pub struct RouteCache {
    near: Vec<Near>,
    far: Vec<Far>,
    free: Vec<u32>,
    table: Table,
    eviction: Eviction,
    limits: RouteCacheLimits,
    metrics: RouteCacheMetrics,
    /// The share of the last lookups (about sixteen) that needed the far part, of 255.
    far_share: u8,
    /// Steps of all lookups, with what new tag sets cost beside them.
    work: u64,
    /// The part of them for tag sets that were looked up for the first time.
    new_work: u64,
    /// Steps before this turn.
    work_before: u64,
}

/// An entry that is valid for the indexes that it was resolved with.
#[derive(Debug, Clone, Copy)]
pub struct Resolved<'a> {
    near: &'a Near,
    far: &'a Far,
}

impl<'a> Resolved<'a> {
    /// The tags.
    #[inline]
    #[must_use]
    pub fn tags(&self) -> TagSetRef<'a> {
        self.far.tags()
    }

    /// Locations that want its events, each with a filter or without, sorted, each pair once.
    #[inline]
    #[must_use]
    pub fn takers(&self) -> &'a [Taker] {
        self.near.takers(self.far)
    }

    /// Holds the tag set's number on the stream that it was last written to.
    #[inline]
    #[must_use]
    pub const fn number(&self) -> &'a Cell<Memo> {
        &self.near.number
    }

    /// Targets on this core, sorted by receiver, subscription and selector, each once.
    #[inline]
    #[must_use]
    pub fn local(&self) -> &'a [LocalTarget] {
        self.near.local(self.far)
    }
}

impl RouteCache {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: RouteCacheLimits) -> Self {
        let entries = limits.entries.max(1) as usize;
        Self {
            near: Vec::with_capacity(entries),
            far: Vec::with_capacity(entries),
            free: Vec::new(),
            table: Table::new(entries),
            eviction: Eviction::new(entries),
            limits,
            metrics: RouteCacheMetrics::default(),
            far_share: 0,
            work: 0,
            new_work: 0,
            work_before: 0,
        }
    }

    /// The id of a tag set, which the cache adds if it is new; another one may give way. `hash` is
    /// [`TagSetRef::hash`] of the tags.
    pub fn intern(&mut self, tags: TagSetRef<'_>, hash: u64) -> TagId {
        match self.find(tags, hash) {
            Some(index) => TagId { index, generation: self.near[index as usize].generation },
            None => self.add(tags, hash),
        }
    }

    /// Whether `id` still names its tag set.
    #[inline]
    #[must_use]
    pub fn contains(&self, id: TagId) -> bool {
        self.near.get(id.index as usize).is_some_and(|near| near.generation == id.generation)
    }

    /// Counts a use of an entry that is not resolved, because rules lead to another one.
    pub fn keep_warm(&mut self, id: TagId) {
        if let Some(near) =
            self.near.get_mut(id.index as usize).filter(|near| near.generation == id.generation)
        {
            near.warm();
        }
    }

    /// Prefetches what [`resolve`](Self::resolve) reads. It does not wait for memory, so that a
    /// caller may prefetch several ids in a row.
    #[inline]
    pub fn prefetch(&self, id: TagId) {
        let lines = self.near.get(id.index as usize).map_or(0, Near::prefetch);
        std::hint::black_box(lines);
    }

    /// The route of these tags as it was last resolved. Both indexes may have changed since, so
    /// that it serves prefetching alone.
    #[inline]
    #[must_use]
    pub fn resolved_last(&self, id: TagId) -> Option<Resolved<'_>> {
        let index = id.index as usize;
        let near = self.near.get(index).filter(|near| near.generation == id.generation)?;
        Some(Resolved { near, far: &self.far[index] })
    }

    /// Whether [`resolve`](Self::resolve) would find the route without a lookup.
    #[must_use]
    pub fn is_settled(&self, id: TagId, directory: &Index<Taker>, local: &Index<LocalTarget>) -> bool {
        self.contains(id) && self.near[id.index as usize].is_settled(directory, local)
    }

    /// The number that is kept for the tag set on a stream. The entry may belong to another tag set
    /// by now, so that it serves prefetching alone.
    #[inline]
    #[must_use]
    pub fn number_last(&self, id: TagId) -> Memo {
        self.near.get(id.index as usize).map_or_else(Memo::default, |near| near.number.get())
    }

    /// The tags that `id` names; none when they were evicted.
    #[inline]
    #[must_use]
    pub fn get(&self, id: TagId) -> Option<TagSetRef<'_>> {
        self.contains(id).then(|| self.far[id.index as usize].tags())
    }

    /// The route of these tags by both indexes; none when the tags were evicted. Each index is
    /// always the same one, or a later snapshot of it, and both have one seed.
    #[inline(always)]
    pub fn resolve(
        &mut self,
        id: TagId,
        directory: &Index<Taker>,
        local: &Index<LocalTarget>,
    ) -> Option<Resolved<'_>> {
        if self.far_share > FAR_SHARE_HIGH
            && let Some(far) = self.far.get(id.index as usize)
        {
            far.prefetch();
        }
        let near = self.near.get_mut(id.index as usize).filter(|near| near.generation == id.generation)?;
        near.warm();
        if near.is_right_at(directory.version(), local.version()) {
            self.metrics.hits += 1;
            self.far_share -= self.far_share.div_ceil(16);
        } else if near.confirm(directory, local) {
            self.metrics.confirmed += 1;
            self.far_share -= self.far_share.div_ceil(16);
        } else {
            self.far_share += (u8::MAX - self.far_share) / 16;
            self.refresh(id, directory, local);
        }
        let index = id.index as usize;
        Some(Resolved { near: &self.near[index], far: &self.far[index] })
    }

    /// A turn begins: its lookups are counted from here.
    pub const fn begin_turn(&mut self) {
        self.work_before = self.work;
    }

    /// What the lookups of this turn have cost: a step for each selector that they have evaluated,
    /// and some for each tag set that was not there.
    #[inline]
    #[must_use]
    pub const fn steps_in_turn(&self) -> u64 {
        self.work - self.work_before
    }

    /// What tag sets that were not there have cost so far, in steps.
    #[inline]
    #[must_use]
    pub const fn new_steps(&self) -> u64 {
        self.new_work
    }

    /// Lookups so far for which no selector was evaluated.
    #[must_use]
    pub const fn known_lookups(&self) -> u64 {
        self.metrics.hits + self.metrics.confirmed
    }

    /// Whether a tag set is there. `hash` is [`TagSetRef::hash`] of the tags.
    #[must_use]
    pub fn has(&self, tags: TagSetRef<'_>, hash: u64) -> bool {
        self.find(tags, hash).is_some()
    }

    fn find(&self, tags: TagSetRef<'_>, hash: u64) -> Option<u32> {
        self.table.find(mark(hash), |index| {
            let far = &self.far[index as usize];
            far.hash == hash && far.tags() == tags
        })
    }

    /// Its metrics.
    #[must_use]
    pub const fn metrics(&self) -> RouteCacheMetrics {
        self.metrics
    }

    #[cold]
    fn add(&mut self, tags: TagSetRef<'_>, hash: u64) -> TagId {
        self.make_room(None);
        let far = Far::new(tags, hash);
        self.metrics.bytes += far.bytes() as u64;
        self.metrics.entries += 1;
        self.metrics.added += 1;
        self.work += NEW_STEPS;
        self.new_work += NEW_STEPS;
        let index = match self.free.pop() {
            Some(index) => {
                self.far[index as usize] = far;
                index
            }
            None => {
                self.near.push(Near::new(1));
                self.far.push(far);
                // The limit, which is a u32, bounds it.
                u32::try_from(self.far.len() - 1).unwrap_or(u32::MAX)
            }
        };
        while let Err(crowded) = self.table.insert(mark(hash), index) {
            self.metrics.crowded_out += 1;
            self.evict(crowded.index);
        }
        let id = TagId { index, generation: self.near[index as usize].generation };
        self.eviction.add(id, mark(hash));
        id
    }

    #[inline(never)]
    fn refresh(&mut self, id: TagId, directory: &Index<Taker>, local: &Index<LocalTarget>) {
        let index = id.index as usize;
        let far = &mut self.far[index];
        let near = &mut self.near[index];
        let (is_first, before) = (near.is_new(), self.metrics.steps);
        // Nearby changes mostly do not match: then the lookup reads nothing that the entry owns.
        let (is_unconcerned, steps) = far.is_unconcerned(near, directory, local);
        self.metrics.steps += steps as u64;
        if is_unconcerned {
            self.metrics.unconcerned += 1;
            self.work += steps as u64;
            return;
        }
        let bytes_before = far.bytes() as u64;
        match far.refresh(near, directory, local) {
            Refresh::Hit => self.metrics.unconcerned += 1,
            Refresh::Patched => self.metrics.patched += 1,
            Refresh::Rebuilt(steps) => {
                self.metrics.rebuilt += 1;
                self.metrics.steps += steps;
            }
        }
        self.metrics.bytes = self.metrics.bytes + far.bytes() as u64 - bytes_before;
        let steps = self.metrics.steps - before;
        self.work += steps;
        self.new_work += if is_first { steps } else { 0 };
        if self.metrics.bytes > self.limits.bytes as u64 {
            self.make_room(Some(id));
        }
    }

    /// Evicts entries until there is room for one more. With `keep`, evicts others until the bytes
    /// are within their limit.
    fn make_room(&mut self, keep: Option<TagId>) {
        let entries_max = self.limits.entries.max(1) as usize;
        while self.metrics.bytes > self.limits.bytes as u64
            || (keep.is_none() && self.eviction.queued() >= entries_max)
        {
            let near = &mut self.near;
            let next = self.eviction.next(|id| match near.get_mut(id.index as usize) {
                _ if keep == Some(id) => Standing::Kept,
                Some(near) if near.generation == id.generation => Standing::Heat(near.cool()),
                _ => Standing::Gone,
            });
            let Some((id, leave_mark)) = next else { return };
            if leave_mark {
                self.eviction.remember(mark(self.far[id.index as usize].hash));
            }
            self.evict(id.index);
        }
    }

    fn evict(&mut self, index: u32) {
        let slot = index as usize;
        let far = std::mem::replace(&mut self.far[slot], Far::vacant());
        self.table.remove(mark(far.hash), index);
        self.metrics.bytes -= far.bytes() as u64;
        self.metrics.entries -= 1;
        self.metrics.evicted += 1;
        let generation = self.near[slot].generation.checked_add(1).unwrap_or(1);
        self.near[slot] = Near::new(generation);
        self.free.push(index);
    }
}
