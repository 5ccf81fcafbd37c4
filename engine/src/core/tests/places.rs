//! Places of runs: given by owners that keep history, told to those who ask, on every way.

use millrace_proto::control::{ControlFrame, Hello, Subscribe, TableCapacity};
use millrace_proto::data::{self, DataFrame};
use millrace_proto::frame::FrameReader;
use millrace_proto::{DecodeError, Incarnation, PROTOCOL_VERSION, RouterId, feature};

use super::world::{World, open, tag_of};
use crate::core::CoreConfig;
use crate::transport::{ConnKey, StreamKey};

/// A core that keeps history.
pub(super) fn keeping(core: u16, cores: u16) -> World {
    let mut config = CoreConfig::new(RouterId(1), Incarnation(2), core, cores);
    config.limits.kept.history.bytes = 1 << 20;
    config.features = config.features.with(feature::HISTORY);
    World::with(config)
}

/// A client that reads places, with a receiver for everything; deliveries as it wishes.
fn reader(world: &mut World, number: u64, deliveries: u64) -> ConnKey {
    let conn = ConnKey(number);
    world.core.client_connected(world.now, conn);
    let hello = Hello {
        version: PROTOCOL_VERSION,
        receivers: 8,
        tables: TableCapacity::CLIENT,
        deliveries,
        positions: true,
        ..Hello::default()
    };
    let features = hello.features.with(feature::HISTORY).with(feature::DELIVERIES);
    world.say(conn, &ControlFrame::Hello(Hello { features, ..hello }));
    world.say(conn, &ControlFrame::OpenReceiver(open()));
    let subscribe = Subscribe { selectors: vec!["*".to_owned()], ..Subscribe::default() };
    world.say(conn, &ControlFrame::Subscribe(subscribe));
    conn
}

/// Owner and position of each run on a receiver's stream.
fn places(world: &World, conn: ConnKey) -> Vec<(u16, u64)> {
    let (mut told, mut sources) = (Vec::new(), Vec::new());
    let Some(written) = world.memory.written.get(&(conn, StreamKey(3))) else { return told };
    let mut is_preamble = true;
    FrameReader::new()
        .feed::<DecodeError>(written, data::FRAME_BYTES_MAX, |kind, body| {
            if std::mem::take(&mut is_preamble) {
                return Ok(());
            }
            match data::decode(kind, body)? {
                DataFrame::DefineSource { number, source } => sources.push((number, source)),
                DataFrame::Run { hop, .. } | DataFrame::Deliver { hop, .. } => {
                    let (number, position) = hop.position()?.expect("it has a place");
                    let known = sources.iter().rev().find(|(known, _)| *known == number).unwrap();
                    assert_eq!((known.1.router, known.1.incarnation), (RouterId(1), Incarnation(2)));
                    told.push((known.1.owner, position));
                }
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    told
}

#[test]
fn runs_of_several_owners_carry_their_places_on_both_kinds_of_streams() {
    for deliveries in [0, 1] {
        let (mut first, mut second) = (keeping(0, 2), keeping(1, 2));
        let receiver = reader(&mut second, 1, deliveries);
        second.receiver(2, open(), &["*"]);
        let publisher = first.client(1);
        let (own, other) = (tag_of(0, 2), tag_of(1, 2));
        for seq in 0..6 {
            first.publish(publisher, if seq % 3 == 0 { &own } else { &other }, seq, &["event"]);
        }
        while let Some(batch) = first.core.next_batch(1) {
            second.core.batch(second.now, 0, &batch).unwrap();
        }
        second.settle();
        let mut told = places(&second, receiver);
        told.sort_unstable();
        // The sibling's own runs go nowhere, because its directory is empty here.
        assert_eq!(told, [(1, 0), (1, 1), (1, 2), (1, 3)], "deliveries {deliveries}");
        assert_eq!(first.core.metrics().history_evicted, 0);
        assert!(first.core.metrics().history_bytes > 0);
        assert_eq!(second.stream(ConnKey(2)).len(), 4, "nobody else is told");
    }
}

#[test]
fn without_history_nothing_is_kept_and_nothing_is_told() {
    let mut world = World::new();
    let receiver = reader(&mut world, 1, 0);
    let publisher = world.client(2);
    world.publish(publisher, "host=a", 0, &["event"]);
    assert_eq!(world.stream(receiver), ["0 event [0]"]);
    assert_eq!(world.core.metrics().history_bytes, 0);
}
