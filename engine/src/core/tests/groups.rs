//! Groups on one core, with a control that gives every member its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{
    Ack, AckKind, ControlFrame, Hello, Member, OpenReceiver, Pong, RefusedReason, Subscribe, TableCapacity,
    Ticket,
};
use millrace_proto::data::{self, DataFrame, flag, target_flag};
use millrace_proto::feature::{self, Features};
use millrace_proto::frame::FrameReader;
use millrace_proto::selector::Membership;
use millrace_proto::{DecodeError, PROTOCOL_VERSION, ReceiverNumber, RouterId, Selector, SubscriptionNumber};

use super::world::{CONTROL, World, open};
use crate::core::CoreConfig;
use crate::groups::{GROUPS_MAX, MemberState};
use crate::matching::{Index, Location, Taker};
use crate::message::{CoreOutput, MemberNews, PrepareOrder, Prepared, ToControl, ToCore};
use crate::payload::Prefilter;
use crate::transport::{ConnKey, StreamKey};

const RECEIVER: ReceiverNumber = ReceiverNumber(0);

/// A run that a member was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    payloads: Vec<String>,
    ticket: Ticket,
    maybe_duplicate: bool,
}

/// A core whose control keeps a directory.
struct Groups {
    world: World,
    index: Index<Taker>,
    version: u64,
    /// Places of members, by number.
    places: BTreeMap<u32, u16>,
    states: BTreeMap<u32, MemberState>,
    shared: bool,
}

impl Groups {
    fn new(shared: bool) -> Self {
        let config = CoreConfig::new(RouterId(1), millrace_proto::Incarnation(2), 0, 1);
        let index = Index::new(config.seed);
        Self {
            world: World::with(config),
            index,
            version: 0,
            places: BTreeMap::new(),
            states: BTreeMap::new(),
            shared,
        }
    }

    /// Answers the core as control would, with a directory of its members.
    fn settle(&mut self) {
        let (mut answers, mut heard) = (Vec::new(), 0);
        while let Some(output) = self.world.core.poll_output() {
            heard += 1;
            match output {
                CoreOutput::Prepare(PrepareOrder { token, selectors, .. }) => {
                    let prepare = |text: &String| {
                        let selector = Arc::new(Selector::parse(text).map_err(|error| error.to_string())?);
                        let payload = selector.compile_payload().map_err(|error| error.to_string())?;
                        let interest = Arc::new(selector.without_payload());
                        Ok(Prepared { selector, interest, payload: payload.map(Arc::new), cover: None })
                    };
                    let result = selectors.iter().map(prepare).collect();
                    answers.push(ToCore::Prepared { token, result });
                }
                CoreOutput::ToControl(ToControl::Interest { add, remove, .. }) => {
                    answers.extend(self.changed(&add, &remove));
                }
                CoreOutput::ToControl(ToControl::Members(states)) => self.states.extend(states),
                CoreOutput::ToControl(_) => {}
            }
        }
        for answer in answers {
            self.world.core.handle_message(self.world.now, &mut self.world.memory, answer);
        }
        self.world.core.turn(self.world.now, &mut self.world.memory);
        // What the turn says is heard in the next round.
        if heard > 0 {
            self.settle();
        }
    }

    fn changed(&mut self, add: &[Arc<Selector>], remove: &[Arc<Selector>]) -> Vec<ToCore> {
        let mut news = Vec::new();
        for selector in add {
            let member = Arc::clone(selector.membership().unwrap());
            let next = u16::try_from(self.places.len()).unwrap();
            let index = *self.places.entry(member.member).or_insert(next);
            self.index.insert(selector, Taker::new(Location::Member(index), None));
            let (location, router) = (Location::Core(0), RouterId(1));
            news.push(MemberNews::Joined { index, member, location, router });
        }
        for selector in remove {
            let index = self.places[&selector.membership().unwrap().member];
            self.index.remove(selector, Taker::new(Location::Member(index), None));
            news.push(MemberNews::Left { index });
        }
        self.version += 1;
        let prefilter = Arc::new(Prefilter::default());
        let (version, index, joined) = (self.version, self.index.clone(), Vec::new());
        vec![ToCore::Members(news), ToCore::Directory { version, index, prefilter, joined }]
    }

    fn say(&mut self, conn: ConnKey, frame: &ControlFrame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let World { core, memory, now } = &mut self.world;
        let is_known = memory.input.contains_key(&(conn, CONTROL));
        memory.input.entry((conn, CONTROL)).or_default().extend(bytes);
        if !is_known {
            core.stream_opened(*now, memory, conn, CONTROL);
        }
        core.readable(*now, memory, conn, CONTROL);
        core.turn(*now, memory);
        self.settle();
    }

    fn client(&mut self, number: u64) -> ConnKey {
        let conn = ConnKey(number);
        self.world.core.client_connected(self.world.now, conn);
        let features =
            Features::default().with(feature::CONFIRMS).with(feature::GROUPS).with(feature::DELIVERIES);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            receivers: 8,
            tables: TableCapacity::CLIENT,
            features,
            deliveries: u64::from(self.shared),
            ..Hello::default()
        };
        self.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    /// A member of the group *disks*.
    fn member(&mut self, number: u64, level: u32) -> ConnKey {
        self.member_as(number, OpenReceiver { level, ..open() })
    }

    fn member_as(&mut self, number: u64, wish: OpenReceiver) -> ConnKey {
        let conn = self.client(number);
        self.say(conn, &ControlFrame::OpenReceiver(OpenReceiver { group: "disks".into(), ..wish }));
        let (receiver, subscription) = (RECEIVER, SubscriptionNumber(0));
        let selectors = vec!["host".to_owned()];
        self.say(
            conn,
            &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() }),
        );
        conn
    }

    fn publish(&mut self, tags: &str, first_seq: u64, payloads: &[&str]) {
        let conn = ConnKey(100);
        if first_seq == 0 {
            self.client(100);
        }
        self.world.publish(conn, tags, first_seq, payloads);
        self.settle();
    }

    fn take(&mut self, conn: ConnKey, tickets: Vec<Ticket>) {
        let kind = AckKind::Taken;
        self.say(conn, &ControlFrame::Ack(Ack { receiver: RECEIVER, kind, tickets, ..Ack::default() }));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.world.now = self.world.now + Duration::from_millis(50);
            self.settle();
        }
    }

    /// As [`pass`](Self::pass), with these clients answering pings.
    fn pass_alive(&mut self, time: Duration, alive: &[ConnKey]) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.pass(Duration::from_millis(500));
            for &conn in alive {
                self.say(conn, &ControlFrame::Pong(Pong { nonce: 1 }));
            }
        }
    }

    /// What a member was given, on a stream of its own or a shared one.
    fn got(&self, conn: ConnKey) -> Vec<Got> {
        let mut got = Vec::new();
        let Some(written) = self.world.memory.written.get(&(conn, StreamKey(3))) else { return got };
        let payloads = |body: &millrace_proto::run::RunBody<'_>| {
            body.events().map(|event| String::from_utf8_lossy(event.payload).into_owned()).collect()
        };
        let mut each = |kind: u64, body: &[u8]| {
            match data::decode(kind, body) {
                Ok(DataFrame::Run { hop, body }) => {
                    let ticket = hop.ticket()?.unwrap();
                    assert_eq!(ticket.group, "disks");
                    let ticket = Ticket { ticket: ticket.ticket, generation: ticket.generation };
                    let maybe_duplicate = hop.flags & flag::MAYBE_DUPLICATE != 0;
                    got.push(Got { payloads: payloads(&body), ticket, maybe_duplicate });
                }
                Ok(DataFrame::Deliver { targets, body, .. }) => {
                    let target = targets.iter().next().unwrap();
                    let (ticket, generation) = target.ticket.unwrap();
                    let ticket = Ticket { ticket, generation };
                    let maybe_duplicate = target.flags & target_flag::MAYBE_DUPLICATE != 0;
                    got.push(Got { payloads: payloads(&body), ticket, maybe_duplicate });
                }
                _ => {}
            }
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
        got
    }

    fn payloads(&self, conn: ConnKey) -> Vec<String> {
        self.got(conn).into_iter().flat_map(|got| got.payloads).collect()
    }

    fn tickets(&self, conn: ConnKey) -> Vec<Ticket> {
        self.got(conn).into_iter().map(|got| got.ticket).collect()
    }
}

#[test]
fn one_member_gets_each_event_on_both_kinds_of_streams() {
    for shared in [false, true] {
        let mut groups = Groups::new(shared);
        let members = [groups.member(1, 1), groups.member(2, 1), groups.member(3, 2)];
        let names: Vec<String> = (0..40).map(|number| format!("e{number}")).collect();
        for (seq, name) in (0..).zip(&names) {
            groups.publish(&format!("host=h{seq}"), seq, &[name.as_str()]);
        }
        let counts: Vec<usize> = members.iter().map(|&conn| groups.payloads(conn).len()).collect();
        assert_eq!((counts[0] + counts[1], counts[2]), (40, 0), "the second level is not needed");
        assert!(counts.iter().all(|&count| count <= 25), "at most 1.25 times the mean: {counts:?}");
        let mut all: Vec<String> = members.iter().flat_map(|&conn| groups.payloads(conn)).collect();
        all.sort_unstable();
        let mut names = names;
        names.sort_unstable();
        assert_eq!(all, names);
        for conn in members {
            let tickets = groups.tickets(conn);
            groups.take(conn, tickets);
        }
        groups.pass(Duration::from_millis(300));
        assert_eq!(groups.world.core.metrics().group_held, 0, "nothing is kept that was acknowledged");
    }
}

#[test]
fn what_a_member_leaves_goes_to_another_one_and_is_marked() {
    for shared in [false, true] {
        let mut groups = Groups::new(shared);
        let (first, second) = (groups.member(1, 1), groups.member(2, 2));
        groups.publish("host=a", 0, &["x", "y"]);
        groups.publish("host=a", 2, &["z"]);
        assert_eq!(groups.payloads(first), ["x", "y", "z"]);
        groups.take(first, groups.tickets(first)[..1].to_vec());
        groups.world.core.closed(groups.world.now, &mut groups.world.memory, first, None);
        groups.settle();
        let got = groups.got(second);
        assert_eq!(
            (got.len(), &got[0].payloads[..], got[0].maybe_duplicate),
            (1, &["z".to_owned()][..], true)
        );
        assert_eq!(got[0].ticket.generation, 1);
    }
}

#[test]
fn a_member_that_says_busy_is_passed_over_at_once() {
    let mut groups = Groups::new(false);
    let (first, second) = (groups.member(1, 1), groups.member(2, 2));
    groups.publish("host=a", 0, &["x"]);
    groups.say(first, &ControlFrame::Member(Member { receiver: RECEIVER, busy: true }));
    groups.publish("host=a", 1, &["y"]);
    assert_eq!((groups.payloads(first), groups.payloads(second)), (vec!["x".into()], vec!["y".into()]));
    assert!(groups.states.values().any(|state| state.busy && state.in_flight == 1));
}

#[test]
fn a_member_at_its_bound_is_passed_over_and_what_nobody_takes_waits() {
    let mut groups = Groups::new(true);
    let first = groups.member_as(1, OpenReceiver { level: 1, max_inflight: 2, ..open() });
    let second = groups.member_as(2, OpenReceiver { level: 2, max_inflight: 1, ..open() });
    groups.publish("host=a", 0, &["a", "b", "c", "d"]);
    assert_eq!(groups.payloads(first), ["a", "b"]);
    assert_eq!(groups.payloads(second), ["c"]);
    groups.take(second, groups.tickets(second));
    assert_eq!(groups.payloads(second), ["c", "d"], "better a busy one than nobody");
}

#[test]
fn a_session_that_does_not_answer_loses_what_it_has_within_its_silence() {
    let mut groups = Groups::new(false);
    let (first, second) = (groups.member(1, 1), groups.member(2, 2));
    groups.publish("host=a", 0, &["x"]);
    let pinged = |groups: &Groups| {
        let frames = groups.world.control_frames(first);
        frames.iter().filter(|frame| matches!(frame, ControlFrame::Ping(_))).count()
    };
    groups.pass_alive(Duration::from_secs(1), &[first, second]);
    assert!(pinged(&groups) >= 2);
    groups.pass_alive(Duration::from_millis(1600), &[second]);
    assert_eq!(groups.payloads(second), ["x"]);
    groups.publish("host=a", 1, &["y"]);
    assert_eq!(groups.payloads(second), ["x", "y"]);
}

#[test]
fn delivery_goes_on_after_all_members_have_timed_out() {
    let mut groups = Groups::new(false);
    let only = groups.member_as(1, OpenReceiver { max_inflight: 1, ..open() });
    groups.publish("host=a", 0, &["x"]);
    groups.publish("host=b", 1, &["y"]);
    assert_eq!(groups.payloads(only), ["x"]);
    let old = groups.tickets(only);
    groups.pass_alive(Duration::from_secs(31), &[only]);
    let payloads = groups.payloads(only);
    assert!(payloads.len() >= 2, "{payloads:?}");
    groups.take(only, old);
    assert_eq!(groups.world.core.metrics().stale_acks, 1);
}

#[test]
fn members_have_no_payload_patterns_and_need_a_client_that_knows_groups() {
    let mut groups = Groups::new(false);
    let conn = groups.member(1, 1);
    let (receiver, subscription) = (RECEIVER, SubscriptionNumber(1));
    let selectors = vec!["payload ~ /x/".to_owned()];
    groups.say(
        conn,
        &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() }),
    );
    let old = groups.world.client(2);
    groups.say(old, &ControlFrame::OpenReceiver(OpenReceiver { group: "disks".into(), ..open() }));
    let refused = |conn| {
        let frames = groups.world.control_frames(conn).into_iter();
        frames.filter_map(|frame| match frame {
            ControlFrame::Refused(refused) => Some(refused),
            _ => None,
        })
    };
    assert!(refused(conn).next().unwrap().message.contains("payload pattern"));
    assert_eq!(refused(old).next().unwrap().reason, RefusedReason::Unsupported);
}

#[test]
fn a_group_more_than_a_cluster_may_have_is_refused_and_one_that_is_there_takes_members() {
    let mut groups = Groups::new(false);
    let now = groups.world.now;
    for number in 0..GROUPS_MAX {
        let membership = Membership {
            group: format!("group-{number}").into(),
            member: u32::from(number),
            level: 1,
            exclusive: false,
            max_inflight: 1,
        };
        let here = Location::Core(0);
        groups.world.core.path.groups.join(now, number, &membership, here, RouterId(1));
    }
    let one_more = groups.client(1);
    groups.say(one_more, &ControlFrame::OpenReceiver(OpenReceiver { group: "disks".into(), ..open() }));
    let known = groups.client(2);
    groups.say(known, &ControlFrame::OpenReceiver(OpenReceiver { group: "group-7".into(), ..open() }));
    let refused = |conn| {
        let frames = groups.world.control_frames(conn).into_iter();
        frames.filter_map(|frame| match frame {
            ControlFrame::Refused(refused) => Some(refused),
            _ => None,
        })
    };
    let answer = refused(one_more).next().unwrap();
    assert!(answer.reason == RefusedReason::Limit && answer.message.contains("4096 groups"), "{answer:?}");
    assert_eq!(refused(known).next(), None);
}

#[test]
fn an_exclusive_group_gives_everything_to_one() {
    let mut groups = Groups::new(false);
    let exclusive = || OpenReceiver { exclusive: true, ..open() };
    let members = [1, 2, 3].map(|number| groups.member_as(number, exclusive()));
    for seq in 0..30 {
        groups.publish(&format!("host=h{seq}"), seq, &["x"]);
    }
    let mut counts = members.map(|conn| groups.payloads(conn).len());
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 30]);
    let active = members.into_iter().find(|&conn| !groups.payloads(conn).is_empty()).unwrap();
    groups.world.core.closed(groups.world.now, &mut groups.world.memory, active, None);
    groups.settle();
    let left: Vec<ConnKey> = members.into_iter().filter(|&conn| conn != active).collect();
    let mut counts: Vec<usize> = left.iter().map(|&conn| groups.payloads(conn).len()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 30], "the next one has it all");
}
