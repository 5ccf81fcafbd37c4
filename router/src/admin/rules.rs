//! `/rules`: tag rules, what they have done on this router, and what went wrong last; and their
//! numbers for `/metrics`.

use millrace_engine::metrics::{Kind, Metric, Read};
use millrace_engine::rules::RulePicture;
use serde_json::{Value, json};

use super::ask;
use super::query::Query;
use super::text::Page;
use crate::metrics::CoreSnapshot;
use crate::view::View;

/// Steps of automata are told as time: some nanosecond each.
const NS_PER_STEP: f64 = 1e-9;

/// What is counted of each rule.
const DECLARED: &[Metric<RulePicture>] = &[
    counter("rule_hits", "Events that a tag rule was for", |rule| rule.hits),
    counter(
        "rule_conflicts",
        "Events that had a tag which a rule sets to another value, published or of a rule before it",
        |rule| rule.conflicts,
    ),
    counter(
        "rule_skipped",
        "Events to which a rule by payload was not applied, because the turn had no more time for it",
        |rule| rule.skipped,
    ),
    counter("rule_failed", "Events for which a rule could not make a value", |rule| rule.failed),
    counter("rule_overflowed", "Events for which _overflow stands for a captured value", |rule| {
        rule.overflowed
    }),
    counter("rule_steps", "Steps of automata over payloads for a rule, some nanosecond each", |rule| {
        rule.steps
    }),
];

const fn counter(
    name: &'static str,
    help: &'static str,
    number: fn(&RulePicture) -> u64,
) -> Metric<RulePicture> {
    Metric { name, help, kind: Kind::Counter, read: Read::Number(number) }
}

/// The rules of all cores together, in their order.
fn together(cores: impl Iterator<Item = Vec<RulePicture>>) -> Vec<RulePicture> {
    let mut all: Vec<RulePicture> = Vec::new();
    for picture in cores.flatten() {
        match all.iter_mut().find(|rule| rule.name == picture.name) {
            Some(rule) => rule.add(picture),
            None => all.push(picture),
        }
    }
    all
}

/// Writes a series for each rule, none where there are no rules.
pub(super) fn write(page: &mut Page, cores: &[CoreSnapshot]) {
    let rules = together(cores.iter().map(|core| core.rules.clone()));
    let named: Vec<_> = rules.iter().map(|rule| (vec![("rule", rule.name.as_str())], rule)).collect();
    if !named.is_empty() {
        page.declared(DECLARED, &named);
    }
}

/// The page; `None` when no core answers.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn page(view: &View, query: Option<&str>) -> Result<Option<Value>, String> {
    Query::read(query, &[])?;
    let cores = ask::cores(view, |core, _| {
        let version = core.rules().rules.version();
        (version, core.metrics().rules_mixed, core.rule_pictures().to_vec())
    })
    .await;
    let silent = usize::from(view.core_count()) - cores.len();
    let Some(&(_, (version, ..))) = cores.first() else { return Ok(None) };
    let mixed: u64 = cores.iter().map(|(_, (_, mixed, _))| mixed).sum();
    let rules = together(cores.into_iter().map(|(_, (.., pictures))| pictures));
    Ok(Some(json!({
        "schema": "millrace-router-rules/1",
        "router": view.router.to_string(),
        "name": view.name,
        "silent_cores": silent,
        "version": format!("{version:016x}"),
        "mixed_events": mixed,
        "rules": rules.iter().map(shown).collect::<Vec<_>>(),
    })))
}

fn shown(rule: &RulePicture) -> Value {
    json!({
        "name": rule.name,
        "when": rule.when,
        "keys": rule.keys,
        "by_payload": rule.by_payload,
        "hits": rule.hits,
        "conflicts": rule.conflicts,
        "skipped": rule.skipped,
        "failed": rule.failed,
        "overflowed": rule.overflowed,
        "time_seconds": rule.steps as f64 * NS_PER_STEP,
        "last_failure": rule.last_failure.as_ref().map(|last| json!({
            "tags": last.tags,
            "key": last.key,
            "reason": last.reason,
        })),
    })
}
