//! `millrace ctl forwards`.

use std::fmt::Write as _;
use std::time::Duration;

use super::answers;
use super::table::{self, Column};
use crate::admin::pages::{ForwardLink, Forwards};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::figures::{age, bytes, whole};

pub(super) async fn run(urls: &[AdminUrl], json: bool) -> Result<(), Failure> {
    answers::finish(admin::all::<Forwards>(urls, Method::Get, "/forwards").await, json, words)
}

fn words(answers: &[Answer<Forwards>]) -> String {
    let mut out = String::new();
    for answer in answers {
        let page = &answer.read;
        let cluster = page.cluster.as_deref().unwrap_or("without an id");
        // A string takes everything.
        let _ = writeln!(out, "{}: cluster {cluster}, {} links", page.name, page.links.len());
        if !page.links.is_empty() {
            let columns = [
                Column::elastic("LINK"),
                Column::elastic("TO"),
                Column::left("STATE"),
                Column::left("CLUSTER"),
                Column::right("SENT"),
                Column::right("DROPPED"),
                Column::right("SPOOLED"),
                Column::left("DEMAND"),
            ];
            let rows: Vec<Vec<String>> = page.links.iter().map(row).collect();
            table::write(&mut out, &columns, &rows);
        }
        page.links.iter().for_each(|link| write_notes(&mut out, link));
        for arrival in &page.arrivals {
            let copies = match arrival.removed {
                0 => String::new(),
                removed => format!(", {} of them had come before", whole(removed)),
            };
            let path = arrival.path.join(" > ");
            let _ = writeln!(out, "from {path}: {} events{copies}", whole(arrival.events));
        }
        for warning in &page.warnings {
            let _ = writeln!(out, "warning: {warning}; receivers remove the copies");
        }
    }
    out
}

fn row(link: &ForwardLink) -> Vec<String> {
    let since = age(Duration::try_from_secs_f64(link.since_seconds).unwrap_or_default());
    let demand = match &link.demand {
        None => "everything".to_owned(),
        Some(selectors) if selectors.is_empty() => "nothing".to_owned(),
        Some(selectors) => selectors.iter().map(String::as_str).take(3).collect::<Vec<_>>().join(" | "),
    };
    vec![
        link.name.clone(),
        link.to.clone(),
        format!("{} {since}", link.state),
        link.cluster.clone().unwrap_or_default(),
        whole(link.sent),
        whole(link.dropped.values().sum()),
        bytes(link.spooled_bytes),
        demand,
    ]
}

/// What does not fit a row: why events were dropped, and what is wrong.
fn write_notes(out: &mut String, link: &ForwardLink) {
    let dropped: Vec<String> = link
        .dropped
        .iter()
        .filter(|(_, events)| **events > 0)
        .map(|(reason, events)| format!("{reason} {}", whole(*events)))
        .collect();
    if !dropped.is_empty() {
        let _ = writeln!(out, "{}: dropped {}", link.name, dropped.join(", "));
    }
    if let Some(seconds) = link.keeps_for_seconds {
        let most = age(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let _ = writeln!(
            out,
            "{}: keeps what waits until receivers are back in the far cluster, {most} at most",
            link.name
        );
    }
    for selector in &link.refused_selectors {
        let _ = writeln!(out, "{}: the far cluster lets nothing of \"{selector}\" in", link.name);
    }
    if let Some(trouble) = &link.trouble {
        let _ = writeln!(out, "{}: {trouble}", link.name);
    }
}
