//! The index: selectors filed by access tag, their targets, and the log of changes.

use std::sync::Arc;

use millrace_proto::{Selector, TagSetRef};

use super::bucket::{Buckets, Group, Members};
use super::log::ChangeLog;
use super::paged::Paged;
use super::probe::Probe;
use super::sieve::{Sieve, step_weight};
use super::tag_hash::{TagHash, TagHasher};
use super::targets::{Removal, Targets};
use super::{LocalTarget, Target};

/// Size at which a group is searched for selectors that fit better elsewhere; it is searched again
/// whenever it has doubled.
const REBALANCE_MIN: usize = 64;

/// Selectors under one tag that a lookup evaluates in about a microsecond.
const CROWDED: usize = 64;

/// Selectors and their targets. See the [module](super) for how it works.
///
/// A clone is a snapshot: it costs a few hundred pointers, shares everything, and never changes.
/// Versions order the states of one index and its snapshots, but not those of different indexes.
#[derive(Debug, Clone)]
pub struct Index<T> {
    hasher: TagHasher,
    selectors: Paged<Slot<T>>,
    /// The first free slot.
    free: Option<u32>,
    slots_used: u32,
    names: Paged<Option<Arc<[u32]>>>,
    pub(super) buckets: Buckets,
    scan: Arc<Sieve>,
    pub(super) log: ChangeLog<T>,
    filed: usize,
    filed_bytes: usize,
}

#[derive(Debug, Clone)]
enum Slot<T> {
    Free { next: Option<u32> },
    Used(Filed<T>),
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::Free { next: None }
    }
}

/// A selector with its place and its targets.
#[derive(Debug, Clone)]
struct Filed<T> {
    selector: Arc<Selector>,
    /// The access tag; none for the scan list.
    access: Option<TagHash>,
    /// What evaluating it costs, in steps.
    weight: u16,
    targets: Targets<T>,
}

impl Index<LocalTarget> {
    /// How many subscriptions of a receiver have a selector.
    #[must_use]
    pub fn targets_of(&self, selector: &Selector, receiver: u32) -> usize {
        let found = self.find(self.name_slot(selector), selector).and_then(|number| self.filed(number));
        let targets = found.map_or(&[][..], |filed| filed.targets.as_slice());
        targets.partition_point(|target| target.receiver <= receiver)
            - targets.partition_point(|target| target.receiver < receiver)
    }
}

impl<T: Target> Index<T> {
    /// An empty index. `seed` keeps its hashes from whoever chooses tags. Caches that refresh from
    /// several indexes need the same seed in all of them.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            hasher: TagHasher::new(seed),
            selectors: Paged::new(),
            free: None,
            slots_used: 0,
            names: Paged::new(),
            buckets: Buckets::new(),
            scan: Arc::default(),
            log: ChangeLog::new(),
            filed: 0,
            filed_bytes: 0,
        }
    }

    /// Adds a target to a selector. False, without a change, when the selector has it.
    pub fn insert(&mut self, selector: &Arc<Selector>, target: T) -> bool {
        let name = self.name_slot(selector);
        let found = self.find(name, selector);
        let access = match found {
            Some(number) => {
                let Slot::Used(filed) = self.selectors.get_mut(number as usize) else { return false };
                if !filed.targets.insert(target) {
                    return false;
                }
                self.filed_bytes += size_of::<T>();
                filed.access
            }
            None => self.add(name, selector, target),
        };
        self.log.record(access.map(TagHash::mark), selector, target, 1);
        if found.is_none()
            && let Some(access) = access
        {
            self.rebalance(access);
        }
        true
    }

    /// Removes a target from a selector. False, without a change, when the selector does not have
    /// it.
    pub fn remove(&mut self, selector: &Arc<Selector>, target: T) -> bool {
        let name = self.name_slot(selector);
        let Some(number) = self.find(name, selector) else { return false };
        let Slot::Used(filed) = self.selectors.get_mut(number as usize) else { return false };
        let access = filed.access;
        match filed.targets.remove(target) {
            Removal::Missing => return false,
            Removal::Removed => self.filed_bytes -= size_of::<T>(),
            Removal::Last => self.drop_selector(name, number, selector, access),
        }
        self.log.record(access.map(TagHash::mark), selector, target, -1);
        true
    }

    /// The number of changes so far: each insert and remove that changes something raises it.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u64 {
        self.log.version()
    }

    /// The hasher of tags for this index.
    #[inline]
    #[must_use]
    pub const fn hasher(&self) -> &TagHasher {
        &self.hasher
    }

    /// Visits the targets of every selector that matches, without any cache. A target is visited
    /// once for each of its selectors that matches. Returns what the selectors that were evaluated
    /// have cost, in steps of some 50 ns.
    pub fn matches(&self, tags: TagSetRef<'_>, mut visit: impl FnMut(T)) -> u64 {
        let probe = Probe::new(tags, &self.hasher);
        let mut steps = 0;
        let mut consider = |number: u32| {
            let Some(filed) = self.filed(number) else { return };
            steps += u64::from(filed.weight);
            if probe.meets(&filed.selector) {
                filed.targets.as_slice().iter().copied().for_each(&mut visit);
            }
        };
        for (place, &hash) in probe.hashes().iter().enumerate() {
            let Some(group) = self.buckets.get(hash) else { continue };
            // Tags with one hash share a group: the first of them visits it.
            if probe.hashes()[..place].contains(&hash) {
                continue;
            }
            match group.members() {
                Members::Few { .. } => group.members().few().iter().copied().for_each(&mut consider),
                Members::Many(sieve) => sieve.candidates(&probe, &self.hasher, &mut consider),
            }
        }
        self.scan.candidates(&probe, &self.hasher, &mut consider);
        steps
    }

    /// How many selectors have the text of this one, and so differ in their literals alone.
    #[must_use]
    pub fn alike(&self, selector: &Selector) -> usize {
        let numbers = self.names.get(self.name_slot(selector)).and_then(Option::as_ref);
        let filed =
            numbers.into_iter().flat_map(|numbers| numbers.iter()).filter_map(|&number| self.filed(number));
        filed.filter(|filed| filed.selector.text() == selector.text()).count()
    }

    /// Every selector with its targets, in no order that means anything.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<Selector>, &[T])> {
        let filed = (0..self.slots_used).filter_map(|number| self.filed(number));
        filed.map(|filed| (&filed.selector, filed.targets.as_slice()))
    }

    /// Number of selectors.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.filed
    }

    /// Whether it holds no selector.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filed == 0
    }

    /// Number of selectors on the scan list: every uncached lookup sieves all of them.
    #[must_use]
    pub fn scan_len(&self) -> usize {
        self.scan.len()
    }

    /// Estimated bytes of memory. Snapshots share most of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let pages = self.selectors.bytes() + self.names.bytes() + self.buckets.bytes();
        pages + self.log.bytes() + self.filed_bytes
    }

    /// Whether no tag leads to a selector quickly: it has no equality, or `CROWDED` others are
    /// filed under each of its equalities.
    #[must_use]
    pub fn is_crowded(&self, selector: &Selector) -> bool {
        let hashes = selector.equalities().map(|(key, value)| self.hasher.tag(key, value));
        let size = |hash| self.buckets.get(hash).map_or(0, Group::len);
        hashes.map(size).min().is_none_or(|least| least >= CROWDED)
    }

    #[inline]
    fn filed(&self, number: u32) -> Option<&Filed<T>> {
        match self.selectors.get(number as usize)? {
            Slot::Used(filed) => Some(filed),
            Slot::Free { .. } => None,
        }
    }

    fn name_slot(&self, selector: &Selector) -> usize {
        usize::from((self.hasher.bytes(selector.text().as_bytes()) & 0xffff) as u16)
    }

    fn find(&self, name: usize, selector: &Selector) -> Option<u32> {
        let numbers = self.names.get(name)?.as_ref()?;
        let is_it = |&number: &u32| self.filed(number).is_some_and(|filed| *filed.selector == *selector);
        numbers.iter().copied().find(is_it)
    }

    /// Adds a new selector, and files it under its emptiest equality.
    fn add(&mut self, name: usize, selector: &Arc<Selector>, target: T) -> Option<TagHash> {
        let hashes = selector.equalities().map(|(key, value)| self.hasher.tag(key, value));
        let access = hashes.min_by_key(|&hash| self.buckets.get(hash).map_or(0, Group::len));
        let number = self.free.unwrap_or(self.slots_used);
        let slot = self.selectors.get_mut(number as usize);
        match slot {
            Slot::Free { next } if self.free.is_some() => self.free = *next,
            _ => self.slots_used += 1,
        }
        let (weight, targets) = (step_weight(selector), Targets::One(target));
        *slot = Slot::Used(Filed { selector: Arc::clone(selector), access, weight, targets });
        let names = self.names.get_mut(name);
        *names = Some(names.iter().flat_map(|numbers| numbers.iter()).copied().chain([number]).collect());
        self.file(number, selector, access);
        self.filed += 1;
        self.filed_bytes += selector_bytes(selector);
        access
    }

    fn drop_selector(&mut self, name: usize, number: u32, selector: &Selector, access: Option<TagHash>) {
        self.unfile(number, selector, access);
        let names = self.names.get_mut(name);
        let numbers = names.iter().flat_map(|numbers| numbers.iter()).copied();
        let left: Vec<u32> = numbers.filter(|&other| other != number).collect();
        *names = (!left.is_empty()).then(|| left.into());
        *self.selectors.get_mut(number as usize) = Slot::Free { next: self.free };
        self.free = Some(number);
        self.filed -= 1;
        self.filed_bytes -= selector_bytes(selector);
    }

    fn file(&mut self, number: u32, selector: &Selector, access: Option<TagHash>) {
        let Some(hash) = access else {
            return Arc::make_mut(&mut self.scan).insert(number, selector, None, &self.hasher);
        };
        let equality = self.access_tag(selector, hash);
        let group = self.buckets.get_mut(hash);
        if group.members_mut().push(number) {
            return;
        }
        let members = group.members_mut();
        if let Members::Few { .. } = members {
            let mut sieve = Sieve::default();
            for &number in members.few() {
                if let Some(Slot::Used(filed)) = self.selectors.get(number as usize) {
                    let equality = access_tag(&self.hasher, &filed.selector, hash);
                    sieve.insert(number, &filed.selector, equality, &self.hasher);
                }
            }
            *members = Members::Many(Arc::new(sieve));
        }
        if let Members::Many(sieve) = members {
            Arc::make_mut(sieve).insert(number, selector, equality, &self.hasher);
        }
    }

    fn unfile(&mut self, number: u32, selector: &Selector, access: Option<TagHash>) {
        let Some(hash) = access else {
            return Arc::make_mut(&mut self.scan).remove(number, selector, None, &self.hasher);
        };
        let equality = self.access_tag(selector, hash);
        let group = self.buckets.get_mut(hash);
        match group.members_mut() {
            members @ Members::Few { .. } => members.pull(number),
            Members::Many(sieve) => {
                Arc::make_mut(sieve).remove(number, selector, equality, &self.hasher);
            }
        }
        if group.len() == 0 {
            self.buckets.remove(hash);
        }
    }

    /// Moves selectors out of a group that has doubled, to a tag of theirs under which fewer than
    /// half as many are filed. The inserts that made it double pay for that.
    fn rebalance(&mut self, crowded: TagHash) {
        let Some(group) = self.buckets.get(crowded) else { return };
        if group.len() < REBALANCE_MIN || !group.len().is_power_of_two() {
            return;
        }
        for number in group.numbers() {
            let Some(filed) = self.filed(number) else { continue };
            let selector = Arc::clone(&filed.selector);
            let size = |hash| self.buckets.get(hash).map_or(0, Group::len);
            let hashes = selector.equalities().map(|(key, value)| self.hasher.tag(key, value));
            let Some(best) = hashes.min_by_key(|&hash| size(hash)) else { continue };
            if size(best) >= size(crowded) / 2 {
                continue;
            }
            self.unfile(number, &selector, Some(crowded));
            self.file(number, &selector, Some(best));
            if let Slot::Used(filed) = self.selectors.get_mut(number as usize) {
                filed.access = Some(best);
            }
        }
    }

    fn access_tag<'a>(&self, selector: &'a Selector, access: TagHash) -> Option<(&'a str, &'a str)> {
        access_tag(&self.hasher, selector, access)
    }
}

/// The equality of a selector that has this hash.
fn access_tag<'a>(hasher: &TagHasher, selector: &'a Selector, access: TagHash) -> Option<(&'a str, &'a str)> {
    selector.equalities().find(|&(key, value)| hasher.tag(key, value) == access)
}

/// Bytes of a selector in one index: its own, a slot, a row, a name, and what allocations cost.
fn selector_bytes(selector: &Selector) -> usize {
    const FIXED: usize = 192;
    FIXED + selector.bytes()
}
