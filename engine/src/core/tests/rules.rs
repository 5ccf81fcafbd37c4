//! Tag rules at the owner: which events receivers get, against an oracle; budget, confirms,
//! identities.

use std::sync::Arc;

use millrace_proto::data::{self, DataFrame, HopHeader};
use millrace_proto::frame::FrameReader;
use millrace_proto::rule::{Memory, RuleText};
use millrace_proto::stream::LanePreamble;
use millrace_proto::{DecodeError, Selector, TagSet};
use proptest::prelude::*;

use super::confirms::{DELIVERED, ROUTED};
use super::confirms_between::Cores;
use super::world::{KEY, World, lane, open, tag_of};
use crate::rights::{Grant, Roll};
use crate::rules::{RuleLimits, RuleSet};
use crate::transport::{ConnKey, StreamKey};

fn rule(name: &str, when: &str, set: &[(&str, &str)]) -> RuleText {
    let set = set.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    RuleText { name: name.to_owned(), when: when.to_owned(), set }
}

fn set_of(texts: &[RuleText], limits: RuleLimits) -> Arc<RuleSet> {
    Arc::new(RuleSet::new(texts, limits).unwrap())
}

fn ruled(texts: &[RuleText]) -> World {
    let mut world = World::new();
    world.core.set_rules(set_of(texts, RuleLimits::default()));
    world
}

/// The tag sets that a stream has defined.
fn tag_sets(world: &World, conn: ConnKey) -> Vec<String> {
    let (mut sets, written) = (Vec::new(), &world.memory.written[&(conn, StreamKey(3))]);
    FrameReader::new()
        .feed::<DecodeError>(written, data::FRAME_BYTES_MAX, |kind, body| {
            if let Ok(DataFrame::DefineTags { tags, .. }) = data::decode(kind, body) {
                sets.push(tags.to_string());
            }
            Ok(())
        })
        .unwrap();
    sets
}

#[test]
fn receivers_select_by_added_tags_and_see_them() {
    let mut world = ruled(&[
        rule("team", "service=shop", &[("team", "red"), ("note", "${service}!")]),
        rule("disk", "payload ~ /disk (?<d>[a-z]+)/", &[("disk", "${d}"), ("team", "blue")]),
    ]);
    let red = world.receiver(1, open(), &["team=red"]);
    let disk = world.receiver(2, open(), &["disk"]);
    let publisher = world.client(3);
    world.publish(publisher, "service=shop", 0, &["ok", "disk sda", "disk sda again", "disk sdb", "ok"]);
    world.publish(publisher, "service=pay", 5, &["ok", "disk sda"]);
    let each = |seqs: &[(u64, &str)]| -> Vec<String> {
        seqs.iter().map(|(seq, payload)| format!("{seq} {payload} [0]")).collect()
    };
    assert_eq!(
        world.stream(red),
        each(&[(0, "ok"), (1, "disk sda"), (2, "disk sda again"), (3, "disk sdb"), (4, "ok")])
    );
    assert_eq!(
        world.stream(disk),
        each(&[(1, "disk sda"), (2, "disk sda again"), (3, "disk sdb"), (6, "disk sda")])
    );
    assert_eq!(
        tag_sets(&world, disk),
        [
            "disk=sda,note=shop!,service=shop,team=red",
            "disk=sdb,note=shop!,service=shop,team=red",
            "disk=sda,service=pay,team=blue"
        ]
    );
    let pictures = world.core.rule_pictures();
    assert_eq!((pictures[0].hits, pictures[1].hits, pictures[1].conflicts), (5, 4, 3));
    assert_eq!(world.core.position(), 6, "each piece of the first run has a position");
}

#[test]
fn a_reload_counts_for_what_comes_next() {
    let mut world = ruled(&[rule("a", "host", &[("x", "1")])]);
    let receivers = [world.receiver(1, open(), &["x=1"]), world.receiver(2, open(), &["x=2"])];
    let publisher = world.client(3);
    world.publish(publisher, "host=h", 0, &["one"]);
    world.core.set_rules(set_of(&[rule("a", "host", &[("x", "2")])], RuleLimits::default()));
    world.publish(publisher, "host=h", 1, &["two"]);
    world.core.set_rules(Arc::default());
    world.publish(publisher, "host=h", 2, &["three"]);
    assert_eq!(receivers.map(|conn| world.stream(conn)), [["0 one [0]"], ["1 two [0]"]]);
}

#[test]
fn past_the_budget_events_pass_without_tags_and_those_who_ask_for_them_are_told() {
    let mut world = World::new();
    let limits = RuleLimits { work_per_turn: 100, ..RuleLimits::default() };
    world.core.set_rules(set_of(&[rule("p", "payload ~ /x.*y/", &[("hit", "yes")])], limits));
    let (all, hit) = (world.receiver(1, open(), &["*"]), world.receiver(2, open(), &["hit!=no"]));
    let other = world.receiver(3, open(), &["hot"]);
    let publisher = world.client(4);
    let long = "x".repeat(500);
    world.publish(publisher, "hot=", 0, &["xy", &long, "xy"]);
    let plain = |stream: Vec<String>| stream.iter().map(|line| line.chars().take(10).collect()).collect();
    let plain = |conn, world: &World| -> Vec<String> { plain(world.stream(conn)) };
    assert_eq!(plain(all, &world).len(), 3, "no event is held back");
    assert_eq!(world.stream(hit).last().unwrap(), "gap rules 1");
    assert_eq!(plain(other, &world).len(), 3, "who names no key of a rule hears of no gap");
    assert_eq!(world.core.rule_pictures()[0].skipped, 1);
    assert_eq!(world.core.rule_pictures()[0].hits, 1);
    world.turns(10);
    world.publish(publisher, "hot=", 3, &["xy"]);
    assert_eq!(world.core.rule_pictures()[0].hits, 2, "later turns have paid for it");
}

#[test]
fn rules_see_the_beginning_of_a_payload_alone() {
    let mut world = World::new();
    let limits = RuleLimits { payload_bytes: 64, ..RuleLimits::default() };
    world.core.set_rules(set_of(&[rule("p", "payload ~ /end/", &[("end", "")])], limits));
    let receiver = world.receiver(1, open(), &["end"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=h", 0, &[&format!("{}end", "-".repeat(62)), "end"]);
    assert_eq!(world.stream(receiver), ["1 end [0]"]);
}

#[test]
fn captured_values_are_bounded_and_the_bound_ends_with_its_time() {
    let mut world = World::new();
    let limits = RuleLimits { distinct_max: 2, ..RuleLimits::default() };
    world.core.set_rules(set_of(&[rule("p", "payload ~ /^(?<v>.)/", &[("v", "${v}")])], limits));
    let over = world.receiver(1, open(), &["v=_overflow"]);
    let publisher = world.client(2);
    world.publish(publisher, "host=h", 0, &["a", "b", "c", "a", "d"]);
    assert_eq!(world.stream(over), ["2 c [0]", "4 d [0]"]);
    assert_eq!(world.core.rule_pictures()[0].overflowed, 2);
    world.now = world.now + std::time::Duration::from_secs(601);
    world.turns(1);
    world.publish(publisher, "host=h", 5, &["c"]);
    assert_eq!(world.stream(over).len(), 2);
}

#[test]
fn publishers_hear_of_events_whose_run_was_cut_on_their_core_and_on_a_sibling() {
    let texts = [rule("p", "payload ~ /x/", &[("hit", "yes")])];
    for (owner, level) in [(0, ROUTED), (1, ROUTED), (0, DELIVERED), (1, DELIVERED)] {
        let mut cores = Cores::new(2);
        for world in &mut cores.0 {
            world.core.set_rules(set_of(&texts, RuleLimits::default()));
        }
        let taker = cores.0[0].taker(1, "hit");
        let publisher = cores.0[0].confirming(2, 0);
        cores.0[0].publish_with(publisher, &tag_of(owner, 2), 0, &["x1", "a", "x2", "b"], level);
        cores.settle();
        if level == DELIVERED {
            assert_eq!(cores.0[0].told(publisher).concat().matches("1/0").count(), 0, "core {owner}");
            cores.0[0].take(taker, 0, 2);
            cores.settle();
        }
        let told = cores.0[0].told(publisher);
        let (mut taken, mut missed) = (Vec::new(), Vec::new());
        for line in &told {
            let seqs = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
            let seqs = seqs.split(", ").map(|seq| seq.parse::<u64>().unwrap());
            if line.contains("1/0") { taken.extend(seqs) } else { missed.extend(seqs) }
        }
        taken.sort_unstable();
        missed.sort_unstable();
        assert_eq!((taken, missed), (vec![0, 2], vec![1, 3]), "core {owner}: {told:?}");
        assert!(cores.0.iter().all(|world| world.core.metrics().open_confirms == 0));
    }
}

#[test]
fn an_identity_may_be_left_out_whichever_core_owns_its_events() {
    for owner in [0, 1] {
        let mut cores = Cores::new(2);
        for world in &mut cores.0 {
            world.core.set_rules(set_of(&[rule("a", "host", &[("x", "1")])], RuleLimits::default()));
        }
        let roll = |rules| {
            let plain = Grant { rules, ..Grant::everything("plain") };
            Roll { grants: vec![Arc::new(plain), Arc::new(Grant::everything("*"))], ..Roll::default() }
        };
        cores.0[0].replace_roll(roll(false));
        let receiver = cores.0[owner].receiver(1, open(), &["x"]);
        let (plain, other) = (cores.0[0].certified(2, Some("plain")), cores.0[0].certified(3, Some("other")));
        let tag = tag_of(u16::try_from(owner).unwrap(), 2);
        cores.0[0].publish(plain, &tag, 0, &["plain"]);
        cores.0[0].publish(other, &tag, 0, &["other"]);
        cores.settle();
        cores.0[0].replace_roll(roll(true));
        cores.0[0].publish(plain, &tag, 1, &["allowed"]);
        cores.settle();
        assert_eq!(cores.0[owner].stream(receiver), ["0 other [0]", "1 allowed [0]"]);
    }
}

#[test]
fn runs_of_a_peer_have_the_tags_of_its_rules_and_other_versions_are_counted() {
    let mut world = ruled(&[rule("here", "host", &[("x", "here")])]);
    let receiver = world.receiver(1, open(), &["x=there"]);
    let conn = lane(&mut world, false, true);
    let mut bytes = Vec::new();
    LanePreamble { first_seq: 0, epoch: 3 }.encode(&mut bytes);
    data::put_define_publisher(&mut bytes, 0, KEY);
    let effective = TagSet::from_texts(["host=h", "x=there"]).unwrap();
    let added = TagSet::from_texts(["x=there"]).unwrap();
    data::put_define_tags(&mut bytes, 0, effective.borrow());
    let own = world.core.rules().rules.version();
    for (seq, version) in [(0, own + 1), (1, own)] {
        let (mut run, mut body, mut fields) =
            (millrace_proto::run::RunBuilder::default(), Vec::new(), Vec::new());
        run.start(seq, seq, 5);
        run.push(5, b"event");
        run.finish(&mut body);
        data::optional::put_added_tags(&mut fields, version, added.borrow());
        data::put_run(&mut bytes, &HopHeader { fields: &fields, ..HopHeader::numbered(0, 0) }, &body);
    }
    world.send(conn, StreamKey(2), &bytes);
    assert_eq!(world.stream(receiver), ["0 event [0]", "1 event [0]"]);
    assert_eq!(world.core.metrics().rules_mixed, 1);
}

const WHENS: &[&str] =
    &["*", "a", "a=1", "!b", "payload ~ /x/", "a, payload ~ /y(?<g>.)/", "payload ~ /(?<g>z)/"];
const ASKED: &[&str] = &["k", "k=lit", "k!=lit", "!k", "k=1", "a", "k=z", "payload ~ /x/, k", "b, k"];

fn any_rule() -> impl Strategy<Value = RuleText> {
    let set =
        (prop::sample::select(&["k", "a", "l"][..]), prop::sample::select(&["lit", "${g}", "${a}"][..]));
    (prop::sample::select(WHENS), set).prop_map(|(when, (key, value))| {
        let text = rule("r", when, &[(key, value)]);
        match RuleSet::new(std::slice::from_ref(&text), RuleLimits::default()) {
            Ok(_) => text,
            Err(_) => rule("r", when, &[(key, "lit")]),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A receiver gets exactly the events whose effective tags its selector matches, in order, with
    /// whatever payload rules have cut.
    #[test]
    fn receivers_get_what_the_effective_tags_say(
        mut rules in prop::collection::vec(any_rule(), 0..5),
        runs in prop::collection::vec(
            (prop::sample::select(&["a=1", "a=2", "b=1", "a=1,b=1", "c="][..]), prop::collection::vec("[xyz]{0,3}", 1..5)),
            1..8,
        ),
    ) {
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{number}");
        }
        let mut world = ruled(&rules);
        let conns: Vec<ConnKey> =
            (1..).zip(ASKED).map(|(number, selector)| world.receiver(number, open(), &[selector])).collect();
        let publisher = world.client(99);
        let set = set_of(&rules, RuleLimits::default());
        let mut expected = vec![Vec::new(); ASKED.len()];
        let mut seq = 0;
        for (tags, payloads) in &runs {
            let texts: Vec<&str> = payloads.iter().map(String::as_str).collect();
            world.publish(publisher, tags, seq, &texts);
            let published = TagSet::from_texts(tags.split(',')).unwrap();
            for payload in &texts {
                let candidates = set.rules.candidates(published.borrow());
                let matched = candidates.by_tags | set.rules.found_in(payload.as_bytes(), candidates.by_payload);
                let memory = &mut Memory::default();
                let added =
                    set.rules.apply(published.borrow(), payload.as_bytes(), matched, memory, |_, _, _| true);
                let effective = added.tags.map_or_else(|| published.clone(), |(_, effective)| effective);
                for (selector, lines) in ASKED.iter().zip(&mut expected) {
                    let selector = Selector::parse(selector).unwrap();
                    let by_payload = selector.compile_payload().unwrap();
                    if selector.without_payload().matches_tags(effective.borrow())
                        && by_payload.is_none_or(|patterns| patterns.matches(payload.as_bytes()))
                    {
                        lines.push(format!("{seq} {payload} [0]"));
                    }
                }
                seq += 1;
            }
        }
        for ((conn, lines), selector) in conns.iter().zip(expected).zip(ASKED) {
            prop_assert_eq!(world.stream(*conn), lines, "{}", selector);
        }
    }
}
