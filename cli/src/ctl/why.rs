//! `millrace ctl why TAGS`.

use std::fmt::Write as _;

use anyhow::anyhow;
use millrace_proto::TagSet;

use super::answers;
use super::args;
use super::table::{self, Column};
use crate::admin::pages::{Miss, Why, WhyReceiver};
use crate::admin::{self, AdminUrl, Answer, Method};
use crate::failure::Failure;
use crate::figures::{bytes, whole};
use crate::tags;

pub(super) async fn run(urls: &[AdminUrl], asked: &args::Why, json: bool) -> Result<(), Failure> {
    let texts: Vec<String> = asked.tags.iter().flat_map(|argument| tags::split(argument)).collect();
    // Before anybody is asked: the commonest mistake should not wait for a router.
    TagSet::from_texts(texts.iter().map(String::as_str)).map_err(|error| {
        Failure::usage(anyhow!(error)).hint("Write tags as for `millrace pub -t`: host=web-1,service=pay")
    })?;
    let joined: Vec<String> = texts.iter().map(|text| text.replace(',', "\\,")).collect();
    let mut query = form_urlencoded::Serializer::new(String::from("/why?"));
    query.append_pair("tags", &joined.join(",")).append_pair("top", &asked.top.to_string());
    let path = query.finish();
    answers::finish(admin::all::<Why>(urls, Method::Get, &path).await, json, words)
}

fn words(answers: &[Answer<Why>]) -> String {
    let mut out = String::new();
    for (place, answer) in answers.iter().enumerate() {
        if place > 0 {
            out.push('\n');
        }
        router(&mut out, &answer.read);
    }
    out
}

/// Where an event would go that enters at one router. A string takes everything that is written.
fn router(out: &mut String, why: &Why) {
    let tags: Vec<String> = why.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let tags = if tags.is_empty() { "no tags".to_owned() } else { tags.join(",") };
    let _ = writeln!(out, "{tags}\n  enters at {}, where core {} owns it", why.name, why.owner_core);
    if !why.takes_events {
        let _ = writeln!(out, "  waits at its publisher: not all known routers are linked and synced");
    }
    if !why.rules.is_empty() {
        let added = why.effective_tags.iter().filter(|(key, _)| !why.tags.contains_key(*key));
        let added: Vec<String> = added.map(|(key, value)| format!("{key}={value}")).collect();
        let added = if added.is_empty() { "nothing".to_owned() } else { added.join(",") };
        let _ = writeln!(out, "  gets {added} from the rules {}", why.rules.join(", "));
    }
    if !why.payload_rules.is_empty() {
        let rules = why.payload_rules.join(", ");
        let _ =
            writeln!(out, "  may get more tags, which decide about more receivers, by its payload: {rules}");
    }
    match why.receivers_count {
        0 => {
            let _ = writeln!(out, "  meets no receiver of {}", why.name);
            misses(out, &why.nearest);
        }
        count => {
            let _ = writeln!(out, "  meets {} of {}", table::counted(count, "receiver"), why.name);
            receivers(out, &why.receivers);
            let left = count.saturating_sub(why.receivers.len() as u64);
            if left > 0 {
                let _ = writeln!(out, "    and {} more (-n shows more)", whole(left));
            }
        }
    }
    for peer in &why.peers {
        let name = if peer.name.is_empty() { &peer.router } else { &peer.name };
        let payload = if peer.by_payload { ", if its payload has what is looked for" } else { "" };
        let _ = match (peer.wants, &peer.why_not) {
            (true, None) => writeln!(out, "  goes to {name}, which has subscribers{payload}"),
            (true, Some(but)) => writeln!(out, "  should go to {name}{payload}, but {but}"),
            (false, why_not) => {
                let why_not = why_not.as_deref().unwrap_or("it wants nothing of it");
                writeln!(out, "  does not go to {name}: {why_not}")
            }
        };
        if !peer.wants {
            misses(out, &peer.nearest);
        }
    }
}

fn receivers(out: &mut String, receivers: &[WhyReceiver]) {
    let columns = [
        Column::left("    SESSION"),
        Column::right("RECEIVER"),
        Column::elastic("BY"),
        Column::right("QUEUED"),
        Column::right("OF"),
        Column::right("DROPPED"),
    ];
    let rows: Vec<Vec<String>> = receivers
        .iter()
        .map(|receiver| {
            let by: Vec<String> = receiver
                .selectors
                .iter()
                .map(|one| {
                    if one.by_payload { format!("{} + payload", one.selector) } else { one.selector.clone() }
                })
                .collect();
            vec![
                format!("    {}", receiver.session),
                receiver.receiver.to_string(),
                by.join(" | "),
                bytes(receiver.queued_bytes),
                bytes(receiver.queue_bytes_max),
                whole(receiver.dropped_events),
            ]
        })
        .collect();
    table::write(out, &columns, &rows);
}

/// The selectors that came nearest.
fn misses(out: &mut String, misses: &[Miss]) {
    for miss in misses {
        let unmet: Vec<String> = miss
            .unmet
            .iter()
            .map(|unmet| match &unmet.has {
                Some(has) => format!("asks for {}, not {has}", unmet.requires),
                None => format!("asks for {}, and there is no {}", unmet.requires, unmet.key),
            })
            .collect();
        let line = format!("    nearest: {}  {}", miss.selector, unmet.join("; "));
        let _ = writeln!(out, "{}", table::cut(&line, table::WIDTH));
    }
}
