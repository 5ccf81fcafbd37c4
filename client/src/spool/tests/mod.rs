//! Tests of the spool: against memory that fails, against a model, and on real files.

mod bounds;
mod damage;
#[cfg(all(unix, feature = "spool"))]
mod files;
mod kills;
mod model;
mod outage;
mod packed;
mod store;

use millrace_proto::{Epoch, PublisherSecret, TagSet};

use super::{Compression, Identity, MemoryStorage, Opened, Spool, SpoolConfig};

/// Room for any spool of these tests.
const PLENTY: u64 = 1 << 30;

fn identity() -> Identity {
    Identity { secret: PublisherSecret([7; 32]), index: 0, epoch: Epoch(9) }
}

fn tags() -> TagSet {
    TagSet::from_texts(["host=web-1", "service=checkout"]).unwrap()
}

/// The smallest segments, so that there are many.
fn small() -> SpoolConfig {
    SpoolConfig { max_bytes: 10 << 20, segment_bytes: Some(64 << 10), ..SpoolConfig::default() }
}

/// The same, with payloads compressed.
fn packs() -> SpoolConfig {
    SpoolConfig { compression: Compression::Zstd, ..small() }
}

fn open(storage: &MemoryStorage, config: SpoolConfig) -> (Spool<MemoryStorage>, Opened) {
    Spool::open(storage.clone(), config, identity()).unwrap()
}

/// The payload of an event, from its seq alone: 0 to 600 bytes.
fn payload(seq: u64) -> Vec<u8> {
    let bytes = usize::try_from(seq * 7919 % 601).unwrap();
    vec![seq.to_le_bytes()[0]; bytes]
}

/// All events that are pending, as seqs; checks what they say.
fn pending(spool: &mut Spool<MemoryStorage>) -> Vec<u64> {
    let mut seqs = Vec::new();
    spool
        .visit(0, |record| {
            assert_eq!(record.payload, payload(record.seq), "event {}", record.seq);
            assert_eq!(record.tags, tags().canonical());
            assert_eq!(record.time_ns, record.seq * 10);
            seqs.push(record.seq);
            true
        })
        .unwrap();
    seqs
}

/// Appends the event with the next seq.
fn append(spool: &mut Spool<MemoryStorage>) -> Result<u64, super::AppendError> {
    let seq = spool.seqs().end;
    match spool.append(seq * 10, tags().borrow(), &payload(seq))? {
        super::Appended::Kept(kept) => assert_eq!(kept, seq),
        super::Appended::Shed(shed) => assert_eq!(shed, seq),
    }
    Ok(seq)
}

#[test]
fn events_come_back_in_order_until_they_are_final() {
    for config in [small(), packs()] {
        come_back(&config);
    }
}

fn come_back(config: &SpoolConfig) {
    let storage = MemoryStorage::new(PLENTY, 1);
    let (mut spool, opened) = open(&storage, config.clone());
    assert!(opened.created);
    for _ in 0..1000 {
        append(&mut spool).unwrap();
    }
    assert_eq!(pending(&mut spool), (0..1000).collect::<Vec<_>>());
    spool.finish(0..300).unwrap();
    spool.finish(500..900).unwrap();
    let left: Vec<u64> = (300..500).chain(900..1000).collect();
    assert_eq!(pending(&mut spool), left);
    assert_eq!((spool.pending(), spool.seqs()), (300, 300..1000));
    let before = spool.bytes();
    spool.sync().unwrap();
    let is_freed = spool.bytes() < before || config.compression == Compression::Zstd;
    assert!(is_freed, "segments whose events are final are gone; of small records, there is one");
    spool.close().unwrap();
    let (mut spool, opened) = open(&storage, config.clone());
    assert_eq!(opened, Opened::default());
    assert_eq!(pending(&mut spool), left);
    assert_eq!(spool.pending(), 300);
    assert_eq!(append(&mut spool).unwrap(), 1000);
}

#[test]
fn reading_goes_on_where_it_stopped() {
    for config in [small(), packs()] {
        go_on(config);
    }
}

fn go_on(config: SpoolConfig) {
    let (mut spool, _) = open(&MemoryStorage::new(PLENTY, 1), config);
    for _ in 0..1000 {
        append(&mut spool).unwrap();
    }
    let (mut from, mut seen) = (0, Vec::new());
    while from < 1000 {
        let mut left = 7;
        from = spool
            .visit(from, |record| {
                seen.push(record.seq);
                left -= 1;
                left > 0
            })
            .unwrap();
        // The last one was shown and refused: it is shown again.
        if from < 1000 {
            seen.pop();
        }
    }
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    // And from anywhere.
    for from in [999, 0, 500, 501, 3] {
        let mut first = None;
        spool
            .visit(from, |record| {
                first.get_or_insert(record.seq);
                false
            })
            .unwrap();
        assert_eq!(first, Some(from));
    }
}
