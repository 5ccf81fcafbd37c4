//! `millrace ctl routes`.

use std::fmt::Write as _;

use super::answers;
use super::args;
use super::table::{self, Column};
use crate::admin::pages::{Route, Routes};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::figures::whole;

pub(super) async fn run(urls: &[AdminUrl], asked: &args::Routes, json: bool) -> Result<(), Failure> {
    let mut query = form_urlencoded::Serializer::new(String::from("/routes?"));
    query.append_pair("top", &asked.top.to_string());
    for (name, value) in [("contains", &asked.contains), ("after", &asked.after)] {
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    let path = query.finish();
    answers::finish(admin::all::<Routes>(urls, Method::Get, &path).await, json, words)
}

fn words(answers: &[Answer<Routes>]) -> String {
    let columns = [Column::elastic("SELECTOR"), Column::left("AT"), Column::left("PAYLOAD")];
    let mut out = String::new();
    for answer in answers {
        let page = &answer.read;
        // A string takes everything.
        let _ = writeln!(out, "{}: {} of {} routes", page.name, page.routes.len(), whole(page.count));
        if page.coarse {
            let _ = writeln!(out, "It has so many selectors that it asks its peers for every event.");
        }
        let rows: Vec<Vec<String>> = page.routes.iter().map(row).collect();
        if !rows.is_empty() {
            table::write(&mut out, &columns, &rows);
        }
        if let Some(next) = &page.next {
            let _ = writeln!(out, "More: --after {next:?}");
        }
    }
    out
}

fn row(route: &Route) -> Vec<String> {
    let at = match (route.core, &route.router_name, &route.router) {
        (Some(core), ..) => format!("core {core}"),
        (None, Some(name), _) if !name.is_empty() => name.clone(),
        (None, _, Some(router)) => router.clone(),
        (None, _, None) => "–".to_owned(),
    };
    let payload = if route.by_payload { "by literals" } else { "any" };
    vec![route.selector.clone(), at, payload.to_owned()]
}
