//! The interest of this router: the union of its cores' interest, numbered and versioned for its
//! peers.
//!
//! Changes gather until [`OwnInterest::publish`] makes a version of them. A selector that comes and
//! goes in between is told to nobody; a publish is due all the same, because sessions wait for the
//! version that covers it, and only a publish finds that no version will. One that goes and comes
//! back gets a new number, and its reader adds before it removes.
//!
//! The told interest is bounded, because each peer holds it, too, and a lane has to carry it at
//! once when a link begins. Beyond the bound the interest is *coarse*: a selector that matches
//! everything stands for all, and one for the events of routers themselves. Events that nobody here
//! wants then cross the mesh, and none is missing. Below half of the bound the selectors are told
//! again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use millrace_proto::Selector;
use millrace_proto::mesh::{GroupMember, Interest, InterestDigest, InterestEntry, InterestKind, Literal};
use millrace_proto::selector::Membership;
use millrace_proto::tag::INTERNAL_KEY;

use super::digest::Digest;
use crate::control::config::MESH_FRAME_BYTES;
use crate::message::CoreIndex;

/// Bytes of an entry in a frame beside its text: tags, lengths and number.
const ENTRY_FRAMING_BYTES: usize = 24;
/// Bytes of a literal in a frame beside its own.
const LITERAL_FRAMING_BYTES: usize = 4;
/// Bytes that a member takes in a frame beyond its group's name.
const MEMBER_FRAMING_BYTES: usize = 32;
/// Bytes that a claim of a name takes in a frame beyond the name and its identity.
const CLAIM_FRAMING_BYTES: usize = 16;
/// Most bytes of a removed number in a frame.
const REMOVED_BYTES: usize = 16;
/// Most numbers of one list in a control frame: the decoder's bound.
const REMOVED_PER_FRAME_MAX: usize = 4096;

/// The interest of all cores of this router.
#[derive(Debug)]
pub(in crate::control) struct OwnInterest {
    held: HashMap<Arc<Selector>, Held, RandomState>,
    /// Entries that peers were told, by number, at `version`.
    told: BTreeMap<u64, Arc<Selector>>,
    adding: BTreeMap<u64, Arc<Selector>>,
    removing: BTreeSet<u64>,
    next_number: u64,
    version: u64,
    digest: Digest,
    /// The digest for peers that do not know literals.
    plain_digest: Digest,
    /// Bytes of all selectors in frames.
    held_bytes: usize,
    /// Whether one selector stands for all of them.
    coarse: bool,
    /// Whether there was anything to tell since the last publish. It stays when a change takes
    /// another one back, so that the version which covers changes never falls.
    changed: bool,
    told_max: usize,
    told_bytes_max: usize,
}

#[derive(Debug)]
struct Held {
    number: u64,
    /// Cores that want it, sorted; never empty.
    cores: Vec<CoreIndex>,
}

impl OwnInterest {
    /// No interest, at version 1. The seed is for hashing in memory only, and shows in no output.
    /// At most `told_max` selectors are told, which take at most `told_bytes_max` bytes in frames.
    pub(in crate::control) fn new(seed: u64, told_max: usize, told_bytes_max: usize) -> Self {
        Self {
            held: HashMap::with_hasher(RandomState::with_seeds(seed, !seed, 0x6d69_6c6c, 0x7261_6365)),
            told: BTreeMap::new(),
            adding: BTreeMap::new(),
            removing: BTreeSet::new(),
            next_number: 1,
            version: 1,
            digest: Digest::default(),
            plain_digest: Digest::default(),
            held_bytes: 0,
            coarse: false,
            changed: false,
            told_max,
            told_bytes_max,
        }
    }

    /// Adds a core that wants a selector. False when it is there already.
    pub(in crate::control) fn add(&mut self, core: CoreIndex, selector: &Arc<Selector>) -> bool {
        if let Some(held) = self.held.get_mut(selector) {
            let Err(place) = held.cores.binary_search(&core) else { return false };
            held.cores.insert(place, core);
            return true;
        }
        let number = self.new_number();
        self.held_bytes += bytes_in_frames(selector);
        self.held.insert(Arc::clone(selector), Held { number, cores: vec![core] });
        if !self.coarse || is_never_coarse(selector) {
            self.adding.insert(number, Arc::clone(selector));
        }
        self.changed |= self.has_news();
        true
    }

    /// Removes a core that wants a selector. False when it is not there.
    pub(in crate::control) fn remove(&mut self, core: CoreIndex, selector: &Arc<Selector>) -> bool {
        let Some(held) = self.held.get_mut(selector) else { return false };
        let Ok(place) = held.cores.binary_search(&core) else { return false };
        held.cores.remove(place);
        if held.cores.is_empty() {
            let number = held.number;
            self.held.remove(selector);
            self.held_bytes -= bytes_in_frames(selector);
            let is_told = !self.coarse || is_never_coarse(selector);
            if is_told && self.adding.remove(&number).is_none() {
                self.removing.insert(number);
            }
            self.changed |= self.has_news();
        }
        true
    }

    /// The version that peers were told.
    pub(in crate::control) const fn version(&self) -> u64 {
        self.version
    }

    /// The version that covers every change so far, should the next publish make one: otherwise the
    /// present one covers them. It never falls before that publish.
    pub(in crate::control) fn version_of_changes(&self) -> u64 {
        self.version + u64::from(self.changed)
    }

    /// Whether changes wait for a publish.
    pub(in crate::control) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether peers do not know something of what is held.
    fn has_news(&self) -> bool {
        (self.coarse && self.fits(2)) || !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Whether one selector stands for all.
    pub(in crate::control) const fn is_coarse(&self) -> bool {
        self.coarse
    }

    /// Whether `times` the selectors are within what may be told.
    fn fits(&self, times: usize) -> bool {
        self.held.len() <= self.told_max / times && self.held_bytes <= self.told_bytes_max / times
    }

    fn new_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// Selectors that peers were told.
    pub(in crate::control) fn len(&self) -> usize {
        self.told.len()
    }

    /// Makes a version of the changes, if there are any. Its frames bring a reader of the version
    /// before up to date.
    pub(in crate::control) fn publish(&mut self) -> Vec<Interest> {
        self.changed = false;
        if !self.has_news() {
            return Vec::new();
        }
        if self.coarse == self.fits(if self.coarse { 2 } else { 1 }) {
            return self.tell_anew();
        }
        let mut frames =
            Cutter::new(Interest { from: self.version, version: self.version + 1, ..Interest::default() });
        self.version += 1;
        for (number, selector) in std::mem::take(&mut self.adding) {
            self.digest.add(Digest::of_entry(kind(&selector), text(&selector)));
            self.plain_digest.add(Digest::of_entry(plain_kind(&selector), text(&selector)));
            frames.add(number, &selector);
            self.told.insert(number, selector);
        }
        for number in std::mem::take(&mut self.removing) {
            if let Some(selector) = self.told.remove(&number) {
                self.digest.remove(Digest::of_entry(kind(&selector), text(&selector)));
                self.plain_digest.remove(Digest::of_entry(plain_kind(&selector), text(&selector)));
                frames.remove(number);
            }
        }
        frames.finish()
    }

    /// Makes a version that replaces all selectors by one, or one by all.
    fn tell_anew(&mut self) -> Vec<Interest> {
        self.coarse = !self.coarse;
        self.version += 1;
        self.adding.clear();
        self.removing.clear();
        self.told = if self.coarse {
            // `*` does not match what routers tell each other.
            let texts = ["*", INTERNAL_KEY];
            let everything = texts.map(|text| Arc::new(Selector::parse(text).expect("both are selectors")));
            let everything = everything.map(|selector| (self.new_number(), selector));
            let members = self.held.iter().filter(|(selector, _)| is_never_coarse(selector));
            let members = members.map(|(selector, held)| (held.number, Arc::clone(selector)));
            members.chain(everything).collect()
        } else {
            self.held.iter().map(|(selector, held)| (held.number, Arc::clone(selector))).collect()
        };
        self.digest = Digest::default();
        self.plain_digest = Digest::default();
        for selector in self.told.values() {
            self.digest.add(Digest::of_entry(kind(selector), text(selector)));
            self.plain_digest.add(Digest::of_entry(plain_kind(selector), text(selector)));
        }
        self.snapshot()
    }

    /// Frames that bring any reader to the version that peers were told.
    pub(in crate::control) fn snapshot(&self) -> Vec<Interest> {
        let mut frames = Cutter::new(Interest { reset: true, version: self.version, ..Interest::default() });
        for (&number, selector) in &self.told {
            frames.add(number, selector);
        }
        frames.finish()
    }

    /// The digest of the told version for a reader that knows literals, or does not.
    pub(in crate::control) fn digest(&self, literals: bool) -> InterestDigest {
        if literals { self.digest } else { self.plain_digest }.frame(self.version)
    }

    /// Every pair of core and selector, in no order.
    pub(in crate::control) fn entries(&self) -> impl Iterator<Item = (CoreIndex, &Selector)> {
        self.held.iter().flat_map(|(selector, held)| held.cores.iter().map(move |&core| (core, &**selector)))
    }
}

/// The frames for a peer that does not know literals: they have the tags alone, so that it sends
/// all events that the tags select.
pub(in crate::control) fn without_literals(frames: &[Interest]) -> Vec<Interest> {
    let mut frames = frames.to_vec();
    let entries = frames.iter_mut().flat_map(|frame| &mut frame.add);
    for entry in entries.filter(|entry| entry.kind == InterestKind::Payload) {
        entry.kind = InterestKind::Plain;
        entry.literals.clear();
    }
    frames
}

fn kind(selector: &Selector) -> InterestKind {
    if selector.literals().is_some() { InterestKind::Payload } else { plain_kind(selector) }
}

/// The kind for a peer that does not know literals.
fn plain_kind(selector: &Selector) -> InterestKind {
    if selector.membership().is_some() {
        InterestKind::Group
    } else if selector.claim().is_some() {
        InterestKind::Name
    } else {
        InterestKind::Plain
    }
}

/// What stands in the entry for a selector: the name, where the interest is in what is addressed to
/// one.
fn text(selector: &Selector) -> &str {
    selector.claim().map_or_else(|| selector.text(), |claim| &claim.name)
}

/// Whether a selector is told whatever else is: it says where a member of a group is, or who holds
/// a name.
fn is_never_coarse(selector: &Selector) -> bool {
    selector.membership().is_some() || selector.claim().is_some()
}

/// A member as its interest tells it: with room for all that it may have.
fn member(membership: &Membership) -> GroupMember {
    GroupMember {
        group: membership.group.to_string(),
        member: membership.member.into(),
        level: membership.level.into(),
        room: membership.max_inflight,
        exclusive: membership.exclusive,
        ..GroupMember::default()
    }
}

fn bytes_in_frames(selector: &Selector) -> usize {
    let literals = selector.literals().into_iter().flat_map(|literals| literals.iter());
    let literals: usize = literals.map(|literal| literal.len() + LITERAL_FRAMING_BYTES).sum();
    let group = selector.membership().map_or(0, |member| member.group.len() + MEMBER_FRAMING_BYTES);
    let identity = selector.claim().map_or(0, |claim| claim.identity.len() + CLAIM_FRAMING_BYTES);
    text(selector).len() + literals + group + identity + ENTRY_FRAMING_BYTES
}

/// Cuts one version into frames.
struct Cutter {
    done: Vec<Interest>,
    frame: Interest,
    bytes: usize,
}

impl Cutter {
    fn new(frame: Interest) -> Self {
        Self { done: Vec::new(), frame, bytes: 0 }
    }

    fn add(&mut self, number: u64, selector: &Selector) {
        self.room_for(bytes_in_frames(selector));
        let literals = selector.literals().into_iter().flat_map(|literals| literals.iter());
        self.frame.add.push(InterestEntry {
            number,
            kind: kind(selector),
            selector: text(selector).to_owned(),
            generation: selector.claim().map_or(0, |claim| claim.generation),
            identity: selector.claim().map_or_else(String::new, |claim| claim.identity.to_string()),
            literals: literals.map(|literal| Literal(literal.to_vec())).collect(),
            member: selector.membership().map(|membership| member(membership)),
        });
    }

    fn remove(&mut self, number: u64) {
        self.room_for(if self.frame.remove.len() == REMOVED_PER_FRAME_MAX {
            usize::MAX
        } else {
            REMOVED_BYTES
        });
        self.frame.remove.push(number);
    }

    fn room_for(&mut self, bytes: usize) {
        if self.bytes > 0 && bytes > MESH_FRAME_BYTES.saturating_sub(self.bytes) {
            let next = Interest { version: self.frame.version, from: self.frame.from, ..Interest::default() };
            let mut full = std::mem::replace(&mut self.frame, next);
            full.more = true;
            self.done.push(full);
            self.bytes = 0;
        }
        self.bytes += bytes.min(MESH_FRAME_BYTES);
    }

    fn finish(mut self) -> Vec<Interest> {
        self.done.push(self.frame);
        self.done
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
    use millrace_proto::mesh::MeshFrame;

    use super::*;

    fn selector(text: &str) -> Arc<Selector> {
        Arc::new(Selector::parse(text).unwrap())
    }

    #[test]
    fn a_selector_that_comes_and_goes_between_versions_is_never_told() {
        let mut own = OwnInterest::new(1, 10_000, 100 << 20);
        assert!(own.add(0, &selector("a=1")));
        assert!(!own.add(0, &selector("a=1")));
        assert!(own.add(1, &selector("a=1")));
        assert!(own.remove(0, &selector("a=1")));
        assert!(own.is_changed());
        assert!(own.remove(1, &selector("a=1")));
        assert!(!own.remove(1, &selector("a=1")));
        assert_eq!((own.is_changed(), own.version_of_changes()), (true, 2), "a session waits for 2");
        assert_eq!(own.publish(), Vec::new());
        assert_eq!((own.is_changed(), own.version(), own.version_of_changes()), (false, 1, 1));
    }

    #[test]
    fn only_the_first_and_the_last_core_make_a_version() {
        let mut own = OwnInterest::new(1, 10_000, 100 << 20);
        own.add(0, &selector("a=1"));
        assert_eq!(own.publish().len(), 1);
        own.add(1, &selector("a=1"));
        own.remove(0, &selector("a=1"));
        assert!(!own.is_changed());
        own.remove(1, &selector("a=1"));
        let frames = own.publish();
        assert_eq!((frames[0].from, frames[0].version, &frames[0].remove), (2, 3, &vec![1]));
        assert_eq!(own.digest(true), InterestDigest { version: 3, count: 0, sum: 0 });
    }

    #[test]
    fn more_than_may_be_told_is_told_as_everything_until_half_of_it_is_left() {
        let mut own = OwnInterest::new(1, 4, 100 << 20);
        let all: Vec<_> = (0..5).map(|n| selector(&format!("a={n}"))).collect();
        assert!(all[..4].iter().all(|one| own.add(0, one)));
        assert_eq!((own.publish()[0].add.len(), own.is_coarse()), (4, false));
        own.add(0, &all[4]);
        let frames = own.publish();
        assert!(frames[0].reset && own.is_coarse());
        let told: Vec<_> = frames[0].add.iter().map(|entry| entry.selector.as_str()).collect();
        assert_eq!((frames.len(), frames[0].version, told), (1, 3, vec!["*", INTERNAL_KEY]));
        assert_eq!(own.digest(true).count, 2);
        own.remove(0, &all[0]);
        own.remove(0, &all[1]);
        assert_eq!(own.publish(), Vec::new(), "what comes and goes is not told");
        own.remove(0, &all[2]);
        let frames = own.publish();
        let told: Vec<_> = frames[0].add.iter().map(|entry| entry.selector.as_str()).collect();
        assert_eq!((frames[0].reset, frames[0].version, told), (true, 4, vec!["a=3", "a=4"]));
        own.remove(0, &all[3]);
        assert_eq!(own.publish()[0].remove.len(), 1);
    }

    #[test]
    fn literals_are_told_to_who_knows_them() {
        let mut own = OwnInterest::new(1, 10_000, 100 << 20);
        let one = |text: &str| Arc::new(Selector::parse(text).unwrap().interest());
        own.add(0, &one("a=1,payload ~ /RAID STATUS/"));
        own.add(0, &one("a=1,payload ~ /disk failed/"));
        own.add(1, &one("a=1"));
        let frames = own.publish();
        let kinds: Vec<_> = frames[0].add.iter().map(|entry| (entry.kind, entry.literals.len())).collect();
        assert_eq!(kinds, [(InterestKind::Payload, 1), (InterestKind::Payload, 1), (InterestKind::Plain, 0)]);
        assert_eq!(own.snapshot()[0].add, frames[0].add);
        let plain = without_literals(&frames);
        assert!(plain[0].add.iter().all(|entry| *entry
            == InterestEntry { number: entry.number, selector: "a=1".into(), ..InterestEntry::default() }));
        assert_ne!(own.digest(true), own.digest(false));
        own.remove(0, &one("a=1,payload ~ /RAID STATUS/"));
        own.remove(0, &one("a=1,payload ~ /disk failed/"));
        assert_eq!(own.publish()[0].remove.len(), 2);
        assert_eq!(own.digest(true), own.digest(false));
    }

    #[test]
    fn bytes_bound_what_is_told_as_well() {
        let mut own = OwnInterest::new(1, 100, 1000);
        for n in 0..3 {
            own.add(0, &selector(&format!("k{n}={}", "v".repeat(400))));
        }
        own.publish();
        assert!(own.is_coarse());
    }

    #[test]
    fn every_frame_of_a_large_version_fits_a_control_frame() {
        let mut own = OwnInterest::new(1, 10_000, 100 << 20);
        let all: Vec<_> = (0..9000).map(|n| selector(&format!("k{n}={}", "v".repeat(1 + n % 900)))).collect();
        for one in &all {
            own.add(0, one);
        }
        let added = own.publish();
        let snapshot = own.snapshot();
        for one in &all {
            own.remove(0, one);
        }
        let removed = own.publish();
        for frames in [&added, &snapshot, &removed] {
            assert!(frames.len() > 1);
            for (place, frame) in frames.iter().enumerate() {
                assert_eq!(frame.more, place + 1 < frames.len());
                let mut bytes = Vec::new();
                MeshFrame::from(frame.clone()).encode(&mut bytes);
                assert!(bytes.len() <= CONTROL_FRAME_BYTES_MAX);
                let (kind, body, _) =
                    millrace_proto::frame::split(&bytes, CONTROL_FRAME_BYTES_MAX).unwrap().unwrap();
                assert_eq!(MeshFrame::decode(kind, body).unwrap(), MeshFrame::from(frame.clone()));
            }
        }
        assert!(snapshot[0].reset && !snapshot[1].reset);
    }
}
