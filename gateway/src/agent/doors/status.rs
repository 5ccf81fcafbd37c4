//! `/status` for people and programs, `/metrics`, `/livez` and `/readyz`.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use millrace_client::ConfirmLevel;
use serde_json::{Value, json};

use crate::admin;
use crate::agent::producers::{Producer, ProducerStats};
use crate::agent::room::AgentRoom;
use crate::counters::Door;
use crate::doors::http::answer::page;

/// The doors of an agent.
const DOORS: &[Door] = &[Door::Http, Door::Web, Door::Syslog];

/// The pages about the agent.
pub(super) fn routes(room: AgentRoom) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "live\n" }))
        .route("/readyz", get(ready))
        .with_state(room)
}

/// The agent is ready when it takes events, whether or not there is a router.
async fn ready(State(room): State<AgentRoom>) -> Response {
    if *room.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the agent stops\n").into_response();
    }
    "ready\n".into_response()
}

async fn status(State(room): State<AgentRoom>) -> Response {
    let producers = room.producers.all();
    let pending: u64 = producers.iter().map(|producer| producer.stats().events.pending).sum();
    let (quota, settings) = (room.producers.quota(), room.producers.settings());
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "fqdn": room.stamp.fqdn(),
        "attached": room.producers.is_attached(),
        "pending": pending,
        "spool": {
            "folder": settings.folder,
            "bytes": quota.used(),
            "max_bytes": quota.max(),
            "free_percent": settings.free_percent,
            "on_full": settings.on_full.name(),
        },
        "feeds": room.feeds.count(),
        "producers": producers.iter().map(|producer| of_producer(producer)).collect::<Vec<_>>(),
    });
    page(StatusCode::OK, &body)
}

const fn level(producer: &Producer) -> &'static str {
    match producer.level() {
        ConfirmLevel::Delivered => "delivered",
        _ => "routed",
    }
}

fn of_producer(producer: &Producer) -> Value {
    let ProducerStats { events, shed_newest, refused, replaced_tags, spool_bytes, .. } = producer.stats();
    json!({
        "name": producer.name(),
        "index": producer.index(),
        "level": level(producer),
        "publisher": producer.key().publisher.to_string(),
        "published": events.published,
        "found": events.found,
        "pending": events.pending,
        "confirmed": events.confirmed,
        "partial": events.partial,
        "dropped": events.dropped,
        "unknown": events.unknown,
        "shed": events.shed + shed_newest,
        "unreadable": events.unreadable,
        "refused": refused,
        "replaced_tags": replaced_tags,
        "bytes": spool_bytes,
    })
}

/// A number of each producer: its name, whether it only grows, what it is, and how to read it.
type OfProducer = (&'static str, bool, &'static str, fn(&ProducerStats) -> u64);

const OF_PRODUCER: &[OfProducer] = &[
    ("published_events", true, "Events that were taken", |stats| stats.events.published),
    ("pending_events", false, "Events in the spool that have no outcome yet", |stats| stats.events.pending),
    ("confirmed_events", true, "Events that routers confirmed", |stats| stats.events.confirmed),
    ("unconfirmed_events", true, "Events that ended as partial, dropped or unknown", |stats| {
        stats.events.partial + stats.events.dropped + stats.events.unknown
    }),
    ("shed_events", true, "Events that were given up because the spool was full", |stats| {
        stats.events.shed + stats.shed_newest
    }),
    ("unreadable_events", true, "Events that the spool could not read back", |stats| stats.events.unreadable),
    ("refused_events", true, "Events that the spool did not take", |stats| stats.refused),
    ("replaced_tags", true, "Tags of the host that the producer had set", |stats| stats.replaced_tags),
    ("spool_bytes", false, "Bytes of the spool's files", |stats| stats.spool_bytes),
];

async fn metrics(State(room): State<AgentRoom>) -> Response {
    let mut page = String::with_capacity(8192);
    admin::put_families(&mut page, "millrace_agent", DOORS, &room.counters);
    let producers: Vec<_> =
        room.producers.all().into_iter().map(|producer| (producer.stats(), producer)).collect();
    for (name, is_counter, help, read) in OF_PRODUCER {
        let (kind, suffix) = if *is_counter { ("counter", "_total") } else { ("gauge", "") };
        let name = format!("millrace_agent_producer_{name}{suffix}");
        // A string takes everything.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (stats, producer) in &producers {
            let labels = format!("producer=\"{}\",level=\"{}\"", producer.name(), level(producer));
            let _ = writeln!(page, "{name}{{{labels}}} {}", read(stats));
        }
    }
    let quota = room.producers.quota();
    let own = [
        ("attached", "Whether there is a router", u64::from(room.producers.is_attached())),
        ("spool_bytes", "Bytes of all spools", quota.used()),
        ("spool_max_bytes", "Bytes that all spools may have", quota.max()),
        ("feeds", "Lists of selectors that local clients read", room.feeds.count() as u64),
    ];
    for (name, help, value) in own {
        let name = format!("millrace_agent_{name}");
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    ([(header::CONTENT_TYPE, admin::METRICS_TYPE)], page).into_response()
}
