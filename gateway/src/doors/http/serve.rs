//! The door's listener and its routes, those of web clients among them.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;

use super::guard::Guard;
use super::otherwise;
use super::publish::{self, Publish};
use crate::admin;
use crate::admission::{CONNECTIONS_MAX, WaitingRoom};
use crate::counters::Door;
use crate::doors::web;
use crate::http_server;
use crate::room::Room;
use crate::settings::HttpSettings;
use crate::tcp_server::TcpServer;

/// Serves the door until the gateway stops.
pub(crate) async fn serve(listener: TcpListener, settings: HttpSettings, room: Room) {
    let HttpSettings { door, origins } = settings;
    let guard = Guard::new(door.access, origins, room.counters.clone());
    let publish = Publish { room: room.clone(), guard: guard.clone() };
    let routes = Router::new()
        .route("/events", post(publish::post).with_state(publish))
        .merge(web::routes(room.clone(), guard.clone()))
        .merge(admin::probes(room.clone()));
    let routes =
        otherwise::told(routes, &room.counters).layer(middleware::from_fn_with_state(guard, cross_origin));
    let server = TcpServer {
        lobby: room.lobby,
        tls: door.tls,
        door: Some(Door::Http),
        connections_max: CONNECTIONS_MAX,
        waiting: WaitingRoom::default(),
    };
    http_server::serve(server, listener, routes).await;
}

/// Tells browsers that pages of listed origins may read the answers, and answers their question
/// beforehand (Fetch standard, section 3.2).
async fn cross_origin(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Some(origin) = guard.listed_origin(request.headers()).cloned() else {
        return next.run(request).await;
    };
    let is_question = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if is_question { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if is_question {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, Authorization"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}
