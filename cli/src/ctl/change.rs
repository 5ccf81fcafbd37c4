//! `millrace ctl reload` and `millrace ctl drain`.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::answers;
use super::args;
use crate::admin::pages::{Draining, Reloaded, Status};
use crate::admin::{self, AdminUrl, Answer, AskError, Method};
use crate::failure::Failure;
use crate::show;

/// Schema of the object that `drain --json` prints for each router.
const DRAIN_SCHEMA: &str = "millrace.ctl.drain/1";
/// Between two looks at whether a router has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Beyond its grace, a router writes what is queued and ends within this time.
const END_MAX: Duration = Duration::from_secs(15);

pub(super) async fn reload(urls: &[AdminUrl], json: bool) -> Result<(), Failure> {
    let answers = admin::all::<Reloaded>(urls, Method::Post, "/reload").await;
    answers::finish(answers, json, |answers| {
        let lines = answers.iter().flat_map(|Answer { url, read, .. }| match read.changes.as_slice() {
            [] => vec![format!("{url}: nothing has changed\n")],
            changes => changes.iter().map(|change| format!("{url}: {change}\n")).collect(),
        });
        lines.collect()
    })
}

/// One router after the other: each has ended before the next begins, so that clients find one.
pub(super) async fn drain(urls: &[AdminUrl], asked: &args::Drain, json: bool) -> Result<(), Failure> {
    let is_only = urls.len() == 1;
    // What cannot be told is no reason to leave the other routers as they are.
    let mut untold = Ok(());
    for url in urls {
        let done = drain_one(url, asked).await.map_err(|error| answers::failure(error, is_only))?;
        let written = if json {
            let page = json!({
                "schema": DRAIN_SCHEMA,
                "admin": url.to_string(),
                "name": done.name,
                "grace_s": done.grace.as_secs_f64(),
                "ended_after_s": done.ended_after.map(|after| after.as_secs_f64()),
            });
            show::json_line(&mut std::io::stdout().lock(), &page)
        } else {
            answers::print(&done.words(asked.no_wait))
        };
        untold = untold.and(written);
        if done.ended_after.is_none() && !asked.no_wait {
            let late = done.grace + END_MAX;
            return Err(Failure::other(anyhow::anyhow!(
                "{} still answers after {:.0} s: see its log, or end it with a signal",
                done.name,
                late.as_secs_f64()
            )));
        }
    }
    answers::told(untold)
}

/// How a drain went.
struct Drained {
    name: String,
    grace: Duration,
    /// None: nobody waited for it, or it took too long.
    ended_after: Option<Duration>,
}

impl Drained {
    fn words(&self, no_wait: bool) -> String {
        let grace = format!("{:.0} s", self.grace.as_secs_f64());
        match self.ended_after {
            Some(after) => format!("{} has ended, after {:.1} s\n", self.name, after.as_secs_f64()),
            None if no_wait => format!("{} goes away; its clients have {grace} to move\n", self.name),
            None => format!("{} goes away, and has not ended in time\n", self.name),
        }
    }
}

async fn drain_one(url: &AdminUrl, asked: &args::Drain) -> Result<Drained, AskError> {
    let before: Answer<Status> = admin::one(url, Method::Get, "/status").await?;
    let path = match asked.grace {
        Some(grace) => format!("/drain?grace={}ms", grace.as_millis()),
        None => "/drain".to_owned(),
    };
    let begun = Instant::now();
    let draining: Answer<Draining> = admin::one(url, Method::Post, &path).await?;
    let grace = Duration::try_from_secs_f64(draining.read.grace_s).unwrap_or_default();
    let (name, life) = (before.read.name, before.read.incarnation);
    let mut ended_after = None;
    while !asked.no_wait && begun.elapsed() < grace + END_MAX {
        sleep(LOOK_EVERY).await;
        let now: Result<Answer<Status>, _> = admin::one(url, Method::Get, "/status").await;
        let has_ended = match now {
            Err(AskError::Unreachable { .. }) => true,
            // Started anew by whoever watches over it.
            Ok(now) => now.read.incarnation != life,
            // It is busy with its end.
            Err(_) => false,
        };
        if has_ended {
            ended_after = Some(begun.elapsed());
            break;
        }
    }
    Ok(Drained { name, grace, ended_after })
}
