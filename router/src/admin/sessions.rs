//! `/sessions`: the clients of this router that rank highest by what waits for them, by what they
//! lost, or by what they published.

use std::cmp::Reverse;

use millrace_engine::core::{SessionOrder, SessionPicture};
use serde_json::{Value, json};

use super::ask;
use super::query::Query;
use crate::view::View;

/// Sessions on one page, at most: a page takes some 300 KiB then.
const TOP_MAX: usize = 1_000;
/// Sessions on one page unless another number is asked for: what a screen has room for.
const TOP: usize = 20;

/// A session, and what its connection is.
struct Seen {
    core: u16,
    session: SessionPicture,
    remote: Option<String>,
    rtt_us: u64,
}

/// The page.
///
/// # Errors
/// What is wrong with the query.
pub(super) async fn page(view: &View, query: Option<&str>) -> Result<Value, String> {
    let query = Query::read(query, &["order", "top"])?;
    let order = order(query.text("order"))?;
    let top = query.count("top", TOP, TOP_MAX)?;
    let answers = ask::cores(view, move |core, io| {
        let sessions = core.sessions(order, top);
        let seen = sessions.first.into_iter().map(|session| Seen {
            core: 0,
            remote: io.remote_addr(session.conn).map(|addr| addr.to_string()),
            rtt_us: u64::try_from(io.rtt(session.conn).as_micros()).unwrap_or(u64::MAX),
            session,
        });
        (sessions.count, seen.collect::<Vec<_>>())
    })
    .await;
    let silent = usize::from(view.core_count()) - answers.len();
    let mut count = 0;
    let mut seen = Vec::new();
    for (core, (on_core, first)) in answers {
        count += on_core;
        seen.extend(first.into_iter().map(|one| Seen { core, ..one }));
    }
    seen.sort_by_key(|one| (Reverse(order.rank(&one.session)), one.core, one.session.conn));
    seen.truncate(top);
    Ok(json!({
        "schema": "millrace-router-sessions/1",
        "router": view.router.to_string(),
        "name": view.name,
        "order": order.name(),
        "count": count,
        "silent_cores": silent,
        "sessions": seen.iter().map(shown).collect::<Vec<_>>(),
    }))
}

fn order(name: &str) -> Result<SessionOrder, String> {
    if name.is_empty() {
        return Ok(SessionOrder::default());
    }
    SessionOrder::ALL.into_iter().find(|order| order.name() == name).ok_or_else(|| {
        let known = SessionOrder::ALL.map(SessionOrder::name);
        format!("order={name}: one of {} is expected", known.join(", "))
    })
}

fn shown(seen: &Seen) -> Value {
    let session = &seen.session;
    json!({
        "session": id(seen.core, session.conn.0),
        "core": seen.core,
        "remote": seen.remote,
        "rtt_us": seen.rtt_us,
        "publishes": session.publishes,
        "published_bytes": session.published_bytes,
        "receivers": session.receivers,
        "selectors": session.selectors,
        "queued_events": session.queued_events,
        "queued_bytes": session.queued_bytes,
        "queue_bytes_max": session.queue_bytes_max,
        "dropped_events": session.dropped,
    })
}

/// How people name a session: its connection's number on its core.
pub(super) fn id(core: u16, conn: u64) -> String {
    format!("{core}.{conn}")
}
