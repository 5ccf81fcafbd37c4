//! `millrace rules test`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use anyhow::{Context, anyhow};
use millrace_proto::rule::{Added, Memory};
use millrace_proto::{TagSet, TagSetRef};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, BufReader};

use super::args::{Rules, Test, What};
use super::event::Event;
use super::file::File;
use crate::failure::Failure;
use crate::lines::{Line, Lines};
use crate::{show, tell};

/// Schema of the objects that `rules test --json` prints.
const SCHEMA: &str = "millrace.rules.test/1";

/// Does what the command line asks for.
pub(crate) async fn run(command: &Rules, json: bool) -> Result<(), Failure> {
    let What::Test(Test { file, rules }) = &command.what;
    let (config, events) = match rules {
        Some(rules) => (rules, Some(file)),
        None => (file, None),
    };
    let file = File::read(config).map_err(Failure::usage)?;
    let input: Box<dyn AsyncRead + Unpin> = match events {
        None => Box::new(tokio::io::stdin()),
        Some(path) => {
            let opened = tokio::fs::File::open(path).await;
            let opened = opened.with_context(|| format!("cannot read {}", path.display()));
            Box::new(opened.map_err(Failure::usage)?)
        }
    };
    match test(&file, Lines::new(BufReader::new(input), false), json).await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::other(anyhow!(error))),
        Ok(0) => Ok(()),
        Ok(1) => Err(Failure::other(anyhow!("a line is no event"))),
        Ok(wrong) => Err(Failure::other(anyhow!("{wrong} lines are no events"))),
    }
}

/// Applies the rules to each line. Returns how many were no events.
async fn test<R: AsyncRead + Unpin>(
    file: &File,
    mut lines: Lines<BufReader<R>>,
    json: bool,
) -> io::Result<u64> {
    let (mut number, mut wrong) = (0_u64, 0);
    let mut trial = Trial { file, memory: Memory::default(), seen: BTreeMap::new() };
    loop {
        number += 1;
        let read = match lines.next().await? {
            Line::End => return Ok(wrong),
            Line::TooLong => Err("it is too long for an event".to_owned()),
            Line::Whole if lines.line().is_empty() => continue,
            Line::Whole => Event::read(lines.line()),
        };
        match read {
            Ok(None) => {}
            Ok(Some(event)) => {
                let added = trial.apply(&event);
                let mut out = io::stdout().lock();
                if json {
                    show::json_line(&mut out, &object(file, &event.tags, &added))?;
                } else {
                    out.write_all(tell::safe(&words(file, &event.tags, &added)).as_bytes())?;
                }
                out.flush()?;
            }
            Err(problem) => {
                wrong += 1;
                tell::tell(format!("line {number}: {problem}"));
            }
        }
    }
}

/// Rules as a router's core applies them, but for its budget of time.
struct Trial<'a> {
    file: &'a File,
    memory: Memory,
    /// Captured values by the places of rule and key.
    seen: BTreeMap<(usize, usize), BTreeSet<String>>,
}

impl Trial<'_> {
    fn apply(&mut self, event: &Event) -> Added {
        let File { rules, payload_bytes, distinct_max } = self.file;
        let payload = &event.payload[..event.payload.len().min(*payload_bytes)];
        let candidates = rules.candidates(event.tags.borrow());
        let matched = candidates.by_tags | rules.found_in(payload, candidates.by_payload);
        rules.apply(event.tags.borrow(), payload, matched, &mut self.memory, |rule, place, value| {
            let seen = self.seen.entry((rule, place)).or_default();
            seen.contains(value) || (seen.len() < *distinct_max && seen.insert(value.to_owned()))
        })
    }
}

/// The names of the rules in a mask.
fn names(file: &File, rules: u64) -> Vec<&str> {
    let all = file.rules.all().iter().enumerate();
    all.filter(|(index, _)| rules >> index & 1 == 1).map(|(_, rule)| rule.name()).collect()
}

fn effective<'a>(tags: &'a TagSet, added: &'a Added) -> TagSetRef<'a> {
    added.tags.as_ref().map_or(tags.borrow(), |(_, effective)| effective.borrow())
}

fn words(file: &File, tags: &TagSet, added: &Added) -> String {
    let mut text = format!("published  {tags}\neffective  {}\n", effective(tags, added));
    for (title, rules) in
        [("rules      ", added.hits), ("conflicts  ", added.conflicts), ("overflow   ", added.overflows)]
    {
        if rules != 0 {
            text.push_str(&format!("{title}{}\n", names(file, rules).join(", ")));
        }
    }
    for failure in &added.failures {
        let rule = file.rules.all().get(failure.rule).map_or("", |rule| rule.name());
        text.push_str(&format!("failed     {rule}: {}: {}\n", failure.key, failure.reason));
    }
    text.push('\n');
    text
}

fn object(file: &File, tags: &TagSet, added: &Added) -> Value {
    let map = |tags: TagSetRef<'_>| -> BTreeMap<String, String> {
        tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    json!({
        "schema": SCHEMA,
        "type": "event",
        "published": map(tags.borrow()),
        "effective": map(effective(tags, added)),
        "added": added.tags.as_ref().map_or_else(BTreeMap::new, |(new, _)| map(new.borrow())),
        "rules": names(file, added.hits),
        "conflicts": names(file, added.conflicts),
        "overflows": names(file, added.overflows),
        "failures": added.failures.iter().map(|failure| json!({
            "rule": file.rules.all().get(failure.rule).map(|rule| rule.name()),
            "key": failure.key,
            "reason": failure.reason,
        })).collect::<Vec<_>>(),
    })
}
