//! Processes and hosts that end within any write.

use super::super::{Compression, MemoryStorage, SyncPolicy};
use super::model::{Model, Random};
use super::{PLENTY, open, small};

/// Runs a seeded sequence until the process ends within the `step`th change, and goes on for some
/// lives more, which compress what they write or leave it as it is by turns. Whether the sequence
/// is that long.
fn check(seed: u64, step: u64, lives: u64, power_lost: bool, sync: SyncPolicy) -> bool {
    // By the seed's third bit, because its first one says whether power is lost.
    let first = if seed & 4 == 0 { Compression::None } else { Compression::Zstd };
    check_from(first, seed, step, lives, power_lost, sync)
}

fn check_from(
    first: Compression,
    seed: u64,
    step: u64,
    lives: u64,
    power_lost: bool,
    sync: SyncPolicy,
) -> bool {
    let mut config = super::SpoolConfig { sync, compression: first, ..small() };
    let storage = MemoryStorage::new(PLENTY, seed ^ step);
    let (mut random, mut model) = (Random(seed), Model::default());
    let (mut spool, _) = open(&storage, config.clone());
    storage.end_after(step);
    let mut reached = false;
    for life in 0..lives {
        for _ in 0..120 {
            if !model.act(&mut spool, &storage, &mut random) {
                reached |= life == 0;
                break;
            }
        }
        drop(spool);
        config.compression = match config.compression {
            Compression::None => Compression::Zstd,
            _ => Compression::None,
        };
        spool = model.reopen(&storage, config.clone(), power_lost && life % 3 < 2).0;
        storage.end_after(1 + random.below(600));
    }
    reached
}

#[test]
fn a_process_may_end_within_any_write() {
    for first in [Compression::None, Compression::Zstd] {
        for step in 1.. {
            if !check_from(first, 3, step, 1, false, SyncPolicy::default()) {
                assert!(step > 300, "the sequence is long enough to mean something: {step}");
                break;
            }
        }
    }
}

#[test]
fn a_host_may_end_within_any_write() {
    for first in [Compression::None, Compression::Zstd] {
        for step in (1..).step_by(4) {
            if !check_from(first, 4, step, 2, true, SyncPolicy::default()) {
                break;
            }
        }
    }
}

#[test]
fn seeds_agree_with_the_model() {
    for seed in 0..40 {
        let step = 1 + seed * 37 % 500;
        check(seed, step, 4, seed % 2 == 0, SyncPolicy::EachBatch);
        check(seed, step, 4, false, SyncPolicy::Never);
    }
}

#[test]
fn no_seq_is_given_twice_whatever_a_power_loss_takes_of_what_is_never_synced() {
    for seed in 0..60 {
        check(seed, 1 + seed * 37 % 500, 4, true, SyncPolicy::Never);
    }
}

#[test]
fn what_was_closed_in_order_is_no_word_on_a_later_life_that_is_never_synced() {
    let config = super::SpoolConfig { sync: SyncPolicy::Never, ..small() };
    for seed in 0..40 {
        let storage = MemoryStorage::new(PLENTY, seed);
        let (mut spool, _) = open(&storage, config.clone());
        super::append(&mut spool).unwrap();
        spool.close().unwrap();
        let (mut spool, _) = open(&storage, config.clone());
        let given = super::append(&mut spool).unwrap();
        drop(spool);
        storage.restart(true);
        let (mut spool, opened) = open(&storage, config.clone());
        assert!(super::append(&mut spool).unwrap() > given, "{opened:?}");
    }
}

#[test]
fn the_making_of_a_spool_may_end_anywhere() {
    for (step, power_lost) in (1..60).flat_map(|step| [(step, false), (step, true)]) {
        let storage = MemoryStorage::new(PLENTY, step);
        storage.end_after(step);
        let made = super::Spool::open(storage.clone(), small(), super::identity());
        assert!(made.is_ok() || storage.has_ended());
        drop(made);
        storage.restart(power_lost);
        let (mut spool, opened) = open(&storage, small());
        assert_eq!(opened.lost, []);
        super::append(&mut spool).unwrap();
        assert_eq!(super::pending(&mut spool).len(), 1);
    }
}

#[test]
fn with_each_batch_nothing_is_sent_before_it_is_synced() {
    let config = super::SpoolConfig { sync: SyncPolicy::EachBatch, ..small() };
    let (mut spool, _) = open(&MemoryStorage::new(PLENTY, 1), config);
    super::append(&mut spool).unwrap();
    assert_eq!(super::pending(&mut spool), [], "not on disk");
    let mut order = spool.begin_sync().unwrap().unwrap();
    super::append(&mut spool).unwrap();
    order.run();
    spool.end_sync(order).unwrap();
    assert_eq!(super::pending(&mut spool), [0]);
    spool.sync().unwrap();
    assert_eq!(super::pending(&mut spool), [0, 1]);
}
