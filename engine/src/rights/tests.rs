//! Rights by themselves: lists, stamps, and who gets which.

use std::sync::Arc;

use millrace_proto::proof::Token;
use millrace_proto::{Selector, TagSet};

use super::*;

fn list(texts: &[&str]) -> AllowList {
    AllowList::read(texts).unwrap()
}

fn narrowed(allowed: &[&str], asked: &str) -> Vec<String> {
    let selectors = list(allowed).narrow(&Selector::parse(asked).unwrap()).unwrap();
    selectors.iter().map(|selector| selector.text().to_owned()).collect()
}

fn tags(texts: &[&str]) -> TagSet {
    TagSet::from_texts(texts).unwrap()
}

fn rights(grant: Grant) -> Rights {
    Rights { identity: "web".to_owned(), grant: Arc::new(grant), ..Rights::everything() }
}

#[test]
fn an_effective_selector_is_what_was_asked_and_what_is_allowed() {
    assert_eq!(narrowed(&["tenant=a"], "*"), ["tenant=a"]);
    assert_eq!(narrowed(&["tenant=a"], "tenant=a,x=1"), ["tenant=a,x=1"]);
    assert_eq!(narrowed(&["tenant=a"], "tenant=b"), [""; 0]);
    assert_eq!(narrowed(&["tenant=a", "public"], "x>3"), ["tenant=a,x>3", "public,x>3"]);
    assert_eq!(narrowed(&["tenant=a", "public"], "public=1"), ["public=1"]);
    assert_eq!(narrowed(&["*"], "x"), ["x"]);
    assert_eq!(narrowed(&[], "x"), [""; 0]);
    assert_eq!(narrowed(&["tenant=a"], "payload ~ /x/"), ["tenant=a,payload ~ /x/"]);
}

#[test]
fn what_a_list_gave_is_covered_by_it_and_by_wider_ones() {
    let allowed = list(&["tenant=a", "level>3"]);
    for selector in allowed.narrow(&Selector::parse("host=web-*").unwrap()).unwrap() {
        assert!(allowed.covers(&selector) && list(&["*"]).covers(&selector), "{selector}");
        assert!(!list(&["tenant=b"]).covers(&selector) && !list(&[]).covers(&selector), "{selector}");
    }
}

#[test]
fn lists_that_cannot_be_used_are_refused_with_the_selector() {
    for (text, reason) in [("a in (", "column"), ("payload ~ /x/", "tags alone"), ("a=1,a=2", "no event")] {
        let problem = AllowList::read(&["x=1", text]).unwrap_err();
        assert!(problem.contains(text) && problem.contains(reason), "{problem}");
    }
    assert!(AllowList::read(&["x"; ALLOWED_MAX + 1]).unwrap_err().contains("16"));
}

#[test]
fn stamps_are_put_on_and_cannot_be_forged() {
    let grant = Grant {
        publish: Some(Arc::new(list(&["tenant=a"]))),
        stamps: vec![("tenant".to_owned(), "a".to_owned())],
        stamps_identity: true,
        ..Grant::everything("web")
    };
    let rights = rights(grant);
    let stamped = tags(&["x=1", "tenant=a", "millrace/identity=web"]);
    for sent in [&["x=1"][..], &["x=1", "tenant=a"]] {
        let entered = rights.enter(tags(sent).borrow());
        assert_eq!(entered, Entered { stamped: Some(stamped.clone()), refusal: None });
    }
    let refusal = |sent: &[&str]| rights.enter(tags(sent).borrow()).refusal;
    assert_eq!(refusal(&["tenant=b"]), Some(Refusal::StampedKey("tenant".to_owned())));
    assert_eq!(
        refusal(&["millrace/identity=web"]),
        Some(Refusal::ReservedKey("millrace/identity".to_owned()))
    );
    let many: Vec<String> = (0..31).map(|number| format!("k{number}=1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refusal(&many), Some(Refusal::TooLarge));
}

#[test]
fn what_is_outside_the_list_is_refused_with_what_is_allowed() {
    let rights =
        rights(Grant { publish: Some(Arc::new(list(&["tenant=a", "public"]))), ..Grant::everything("w*") });
    assert_eq!(rights.enter(tags(&["tenant=a", "x=1"]).borrow()), Entered::default());
    let sent = tags(&["tenant=b"]);
    let refusal = rights.enter(sent.borrow()).refusal.unwrap();
    assert_eq!(
        refusal.message(sent.borrow(), &rights),
        "identity \"web\" may not publish tenant=b: its [[identity]] entry \"w*\" allows \"tenant=a\" or \"public\""
    );
}

#[test]
fn the_first_grant_that_matches_counts_and_who_has_none_may_not_connect() {
    let grant = |pattern: &str| Arc::new(Grant::everything(pattern));
    let token = Token("hunter2".to_owned()).hash();
    let mut roll = Roll {
        grants: vec![grant("web-?"), grant("web-*")],
        tokens: [(token, "web-token".to_owned())].into(),
        ..Roll::default()
    };
    let admit = |roll: &Roll, certified: Option<&str>, token| {
        roll.admit(&Caller { certified: certified.map(str::to_owned), token, ..Caller::default() })
    };
    let pattern = |rights: Rights| (rights.identity, rights.grant.pattern.clone());
    assert_eq!(pattern(admit(&roll, Some("web-1"), None).unwrap()), ("web-1".into(), "web-?".into()));
    assert_eq!(pattern(admit(&roll, None, Some(token)).unwrap()), ("web-token".into(), "web-*".into()));
    assert!(admit(&roll, Some("db"), None).unwrap_err().contains("\"db\""));
    assert!(admit(&roll, None, None).unwrap_err().contains("without a certificate or token"));
    let other = Token("hunter3".to_owned()).hash();
    assert!(admit(&roll, None, Some(other)).unwrap_err().contains("does not know the token"));
    roll.grants.push(grant("*"));
    assert_eq!(pattern(admit(&roll, None, None).unwrap()), (String::new(), "*".into()));
    roll.asks_for_proof = true;
    assert!(admit(&roll, None, None).unwrap_err().contains("a certificate or a token"));
    roll.grants.clear();
    assert_eq!(admit(&roll, Some("db"), None).unwrap().grant, Rights::everything().grant);
}

#[test]
fn a_routers_own_session_may_exchange_internal_events_whatever_the_list_says() {
    let internal = tags(&["millrace/internal=probe"]);
    let entry = Grant {
        publish: Some(Arc::new(list(&["a"]))),
        subscribe: Some(Arc::new(list(&["a"]))),
        ..Grant::everything("*")
    };
    for grants in [vec![], vec![Arc::new(entry)], vec![Arc::new(Grant::everything("x"))]] {
        let roll = Roll { grants, ..Roll::default() };
        let caller =
            Caller { certified: Some("router/one".to_owned()), is_router: true, ..Caller::default() };
        let rights = roll.admit(&caller).unwrap();
        assert_eq!(rights.enter(internal.borrow()), Entered::default());
        assert!(rights.may_publish(internal.borrow()));
        assert!(rights.enter(tags(&["millrace/identity=x"]).borrow()).refusal.is_some());
        let asked = Selector::parse("millrace/internal=probe").unwrap();
        let allowed = rights.grant.subscribe.as_ref();
        assert!(allowed.is_none_or(|allowed| allowed.narrow(&asked).unwrap() == [asked.clone()]));
        let client = Caller { is_router: false, ..caller };
        if let Ok(rights) = roll.admit(&client) {
            assert!(matches!(rights.enter(internal.borrow()).refusal, Some(Refusal::ReservedKey(_))));
        }
    }
}
