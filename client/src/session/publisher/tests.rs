//! What goes in as events comes out as a stream that a router reads back: order, tables, credit,
//! linger, loss.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{DataFrame, PublisherOnStream, TagsOnStream};
use millrace_proto::frame::FrameReader;
use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use millrace_proto::stream::stream_kind;
use millrace_proto::table::TableReader;
use millrace_proto::{CloseCode, Epoch, PublisherId, PublisherKey, TagSet, data};
use proptest::prelude::*;

use super::reports::ANSWER_SLACK_NS;
use super::*;
use crate::session::SessionError;
use crate::time::{MILLISECOND_NS, Time};

const KEY: PublisherKey = PublisherKey { publisher: PublisherId(5), epoch: Epoch(2) };

fn tags(host: u32) -> TagSet {
    TagSet::new([("host", format!("web-{host}"))]).unwrap()
}

/// A router's reader of a publish stream.
struct Router {
    frames: FrameReader,
    table: TableReader<TagSet>,
    publishers: BTreeMap<u64, PublisherKey>,
    preamble: bool,
    events: Vec<(String, u64, u64, Vec<u8>)>,
    runs: usize,
    /// First seq and floor of each run, and whether it says that it was sent before.
    floors: Vec<(u64, u64, bool)>,
}

impl Router {
    fn new(tables: TableCapacity) -> Self {
        Self {
            frames: FrameReader::new(),
            table: TableReader::new(tables.tag_sets, tables.tag_bytes, "tag set"),
            publishers: BTreeMap::new(),
            preamble: false,
            events: Vec::new(),
            runs: 0,
            floors: Vec::new(),
        }
    }

    fn read(&mut self, chunk: &[u8]) {
        let mut frames = std::mem::take(&mut self.frames);
        frames
            .feed::<SessionError>(chunk, data::FRAME_BYTES_MAX, |kind, body| self.frame(kind, body))
            .unwrap();
        self.frames = frames;
    }

    fn frame(&mut self, kind: u64, body: &[u8]) -> Result<(), SessionError> {
        if !self.preamble {
            assert_eq!(kind, stream_kind::PUBLISH);
            self.preamble = true;
            return Ok(());
        }
        match data::decode(kind, body)? {
            DataFrame::DefineTags { number, tags } => {
                self.table.define(number, tags.to_owned(), tags.canonical().len() as u64)?;
            }
            DataFrame::DefinePublisher { number, publisher, .. } => {
                self.publishers.insert(number, publisher);
            }
            DataFrame::Run { hop, body } => {
                self.runs += 1;
                let publisher = match hop.publisher {
                    PublisherOnStream::Number(number) => self.publishers[&number],
                    PublisherOnStream::Inline(key) => key,
                };
                assert_eq!(publisher, KEY);
                let is_resent = hop.flags & data::flag::RESENT != 0;
                self.floors.push((body.first_seq(), body.floor(), is_resent));
                let tags = match hop.tags {
                    TagsOnStream::Number(number) => self.table.get(number)?.to_string(),
                    TagsOnStream::Inline(tags) => tags.to_string(),
                };
                for event in body.events() {
                    self.events.push((tags.clone(), event.seq, event.time_ns, event.payload.to_vec()));
                }
            }
            DataFrame::Report => {}
            other => panic!("a publisher does not send {other:?}"),
        }
        Ok(())
    }
}

fn session(change: impl FnOnce(&mut PublisherConfig)) -> PublisherSession {
    let mut config = PublisherConfig::new(KEY);
    change(&mut config);
    PublisherSession::new(config)
}

fn open(change: impl FnOnce(&mut PublisherConfig)) -> PublisherSession {
    let mut session = session(change);
    session.stream_started(TableCapacity::CLIENT);
    session.on_credit(u64::MAX / 2);
    session
}

fn drain(session: &mut PublisherSession, router: &mut Router, now: Time) -> usize {
    let mut bytes = 0;
    while let Some(chunk) = session.take_output(now) {
        bytes += chunk.len();
        router.read(&chunk);
    }
    bytes
}

#[test]
fn consecutive_events_with_one_tag_set_share_a_run() {
    let mut session = open(|_| {});
    let mut router = Router::new(TableCapacity::CLIENT);
    let handle = session.register(&tags(1)).unwrap();
    for time in [10, 20, 30] {
        session.publish(Time::ZERO, handle, time, b"x").unwrap();
    }
    session.publish(Time::ZERO, &tags(2), 40, b"y").unwrap();
    session.publish(Time::ZERO, handle, 50, b"z").unwrap();
    session.publish(Time::ZERO, handle, 45, b"earlier").unwrap();
    session.flush();
    drain(&mut session, &mut router, Time::ZERO);
    let times: Vec<_> = router.events.iter().map(|event| event.2).collect();
    assert_eq!(times, [10, 20, 30, 40, 50, 45], "an event earlier than its run's base gets a run of its own");
    assert_eq!(router.runs, 4);
}

#[test]
fn output_is_due_by_linger_size_or_flush() {
    let mut session = open(|config| config.linger_ns = 1_000);
    let now = Time::from_nanos(500);
    assert_eq!(session.poll_timeout(), None);
    session.publish(now, &tags(1), 1, b"x").unwrap();
    assert_eq!(session.poll_timeout(), Some(Time::from_nanos(1_500)));
    assert!(session.take_output(Time::from_nanos(1_499)).is_none());
    assert!(session.take_output(Time::from_nanos(1_500)).is_some());

    session.publish(now, &tags(1), 1, &[0; 20_000]).unwrap();
    assert_eq!(session.poll_timeout(), Some(now), "more than 16 KiB waits for nothing");
    assert!(session.take_output(now).is_some());

    session.publish(now, &tags(1), 1, b"x").unwrap();
    session.flush();
    assert!(session.take_output(now).is_some());
    assert!(session.take_output(now).is_none());
}

#[test]
fn nothing_goes_out_beyond_the_credit() {
    let mut session = session(|config| config.linger_ns = 0);
    let mut router = Router::new(TableCapacity::CLIENT);
    session.publish(Time::ZERO, &tags(1), 1, &[7; 1000]).unwrap();
    assert!(session.take_output(Time::ZERO).is_none(), "no stream");
    session.stream_started(TableCapacity::CLIENT);
    assert!(session.take_output(Time::ZERO).is_none(), "no credit");
    assert!(session.is_out_of_credit(Time::ZERO));
    assert_eq!(session.poll_timeout(), None, "time does not bring credit");
    let mut written = 0;
    for credit in [10u64, 11, 300, 5_000] {
        session.on_credit(credit);
        written += drain(&mut session, &mut router, Time::ZERO) as u64;
        assert!(written <= credit);
        assert!(written == credit || credit == 5_000);
    }
    session.on_credit(3);
    assert_eq!(router.events.len(), 1);
    assert!(!session.is_out_of_credit(Time::ZERO));
}

#[test]
fn a_full_queue_would_block_until_output_is_taken() {
    let mut session = open(|config| config.buffer_bytes = 4_000);
    let published =
        (0..100).take_while(|_| session.publish(Time::ZERO, &tags(1), 1, &[0; 100]).is_ok()).count();
    assert!((20..60).contains(&published), "{published}");
    assert_eq!(session.publish(Time::ZERO, &tags(1), 1, &[0; 100]), Err(PublishError::WouldBlock));
    session.flush();
    drain(&mut session, &mut Router::new(TableCapacity::CLIENT), Time::ZERO);
    assert_eq!(
        session.publish(Time::ZERO, &tags(1), 1, &[0; 500_000]),
        Ok(published as u64),
        "an empty queue takes any"
    );
    let bytes = PAYLOAD_BYTES_MAX + 1;
    assert_eq!(
        session.publish(Time::ZERO, &tags(1), 1, &vec![0; bytes]),
        Err(PublishError::TooLarge { bytes })
    );
    let stranger = TagHandle { index: 9, shard: tags(9).shard() };
    assert_eq!(session.publish(Time::ZERO, stranger, 1, b""), Err(PublishError::UnknownHandle));
}

#[test]
fn a_lost_stream_makes_unknown_what_was_taken_and_keeps_what_was_queued() {
    let mut session = open(|config| config.linger_ns = 1_000);
    let handle = session.register(&tags(1)).unwrap();
    for _ in 0..4 {
        session.publish(Time::ZERO, handle, 1, b"x").unwrap();
    }
    session.flush();
    let mut router = Router::new(TableCapacity::CLIENT);
    drain(&mut session, &mut router, Time::ZERO);
    session.on_received(3).unwrap();
    session.publish(Time::ZERO, handle, 1, b"queued").unwrap();
    assert_eq!(session.unreceived(), 3..4);
    assert_eq!(session.stream_lost(), 3..4);
    assert_eq!(session.stream_lost(), 4..4);
    assert!(!session.is_flushed());

    let mut next = Router::new(TableCapacity::CLIENT);
    session.stream_started(TableCapacity::CLIENT);
    session.on_credit(10_000);
    session.flush();
    drain(&mut session, &mut next, Time::ZERO);
    assert_eq!(next.events, [("host=web-1".to_owned(), 4, 1, b"queued".to_vec())]);
    session.on_received(5).unwrap();
    assert!(session.is_flushed());
}

#[test]
fn a_publisher_that_resends_sends_what_was_not_received_again_marked_and_with_its_floor() {
    let mut session = open(|config| config.resend = true);
    let handle = session.register(&tags(1)).unwrap();
    let mut router = Router::new(TableCapacity::CLIENT);
    for payload in [b"a", b"b", b"c"] {
        session.publish(Time::ZERO, handle, 1, payload).unwrap();
        session.flush();
        drain(&mut session, &mut router, Time::ZERO);
    }
    assert_eq!(router.floors, [(0, 0, false), (1, 0, false), (2, 0, false)]);
    session.on_received(1).unwrap();
    session.report();
    assert_eq!(session.stream_lost(), 1..1, "nothing is unknown");
    session.publish(Time::ZERO, handle, 1, b"d").unwrap();
    assert!(!session.is_flushed());

    let mut next = Router::new(TableCapacity::CLIENT);
    session.stream_started(TableCapacity::CLIENT);
    session.on_credit(10_000);
    session.flush();
    drain(&mut session, &mut next, Time::ZERO);
    assert_eq!(next.floors, [(1, 1, true), (2, 1, true), (3, 1, false)], "a new event joins no resent run");
    let sent: Vec<_> = next.events.iter().map(|(_, seq, _, payload)| (*seq, &payload[..])).collect();
    assert_eq!(sent, [(1, &b"b"[..]), (2, b"c"), (3, b"d")]);
    assert!(session.expects_answer(Time::ZERO), "the wish for a report went out again, too");
    session.on_received(4).unwrap();
    assert!(session.is_flushed());
    assert_eq!(session.stream_lost(), 4..4);
}

#[test]
fn a_publisher_that_resends_is_full_until_events_are_received() {
    let mut session = open(|config| {
        config.resend = true;
        config.buffer_bytes = 1_000;
    });
    while session.publish(Time::ZERO, &tags(1), 1, &[0; 100]).is_ok() {}
    session.flush();
    drain(&mut session, &mut Router::new(TableCapacity::CLIENT), Time::ZERO);
    assert_eq!(session.publish(Time::ZERO, &tags(1), 1, &[0; 100]), Err(PublishError::WouldBlock));
    session.on_received(session.unreceived().end).unwrap();
    session.publish(Time::ZERO, &tags(1), 1, &[0; 100]).unwrap();
}

#[test]
fn a_reader_without_tables_gets_everything_inline() {
    let tables = TableCapacity { tag_sets: 0, tag_bytes: 0, publishers: 0 };
    let mut session = session(|config| config.linger_ns = 0);
    session.stream_started(tables);
    session.on_credit(10_000);
    session.publish(Time::ZERO, &tags(1), 1, b"x").unwrap();
    let mut router = Router::new(tables);
    drain(&mut session, &mut router, Time::ZERO);
    assert!(router.publishers.is_empty());
    assert_eq!(router.events.len(), 1);
}

#[test]
fn a_held_stream_finishes_what_it_began_and_takes_no_more() {
    let mut session = session(|config| config.linger_ns = 0);
    let mut router = Router::new(TableCapacity::CLIENT);
    session.stream_started(TableCapacity::CLIENT);
    session.publish(Time::ZERO, &tags(1), 1, &[1; 500]).unwrap();
    session.on_credit(100);
    drain(&mut session, &mut router, Time::ZERO);
    session.publish(Time::ZERO, &tags(1), 1, b"later").unwrap();
    session.hold();
    session.on_credit(10_000);
    drain(&mut session, &mut router, Time::ZERO);
    assert_eq!(router.events.len(), 1);
    assert_eq!(session.poll_timeout(), None);
    session.on_received(1).unwrap();
    assert!(session.unreceived().is_empty());
    assert_eq!(session.stream_lost(), 1..1);
    session.stream_started(TableCapacity::CLIENT);
    session.on_credit(10_000);
    assert!(session.take_output(Time::ZERO).is_some());
}

#[test]
fn received_for_events_that_were_never_sent_is_refused() {
    let mut session = open(|_| {});
    session.publish(Time::ZERO, &tags(1), 1, b"x").unwrap();
    assert_eq!(session.on_received(1).unwrap_err().close_code(), CloseCode::Unexpected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is published, with handles or by value, arrives in order with its tags, through a
    /// small table, under any credit, and whatever the reader holds.
    #[test]
    fn everything_published_arrives_in_order(
        events in proptest::collection::vec((0u32..12, any::<bool>(), 0usize..300), 1..200),
        tag_sets in 0u64..10,
        credit_step in 1u64..3000,
    ) {
        let tables = TableCapacity { tag_sets, tag_bytes: 60, publishers: 1 };
        let mut session = session(|config| config.flush_bytes = 1_000);
        session.stream_started(tables);
        let handles: Vec<_> = (0..12).map(|host| session.register(&tags(host)).unwrap()).collect();
        let mut router = Router::new(tables);
        let mut credit = 0;
        for (seq, &(host, by_handle, bytes)) in events.iter().enumerate() {
            let payload = vec![seq.to_le_bytes()[0]; bytes];
            let time = seq as u64;
            let given = if by_handle {
                session.publish(Time::ZERO, handles[host as usize], time, &payload)
            } else {
                session.publish(Time::ZERO, &tags(host), time, &payload)
            };
            prop_assert_eq!(given, Ok(seq as u64));
            credit += credit_step;
            session.on_credit(credit);
            drain(&mut session, &mut router, Time::ZERO);
        }
        session.on_credit(u64::MAX / 2);
        session.flush();
        drain(&mut session, &mut router, Time::ZERO);
        prop_assert_eq!(router.events.len(), events.len());
        for (seq, (&(host, _, bytes), event)) in events.iter().zip(&router.events).enumerate() {
            let expected = (tags(host).to_string(), seq as u64, seq as u64, vec![seq.to_le_bytes()[0]; bytes]);
            prop_assert_eq!(event, &expected);
        }
        session.on_received(events.len() as u64).unwrap();
        prop_assert!(session.is_flushed());
    }
}

/// Whether a stretch of the stream asks for a report, and how many events are before it.
fn asks(chunk: Option<Bytes>) -> (usize, bool) {
    let mut seen = (0, false);
    let mut reader = FrameReader::new();
    let each = |kind: u64, _: &[u8]| {
        seen.0 += usize::from(kind == data::kind::RUN && !seen.1);
        seen.1 |= kind == data::kind::REPORT;
        Ok::<(), millrace_proto::DecodeError>(())
    };
    reader.feed(&chunk.unwrap_or_default(), data::FRAME_BYTES_MAX, each).unwrap();
    seen
}

#[test]
fn a_report_is_asked_for_once_behind_the_events_that_it_is_about() {
    let mut session = open(|config| config.linger_ns = 1_000);
    let now = Time::ZERO;
    session.report();
    assert_eq!(asks(session.take_output(now)), (0, false), "nothing was published");
    session.publish(now, &tags(1), 1, b"x").unwrap();
    session.report();
    assert_eq!(asks(session.take_output(now)), (0, false), "lingering is not cut short");
    session.flush();
    assert_eq!(asks(session.take_output(now)), (1, true));
    session.report();
    assert_eq!(asks(session.take_output(now)), (0, false), "the answer is on its way");
    session.publish(now, &tags(1), 1, b"y").unwrap();
    session.flush();
    assert_eq!(asks(session.take_output(now)), (1, false), "nobody waits for it");
    session.report();
    assert!(session.poll_timeout().is_some_and(|due| due <= now));
    assert_eq!(asks(session.take_output(now)), (0, true), "sent already, so the wish goes alone");
    session.on_received(2).unwrap();
    session.report();
    assert_eq!((session.take_output(now), session.poll_timeout()), (None, None), "told already");
}

#[test]
fn a_held_stream_asks_for_a_report_and_so_does_the_next_one() {
    let mut session = open(|config| config.linger_ns = 1_000);
    let now = Time::ZERO;
    session.publish(now, &tags(1), 1, b"x").unwrap();
    session.flush();
    assert_eq!(asks(session.take_output(now)), (1, false));
    session.publish(now, &tags(1), 1, b"y").unwrap();
    session.flush();
    session.report();
    for asked in [true, false] {
        session.hold();
        assert_eq!(asks(session.take_output(now)), (0, asked));
    }
    session.on_received(1).unwrap();
    session.stream_lost();
    session.stream_started(TableCapacity::CLIENT);
    session.on_credit(10_000);
    assert_eq!(asks(session.take_output(now)), (1, true), "somebody still waits for the rest");
}

#[test]
fn silence_counts_only_once_the_router_should_have_answered() {
    let second = 1_000 * MILLISECOND_NS;
    let mut session = open(|config| {
        config.linger_ns = 0;
        config.received_within_ns = second;
    });
    let at = |ms: u64| Time::from_nanos(ms * MILLISECOND_NS);
    assert_eq!(session.answer_due(), None);
    session.publish(at(0), &tags(1), 1, b"x").unwrap();
    assert!(session.take_output(at(0)).is_some());
    let due = at(0).after(second + ANSWER_SLACK_NS);
    assert_eq!(session.answer_due(), Some(due));
    assert!(!session.expects_answer(at(1_249)) && session.expects_answer(due));
    session.publish(at(500), &tags(1), 1, b"y").unwrap();
    assert!(session.take_output(at(500)).is_some());
    assert_eq!(session.answer_due(), Some(due), "later events do not excuse it");
    session.on_received(1).unwrap();
    assert_eq!(session.answer_due(), Some(at(500).after(second + ANSWER_SLACK_NS)));
    session.report();
    assert!(session.take_output(at(600)).is_some());
    assert!(session.expects_answer(at(600)), "it was asked");
    session.on_received(2).unwrap();
    assert!(!session.expects_answer(at(9_000)));
    session.publish(at(9_000), &tags(1), 1, &[0; 70_000]).unwrap();
    assert!(session.take_output(at(9_000)).is_some() && session.take_output(at(9_000)).is_none());
    session.on_credit(1 << 20);
    while session.take_output(at(9_000)).is_some() {}
    assert!(session.expects_answer(at(9_000)), "so much is told at once");
    session.stream_lost();
    session.stream_started(TableCapacity::CLIENT);
    session.on_credit(1 << 20);
    session.publish(at(9_100), &tags(1), 1, b"z").unwrap();
    assert!(session.take_output(at(9_100)).is_some());
    assert!(!session.expects_answer(at(9_100)), "the next router was not told so much");
    assert_eq!(session.answer_due(), Some(at(9_100).after(second + ANSWER_SLACK_NS)));
}

#[test]
fn a_report_goes_out_as_soon_as_credit_comes_when_the_events_before_it_used_up_all() {
    let now = Time::ZERO;
    let published = |session: &mut PublisherSession| {
        session.publish(now, &tags(1), 1, b"x").unwrap();
        session.flush();
    };
    let mut measured = open(|_| {});
    published(&mut measured);
    let bytes = measured.take_output(now).unwrap().len();
    for report_with_events in [true, false] {
        let mut session = session(|config| config.received_within_ns = 10_000 * MILLISECOND_NS);
        session.stream_started(TableCapacity::CLIENT);
        session.on_credit(bytes as u64);
        published(&mut session);
        if report_with_events {
            session.report();
        }
        assert_eq!(asks(session.take_output(now)), (1, false), "credit ends behind the event");
        session.report();
        assert_eq!((session.take_output(now), session.poll_timeout()), (None, None));
        assert!(session.is_out_of_credit(now) && session.expects_answer(now));
        session.on_credit(bytes as u64 + 1);
        let first = session.take_output(now).unwrap();
        session.on_credit(1 << 20);
        let rest = session.take_output(now).unwrap();
        assert_eq!([&first[..], &rest[..]].concat(), [0x1b, 0x00], "the report, once");
        assert_eq!(session.take_output(now), None);
        assert!(session.expects_answer(now) && !session.is_out_of_credit(now));
        session.on_received(1).unwrap();
        assert!(session.is_flushed() && !session.expects_answer(now));
    }
}
