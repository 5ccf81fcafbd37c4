//! Which request is answered by what.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{RequestExt, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::page;
use super::sse;
use super::websocket::{self, PROTOCOL};
use crate::admission::{Peer, Right, Standing};
use crate::counters::{Door, Reason};
use crate::doors::http::answer::Problem;
use crate::doors::http::guard::Guard;
use crate::doors::http::query::Query;
use crate::room::Room;

/// What answers web clients.
#[derive(Debug, Clone)]
struct Web {
    room: Room,
    guard: Guard,
}

/// The routes of web clients.
pub(crate) fn routes(room: Room, guard: Guard) -> Router {
    Router::new().route("/events", get(events)).with_state(Web { room, guard }).merge(page::routes())
}

async fn events(State(web): State<Web>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    web.answer(&peer, request).await.unwrap_or_else(IntoResponse::into_response)
}

impl Web {
    async fn answer(&self, peer: &Peer, request: Request) -> Result<Response, Problem> {
        let query = Query::parse(request.uri().query().unwrap_or_default()).map_err(|error| {
            self.room.counters.refused(Door::Web, Reason::Malformed);
            Problem::malformed(error)
        })?;
        if !asks_for_websocket(request.headers()) {
            let headers = request.headers();
            let standing = self.guard.admit(Door::Web, peer, headers, &query, &[Right::Subscribe])?;
            let feeds = self.room.upstream.feeds();
            return sse::answer(&self.room.lobby, feeds, headers, &query, Some(standing)).await;
        }
        let admitted = self.admit_websocket(peer, request.headers(), &query)?;
        check_handshake(request.headers())
            .inspect_err(|_| self.room.counters.refused(Door::Web, Reason::Malformed))?;
        let upgrade = request.extract::<WebSocketUpgrade, _>().await.map_err(|rejection| {
            self.room.counters.refused(Door::Web, Reason::Malformed);
            Problem::malformed(rejection)
        })?;
        let room = self.room.clone();
        let upgrade = upgrade
            .protocols([PROTOCOL])
            .max_message_size(websocket::MESSAGE_BYTES_MAX)
            .max_frame_size(websocket::MESSAGE_BYTES_MAX);
        Ok(upgrade.on_upgrade(move |socket| websocket::serve(socket, room, admitted)))
    }

    /// A WebSocket does both, so either right opens it; each frame is checked by its own.
    fn admit_websocket(&self, peer: &Peer, headers: &HeaderMap, query: &Query) -> Result<Standing, Problem> {
        self.guard.admit(Door::Web, peer, headers, query, &[Right::Subscribe, Right::Publish])
    }
}

/// Whether this is a handshake of the version that there is (RFC 6455, section 4.2.1).
fn check_handshake(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        let message = "this door speaks version 13 of WebSocket: say so in Sec-WebSocket-Version";
        return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "version", message));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| STANDARD.decode(key.as_bytes()));
    if !matches!(key, Some(Ok(key)) if key.len() == 16) {
        return Err(Problem::malformed("Sec-WebSocket-Key is not 16 bytes in base64"));
    }
    Ok(())
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
