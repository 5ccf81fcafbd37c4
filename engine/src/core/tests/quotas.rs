//! What identities with a quota may take: publishers beyond the rate wait, sessions and selectors
//! beyond the number are refused in words, and a new roll changes both for those who stand.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{
    CloseReceiver, ControlFrame, Hello, OpenReceiver, RefusedReason, Standby, TableCapacity,
};
use millrace_proto::feature::{self, Features};
use millrace_proto::{CloseCode, PROTOCOL_VERSION, PublisherSecret, ReceiverNumber};

use super::world::{World, open};
use crate::rights::{Grant, Meters, Quota, Roll, UsageMetrics};
use crate::transport::ConnKey;

/// A core whose identity `a` has a quota, and whose others have none.
struct Quotas {
    world: World,
    meters: Arc<Meters>,
}

impl Quotas {
    fn new(quota: Quota) -> Self {
        let mut quotas = Self { world: World::new(), meters: Arc::default() };
        quotas.set(quota);
        quotas
    }

    fn set(&mut self, quota: Quota) {
        let limited = Grant { quota, ..Grant::everything("a") };
        let grants = vec![Arc::new(limited), Arc::new(Grant::everything("*"))];
        self.meters.list(&grants);
        self.world.replace_roll(Roll { grants, meters: Arc::clone(&self.meters), ..Roll::default() });
    }

    /// Publishes so many events, each a run of its own with a payload of 100 bytes.
    fn publish(&mut self, conn: ConnKey, seqs: std::ops::Range<u64>) {
        let payload = "x".repeat(100);
        for seq in seqs {
            self.world.publish(conn, "x=1", seq, &[&payload]);
        }
    }

    /// Lets time pass, as the shell does: a turn whenever one is due.
    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        while let Some(due) = self.world.core.poll_timeout().filter(|&due| due <= end) {
            self.world.now = self.world.now.max(due);
            self.world.turns(1);
        }
        self.world.now = end;
        self.world.turns(1);
    }

    /// A client of `a` that knows groups, names and sets.
    fn modern(&mut self, number: u64) -> ConnKey {
        let conn = ConnKey(number);
        self.world.core.certified_client_connected(self.world.now, conn, Some("a".to_owned()));
        let features = [feature::CONFIRMS, feature::GROUPS, feature::NAMES, feature::STANDBY];
        let hello = Hello {
            version: PROTOCOL_VERSION,
            receivers: 8,
            tables: TableCapacity::CLIENT,
            features: features
                .into_iter()
                .chain([feature::DELIVERIES])
                .fold(Features::default(), Features::with),
            secret: Some(PublisherSecret([u8::try_from(number).unwrap(); 32])),
            deliveries: 1,
            ..Hello::default()
        };
        self.world.say(conn, &ControlFrame::Hello(hello));
        conn
    }

    /// Opens a receiver. Returns why it is refused, if it is.
    fn open(&mut self, conn: ConnKey, number: u32, group: &str, name: &str) -> Option<String> {
        let (receiver, group, name) = (ReceiverNumber(number), group.to_owned(), name.to_owned());
        self.says(conn, &ControlFrame::OpenReceiver(OpenReceiver { receiver, group, name, ..open() }))
    }

    /// Has a publisher join a set, or leave it. Returns why it is refused, if it is.
    fn join(&mut self, conn: ConnKey, publisher: u64, set: &str, leave: bool) -> Option<String> {
        let standby = Standby { publisher, set: set.to_owned(), rank: 1, leave, ..Standby::default() };
        self.says(conn, &ControlFrame::Standby(standby))
    }

    fn says(&mut self, conn: ConnKey, frame: &ControlFrame) -> Option<String> {
        let before = self.world.refused(conn).len();
        self.world.say(conn, frame);
        let refused = self.world.refused(conn);
        assert!(refused[before..].iter().all(|(reason, _)| *reason == RefusedReason::Limit), "{refused:?}");
        refused.get(before).map(|(_, message)| message.clone())
    }

    fn events_in(&self) -> u64 {
        self.world.core.metrics().events_in
    }

    fn used(&self) -> UsageMetrics {
        self.meters.usage().first().map(|entry| entry.used).unwrap_or_default()
    }
}

#[test]
fn a_publisher_beyond_its_rate_waits_and_loses_nothing() {
    let mut quotas = Quotas::new(Quota { events_per_second: Some(100), ..Quota::default() });
    let all = quotas.world.receiver(1, open(), &["*"]);
    let (a, other) = (quotas.world.certified(2, Some("a")), quotas.world.certified(3, Some("b")));
    quotas.publish(a, 0..300);
    let at_once = quotas.events_in();
    assert_eq!(at_once, 11, "one, and a tenth of a second's");
    quotas.publish(other, 0..300);
    assert_eq!(quotas.events_in(), at_once + 300, "others do not wait");
    quotas.pass(Duration::from_secs(1));
    let in_a_second = quotas.events_in() - 300;
    assert!((105..=112).contains(&in_a_second), "{in_a_second}");
    quotas.pass(Duration::from_secs(3));
    assert_eq!(quotas.events_in(), 600);
    assert_eq!(quotas.world.stream(all).len(), 600);
    let used = quotas.used();
    assert_eq!((used.events, used.sessions), (300, 1));
    assert!(used.waits > 100);
}

#[test]
fn a_large_run_waits_until_all_of_it_is_paid_for() {
    let mut quotas = Quotas::new(Quota { events_per_second: Some(500), ..Quota::default() });
    let a = quotas.world.certified(2, Some("a"));
    quotas.world.publish(a, "x=1", 0, &["x"; 1500]);
    quotas.pass(Duration::from_millis(2_800));
    assert_eq!(quotas.events_in(), 0);
    quotas.pass(Duration::from_millis(200));
    assert_eq!(quotas.events_in(), 1500);
}

#[test]
fn bytes_are_paced_too() {
    let mut quotas = Quotas::new(Quota { bytes_per_second: Some(10_000), ..Quota::default() });
    let a = quotas.world.certified(2, Some("a"));
    quotas.publish(a, 0..1000);
    quotas.pass(Duration::from_secs(5));
    let bytes = quotas.used().bytes;
    assert!((50_000..=51_500).contains(&bytes), "{bytes} in five seconds");
}

#[test]
fn a_new_quota_counts_at_once_for_publishers_that_stand() {
    let mut quotas = Quotas::new(Quota { events_per_second: Some(1), ..Quota::default() });
    let a = quotas.world.certified(2, Some("a"));
    quotas.publish(a, 0..500);
    assert!(quotas.events_in() < 40);
    quotas.set(Quota { events_per_second: Some(1_000_000), ..Quota::default() });
    quotas.pass(Duration::from_millis(1));
    assert_eq!(quotas.events_in(), 500);
    quotas.set(Quota::default());
    quotas.publish(a, 500..1000);
    assert_eq!(quotas.events_in(), 1000);
    quotas.set(Quota { events_per_second: Some(1), ..Quota::default() });
    quotas.publish(a, 1000..1500);
    assert!(quotas.events_in() < 1040, "who had none has one");
    assert_eq!(quotas.used().sessions, 1);
}

#[test]
fn sessions_beyond_the_quota_are_closed_with_the_reason() {
    let mut quotas = Quotas::new(Quota { sessions: Some(2), ..Quota::default() });
    let (one, _two) = (quotas.world.certified(1, Some("a")), quotas.world.certified(2, Some("a")));
    let third = quotas.world.certified(3, Some("a"));
    quotas.world.certified(4, Some("b"));
    assert_eq!(quotas.world.memory.closed, [(third, CloseCode::Limit)]);
    let (now, memory) = (quotas.world.now, &mut quotas.world.memory);
    quotas.world.core.closed(now, memory, one, None);
    let fourth = quotas.world.certified(5, Some("a"));
    assert!(matches!(quotas.world.control_frames(fourth).first(), Some(ControlFrame::Welcome(_))));
    let used = quotas.used();
    assert_eq!((used.sessions, used.sessions_refused), (2, 1));
}

#[test]
fn selectors_beyond_the_quota_are_refused_and_those_that_go_make_room() {
    let mut quotas = Quotas::new(Quota { selectors: Some(3), ..Quota::default() });
    let (one, two) =
        (quotas.world.receiver_of(1, "a", &["x=1", "x=2"]), quotas.world.receiver_of(2, "a", &["x=1"]));
    quotas.world.ask_for(two, 1, &["x=3"]);
    let refused = quotas.world.refused(two);
    assert_eq!((refused.len(), refused[0].0), (1, RefusedReason::Limit));
    assert!(refused[0].1.contains("identity \"a\" has 3 selectors"), "{}", refused[0].1);
    quotas.world.ask_for(one, 0, &["x=4", "x=5"]);
    assert_eq!(quotas.world.refused(one).len(), 0, "as many in their place");
    let (now, memory) = (quotas.world.now, &mut quotas.world.memory);
    quotas.world.core.closed(now, memory, one, None);
    quotas.world.ask_for(two, 1, &["x=3", "x=4"]);
    let used = quotas.used();
    assert_eq!((used.selectors, used.selectors_refused, quotas.world.refused(two).len()), (3, 1, 1));
    quotas.set(Quota::default());
    quotas.set(Quota { selectors: Some(1), ..Quota::default() });
    assert_eq!(quotas.used().selectors, 3, "those that stand are counted, and stay");
}

#[test]
fn groups_names_and_sets_beyond_the_quota_are_refused_and_those_that_go_make_room() {
    let quota = Quota { groups: Some(1), names: Some(1), sets: Some(1), ..Quota::default() };
    let mut quotas = Quotas::new(quota);
    let (one, two) = (quotas.modern(1), quotas.modern(2));
    assert_eq!(quotas.open(one, 0, "g", ""), None);
    assert_eq!(quotas.open(two, 0, "g", ""), None, "several members of a group count once");
    let why = quotas.open(two, 1, "other", "").unwrap();
    assert!(why.contains("identity \"a\" has 1 groups on this router") && why.contains("(groups)"), "{why}");
    assert_eq!(quotas.open(two, 1, "", "n"), None);
    assert!(quotas.open(one, 1, "", "m").unwrap().contains("has 1 names"));
    assert_eq!(quotas.open(one, 1, "", "n"), None, "the name is taken over");
    assert_eq!(quotas.join(one, 0, "s", false), None);
    assert!(quotas.join(two, 0, "t", false).unwrap().contains("has 1 sets"));
    assert_eq!(quotas.join(two, 0, "s", false), None);
    let used = quotas.used();
    assert_eq!((used.group_members, used.named_receivers, used.set_members), (2, 1, 2));
    assert_eq!((used.groups_refused, used.names_refused, used.sets_refused), (1, 1, 1));

    let (now, memory) = (quotas.world.now, &mut quotas.world.memory);
    quotas.world.core.closed(now, memory, one, None);
    quotas.world.say(two, &ControlFrame::CloseReceiver(CloseReceiver { receiver: ReceiverNumber(0) }));
    assert_eq!(quotas.open(two, 2, "other", ""), None);
    assert_eq!(quotas.open(two, 3, "", "m"), None);
    assert_eq!(quotas.join(two, 0, "", true), None);
    assert_eq!(quotas.join(two, 1, "t", false), None);
    let used = quotas.used();
    assert_eq!((used.group_members, used.named_receivers, used.set_members), (1, 1, 1));
}

#[test]
fn a_new_quota_counts_groups_names_and_sets_that_are_there_and_ends_none() {
    let mut quotas = Quotas::new(Quota::default());
    let conn = quotas.modern(1);
    assert_eq!(quotas.open(conn, 0, "g", "").or(quotas.open(conn, 1, "", "n")), None);
    assert_eq!(quotas.join(conn, 0, "s", false), None);
    let quota = Quota { groups: Some(0), names: Some(1), sets: Some(1), ..Quota::default() };
    quotas.set(quota);
    let used = quotas.used();
    assert_eq!((used.group_members, used.named_receivers, used.set_members), (1, 1, 1));
    assert_eq!(quotas.open(conn, 2, "g", ""), None, "it has this group");
    assert!(quotas.open(conn, 3, "h", "").unwrap().contains("groups"));
    assert!(quotas.open(conn, 3, "", "m").is_some() && quotas.join(conn, 1, "t", false).is_some());
    quotas.set(Quota::default());
    quotas.set(quota);
    let used = quotas.used();
    assert_eq!((used.group_members, used.named_receivers, used.set_members), (2, 1, 1));
}
