//! Disks that rot.

use std::collections::BTreeSet;
use std::ops::Range;

use millrace_proto::Epoch;

use super::super::{Fate, Identity, MemoryStorage, Opened, Spool, SpoolConfig, Storage};
use super::model::Random;
use super::{PLENTY, append, identity, open, packs, payload, pending, small};

/// What was noted as final last.
const LAST_NOTE: Range<u64> = 700..750;

/// The files of a spool with several segments, and the seqs that are pending.
fn spooled(config: SpoolConfig) -> (Vec<(String, Vec<u8>)>, BTreeSet<u64>) {
    let storage = MemoryStorage::new(PLENTY, 1);
    let (mut spool, _) = open(&storage, config);
    for _ in 0..1500 {
        append(&mut spool).unwrap();
    }
    spool.finish(0..100).unwrap();
    spool.finish(LAST_NOTE).unwrap();
    spool.sync().unwrap();
    drop(spool);
    (files(&storage), (100..700).chain(750..1500).collect())
}

fn files(storage: &MemoryStorage) -> Vec<(String, Vec<u8>)> {
    let listed = storage.list().unwrap();
    listed
        .into_iter()
        .map(|file| (file.name.clone(), storage.head(&file.name, usize::MAX).unwrap()))
        .collect()
}

fn filled(files: &[(String, Vec<u8>)]) -> MemoryStorage {
    let storage = MemoryStorage::new(PLENTY, 1);
    files.iter().for_each(|(name, bytes)| storage.put(name, bytes));
    storage
}

/// Opens what is damaged. All that is pending is read, or named as lost.
fn check(storage: &MemoryStorage, expected: &BTreeSet<u64>, what: &str) -> (Spool<MemoryStorage>, Opened) {
    let (mut spool, opened) = Spool::open(storage.clone(), small(), identity()).unwrap();
    let mut found = BTreeSet::new();
    spool
        .visit(0, |record| {
            assert_eq!(record.payload, payload(record.seq), "{what}: what is read is what was written");
            found.insert(record.seq)
        })
        .unwrap();
    let mut named: BTreeSet<u64> = opened.lost.iter().cloned().flatten().collect();
    while let Some(gone) = spool.poll_gone() {
        assert_eq!(gone.fate, Fate::Unreadable);
        named.extend(gone.seqs);
    }
    let certain = named.len() as u64;
    named.extend(opened.doubtful.clone().into_iter().flatten());
    for seq in expected.difference(&found) {
        assert!(named.contains(seq), "{what}: event {seq} is lost and not named: {opened:?}");
    }
    for seq in found.difference(expected) {
        // A last note that is damaged and one that was torn look alike.
        let is_last_note = LAST_NOTE.contains(seq);
        let told = opened.journal_lost || opened.notes_lost > 0 || is_last_note;
        assert!(told, "{what}: event {seq} was final: {opened:?}");
    }
    assert!(spool.total(Fate::Unreadable) >= certain, "{what}: counted");
    assert_eq!(spool.pending(), found.len() as u64, "{what}");
    assert!(spool.seqs().end >= 1500, "{what}: no seq is given twice");
    (spool, opened)
}

#[test]
fn a_thousand_flipped_bits_are_survived_and_told() {
    flip_a_thousand(small());
}

#[test]
fn a_thousand_flipped_bits_of_compressed_records_are_survived_and_told() {
    flip_a_thousand(packs());
}

fn flip_a_thousand(config: SpoolConfig) {
    let (files, expected) = spooled(config);
    let mut random = Random(11);
    let mut told = 0;
    for round in 0..1000 {
        let storage = filled(&files);
        let (name, bytes) = &files[usize::try_from(random.below(files.len() as u64)).unwrap()];
        // Half of them where there is something.
        let used = if random.below(2) == 0 { bytes.len() } else { 4096 };
        let bit = usize::try_from(random.below(used as u64 * 8)).unwrap();
        assert!(storage.flip(name, bit));
        let (mut spool, opened) = check(&storage, &expected, &format!("round {round}, {name}, bit {bit}"));
        told += u64::from(opened != Opened::default() || spool.total(Fate::Unreadable) > 0);
        // It is of use afterwards.
        let seq = append(&mut spool).unwrap();
        spool.sync().unwrap();
        drop(spool);
        let (mut spool, again) = open(&storage, small());
        assert_eq!(again.lost, [], "round {round}: told once");
        assert_eq!(pending(&mut spool).last(), Some(&seq));
    }
    assert!(told > 20, "flips hit something: {told}");
}

#[test]
fn many_flipped_bits_at_once_are_survived() {
    for config in [small(), packs()] {
        flip_many(config);
    }
}

fn flip_many(config: SpoolConfig) {
    let (files, expected) = spooled(config);
    let mut random = Random(12);
    for round in 0..50 {
        let storage = filled(&files);
        for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
            for _ in 0..20 {
                assert!(storage.flip(name, usize::try_from(random.below(bytes.len() as u64 * 8)).unwrap()));
            }
        }
        check(&storage, &expected, &format!("round {round}"));
    }
}

#[test]
fn files_of_any_bytes_are_survived() {
    for config in [small(), packs()] {
        take_any_bytes(config);
    }
}

fn take_any_bytes(config: SpoolConfig) {
    let (files, _) = spooled(config);
    let mut random = Random(13);
    for round in 0..60 {
        let storage = MemoryStorage::new(PLENTY, round);
        for (name, bytes) in &files {
            let mut bytes = bytes.clone();
            match random.below(4) {
                0 => bytes.truncate(usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap()),
                1 => bytes.iter_mut().for_each(|byte| *byte = u8::try_from(random.below(256)).unwrap()),
                2 => bytes.fill(0xff),
                _ => {}
            }
            storage.put(name, &bytes);
        }
        let (mut spool, _) = Spool::open(storage.clone(), small(), identity()).unwrap();
        spool.visit(0, |_| true).unwrap();
        append(&mut spool).unwrap();
        spool.close().unwrap();
        open(&storage, small());
    }
}

#[test]
fn a_segment_that_is_none_is_set_aside_and_the_rest_is_sent() {
    for config in [small(), packs()] {
        set_one_aside(config);
    }
}

fn set_one_aside(config: SpoolConfig) {
    let (files, expected) = spooled(config);
    let storage = filled(&files);
    let middle = files.iter().filter(|(name, _)| name.ends_with(".seg")).nth(2).unwrap();
    assert!(storage.flip(&middle.0, 9));
    let (spool, opened) = check(&storage, &expected, "header");
    assert_eq!(opened.set_aside.len(), 1);
    assert_eq!(opened.set_aside[0].name, middle.0);
    assert!(opened.lost_events() > 50, "all of its events are named: {opened:?}");
    let names: Vec<_> = storage.list().unwrap().into_iter().map(|file| file.name).collect();
    assert!(names.contains(&format!("{}.bad", middle.0)), "{names:?}");
    drop(spool);
    let (_, again) = open(&storage, small());
    assert_eq!(again.set_aside, [], "named once");
}

#[test]
fn a_lost_identity_is_told_and_events_are_kept() {
    let (files, expected) = spooled(small());
    let storage = filled(&files);
    for bit in [100, 2048 * 8 + 100] {
        assert!(storage.flip("publisher", bit));
    }
    let (spool, opened) = check(&storage, &expected, "identity");
    assert!(opened.identity_lost);
    assert_eq!(spool.pending(), expected.len() as u64);
}

#[test]
fn a_last_segment_that_was_cut_is_damaged_and_its_seqs_are_not_given_again() {
    let (files, expected) = spooled(small());
    let storage = filled(&files);
    let last = files.iter().rfind(|(name, _)| name.ends_with(".seg")).unwrap();
    storage.put(&last.0, &[]);
    let (_, opened) = check(&storage, &expected, "cut");
    assert_eq!(opened.set_aside.len(), 1);
    assert!(opened.doubtful.is_some());
}

#[test]
fn a_publisher_of_whom_nobody_knows_which_seqs_were_given_is_somebody_new() {
    let (files, _) = spooled(small());
    let storage = filled(&files);
    let mut folder = storage.clone();
    for (name, _) in files.iter().filter(|(name, _)| name != "publisher") {
        folder.remove(name).unwrap();
    }
    let fresh = Identity { epoch: Epoch(10), ..identity() };
    let (spool, opened) = Spool::open(storage, small(), fresh).unwrap();
    assert_eq!((spool.identity(), spool.seqs()), (fresh, 0..0));
    assert!(opened.created && !opened.identity_lost, "no event was pending: {opened:?}");
}
