//! Spools that are full.

use super::super::{
    AppendError, Appended, Fate, Full, Gone, MemoryStorage, OnFull, OpenError, SPOOL_BYTES_MIN, SpoolConfig,
};
use super::{PLENTY, append, identity, open, pending, small, tags};

fn full_with(on_full: OnFull) -> SpoolConfig {
    SpoolConfig { on_full, ..small() }
}

/// Appends until it is refused; the error and how many were taken.
fn fill(spool: &mut super::Spool<MemoryStorage>) -> (AppendError, u64) {
    for count in 0..1_000_000 {
        if let Err(error) = append(spool) {
            return (error, count);
        }
    }
    panic!("no bound");
}

#[test]
fn a_full_spool_blocks_until_events_are_final() {
    let (mut spool, _) = open(&MemoryStorage::new(PLENTY, 1), full_with(OnFull::Block));
    let (error, count) = fill(&mut spool);
    assert_eq!(error, AppendError::WouldBlock(Full::Bound { max_bytes: 10 << 20 }));
    assert!(spool.bytes() <= 10 << 20);
    assert_eq!(spool.seqs(), 0..count, "what is refused gets no seq");
    assert_eq!(append(&mut spool), Err(error));
    spool.finish(0..400).unwrap();
    assert_eq!(append(&mut spool), Ok(count), "final events make room at once");
}

#[test]
fn a_full_spool_refuses() {
    let (mut spool, _) = open(&MemoryStorage::new(PLENTY, 1), full_with(OnFull::Refuse));
    assert!(matches!(fill(&mut spool).0, AppendError::Refused(Full::Bound { .. })));
}

#[test]
fn the_oldest_are_shed_counted_and_named() {
    let (mut spool, _) = open(&MemoryStorage::new(PLENTY, 1), full_with(OnFull::ShedOldest));
    for _ in 0..60_000 {
        append(&mut spool).unwrap();
    }
    assert!(spool.bytes() <= 10 << 20);
    let left = pending(&mut spool);
    let first = left[0];
    assert_eq!(left, (first..60_000).collect::<Vec<_>>());
    let mut named = 0;
    while let Some(Gone { fate, seqs }) = spool.poll_gone() {
        assert_eq!((fate, seqs.start), (Fate::Shed, named), "without a hole");
        named = seqs.end;
    }
    assert_eq!((named, spool.total(Fate::Shed)), (first, first));
}

#[test]
fn the_newest_are_shed_counted_and_named() {
    let storage = MemoryStorage::new(PLENTY, 1);
    let (mut spool, _) = open(&storage, full_with(OnFull::ShedNewest));
    for _ in 0..60_000 {
        append(&mut spool).unwrap();
    }
    let kept = spool.pending();
    assert_eq!(spool.poll_gone(), Some(Gone { fate: Fate::Shed, seqs: kept..60_000 }));
    assert_eq!(spool.total(Fate::Shed), 60_000 - kept);
    spool.finish(0..1000).unwrap();
    let appended = spool.append(600_000, tags().borrow(), &super::payload(60_000)).unwrap();
    assert_eq!(appended, Appended::Kept(60_000));
    let left: Vec<u64> = (1000..kept).chain([60_000]).collect();
    assert_eq!(pending(&mut spool), left);
    drop(spool);
    let (mut spool, opened) = open(&storage, full_with(OnFull::ShedNewest));
    assert_eq!((pending(&mut spool), opened.lost), (left, vec![]));
    assert_eq!(spool.total(Fate::Shed), 60_000 - kept, "counted for the life of the spool");
}

#[test]
fn a_full_disk_is_told_and_needs_no_space_to_empty() {
    for (on_full, percent) in [(OnFull::Block, 0), (OnFull::Refuse, 0), (OnFull::Block, 10)] {
        let storage = MemoryStorage::new(4 << 20, 1);
        let config = SpoolConfig { free_percent: percent, ..full_with(on_full) };
        let (mut spool, _) = open(&storage, config.clone());
        let (error, count) = fill(&mut spool);
        let (AppendError::WouldBlock(full) | AppendError::Refused(full)) = error else { panic!("{error}") };
        match percent {
            0 => assert_eq!(full, Full::Disk),
            _ => assert!(matches!(full, Full::Floor { free, floor } if free < floor + (64 << 10)), "{full}"),
        }
        // Something else takes what was left.
        storage.resize(0);
        spool.finish(0..count).unwrap();
        spool.sync().unwrap();
        assert_eq!(spool.pending(), 0);
        spool.close().unwrap();
        let (mut spool, _) = open(&storage, config);
        assert_eq!(pending(&mut spool), []);
    }
}

#[test]
fn a_disk_without_room_for_a_spool_is_an_error() {
    let storage = MemoryStorage::new(1000, 1);
    let opened = super::Spool::open(storage, small(), identity());
    assert!(matches!(opened, Err(OpenError::Storage(error)) if error.is_no_space()));
    let config = SpoolConfig { max_bytes: SPOOL_BYTES_MIN - 1, ..small() };
    let opened = super::Spool::open(MemoryStorage::new(PLENTY, 1), config, identity());
    assert!(matches!(opened, Err(OpenError::TooSmall { .. })));
}

#[test]
fn an_event_larger_than_a_segment_is_refused() {
    let (mut spool, _) = open(&MemoryStorage::new(PLENTY, 1), small());
    let refused = spool.append(0, tags().borrow(), &vec![0; 64 << 10]);
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    let config = SpoolConfig { max_bytes: 40 << 20, ..SpoolConfig::default() };
    let (mut spool, _) = open(&MemoryStorage::new(PLENTY, 1), config);
    spool.append(0, tags().borrow(), &vec![0; 1 << 20]).unwrap();
}

#[test]
fn an_operator_drops_what_is_pending() {
    let storage = MemoryStorage::new(PLENTY, 1);
    let (mut spool, _) = open(&storage, small());
    for _ in 0..500 {
        append(&mut spool).unwrap();
    }
    assert_eq!(spool.drop_pending(), Ok(500));
    assert_eq!((pending(&mut spool), spool.total(Fate::Dropped)), (vec![], 500));
    assert_eq!(append(&mut spool), Ok(500), "seqs go on");
}
