//! The folder of a spool with segments (of payloads as they are, and of compressed ones), notes and
//! an identity of any bytes: opening it, reading it, going on with it and opening it again end,
//! without a panic, and no seq is given twice.
#![no_main]

use millrace_client::spool::{
    Compression, Fate, Identity, MemoryStorage, OpenError, Spool, SpoolConfig, Storage,
};
use millrace_proto::{Epoch, PublisherSecret, TagSet};

const SEGMENT_BYTES: u64 = 64 << 10;
const FOLDER_BYTES: u64 = 64 << 20;

fn config(compression: Compression) -> SpoolConfig {
    SpoolConfig { segment_bytes: Some(SEGMENT_BYTES), compression, ..SpoolConfig::default() }
}

/// Half of it without a pattern, so that frames are of some size.
fn payload(seq: u64) -> [u8; 500] {
    let mut state = seq;
    std::array::from_fn(|at| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if at < 250 { state.to_le_bytes()[7] } else { 1 }
    })
}

fn identity() -> Identity {
    Identity { secret: PublisherSecret([7; 32]), index: 0, epoch: Epoch(9) }
}

/// A spool of some segments.
fn folder() -> (MemoryStorage, u64) {
    let storage = MemoryStorage::new(FOLDER_BYTES, 1);
    let tags = TagSet::from_texts(["host=a"]).expect("a tag set");
    let mut next = 0;
    for compression in [Compression::None, Compression::Zstd] {
        let opened = Spool::open(storage.clone(), config(compression), identity());
        let mut spool = opened.expect("there is room").0;
        for seq in next..next + 250 {
            spool.append(seq, tags.borrow(), &payload(seq)).expect("there is room");
        }
        spool.finish(0..20).expect("memory does not fail");
        spool.sync().expect("memory does not fail");
        next = spool.seqs().end;
    }
    (storage, next)
}

/// Each six bytes of the input overwrite: which file, where (three bytes), with what (two).
fn damage(storage: &MemoryStorage, input: &[u8]) {
    let files = storage.list().expect("a list");
    for edit in input.chunks_exact(6) {
        let file = &files[usize::from(edit[0]) % files.len()];
        let mut bytes = storage.head(&file.name, usize::MAX).expect("it is there");
        let at = usize::from(edit[1]) << 16 | usize::from(edit[2]) << 8 | usize::from(edit[3]);
        if edit[0] >= 250 {
            bytes.truncate(at % (bytes.len() + 1));
        } else if let Some(place) = bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&edit[4..]);
        }
        storage.put(&file.name, &bytes);
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (storage, next) = folder();
    damage(&storage, &input[..input.len().min(600)]);
    let config = || config(Compression::Zstd);
    let (mut spool, opened) = match Spool::open(storage.clone(), config(), identity()) {
        // Whole blocks of another version, which nobody writes by accident.
        Err(OpenError::Newer { .. }) => return,
        opened => opened.expect("damage is no error"),
    };
    let mut seen = 0;
    spool
        .visit(0, |record| {
            assert_eq!(record.payload, payload(record.time_ns), "what is read is what was written");
            seen += 1;
            true
        })
        .expect("damage is no error");
    assert_eq!(spool.pending(), seen);
    assert!(spool.seqs().end >= next || opened.identity_lost, "seqs are given twice: {opened:?}");
    assert!(spool.total(Fate::Unreadable) >= opened.lost_events());
    let tags = TagSet::from_texts(["host=b"]).expect("a tag set");
    spool.append(1, tags.borrow(), b"on").expect("there is room");
    spool.close().expect("memory does not fail");
    let (spool, again) = Spool::open(storage, config(), identity()).expect("damage is no error");
    assert!(again.lost.is_empty(), "told once: {again:?}");
    assert_eq!(spool.pending(), seen + 1);
});
