//! Rules against a naive oracle, and what is refused.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{Selector, TagSet};

fn rule(name: &str, when: &str, set: &[(&str, &str)]) -> RuleText {
    let set = set.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    RuleText { name: name.to_owned(), when: when.to_owned(), set }
}

/// Rules and all that they add to an event, with every value admitted.
fn apply(rules: &Rules, tags: &TagSet, payload: &[u8]) -> Added {
    let candidates = rules.candidates(tags.borrow());
    let matched = candidates.by_tags | rules.found_in(payload, candidates.by_payload);
    rules.apply(tags.borrow(), payload, matched, &mut Memory::default(), |_, _, _| true)
}

fn texts(tags: &TagSet) -> Vec<String> {
    tags.borrow().iter().map(|(key, value)| format!("{key}={value}")).collect()
}

#[test]
fn a_rule_adds_tags_with_captures_of_tags_and_payload() {
    let rules = Rules::compile(&[
        rule(
            "disk",
            "service=s*, payload ~ /disk (?<disk>[a-z0-9]+) failed/",
            &[("kind", "disk"), ("disk", "${disk}"), ("owner", "${service}-team"), ("raw", "$${disk}")],
        ),
        rule("all", "*", &[("seen", "yes")]),
    ])
    .unwrap();
    let tags = TagSet::from_texts(["service=store", "host=a"]).unwrap();
    let added = apply(&rules, &tags, b"today disk sda1 failed twice");
    let (new, effective) = added.tags.unwrap();
    assert_eq!(texts(&new), ["disk=sda1", "kind=disk", "owner=store-team", "raw=${disk}", "seen=yes"]);
    assert_eq!(effective.borrow().len(), 7);
    assert_eq!((added.hits, added.conflicts, added.overflows), (0b11, 0, 0));
    let (new, _) = apply(&rules, &tags, b"all is well").tags.unwrap();
    assert_eq!(texts(&new), ["seen=yes"]);
}

#[test]
fn published_tags_win_and_rules_do_not_see_what_rules_added() {
    let rules = Rules::compile(&[
        rule("first", "a", &[("b", "1"), ("c", "1")]),
        rule("second", "a", &[("c", "2"), ("d", "2")]),
        rule("third", "d", &[("e", "3")]),
    ])
    .unwrap();
    let added = apply(&rules, &TagSet::from_texts(["a=", "b=0"]).unwrap(), b"");
    assert_eq!(texts(&added.tags.unwrap().1), ["a=", "b=0", "c=1", "d=2"]);
    assert_eq!((added.hits, added.conflicts), (0b011, 0b011));
}

#[test]
fn what_cannot_be_added_is_said() {
    let rules = Rules::compile(&[
        rule("long", "payload ~ /^(?<x>a+)/", &[("x", "${x}")]),
        rule("option", "payload ~ /^(b|(?<x>c))/", &[("x", "${x}")]),
        rule("bytes", "payload ~ /^d(?<x>.)/", &[("x", "${x}")]),
    ])
    .unwrap();
    let none = TagSet::from_texts([""; 0]).unwrap();
    let added = apply(&rules, &none, "a".repeat(CAPTURE_BYTES_MAX + 1).as_bytes());
    assert_eq!((texts(&added.tags.unwrap().0), added.overflows), (vec!["x=_overflow".to_owned()], 1));
    let added = apply(&rules, &none, b"b");
    assert_eq!((added.tags, added.failures.len(), added.failures[0].rule), (None, 1, 1));
    assert!(apply(&rules, &none, b"d\xff").failures[0].reason.contains("UTF-8"));
    assert!(apply(&rules, &none, b"d\x07").failures[0].reason.contains("control character"));
    let full: Vec<String> = (0..32).map(|number| format!("t{number}=")).collect();
    let full = TagSet::from_texts(&full).unwrap();
    assert!(apply(&rules, &full, b"aa").failures[0].reason.contains("as many tags"));
}

#[test]
fn bad_rules_are_refused_with_the_cure() {
    let many: Vec<RuleText> = (0..65).map(|number| rule(&format!("r{number}"), "*", &[("a", "b")])).collect();
    assert!(Rules::compile(&many).unwrap_err().to_string().contains("at most 64 rules"));
    for (when, set, expected) in [
        ("a in (", &[("b", "c")][..], "column"),
        ("a", &[][..], "`set` has 0 tags"),
        ("a", &[("b", "${nothing}")], "unknown capture `${nothing}`"),
        ("a", &[("b", "${a")], "without `}`"),
        ("!a", &[("b", "${a}")], "let `when` require the tag a"),
        ("a, payload ~ /(?<a>x)/", &[("b", "${a}")], "both a group"),
        ("payload ~ /(?<x>a)/, payload ~ /(?<x>b)/", &[("b", "${x}")], "two groups are called `x`"),
        ("payload ~ /(?<x>[a-z]{600})/", &[("b", "${x}")], "states"),
        ("payload ~ /a[ab]{900}[ab]*Q/", &[("b", "c")], "too costly"),
        ("a", &[("millrace/identity", "me")], "belong to routers"),
        ("a", &[("b c", "d")], "tag key"),
        ("a", &[("b", "\u{7}")], "control characters"),
    ] {
        let error = Rules::compile(&[rule("r", when, set)]).unwrap_err().to_string();
        assert!(error.starts_with("rule \"r\": ") && error.contains(expected), "{error}");
    }
    let twice = [rule("r", "a", &[("b", "c")]), rule("r", "a", &[("d", "e")])];
    assert_eq!(Rules::compile(&twice).unwrap_err().index, 1);
    assert!(Rules::compile(&[rule("a b", "a", &[("b", "c")])]).is_err());
}

#[test]
fn the_version_follows_from_the_rules() {
    let one = [rule("r", "a", &[("b", "c")])];
    let version = |texts: &[RuleText]| Rules::compile(texts).unwrap().version();
    assert_eq!((version(&one), version(&[])), (version(&one.clone()), 0));
    assert_ne!(version(&one), version(&[rule("r", "a", &[("b", "d")])]));
}

/// What a rule set makes of an event, said once more and without any cleverness: patterns by
/// another engine, maps of texts, one rule after the other.
fn oracle(rules: &[RuleText], tags: &BTreeMap<String, String>, payload: &str) -> BTreeMap<String, String> {
    let mut effective = tags.clone();
    let set = TagSet::new(tags).unwrap();
    for RuleText { when, set: sets, .. } in rules {
        let selector = Selector::parse(when).unwrap();
        let mut captured = BTreeMap::new();
        let mut is_found = selector.without_payload().matches_tags(set.borrow());
        for pattern in selector.patterns() {
            let regex = regex::bytes::RegexBuilder::new(pattern).unicode(false).build().unwrap();
            let Some(groups) = regex.captures(payload.as_bytes()) else {
                is_found = false;
                break;
            };
            for name in regex.capture_names().flatten() {
                if let Some(group) = groups.name(name) {
                    captured.insert(name.to_owned(), String::from_utf8(group.as_bytes().to_vec()).unwrap());
                }
            }
        }
        if !is_found {
            continue;
        }
        for (key, value) in sets {
            let mut text = value.clone();
            let names: BTreeSet<String> = captured.keys().chain(tags.keys()).cloned().collect();
            for name in names {
                let value = captured.get(&name).or_else(|| tags.get(&name)).unwrap();
                text = text.replace(&format!("${{{name}}}"), value);
            }
            if !text.contains("${") && !effective.contains_key(key) && effective.len() < 32 {
                effective.insert(key.clone(), text);
            }
        }
    }
    effective
}

const WHENS: &[&str] = &[
    "*",
    "a",
    "a=1",
    "b!=2",
    "a in (1,2)",
    "c=x*",
    "payload ~ /x/",
    "a, payload ~ /x(?<g>y*)/",
    "payload ~ /(?<h>[0-9]+)z/",
    "b, payload ~ /x/, payload ~ /(?<g>y)$/",
    "!c",
    "a>1",
];
const VALUES: &[&str] = &["lit", "${a}", "${g}", "<${h}>", "${a}/${g}"];

/// Keys and values that rules of a `when` can set.
fn can_capture(when: &str, value: &str) -> bool {
    Rules::compile(&[rule("r", when, &[("k", value)])]).is_ok()
}

fn any_rule() -> impl Strategy<Value = RuleText> {
    let sets = prop::collection::btree_map(
        prop::sample::select(&["a", "c", "k", "l"][..]),
        prop::sample::select(VALUES),
        1..3,
    );
    (prop::sample::select(WHENS), sets).prop_map(|(when, sets)| {
        let sets = sets.into_iter().map(|(key, value)| {
            let value = if can_capture(when, value) { value } else { "lit" };
            (key.to_owned(), value.to_owned())
        });
        RuleText { name: String::new(), when: when.to_owned(), set: sets.collect() }
    })
}

proptest! {
    #[test]
    fn rules_add_what_the_oracle_adds(
        mut rules in prop::collection::vec(any_rule(), 0..6),
        tags in prop::collection::btree_map("[abc]", "[12x]{0,2}", 0..3),
        payload in "[xyz0-9]{0,8}",
    ) {
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{number}");
        }
        let compiled = Rules::compile(&rules).unwrap();
        let set = TagSet::new(&tags).unwrap();
        let added = apply(&compiled, &set, payload.as_bytes());
        let effective = added.tags.map_or(set, |(_, effective)| effective);
        let expected = oracle(&rules, &tags, &payload);
        let found: BTreeMap<String, String> =
            effective.borrow().iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(found, expected);
    }
}
