//! What this router wants: the union of its cores' interest, numbered and versioned for its peers.
//!
//! Changes gather until [`OwnInterest::publish`] makes a version of them. A selector that comes and goes in between is
//! never told to anyone; one that goes and comes back gets a new number, and its reader adds before it removes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use millrace_proto::Selector;
use millrace_proto::mesh::{Interest, InterestDigest, InterestEntry, InterestKind};

use super::Digest;
use crate::control::config::MESH_FRAME_BYTES;
use crate::message::CoreIndex;

/// Bytes that an entry takes in a frame beyond its text: tags, lengths and number.
const ENTRY_FRAMING_BYTES: usize = 24;
/// Bytes that a removed number takes in a frame, at most.
const REMOVED_BYTES: usize = 16;
/// Numbers of one list in a control frame: the decoder's bound.
const REMOVED_PER_FRAME_MAX: usize = 4096;

/// The interest of all cores of this router.
#[derive(Debug)]
pub(in crate::control) struct OwnInterest {
    held: HashMap<Arc<Selector>, Held, RandomState>,
    /// By number: what peers were told, at `version`.
    told: BTreeMap<u64, Arc<Selector>>,
    adding: BTreeMap<u64, Arc<Selector>>,
    removing: BTreeSet<u64>,
    next_number: u64,
    version: u64,
    digest: Digest,
}

#[derive(Debug)]
struct Held {
    number: u64,
    /// Cores that want it, sorted. Never empty.
    cores: Vec<CoreIndex>,
}

impl OwnInterest {
    /// No interest, at version 1. The seed is for memory only: it shows in no output.
    pub(in crate::control) fn new(seed: u64) -> Self {
        Self {
            held: HashMap::with_hasher(RandomState::with_seeds(seed, !seed, 0x6d69_6c6c, 0x7261_6365)),
            told: BTreeMap::new(),
            adding: BTreeMap::new(),
            removing: BTreeSet::new(),
            next_number: 1,
            version: 1,
            digest: Digest::default(),
        }
    }

    /// A core wants a selector. False when it already did.
    pub(in crate::control) fn add(&mut self, core: CoreIndex, selector: &Arc<Selector>) -> bool {
        if let Some(held) = self.held.get_mut(selector) {
            let Err(place) = held.cores.binary_search(&core) else { return false };
            held.cores.insert(place, core);
            return true;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.held.insert(Arc::clone(selector), Held { number, cores: vec![core] });
        self.adding.insert(number, Arc::clone(selector));
        true
    }

    /// A core no longer wants a selector. False when it did not.
    pub(in crate::control) fn remove(&mut self, core: CoreIndex, selector: &Arc<Selector>) -> bool {
        let Some(held) = self.held.get_mut(selector) else { return false };
        let Ok(place) = held.cores.binary_search(&core) else { return false };
        held.cores.remove(place);
        if held.cores.is_empty() {
            let number = held.number;
            self.held.remove(selector);
            if self.adding.remove(&number).is_none() {
                self.removing.insert(number);
            }
        }
        true
    }

    /// Version that peers were told.
    pub(in crate::control) const fn version(&self) -> u64 {
        self.version
    }

    /// Version that covers every change so far.
    pub(in crate::control) fn version_of_changes(&self) -> u64 {
        self.version + u64::from(self.is_changed())
    }

    /// Whether changes wait for a version.
    pub(in crate::control) fn is_changed(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Selectors that peers were told.
    pub(in crate::control) fn len(&self) -> usize {
        self.told.len()
    }

    /// Makes a version of the changes, if any; the frames bring a reader of the version before to it.
    pub(in crate::control) fn publish(&mut self) -> Vec<Interest> {
        if !self.is_changed() {
            return Vec::new();
        }
        let mut frames =
            Cutter::new(Interest { from: self.version, version: self.version + 1, ..Interest::default() });
        self.version += 1;
        for (number, selector) in std::mem::take(&mut self.adding) {
            self.digest.add(Digest::of_entry(InterestKind::Plain, selector.text()));
            frames.add(number, selector.text());
            self.told.insert(number, selector);
        }
        for number in std::mem::take(&mut self.removing) {
            if let Some(selector) = self.told.remove(&number) {
                self.digest.remove(Digest::of_entry(InterestKind::Plain, selector.text()));
                frames.remove(number);
            }
        }
        frames.finish()
    }

    /// Frames that bring any reader to the version that peers were told.
    pub(in crate::control) fn snapshot(&self) -> Vec<Interest> {
        let mut frames = Cutter::new(Interest { reset: true, version: self.version, ..Interest::default() });
        for (&number, selector) in &self.told {
            frames.add(number, selector.text());
        }
        frames.finish()
    }

    /// What a reader of the told version should hold.
    pub(in crate::control) fn digest(&self) -> InterestDigest {
        self.digest.frame(self.version)
    }

    /// Every pair of core and selector, in no order.
    pub(in crate::control) fn entries(&self) -> impl Iterator<Item = (CoreIndex, &Selector)> {
        self.held.iter().flat_map(|(selector, held)| held.cores.iter().map(move |&core| (core, &**selector)))
    }
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

    fn add(&mut self, number: u64, selector: &str) {
        self.room_for(selector.len() + ENTRY_FRAMING_BYTES);
        self.frame.add.push(InterestEntry {
            number,
            kind: InterestKind::Plain,
            selector: selector.to_owned(),
            ..InterestEntry::default()
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
        let mut own = OwnInterest::new(1);
        assert!(own.add(0, &selector("a=1")));
        assert!(!own.add(0, &selector("a=1")));
        assert!(own.add(1, &selector("a=1")));
        assert!(own.remove(0, &selector("a=1")));
        assert!(own.is_changed());
        assert!(own.remove(1, &selector("a=1")));
        assert!(!own.remove(1, &selector("a=1")));
        assert_eq!(own.publish(), Vec::new());
        assert_eq!(own.version(), 1);
    }

    #[test]
    fn only_the_first_and_the_last_core_make_a_version() {
        let mut own = OwnInterest::new(1);
        own.add(0, &selector("a=1"));
        assert_eq!(own.publish().len(), 1);
        own.add(1, &selector("a=1"));
        own.remove(0, &selector("a=1"));
        assert!(!own.is_changed());
        own.remove(1, &selector("a=1"));
        let frames = own.publish();
        assert_eq!((frames[0].from, frames[0].version, &frames[0].remove), (2, 3, &vec![1]));
        assert_eq!(own.digest(), InterestDigest { version: 3, count: 0, sum: 0 });
    }

    #[test]
    fn every_frame_of_a_large_version_fits_a_control_frame() {
        let mut own = OwnInterest::new(1);
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
                MeshFrame::Interest(frame.clone()).encode(&mut bytes);
                assert!(bytes.len() <= CONTROL_FRAME_BYTES_MAX);
                let (kind, body, _) =
                    millrace_proto::frame::split(&bytes, CONTROL_FRAME_BYTES_MAX).unwrap().unwrap();
                assert_eq!(MeshFrame::decode(kind, body).unwrap(), MeshFrame::Interest(frame.clone()));
            }
        }
        assert!(snapshot[0].reset && !snapshot[1].reset);
    }
}
