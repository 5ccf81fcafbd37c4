//! A spool and what it must know, over many lives.

use std::collections::BTreeSet;

use super::super::{Fate, MemoryStorage, Opened, Spool, SpoolConfig, SyncPolicy};
use super::{append, open, pending};

/// PCG would do; this is enough for tests and needs nothing.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What the application knows.
#[derive(Default)]
pub(super) struct Model {
    /// Appended, and told so.
    appended: BTreeSet<u64>,
    /// Final, and told so.
    finished: BTreeSet<u64>,
    /// Tried, outcome unknown, since the last start.
    in_doubt: BTreeSet<u64>,
    /// As of the last sync.
    synced_appended: BTreeSet<u64>,
    synced_finished: BTreeSet<u64>,
    /// One past every seq that may have been seen.
    given: u64,
}

impl Model {
    /// Does one thing; false when the process has ended.
    pub(super) fn act(
        &mut self,
        spool: &mut Spool<MemoryStorage>,
        storage: &MemoryStorage,
        random: &mut Random,
    ) -> bool {
        match random.below(20) {
            0..12 => {
                let seq = spool.seqs().end;
                let appended = append(spool);
                self.given = self.given.max(seq + 1);
                if storage.has_ended() {
                    self.in_doubt.insert(seq);
                } else {
                    appended.unwrap();
                    self.appended.insert(seq);
                }
            }
            12..18 => {
                let open: Vec<u64> = self.appended.difference(&self.finished).copied().collect();
                if let Some(at) = u64::try_from(open.len()).ok().filter(|&count| count > 0) {
                    // Mostly the oldest, now and then one in the middle.
                    let skip = if random.below(4) == 0 { random.below(at) } else { 0 };
                    let first = open[usize::try_from(skip).unwrap()];
                    let seqs = first..first + 1 + random.below(12);
                    let finished = spool.finish(seqs.clone());
                    let these = seqs.filter(|seq| self.appended.contains(seq));
                    if storage.has_ended() {
                        self.in_doubt.extend(these);
                    } else {
                        finished.unwrap();
                        self.finished.extend(these);
                    }
                }
            }
            _ => {
                let synced = spool.sync();
                if !storage.has_ended() && spool.sync_policy() != SyncPolicy::Never {
                    synced.unwrap();
                    self.synced_appended.clone_from(&self.appended);
                    self.synced_finished.clone_from(&self.finished);
                }
            }
        }
        !storage.has_ended()
    }

    /// Opens it again and compares; then takes what is there for what is known.
    pub(super) fn reopen(
        &mut self,
        storage: &MemoryStorage,
        config: SpoolConfig,
        power_lost: bool,
    ) -> (Spool<MemoryStorage>, Opened) {
        storage.restart(power_lost);
        let (mut spool, opened) = open(storage, config);
        let found: BTreeSet<u64> = pending(&mut spool).into_iter().collect();
        let (kept, ended) = if power_lost {
            (&self.synced_appended, &self.synced_finished)
        } else {
            (&self.appended, &self.finished)
        };
        for seq in kept.difference(&self.finished) {
            assert!(found.contains(seq) || self.in_doubt.contains(seq), "event {seq} is lost: {opened:?}");
        }
        for seq in ended {
            assert!(!found.contains(seq), "event {seq} was final and is back");
        }
        for seq in &found {
            let known = self.appended.contains(seq) || self.in_doubt.contains(seq);
            assert!(known, "event {seq} was never appended");
        }
        assert!(spool.seqs().end >= self.given || self.may_reuse(&spool), "seqs are given twice");
        if !power_lost {
            assert_eq!(opened.lost, [], "nothing is lost with a process");
            assert_eq!(opened.doubtful, None);
        }
        assert_eq!(spool.pending(), found.len() as u64);
        assert_eq!(spool.poll_gone(), None, "a start tells what is lost at once");
        let unreadable: u64 = opened.lost_events();
        assert!(spool.total(Fate::Unreadable) >= unreadable);
        self.given = spool.seqs().end;
        self.appended.clone_from(&found);
        self.finished.clear();
        self.in_doubt.clear();
        self.synced_appended = if spool.sync_policy() == SyncPolicy::Never { BTreeSet::new() } else { found };
        self.synced_finished.clear();
        (spool, opened)
    }

    /// The one seq that a process was about to give when it ended: nobody was told of it.
    fn may_reuse(&self, spool: &Spool<MemoryStorage>) -> bool {
        let next = spool.seqs().end;
        next + 1 == self.given && self.in_doubt.contains(&next)
    }
}
