//! `millrace ctl standby`, and `hand-over`.

use std::fmt::Write as _;
use std::time::Duration;

use super::answers;
use super::args::{Standby, StandbyChange};
use super::table::{self, Column};
use crate::admin::pages::{HandedOver, SetMember, StandbySet, StandbySets};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::figures::{age, whole};

pub(super) async fn run(urls: &[AdminUrl], command: &Standby, json: bool) -> Result<(), Failure> {
    match &command.what {
        None => answers::finish(admin::all::<StandbySets>(urls, Method::Get, "/standby").await, json, words),
        Some(StandbyChange::HandOver { set }) => hand_over(urls, set, json).await,
    }
}

/// Any router passes the wish on to the one that serves the holder: the first that is named is
/// asked.
async fn hand_over(urls: &[AdminUrl], set: &str, json: bool) -> Result<(), Failure> {
    let mut query = form_urlencoded::Serializer::new(String::from("/standby/hand-over?"));
    let path = query.append_pair("set", set).finish();
    let first = urls.get(..1).unwrap_or(urls);
    answers::finish(admin::all::<HandedOver>(first, Method::Post, &path).await, json, |answers| {
        let line = |answer: &Answer<HandedOver>| {
            format!(
                "{}: the holder gives way; `millrace ctl standby` shows who takes over\n",
                answer.read.set
            )
        };
        answers.iter().map(line).collect()
    })
}

fn words(answers: &[Answer<StandbySets>]) -> String {
    let mut out = String::new();
    for answer in answers {
        let page = &answer.read;
        // A string takes everything.
        let _ = writeln!(out, "{}: {} sets", page.name, page.sets.len());
        page.sets.iter().for_each(|set| write_set(&mut out, set));
    }
    out
}

fn write_set(out: &mut String, set: &StandbySet) {
    let StandbySet { set: name, generation, held, since_seconds, why, next_source_seq, fenced, members } =
        set;
    let since = age(Duration::try_from_secs_f64(*since_seconds).unwrap_or_default());
    let why = why.as_deref().unwrap_or("nobody has held it");
    let held = if *held { "" } else { ", nobody holds it now" };
    let _ = write!(out, "\n{name}: generation {generation} since {since} ({why}){held}");
    if *next_source_seq > 0 {
        let _ = write!(out, "; next source seq {next_source_seq}");
    }
    let _ = writeln!(out, "; {} events fenced", whole(*fenced));
    let columns =
        [Column::right("RANK"), Column::elastic("ROUTER"), Column::left("PUBLISHER"), Column::left("STATE")];
    let rows: Vec<Vec<String>> = members.iter().map(|member| row(member, *next_source_seq > 0)).collect();
    table::write(out, &columns, &rows);
}

fn row(member: &SetMember, is_numbered: bool) -> Vec<String> {
    let router = if member.router_name.is_empty() { &member.router } else { &member.router_name };
    let state = match (member.silent, member.holder, member.preempt) {
        (true, ..) => "silent",
        (_, true, _) => "active",
        _ if is_numbered && !member.abreast => "waits, and has not all numbers yet",
        (_, _, true) => "waits, to preempt",
        _ => "waits",
    };
    vec![member.rank.to_string(), router.clone(), member.publisher.clone(), state.to_owned()]
}
