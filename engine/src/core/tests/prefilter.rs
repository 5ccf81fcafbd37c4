//! What crosses to a location that wants only payload patterns, against each pattern by itself.

use std::sync::Arc;

use millrace_proto::data::{self, DataFrame};
use millrace_proto::frame::FrameReader;
use millrace_proto::selector::Pattern;
use millrace_proto::{DecodeError, Incarnation, RouterId, Selector};
use proptest::prelude::*;

use super::world::{World, tag_of};
use crate::core::{Core, CoreConfig};
use crate::matching::{Index, Location, Taker};
use crate::message::ToCore;
use crate::payload::FilterTable;
use crate::transport::ConnKey;

/// A core of several, whose siblings want what these selectors say: each the one of its place, from
/// 1 on.
fn world(wanted: &[&[&str]]) -> World {
    let mut world = World::new();
    let cores = u16::try_from(wanted.len() + 1).unwrap();
    let config = CoreConfig::new(RouterId(1), Incarnation(2), 0, cores);
    let (mut index, mut filters) = (Index::new(config.seed), FilterTable::new(3));
    for (core, selectors) in (1..).zip(wanted) {
        for selector in *selectors {
            let selector = Arc::new(Selector::parse(selector).unwrap().interest());
            let filter = selector.literals().and_then(|literals| filters.refer(literals));
            index.insert(&selector, Taker::new(Location::Core(core), filter));
        }
    }
    let directory =
        ToCore::Directory { version: 1, index, prefilter: filters.prefilter(), joined: Vec::new() };
    world.core = Core::new(config, world.now);
    for message in [ToCore::Synced(true), directory] {
        world.core.handle_message(world.now, &mut world.memory, message);
    }
    world.core.turn(world.now, &mut world.memory);
    world
}

/// What was handed to a sibling: seqs and payloads, and the bytes of all bodies.
fn handed(world: &mut World, to: u16) -> (Vec<(u64, String)>, usize) {
    let (mut events, mut bytes) = (Vec::new(), 0);
    let mut reader = FrameReader::new();
    while let Some(batch) = world.core.next_batch(to) {
        let each = |kind, frame: &[u8]| {
            if let DataFrame::Run { body, .. } = data::decode(kind, frame)? {
                bytes += body.bytes().len();
                let text = |payload| String::from_utf8_lossy(payload).into_owned();
                events.extend(body.events().map(|event| (event.seq, text(event.payload))));
            }
            Ok(())
        };
        reader.feed::<DecodeError>(&batch, data::FRAME_BYTES_MAX, each).unwrap();
    }
    (events, bytes)
}

fn publish(world: &mut World, publisher: ConnKey, tag: &str, payloads: &[String], per_run: usize) {
    for (run, payloads) in payloads.chunks(per_run).enumerate() {
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        world.publish(publisher, tag, (run * per_run) as u64, &payloads);
    }
}

#[test]
fn one_hit_in_a_thousand_takes_less_than_a_hundredth_of_the_bytes_across() {
    for per_run in [1, 100] {
        let mut world = world(&[&["payload ~ /RAID STATUS CHANGE/"], &["*"]]);
        let publisher = world.client(1);
        let payload = |number: usize| match number % 1_000 {
            500 => format!("{number}: RAID STATUS CHANGE on /dev/md0"),
            _ => format!("{number}: RAID status is what it was on /dev/md0"),
        };
        let payloads: Vec<String> = (0..5_000).map(payload).collect();
        publish(&mut world, publisher, &tag_of(0, 3), &payloads, per_run);
        let ((few, few_bytes), (all, all_bytes)) = (handed(&mut world, 1), handed(&mut world, 2));
        assert_eq!(few.iter().map(|&(seq, _)| seq).collect::<Vec<_>>(), [500, 1_500, 2_500, 3_500, 4_500]);
        assert_eq!(all.len(), 5_000);
        assert!(few_bytes * 100 <= all_bytes, "{few_bytes} of {all_bytes}");
        let metrics = world.core.metrics();
        assert_eq!((metrics.events_prefiltered, metrics.events_to_siblings), (4_995, 5_005));
        assert_eq!(metrics.prefilter_overruns, 0);
    }
}

#[test]
fn a_plain_interest_beside_a_pattern_gets_everything_once() {
    let mut world = world(&[&["host", "payload ~ /disk failed/", "payload ~ /[a-z]+/"]]);
    let publisher = world.client(1);
    publish(&mut world, publisher, &tag_of(0, 2), &["fine".to_owned(), "disk failed".to_owned()], 1);
    assert_eq!(handed(&mut world, 1).0.len(), 2);
    assert_eq!(world.core.metrics().prefilter_bytes, 0);
}

#[test]
fn who_makes_comparisons_costly_gets_everything_and_holds_up_nobody() {
    let selectors: Vec<String> = (0..1_000).map(|number| format!("payload ~ /aaaaaaaa{number}/")).collect();
    let selectors: Vec<&str> = selectors.iter().map(String::as_str).collect();
    let mut world = world(&[&selectors]);
    let publisher = world.client(1);
    publish(&mut world, publisher, &tag_of(0, 2), &["a".repeat(10_000)], 1);
    assert_eq!(handed(&mut world, 1).0.len(), 1);
    assert_eq!(world.core.metrics().prefilter_overruns, 1);
}

const PATTERNS: &[&str] =
    &["abcab", "b+cab", "^aab", "cba$", "aab.*bcc", "abc|cab", "[ab]cca", "(?i)aba", "a", "(bca){2}"];

proptest! {
    #[test]
    fn no_event_that_a_pattern_is_found_in_is_kept_back(
        wanted in prop::collection::vec(prop::collection::vec(0..PATTERNS.len(), 1..4), 1..4),
        payloads in prop::collection::vec("[abcA]{0,10}", 1..40),
        per_run in 1..8_usize,
    ) {
        let selectors: Vec<Vec<String>> = wanted
            .iter()
            .map(|picks| picks.iter().map(|&pick| format!("payload ~ /{}/", PATTERNS[pick])).collect())
            .collect();
        let texts: Vec<Vec<&str>> =
            selectors.iter().map(|all| all.iter().map(String::as_str).collect()).collect();
        let mut world = world(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let publisher = world.client(1);
        publish(&mut world, publisher, &tag_of(0, u16::try_from(wanted.len() + 1).unwrap()), &payloads, per_run);
        for (core, picks) in (1..).zip(&wanted) {
            let (handed, _) = handed(&mut world, core);
            for (seq, payload) in &handed {
                prop_assert_eq!(payload, &payloads[usize::try_from(*seq).unwrap()]);
            }
            let patterns: Vec<Pattern> =
                picks.iter().map(|&pick| Pattern::compile(PATTERNS[pick]).unwrap()).collect();
            for (seq, payload) in (0..).zip(&payloads) {
                if patterns.iter().any(|pattern| pattern.automaton().is_match(payload.as_bytes())) {
                    prop_assert!(handed.iter().any(|(found, _)| *found == seq), "{} to core {}", payload, core);
                }
            }
        }
    }
}
