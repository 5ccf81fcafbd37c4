//! `millrace ctl rules`.

use std::fmt::Write as _;

use super::answers;
use super::table::{self, Column};
use crate::admin::pages::{Rule, Rules};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::figures::whole;

pub(super) async fn run(urls: &[AdminUrl], json: bool) -> Result<(), Failure> {
    answers::finish(admin::all::<Rules>(urls, Method::Get, "/rules").await, json, words)
}

fn words(answers: &[Answer<Rules>]) -> String {
    let mut out = String::new();
    for answer in answers {
        let page = &answer.read;
        // A string takes everything.
        let _ = writeln!(out, "{}: {} rules, version {}", page.name, page.rules.len(), page.version);
        if page.mixed_events > 0 {
            let events = whole(page.mixed_events);
            let _ = writeln!(out, "{events} events came from routers with other rules: reload those, too");
        }
        let columns = [
            Column::elastic("RULE"),
            Column::right("HITS"),
            Column::right("CONFLICTS"),
            Column::right("SKIPPED"),
            Column::right("FAILED"),
            Column::right("OVERFLOW"),
            Column::right("TIME"),
        ];
        let rows: Vec<Vec<String>> = page.rules.iter().map(row).collect();
        table::write(&mut out, &columns, &rows);
        for rule in &page.rules {
            if let Some(last) = &rule.last_failure {
                let _ = writeln!(
                    out,
                    "{}: could not set {} of {}: {}",
                    rule.name, last.key, last.tags, last.reason
                );
            }
        }
    }
    out
}

fn row(rule: &Rule) -> Vec<String> {
    vec![
        rule.name.clone(),
        whole(rule.hits),
        whole(rule.conflicts),
        whole(rule.skipped),
        whole(rule.failed),
        whole(rule.overflowed),
        format!("{:.3}s", rule.time_seconds),
    ]
}
