//! A spool behind a publisher's session.

use millrace_proto::control::{self, OutcomeKind, OutcomeReason, SeqRanges, TableCapacity};
use millrace_proto::data::{self, DataFrame};
use millrace_proto::frame::FrameReader;
use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet};

use super::super::{MemoryStorage, SpoolConfig, SpoolStore, SyncPolicy};
use super::{PLENTY, open, small, tags};
use crate::session::publisher::{NewEvent, Store, StoreError, Tags};
use crate::session::{ConfirmLevel, Outcome, PublisherConfig, PublisherSession, SessionError};
use crate::time::Time;

fn store(storage: &MemoryStorage, config: SpoolConfig) -> SpoolStore<MemoryStorage> {
    SpoolStore::new(open(storage, config).0, 16 * 1024)
}

fn append(store: &mut SpoolStore<MemoryStorage>, tags: &TagSet) -> Result<(), StoreError> {
    let seq = store.seqs().end;
    store.append(NewEvent {
        seq,
        tags: Tags::Set(tags),
        set: tags,
        time_ns: seq,
        payload: b"0123456789",
        address: &[],
        source_seq: None,
    })
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
    spooled.spool_mut().sync().unwrap();
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

/// A session at level *routed* over a spool, with a stream of endless credit.
fn session(storage: &MemoryStorage) -> PublisherSession<SpoolStore<MemoryStorage>> {
    let key = PublisherKey { publisher: PublisherId(5), epoch: Epoch(2) };
    let config = PublisherConfig {
        level: ConfirmLevel::Routed,
        retry_partial: true,
        linger_ns: 0,
        ..PublisherConfig::new(key)
    };
    let mut session = PublisherSession::with_store(config, store(storage, small()));
    session.stream_started(TableCapacity::CLIENT);
    session.on_credit(u64::MAX / 2);
    session
}

/// Seqs that go out now.
fn written(session: &mut PublisherSession<SpoolStore<MemoryStorage>>, now: Time) -> Vec<u64> {
    let (mut seqs, mut reader) = (Vec::new(), FrameReader::new());
    while let Some(chunk) = session.take_output(now) {
        reader
            .feed::<SessionError>(&chunk, data::FRAME_BYTES_MAX, |kind, body| {
                if kind == data::kind::RUN
                    && let DataFrame::Run { body, .. } = data::decode(kind, body)?
                {
                    seqs.extend(body.events().map(|event| event.seq));
                }
                Ok(())
            })
            .unwrap();
    }
    seqs
}

fn told(
    session: &mut PublisherSession<SpoolStore<MemoryStorage>>,
    kind: OutcomeKind,
    seqs: std::ops::Range<u64>,
) -> Vec<Outcome> {
    let mut ranges = SeqRanges::new();
    assert!(ranges.push(seqs.start, seqs.end - seqs.start));
    let reasons = vec![OutcomeReason::Overflow];
    session
        .on_outcome(&control::Outcome { kind, seqs: ranges, reasons, ..control::Outcome::default() })
        .unwrap();
    std::iter::from_fn(|| session.poll_ended()).map(|ended| ended.outcome).collect()
}

#[test]
fn what_is_partial_goes_out_again_until_it_is_confirmed_or_has_no_try_left() {
    let storage = MemoryStorage::new(PLENTY, 1);
    let mut spooled = session(&storage);
    for time in 0..10 {
        spooled.publish(Time::ZERO, &tags(), time, b"0123456789").unwrap();
    }
    let mut now = Time::ZERO;
    assert_eq!(written(&mut spooled, now), (0..10).collect::<Vec<_>>());
    assert_eq!(told(&mut spooled, OutcomeKind::Confirmed, 0..3).len(), 1);
    assert_eq!(told(&mut spooled, OutcomeKind::Partial, 3..6), []);
    assert_eq!(told(&mut spooled, OutcomeKind::Confirmed, 6..10).len(), 1);
    assert_eq!(written(&mut spooled, now), [], "the pause is not over");
    for again in [&[3, 4, 5][..], &[4, 5], &[4, 5], &[4, 5], &[4, 5]] {
        now = spooled.poll_timeout().unwrap().max(now);
        assert_eq!(written(&mut spooled, now), again);
        if again.len() == 3 {
            assert_eq!(told(&mut spooled, OutcomeKind::Confirmed, 3..4).len(), 1);
        }
        assert_eq!(spooled.settled(), 4);
        let ended = told(&mut spooled, OutcomeKind::Partial, 4..6);
        assert_eq!(ended.is_empty(), !spooled.is_flushed(), "what has no try left is final");
    }
    assert!(spooled.is_flushed());
    assert_eq!(spooled.store().spool().pending(), 0);
}

#[test]
fn a_spool_takes_more_than_may_be_in_flight_and_hands_it_out_in_turns() {
    const IN_FLIGHT: u64 = 65_536;
    let mut spooled = session(&MemoryStorage::new(PLENTY, 1));
    for time in 0..IN_FLIGHT + 1000 {
        spooled.publish(Time::ZERO, &tags(), time, b"x").unwrap();
    }
    let first = written(&mut spooled, Time::ZERO);
    assert!(first.len() as u64 <= IN_FLIGHT && first.len() as u64 > IN_FLIGHT - 4096, "{}", first.len());
    assert_eq!(spooled.poll_timeout(), None, "nothing to do but to wait for outcomes");
    told(&mut spooled, OutcomeKind::Confirmed, 1..5000);
    let second = written(&mut spooled, Time::ZERO);
    assert_eq!(second.last(), Some(&(IN_FLIGHT + 999)));
    assert_eq!(spooled.settled(), 0);
}
