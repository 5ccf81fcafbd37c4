//! Payloads that stand compressed: what that saves, what older versions see, and records that lie.

use std::time::Instant;

use super::super::record::{Body, Stored};
use super::super::segment::{self, RECORDS_AT};
use super::super::{
    Compression, Fate, Gone, Inspection, MemoryStorage, OpenError, Spool, SpoolConfig, Storage, layout,
};
use super::{PLENTY, append, identity, open, packs, payload, pending, small, tags};

/// The file of the segment with this first seq.
fn bytes_of(storage: &MemoryStorage, first_seq: u64) -> Vec<u8> {
    storage.head(&segment::name(first_seq), usize::MAX).unwrap()
}

/// The files of a folder.
fn files(storage: &MemoryStorage) -> Vec<(String, Vec<u8>)> {
    let listed = storage.list().unwrap().into_iter();
    listed.map(|file| (file.name.clone(), storage.head(&file.name, usize::MAX).unwrap())).collect()
}

/// How many events fit the least byte bound.
fn fitting(config: &SpoolConfig) -> u64 {
    let (mut spool, _) = open(&MemoryStorage::new(PLENTY, 1), config.clone());
    let count = (0..).take_while(|_| append(&mut spool).is_ok()).count() as u64;
    assert!(spool.bytes() <= config.max_bytes);
    assert_eq!(pending(&mut spool).len() as u64, count);
    count
}

#[test]
fn the_byte_bound_counts_what_stands_on_disk() {
    let (plain, packed) = (fitting(&small()), fitting(&packs()));
    assert!(packed > plain * 2, "{packed} and {plain}");
}

#[test]
fn an_inspection_says_what_compression_saves() {
    for config in [small(), packs()] {
        let storage = MemoryStorage::new(PLENTY, 1);
        let (mut spool, _) = open(&storage, config.clone());
        let mut plain = 0;
        for seq in 0..1500 {
            append(&mut spool).unwrap();
            let body = Body::Plain(&payload(seq));
            plain += Stored { seq, time_ns: 0, tags: tags().canonical(), body }.plain_size() as u64;
        }
        let look = || Inspection::take(&storage).unwrap();
        let (pending_bytes, found) = (spool.pending_bytes() as u64, look());
        assert_eq!((found.plain_bytes, pending_bytes), (plain, plain));
        match config.compression {
            Compression::None => assert_eq!(found.records_bytes, plain),
            _ => assert!(found.records_bytes < plain / 2, "{found:?}"),
        }
        // The end of the process: what is read of the segment that was written last is the same.
        drop(spool);
        let (mut spool, _) = open(&storage, config);
        assert_eq!((look(), spool.pending_bytes() as u64), (found, plain));
        spool.finish(0..1500).unwrap();
        spool.close().unwrap();
    }
}

#[test]
fn whoever_opens_it_reads_what_stands_there_and_writes_as_it_is_told() {
    let storage = MemoryStorage::new(PLENTY, 1);
    let turns = [small(), packs(), small(), packs(), packs()];
    let mut heads = std::collections::BTreeMap::new();
    for (turn, config) in (1_u64..).zip(turns) {
        let (mut spool, opened) = open(&storage, config);
        assert_eq!(opened.lost_events(), 0);
        for _ in 0..700 {
            append(&mut spool).unwrap();
        }
        assert_eq!(pending(&mut spool), (0..turn * 700).collect::<Vec<_>>());
        spool.close().unwrap();
        for (name, bytes) in files(&storage).into_iter().filter(|(name, _)| name.ends_with(".seg")) {
            let head = bytes[..8].to_vec();
            assert_eq!(heads.entry(name).or_insert_with(|| head.clone()), &head, "a head stays as it is");
        }
    }
    let of = |tag: &[u8]| heads.values().filter(|head| *head == tag).count();
    assert!(of(b"mr.seg.1") > 2 && of(b"mr.seg.2") > 1, "{heads:?}");
}

#[test]
fn a_segment_without_compression_is_one_that_every_version_reads() {
    for (config, head, seal) in [(small(), b"mr.seg.1", b"mr.seal1"), (packs(), b"mr.seg.2", b"mr.seal2")] {
        let storage = MemoryStorage::new(PLENTY, 1);
        let (mut spool, _) = open(&storage, config);
        for _ in 0..1500 {
            append(&mut spool).unwrap();
        }
        let first = bytes_of(&storage, 0);
        assert_eq!((&first[..8], &first[512..520]), (&head[..], &seal[..]));
    }
}

/// A record of each kind, byte for byte. What these say, each later version must read.
#[test]
fn records_of_the_first_versions_are_read() {
    let payload = b"GET /health 200 ".repeat(20);
    for (config, golden) in [(small(), GOLDEN_PLAIN), (packs(), GOLDEN_PACKED)] {
        let storage = MemoryStorage::new(PLENTY, 1);
        let (mut spool, _) = open(&storage, config.clone());
        spool.append(77, tags().borrow(), &payload).unwrap();
        let end = spool.segments[0].end;
        spool.sync().unwrap();
        drop(spool);
        let mut bytes = bytes_of(&storage, 0);
        let written: String = bytes[RECORDS_AT..end].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written.len() % 16, 0, "{written}");
        let golden: Vec<u8> = (0..golden.len() / 2)
            .map(|at| u8::from_str_radix(&golden[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        bytes[RECORDS_AT..].fill(0);
        bytes[RECORDS_AT..RECORDS_AT + golden.len()].copy_from_slice(&golden);
        storage.put(&segment::name(0), &bytes);
        let (mut spool, opened) = open(&storage, config);
        assert_eq!(opened.lost_events(), 0, "wrote {written}");
        let mut seen = 0;
        spool
            .visit(0, |record| {
                assert_eq!((record.seq, record.time_ns, record.payload), (0, 77, &payload[..]));
                assert_eq!(record.tags, tags().canonical());
                seen += 1;
                true
            })
            .unwrap();
        assert_eq!(seen, 1, "wrote {written}");
    }
}

const GOLDEN_PLAIN: &str = "750100007962749700000000000000004d000000000000001d000000400100000204686f7374057765622d31\
     077365727669636508636865636b6f7574474554202f6865616c74682032303020474554202f6865616c7468\
     2032303020474554202f6865616c74682032303020474554202f6865616c74682032303020474554202f6865\
     616c74682032303020474554202f6865616c74682032303020474554202f6865616c74682032303020474554\
     202f6865616c74682032303020474554202f6865616c74682032303020474554202f6865616c746820323030\
     20474554202f6865616c74682032303020474554202f6865616c74682032303020474554202f6865616c7468\
     2032303020474554202f6865616c74682032303020474554202f6865616c74682032303020474554202f6865\
     616c74682032303020474554202f6865616c74682032303020474554202f6865616c74682032303020474554\
     202f6865616c74682032303020474554202f6865616c74682032303020000000";
const GOLDEN_PACKED: &str = "550000003ff6845e00000000000000004d000000000000001d0000001c000080400100000204686f73740577\
     65622d31077365727669636508636865636b6f75740000bd000080474554202f6865616c7468203230302001\
     005a469d4b000000";

/// A frame of `payload`, as a spool stores it.
fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mut packer = super::super::packing::Packer::default();
    packer.pack(payload, true);
    packer.frame().unwrap().to_vec()
}

#[test]
fn a_size_that_lies_is_damage_though_its_checksum_is_right() {
    let frame = frame_of(&[b'x'; 1000]);
    for payload_bytes in [0, 1, 999, 1001, 1 << 20, (1 << 20) + 1, u32::MAX] {
        let storage = MemoryStorage::new(PLENTY, 1);
        let (mut spool, _) = open(&storage, packs());
        for _ in 0..500 {
            append(&mut spool).unwrap();
        }
        let lie = Body::Packed { frame: &frame, payload_bytes };
        let tail = spool.tail.as_mut().unwrap();
        tail.append(5000, tags().canonical(), lie);
        let (next, segment) = (tail.next, spool.segments.back_mut().unwrap());
        (segment.next_seq, segment.end, spool.next_seq) = (next.seq, next.at, next.seq);
        (segment.pending, spool.pending) = (segment.pending + 1, spool.pending + 1);
        for _ in 0..500 {
            append(&mut spool).unwrap();
        }
        for life in 0..2 {
            let left = pending(&mut spool);
            assert!(!left.contains(&500) && (0..500).all(|seq| left.contains(&seq)), "{payload_bytes}");
            assert!(left.last() == Some(&1000), "what follows behind the next mark is read");
            let lost: u64 =
                std::iter::from_fn(|| spool.poll_gone()).map(|Gone { seqs, .. }| seqs.end - seqs.start).sum();
            assert_eq!(spool.total(Fate::Unreadable), 1001 - left.len() as u64);
            assert!(life > 0 || lost > 0, "it is told");
            drop(spool);
            spool = open(&storage, packs()).0;
        }
    }
}

/// A file that a later version would have written in the place of another.
fn of_a_later_version(name: &str, bytes: &mut [u8]) {
    let places: &[(usize, &[u8; 8])] = match name {
        "publisher" => &[(0, b"mr.pub.3"), (2048, b"mr.pub.3")],
        "finals" => &[(0, b"mr.fin.2"), (512 * 1024, b"mr.fin.2")],
        _ => &[(0, b"mr.seg.3")],
    };
    for (at, tag) in places {
        let block = layout::block(**tag, [1, 2, 3, 4, 5, 6, 7]);
        bytes[*at..at + block.len()].copy_from_slice(&block);
    }
}

#[test]
fn a_spool_of_a_later_version_is_refused_and_left_as_it_is() {
    let storage = MemoryStorage::new(PLENTY, 1);
    let (mut spool, _) = open(&storage, small());
    for _ in 0..700 {
        append(&mut spool).unwrap();
    }
    spool.sync().unwrap();
    drop(spool);
    let whole = files(&storage);
    for name in ["publisher", "finals", &segment::name(0)] {
        let storage = MemoryStorage::new(PLENTY, 1);
        for (file, bytes) in &whole {
            let mut bytes = bytes.clone();
            if file == name {
                of_a_later_version(name, &mut bytes);
            }
            storage.put(file, &bytes);
        }
        let before = files(&storage);
        let opened = Spool::open(storage.clone(), small(), identity());
        assert!(matches!(&opened, Err(OpenError::Newer { file }) if file == name), "{name}: {opened:?}");
        let looked = Inspection::take(&storage);
        assert!(matches!(&looked, Err(OpenError::Newer { file }) if file == name), "{name}");
        assert_eq!(files(&storage), before);
        // Where the checksum is wrong, it is damage as any other.
        for bit in [9 * 8, (512 * 1024 + 9) * 8, (2048 + 9) * 8] {
            let _ = storage.flip(name, bit);
        }
        open(&storage, small());
    }
}

/// Not a test: `cargo test -p millrace-client --lib packed::figures -- --ignored --nocapture` says
/// what compression costs and saves on this machine. The spool itself is not optimised there, and
/// zstd is: what it costs is the difference between both settings.
#[test]
#[ignore = "prints figures"]
fn figures() {
    const EVENTS: u64 = 2000;
    let json = |seq: u64| {
        let lines: Vec<String> = (0..4)
            .map(|line| {
                let id = mix(seq * 4 + line);
                format!(
                    "{{\"sku\":\"A-{}\",\"name\":\"Article {}\",\"quantity\":{},\"price\":{{\"amount\":{}.{:02},\
                     \"currency\":\"EUR\"}},\"warehouse\":\"ber-{}\"}}",
                    id % 10_000, id % 977, id % 5 + 1, id % 200, id % 100, id % 4
                )
            })
            .collect();
        format!(
            "{{\"order\":{},\"customer\":\"{:016x}\",\"status\":\"paid\",\"created\":\"2026-11-29T19:44:{:02}Z\",\
             \"lines\":[{}]}}",
            seq, mix(seq), seq % 60, lines.join(",")
        )
        .into_bytes()
    };
    let large = |seq: u64| (0..24).flat_map(|part| json(seq * 24 + part)).collect::<Vec<u8>>();
    let noise = |seq: u64| (0..128).flat_map(|part| mix(seq * 128 + part).to_le_bytes()).collect::<Vec<u8>>();
    let few = |make: &dyn Fn(u64) -> Vec<u8>| (0..EVENTS).map(make).collect::<Vec<_>>();
    let kinds = [
        ("log line", few(&log_line)),
        ("order", few(&json)),
        ("24 orders", few(&large)),
        ("random", few(&noise)),
    ];
    for (kind, payloads) in kinds {
        for compression in [Compression::None, Compression::Zstd] {
            // The fastest of some: others use the machine, too.
            let rounds = (0..7).map(|_| cost(&payloads, compression));
            let (payload, record, append, read) = rounds.min_by_key(|round| round.2).unwrap();
            eprintln!(
                "{kind}: {payload} bytes; {compression}: record {record} bytes, append {append} ns, read {read} ns"
            );
        }
    }
}

/// A line of a program's log, as JSON.
fn log_line(seq: u64) -> Vec<u8> {
    let when = format!("2026-11-29T19:{:02}:{:02}.{:06}Z", seq / 60 % 60, seq % 60, seq * 7919 % 1_000_000);
    let (request, trace) = (mix(seq), mix(!seq));
    let place = format!(
        r#""region":"eu-central-1","pod":"checkout-7c9f8d5b4-x2x{}","version":"2026.11.3""#,
        seq % 10
    );
    let what = r#""level":"info","logger":"shop.checkout.payment","message":"payment accepted""#;
    let whose = format!(
        r#""request_id":"{request:016x}","trace_id":"{trace:016x}{request:016x}","user":{}"#,
        request % 99_991
    );
    let paid = format!(
        r#""amount":"{}.{:02}","currency":"EUR","provider":"adyen","took_ms":{},"retries":0,"next":"ship""#,
        request % 900,
        seq % 100,
        trace % 400
    );
    format!(r#"{{"time":"{when}",{what},{whose},{paid},{place}}}"#).into_bytes()
}

/// Bytes of a payload and of a record, and nanoseconds for appending one and reading it.
fn cost(payloads: &[Vec<u8>], compression: Compression) -> (usize, usize, u128, u128) {
    let config = SpoolConfig { max_bytes: PLENTY, compression, ..SpoolConfig::default() };
    let (mut spool, _) = open(&MemoryStorage::new(2 * PLENTY, 1), config);
    let began = Instant::now();
    for payload in payloads {
        spool.append(1, tags().borrow(), payload).unwrap();
    }
    let append = began.elapsed().as_nanos();
    let (began, mut bytes) = (Instant::now(), 0);
    spool
        .visit(0, |record| {
            bytes += record.payload.len();
            true
        })
        .unwrap();
    let read = began.elapsed().as_nanos();
    let stored: u64 = spool.segments.iter().map(|one| segment::record_bytes(one.end)).sum();
    let count = payloads.len();
    let each = |nanos: u128| nanos / u128::from(count as u64);
    (bytes / count, usize::try_from(stored).unwrap() / count, each(append), each(read))
}

/// SplitMix64's last step.
fn mix(seq: u64) -> u64 {
    let mut z = seq.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
