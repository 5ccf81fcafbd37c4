//! `[[rule]]`: tags that the router adds to events. A list of tables, so its keys are declared here
//! and not among the single settings.

use std::fmt::Write;

use millrace_proto::rule::{RULES_MAX, RuleText, Rules};
use toml::{Table, Value};

use super::nearest::nearest;

/// About the list of rules.
pub(crate) const ABOUT: &str = "Tags that the router adds to events which enter at it, where a selector of published tags \
    and payloads says so: a list of tables, at most 64. Rules add tags; they never replace one that was published, and \
    never look at tags that rules have added. All routers of a cluster are given the same rules.";

/// One key of a rule.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) range: &'static str,
}

/// The keys of a rule.
pub(crate) static KEYS: [Key; 3] = [
    Key {
        name: "name",
        meaning: "What metrics, `millrace ctl rules` and messages call it.",
        range: "1 to 64 characters of A-Z a-z 0-9 . _ -, unique; must be given",
    },
    Key {
        name: "when",
        meaning: "A selector: which events it is for, by published tags, by tags that the router has stamped, and by \
                  payload patterns, which see the first bytes of the payload (`rules.payload`).",
        range: "a selector; must be given",
    },
    Key {
        name: "set",
        meaning: "The tags that it adds. In a value, `${name}` stands for what a named group of a payload pattern \
                  matched, `(?<name>...)`, or for the whole value of a tag that `when` requires; `$${` stands for `${`.",
        range: "a table of 1 to 8 tags, e.g. `{ kind = \"disk\", disk = \"${disk}\" }`; must be given",
    },
];

/// Reads all rules of a file; `place_of` gives the place of a rule, or of a key in it.
///
/// # Errors
/// The place, the rule, what is wrong with it, and the cure.
pub(crate) fn read(
    tables: &[&Table],
    place_of: impl Fn(usize, Option<&str>) -> String,
) -> Result<Vec<RuleText>, String> {
    let mut rules = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        if index >= RULES_MAX {
            let place = place_of(index, None);
            return Err(format!("{place}: a router has at most {RULES_MAX} rules, and this is one more"));
        }
        rules.push(read_one(table, |key| place_of(index, key))?);
    }
    Rules::compile(&rules).map_err(|error| {
        let place = place_of(error.index, Some(error.key));
        format!("[[rule]] \"{}\" ({place}): {}", error.rule, error.problem)
    })?;
    Ok(rules)
}

fn read_one(table: &Table, place_of: impl Fn(Option<&str>) -> String) -> Result<RuleText, String> {
    let name = table.get("name").and_then(Value::as_str).unwrap_or_default();
    let wrong = |key: &str, value: &Value, expected: &str| {
        format!("[[rule]] \"{name}\" ({}): `{key}`: `{value}` is not {expected}", place_of(Some(key)))
    };
    let mut rule = RuleText::default();
    for (key, value) in table {
        let text = || value.as_str().ok_or_else(|| wrong(key, value, "a text in quotes"));
        match key.as_str() {
            "name" => text()?.clone_into(&mut rule.name),
            "when" => text()?.clone_into(&mut rule.when),
            "set" => {
                let tags = value
                    .as_table()
                    .ok_or_else(|| wrong(key, value, "a table such as { kind = \"disk\" }"))?;
                for (tag, value) in tags {
                    let text = value.as_str().ok_or_else(|| wrong(key, value, "a text in quotes"))?;
                    rule.set.insert(tag.clone(), text.to_owned());
                }
            }
            other => {
                let near = nearest(other, KEYS.iter().map(|key| key.name));
                let near = near.map_or_else(
                    || "; a rule has name, when, set".to_owned(),
                    |near| format!("; is it `{near}`?"),
                );
                let place = place_of(Some(other));
                return Err(format!("{place}: unknown key `{other}` of [[rule]] \"{name}\"{near}"));
            }
        }
    }
    for key in &KEYS {
        if !table.contains_key(key.name) {
            return Err(format!("{}: [[rule]] \"{name}\" has no `{}`", place_of(None), key.name));
        }
    }
    Ok(rule)
}

/// The rules as they stand in the file.
pub(crate) fn shown(rules: &[RuleText]) -> String {
    let mut text = String::new();
    let quoted = |text: &str| Value::String(text.to_owned());
    for RuleText { name, when, set } in rules {
        let set: Table = set.iter().map(|(key, value)| (key.clone(), quoted(value))).collect();
        let (name, when, set) = (quoted(name), quoted(when), Value::Table(set));
        let _ = writeln!(text, "\n[[rule]]\nname = {name}\nwhen = {when}\nset = {set}");
    }
    text
}

/// A line for each difference between two lists.
pub(crate) fn differences(old: &[RuleText], new: &[RuleText]) -> Vec<String> {
    let find = |rules: &[RuleText], name: &str| rules.iter().find(|rule| rule.name == name).cloned();
    let mut lines = Vec::new();
    for rule in new {
        match find(old, &rule.name) {
            None => lines.push(format!("rule \"{}\": added", rule.name)),
            Some(before) if before != *rule => lines.push(format!("rule \"{}\": changed", rule.name)),
            Some(_) => {}
        }
    }
    let removed = old.iter().filter(|rule| find(new, &rule.name).is_none());
    lines.extend(removed.map(|rule| format!("rule \"{}\": removed", rule.name)));
    if lines.is_empty() && old != new {
        lines.push("rules: their order has changed; of two values for one key the first counts".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<RuleText>, String> {
        let file: Table = toml::from_str(text).unwrap();
        let tables: Vec<&Table> =
            file["rule"].as_array().unwrap().iter().map(|rule| rule.as_table().unwrap()).collect();
        read(&tables, |index, key| format!("rule {index}, {}", key.unwrap_or("begin")))
    }

    #[test]
    fn rules_read_back_from_what_is_shown() {
        let text = "\n[[rule]]\nname = \"disk\"\nwhen = \"a, payload ~ /disk (?<disk>[a-z]+)/\"\n\
                    set = { disk = \"${disk}\", kind = \"disk\" }\n";
        let rules = read_text(text).unwrap();
        assert_eq!(shown(&rules), text);
        assert_eq!(read_text(&shown(&rules)).unwrap(), rules);
    }

    #[test]
    fn what_is_wrong_is_named_with_rule_and_place() {
        let good = "[[rule]]\nname = 'a'\nwhen = 'x'\nset = { y = '1' }\n";
        for (text, expected) in [
            ("[[rule]]\nname = 'b'\nset = { y = '1' }", "rule 1, begin: [[rule]] \"b\" has no `when`"),
            ("[[rule]]\nname = 'b'\nwhen = 1", "[[rule]] \"b\" (rule 1, when): `when`: `1` is not a text"),
            ("[[rule]]\nname = 'b'\nset = 'x'", "is not a table"),
            ("[[rule]]\nname = 'b'\nwhat = 'x'", "unknown key `what` of [[rule]] \"b\"; is it `when`?"),
            (
                "[[rule]]\nname = 'a'\nwhen = 'x'\nset = { y = '1' }",
                "(rule 1, name): another rule has this name",
            ),
            (
                "[[rule]]\nname = 'b'\nwhen = 'x'\nset = { y = '${z}' }",
                "[[rule]] \"b\" (rule 1, set): `y`: unknown capture `${z}`",
            ),
        ] {
            let problem = read_text(&format!("{good}{text}")).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn differences_name_the_rule() {
        let rules = read_text("[[rule]]\nname = 'a'\nwhen = 'x'\nset = { y = '1' }\n").unwrap();
        let changed = [RuleText { when: "z".to_owned(), ..rules[0].clone() }];
        assert_eq!(differences(&rules, &rules), [""; 0]);
        assert_eq!(differences(&rules, &changed), ["rule \"a\": changed"]);
        assert_eq!(differences(&rules, &[]), ["rule \"a\": removed"]);
        assert_eq!(differences(&[], &rules), ["rule \"a\": added"]);
    }
}
