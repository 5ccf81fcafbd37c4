//! Named receivers, requests and replies on one core, which control tells who holds which name.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{
    Ack, AckKind, CloseReceiver, ControlFrame, Grant, Hello, OpenReceiver, RefusedReason, SeqRanges,
    Subscribe, TableCapacity,
};
use millrace_proto::data::optional::Addressed;
use millrace_proto::data::{self, DataFrame, EndReason, GapReason, HopHeader, hop_field};
use millrace_proto::feature::{self, Features};
use millrace_proto::frame::{self, FrameReader};
use millrace_proto::run::RunBuilder;
use millrace_proto::selector::Claim;
use millrace_proto::stream::stream_kind;
use millrace_proto::{DecodeError, PROTOCOL_VERSION, ReceiverNumber, RouterId, TagSet};

use super::world::{KEY, PUBLISH, World, open};
use crate::core::tests::confirms::{DELIVERED, ROUTED};
use crate::matching::Location;
use crate::message::ToCore;
use crate::names::{Holder, NameNews};
use crate::transport::{ConnKey, StreamKey};

const RECEIVER: ReceiverNumber = ReceiverNumber(0);

/// What a receiver was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    payload: String,
    token: Option<[u8; 24]>,
    request: Option<u64>,
}

impl World {
    /// A client that lists names, of an identity.
    fn named_client(&mut self, number: u64, identity: Option<&str>, deliveries: u64) -> ConnKey {
        let conn = ConnKey(number);
        self.core.certified_client_connected(self.now, conn, identity.map(str::to_owned));
        let features = [feature::CONFIRMS, feature::GROUPS, feature::NAMES, feature::DELIVERIES];
        let hello = Hello {
            version: PROTOCOL_VERSION,
            receivers: 8,
            tables: TableCapacity::CLIENT,
            features: features.into_iter().fold(Features::default(), Features::with),
            deliveries,
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    /// A receiver with a name and one selector, if it has any.
    fn named(&mut self, number: u64, name: &str, selector: Option<&str>, deliveries: u64) -> ConnKey {
        let conn = self.named_client(number, None, deliveries);
        self.say(conn, &ControlFrame::OpenReceiver(OpenReceiver { name: name.into(), ..open() }));
        if let Some(selector) = selector {
            let selectors = vec![selector.to_owned()];
            self.say(conn, &ControlFrame::Subscribe(Subscribe { selectors, ..Subscribe::default() }));
        }
        conn
    }

    /// Publishes a run of one event with an address.
    fn address(&mut self, conn: ConnKey, tags: &str, seq: u64, address: &Addressed<'_>, flags: u64) {
        let mut bytes = Vec::new();
        if !self.memory.input.contains_key(&(conn, PUBLISH)) {
            frame::put(&mut bytes, stream_kind::PUBLISH, |_| {});
            data::put_define_publisher(&mut bytes, 0, KEY);
        }
        data::put_define_tags(&mut bytes, 0, TagSet::from_texts(tags.split(',')).unwrap().borrow());
        let (mut run, mut body, mut fields) = (RunBuilder::default(), Vec::new(), Vec::new());
        run.start(seq, seq, 5);
        run.push(5, format!("e{seq}").as_bytes());
        run.finish(&mut body);
        address.put(&mut fields);
        let header = HopHeader { flags, fields: &fields, ..HopHeader::numbered(0, 0) };
        data::put_run(&mut bytes, &header, &body);
        self.send(conn, PUBLISH, &bytes);
    }

    /// What a client's receivers were given.
    fn given(&self, conn: ConnKey) -> Vec<Got> {
        let mut got = Vec::new();
        let Some(written) = self.memory.written.get(&(conn, StreamKey(3))) else { return got };
        let mut each = |kind: u64, bytes: &[u8]| {
            let (value, body) = match data::decode(kind, bytes) {
                Ok(DataFrame::Run { hop, body }) => {
                    (hop.field(hop_field::RECIPIENTS).unwrap_or_default(), body)
                }
                Ok(DataFrame::Deliver { targets, body, .. }) => {
                    (targets.iter().next().unwrap().addressed, body)
                }
                _ => return Ok(()),
            };
            let addressed = Addressed::parse(value)?;
            for event in body.events() {
                let payload = String::from_utf8_lossy(event.payload).into_owned();
                let token = addressed.reply_to.or(addressed.answers);
                got.push(Got { payload, token, request: addressed.request });
            }
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
        got
    }

    /// What is missing, as a client's receivers were told.
    fn gaps(&self, conn: ConnKey) -> Vec<(GapReason, u64)> {
        let mut gaps = Vec::new();
        let Some(written) = self.memory.written.get(&(conn, StreamKey(3))) else { return gaps };
        let mut each = |kind: u64, bytes: &[u8]| {
            match data::decode(kind, bytes) {
                Ok(DataFrame::Gap(gap)) => gaps.push((gap.reason, gap.events)),
                Ok(DataFrame::ReceiverGap(gap)) => gaps.push((gap.reason, gap.events)),
                _ => {}
            }
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
        gaps
    }

    fn payloads(&self, conn: ConnKey) -> Vec<String> {
        self.given(conn).into_iter().map(|got| got.payload).collect()
    }

    /// What a publisher was told of the recipients of its events: `name kind reason`.
    fn at_recipients(&self, conn: ConnKey) -> Vec<String> {
        let outcomes = self.control_frames(conn).into_iter().filter_map(|frame| match frame {
            ControlFrame::Outcome(outcome) => Some(outcome.recipients),
            _ => None,
        });
        let say = |one: millrace_proto::control::RecipientOutcome| {
            format!("{} {} {}", one.name, one.kind.name(), one.reason.name())
        };
        outcomes.flatten().map(say).collect()
    }

    /// Control says who holds a name.
    fn tell_holder(&mut self, name: &str, generation: u64, location: Location, router: RouterId) {
        let claim = Arc::new(Claim { name: name.into(), generation, identity: "".into() });
        let holder = Some(Holder { location, router, claim });
        let news = vec![NameNews { name: name.into(), holder }];
        self.core.handle_message(self.now, &mut self.memory, ToCore::Names(news));
        self.settle();
    }
}

fn to<'a>(names: &[&'a str]) -> Addressed<'a> {
    Addressed { to: names.to_vec(), ..Addressed::default() }
}

const fn request(number: u64) -> Addressed<'static> {
    Addressed {
        to: Vec::new(),
        reply_to: None,
        answers: None,
        request: Some(number),
        deadline_us: 0,
        replies: 0,
    }
}

#[test]
fn what_is_addressed_goes_to_the_names_and_to_nobody_else_on_both_kinds_of_streams() {
    for deliveries in [0, 1] {
        let mut world = World::new();
        let desk = world.named(1, "desk", None, deliveries);
        let till = world.named(2, "till", Some("host=a"), deliveries);
        let all = world.named(3, "", Some("*"), deliveries);
        let publisher = world.named_client(4, None, 0);
        world.address(publisher, "host=a", 0, &to(&["desk"]), ROUTED);
        world.address(publisher, "host=a", 1, &to(&["till", "desk", "till", "door"]), ROUTED);
        assert_eq!(world.payloads(desk), ["e0", "e1"]);
        assert_eq!(world.payloads(till), ["e1"], "once, and not because of its tags");
        assert_eq!(world.payloads(all), [""; 0]);
        let expected = [
            "desk confirmed other",
            "desk confirmed other",
            "door dropped no_receiver",
            "till confirmed other",
        ];
        assert_eq!(world.at_recipients(publisher), expected);
        world.address(publisher, "host=a", 2, &Addressed::default(), 0);
        assert_eq!(world.payloads(all), ["e2"], "an address that says nothing is none");
    }
}

#[test]
fn delivered_waits_for_the_application_and_a_full_queue_is_busy() {
    let mut world = World::new();
    let desk = world.named(1, "desk", None, 0);
    let publisher = world.named_client(2, None, 0);
    world.address(publisher, "host=a", 0, &to(&["desk"]), DELIVERED);
    assert!(world.at_recipients(publisher).is_empty());
    let mut runs = SeqRanges::new();
    runs.push(0, 1);
    let kind = AckKind::Taken;
    world.say(desk, &ControlFrame::Ack(Ack { receiver: RECEIVER, kind, runs, ..Ack::default() }));
    assert_eq!(world.at_recipients(publisher), ["desk confirmed other"]);
    let tight = OpenReceiver { name: "till".into(), grant: 0, queue_bytes: 300, ..open() };
    let till = world.named_client(3, None, 0);
    world.say(till, &ControlFrame::OpenReceiver(tight));
    for seq in 1..20 {
        world.address(publisher, "host=a", seq, &to(&["till"]), ROUTED);
    }
    let told = world.at_recipients(publisher);
    assert!(told.contains(&"till dropped busy".to_owned()), "{told:?}");
}

#[test]
fn a_second_receiver_takes_the_name_over_and_another_identity_is_refused() {
    for deliveries in [0, 1] {
        let mut world = World::new();
        let named = || ControlFrame::OpenReceiver(OpenReceiver { name: "desk".into(), ..open() });
        let [first, second, stranger] = [(1, "ops"), (2, "ops"), (3, "web")]
            .map(|(number, identity)| world.named_client(number, Some(identity), deliveries));
        world.say(first, &named());
        world.say(stranger, &named());
        let refused = world.control_frames(stranger).into_iter().any(
            |frame| matches!(frame, ControlFrame::Refused(refused) if refused.reason == RefusedReason::Name),
        );
        assert!(refused);
        world.say(second, &named());
        let publisher = world.named_client(4, None, 0);
        world.address(publisher, "host=a", 0, &to(&["desk"]), 0);
        assert_eq!((world.payloads(first).len(), world.payloads(second)), (0, vec!["e0".to_owned()]));
        assert_eq!(ends(&world, first), 1, "the first one is told");
        assert_eq!(ends(&world, second), 0);
        assert_eq!(world.core.metrics().named_receivers, 1);
        // From another router, with a higher generation.
        world.tell_holder("desk", 3, Location::Peer(0), RouterId(9));
        assert_eq!(ends(&world, second), 1);
        assert_eq!(world.core.metrics().named_receivers, 0);
    }
}

/// How often a client was told that a receiver has lost its name.
fn ends(world: &World, conn: ConnKey) -> usize {
    let mut ends = 0;
    for frame in world.control_frames(conn) {
        ends += usize::from(
            matches!(frame, ControlFrame::Refused(refused) if refused.reason == RefusedReason::Fenced),
        );
    }
    if let Some(written) = world.memory.written.get(&(conn, StreamKey(3))) {
        let mut each = |kind: u64, body: &[u8]| {
            if let Ok(DataFrame::ReceiverEnd(end)) = data::decode(kind, body) {
                ends += usize::from(end.reason == EndReason::Replaced);
            }
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
    }
    ends
}

#[test]
fn a_name_is_given_back_and_one_that_ranks_lower_changes_nothing() {
    let mut world = World::new();
    let desk = world.named(1, "desk", None, 0);
    world.tell_holder("desk", 1, Location::Peer(0), RouterId(0));
    let publisher = world.named_client(2, None, 0);
    world.address(publisher, "host=a", 0, &to(&["desk"]), ROUTED);
    assert_eq!(world.payloads(desk), ["e0"], "router 1 ranks above router 0");
    world.say(desk, &ControlFrame::CloseReceiver(CloseReceiver { receiver: RECEIVER }));
    world.tell_holder("desk", 1, Location::Core(0), RouterId(1));
    world.address(publisher, "host=a", 1, &to(&["desk"]), ROUTED);
    assert_eq!(world.at_recipients(publisher).last().unwrap(), "desk dropped no_receiver");
}

#[test]
fn a_client_that_does_not_answer_is_busy() {
    let mut world = World::new();
    let desk = world.named(1, "desk", None, 0);
    let publisher = world.named_client(2, None, 0);
    for _ in 0..40 {
        world.pass(Duration::from_millis(50));
    }
    world.address(publisher, "host=a", 0, &to(&["desk"]), ROUTED);
    assert_eq!(world.at_recipients(publisher), ["desk dropped busy"]);
    world.say(desk, &ControlFrame::Pong(millrace_proto::control::Pong { nonce: 1 }));
    world.pass(Duration::from_millis(50));
    world.address(publisher, "host=a", 1, &to(&["desk"]), ROUTED);
    assert_eq!(world.payloads(desk), ["e1"]);
}

#[test]
fn a_reply_goes_to_who_asked_and_to_nobody_else() {
    for deliveries in [0, 1] {
        let mut world = World::new();
        let responders = [1, 2].map(|number| world.named(number, "", Some("service=price"), deliveries));
        let asker = world.named(3, "", None, deliveries);
        world.address(asker, "service=price", 0, &request(7), ROUTED);
        assert_eq!(world.told(asker), ["confirmed [0] 2/0"], "two receivers may reply");
        for (seq, responder) in responders.into_iter().enumerate() {
            let got = world.given(responder);
            let token = got[0].token.unwrap();
            assert_eq!((got.len(), got[0].request), (1, Some(7)));
            let answers = Addressed { answers: Some(token), ..Addressed::default() };
            world.address(responder, "price=1", seq as u64, &answers, ROUTED);
            assert_eq!(world.told(responder), [format!("confirmed [{seq}] 1/0")]);
        }
        let replies = world.given(asker);
        let said: Vec<_> = replies.iter().map(|reply| (reply.payload.as_str(), reply.request)).collect();
        assert_eq!(said, [("e0", Some(7)), ("e1", Some(7))]);
        assert!(responders.iter().all(|&conn| world.given(conn).len() == 1));
    }
}

#[test]
fn a_request_is_over_when_it_has_the_replies_that_it_wants() {
    let mut world = World::new();
    let responders = [1, 2, 3].map(|number| world.named(number, "", Some("service=price"), 0));
    let asker = world.named(4, "", None, 0);
    let wants = Addressed { replies: 2, ..request(7) };
    world.address(asker, "service=price", 0, &wants, ROUTED);
    for (number, responder) in responders.into_iter().enumerate() {
        let open = world.core.metrics().open_requests;
        assert_eq!(open, u64::from(number < 2), "behind {number} replies");
        let token = world.given(responder)[0].token.unwrap();
        let answers = Addressed { answers: Some(token), ..Addressed::default() };
        world.address(responder, "price=1", number as u64, &answers, ROUTED);
    }
    let told = responders.map(|responder| world.told(responder).pop().unwrap());
    assert_eq!(&told[..2], ["confirmed [0] 1/0", "confirmed [1] 1/0"]);
    assert!(told[2].ends_with(" expired"), "{told:?}");
    assert_eq!(world.given(asker).len(), 2);
    // Replies for which there was no room may come again: they do not count.
    let tight = OpenReceiver { grant: 0, queue_bytes: 300, ..open() };
    let asker = world.named_client(5, None, 0);
    world.say(asker, &ControlFrame::OpenReceiver(tight));
    world.address(asker, "service=price", 0, &Addressed { replies: 20, ..request(8) }, 0);
    let token = world.given(responders[0])[1].token.unwrap();
    let answers = Addressed { answers: Some(token), ..Addressed::default() };
    (1..21).for_each(|seq| world.address(responders[0], "price=1", seq, &answers, ROUTED));
    assert_eq!(world.core.metrics().open_requests, 1);
}

#[test]
fn replies_that_are_forged_late_or_for_nobody_are_dropped_by_their_reason() {
    let mut world = World::new();
    let responder = world.named(1, "", Some("service=price"), 0);
    let asker = world.named(2, "", None, 0);
    world.address(asker, "service=price", 0, &request(7), 0);
    let token = world.given(responder)[0].token.unwrap();
    let mut seq = 0;
    let mut reply = |world: &mut World, token| {
        let answers = Addressed { answers: Some(token), ..Addressed::default() };
        world.address(responder, "price=1", seq, &answers, ROUTED);
        seq += 1;
        world.told(responder).pop().unwrap().split(' ').next_back().unwrap().to_owned()
    };
    let mut forged = token;
    forged[20] ^= 1;
    assert_eq!(reply(&mut world, forged), "forbidden");
    let mut elsewhere = token;
    elsewhere[0] ^= 1;
    assert_eq!(reply(&mut world, elsewhere), "no_receiver", "a router that is not there");
    assert_eq!(reply(&mut world, token), "1/0");
    world.pass(Duration::from_secs(5));
    assert_eq!(reply(&mut world, token), "expired");
    world.core.closed(world.now, &mut world.memory, asker, None);
    assert_eq!(reply(&mut world, token), "no_receiver");
    assert_eq!(world.given(asker).len(), 1);
}

#[test]
fn replies_that_find_no_room_are_busy_for_who_replies_and_a_gap_for_who_asked() {
    for deliveries in [0, 1] {
        let mut world = World::new();
        let responder = world.named(1, "", Some("service=price"), deliveries);
        let asker = world.named_client(2, None, deliveries);
        let tight = OpenReceiver { grant: 0, queue_bytes: 300, ..open() };
        world.say(asker, &ControlFrame::OpenReceiver(tight));
        world.address(asker, "service=price", 0, &request(7), 0);
        let token = world.given(responder)[0].token.unwrap();
        let answers = Addressed { answers: Some(token), ..Addressed::default() };
        for seq in 0..20 {
            world.address(responder, "price=1", seq, &answers, ROUTED);
        }
        let busy = world.told(responder).iter().filter(|told| told.ends_with(" busy")).count() as u64;
        assert!(busy > 0, "{:?}", world.told(responder));
        world.say(asker, &ControlFrame::Grant(Grant { receiver: RECEIVER, bytes: 1 << 20 }));
        assert_eq!(world.gaps(asker), [(GapReason::Overflow, busy)]);
        assert_eq!(world.given(asker).len() as u64, 20 - busy);
    }
}

#[test]
fn addresses_that_cannot_be_read_are_for_nobody() {
    let mut world = World::new();
    let all = world.named(1, "", Some("*"), 0);
    let publisher = world.named_client(2, None, 0);
    let many: Vec<String> = (0..17).map(|number| format!("n{number}")).collect();
    let many = Addressed { to: many.iter().map(String::as_str).collect(), ..Addressed::default() };
    world.address(publisher, "host=a", 0, &many, ROUTED);
    world.address(publisher, "host=a", 1, &request(1 << 32), ROUTED);
    assert_eq!(world.told(publisher), ["dropped [0] 0/0 too_large", "dropped [1] 0/0 other"]);
    assert_eq!(world.payloads(all), [""; 0]);
}
