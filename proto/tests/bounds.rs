//! The bounds of a run: the largest payload fits, and a run that is full says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use millrace_proto::limits::{EVENTS_PER_RUN_MAX, PAYLOAD_BYTES_MAX};
use millrace_proto::run::{RunBody, RunBuilder};
use millrace_proto::varint;

#[test]
fn a_run_holds_the_largest_payload_and_no_larger_one() {
    let mut run = RunBuilder::default();
    run.start(varint::MAX - 1, 0, varint::MAX);
    assert!(run.fits(PAYLOAD_BYTES_MAX));
    assert!(!run.fits(PAYLOAD_BYTES_MAX + 1));
    run.push(u64::MAX, &vec![0; PAYLOAD_BYTES_MAX]);
    let mut out = Vec::new();
    run.finish(&mut out);
    assert_eq!(RunBody::parse(&out).unwrap().count(), 1);
}

#[test]
fn a_run_that_is_full_says_so() {
    let mut run = RunBuilder::default();
    run.start(0, 0, 0);
    for _ in 0..EVENTS_PER_RUN_MAX {
        assert!(run.fits(0));
        run.push(0, b"");
    }
    assert!(!run.fits(0));
    run.start(varint::MAX - 1, 0, 0);
    run.push(0, b"");
    assert!(!run.fits(0), "seqs end with the integers of the wire");
}
