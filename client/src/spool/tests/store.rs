//! A spool behind a publisher's session.

use millrace_proto::TagSet;

use super::super::{MemoryStorage, SpoolConfig, SpoolStore, SyncPolicy};
use super::{PLENTY, open, small, tags};
use crate::session::publisher::{NewEvent, Store, StoreError, Tags};

fn store(storage: &MemoryStorage, config: SpoolConfig) -> SpoolStore<MemoryStorage> {
    SpoolStore::new(open(storage, config).0, 16 * 1024)
}

fn append(store: &mut SpoolStore<MemoryStorage>, tags: &TagSet) -> Result<(), StoreError> {
    let seq = store.seqs().end;
    store.append(NewEvent { seq, tags: Tags::Set(tags), set: tags, time_ns: seq, payload: b"0123456789" })
}

/// Hands everything out; first seq and count of each run.
fn take(store: &mut SpoolStore<MemoryStorage>) -> Vec<(u64, u32)> {
    let mut runs = Vec::new();
    while let Some(run) = store.next_run() {
        runs.push((run.first_seq, run.count));
        store.advance();
    }
    runs
}

#[test]
fn runs_form_and_go_out_again_until_they_are_final() {
    let (storage, other) = (MemoryStorage::new(PLENTY, 1), TagSet::from_texts(["host=b"]).unwrap());
    let mut spooled = store(&storage, small());
    for _ in 0..3 {
        (0..4).for_each(|_| append(&mut spooled, &tags()).unwrap());
        append(&mut spooled, &other).unwrap();
    }
    assert!(spooled.unsent_bytes() > 15 * 40);
    let runs = [(0, 4), (4, 1), (5, 4), (9, 1), (10, 4), (14, 1)];
    assert_eq!(take(&mut spooled), runs);
    assert_eq!(spooled.unsent_bytes(), 0);
    spooled.release(7);
    assert_eq!(spooled.seqs(), 7..15);
    spooled.rewind();
    assert_eq!(take(&mut spooled), [(7, 2), (9, 1), (10, 4), (14, 1)]);
    drop(spooled);
    let mut spooled = store(&storage, small());
    assert_eq!(spooled.seqs(), 7..15);
    append(&mut spooled, &other).unwrap();
    assert_eq!(take(&mut spooled), [(7, 2), (9, 1), (10, 4), (14, 2)]);
    spooled.release(16);
    assert_eq!(spooled.spool().pending(), 0);
}

#[test]
fn a_run_says_what_its_events_say() {
    let mut spooled = store(&MemoryStorage::new(PLENTY, 1), small());
    append(&mut spooled, &tags()).unwrap();
    append(&mut spooled, &tags()).unwrap();
    let run = spooled.next_run().unwrap();
    let mut expected = Vec::new();
    for time in [0, 1] {
        millrace_proto::varint::put(&mut expected, time);
        millrace_proto::varint::put_prefixed(&mut expected, b"0123456789");
    }
    assert_eq!((run.events, run.base_time_ns), (&expected[..], 0));
    assert!(matches!(run.tags, Tags::Set(set) if *set == tags()));
}

#[test]
fn nothing_that_is_not_synced_is_handed_out_with_each_batch() {
    let config = SpoolConfig { sync: SyncPolicy::EachBatch, ..small() };
    let mut spooled = store(&MemoryStorage::new(PLENTY, 1), config);
    append(&mut spooled, &tags()).unwrap();
    assert!(spooled.next_run().is_none());
    spooled.spool().sync().unwrap();
    spooled.synced();
    append(&mut spooled, &tags()).unwrap();
    assert_eq!(take(&mut spooled), [(0, 1)], "the second is not synced");
}

#[test]
fn a_full_spool_is_a_full_store() {
    let mut spooled = store(&MemoryStorage::new(PLENTY, 1), small());
    let full = (0..1_000_000).find_map(|_| append(&mut spooled, &tags()).err());
    assert_eq!(full, Some(StoreError::Full));
}
