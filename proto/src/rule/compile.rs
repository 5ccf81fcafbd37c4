//! Reads rules: what cannot work is refused, with the cure.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use super::bounds::{RULES_MAX, SETS_PER_RULE_MAX};
use super::capture::Capturer;
use super::rules::{Rule, Rules};
use super::template::{Part, Template};
use super::text::{RuleError, RuleText};
use crate::limits::NAME_BYTES_MAX;
use crate::selector::Selector;
use crate::tag::{RESERVED_PREFIX, TagSet};
use crate::varint;

impl Rules {
    /// Reads rules. Compiling a payload pattern may take a tenth of a second.
    ///
    /// # Errors
    /// [`RuleError`]: the first rule that cannot be used.
    pub fn compile(texts: &[RuleText]) -> Result<Self, RuleError> {
        let (mut rules, mut names, mut places) = (Vec::new(), BTreeSet::new(), 0);
        for (index, text) in texts.iter().enumerate() {
            let wrong = |(key, problem): (&'static str, String)| RuleError {
                rule: text.name.clone(),
                index,
                key,
                problem,
            };
            if index >= RULES_MAX {
                let problem = format!("a router has at most {RULES_MAX} rules; {} are given", texts.len());
                return Err(wrong(("name", problem)));
            }
            if !names.insert(&text.name) {
                return Err(wrong(("name", "another rule has this name; names are unique".to_owned())));
            }
            rules.push(compile(text, &mut places).map_err(wrong)?);
        }
        Ok(Self { rules, version: version(texts) })
    }
}

/// A number for rules as they are written.
fn version(texts: &[RuleText]) -> u64 {
    if texts.is_empty() {
        return 0;
    }
    let mut bytes = Vec::new();
    for RuleText { name, when, set } in texts {
        varint::put(&mut bytes, set.len() as u64);
        for text in [name, when].into_iter().chain(set.iter().flat_map(|(key, value)| [key, value])) {
            varint::put_prefixed(&mut bytes, text.as_bytes());
        }
    }
    (xxh3_64(&bytes) & varint::MAX).max(1)
}

/// Reads one rule; `places` counts capturers of all rules.
fn compile(text: &RuleText, places: &mut usize) -> Result<Rule, (&'static str, String)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.name.is_empty() || text.name.len() > NAME_BYTES_MAX || !text.name.chars().all(is_name) {
        let problem = format!("a rule's name is 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 . _ -");
        return Err(("name", problem));
    }
    let when = Selector::parse(&text.when)
        .map_err(|error| ("when", format!("`when = \"{}\"`: {error}", text.when)))?;
    let payload = when.compile_payload().map_err(|error| ("when", format!("`when`: {error}")))?;
    if text.set.is_empty() || text.set.len() > SETS_PER_RULE_MAX {
        let problem = format!("`set` has {} tags; a rule sets 1 to {SETS_PER_RULE_MAX}", text.set.len());
        return Err(("set", problem));
    }
    let mut captures = Captures::of(&when, *places).map_err(|problem| ("when", problem))?;
    let mut sets = Vec::new();
    for (key, value) in &text.set {
        if key.starts_with(RESERVED_PREFIX) {
            let problem = format!("keys under {RESERVED_PREFIX} belong to routers, so no rule sets `{key}`");
            return Err(("set", problem));
        }
        let template = Template::parse(value, |name| captures.resolve(name, &when))
            .map_err(|problem| ("set", format!("`{key}`: {problem}")))?;
        let sample = if template.has_captures() { "" } else { value.as_str() };
        TagSet::new([(key.as_str(), sample)]).map_err(|error| ("set", format!("`set`: {error}")))?;
        sets.push((key.clone(), template));
    }
    let Captures { capturers, groups, .. } = captures.used();
    *places += capturers.len();
    Ok(Rule { name: text.name.clone(), when, payload, capturers, groups, sets })
}

/// The named groups of a rule's patterns, and those that its values name.
struct Captures {
    capturers: Vec<Capturer>,
    /// Names, with the capturer and the group's number there.
    known: Vec<(String, (usize, usize))>,
    groups: Vec<(usize, usize)>,
    /// Patterns that cannot capture, and why.
    refused: Vec<String>,
}

impl Captures {
    fn of(when: &Selector, first_place: usize) -> Result<Self, String> {
        let mut captures =
            Self { capturers: Vec::new(), known: Vec::new(), groups: Vec::new(), refused: Vec::new() };
        for pattern in when.patterns() {
            let place = captures.capturers.len();
            match Capturer::new(pattern, first_place + place) {
                Ok(capturer) => {
                    for (name, number) in capturer.names() {
                        if captures.known.iter().any(|(other, _)| other == name) {
                            return Err(format!("two groups are called `{name}`; rename one of them"));
                        }
                        captures.known.push((name.to_owned(), (place, number)));
                    }
                    captures.capturers.push(capturer);
                }
                Err(problem) => captures.refused.push(problem),
            }
        }
        Ok(captures)
    }

    fn resolve(&mut self, name: &str, when: &Selector) -> Result<Part, String> {
        let group = self.known.iter().find(|(known, _)| known == name).map(|&(_, group)| group);
        match (group, when.requires(name)) {
            (Some(_), true) => Err(format!(
                "`${{{name}}}` is both a group of a pattern and a tag that `when` requires; rename the group"
            )),
            (Some(group), false) => {
                let place = self.groups.iter().position(|&other| other == group).unwrap_or_else(|| {
                    self.groups.push(group);
                    self.groups.len() - 1
                });
                Ok(Part::Group(place))
            }
            (None, true) => Ok(Part::Tag(name.to_owned())),
            (None, false) => Err(match self.refused.first() {
                Some(refused) => refused.clone(),
                None => format!(
                    "unknown capture `${{{name}}}`: name a group so in a payload pattern of `when`, (?<{name}>…), or \
                     let `when` require the tag {name}"
                ),
            }),
        }
    }

    /// Without capturers of which no group is used.
    fn used(mut self) -> Self {
        let mut kept = Vec::new();
        for (place, capturer) in std::mem::take(&mut self.capturers).into_iter().enumerate() {
            if self.groups.iter().any(|&(other, _)| other == place) {
                for group in self.groups.iter_mut().filter(|(other, _)| *other == place) {
                    group.0 = kept.len();
                }
                kept.push(capturer);
            }
        }
        self.capturers = kept;
        self
    }
}
