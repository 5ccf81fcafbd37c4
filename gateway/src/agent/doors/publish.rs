//! `POST /events`: events go into the spool of whoever sends them.
//!
//! | parameter | the answer comes |
//! |---|---|
//! | none | when the events are in the spool: safe from the end of the agent |
//! | `sync=now` | when they are safe from a power loss, too |
//! | `wait=routed` | when they are in the queues of all receivers |
//! | `wait=delivered` | when the applications of all receivers have taken them |
//! | `timeout=SECONDS` | after this time at the latest, with either `wait`: 1 to 300, default 30 |

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use millrace_client::ConfirmLevel;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{Ended, answer, not_taken};
use super::local::Local;
use crate::admission::Right;
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::doors::http::query::Query;
use crate::doors::http::request::{self, Given, Unreadable};

/// How long a client waits for outcomes unless it says so.
const WAIT: Duration = Duration::from_secs(30);
/// The longest that it may wait.
const WAIT_SECONDS_MAX: u64 = 300;
/// How long a disk may take for a sync.
const SYNC_MAX: Duration = Duration::from_secs(10);

/// What a client waits for.
#[derive(Debug, Clone, Copy)]
struct Wish {
    level: ConfirmLevel,
    /// Until then; `None`: it does not wait for outcomes.
    until: Option<Instant>,
    is_synced: bool,
}

/// Takes what a request carries.
pub(super) async fn post(State(local): State<Local>, request: Request) -> Response {
    take(&local, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn take(local: &Local, request: Request) -> Result<Response, Problem> {
    let query = local.query(Door::Http, &request)?;
    let caller = local.caller(Door::Http, &request, &query, Right::Publish)?;
    let wish = wish(&query).map_err(|problem| local.refuse(Door::Http, Reason::Malformed, problem))?;
    let (parts, body) = request.into_parts();
    let given = Given { stamped: &[], are_more: true };
    let carried = request::read(&parts, &query, body, given)
        .await
        .map_err(|Unreadable { reason, problem }| local.refuse(Door::Http, reason, problem))?;
    let room = &local.room;
    let producer = room.producers.of(&caller, wish.level).await.map_err(|error| {
        let (reason, problem) = not_taken(&error);
        local.refuse(Door::Http, reason, problem)
    })?;
    let mut ended = Vec::with_capacity(carried.events.len());
    let mut waiting = Vec::new();
    let mut stopped = None;
    for event in carried.events {
        let taken = match wish.until {
            None => room.take(&producer, event),
            Some(_) => room.take_waiting(&producer, event).map(|(id, one)| {
                waiting.push(one);
                id
            }),
        };
        match taken {
            Ok(id) => ended.push(Ended { id, outcome: None, is_pending: wish.until.is_some() }),
            Err(error) => {
                stopped = Some(error);
                break;
            }
        }
    }
    room.counters.published(Door::Http, ended.len() as u64);
    if let Some(error) = stopped {
        let (reason, problem) = not_taken(&error);
        room.counters.dropped(Door::Http, reason, 1);
        let problem = if carried.is_batch { problem.of_event(ended.len()) } else { problem };
        return Err(problem);
    }
    if wish.is_synced && timeout(SYNC_MAX, producer.synced()).await.is_err() {
        let message = "the events are in the spool, and the disk has not said that they are safe";
        return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "sync", message));
    }
    if let Some(until) = wish.until {
        for (ended, waiting) in ended.iter_mut().zip(&mut waiting) {
            if let Ok(Some(outcome)) = timeout_at(until, waiting.outcome()).await {
                (ended.outcome, ended.is_pending) = (Some(outcome), false);
            }
        }
    }
    Ok(answer(&ended, carried.is_batch))
}

fn wish(query: &Query) -> Result<Wish, Problem> {
    let is_synced = match query.first("sync") {
        None => false,
        Some("now") => true,
        Some(other) => return Err(Problem::malformed(format!("sync {other:?}: there is now"))),
    };
    let level = match query.first("wait") {
        None => None,
        Some("routed") => Some(ConfirmLevel::Routed),
        Some("delivered") => Some(ConfirmLevel::Delivered),
        Some(other) => {
            return Err(Problem::malformed(format!("wait {other:?}: there are routed and delivered")));
        }
    };
    let within = match query.first("timeout") {
        None => WAIT,
        Some(text) => {
            let seconds = text.parse().ok().filter(|seconds| (1..=WAIT_SECONDS_MAX).contains(seconds));
            let message = || format!("timeout {text:?}: write seconds, 1 to {WAIT_SECONDS_MAX}");
            Duration::from_secs(seconds.ok_or_else(|| Problem::malformed(message()))?)
        }
    };
    let until = level.map(|_| Instant::now() + within);
    Ok(Wish { level: level.unwrap_or(ConfirmLevel::Routed), until, is_synced })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_for_what_it_says() {
        let of = |text| wish(&Query::parse(text).unwrap());
        let none = of("tag=a=b").unwrap();
        assert!(none.until.is_none() && !none.is_synced && none.level == ConfirmLevel::Routed);
        assert!(of("sync=now").unwrap().is_synced);
        let delivered = of("wait=delivered&timeout=2").unwrap();
        assert!(delivered.until.is_some() && delivered.level == ConfirmLevel::Delivered);
        for wrong in ["sync=later", "wait=none", "timeout=0", "timeout=301", "timeout=x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
