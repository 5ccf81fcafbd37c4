//! Several publishers on one stream.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_proto::control::{self, OutcomeKind, SeqRanges, TableCapacity};
use millrace_proto::data::{self, DataFrame, PublisherOnStream, TagsOnStream};
use millrace_proto::frame::FrameReader;
use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet};

use super::shared::SharedStream;
use super::{ConfirmLevel, Outcome, PublisherConfig, PublisherSession};
use crate::session::SessionError;
use crate::time::Time;

fn session(index: u64) -> PublisherSession {
    let key = PublisherKey { publisher: PublisherId(100 + u128::from(index)), epoch: Epoch(index) };
    let level = ConfirmLevel::Routed;
    PublisherSession::new(PublisherConfig { index, linger_ns: 0, level, ..PublisherConfig::new(key) })
}

fn publish(session: &mut PublisherSession, tag: &str, payload: &[u8]) {
    let tags = TagSet::from_texts([tag]).unwrap();
    session.publish(Time::ZERO, &tags, 0, payload).unwrap();
}

/// What a session writes in its turn.
fn turn(stream: &mut SharedStream, session: &mut PublisherSession) -> Vec<Bytes> {
    stream.lend(session);
    let chunks = std::iter::from_fn(|| session.take_output(Time::ZERO)).collect();
    stream.take_back(session);
    chunks
}

/// What a router makes of a stream: the publishers by number, and what each has sent under which
/// tag set.
#[derive(Default)]
struct Reader {
    frames: FrameReader,
    publishers: BTreeMap<u64, (PublisherId, u64)>,
    tags: BTreeMap<u64, TagSet>,
    defined: usize,
    events: Vec<(PublisherId, u64, String)>,
}

impl Reader {
    fn read(&mut self, chunks: &[Bytes]) {
        let Self { frames, publishers, tags, defined, events } = self;
        for chunk in chunks {
            let read = frames.feed::<SessionError>(chunk, data::FRAME_BYTES_MAX, |kind, body| {
                if kind == data::kind::REPORT || kind == 0x50 {
                    return Ok(());
                }
                match data::decode(kind, body)? {
                    DataFrame::DefineTags { number, tags: set } => {
                        *defined += 1;
                        tags.insert(number, set.to_owned());
                    }
                    DataFrame::DefinePublisher { number, publisher, index } => {
                        publishers.insert(number, (publisher.publisher, index));
                    }
                    DataFrame::Run { hop, body } => {
                        let PublisherOnStream::Number(number) = hop.publisher else { panic!("a number") };
                        let TagsOnStream::Number(set) = hop.tags else { panic!("a number") };
                        let (publisher, _) = publishers[&number];
                        let set = tags[&set].to_string();
                        events.extend(body.events().map(|event| (publisher, event.seq, set.clone())));
                    }
                    _ => {}
                }
                Ok(())
            });
            read.unwrap();
        }
    }
}

#[test]
fn each_has_its_number_and_seqs_and_all_share_tag_sets() {
    let mut stream = SharedStream::new(TableCapacity::CLIENT);
    stream.on_credit(1 << 20);
    let mut sessions: Vec<_> = (0..3).map(session).collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        assert_eq!(stream.join(session), Some(number as u64));
    }
    let mut reader = Reader::default();
    for _ in 0..2 {
        for session in &mut sessions {
            publish(session, "host=a", b"x");
            reader.read(&turn(&mut stream, session));
        }
    }
    let ids = [100, 101, 102].map(PublisherId);
    assert_eq!(reader.defined, 1, "a tag set is defined once for all of them");
    assert_eq!(
        reader.publishers.values().copied().collect::<Vec<_>>(),
        [(ids[0], 0), (ids[1], 1), (ids[2], 2)]
    );
    let expected = [0, 1].map(|seq| ids.map(|id| (id, seq, "host=a".to_owned())));
    assert_eq!(reader.events, expected.concat());

    // What the router says of one concerns that one.
    let mut seqs = SeqRanges::new();
    assert!(seqs.push(0, 2));
    let kind = OutcomeKind::Confirmed;
    let said = control::Outcome { publisher: 1, kind, seqs, receivers: 1, ..control::Outcome::default() };
    sessions[1].on_outcome(&said).unwrap();
    assert_eq!(sessions[1].poll_ended().unwrap().outcome, Outcome::Confirmed { receivers: 1 });
    let flushed: Vec<bool> = sessions.iter().map(PublisherSession::is_flushed).collect();
    assert_eq!(flushed, [false, true, false]);
}

#[test]
fn a_chunk_that_ends_without_credit_goes_on_before_anybody_else_writes() {
    let mut stream = SharedStream::new(TableCapacity::CLIENT);
    stream.on_credit(30);
    let (mut first, mut second) = (session(0), session(1));
    let _ = (stream.join(&mut first), stream.join(&mut second));
    publish(&mut first, "host=a", &[7; 100]);
    publish(&mut second, "host=b", b"x");
    let mut reader = Reader::default();
    reader.read(&turn(&mut stream, &mut first));
    assert!(turn(&mut stream, &mut second).is_empty(), "no credit");
    stream.on_credit(1 << 20);
    reader.read(&stream.take_rest().into_iter().collect::<Vec<_>>());
    reader.read(&turn(&mut stream, &mut second));
    let seen: Vec<_> = reader.events.iter().map(|(id, seq, tags)| (id.0, *seq, &tags[..])).collect();
    assert_eq!(seen, [(100, 0, "host=a"), (101, 0, "host=b")]);
}

#[test]
fn a_number_is_given_again_when_the_router_has_nothing_left_to_say() {
    let mut stream = SharedStream::new(TableCapacity { publishers: 2, ..TableCapacity::CLIENT });
    stream.on_credit(1 << 20);
    let (mut quiet, mut asked) = (session(0), session(1));
    assert_eq!((stream.join(&mut quiet), stream.join(&mut asked)), (Some(0), Some(1)));
    publish(&mut asked, "host=a", b"x");
    assert!(!turn(&mut stream, &mut asked).is_empty());
    stream.leave(1, &asked);
    assert_eq!(stream.join(&mut session(2)), None, "its outcome may be on its way");
    stream.leave(0, &quiet);
    assert_eq!(stream.join(&mut session(3)), Some(0));
    assert!(stream.is_given(1) && !stream.is_given(2));
}

#[test]
fn what_is_not_final_goes_out_again_on_the_next_stream() {
    let mut again = session(4);
    let mut reader = Reader::default();
    for number in [0, 1] {
        let mut stream = SharedStream::new(TableCapacity::CLIENT);
        stream.on_credit(1 << 20);
        let mut others: Vec<_> = (0..number).map(session).collect();
        for other in &mut others {
            assert!(stream.join(other).is_some());
        }
        assert_eq!(stream.join(&mut again), Some(number));
        publish(&mut again, "host=a", b"x");
        reader.read(&turn(&mut stream, &mut again));
        assert!(again.stream_lost().is_empty());
        reader.frames = FrameReader::new();
    }
    let seqs: Vec<u64> = reader.events.iter().map(|(_, seq, _)| *seq).collect();
    assert_eq!(seqs, [0, 0, 1]);
}
