//! What is known of one receiver's session beside its stream: whose it is, and how its application
//! acknowledges.

use std::collections::BTreeMap;

/// One session of a receiver. Times are in ns.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// Whose session it is: one receiver has one session after the other.
    pub owner: u32,
    /// Whether it can acknowledge.
    pub acknowledges: bool,
    /// When its application was slow to acknowledge, or stood still: from, and until if that ended.
    stalls: Vec<(u64, Option<u64>)>,
    /// When its path took less than there was for it: from, until.
    crowded: Vec<(u64, u64)>,
    /// When each event was acknowledged first, and how often it was in all.
    acknowledged: BTreeMap<(u32, u64), (u64, u64)>,
    /// Whether it asks for the past: then its receiver is judged over all its sessions, by the
    /// checker of history.
    pub reads_past: bool,
    /// Whether publishers with a level wait for it as long as it takes.
    pub blocks: bool,
    /// Whether it has moved from one router to another: for a while it was at both.
    pub(super) has_moved: bool,
}

impl Session {
    /// A session of `owner` that begins.
    #[must_use]
    pub fn new(owner: u32, acknowledges: bool) -> Self {
        Self { owner, acknowledges, ..Self::default() }
    }

    pub(super) fn stall(&mut self, at: u64) {
        if self.stalls.last().is_none_or(|(_, until)| until.is_some()) {
            self.stalls.push((at, None));
        }
    }

    pub(super) fn go_on(&mut self, at: u64) {
        if let Some((_, until)) = self.stalls.last_mut() {
            until.get_or_insert(at);
        }
    }

    /// Its path was full from then on until now; said again and again while it is.
    pub(super) fn crowd(&mut self, from: u64, until: u64) {
        match self.crowded.last_mut() {
            Some((began, ended)) if *began == from => *ended = until,
            _ => self.crowded.push((from, until)),
        }
    }

    /// Whether it was slow, or its path, at any time between.
    pub(super) fn is_stalled(&self, from: u64, until: u64) -> bool {
        self.stalls.iter().any(|&(began, ended)| began <= until && ended.is_none_or(|ended| from <= ended))
            || self.crowded.iter().any(|&(began, ended)| began <= until && from <= ended)
    }

    pub(super) fn acknowledge(&mut self, emitter: u32, n: u64, at: u64) {
        self.acknowledged.entry((emitter, n)).or_insert((at, 0)).1 += 1;
    }

    /// When it has acknowledged an event.
    pub(super) fn acknowledged(&self, emitter: u32, n: u64) -> Option<u64> {
        self.acknowledged.get(&(emitter, n)).map(|&(at, _)| at)
    }

    /// How often routers may count it as a receiver that has acknowledged an event: where it reads
    /// the past, once for each of its two subscriptions, of which one may have it live and one with
    /// its replay.
    pub(super) fn counts(&self, emitter: u32, n: u64) -> u64 {
        let times = self.acknowledged.get(&(emitter, n)).map_or(0, |&(_, times)| times);
        if self.has_moved || self.reads_past { times.min(2) } else { times.min(1) }
    }
}
