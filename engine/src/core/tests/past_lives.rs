//! Receivers that ask for the past of a router with history files: its lives come one after the
//! other, however slowly the files answer.

use std::sync::Arc;

use millrace_proto::control::{SourcePosition, Subscribe};
use millrace_proto::data::Source;
use millrace_proto::{Incarnation, RouterId, feature};

use super::replays::{Random, Said, asks, said, since};
use super::world::{World, tag_of};
use crate::core::CoreConfig;
use crate::history::files::Archive;
use crate::history::files::tests::{MemoryStorage, memory_archive};
use crate::history::{FromFiles, HistoryAnswer, ToFiles};
use crate::message::ToCore;
use crate::transport::ConnKey;

/// The time of day at which each life's clock is zero.
const BEGIN: u64 = 1_700_000_000_000_000_000;

/// A router of one core in one life, with its files.
struct Life {
    world: World,
    archive: Archive<MemoryStorage>,
    publisher: ConnKey,
}

impl Life {
    fn begin(storage: &MemoryStorage, life: u64) -> Self {
        let mut config = CoreConfig::new(RouterId(1), Incarnation(life), 0, 1);
        config.limits.kept.history.bytes = 1 << 20;
        config.features = config.features.with(feature::HISTORY);
        let mut world = World::with(config);
        world.core.path.positions.files.set_time_of_day(BEGIN + life * 1_000_000_000);
        let source = Source { router: RouterId(1), incarnation: Incarnation(life), owner: 0 };
        let mut archive = memory_archive(storage, source, BEGIN + life * 1_000_000_000);
        let past = Arc::new(archive.take_past().unwrap());
        tell(&mut world, FromFiles::Past(past));
        let publisher = world.client(1);
        Self { world, archive, publisher }
    }

    fn publish(&mut self, seqs: std::ops::Range<u64>) {
        for seq in seqs {
            self.world.publish(self.publisher, &tag_of(0, 1), seq, &["event"]);
        }
    }

    /// Hands one word to the files, and their answer back.
    fn serve_one(&mut self) -> bool {
        let Some(word) = self.world.core.next_to_files() else { return false };
        match word {
            ToFiles::Keep(block) => self.archive.keep(0, &block, BEGIN),
            ToFiles::End { next } => self.archive.end(0, next, BEGIN),
            ToFiles::Ask { asker, ask } => {
                let found = self.archive.find(&ask);
                let answer = Box::new(HistoryAnswer { id: ask.id, owner: ask.owner, found });
                tell(&mut self.world, FromFiles::Answer { asker, answer });
            }
        }
        true
    }

    fn serve(&mut self) {
        loop {
            (0..5).for_each(|_| self.world.settle());
            if !self.serve_one() {
                return;
            }
        }
    }

    fn end(mut self) {
        self.world.core.end_files();
        self.serve();
    }
}

fn tell(world: &mut World, word: FromFiles) {
    world.core.handle_message(world.now, &mut world.memory, ToCore::Files(Box::new(word)));
}

fn seqs(said: &[Said]) -> Vec<u64> {
    super::replays::seqs(said, 0)
}

fn gaps(said: &[Said]) -> Vec<usize> {
    said.iter()
        .enumerate()
        .filter(|(_, said)| matches!(said, Said::Gap("evicted")))
        .map(|(at, _)| at)
        .collect()
}

fn at(life: u64, position: u64) -> SourcePosition {
    SourcePosition { router: RouterId(1), incarnation: Incarnation(life), owner: 0, position }
}

fn behind(cursor: Vec<SourcePosition>) -> Subscribe {
    Subscribe { selectors: vec!["*".to_owned()], cursor, ..Subscribe::default() }
}

/// Three lives of ten runs each, and the last one.
fn third_life() -> Life {
    let storage = MemoryStorage::default();
    for life in 1..3 {
        let mut life_of = Life::begin(&storage, life);
        life_of.publish((life - 1) * 10..life * 10);
        life_of.end();
    }
    let mut last = Life::begin(&storage, 3);
    last.publish(20..30);
    last
}

#[test]
fn lives_come_one_after_the_other_and_live_runs_last() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut life = third_life();
        life.world.settle();
        let receiver = asks(&mut life.world, seed % 2, 1 << 20, since("*"));
        let mut next = 30;
        for _ in 0..60 {
            match random.below(3) {
                0 => {
                    life.publish(next..next + 1);
                    next += 1;
                }
                1 => drop(life.serve_one()),
                _ => life.world.turns(1),
            }
        }
        life.serve();
        life.publish(next..next + 5);
        life.serve();
        let said = said(&life.world, receiver);
        assert_eq!(seqs(&said), (0..next + 5).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(gaps(&said), [], "seed {seed}");
        let joined = said.iter().filter(|said| matches!(said, Said::Joined { .. })).count();
        assert_eq!(joined, 3, "seed {seed}");
    }
}

#[test]
fn a_cursor_of_any_life_goes_on_where_it_was() {
    for (cursor, expected) in [
        (at(1, 4), 4..30),
        (at(1, 10), 10..30),
        (at(2, 0), 10..30),
        (at(2, 7), 17..30),
        (at(3, 3), 23..30),
        // More than files have: what is behind it was never routed.
        (at(2, 99), 20..30),
    ] {
        let mut life = third_life();
        life.world.settle();
        let receiver = asks(&mut life.world, 0, 1 << 20, behind(vec![cursor.clone()]));
        life.serve();
        let said = said(&life.world, receiver);
        assert_eq!(seqs(&said), expected.collect::<Vec<_>>(), "{cursor:?}");
        assert_eq!(gaps(&said), [], "{cursor:?}");
    }
}

#[test]
fn a_cursor_of_a_life_that_is_gone_brings_a_gap_first_and_all_that_is_kept() {
    let mut life = third_life();
    life.world.settle();
    let receiver = asks(&mut life.world, 0, 1 << 20, behind(vec![at(9, 3)]));
    life.serve();
    let said = said(&life.world, receiver);
    assert_eq!(seqs(&said), (0..30).collect::<Vec<_>>());
    assert_eq!(gaps(&said), [1], "behind the begin of the first replay");
}

#[test]
fn a_life_that_was_killed_has_a_gap_for_what_it_may_have_lost() {
    let storage = MemoryStorage::default();
    let mut killed = Life::begin(&storage, 1);
    killed.publish(0..10);
    // A second passes: what was routed is handed over.
    killed.world.now = killed.world.now.after(1_100_000_000);
    killed.serve();
    killed.publish(10..12);
    drop(killed);
    for (subscribe, expected) in [(since("*"), 0..10), (behind(vec![at(1, 5)]), 5..10)] {
        let mut life = Life::begin(&storage, 2);
        life.publish(12..14);
        life.world.settle();
        let receiver = asks(&mut life.world, 0, 1 << 20, subscribe);
        life.serve();
        let said = said(&life.world, receiver);
        assert_eq!(seqs(&said), expected.chain(12..14).collect::<Vec<_>>());
        assert_eq!(gaps(&said), [1]);
    }
}

#[test]
fn without_files_nothing_is_handed_over() {
    let mut world = super::places::keeping(0, 1);
    let publisher = world.client(1);
    world.publish(publisher, &tag_of(0, 1), 0, &["event"]);
    world.now = world.now.after(1_100_000_000);
    world.settle();
    world.core.end_files();
    assert!(world.core.next_to_files().is_none());
}

#[test]
fn the_gap_of_a_life_that_was_killed_stands_before_the_lives_that_came_earlier() {
    let storage = MemoryStorage::default();
    let mut first = Life::begin(&storage, 1);
    first.publish(0..10);
    first.end();
    let mut killed = Life::begin(&storage, 2);
    killed.publish(10..20);
    killed.world.now = killed.world.now.after(1_100_000_000);
    killed.serve();
    drop(killed);
    let mut life = Life::begin(&storage, 3);
    life.publish(20..22);
    life.world.settle();
    let receiver = asks(&mut life.world, 0, 1 << 20, since("*"));
    life.serve();
    let said = said(&life.world, receiver);
    assert_eq!(seqs(&said), (0..22).collect::<Vec<_>>());
    assert_eq!(gaps(&said), [1]);
}

#[test]
fn a_cursor_of_a_life_that_kept_nothing_brings_nothing_again_of_the_lives_before_it() {
    for ends_in_order in [true, false] {
        let storage = MemoryStorage::default();
        let mut first = Life::begin(&storage, 1);
        first.publish(0..10);
        first.end();
        let quiet = Life::begin(&storage, 2);
        if ends_in_order {
            quiet.end();
        }
        let mut life = Life::begin(&storage, 3);
        life.publish(10..12);
        life.world.settle();
        let receiver = asks(&mut life.world, 0, 1 << 20, behind(vec![at(2, 0)]));
        life.serve();
        let said = said(&life.world, receiver);
        assert_eq!(seqs(&said), [10, 11]);
        // One that was killed may have lost what it had not handed over.
        assert_eq!(gaps(&said).len(), usize::from(!ends_in_order));
    }
}
