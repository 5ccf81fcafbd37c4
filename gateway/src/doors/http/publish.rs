//! `POST /events` of a gateway.

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};

use super::answer::{Problem, answer};
use super::guard::Guard;
use super::query::Query;
use super::request::{self, Given};
use crate::admission::{Peer, Right};
use crate::counters::{Door, Reason};
use crate::room::Room;
use crate::upstream::Level;

/// What answers requests to publish.
#[derive(Debug, Clone)]
pub(super) struct Publish {
    pub(super) room: Room,
    pub(super) guard: Guard,
}

/// Publishes what a request carries.
pub(super) async fn post(
    State(publish): State<Publish>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    publish.answer(&peer, request).await.unwrap_or_else(IntoResponse::into_response)
}

impl Publish {
    async fn answer(&self, peer: &Peer, request: Request) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default())
            .map_err(|error| self.refuse(Reason::Malformed, Problem::malformed(error)))?;
        let admitted = self.guard.admit(Door::Http, peer, &parts.headers, &query, &[Right::Publish])?;
        let level = level(&query).map_err(|problem| self.refuse(Reason::Malformed, problem))?;
        let given = Given { stamped: admitted.tags(), are_more: false };
        let carried = request::read(&parts, &query, body, given)
            .await
            .map_err(|unreadable| self.refuse(unreadable.reason, unreadable.problem))?;
        let underway =
            self.room.upstream.publish(Door::Http, level, &carried.events).map_err(|unavailable| {
                let problem = Problem::from(unavailable);
                let is_busy = problem.name() == "busy";
                self.refuse(if is_busy { Reason::Busy } else { Reason::NoRouter }, problem)
            })?;
        Ok(answer(&underway.published().await, carried.is_batch))
    }

    /// Counts a problem.
    fn refuse(&self, reason: Reason, problem: Problem) -> Problem {
        self.room.counters.refused(Door::Http, reason);
        problem
    }
}

/// The level that a request asks for.
fn level(query: &Query) -> Result<Level, Problem> {
    let Some(name) = query.first("level") else { return Ok(Level::default()) };
    let message = || format!("level {name:?}: there are none, routed and delivered");
    Level::named(name).ok_or_else(|| Problem::malformed(message()))
}
