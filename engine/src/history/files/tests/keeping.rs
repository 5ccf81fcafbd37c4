//! What is kept is there in the next life, within the bounds.

use std::time::Duration;

use super::{BEGIN, LIMITS, MemoryStorage, SECOND, ask, block, open, positions, read_all, source};
use crate::history::files::{Archive, FileLimits, Space};
use crate::history::{Found, PastSource, Which};

#[test]
fn what_was_kept_is_read_by_the_next_life_once_and_in_order() {
    let storage = MemoryStorage::default();
    let mut first = open(&storage, 1, BEGIN);
    assert!(first.take_past().is_some_and(|past| past.is_empty()));
    for (owner, from) in [(0, 0), (1, 0), (0, 40), (1, 7)] {
        first.keep(
            owner,
            &block(from..from + if from == 0 && owner == 0 { 40 } else { 7 }, BEGIN, 100),
            BEGIN,
        );
    }
    first.end(0, 47, BEGIN + SECOND);
    first.close();
    let mut second = open(&storage, 2, BEGIN + 2 * SECOND);
    second.keep(0, &block(0..3, BEGIN + 2 * SECOND, 10), BEGIN + 2 * SECOND);
    let past = second.take_past().unwrap();
    let ended = past.get(&source(1, 0)).copied().unwrap();
    assert_eq!((ended.oldest, ended.to, ended.is_whole), (0, 47, true));
    assert!(past.get(&source(1, 1)).is_some_and(|killed| !killed.is_whole));
    assert!(past.get(&source(2, 0)).is_none(), "the present life is no past");
    assert_eq!(second.take_past(), None, "nothing has changed");
    let (all, is_cut) = read_all(&mut second, source(1, 0), "*");
    assert_eq!((positions(&all), is_cut), ((0..47).collect(), false));
    assert_eq!(all[13].1, super::body(13, &[13; 100]));
    let (some, _) = read_all(&mut second, source(1, 0), "host=b");
    assert_eq!(positions(&some), (0..47).filter(|position| position % 3 == 0).collect::<Vec<_>>());
    assert_eq!(positions(&read_all(&mut second, source(1, 1), "*").0), (0..14).collect::<Vec<_>>());
    assert_eq!(positions(&read_all(&mut second, source(2, 0), "*").0), [0, 1, 2]);
    assert!(second.take_troubles().is_empty());
    let counts = second.counts();
    assert_eq!((counts.lives, counts.oldest_at, counts.bytes), (2, BEGIN, storage.bytes()));
}

#[test]
fn packed_blocks_take_less_and_are_read_beside_others() {
    let storage = MemoryStorage::default();
    open(&storage, 1, BEGIN).keep(0, &block(0..100, BEGIN, 400), BEGIN);
    let packs = FileLimits { packs: true, ..LIMITS };
    let mut packing = Archive::open(storage.clone(), packs, source(2, 0), BEGIN).unwrap();
    let before = storage.bytes();
    packing.keep(0, &block(0..100, BEGIN, 400), BEGIN);
    assert!((storage.bytes() - before) * 4 < before, "{} of {before}", storage.bytes() - before);
    assert_eq!(packing.counts().bytes, storage.bytes());
    // Whatever the next life is told to do.
    let mut next = open(&storage, 3, BEGIN);
    let (plain, packed) =
        (read_all(&mut next, source(1, 0), "host=b"), read_all(&mut next, source(2, 0), "host=b"));
    assert_eq!(plain, packed);
    assert_eq!(positions(&read_all(&mut next, source(2, 0), "*").0), (0..100).collect::<Vec<_>>());
    assert!(next.take_troubles().is_empty());
}

#[test]
fn a_chunk_is_bounded_and_the_next_request_goes_on() {
    let storage = MemoryStorage::default();
    let mut archive = open(&storage, 1, BEGIN);
    archive.keep(0, &block(0..1000, BEGIN, 400), BEGIN);
    let Found::Read { chunk, .. } = archive.find(&ask(source(1, 0), 0, 1000, "*")) else { panic!() };
    assert!(chunk.runs.len() < 100 && chunk.next < 1000, "{} runs", chunk.runs.len());
    assert_eq!(read_all(&mut archive, source(1, 0), "*").0.len(), 1000);
}

#[test]
fn what_arrived_before_the_asked_time_is_left_out() {
    let storage = MemoryStorage::default();
    let mut archive = open(&storage, 1, BEGIN);
    archive.keep(0, &block(0..10, BEGIN, 1), BEGIN);
    archive.keep(0, &block(10..20, BEGIN, 1), BEGIN);
    let mut since = ask(source(1, 0), 0, 20, "*");
    since.not_before = BEGIN + 15_000_000;
    let Found::Read { chunk, .. } = archive.find(&since) else { panic!() };
    assert_eq!((chunk.runs.len(), chunk.runs.first_position(), chunk.next), (5, Some(15), 20));
    since.which = Which::Newest;
    let Found::Read { chunk, .. } = archive.find(&since) else { panic!() };
    assert_eq!((chunk.runs.len(), chunk.next), (0, 20), "files do not know the newest run");
}

#[test]
fn bytes_are_bounded_and_the_oldest_go_first() {
    let storage = MemoryStorage::default();
    let limits = FileLimits { bytes: FileLimits::BYTES_MIN, ..LIMITS };
    let open = |life| Archive::open(storage.clone(), limits, source(life, 0), BEGIN).unwrap();
    let mut archive = open(1);
    for round in 0..400 {
        archive.keep(0, &block(round * 10..round * 10 + 10, BEGIN, 500), BEGIN);
        assert!(storage.bytes() <= limits.bytes, "{}", storage.bytes());
        assert_eq!(archive.counts().bytes, storage.bytes());
    }
    let counts = archive.counts();
    assert_eq!((counts.blocks, counts.events_unwritten), (400, 0));
    let mut next = open(2);
    let past = next.take_past().unwrap();
    let kept = past.get(&source(1, 0)).copied().unwrap();
    assert_eq!((kept.oldest, kept.to), (counts.events_evicted, 4000));
    let said = past.since(BEGIN).next().unwrap();
    assert!(said.span.from < said.span.oldest, "what was asked for is gone");
    assert!(kept.oldest > 0 && storage.bytes() > limits.bytes / 2);
    let (runs, is_cut) = read_all(&mut next, source(1, 0), "*");
    assert_eq!((positions(&runs), is_cut), ((kept.oldest..4000).collect(), true));
    // What the present life writes takes the place of the earlier one.
    for round in 0..400 {
        next.keep(0, &block(round * 10..round * 10 + 10, BEGIN, 500), BEGIN);
    }
    assert!(next.take_past().is_some_and(|past| past.is_empty()));
    assert!(matches!(next.find(&ask(source(1, 0), 0, 9, "*")), Found::Lost(_)));
    // A block that alone exceeds the bound is not written.
    next.keep(0, &block(4000..4010, BEGIN, 300_000), BEGIN);
    assert_eq!(next.counts().events_unwritten, 10);
}

#[test]
fn lives_that_kept_nothing_go_before_what_others_have() {
    let storage = MemoryStorage::default();
    let mut archive = open(&storage, 1, BEGIN);
    archive.keep(0, &block(0..10, BEGIN, 100), BEGIN);
    drop(archive);
    for life in 2..200 {
        drop(open(&storage, life, BEGIN));
    }
    let mut last = open(&storage, 200, BEGIN);
    assert_eq!(positions(&read_all(&mut last, source(1, 0), "*").0), (0..10).collect::<Vec<_>>());
    let past = last.take_past().unwrap();
    assert!(past.get(&source(199, 0)).is_some(), "where it stood is known");
    assert!(past.get(&source(2, 0)).is_none(), "it is long ago");
}

#[test]
fn what_is_too_old_goes() {
    let storage = MemoryStorage::default();
    let mut archive = open(&storage, 1, BEGIN);
    archive.keep(0, &block(0..10, BEGIN, 100), BEGIN);
    archive.close();
    let later = BEGIN + 3000 * SECOND;
    let mut archive = open(&storage, 2, later);
    archive.keep(0, &block(0..10, later, 100), later);
    archive.expire(later);
    assert_eq!(archive.counts().lives, 2);
    archive.expire(BEGIN + 3700 * SECOND);
    assert_eq!((archive.counts().lives, archive.counts().events_evicted), (1, 10));
    assert!(archive.take_past().is_some_and(|past| past.is_empty()));
}

#[test]
fn a_full_disk_is_counted_and_writing_goes_on_when_there_is_space() {
    let storage = MemoryStorage::default();
    let mut archive = open(&storage, 1, BEGIN);
    archive.keep(0, &block(0..10, BEGIN, 100), BEGIN);
    storage.0.borrow_mut().left = Some(100);
    archive.keep(0, &block(10..20, BEGIN, 100), BEGIN);
    archive.keep(0, &block(20..30, BEGIN, 100), BEGIN);
    assert_eq!(archive.counts().events_unwritten, 20);
    assert!(archive.take_troubles().iter().all(|trouble| trouble.what.contains("no space")));
    storage.0.borrow_mut().left = None;
    archive.keep(0, &block(30..40, BEGIN, 100), BEGIN);
    let expected = (0..10).chain(30..40).collect::<Vec<_>>();
    for archive in [&mut archive, &mut open(&storage, 2, BEGIN)] {
        let (runs, is_cut) = read_all(archive, source(1, 0), "*");
        assert_eq!((positions(&runs), is_cut), (expected.clone(), true), "a gap stands for the rest");
    }
}

#[test]
fn history_gives_way_before_the_file_system_is_full() {
    let storage = MemoryStorage::default();
    let mut archive = open(&storage, 1, BEGIN);
    archive.keep(0, &block(0..10, BEGIN, 100), BEGIN);
    archive.close();
    storage.0.borrow_mut().space = Some(Space { free: 1 << 20, total: 1 << 30 });
    archive.keep(0, &block(10..20, BEGIN, 100), BEGIN);
    assert_eq!((archive.counts().events_unwritten, archive.counts().events_evicted), (10, 10));
    assert!(storage.names().is_empty());
}

#[test]
fn what_of_earlier_lives_is_there_is_said_for_the_time_that_is_asked_for() {
    let storage = MemoryStorage::default();
    let mut archive = open(&storage, 1, BEGIN);
    archive.keep(0, &block(0..10, BEGIN, 100), BEGIN);
    archive.end(0, 10, BEGIN);
    let mut next = open(&storage, 2, BEGIN);
    let past = next.take_past().unwrap();
    let found: Vec<PastSource> = past.since(BEGIN).collect();
    assert_eq!((found.len(), found[0].span.from, found[0].span.to, found[0].is_whole), (1, 0, 10, true));
    assert_eq!(past.since(BEGIN + SECOND).count(), 0, "all of it is older");
    let limits = FileLimits { age: Duration::from_secs(1), ..LIMITS };
    next.set_limits(limits, BEGIN + 9 * SECOND);
    assert!(next.take_past().is_some_and(|past| past.is_empty()));
}
