//! What identities may publish and receive, what is stamped on their events, and what a new roll
//! does to sessions that stand.

use std::sync::Arc;

use millrace_proto::control::{ControlFrame, OpenReceiver, RefusedReason, Subscribe};
use millrace_proto::data::{self, DataFrame};
use millrace_proto::frame::FrameReader;
use millrace_proto::proof::Token;
use millrace_proto::{CloseCode, DecodeError, SubscriptionNumber};

use super::world::{World, open};
use crate::core::metrics::DropReason;
use crate::rights::{AllowList, Grant, Roll};
use crate::transport::{ConnKey, StreamKey};

fn list(texts: &[&str]) -> Option<Arc<AllowList>> {
    Some(Arc::new(AllowList::read(texts).unwrap()))
}

/// Tenants `a` and `b`, each with what is its own, and whoever else with everything.
fn tenants() -> Roll {
    let tenant = |name: &str| {
        let own = format!("tenant={name}");
        Arc::new(Grant { publish: list(&[&own]), subscribe: list(&[&own]), ..Grant::everything(name) })
    };
    Roll { grants: vec![tenant("a"), tenant("b"), Arc::new(Grant::everything("*"))], ..Roll::default() }
}

fn world(roll: Roll) -> World {
    let mut world = World::new();
    world.replace_roll(roll);
    world
}

impl World {
    pub(super) fn receiver_of(&mut self, number: u64, identity: &str, selectors: &[&str]) -> ConnKey {
        let conn = self.certified(number, Some(identity));
        self.say(conn, &ControlFrame::OpenReceiver(open()));
        self.ask_for(conn, 0, selectors);
        conn
    }

    pub(super) fn ask_for(&mut self, conn: ConnKey, subscription: u32, selectors: &[&str]) {
        let selectors = selectors.iter().map(|&text| text.to_owned()).collect();
        let receiver = OpenReceiver::default().receiver;
        let subscription = SubscriptionNumber(subscription);
        self.say(
            conn,
            &ControlFrame::Subscribe(Subscribe { receiver, subscription, selectors, ..Subscribe::default() }),
        );
    }

    pub(super) fn replace_roll(&mut self, roll: Roll) {
        self.core.set_roll(self.now, &mut self.memory, Arc::new(roll));
        self.settle();
    }

    pub(super) fn refused(&self, conn: ConnKey) -> Vec<(RefusedReason, String)> {
        let frames = self.control_frames(conn).into_iter();
        let refused = |frame| match frame {
            ControlFrame::Refused(refused) => Some((refused.reason, refused.message)),
            _ => None,
        };
        frames.filter_map(refused).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.core.metrics().dropped[reason as usize]
    }

    /// The tag sets that a receiver's stream defines.
    fn tag_sets(&self, conn: ConnKey) -> Vec<String> {
        let mut sets = Vec::new();
        let Some(written) = self.memory.written.get(&(conn, StreamKey(3))) else { return sets };
        let mut each = |kind: u64, body: &[u8]| {
            if kind == data::kind::DEFINE_TAGS
                && let DataFrame::DefineTags { tags, .. } = data::decode(kind, body)?
            {
                sets.push(tags.to_string());
            }
            Ok(())
        };
        FrameReader::new().feed::<DecodeError>(written, data::FRAME_BYTES_MAX, &mut each).unwrap();
        sets
    }
}

#[test]
fn another_tenants_star_sees_nothing_of_mine() {
    let mut world = world(tenants());
    let (a, b) = (world.receiver_of(1, "a", &["*"]), world.receiver_of(2, "b", &["*"]));
    let all = world.receiver_of(3, "auditor", &["*"]);
    let publisher = world.certified(4, Some("a"));
    world.publish(publisher, "tenant=a,x=1", 0, &["mine"]);
    assert_eq!(world.stream(a), ["0 mine [0]"]);
    assert_eq!(world.stream(b), [""; 0]);
    assert_eq!(world.stream(all), ["0 mine [0]"]);
}

#[test]
fn subscriptions_outside_of_the_list_are_refused_and_others_narrowed() {
    let mut world = world(tenants());
    let conn = world.receiver_of(1, "b", &["tenant=a"]);
    let refused = world.refused(conn);
    assert_eq!(refused[0].0, RefusedReason::Forbidden);
    assert!(
        refused[0].1.contains("identity \"b\" may not receive this") && refused[0].1.contains("tenant=b")
    );
    world.ask_for(conn, 1, &["tenant in (a,b)", "x>3"]);
    let publisher = world.certified(4, Some("auditor"));
    world.publish(publisher, "tenant=b", 0, &["narrowed"]);
    world.publish(publisher, "tenant=a,x=4", 1, &["outside"]);
    world.publish(publisher, "x=4", 2, &["outside"]);
    assert_eq!((world.stream(conn), world.refused(conn).len()), (vec!["0 narrowed [1]".to_owned()], 1));
}

#[test]
fn events_outside_of_the_list_are_dropped_counted_and_told() {
    let mut world = world(tenants());
    let all = world.receiver_of(3, "auditor", &["*"]);
    let publisher = world.certified(4, Some("b"));
    world.publish(publisher, "tenant=a", 0, &["forged", "forged"]);
    world.publish(publisher, "tenant=b", 2, &["own"]);
    assert_eq!(world.stream(all), ["2 own [0]"]);
    assert_eq!((world.dropped(DropReason::NotAllowed), world.core.metrics().tag_sets_refused), (2, 1));
    let refused = world.refused(publisher);
    assert_eq!((refused.len(), refused[0].0), (1, RefusedReason::Forbidden));
    assert!(refused[0].1.contains("may not publish tenant=a"), "{refused:?}");
}

#[test]
fn stamps_reach_receivers_and_forged_ones_do_not() {
    let stamped = Grant {
        stamps: vec![("tenant".to_owned(), "b".to_owned())],
        stamps_identity: true,
        ..Grant::everything("b")
    };
    let grants = vec![Arc::new(stamped), Arc::new(Grant::everything("*"))];
    let mut world = world(Roll { grants, ..Roll::default() });
    let all = world.receiver_of(3, "auditor", &["tenant=b", "millrace/identity=b", "tenant=a"]);
    let publisher = world.certified(4, Some("b"));
    world.publish(publisher, "x=1", 0, &["stamped"]);
    world.publish(publisher, "tenant=a", 1, &["forged"]);
    world.publish(publisher, "millrace/identity=a", 2, &["forged"]);
    assert_eq!(world.stream(all), ["0 stamped [0]"]);
    assert_eq!(world.tag_sets(all), ["millrace/identity=b,tenant=b,x=1"]);
    assert_eq!((world.dropped(DropReason::StampedKey), world.dropped(DropReason::ReservedKey)), (1, 1));
}

#[test]
fn who_has_no_rights_is_closed_at_its_hello() {
    let token = Token("a long token".to_owned()).hash();
    let mut roll = Roll { tokens: [(token, "a".to_owned())].into(), ..tenants() };
    roll.grants.pop();
    let mut world = world(roll);
    let known = world.certified(1, Some("a"));
    assert!(matches!(
        world.control_frames(known).first(),
        Some(ControlFrame::Welcome(welcome)) if welcome.identity == "a"
    ));
    let stranger = world.certified(2, Some("c"));
    let nobody = world.client(3);
    assert_eq!(world.memory.closed, [(stranger, CloseCode::Forbidden), (nobody, CloseCode::Forbidden)]);
}

#[test]
fn a_new_roll_closes_who_has_lost_a_right_that_it_uses_and_nobody_else() {
    let mut world = world(tenants());
    let (a, b) = (world.receiver_of(1, "a", &["*"]), world.receiver_of(2, "b", &["*"]));
    let all = world.receiver_of(3, "auditor", &["*"]);
    let (publisher_a, publisher_b) = (world.certified(4, Some("a")), world.certified(5, Some("b")));
    world.publish(publisher_a, "tenant=a", 0, &["before"]);
    world.publish(publisher_b, "tenant=b", 0, &["before"]);
    // Wider for one, narrower for the other.
    let mut roll = tenants();
    roll.grants[0] = Arc::new(Grant { publish: list(&["*"]), ..(*roll.grants[0]).clone() });
    roll.grants[1] =
        Arc::new(Grant { publish: list(&["tenant=b,x=1"]), subscribe: list(&[]), ..Grant::everything("b") });
    world.replace_roll(roll.clone());
    assert_eq!(world.memory.closed, [(b, CloseCode::Forbidden), (publisher_b, CloseCode::Forbidden)]);
    world.publish(publisher_a, "tenant=a", 1, &["after"]);
    assert_eq!(world.stream(a), ["0 before [0]", "1 after [0]"]);
    assert_eq!(world.stream(all).len(), 3);
    // Removed altogether.
    roll.grants.remove(0);
    roll.grants.pop();
    world.replace_roll(roll);
    let closed: Vec<ConnKey> = world.memory.closed.iter().map(|&(conn, _)| conn).collect();
    assert_eq!(closed, [b, publisher_b, a, all, publisher_a]);
}

#[test]
fn what_was_refused_is_taken_once_a_new_roll_allows_it() {
    let mut world = world(tenants());
    let all = world.receiver_of(3, "auditor", &["*"]);
    let publisher = world.certified(4, Some("b"));
    world.publish(publisher, "tenant=a", 0, &["early"]);
    let mut roll = tenants();
    roll.grants[1] = Arc::new(Grant::everything("b"));
    world.replace_roll(roll);
    world.publish(publisher, "tenant=a", 1, &["late"]);
    assert_eq!(world.stream(all), ["1 late [0]"]);
    assert_eq!(world.dropped(DropReason::NotAllowed), 1);
}
