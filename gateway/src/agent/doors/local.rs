//! Who a local client is, and what its query string says.

use axum::extract::Request;
use axum::http::HeaderMap;

use crate::admission::{Access, Live, Peer, Right};
use crate::agent::producers::Caller;
use crate::agent::room::AgentRoom;
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::doors::http::guard::Guard;
use crate::doors::http::query::Query;

/// The header under which a client on loopback names itself.
const PRODUCER: &str = "millrace-producer";

/// What answers local clients.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) room: AgentRoom,
    guard: Guard,
}

impl Local {
    /// Clients of a room.
    pub(super) fn new(room: AgentRoom) -> Self {
        let guard = Guard::new(Access::default(), Live::default(), room.counters.clone());
        Self { room, guard }
    }

    /// Counts a problem.
    pub(super) fn refuse(&self, door: Door, reason: Reason, problem: Problem) -> Problem {
        self.room.counters.refused(door, reason);
        problem
    }

    /// What a request's query string says.
    pub(super) fn query(&self, door: Door, request: &Request) -> Result<Query, Problem> {
        Query::parse(request.uri().query().unwrap_or_default())
            .map_err(|error| self.refuse(door, Reason::Malformed, Problem::malformed(error)))
    }

    /// Who asks. On loopback, pages of other sites and names that are not this host's are turned
    /// away.
    pub(super) fn caller(
        &self,
        door: Door,
        request: &Request,
        query: &Query,
        right: Right,
    ) -> Result<Caller, Problem> {
        if let Some(caller) = request.extensions().get::<Caller>() {
            return Ok(caller.clone());
        }
        let headers = request.headers();
        if let Some(peer) = request.extensions().get::<Peer>() {
            self.guard.admit(door, peer, headers, query, &[right])?;
        }
        Caller::http(name(headers))
            .map_err(|error| self.refuse(door, Reason::Malformed, Problem::malformed(error)))
    }
}

fn name(headers: &HeaderMap) -> Option<&str> {
    headers.get(PRODUCER).map(|name| name.to_str().unwrap_or_default())
}
