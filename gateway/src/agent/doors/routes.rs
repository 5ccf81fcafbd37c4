//! Which request is answered by what: the same on the unix socket, on loopback, and, without
//! publishing and subscribing, on the admin page.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::{named, publish, status, unix};
use crate::admission::{Access, CONNECTIONS_MAX, Peer, Right};
use crate::agent::producers::Caller;
use crate::agent::room::AgentRoom;
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::doors::http::guard::Guard;
use crate::doors::http::query::Query;
use crate::doors::web::sse;
use crate::http_server::{self, is_meant_for_loopback};
use crate::tcp_server::TcpServer;

/// The header under which a client on loopback names itself.
const PRODUCER: &str = "millrace-producer";
/// Connections of the admin page at once.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// What answers local clients.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) room: AgentRoom,
    guard: Guard,
}

impl Local {
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
            self.guard.admit(door, peer, headers, query, right)?;
        }
        Caller::http(name(headers))
            .map_err(|error| self.refuse(door, Reason::Malformed, Problem::malformed(error)))
    }
}

fn name(headers: &HeaderMap) -> Option<&str> {
    headers.get(PRODUCER).map(|name| name.to_str().unwrap_or_default())
}

fn routes(room: &AgentRoom) -> Router {
    let guard = Guard::new(Access::default(), &[], room.counters.clone());
    let local = Local { room: room.clone(), guard };
    Router::new()
        .route("/events", get(subscribe).post(publish::post))
        .with_state(local)
        .merge(status::routes(room.clone()))
}

/// Serves the HTTP door until the agent stops.
pub(in crate::agent) async fn serve_http(listener: TcpListener, room: AgentRoom) {
    let server = TcpServer {
        lobby: room.lobby.clone(),
        tls: None,
        door: Some(Door::Http),
        connections_max: CONNECTIONS_MAX,
    };
    http_server::serve(server, listener, routes(&room)).await;
}

/// Serves the unix socket until the agent stops.
pub(in crate::agent) async fn serve_unix(socket: unix::Socket, room: AgentRoom) {
    unix::serve(socket, room.lobby.clone(), routes(&room)).await;
}

/// Serves the admin page until the agent stops.
pub(in crate::agent) async fn serve_admin(listener: TcpListener, room: AgentRoom) {
    let server = TcpServer {
        lobby: room.lobby.clone(),
        tls: None,
        door: None,
        connections_max: ADMIN_CONNECTIONS_MAX,
    };
    let routes = status::routes(room).layer(middleware::from_fn(check_host));
    http_server::serve(server, listener, routes).await;
}

async fn check_host(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    if peer.is_none_or(|peer| is_meant_for_loopback(peer, request.headers())) {
        return next.run(request).await;
    }
    let advice =
        "this page answers on loopback under localhost, 127.0.0.1 or [::1] only; set Host accordingly\n";
    (StatusCode::MISDIRECTED_REQUEST, advice).into_response()
}

async fn subscribe(State(local): State<Local>, request: Request) -> Response {
    stream(&local, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn stream(local: &Local, request: Request) -> Result<Response, Problem> {
    let query = local.query(Door::Web, &request)?;
    local.caller(Door::Web, &request, &query, Right::Subscribe)?;
    let (parts, _) = request.into_parts();
    let AgentRoom { lobby, feeds, .. } = &local.room;
    if query.first("name").is_some() {
        return named::answer(&local.room, &parts.headers, &query).await;
    }
    sse::answer(lobby, feeds, &parts.headers, &query).await
}
