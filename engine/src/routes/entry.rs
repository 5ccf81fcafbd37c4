//! One tag set and where its events go: what every lookup reads, and what only a change or a first meeting needs.

use millrace_proto::TagSetRef;

use crate::matching::{Contribution, Index, LocalTarget, Location, Refresh, Region, TagHash};

/// Names an interned tag set. The default names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TagId {
    pub(super) index: u32,
    /// 0 is no entry's.
    pub(super) generation: u32,
}

const LOCATIONS_NEAR: usize = 4;
const LOCAL_NEAR: usize = 8;
const REGIONS_NEAR: usize = 12;
/// In place of a count: there are more than fit, and they are in the far part.
const FAR: u8 = u8::MAX;
/// Heat stops here: an entry that was busy is cold after this many rounds without a lookup.
const HEAT_MAX: u8 = 3;
/// No version of an index is this new, so the first lookup fills the entry.
const NEVER: u64 = u64::MAX;

/// What a lookup reads: two cache lines, the first of which is enough without local targets.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Near {
    pub(super) generation: u32,
    /// How often it was looked up lately.
    heat: u8,
    locations_len: u8,
    local_len: u8,
    regions_len: u8,
    directory_at: u64,
    local_at: u64,
    regions: [Region; REGIONS_NEAR],
    locations: [Location; LOCATIONS_NEAR],
    local: [LocalTarget; LOCAL_NEAR],
}

const _: () = assert!(size_of::<Near>() == 128, "a route is two cache lines");

/// What only a change, a first meeting or an eviction reads.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) hash: u64,
    pub(super) canonical: Box<[u8]>,
    hashes: Box<[TagHash]>,
    from_directory: Contribution<Location>,
    from_local: Contribution<LocalTarget>,
    locations: Vec<Location>,
    local: Vec<LocalTarget>,
}

impl Near {
    pub(super) fn new(generation: u32) -> Self {
        let none = LocalTarget { receiver: 0, subscription: 0, selector: 0 };
        Self {
            generation,
            heat: 0,
            locations_len: 0,
            local_len: 0,
            regions_len: FAR,
            directory_at: NEVER,
            local_at: NEVER,
            regions: [Region::default(); REGIONS_NEAR],
            locations: [Location::Core(0); LOCATIONS_NEAR],
            local: [none; LOCAL_NEAR],
        }
    }

    #[inline]
    pub(super) const fn warm(&mut self) {
        // A saturated entry is not written: its line stays clean.
        if self.heat < HEAT_MAX {
            self.heat += 1;
        }
    }

    /// Takes one unit of heat, and tells how much there was.
    pub(super) const fn cool(&mut self) -> u8 {
        let heat = self.heat;
        self.heat = heat.saturating_sub(1);
        heat
    }

    #[inline]
    pub(super) fn is_right_at(&self, directory: u64, local: u64) -> bool {
        self.directory_at == directory && self.local_at == local
    }

    /// Tries to make it right without the far part: when no region of its tags has changed.
    #[inline]
    pub(super) fn confirm(&mut self, directory: &Index<Location>, local: &Index<LocalTarget>) -> bool {
        let Some(regions) = self.regions.get(..usize::from(self.regions_len)) else { return false };
        let directory_at = directory.version();
        let local_at = local.version();
        let right = (self.directory_at == directory_at
            || directory.unchanged_since(self.directory_at, regions.iter().copied()))
            && (self.local_at == local_at || local.unchanged_since(self.local_at, regions.iter().copied()));
        if right {
            self.directory_at = directory_at;
            self.local_at = local_at;
        }
        right
    }

    #[inline]
    pub(super) fn locations<'a>(&'a self, far: &'a Far) -> &'a [Location] {
        self.locations.get(..usize::from(self.locations_len)).unwrap_or(&far.locations)
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
            canonical: tags.canonical().into(),
            hashes: Box::default(),
            from_directory: Contribution::default(),
            from_local: Contribution::default(),
            locations: Vec::new(),
            local: Vec::new(),
        }
    }

    /// What an evicted entry leaves.
    pub(super) fn vacant() -> Self {
        Self::new(TagSetRef::trusted(&[]), 0)
    }

    #[inline]
    pub(super) fn tags(&self) -> TagSetRef<'_> {
        TagSetRef::trusted(&self.canonical)
    }

    /// Makes both parts right. The worse of what the two indexes had to do is returned.
    pub(super) fn refresh(
        &mut self,
        near: &mut Near,
        directory: &Index<Location>,
        local: &Index<LocalTarget>,
    ) -> Refresh {
        if near.directory_at == NEVER {
            assert_eq!(directory.hasher().seed(), local.hasher().seed(), "both indexes hash tags with one seed");
            self.hashes = directory.hasher().tags(self.tags()).collect();
            if let Some(regions) = near.regions.get_mut(..self.hashes.len()) {
                near.regions_len = len_or_far(regions.len());
                for (region, hash) in regions.iter_mut().zip(&self.hashes) {
                    *region = hash.region();
                }
            }
        }
        let tags = TagSetRef::trusted(&self.canonical);
        self.from_directory.confirm(near.directory_at);
        self.from_local.confirm(near.local_at);
        let refreshed = [
            directory.refresh(tags, &self.hashes, &mut self.from_directory),
            local.refresh(tags, &self.hashes, &mut self.from_local),
        ];
        near.directory_at = directory.version();
        near.local_at = local.version();
        if refreshed[0] != Refresh::Hit {
            let found = self.from_directory.targets();
            near.locations_len = place(found, &mut near.locations, &mut self.locations);
        }
        if refreshed[1] != Refresh::Hit {
            near.local_len = place(self.from_local.targets(), &mut near.local, &mut self.local);
        }
        refreshed.into_iter().max().unwrap_or(Refresh::Hit)
    }

    /// Bytes that the entry takes, both parts and what they own.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Near>()
            + size_of::<Self>()
            + self.canonical.len()
            + size_of_val(&*self.hashes)
            + self.from_directory.heap_bytes()
            + self.from_local.heap_bytes()
            + self.locations.capacity() * size_of::<Location>()
            + self.local.capacity() * size_of::<LocalTarget>()
    }
}

fn len_or_far(len: usize) -> u8 {
    u8::try_from(len).unwrap_or(FAR)
}

/// Puts the targets into the near slots if they fit, else into the far list. Returns their count, or [`FAR`].
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
