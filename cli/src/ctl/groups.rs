//! `millrace ctl groups`.

use std::fmt::Write as _;
use std::time::Duration;

use super::answers;
use super::table::{self, Column};
use crate::admin::pages::{Group, GroupMember, Groups};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::figures::{age, bytes, whole};

pub(super) async fn run(urls: &[AdminUrl], json: bool) -> Result<(), Failure> {
    answers::finish(admin::all::<Groups>(urls, Method::Get, "/groups").await, json, words)
}

fn words(answers: &[Answer<Groups>]) -> String {
    let mut out = String::new();
    for answer in answers {
        let page = &answer.read;
        // A string takes everything.
        let _ = writeln!(out, "{}: {} groups", page.name, page.groups.len());
        page.groups.iter().for_each(|group| write_group(&mut out, group));
    }
    out
}

fn write_group(out: &mut String, group: &Group) {
    let level = group.level.map_or_else(|| "none".to_owned(), |level| level.to_string());
    let exclusive = if group.exclusive { ", exclusive" } else { "" };
    let _ = write!(out, "\n{}: level {level}{exclusive}", group.group);
    if let Some(switch) = &group.last_switch {
        let ago = age(Duration::try_from_secs_f64(switch.seconds_ago).unwrap_or_default());
        let from = switch.from.map_or(String::new(), |from| format!(", from level {from}"));
        let _ = write!(out, " since {ago} ({}{from})", switch.reason);
    }
    let _ = writeln!(
        out,
        "; {} changes, {} runs wait, {} held",
        whole(group.switches),
        whole(group.waiting),
        bytes(group.held_bytes)
    );
    let columns = [
        Column::right("LEVEL"),
        Column::elastic("ROUTER"),
        Column::right("MEMBER"),
        Column::right("IN FLIGHT"),
        Column::right("ROOM"),
        Column::left("STATE"),
    ];
    let mut members: Vec<&GroupMember> = group.members.iter().collect();
    members.sort_by_key(|member| (member.level, &member.router_name, member.member));
    let rows: Vec<Vec<String>> = members.into_iter().map(row).collect();
    table::write(out, &columns, &rows);
}

fn row(member: &GroupMember) -> Vec<String> {
    let router = if member.router_name.is_empty() { &member.router } else { &member.router_name };
    let state = match (member.busy, member.active) {
        (true, _) => "busy",
        (false, true) => "active",
        (false, false) => "waits",
    };
    vec![
        member.level.to_string(),
        router.clone(),
        member.member.to_string(),
        whole(member.in_flight),
        whole(member.room),
        state.to_owned(),
    ]
}
