//! The interest of one peer: the entries that it told, at a version, and their selectors in the
//! directory.
//!
//! A version counts when its last frame has arrived; until then its frames are gathered. A snapshot
//! replaces what is held by difference. Additions are applied before removals, so that a selector
//! that is wanted throughout is never missing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use millrace_proto::Selector;
use millrace_proto::limits::{GROUP_LEVEL_MAX, NAME_BYTES_MAX};
use millrace_proto::mesh::{GroupMember, Interest, InterestDigest, InterestEntry, InterestKind};
use millrace_proto::selector::{Claim, Literals, Membership};

use super::digest::{Digest, SUM_MASK};
use crate::control::directory::Directory;
use crate::groups::MEMBER_NUMBERS;
use crate::matching::Location;

/// The interest of one peer.
#[derive(Debug)]
pub(in crate::control) struct Advertised {
    entries: BTreeMap<u64, Entry>,
    /// How many entries name a selector: the directory has it once.
    references: HashMap<Arc<Selector>, u32, RandomState>,
    digest: Digest,
    version: u64,
    gathering: Option<Gathering>,
    /// Whether only a snapshot helps: the first one of a link, or one that repairs a defect.
    needs_snapshot: bool,
}

#[derive(Debug)]
struct Entry {
    /// None for an entry that cannot be read, or whose kind this version does not serve.
    selector: Option<Arc<Selector>>,
    digest: u64,
}

/// A version whose last frame has not arrived.
#[derive(Debug)]
struct Gathering {
    version: u64,
    snapshot: bool,
    add: Vec<InterestEntry>,
    remove: Vec<u64>,
}

/// The effect of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Step {
    /// None: more frames of its version follow, or it was skipped because a snapshot is awaited.
    Nothing,
    /// Its version is in the directory that is published next.
    Applied {
        /// Whether it was a snapshot.
        snapshot: bool,
        /// Entries that were ignored.
        refused: u64,
    },
    /// It does not follow the version that is held, and nothing was applied. Ask for a snapshot.
    OutOfOrder,
    /// It exceeds what a peer may tell, and nothing was applied.
    Overflow,
}

impl Advertised {
    /// No interest. The seed is for hashing in memory only.
    pub(in crate::control) fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            references: HashMap::with_hasher(RandomState::with_seeds(seed, !seed, 0x7065_6572, 0x696e_7472)),
            digest: Digest::default(),
            version: 0,
            gathering: None,
            needs_snapshot: true,
        }
    }

    pub(in crate::control) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The version that is held; 0 before the first.
    pub(in crate::control) const fn version(&self) -> u64 {
        self.version
    }

    /// Begins a new link: its first version must be a snapshot. The entries stay until it comes.
    pub(in crate::control) fn relink(&mut self) {
        self.gathering = None;
        self.needs_snapshot = true;
    }

    /// Forgets all entries, in the directory as well.
    pub(in crate::control) fn clear(&mut self, directory: &mut Directory, location: Location) {
        for entry in std::mem::take(&mut self.entries).into_values() {
            self.unrefer(&entry, directory, location);
        }
        self.digest = Digest::default();
        self.version = 0;
        self.relink();
    }

    /// Takes a frame. `entries_max` bounds the entries that are held, and those that are gathered.
    pub(in crate::control) fn take(
        &mut self,
        frame: Interest,
        entries_max: usize,
        directory: &mut Directory,
        location: Location,
    ) -> Step {
        let more = frame.more;
        if frame.reset {
            self.gathering = Some(Gathering {
                version: frame.version,
                snapshot: true,
                add: frame.add,
                remove: Vec::new(),
            });
        } else if let Some(gathering) = &mut self.gathering {
            if gathering.version != frame.version {
                return self.out_of_order();
            }
            gathering.add.extend(frame.add);
            gathering.remove.extend(frame.remove);
        } else if self.needs_snapshot {
            return Step::Nothing;
        } else if frame.from != self.version || frame.version <= self.version {
            return self.out_of_order();
        } else {
            self.gathering = Some(Gathering {
                version: frame.version,
                snapshot: false,
                add: frame.add,
                remove: frame.remove,
            });
        }
        let base = if frame.reset { 0 } else { self.entries.len() };
        let overflows = self.gathering.as_ref().is_some_and(|gathering| {
            let base = if gathering.snapshot { 0 } else { base };
            base + gathering.add.len() > entries_max || gathering.remove.len() > entries_max
        });
        if overflows {
            self.gathering = None;
            self.needs_snapshot = true;
            return Step::Overflow;
        }
        if more {
            return Step::Nothing;
        }
        let Some(gathering) = self.gathering.take() else { return Step::Nothing };
        self.apply(gathering, directory, location)
    }

    fn out_of_order(&mut self) -> Step {
        self.relink();
        Step::OutOfOrder
    }

    fn apply(&mut self, gathered: Gathering, directory: &mut Directory, location: Location) -> Step {
        let before = if gathered.snapshot { std::mem::take(&mut self.entries) } else { BTreeMap::new() };
        if gathered.snapshot {
            self.digest = Digest::default();
            self.needs_snapshot = false;
        }
        let mut refused = 0;
        for told in gathered.add {
            let entry = read(&told);
            refused += u64::from(entry.selector.is_none());
            self.digest.add(entry.digest);
            self.refer(&entry, directory, location);
            if let Some(replaced) = self.entries.insert(told.number, entry) {
                self.digest.remove(replaced.digest);
                self.unrefer(&replaced, directory, location);
            }
        }
        for number in gathered.remove {
            if let Some(removed) = self.entries.remove(&number) {
                self.digest.remove(removed.digest);
                self.unrefer(&removed, directory, location);
            }
        }
        for entry in before.values() {
            self.unrefer(entry, directory, location);
        }
        self.version = gathered.version;
        Step::Applied { snapshot: gathered.snapshot, refused }
    }

    fn refer(&mut self, entry: &Entry, directory: &mut Directory, location: Location) {
        let Some(selector) = &entry.selector else { return };
        let count = self.references.entry(Arc::clone(selector)).or_insert(0);
        *count += 1;
        if *count == 1 {
            directory.insert(selector, location);
        }
    }

    fn unrefer(&mut self, entry: &Entry, directory: &mut Directory, location: Location) {
        let Some(selector) = &entry.selector else { return };
        let Some(count) = self.references.get_mut(selector) else { return };
        *count -= 1;
        if *count == 0 {
            self.references.remove(selector);
            directory.remove(selector, location);
        }
    }

    /// Whether the entries agree with the peer's digest; `None` before the first snapshot of this
    /// link. A digest of another version does not agree, because on an ordered stream it means that
    /// a version is missing.
    pub(in crate::control) fn agrees(&mut self, digest: &InterestDigest) -> Option<bool> {
        if self.needs_snapshot || self.gathering.is_some() {
            return None;
        }
        let agrees = *digest == self.digest.frame(self.version);
        debug_assert!(digest.sum <= SUM_MASK, "a varint holds no more");
        self.needs_snapshot = !agrees;
        Some(agrees)
    }

    /// The selectors in the directory, in no order.
    pub(in crate::control) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.references.keys().map(|selector| &**selector)
    }
}

/// Reads an entry. Payload interest whose literals are no good filter is read without them: a
/// superset, which costs bandwidth but no event.
fn read(told: &InterestEntry) -> Entry {
    let literals = match told.kind {
        InterestKind::Payload => Literals::new(told.literals.iter().map(|literal| &*literal.0)),
        _ => None,
    };
    let selector = match told.kind {
        InterestKind::Plain | InterestKind::Payload => Selector::parse(&told.selector).ok(),
        InterestKind::Group => member_interest(told),
        InterestKind::Name => name_interest(told),
        _ => None,
    };
    Entry {
        selector: selector.map(|selector| {
            if selector.membership().is_some() || selector.claim().is_some() {
                return Arc::new(selector);
            }
            let bare = if selector.patterns().is_empty() { selector } else { selector.without_payload() };
            Arc::new(bare.with_literals(literals))
        }),
        digest: Digest::of_entry(told.kind, &told.selector),
    }
}

/// What is addressed to the name of a receiver at the peer.
fn name_interest(told: &InterestEntry) -> Option<Selector> {
    let claim = Claim {
        name: told.selector.as_str().into(),
        generation: told.generation,
        identity: told.identity.as_str().into(),
    };
    Selector::of_claim(Arc::new(claim)).ok()
}

/// What a member of a group at the peer wants.
fn member_interest(told: &InterestEntry) -> Option<Selector> {
    let GroupMember { group, member, level, room, exclusive, .. } = told.member.as_ref()?;
    let member = u32::try_from(*member).ok().filter(|&member| member < MEMBER_NUMBERS)?;
    let level =
        u8::try_from(*level).ok().filter(|level| (1..=GROUP_LEVEL_MAX).contains(&u32::from(*level)))?;
    if group.is_empty() || group.len() > NAME_BYTES_MAX {
        return None;
    }
    let membership = Membership {
        group: group.as_str().into(),
        member,
        level,
        exclusive: *exclusive,
        max_inflight: *room,
    };
    let selector = Selector::parse(&told.selector).ok().filter(|selector| selector.patterns().is_empty())?;
    Some(selector.for_member(Arc::new(membership)))
}
