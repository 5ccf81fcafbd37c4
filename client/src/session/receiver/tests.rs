//! Delivery streams of both kinds, cut anywhere, and what no router may send.

use std::collections::BTreeMap;

use millrace_proto::control::TableCapacity;
use millrace_proto::data::{
    self, EndReason, Gap, GapReason, HopHeader, ReceiverEnd, ReceiverGap, TagsOnStream, Target,
};
use millrace_proto::frame;
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::{DeliverAllPreamble, DeliverPreamble, stream_kind};
use millrace_proto::{CloseCode, Epoch, PublisherId, PublisherKey, ReceiverNumber, TagSet};
use proptest::prelude::*;

use super::preamble::PreambleReader;
use super::shared::DeliveriesSession;
use super::*;

#[derive(Default)]
struct Seen {
    events: Vec<(String, u64, Vec<u8>)>,
    receivers: Vec<u32>,
    matched: Vec<Vec<u32>>,
    gaps: Vec<GapReason>,
    gap_receivers: Vec<u32>,
    ends: Vec<(u32, EndReason)>,
    used: BTreeMap<u32, u64>,
}

impl DeliverySink for Seen {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        for event in run.events() {
            self.events.push((run.tag_set().to_string(), event.seq, event.payload.to_vec()));
        }
        self.receivers.push(run.receiver.0);
        self.matched.push(run.matched().collect());
    }
    fn gap(&mut self, receiver: ReceiverNumber, gap: &Gap) {
        self.gap_receivers.push(receiver.0);
        self.gaps.push(gap.reason);
    }
    fn used(&mut self, receiver: ReceiverNumber, bytes: u64) {
        *self.used.entry(receiver.0).or_default() += bytes;
    }
    fn ended(&mut self, end: &ReceiverEnd) {
        self.ends.push((end.receiver.0, end.reason));
    }
}

fn body(first_seq: u64, payloads: &[&[u8]]) -> Vec<u8> {
    let mut run = RunBuilder::default();
    run.start(first_seq, first_seq, 1_000);
    for payload in payloads {
        run.push(1_000, payload);
    }
    let mut out = Vec::new();
    run.finish(&mut out);
    out
}

fn stream() -> Vec<u8> {
    let mut out = Vec::new();
    let web = TagSet::from_texts(["host=web-1"]).unwrap();
    let db = TagSet::from_texts(["host=db-1"]).unwrap();
    let key = PublisherKey { publisher: PublisherId(9), epoch: Epoch(1) };
    data::put_define_tags(&mut out, 0, web.borrow());
    data::put_define_publisher(&mut out, 0, key);
    data::put_run(&mut out, &HopHeader::numbered(0, 0), &body(0, &[b"a", b"b"]));
    Gap { reason: GapReason::Overflow, events: 3, router: None }.encode(&mut out);
    let mut matched = Vec::new();
    data::put_matched(&mut matched, [1, 5].into_iter());
    let inline =
        HopHeader { tags: TagsOnStream::Inline(db.borrow()), fields: &matched, ..HopHeader::numbered(0, 0) };
    data::put_run(&mut out, &inline, &body(2, &[b"c"]));
    out
}

#[test]
fn runs_and_gaps_come_out_in_order_however_the_stream_is_cut() {
    let stream = stream();
    for step in [1, 2, 3, 7, stream.len()] {
        let mut session = ReceiverSession::new(ReceiverConfig::default());
        let mut seen = Seen::default();
        for chunk in stream.chunks(step) {
            session.data(chunk, &mut seen).unwrap();
        }
        let texts: Vec<_> = seen.events.iter().map(|(tags, seq, _)| (tags.as_str(), *seq)).collect();
        assert_eq!(texts, [("host=web-1", 0), ("host=web-1", 1), ("host=db-1", 2)]);
        assert_eq!(seen.matched, [vec![0], vec![1, 5]]);
        assert_eq!(seen.gaps, [GapReason::Overflow]);
        assert_eq!(session.unconsumed(), stream.len() as u64);
    }
}

#[test]
fn the_grant_follows_what_the_application_takes() {
    let config = ReceiverConfig { window_bytes: 100, ..ReceiverConfig::default() };
    let mut session = ReceiverSession::new(config);
    let mut seen = Seen::default();
    assert_eq!((session.first_grant(), session.poll_grant()), (100, None));
    let stream = stream();
    session.data(&stream[..60], &mut seen).unwrap();
    assert_eq!(session.poll_grant(), None, "nothing was taken");
    session.consumed(24);
    assert_eq!(session.poll_grant(), None, "less than a quarter of the window was taken");
    session.consumed(1);
    assert_eq!(session.poll_grant(), Some(125));
    assert_eq!(session.poll_grant(), None);
    session.consumed(1_000);
    assert_eq!(session.unconsumed(), 0, "no more than arrived can be taken");
}

#[test]
fn a_router_that_ignores_the_grant_is_refused() {
    let mut session = ReceiverSession::new(ReceiverConfig { window_bytes: 1, ..Default::default() });
    let mut skipped = Vec::new();
    frame::put(&mut skipped, 0x7f, |body| body.resize(60_000, 0));
    let outcome = (0..100).try_for_each(|_| session.data(&skipped, &mut Seen::default()));
    assert_eq!(outcome.unwrap_err().close_code(), CloseCode::Limit);
}

#[test]
fn undefined_numbers_and_full_tables_are_refused() {
    let mut run = Vec::new();
    data::put_run(&mut run, &HopHeader::numbered(3, 0), &body(0, &[b"x"]));
    let mut session = ReceiverSession::new(ReceiverConfig::default());
    let error = session.data(&run, &mut Seen::default()).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::Malformed);

    let tables = TableCapacity { tag_sets: 1, ..TableCapacity::CLIENT };
    let mut session = ReceiverSession::new(ReceiverConfig { tables, ..Default::default() });
    let mut define = Vec::new();
    data::put_define_tags(&mut define, 1, TagSet::from_texts(["a=b"]).unwrap().borrow());
    let error = session.data(&define, &mut Seen::default()).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::Limit);
}

#[test]
fn preambles_are_read_however_they_are_cut() {
    let mut stream = Vec::new();
    DeliverPreamble { receiver: ReceiverNumber(300) }.encode(&mut stream);
    let whole = stream.len();
    stream.extend_from_slice(b"rest");
    assert_eq!(
        PreambleReader::new().feed(&stream),
        Ok(Some((StreamFor::Receiver(ReceiverNumber(300)), whole)))
    );
    let mut reader = PreambleReader::new();
    for byte in &stream[..whole - 1] {
        assert_eq!(reader.feed(&[*byte]), Ok(None));
    }
    assert_eq!(reader.feed(&stream[whole - 1..]), Ok(Some((StreamFor::Receiver(ReceiverNumber(300)), 1))));
    let mut all = Vec::new();
    DeliverAllPreamble {}.encode(&mut all);
    assert_eq!(PreambleReader::new().feed(&all), Ok(Some((StreamFor::All, all.len()))));
    let mut other = Vec::new();
    frame::put(&mut other, stream_kind::LANE, |_| {});
    assert_eq!(PreambleReader::new().feed(&other).unwrap_err().close_code(), CloseCode::Unexpected);
    assert!(PreambleReader::new().feed(&[0x52, 0x80, 0x01, 0, 0]).is_err());
}

/// Tag set and publisher 0, a run for 3 and 5, a gap of 3, one of all, a run for 5, and the end of
/// 3.
fn shared_stream() -> Vec<u8> {
    let mut out = Vec::new();
    let web = TagSet::from_texts(["host=web-1"]).unwrap();
    data::put_define_tags(&mut out, 0, web.borrow());
    data::put_define_publisher(&mut out, 0, PublisherKey { publisher: PublisherId(9), epoch: Epoch(1) });
    let mut targets = Vec::new();
    Target::plain(ReceiverNumber(3)).put(&mut targets);
    Target { matched: &[1, 2], ..Target::plain(ReceiverNumber(5)) }.put(&mut targets);
    data::put_deliver(&mut out, &HopHeader::numbered(0, 0), &targets, &body(0, &[b"a", b"b"]));
    let reason = GapReason::Overflow;
    ReceiverGap { reason, events: 3, router: None, receivers: vec![ReceiverNumber(3)] }.encode(&mut out);
    let reason = GapReason::RouterLost;
    ReceiverGap { reason, ..ReceiverGap::default() }.encode(&mut out);
    targets.clear();
    Target::plain(ReceiverNumber(5)).put(&mut targets);
    data::put_deliver(&mut out, &HopHeader::numbered(0, 0), &targets, &body(2, &[b"c"]));
    let reason = EndReason::Closed;
    ReceiverEnd { receiver: ReceiverNumber(3), reason, ..ReceiverEnd::default() }.encode(&mut out);
    out
}

fn deliveries(receivers: &[u32]) -> DeliveriesSession {
    let mut session = DeliveriesSession::new(TableCapacity::CLIENT);
    for &receiver in receivers {
        session.open(ReceiverNumber(receiver), 100, 0).unwrap();
    }
    session
}

#[test]
fn a_shared_stream_gives_each_receiver_its_own_however_it_is_cut() {
    let stream = shared_stream();
    for step in [1, 2, 3, 7, stream.len()] {
        let mut session = deliveries(&[3, 5]);
        let mut seen = Seen::default();
        for chunk in stream.chunks(step) {
            session.data(chunk, &mut seen).unwrap();
        }
        assert_eq!(seen.receivers, [3, 5, 5]);
        assert_eq!(seen.matched, [vec![0], vec![1, 2], vec![0]]);
        let seqs: Vec<_> = seen.events.iter().map(|(_, seq, _)| *seq).collect();
        assert_eq!(seqs, [0, 1, 0, 1, 2]);
        assert_eq!(seen.gap_receivers, [3, 3, 5]);
        assert_eq!(seen.gaps, [GapReason::Overflow, GapReason::RouterLost, GapReason::RouterLost]);
        assert_eq!(seen.ends, [(3, EndReason::Closed)]);
        let bodies = body(0, &[b"a", b"b"]).len() + body(2, &[b"c"]).len();
        assert_eq!(session.unconsumed(ReceiverNumber(5)), bodies as u64, "bodies alone count");
        assert!(!session.is_open(ReceiverNumber(3)) && session.is_open(ReceiverNumber(5)));
        assert_eq!(session.open(ReceiverNumber(3), 9, 2), Ok(7), "its number is free");
        assert_eq!(session.open(ReceiverNumber(5), 1, 0), Err(OpenError::Taken(ReceiverNumber(5))));
    }
}

#[test]
fn each_receiver_has_its_own_grant_and_the_last_run_may_exceed_it() {
    let mut session = deliveries(&[1, 2]);
    let mut define = Vec::new();
    data::put_define_tags(&mut define, 0, TagSet::from_texts(["a=b"]).unwrap().borrow());
    data::put_define_publisher(&mut define, 0, PublisherKey { publisher: PublisherId(9), epoch: Epoch(1) });
    session.data(&define, &mut Seen::default()).unwrap();
    let run = |receiver: u32, bytes: usize| {
        let (mut out, mut targets) = (Vec::new(), Vec::new());
        Target::plain(ReceiverNumber(receiver)).put(&mut targets);
        let payload = vec![7; bytes];
        data::put_deliver(&mut out, &HopHeader::numbered(0, 0), &targets, &body(0, &[&payload]));
        out
    };
    session.data(&run(1, 500), &mut Seen::default()).unwrap();
    let held = session.unconsumed(ReceiverNumber(1));
    assert!(held > 500 && session.poll_grant().is_none());
    session.data(&run(2, 20), &mut Seen::default()).unwrap();
    session.consumed(ReceiverNumber(2), 20);
    assert_eq!(session.poll_grant(), None, "less than a quarter of its window");
    session.data(&run(2, 40), &mut Seen::default()).unwrap();
    session.consumed(ReceiverNumber(2), 40);
    assert_eq!(session.poll_grant(), Some((ReceiverNumber(2), 160)));
    assert_eq!(session.poll_grant(), None);
    let error = session.data(&run(1, 1), &mut Seen::default()).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::Limit, "what exceeded the grant is owed");
}

#[test]
fn a_shared_stream_carries_nothing_for_strangers_and_no_frames_of_one_receiver() {
    let error = deliveries(&[3]).data(&shared_stream(), &mut Seen::default()).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::Unexpected, "5 is not open");
    let error = deliveries(&[0]).data(&stream(), &mut Seen::default()).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::Unexpected);
    let mut session = ReceiverSession::new(ReceiverConfig::default());
    let error = session.data(&shared_stream(), &mut Seen::default()).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::Unexpected);
    assert_eq!(deliveries(&[]).open(ReceiverNumber(1024), 1, 0), Err(OpenError::TooMany));
}

fn of_receiver(receiver: u32, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    DeliverPreamble { receiver: ReceiverNumber(receiver) }.encode(&mut out);
    out.extend_from_slice(rest);
    out
}

/// Receivers 3 and 5 of a connection, asked for before its router has answered.
fn connection(is_shared: bool) -> Deliveries {
    let mut connection = Deliveries::new();
    for number in [3, 5] {
        assert_eq!(connection.open(ReceiverNumber(number), 100, 0), Ok(100));
        let taken = connection.open(ReceiverNumber(number), 100, 0);
        assert_eq!(taken, Err(OpenError::Taken(ReceiverNumber(number))));
    }
    assert_eq!(connection.open(ReceiverNumber(1024), 100, 0), Err(OpenError::TooMany));
    connection.welcomed(is_shared, TableCapacity::CLIENT);
    connection
}

#[test]
fn a_connection_reads_either_kind_of_stream_and_counts_what_its_grant_counts() {
    let mut all = Vec::new();
    DeliverAllPreamble {}.encode(&mut all);
    all.extend_from_slice(&shared_stream());
    let bodies = (body(0, &[b"a", b"b"]).len() + body(2, &[b"c"]).len()) as u64;
    for (is_shared, bytes, used) in
        [(false, of_receiver(5, &stream()), stream().len() as u64), (true, all, bodies)]
    {
        for step in [1, 3, bytes.len()] {
            let (mut connection, mut stream) = (connection(is_shared), DeliveryStream::new());
            let mut seen = Seen::default();
            for chunk in bytes.chunks(step) {
                connection.data(&mut stream, chunk, &mut seen).unwrap();
            }
            assert_eq!(stream.receiver(), (!is_shared).then_some(ReceiverNumber(5)));
            assert_eq!(seen.used.get(&5), Some(&used));
            connection.consumed(ReceiverNumber(5), 24);
            assert_eq!(connection.poll_grant(), None, "less than a quarter of its window");
            connection.consumed_all(ReceiverNumber(5));
            let grant = connection.poll_grant();
            assert_eq!(grant, (used >= 25).then_some((ReceiverNumber(5), 100 + used)), "{is_shared}");
            assert_eq!(connection.poll_grant(), None);
        }
    }
}

#[test]
fn a_number_waits_for_the_stream_of_a_receiver_that_was_closed_before_it_began() {
    let receiver = ReceiverNumber(3);
    let mut connection = connection(false);
    assert!(!connection.closed(receiver), "its stream may be on its way");
    assert_eq!(connection.open(receiver, 100, 0), Err(OpenError::Taken(receiver)));
    let (mut late, mut seen) = (DeliveryStream::new(), Seen::default());
    connection.data(&mut late, &of_receiver(3, &stream()), &mut seen).unwrap();
    assert!(late.is_unwanted() && seen.events.is_empty());
    assert_eq!(connection.open(receiver, 100, 0), Ok(100));
    let mut stream_of_next = DeliveryStream::new();
    connection.data(&mut stream_of_next, &of_receiver(3, &stream()), &mut seen).unwrap();
    assert_eq!(seen.events.len(), 3);
    assert!(connection.closed(receiver), "its stream has begun");
    let error = connection.data(&mut DeliveryStream::new(), &of_receiver(3, b""), &mut seen).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::Unexpected);
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..100) {
        let mut stream = stream();
        let at = at.min(stream.len());
        stream.truncate(at);
        stream.extend_from_slice(&bytes);
        let mut session = ReceiverSession::new(ReceiverConfig::default());
        let _ = session.data(&stream, &mut Seen::default());
        let mut shared = deliveries(&[3, 5]);
        let mut stream = shared_stream();
        stream.truncate(at);
        stream.append(&mut bytes);
        let _ = shared.data(&stream, &mut Seen::default());
        let _ = PreambleReader::new().feed(&stream);
    }
}
