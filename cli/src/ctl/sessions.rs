//! `millrace ctl sessions`.

use std::fmt::Write as _;

use super::answers;
use super::args;
use super::table::{self, Column};
use crate::admin::pages::{Session, Sessions};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::figures::{bytes, micros, share, whole};

pub(super) async fn run(urls: &[AdminUrl], asked: &args::Sessions, json: bool) -> Result<(), Failure> {
    let path = format!("/sessions?order={}&top={}", asked.order.name(), asked.top);
    answers::finish(admin::all::<Sessions>(urls, Method::Get, &path).await, json, words)
}

fn words(answers: &[Answer<Sessions>]) -> String {
    let columns = [
        Column::left("SESSION"),
        Column::elastic("CLIENT"),
        Column::right("RTT"),
        Column::right("RECV"),
        Column::right("QUEUED"),
        Column::right("FULL"),
        Column::right("DROPPED"),
        Column::right("PUBLISHED"),
    ];
    let mut out = String::new();
    for answer in answers {
        let page = &answer.read;
        // A string takes everything.
        let _ = writeln!(out, "{}: {} of {} sessions", page.name, page.sessions.len(), whole(page.count));
        let rows: Vec<Vec<String>> = page.sessions.iter().map(row).collect();
        if !rows.is_empty() {
            table::write(&mut out, &columns, &rows);
        }
    }
    out
}

fn row(session: &Session) -> Vec<String> {
    vec![
        session.session.clone(),
        session.remote.clone().unwrap_or_else(|| "closing".to_owned()),
        micros(session.rtt_us),
        format!("{}/{}", session.receivers, session.selectors),
        bytes(session.queued_bytes),
        share(session.queued_bytes, session.queue_bytes_max),
        whole(session.dropped_events),
        if session.publishes { bytes(session.published_bytes) } else { "–".to_owned() },
    ]
}
