//! Three days without a router: an event a second, and the process ends each hour.

use super::super::{Fate, Gone, MemoryStorage, OnFull, SpoolConfig};
use super::{PLENTY, open, tags};

const HOUR: u64 = 3600;
const HOURS: u64 = 72;

/// What is left after three days, and the seqs that were told as shed.
fn three_days(max_bytes: u64, payload_bytes: usize) -> (Vec<u64>, Vec<Gone>) {
    let config = SpoolConfig { max_bytes, on_full: OnFull::ShedOldest, ..SpoolConfig::default() };
    let storage = MemoryStorage::new(PLENTY, 1);
    let payload = vec![b'x'; payload_bytes];
    let mut told = Vec::new();
    for hour in 0..HOURS {
        let (mut spool, opened) = open(&storage, config.clone());
        assert_eq!((opened.lost_events(), opened.doubtful), (0, None), "hour {hour}");
        for second in 0..HOUR {
            spool.append((hour * HOUR + second) * 1_000_000_000, tags().borrow(), &payload).unwrap();
            told.extend(std::iter::from_fn(|| spool.poll_gone()));
        }
        assert!(spool.bytes() <= max_bytes);
    }
    let (mut spool, _) = open(&storage, config);
    let mut left = Vec::new();
    spool
        .visit(0, |record| {
            assert_eq!(record.time_ns, record.seq * 1_000_000_000);
            left.push(record.seq);
            true
        })
        .unwrap();
    (left, told)
}

#[test]
fn with_room_three_days_are_whole_and_in_order() {
    let (left, told) = three_days(64 << 20, 16);
    assert_eq!(left, (0..HOURS * HOUR).collect::<Vec<_>>());
    assert_eq!(told, []);
}

#[test]
fn without_room_the_beginning_is_told_and_the_end_is_whole() {
    let (left, told) = three_days(16 << 20, 300);
    let mut shed = 0;
    for Gone { fate, seqs } in told {
        assert_eq!((fate, seqs.start), (Fate::Shed, shed), "without a hole");
        shed = seqs.end;
    }
    assert!(shed > 0 && shed <= (HOURS - 1) * HOUR, "the last hour is not shed: {shed}");
    assert_eq!(left, (shed..HOURS * HOUR).collect::<Vec<_>>());
}
