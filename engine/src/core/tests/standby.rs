//! Standby publishers on one core, which control tells who holds which set.

use millrace_proto::control::{ControlFrame, Hello, RefusedReason, Standby, Standing, TableCapacity};
use millrace_proto::data::optional::StandbySet;
use millrace_proto::data::{self, DataFrame, HopHeader, hop_field};
use millrace_proto::feature::{self, Features};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::run::RunBuilder;
use millrace_proto::stream::{LanePreamble, stream_kind};
use millrace_proto::{
    DecodeError, Epoch, PROTOCOL_VERSION, PublisherId, PublisherKey, PublisherSecret, TagSet,
};

use super::confirms::ROUTED;
use super::world::{PUBLISH, World, lane, open};
use crate::core::metrics::DropReason;
use crate::message::{CoreOutput, ToControl, ToCore};
use crate::standby::{MemberWord, Refusal, SetNews, SetWord};
use crate::transport::{ConnKey, StreamKey};

const SET: &str = "feed";

/// What a run says of its set: the generation, and the first source seq.
type Stamp = Option<(u64, Option<u64>)>;

/// A publisher's secret and id, by a number.
fn secret(number: u64) -> PublisherSecret {
    PublisherSecret([u8::try_from(number).unwrap(); 32])
}

fn id(number: u64) -> PublisherId {
    PublisherId::derive(&secret(number), "", 0)
}

/// A run of one event with its set, if it names one; `number` says what it is about.
fn run(bytes: &mut Vec<u8>, seq: u64, set: Option<(u64, &[u64])>, flags: u64) {
    let (mut builder, mut body, mut fields) = (RunBuilder::default(), Vec::new(), Vec::new());
    builder.start(seq, seq, 5);
    builder.push(5, format!("e{seq}").as_bytes());
    builder.finish(&mut body);
    if let Some((generation, seqs)) = set {
        StandbySet::put(&mut fields, SET, generation, seqs.iter().copied());
    }
    let header = HopHeader { flags, fields: &fields, ..HopHeader::numbered(0, 0) };
    data::put_run(bytes, &header, &body);
}

fn tags() -> TagSet {
    TagSet::from_texts(["host=a"]).unwrap()
}

impl World {
    /// A client that shows a secret and knows sets, or does not.
    fn member(&mut self, number: u64, knows_sets: bool, deliveries: u64) -> ConnKey {
        let conn = ConnKey(number);
        self.core.client_connected(self.now, conn);
        let features = Features::default().with(feature::CONFIRMS).with(feature::DELIVERIES);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            receivers: 8,
            tables: TableCapacity::CLIENT,
            secret: Some(secret(number)),
            features: if knows_sets { features.with(feature::STANDBY) } else { features },
            deliveries,
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    /// What joining a set has the core say to control.
    fn join(&mut self, conn: ConnKey, standby: Standby) -> Vec<SetWord> {
        let mut bytes = Vec::new();
        ControlFrame::Standby(standby).encode(&mut bytes);
        self.memory.input.entry((conn, StreamKey(0))).or_default().extend(&bytes);
        self.core.readable(self.now, &mut self.memory, conn, StreamKey(0));
        self.said()
    }

    /// What the core says to control of sets.
    fn said(&mut self) -> Vec<SetWord> {
        let mut words = Vec::new();
        while let Some(output) = self.core.poll_output() {
            if let CoreOutput::ToControl(ToControl::Sets(word)) = output {
                words.push(word);
            }
        }
        self.core.turn(self.now, &mut self.memory);
        words
    }

    /// Control says who holds the set.
    fn holds(&mut self, generation: u64, number: u64) {
        let news = vec![SetNews { set: SET.into(), holder: Some((generation, id(number))) }];
        self.core.handle_message(self.now, &mut self.memory, ToCore::Sets(news));
        self.settle();
    }

    /// A publisher sends a run of one event.
    fn say_of_set(&mut self, conn: ConnKey, seq: u64, set: Option<(u64, &[u64])>, flags: u64) {
        let mut bytes = Vec::new();
        if !self.memory.input.contains_key(&(conn, PUBLISH)) {
            frame::put(&mut bytes, stream_kind::PUBLISH, |_| {});
            let key = PublisherKey { publisher: id(conn.0), epoch: Epoch(1) };
            data::put_define_indexed_publisher(&mut bytes, 0, key, 0);
            data::put_define_tags(&mut bytes, 0, tags().borrow());
        }
        run(&mut bytes, seq, set, flags);
        self.send(conn, PUBLISH, &bytes);
    }

    /// What a receiver was given: payloads, each with its generation and first source seq.
    fn of_sets(&self, conn: ConnKey) -> Vec<(String, Stamp)> {
        let mut got = Vec::new();
        let Some(written) = self.memory.written.get(&(conn, StreamKey(3))) else { return got };
        let mut each = |kind: u64, bytes: &[u8]| {
            let (value, body) = match data::decode(kind, bytes) {
                Ok(DataFrame::Run { hop, body }) => (hop.field(hop_field::SET).unwrap_or_default(), body),
                Ok(DataFrame::Deliver { targets, body, .. }) => (targets.iter().next().unwrap().set, body),
                _ => return Ok(()),
            };
            let set = if value.is_empty() { None } else { Some(StandbySet::parse(value)?) };
            let set = set.map(|set| (set.generation, set.source_seqs().next()));
            let payloads = body.events().map(|event| String::from_utf8_lossy(event.payload).into_owned());
            got.extend(payloads.map(|payload| (payload, set)));
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
        got
    }

    fn fenced(&self) -> u64 {
        self.core.metrics().dropped[DropReason::Fenced as usize]
    }
}

fn standby() -> Standby {
    Standby { set: SET.into(), rank: 2, ..Standby::default() }
}

#[test]
fn a_member_joins_is_told_what_it_is_and_leaves() {
    let mut world = World::new();
    let conn = world.member(1, true, 0);
    let joined = SetWord::Join {
        conn,
        number: 0,
        publisher: id(1),
        set: SET.into(),
        rank: 2,
        preempt: true,
        identity: "".into(),
        known: 7,
        is_abreast: true,
    };
    assert_eq!(
        world.join(conn, Standby { preempt: true, generation: 7, abreast: true, ..standby() }),
        [joined]
    );
    let state = millrace_proto::control::SetState {
        set: SET.into(),
        standing: Standing::Active,
        generation: 8,
        ..Default::default()
    };
    let word = MemberWord::State(state.clone());
    world.core.handle_message(world.now, &mut world.memory, ToCore::SetMember { conn, word });
    world.settle();
    assert!(world.control_frames(conn).contains(&ControlFrame::SetState(state)));
    let left = world.join(conn, Standby { leave: true, ..standby() });
    assert!(matches!(left[..], [SetWord::Leave { .. }]), "{left:?}");
    assert!(world.join(conn, Standby { leave: true, ..standby() }).is_empty(), "it was no member");
}

#[test]
fn who_cannot_join_is_told_why() {
    let mut world = World::new();
    let old = world.member(1, false, 0);
    let conn = world.member(2, true, 0);
    let plain = world.client(3);
    let long = Standby { set: "x".repeat(65), ..standby() };
    let wrong = [
        (old, standby(), RefusedReason::Unsupported),
        (plain, standby(), RefusedReason::Unsupported),
        (conn, Standby { set: String::new(), ..standby() }, RefusedReason::Limit),
        (conn, long, RefusedReason::Limit),
        (conn, Standby { rank: 17, ..standby() }, RefusedReason::Limit),
    ];
    for (conn, standby, reason) in wrong {
        assert!(world.join(conn, standby.clone()).is_empty());
        let frames = world.control_frames(conn);
        let Some(ControlFrame::Refused(refused)) = frames.last() else { panic!("{frames:?}") };
        assert_eq!((refused.reason, refused.publisher), (reason, Some(0)), "{standby:?}");
    }
    world.join(conn, standby());
    let word = MemberWord::Refused { number: 0, refusal: Refusal::Identity };
    world.core.handle_message(world.now, &mut world.memory, ToCore::SetMember { conn, word });
    world.settle();
    let frames = world.control_frames(conn);
    let Some(ControlFrame::Refused(refused)) = frames.last() else { panic!("{frames:?}") };
    assert_eq!(refused.reason, RefusedReason::Name);
}

#[test]
fn runs_of_the_holder_reach_receivers_with_their_set_on_both_kinds_of_streams() {
    for (deliveries, knows_sets) in [(0, true), (1, true), (0, false), (1, false)] {
        let mut world = World::new();
        let receiver = world.member(1, knows_sets, deliveries);
        world.say(receiver, &ControlFrame::OpenReceiver(open()));
        let selectors = vec!["host".to_owned()];
        let subscribe = millrace_proto::control::Subscribe { selectors, ..Default::default() };
        world.say(receiver, &ControlFrame::Subscribe(subscribe));
        let publisher = world.member(2, true, 0);
        world.holds(4, 2);
        world.say_of_set(publisher, 0, Some((4, &[17])), 0);
        world.say_of_set(publisher, 1, Some((4, &[])), 0);
        world.say_of_set(publisher, 2, None, 0);
        let set = |seq| knows_sets.then_some((4, seq));
        let expected =
            [("e0".to_owned(), set(Some(17))), ("e1".to_owned(), set(None)), ("e2".to_owned(), None)];
        assert_eq!(world.of_sets(receiver), expected);
        assert_eq!(world.fenced(), 0);
    }
}

#[test]
fn who_does_not_hold_the_set_is_fenced_counted_and_told() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["host"]);
    let [old, new] = [2, 3].map(|number| world.member(number, true, 0));
    world.join(old, standby());
    world.say_of_set(old, 0, Some((1, &[])), ROUTED);
    assert_eq!(world.fenced(), 1, "nobody holds it yet");
    world.holds(1, 2);
    world.say_of_set(old, 1, Some((1, &[])), ROUTED);
    world.holds(2, 3);
    world.say_of_set(old, 2, Some((1, &[])), ROUTED);
    world.say_of_set(old, 3, Some((2, &[])), ROUTED);
    world.say_of_set(new, 0, Some((2, &[])), 0);
    world.say_of_set(new, 1, Some((2, &[1, 2])), 0);
    assert_eq!(world.fenced(), 3, "a run with more numbers than events is no zombie, and dropped, too");
    let payloads: Vec<String> = world.of_sets(receiver).into_iter().map(|(payload, _)| payload).collect();
    assert_eq!(payloads, ["e1", "e0"]);
    let told = world.control_frames(old).into_iter().filter_map(|frame| match frame {
        ControlFrame::Outcome(outcome) => Some(outcome),
        _ => None,
    });
    let told: Vec<String> = told
        .flat_map(|outcome| {
            let reasons: Vec<&str> = outcome.reasons.iter().map(|reason| reason.name()).collect();
            let said = format!("{} {}", outcome.kind.name(), reasons.join(","));
            let seqs: Vec<(u64, u64)> = outcome.seqs.iter().collect();
            seqs.into_iter().map(move |(first, _)| format!("{first} {said}"))
        })
        .collect();
    assert_eq!(told, ["0 dropped fenced", "1 confirmed ", "2 dropped fenced", "3 dropped fenced"]);
}

#[test]
fn what_comes_from_a_peer_is_fenced_by_the_highest_generation_that_was_seen() {
    let mut world = World::new();
    let receiver = world.receiver(1, open(), &["host"]);
    let conn = lane(&mut world, false, true);
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    data::put_define_tags(&mut bytes, 0, tags().borrow());
    let mut send = |world: &mut World, seq, generation, number: u64| {
        let key = PublisherKey { publisher: id(number), epoch: Epoch(1) };
        data::put_define_publisher(&mut bytes, 0, key);
        run(&mut bytes, seq, Some((generation, &[])), 0);
        world.send(conn, StreamKey(2), &std::mem::take(&mut bytes));
    };
    send(&mut world, 0, 1, 2);
    send(&mut world, 1, 2, 3);
    send(&mut world, 2, 1, 2);
    send(&mut world, 3, 3, 3);
    send(&mut world, 4, 2, 3);
    let payloads: Vec<String> = world.of_sets(receiver).into_iter().map(|(payload, _)| payload).collect();
    assert_eq!(payloads, ["e0", "e1", "e3", "e4"], "a holder that moves is not in its own way");
    assert_eq!(world.fenced(), 1);
}

#[test]
fn control_hears_what_has_entered_before_it_hears_that_the_holder_has_left() {
    let mut world = World::new();
    let publisher = world.member(2, true, 0);
    world.join(publisher, standby());
    world.holds(1, 2);
    world.say_of_set(publisher, 0, Some((1, &[41])), 0);
    world.core.closed(world.now, &mut world.memory, publisher, None);
    let words = world.said();
    let [SetWord::Counts(counts), SetWord::Leave { .. }] = &words[..] else { panic!("{words:?}") };
    assert_eq!((counts[0].next_source_seq, counts[0].fenced), (42, 0));
}
