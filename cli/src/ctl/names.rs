//! `millrace ctl names`.

use std::fmt::Write as _;

use super::answers;
use super::table::{self, Column};
use crate::admin::pages::{NamedReceiver, Names};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;

pub(super) async fn run(urls: &[AdminUrl], json: bool) -> Result<(), Failure> {
    answers::finish(admin::all::<Names>(urls, Method::Get, "/names").await, json, words)
}

fn words(answers: &[Answer<Names>]) -> String {
    let mut out = String::new();
    for answer in answers {
        let page = &answer.read;
        // A string takes everything.
        let _ = writeln!(out, "{}: {} names", page.name, page.count);
        let columns = [
            Column::elastic("NAME"),
            Column::elastic("ROUTER"),
            Column::left("IDENTITY"),
            Column::right("GENERATION"),
        ];
        let rows: Vec<Vec<String>> = page.names.iter().map(row).collect();
        table::write(&mut out, &columns, &rows);
    }
    out
}

fn row(named: &NamedReceiver) -> Vec<String> {
    let router = if named.router_name.is_empty() { &named.router } else { &named.router_name };
    vec![named.name.clone(), router.clone(), named.identity.clone(), named.generation.to_string()]
}
