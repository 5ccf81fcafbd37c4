//! `/metrics`, `/livez` and `/readyz`, on an address of their own; without authentication, so it
//! belongs on loopback or on a network of probes.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::admission::{Peer, WaitingRoom};
use crate::counters::{Counters, Door, FAMILIES};
use crate::http_server::{self, is_meant_for_loopback};
use crate::room::Room;
use crate::tcp_server::TcpServer;

/// Connections at once: a scraper and a few probes need one each, for milliseconds.
const CONNECTIONS_MAX: usize = 64;
/// The content type of `/metrics` (Prometheus' text format).
pub(crate) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the admin page until the gateway stops.
pub(crate) async fn serve(listener: TcpListener, room: Room) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .with_state(room.clone())
        .merge(probes(room.clone()))
        .layer(middleware::from_fn(check_host));
    let server = TcpServer {
        lobby: room.lobby,
        tls: None,
        door: None,
        connections_max: CONNECTIONS_MAX,
        waiting: WaitingRoom::default(),
    };
    http_server::serve(server, listener, routes).await;
}

/// `/livez` and `/readyz`, which the HTTP door has, too.
pub(crate) fn probes(room: Room) -> Router {
    Router::new().route("/livez", get(|| async { "live\n" })).route("/readyz", get(ready)).with_state(room)
}

async fn check_host(Extension(peer): Extension<Peer>, request: Request, next: Next) -> Response {
    if is_meant_for_loopback(&peer, request.headers()) {
        return next.run(request).await;
    }
    let advice =
        "this page answers on loopback under localhost, 127.0.0.1 or [::1] only; set Host accordingly\n";
    (StatusCode::MISDIRECTED_REQUEST, advice).into_response()
}

async fn ready(State(room): State<Room>) -> Response {
    let why = if *room.stopping.borrow() {
        "the gateway stops\n"
    } else if !room.upstream.is_attached() {
        "no router can be reached\n"
    } else {
        return "ready\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn metrics(State(room): State<Room>) -> Response {
    let mut page = String::with_capacity(4096);
    put_families(&mut page, "millrace_gateway", Door::ALL, &room.counters);
    let own = [
        ("feeds", "Lists of selectors that local clients read", room.upstream.feeds().count()),
        ("attached", "Whether every line to the routers has one", usize::from(room.upstream.is_attached())),
    ];
    for (name, help, value) in own {
        let name = format!("millrace_gateway_{name}");
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    ([(header::CONTENT_TYPE, METRICS_TYPE)], page).into_response()
}

/// Appends the counters of these doors; `program` is what their names begin with.
pub(crate) fn put_families(page: &mut String, program: &str, doors: &[Door], counters: &Counters) {
    for family in FAMILIES {
        let (kind, suffix) = if family.is_counter { ("counter", "_total") } else { ("gauge", "") };
        let name = format!("{program}_{}{suffix}", family.name);
        // A string takes everything.
        let _ = writeln!(page, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        for sample in counters.samples(family).iter().filter(|sample| doors.contains(&sample.door)) {
            let reason = sample.reason.map_or_else(String::new, |why| format!(",reason=\"{}\"", why.name()));
            let _ = writeln!(page, "{name}{{door=\"{}\"{reason}}} {}", sample.door.name(), sample.value);
        }
    }
}
