//! The result of one lookup in one index, and how it is brought up to date.

use millrace_proto::TagSetRef;

use super::log::Change;
use super::{Index, TagMark, Target};

/// Changes that a refresh evaluates where a new lookup of everything is cheap.
const PATCH_STEPS_MIN: usize = 64;
/// Part of the scan list that a refresh evaluates as changes at most: a new lookup evaluates all of
/// it, in some half of the time for each.
const PATCH_SHARE: usize = 2;
/// The version of a contribution that was never filled: newer than any other, so that no refresh
/// takes it for valid.
const NEVER: u64 = u64::MAX;

/// The targets of one tag set in one index, as of one version.
#[derive(Debug, Clone)]
pub struct Contribution<T> {
    validated_at: u64,
    /// Sorted by target, each with the number of its matching selectors: never 0 between refreshes.
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
    /// Nothing that matches this tag set changed.
    Hit,
    /// Only the selectors that changed were evaluated, and some match.
    Patched,
    /// Everything was looked up again, with so many selectors evaluated.
    Rebuilt(u64),
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

    /// Sets the version at which this was right, as the caller has found.
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

    /// Sorts the targets, and merges those that were pushed several times.
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
    /// Whether nothing changed after version `since` in the regions of these tags and in the scan
    /// list.
    #[inline]
    pub(crate) fn unchanged_since(&self, since: u64, marks: &[TagMark]) -> bool {
        // All regions are read before any is judged, so that the reads overlap.
        let newest = marks.iter().fold(self.log.scan(), |newest, &mark| newest.max(self.log.region(mark)));
        newest <= since && since <= self.version()
    }

    /// Whether no selector that changed after version `since` matches `tags`, with the number of
    /// changes looked at. False also when the index cannot tell, or not cheaply.
    pub(crate) fn unconcerned_since(
        &self,
        since: u64,
        tags: TagSetRef<'_>,
        marks: &[TagMark],
    ) -> (bool, usize) {
        let mut steps = 0;
        let known = self.changes_since(since, marks, |change| {
            steps += 1;
            !change.selector.matches_tags(tags)
        });
        (known.is_some(), steps)
    }

    /// Changes that are cheaper than a new lookup.
    fn patch_steps_max(&self) -> usize {
        PATCH_STEPS_MIN.max(self.scan_len() / PATCH_SHARE)
    }

    /// Brings a contribution up to date. `marks` are those of `tags`, by this index's
    /// [hasher](Index::hasher); `entry` is new, or was last refreshed from this index or an
    /// earlier snapshot of it, with the same tags.
    pub fn refresh(&self, tags: TagSetRef<'_>, marks: &[TagMark], entry: &mut Contribution<T>) -> Refresh {
        let since = std::mem::replace(&mut entry.validated_at, self.version());
        if since == self.version() || self.unchanged_since(since, marks) {
            return Refresh::Hit;
        }
        let mut applied = false;
        let known = self.changes_since(since, marks, |change| {
            if change.selector.matches_tags(tags) {
                entry.apply(change);
                applied = true;
            }
            true
        });
        match known {
            Some(()) if !applied => Refresh::Hit,
            Some(()) => {
                entry.counts.retain(|&(_, count)| count != 0);
                debug_assert!(
                    entry.counts.iter().all(|&(_, count)| count > 0),
                    "more removed than was there"
                );
                Refresh::Patched
            }
            None => {
                entry.counts.clear();
                let steps = self.matches(tags, |target| entry.counts.push((target, 1)));
                entry.tally();
                Refresh::Rebuilt(steps)
            }
        }
    }

    /// Visits the changes after version `since` under any of these tags and in the scan list, each
    /// once, until `visit` returns false. None in that case, and when the changes are too old or
    /// too many.
    fn changes_since(
        &self,
        since: u64,
        marks: &[TagMark],
        mut visit: impl FnMut(&Change<T>) -> bool,
    ) -> Option<()> {
        if since > self.version() {
            return None;
        }
        let (mut steps, most) = (0, self.patch_steps_max());
        let mut walk = |mut version: u64, tag: Option<TagMark>| {
            while version > since {
                steps += 1;
                let change = self.log.change(version).filter(|_| steps <= most)?;
                if tag.is_none_or(|tag| tag == change.access) && !visit(change) {
                    return None;
                }
                version = change.earlier;
            }
            Some(())
        };
        for (place, &mark) in marks.iter().enumerate() {
            let version = self.log.region(mark);
            // Tags with one mark share their changes.
            if version > since && !marks[..place].contains(&mark) {
                walk(version, Some(mark))?;
            }
        }
        walk(self.log.scan(), None)
    }
}
