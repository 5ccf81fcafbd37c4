//! Three days without a router: an event a second, and the process ends each hour. With ten events
//! a second it is as said of agents, and takes longer:
//! `cargo test -p millrace-client --lib spool::tests::outage -- --ignored`.

use super::super::{Fate, Gone, MemoryStorage, OnFull, SpoolConfig};
use super::{PLENTY, open, tags};

const HOUR: u64 = 3600;
const HOURS: u64 = 72;

/// What is left after three days of `rate` events a second, and the seqs that were told as shed.
fn three_days(rate: u64, max_bytes: u64, payload_bytes: usize) -> (Vec<u64>, Vec<Gone>) {
    let config = SpoolConfig { max_bytes, on_full: OnFull::ShedOldest, ..SpoolConfig::default() };
    let storage = MemoryStorage::new(PLENTY, 1);
    let payload = vec![b'x'; payload_bytes];
    let mut told = Vec::new();
    for hour in 0..HOURS {
        let (mut spool, opened) = open(&storage, config.clone());
        assert_eq!((opened.lost_events(), opened.doubtful), (0, None), "hour {hour}");
        for seq in hour * HOUR * rate..(hour + 1) * HOUR * rate {
            spool.append(seq * 1_000_000_000 / rate, tags().borrow(), &payload).unwrap();
            told.extend(std::iter::from_fn(|| spool.poll_gone()));
        }
        assert!(spool.bytes() <= max_bytes);
    }
    let (mut spool, _) = open(&storage, config);
    let mut left = Vec::new();
    spool
        .visit(0, |record| {
            assert_eq!(record.time_ns, record.seq * 1_000_000_000 / rate);
            left.push(record.seq);
            true
        })
        .unwrap();
    (left, told)
}

/// Nothing is missing where there is room, and where there is none the beginning is told.
fn check(rate: u64) {
    let (left, told) = three_days(rate, (64 << 20) * rate, 16);
    assert_eq!(left, (0..HOURS * HOUR * rate).collect::<Vec<_>>());
    assert_eq!(told, []);

    let (left, told) = three_days(rate, (16 << 20) * rate, 300);
    let mut shed = 0;
    for Gone { fate, seqs } in told {
        assert_eq!((fate, seqs.start), (Fate::Shed, shed), "without a hole");
        shed = seqs.end;
    }
    assert!(shed > 0 && shed <= (HOURS - 1) * HOUR * rate, "the last hour is not shed: {shed}");
    assert_eq!(left, (shed..HOURS * HOUR * rate).collect::<Vec<_>>());
}

#[test]
fn three_days_are_whole_or_their_beginning_is_told() {
    check(1);
}

#[test]
#[ignore = "ten times as much"]
fn three_days_of_ten_events_a_second_are_whole_or_their_beginning_is_told() {
    check(10);
}
