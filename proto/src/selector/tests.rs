//! The grammar, its errors, its bounds, and the meaning of selectors against a naive reading of
//! them.

use proptest::prelude::*;

use super::*;
use crate::tag::TagSet;

/// `text` reads, and its canonical text is `canonical`.
fn canonical(text: &str, canonical: &str) {
    let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(selector.text(), canonical, "{text}");
    assert_eq!(Selector::parse(canonical).unwrap(), selector);
}

/// `text` is refused at `column`, with a message that contains `expected`.
fn refused(text: &str, column: usize, expected: &str) {
    let error = Selector::parse(text).expect_err(text);
    assert_eq!(error.column, column, "{text}: {error}");
    assert!(error.message.contains(expected), "{text}: {error}");
}

fn matches(selector: &str, tags: &[&str]) -> bool {
    let tags = TagSet::from_texts(tags).unwrap();
    let selector = Selector::parse(selector).unwrap();
    let matched = selector.matches_tags(tags.borrow());
    let one_by_one = selector.requirements().all(|requirement| requirement.matches(tags.borrow()));
    assert_eq!(matched, one_by_one, "{selector} on {tags}");
    matched
}

#[test]
fn every_form_has_one_canonical_text() {
    canonical("cluster=compute1", "cluster=compute1");
    canonical(" cluster == compute1 ", "cluster=compute1");
    canonical("b=2,a=1,b=2", "a=1,b=2");
    canonical("type in (raid, disk ,raid)", "type in (disk,raid)");
    canonical("type in(raid)", "type=raid");
    canonical("type notin (raid)", "type!=raid");
    canonical("! canary , host", "!canary,host");
    canonical("host=*", "host");
    canonical("host!=**", "!host");
    canonical("host=web-*?*", "host=web-?*");
    canonical("host=\"web-*\"", "host=\"web-*\"");
    canonical("host=\"web-1\"", "host=web-1");
    canonical(r#"path="a \"b\" \\ \*""#, r#"path="a \"b\" \\ *""#);
    canonical("path=\"\"", "path=\"\"");
    canonical("x > +10.50", "x>10.5");
    canonical("x<=-0", "x<=0");
    canonical("x>1e3,x<.5,x>=5.,x<=1E-7", "x<0.5,x<=1e-7,x>1000,x>=5");
    canonical("t<=1732759051123456788", "t<=1732759051123456788");
    canonical("path=", "path=\"\"");
    canonical("path== ,b", "b,path=\"\"");
    canonical("path!=", "path!=\"\"");
    canonical("type in (a,)", "type in (\"\",a)");
    canonical("type notin (,a,,b)", "type notin (\"\",a,b)");
    canonical("type in ()", "type=\"\"");
    canonical("type notin (,)", "type!=\"\"");
    canonical("payload~/a\\/b/, host", "host,payload ~ /a\\/b/");
    canonical(r"payload ~ /\\/", r"payload ~ /\\/");
    canonical("payload, payload=x", "payload=x,payload");
    canonical("in in (in,notin)", "in in (in,notin)");
    canonical("url=http://[::1]:80/a+b", "url=http://[::1]:80/a+b");
    canonical(" * ", "*");
}

#[test]
fn errors_point_at_the_column_and_say_what_was_expected() {
    refused("", 1, "empty");
    refused("   ", 4, "empty");
    refused("*,a", 2, "stands alone");
    refused("a,*", 3, "stands alone");
    refused("a=1 && b=2", 5, "joined by `,`");
    refused("a=1&b=2", 4, "joined by `,`");
    refused("a=1 and b=2", 5, "joined by `,`");
    refused("a=1 | b=2", 5, "several selectors");
    refused("a or b", 3, "several selectors");
    refused("a=)", 3, "behind `=`");
    refused("a!=(b)", 4, "behind `!=`");
    refused("a===b", 4, "===");
    refused("a=>5", 2, ">=");
    refused("a=~web", 2, "globs");
    refused("a<>5", 2, "!=");
    refused("host=web 1", 10, "quoted");
    refused("host='web'", 6, "double");
    refused("é=1", 1, "tag key");
    refused("host=é b", 8, "found `b`");
    refused("type in (raid,disk", 19, "column 9 is not closed");
    refused("type in raid", 9, "expected `(`");
    refused("type in (raid,", 15, "column 9 is not closed");
    refused("type in (=)", 10, "in the list");
    refused("type notin", 11, "expected `(`");
    refused("type in (a b)", 12, "expected `,` or `)`");
    refused("type in (web-*)", 10, "no globs");
    refused("type IN (a)", 6, "`in`");
    refused("type not in (a)", 6, "notin");
    refused("a,", 3, "behind `,`");
    refused(",a", 1, "before `,`");
    refused("a,,b", 3, "before `,`");
    refused("!", 2, "behind `!`");
    refused("!=a", 2, "key!=value");
    refused("!a=b", 3, "a!=");
    refused("a:b", 2, "key=value");
    refused("x>ten", 3, "decimal");
    refused("x>", 3, "decimal");
    refused("x>1e", 3, "decimal");
    refused("x>NaN", 3, "decimal");
    refused("x<-inf", 3, "decimal");
    refused("x>0x10", 3, "decimal");
    refused("x>1e1000000000", 3, "decimal");
    refused("x>\"1\"", 3, "decimal");
    refused("(a=1)", 1, "parentheses");
    refused("a=1)", 4, "no `(`");
    refused("a=\"b", 3, "not closed");
    refused("a=\"b\\n\"", 5, "backslash");
    refused("a=\"b\tc\"", 5, "control");
    refused("payload ~ RAID", 11, "expected `/`");
    refused("payload ~ /RAID", 11, "not closed");
    refused("payload ~ //", 11, "regular expression");
    refused("payload ~ /a/i", 14, "(?i)");
    refused("!payload ~ /a/", 1, "negated");
    refused("payload !~ /a/", 9, "negated");
    refused("host ~ /a/", 6, "payload only");
    refused("payload ~ /é(b/", 13, "unclosed group");
    refused(r"payload ~ /\/\/(b/", 16, "unclosed group");
    refused("payload ~ /[é]/", 13, "Unicode");
    assert_eq!(Selector::parse("x>").unwrap_err().to_string().find("column 3: "), Some(0));
}

#[test]
fn every_bound_holds() {
    let join =
        |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
    let keys = |count| join(count, &|n| format!("k{n}"));
    assert!(Selector::parse(&keys(64)).is_ok());
    refused(&keys(65), keys(64).len() + 2, "64 requirements");
    let patterns = |count| join(count, &|n| format!("payload ~ /{n}/"));
    assert!(Selector::parse(&patterns(4)).is_ok());
    refused(&patterns(5), patterns(4).len() + 2, "4 payload patterns");
    let list = |count| format!("k in ({})", join(count, &|n| n.to_string()));
    assert!(Selector::parse(&list(256)).is_ok());
    refused(&list(257), list(256).len() + 1, "256 values");
    assert!(Selector::parse(&"k".repeat(128)).is_ok());
    refused(&"k".repeat(129), 1, "128 bytes");
    assert!(Selector::parse(&format!("k={}", "v".repeat(1024))).is_ok());
    refused(&format!("k={}", "v".repeat(1025)), 3, "1024 bytes");
    refused(&format!("a{}", " ".repeat(4096)), 4097, "4096 bytes");
    refused(&format!("payload~/{}/", "x".repeat(4086)), 4096, "canonical");
    assert!(Selector::parse(&format!("x>{}", "9".repeat(64))).is_ok());
    refused(&format!("x>{}", "9".repeat(65)), 3, "decimal");
    refused(&format!("payload ~ /{}a{}/", "(".repeat(100), ")".repeat(100)), 76, "nest");
}

#[test]
fn absent_keys_are_as_in_kubernetes() {
    for selector in ["k!=v", "k notin (v,w)", "!k", "k!=v*"] {
        assert!(matches(selector, &["other=1"]), "{selector}");
    }
    for selector in ["k=v", "k in (v,w)", "k", "k=v*", "k>1", "k<1"] {
        assert!(!matches(selector, &["other=1"]), "{selector}");
    }
}

#[test]
fn values_are_compared_as_their_operators_say() {
    let tags = ["cluster=compute1", "host=web-1", "severity=info", "temp=-4.5", "type=raid", "empty="];
    for selector in [
        "cluster=compute1,type in (raid,disk),severity!=debug,host,!canary",
        "host=web-*",
        "host=web-?",
        "host!=db-*",
        "temp<0,temp>=-4.5,temp<=-4.50",
        "empty=\"\"",
        "*",
        "payload ~ /anything/",
    ] {
        assert!(matches(selector, &tags), "{selector}");
    }
    for selector in [
        "cluster=compute1,type notin (raid,disk)",
        "host=\"web-*\"",
        "host=web-??",
        "host!=web-*",
        "host>0",
        "temp>0",
        "empty>0",
        "empty<0",
        "!host",
        "zzz",
    ] {
        assert!(!matches(selector, &tags), "{selector}");
    }
}

#[test]
fn numbers_are_compared_exactly() {
    for (selector, value) in [
        ("x>9007199254740992", "9007199254740993"),
        ("x<9223372036854775807", "9223372036854775806"),
        ("x>=18446744073709551615", "18446744073709551615"),
        ("x<-9007199254740992", "-9007199254740993"),
        ("x>9007199254740992", "9007199254740992.001"),
        ("x>=1000,x<=1000", "1e3"),
        ("x>=1e3,x<=1e3", "1000.0"),
        ("x>=0,x<=0", "-0"),
        ("x<1", ".5"),
        ("x>1e308", "1e309"),
        ("x>0", "1e-999"),
    ] {
        assert!(matches(selector, &[&format!("x={value}")]), "{selector} {value}");
    }
    for (selector, value) in [
        ("x<=1732759051123456788", "1732759051123456789"),
        ("x>9007199254740992", "9007199254740992"),
        ("x>=18446744073709551616", "18446744073709551615"),
        ("x>0", "inf"),
        ("x>0", "NaN"),
        ("x<0", "-Infinity"),
        ("x>0", ""),
        ("x>0", "0x10"),
        ("x>0", "1e1000000000"),
    ] {
        assert!(!matches(selector, &[&format!("x={value}")]), "{selector} {value}");
    }
}

#[test]
fn a_value_that_is_left_out_is_the_empty_one() {
    for (selector, with_empty, absent) in [
        ("x=", true, false),
        ("x==", true, false),
        ("x!=", false, true),
        ("x in (a,)", true, false),
        ("x in ()", true, false),
        ("x notin (a,)", false, true),
        ("x notin ()", false, true),
    ] {
        assert_eq!(matches(selector, &["x="]), with_empty, "{selector}");
        assert_eq!(matches(selector, &["y="]), absent, "{selector}");
    }
    assert!(matches("x in (a,)", &["x=a"]));
    assert!(!matches("x in (a,)", &["x=b"]));
    assert!(matches("x!=", &["x=b"]));
}

#[test]
fn payload_patterns_work_on_bytes_and_all_must_match() {
    let compile = |text: &str| Selector::parse(text).unwrap().compile_payload();
    assert!(compile("host").unwrap().is_none());
    let both = compile(r"payload ~ /RAID (STATUS )?CHANGE/, payload ~ /(?i)\bdisk\b/").unwrap().unwrap();
    assert!(both.matches(b"\xff RAID CHANGE on Disk 7"));
    assert!(!both.matches(b"RAID CHANGE on diskette"));
    assert!(!both.matches(b"disk"));
    let raw = compile(r"payload ~ /^\x00\xff/").unwrap().unwrap();
    assert!(raw.matches(b"\x00\xff\x01"));
    let unicode = compile(r"payload ~ /(?u)^\w+$/").unwrap().unwrap();
    assert!(unicode.matches("é".as_bytes()));
    let ascii = compile(r"payload ~ /^\w+$/").unwrap().unwrap();
    assert!(!ascii.matches("é".as_bytes()));
    assert!(matches!(compile(r"payload ~ /(?:a{1000}){1000}/"), Err(PatternError::TooLarge { .. })));
}

#[test]
fn routers_tell_each_other_selectors_without_patterns() {
    let whole = Selector::parse("a=1,payload ~ /x/").unwrap();
    assert_eq!(whole.without_payload(), Selector::parse("a=1").unwrap());
    assert_eq!(Selector::parse("payload ~ /x/").unwrap().without_payload(), Selector::parse("*").unwrap());
    assert_eq!(whole.equalities().collect::<Vec<_>>(), [("a", "1")]);
    assert_eq!(whole.patterns(), [Box::from("x")]);
}

#[test]
fn a_selector_is_kept_close_to_the_size_of_its_text() {
    let list = format!("k in ({})", (100..356).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let keys = (0..60).map(|n| format!("key{n}=value")).collect::<Vec<_>>().join(",");
    for text in [list, keys, format!("k={}", "v".repeat(1024)), "payload ~ /abc/".to_owned()] {
        let selector = Selector::parse(&text).unwrap();
        let fixed = size_of::<Selector>() + size_of::<Box<str>>();
        assert!(selector.bytes() <= fixed + 5 * text.len() / 2, "{text}: {}", selector.bytes());
    }
}

#[test]
fn values_that_are_spelt_differently_in_the_text_are_found() {
    let selector = Selector::parse(r#"a="x\"y",b in ("p\\q","",r,"é \""),c!="\"""#).unwrap();
    let operations: Vec<Operation<'_>> = selector.requirements().map(|item| item.operation).collect();
    assert_eq!(operations[0], Operation::Equals("x\"y"));
    assert_eq!(operations[2], Operation::NotEquals("\""));
    let Operation::In(values) = operations[1] else { panic!("{operations:?}") };
    assert_eq!(values.iter().collect::<Vec<_>>(), ["", "p\\q", "r", "é \""]);
    assert!(values.iter().all(|value| values.contains(value.as_bytes())) && !values.contains(b"s"));
    assert!(selector.matches_tags(TagSet::new([("a", "x\"y"), ("b", "p\\q")]).unwrap().borrow()));
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,3}", "[a-cé \"\\\\*?,()=!<>~/&|-]{0,6}"]
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn requirement() -> impl Strategy<Value = String> {
    let key = "[abk]|in|notin|payload";
    let operator = prop::sample::select(vec!["=", "==", "!=", " = "]);
    let comparison = prop::sample::select(vec!["<", "<=", ">", ">= "]);
    let list = prop::collection::vec(literal(), 1..4);
    prop_oneof![
        key.prop_map(|key| key),
        key.prop_map(|key| format!("!{key}")),
        (key, operator.clone(), literal())
            .prop_map(|(key, op, value)| format!("{key}{op}{}", quoted(&value))),
        (key, operator, "[a-c*?]{1,5}").prop_map(|(key, op, value)| format!("{key}{op}{value}")),
        (key, comparison, -1000i32..1000).prop_map(|(key, op, n)| format!("{key}{op}{}", f64::from(n) / 8.0)),
        (key, prop::bool::ANY, list).prop_map(|(key, not, values)| {
            let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
            format!("{key} {} ( {} )", if not { "notin" } else { "in" }, values.join(" , "))
        }),
        "[a-c/ ]{1,5}|\\(a\\|b\\)|\\[/\\]|a\\\\\\\\b"
            .prop_map(|pattern| format!("payload ~ /{}/", pattern.replace('/', "\\/"))),
    ]
}

proptest! {
    #[test]
    fn canonical_text_reads_back_to_the_same_selector(items in prop::collection::vec(requirement(), 1..6)) {
        let text = items.join(" , ");
        let selector = Selector::parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let again: Selector = selector.text().parse().map_err(|error| TestCaseError::fail(format!("{selector}: {error}")))?;
        prop_assert_eq!(&again, &selector);
        prop_assert_eq!(selector.to_string(), selector.text());
        prop_assert!(selector.compile_payload().is_ok());
        prop_assert!(selector.requirements().is_sorted_by(|one, next| one.key <= next.key));
        let reversed: Vec<_> = items.iter().rev().map(String::as_str).collect();
        prop_assert_eq!(Selector::parse(&reversed.join(",")).map(|s| s.text().to_owned()), Ok(selector.text().to_owned()));
    }

    #[test]
    fn no_text_panics_and_columns_stay_within_it(text in "[a-cé*!=<>~,()\"'/\\\\ &|\n0-9.-]{0,24}|\\PC{0,16}") {
        match Selector::parse(&text) {
            Ok(selector) => prop_assert_eq!(Selector::parse(selector.text()), Ok(selector)),
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}"),
        }
    }

    #[test]
    fn a_walk_over_the_tags_agrees_with_looking_each_key_up(
        items in prop::collection::vec(requirement(), 1..6),
        tags in prop::collection::btree_map("[abk]|in|payload|z", "[a-c]{0,3}|-?[0-9]{1,3}", 0..5),
    ) {
        let selector = Selector::parse(&items.join(",")).unwrap();
        let tags = TagSet::new(tags).unwrap();
        let naive = selector.requirements().all(|requirement| requirement.matches(tags.borrow()));
        prop_assert_eq!(selector.matches_tags(tags.borrow()), naive);
    }
}

#[test]
fn internal_events_match_only_selectors_that_require_their_key() {
    let tags = TagSet::from_texts(["millrace/internal=canary", "zone=a"]).unwrap();
    let matches = |text: &str| Selector::parse(text).unwrap().matches_tags(tags.borrow());
    for wants in [
        "millrace/internal",
        "millrace/internal=canary,zone=a",
        "millrace/internal in (canary,x)",
        "millrace/internal=can*",
    ] {
        assert!(matches(wants), "{wants}");
    }
    for not in [
        "*",
        "zone=a",
        "millrace/internal!=x",
        "millrace/internal notin (x,y)",
        "millrace/internal=x",
        "zone=a,host!=x",
    ] {
        assert!(!matches(not), "{not}");
    }
}
