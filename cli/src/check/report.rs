//! The line of a plugin with its performance data, and the same as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::range::State;
use super::verdict::Verdict;

/// Schema of the object that `--json` prints.
const SCHEMA: &str = "millrace.check/1";

/// The worst state of all routers.
pub(super) fn state(verdicts: &[Verdict]) -> State {
    verdicts.iter().map(|verdict| verdict.state).max().unwrap_or(State::Unknown)
}

/// `MILLRACE WARNING: one: drops is 10/s (good: 0) | ready=1;;1: drops=10;0`
pub(super) fn line(verdicts: &[Verdict]) -> String {
    let wrong: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.wrong.is_empty())
        .map(|verdict| format!("{}: {}", verdict.name, verdict.wrong.join(", ")))
        .collect();
    let words = match (wrong.as_slice(), verdicts) {
        ([], [only]) => format!("{} is well", only.name),
        ([], all) => format!("{} routers are well", all.len()),
        (wrong, _) => wrong.join("; "),
    };
    // A plugin's line has one bar, before its performance data.
    let words = words.replace(['|', '\n'], " ");
    format!("MILLRACE {}: {words}{}", state(verdicts).name(), performance(verdicts))
}

fn performance(verdicts: &[Verdict]) -> String {
    let mut data = String::new();
    for verdict in verdicts {
        for found in &verdict.found {
            let label = match verdicts {
                [_] => found.figure.name().to_owned(),
                _ => format!("'{}.{}'", verdict.name.replace(['\'', '='], "_"), found.figure.name()),
            };
            let limit =
                |range: Option<super::range::Range>| range.map_or(String::new(), |range| range.to_string());
            // A string takes everything.
            let _ = write!(
                data,
                " {label}={}{};{};{}",
                found.value,
                found.figure.unit(),
                limit(found.warning),
                limit(found.critical)
            );
        }
    }
    if data.is_empty() { data } else { format!(" |{data}") }
}

/// The same for programs.
pub(super) fn object(verdicts: &[Verdict]) -> Value {
    let state = state(verdicts);
    json!({
        "schema": SCHEMA,
        "state": state.name(),
        "code": state.code(),
        "routers": verdicts.iter().map(|verdict| json!({
            "admin": verdict.url.to_string(),
            "name": verdict.name,
            "state": verdict.state.name(),
            "wrong": verdict.wrong,
            "figures": verdict.found.iter().map(|found| found.object()).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
