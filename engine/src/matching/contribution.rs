//! What one lookup in one index found, and how it is brought up to date.

use millrace_proto::TagSetRef;

use super::log::Change;
use super::{Index, Region, TagHash, Target};

/// Newer changes that a refresh looks at before it finds that looking everything up again is cheaper.
const PATCH_STEPS_MAX: u32 = 64;
/// Of a contribution that was never filled: newer than any version, so that no refresh takes it for valid.
const NEVER: u64 = u64::MAX;

/// The targets of one tag set in one index, as of one version.
#[derive(Debug, Clone)]
pub struct Contribution<T> {
    validated_at: u64,
    /// Sorted by target, each with the number of its selectors that match: never 0 between refreshes.
    counts: Vec<(T, i32)>,
}

impl<T> Default for Contribution<T> {
    fn default() -> Self {
        Self { validated_at: NEVER, counts: Vec::new() }
    }
}

/// What a refresh did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refresh {
    /// Nothing that concerns this tag set changed.
    Hit,
    /// Only the selectors that changed were evaluated.
    Patched,
    /// Everything was looked up again.
    Rebuilt,
}

impl<T: Target> Contribution<T> {
    /// The targets, sorted, each once.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        self.counts.iter().map(|&(target, _)| target)
    }

    /// The version of the index at which this was right.
    #[must_use]
    pub const fn validated_at(&self) -> u64 {
        self.validated_at
    }

    /// States that this is also right at `version`: nobody found a change in between.
    pub(crate) const fn confirm(&mut self, version: u64) {
        self.validated_at = version;
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<(T, i32)>()
    }

    fn apply(&mut self, change: &Change<T>) {
        match self.counts.binary_search_by_key(&change.target, |&(target, _)| target) {
            Ok(place) => self.counts[place].1 += change.sign,
            Err(place) => self.counts.insert(place, (change.target, change.sign)),
        }
    }

    /// Sorts what was pushed one by one, and adds up what came several times.
    fn tally(&mut self) {
        self.counts.sort_unstable_by_key(|&(target, _)| target);
        self.counts.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
    }
}

impl<T: Target> Index<T> {
    /// Whether nothing changed after version `since` in these regions and in the scan list.
    #[inline]
    pub(crate) fn unchanged_since(&self, since: u64, regions: impl IntoIterator<Item = Region>) -> bool {
        // All regions are read before any is judged, so that the reads overlap.
        let newest = regions.into_iter().fold(self.log.scan(), |newest, region| newest.max(self.log.region(region)));
        newest <= since && since <= self.version()
    }

    /// Brings a contribution up to date. `hashes` are those of `tags`, by this index's [hasher](Index::hasher); `entry`
    /// is new, or was last refreshed from this index or an earlier snapshot of it, with the same tags.
    pub fn refresh(&self, tags: TagSetRef<'_>, hashes: &[TagHash], entry: &mut Contribution<T>) -> Refresh {
        if entry.validated_at == self.version() {
            return Refresh::Hit;
        }
        let refresh = if self.unchanged_since(entry.validated_at, hashes.iter().map(|hash| hash.region())) {
            Refresh::Hit
        } else if self.patch(tags, hashes, entry).is_some() {
            entry.counts.retain(|&(_, count)| count != 0);
            debug_assert!(entry.counts.iter().all(|&(_, count)| count > 0), "more removed than was there");
            Refresh::Patched
        } else {
            entry.counts.clear();
            self.matches(tags, |target| entry.counts.push((target, 1)));
            entry.tally();
            Refresh::Rebuilt
        };
        entry.validated_at = self.version();
        refresh
    }

    /// Applies the changes after the entry's version. None when they cannot be known or are too many: the counts are then
    /// of no use.
    fn patch(&self, tags: TagSetRef<'_>, hashes: &[TagHash], entry: &mut Contribution<T>) -> Option<()> {
        let since = entry.validated_at;
        if since > self.version() {
            return None;
        }
        let mut steps = 0;
        for (place, hash) in hashes.iter().enumerate() {
            let mut version = self.log.region(hash.region());
            // Tags with one hash have one chain of changes.
            if version <= since || hashes[..place].contains(hash) {
                continue;
            }
            while version > since {
                let change = self.step(version, &mut steps)?;
                if change.access == *hash && change.selector.matches_tags(tags) {
                    entry.apply(change);
                }
                version = change.earlier;
            }
        }
        let mut version = self.log.scan();
        while version > since {
            let change = self.step(version, &mut steps)?;
            if change.selector.matches_tags(tags) {
                entry.apply(change);
            }
            version = change.earlier;
        }
        Some(())
    }

    #[inline]
    fn step(&self, version: u64, steps: &mut u32) -> Option<&Change<T>> {
        *steps += 1;
        if *steps > PATCH_STEPS_MAX {
            return None;
        }
        self.log.change(version)
    }
}
