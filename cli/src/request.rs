//! `millrace request`: asks, and prints the replies.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, anyhow};
use millrace_client::{AskError, Event, Replies, Request, RequestEnd, Wanted};
use millrace_proto::TagSet;
use serde::Serialize;
use tokio::io::AsyncReadExt;

use crate::failure::Failure;
use crate::options::{Reach, some_time};
use crate::signal::interrupt;
use crate::tell::tell;
use crate::{reach, show, tags};

/// Schema of the objects that `request --json` prints.
const SCHEMA: &str = "millrace.request/1";

/// Ask with an event, and print the replies.
///
/// The request is an event: all receivers whose selectors match it have it, and those that run
/// `millrace reply` (or a program that replies) answer. With --to, the receivers of these names are
/// asked, and nobody else. Without PAYLOAD, standard input is the payload, if it is no terminal.
///
/// Each reply is printed as it comes, with a line break behind it. The command ends with exit code
/// 0 when as many replies came as were wanted, or as there are receivers; with 1 when nobody has
/// the request, or its time is over; with --json, `end` says which: complete, no_receiver,
/// deadline, unknown (a reply may have been lost on its way here), requester_ended, or why it
/// reached nobody.
#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    /// Tags of the request, key=value, separated by commas: what is asked for. With --tag or --to
    /// it may be left out.
    #[arg(value_name = "TAGS", required_unless_present_any = ["tags", "to"])]
    first: Option<String>,
    /// What is asked.
    #[arg(value_name = "PAYLOAD")]
    payload: Option<String>,
    /// More tags, key=value.
    #[arg(long = "tag", short = 't', value_name = "KEY=VALUE")]
    tags: Vec<String>,
    /// Ask the receiver of this name, and nobody else; may be given up to 16 times.
    #[arg(long, value_name = "NAME", value_parser = crate::args::name)]
    to: Vec<String>,
    /// How many replies to wait for: a number, or `all`, one of each receiver that has the request.
    #[arg(long, value_name = "1|N|all", default_value = "1", value_parser = wanted)]
    replies: Wanted,
    /// How long to wait for them, an hour at most.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = some_time)]
    timeout: Duration,
    /// Do not say at the end how many replies came.
    #[arg(long, short)]
    quiet: bool,
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text.parse() {
        Ok(0) => Err("write a number from 1, or all".to_owned()),
        Ok(1) => Ok(Wanted::First),
        Ok(count) => Ok(Wanted::Count(count)),
        Err(_) if text == "all" => Ok(Wanted::All),
        Err(_) => Err("write a number from 1, or all".to_owned()),
    }
}

impl Ask {
    /// The tags, and the payload if the command line has it.
    fn parts(&self) -> Result<(TagSet, Option<&str>), Failure> {
        let read = |texts: Vec<String>| TagSet::from_texts(texts.iter().map(String::as_str));
        let texts = |first: Option<&String>| -> Vec<String> {
            first.into_iter().chain(&self.tags).flat_map(|argument| tags::split(argument)).collect()
        };
        let says_whom = !self.tags.is_empty() || !self.to.is_empty();
        if let (Some(first), None, true) = (&self.first, &self.payload, says_whom) {
            // Whom to ask is said otherwise: what is no tag is the payload.
            let is_tags = self.tags.is_empty() && read(texts(Some(first))).is_ok();
            let (tags, payload) = if is_tags { (Some(first), None) } else { (None, Some(first.as_str())) };
            return Ok((read(texts(tags)).map_err(wrong_tags)?, payload));
        }
        Ok((read(texts(self.first.as_ref())).map_err(wrong_tags)?, self.payload.as_deref()))
    }
}

fn wrong_tags(error: millrace_client::TagError) -> Failure {
    Failure::usage(error.into()).hint(
        "TAGS are key=value, separated by commas: a request is an event, and has the values themselves.",
    )
}

pub(crate) async fn run(reach: &Reach, command: &Ask) -> Result<(), Failure> {
    let (tags, payload) = command.parts()?;
    let payload = match payload {
        Some(payload) => payload.as_bytes().to_vec(),
        None => standard_input().await?,
    };
    let request = Request::default().replies(command.replies).timeout(command.timeout).to(&command.to);
    let client = reach::client(reach)?;
    let requester = client.requester().await.map_err(reach::unreachable)?;
    let mut replies = requester.request(&tags, payload, request).await.map_err(|error| match error {
        AskError::Timeout => Failure::usage(error.into()),
        error => Failure::other(error.into()),
    })?;
    let printed = tokio::select! {
        printed = print_all(&mut replies, reach.json) => printed,
        signal = interrupt() => signal.and_then(|()| {
            Err(Failure::interrupted(anyhow!("interrupted while waiting for replies")))
        }),
    };
    let outcome = printed.and_then(|()| ended(&replies, command, reach.json));
    drop(replies);
    drop(requester);
    client.close().await;
    outcome
}

async fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    if !io::stdin().is_terminal() {
        let read = tokio::io::stdin().read_to_end(&mut payload).await;
        read.context("cannot read standard input").map_err(Failure::other)?;
    }
    Ok(payload)
}

async fn print_all(replies: &mut Replies, json: bool) -> Result<(), Failure> {
    while let Some(event) = replies.next().await {
        match print(&event, json) {
            Ok(()) => {}
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::other(anyhow!(error).context("cannot write"))),
        }
    }
    Ok(())
}

fn print(event: &Event, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return show::reply_json(&mut out, SCHEMA, event);
    }
    out.write_all(&event.payload)?;
    if event.payload.last() != Some(&b'\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[derive(Serialize)]
struct End {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    end: &'static str,
    replies: u64,
    receivers: Option<u64>,
    recipients: std::collections::BTreeMap<String, &'static str>,
}

/// Says how the request ended.
fn ended(replies: &Replies, command: &Ask, json: bool) -> Result<(), Failure> {
    let end = replies.end().unwrap_or(RequestEnd::Complete);
    let (count, receivers) = (replies.count(), replies.receivers());
    let fates = replies.recipients().iter().map(|one| (one.name.clone(), one.fate.name()));
    let object = End {
        schema: SCHEMA,
        kind: "end",
        end: end.name(),
        replies: count,
        receivers,
        recipients: fates.collect(),
    };
    if json {
        let written = show::json_line(&mut io::stdout().lock(), &object);
        written.map_err(|error| Failure::other(anyhow!(error).context("cannot write")))?;
    }
    let known = receivers.map_or_else(String::new, |receivers| format!(" of {receivers} receivers"));
    let limit = humantime::format_duration(command.timeout);
    match end {
        RequestEnd::Complete => {
            if !command.quiet && !json {
                tell(format_args!("{count} replies{known}"));
            }
            Ok(())
        }
        RequestEnd::Deadline => {
            Err(Failure::other(anyhow!("{count} replies{known} within {limit} (deadline)"))
                .hint("--timeout waits longer."))
        }
        RequestEnd::NoReceiver => {
            let who = if command.to.is_empty() { "no receiver matches" } else { "nobody has the name" };
            Err(Failure::other(anyhow!("{who} (no_receiver)")))
        }
        RequestEnd::Unknown(reason) => {
            let why = reason.name();
            Err(Failure::other(anyhow!(
                "{count} replies{known} within {limit}, and a reply may have been lost on its way: {why} (unknown)"
            )))
        }
        RequestEnd::Ended => Err(Failure::other(anyhow!(
            "{count} replies{known}, and none can come any more (requester_ended)"
        ))
        .hint("A router refused this client while it waited: its log says why.")),
        other => Err(Failure::other(anyhow!("the request reached nobody ({})", other.name()))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        ask: Ask,
    }

    fn parts(args: &[&str]) -> (String, Option<String>) {
        let line =
            Line::try_parse_from(["request"].iter().chain(args)).unwrap_or_else(|error| panic!("{error}"));
        let (tags, payload) = line.ask.parts().unwrap_or_else(|error| panic!("{error:?}"));
        (tags.to_string(), payload.map(str::to_owned))
    }

    #[test]
    fn what_is_no_tag_is_the_payload_where_the_receiver_is_said_otherwise() {
        let owned = |text: &str| Some(text.to_owned());
        assert_eq!(parts(&["a=1,b=2", "now?"]), ("a=1,b=2".to_owned(), owned("now?")));
        assert_eq!(parts(&["a=1"]), ("a=1".to_owned(), None));
        assert_eq!(parts(&["--to", "desk", "now?"]), (String::new(), owned("now?")));
        assert_eq!(parts(&["--to", "desk", "a=1"]), ("a=1".to_owned(), None));
        assert_eq!(parts(&["-t", "a=1", "b=2"]), ("a=1".to_owned(), owned("b=2")));
        assert_eq!(parts(&["--to", "desk", "a=1", "now?"]), ("a=1".to_owned(), owned("now?")));
    }
}
