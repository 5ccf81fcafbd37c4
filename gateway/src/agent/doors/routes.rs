//! Which request is answered by what: the same on the unix socket, on loopback, and, without
//! publishing and subscribing, on the admin page.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::local::Local;
use super::{named, publish, status, unix};
use crate::admission::{CONNECTIONS_MAX, Peer, Right, WaitingRoom};
use crate::agent::room::AgentRoom;
use crate::counters::Door;
use crate::doors::http::answer::Problem;
use crate::doors::http::otherwise;
use crate::doors::web::sse;
use crate::http_server::{self, is_meant_for_loopback};
use crate::tcp_server::TcpServer;

/// Connections of the admin page at once.
const ADMIN_CONNECTIONS_MAX: usize = 64;

fn routes(room: &AgentRoom) -> Router {
    let local = Local::new(room.clone());
    let routes = Router::new()
        .route("/events", get(subscribe).post(publish::post))
        .with_state(local)
        .merge(status::routes(room.clone()));
    otherwise::told(routes, &room.lobby.counters)
}

/// Serves the HTTP door until the agent stops.
pub(in crate::agent) async fn serve_http(listener: TcpListener, room: AgentRoom) {
    let server = TcpServer {
        lobby: room.lobby.clone(),
        tls: None,
        door: Some(Door::Http),
        connections_max: CONNECTIONS_MAX,
        waiting: WaitingRoom::default(),
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
        waiting: WaitingRoom::default(),
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
    sse::answer(lobby, feeds, &parts.headers, &query, None).await
}
