//! Pages that change something: POST only, and not from a browser (`writes.rs`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::{Refusal, bad_query, json_page, unavailable};
use super::look::Looker;
use super::query::Query;
use crate::config::address::advertised;

/// The longest time that clients may be given to leave or to move.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Time over which clients move to another router, unless somebody says another.
const MOVE_WITHIN: Duration = Duration::from_secs(30);
/// Clients that one request may move: more than a router has.
const CLIENTS_MAX: usize = 1 << 30;

/// `/reload`: reads settings and certificates anew.
pub(super) async fn reload(State(looker): State<Arc<Looker>>) -> Result<Response, Refusal> {
    let view = looker.view.clone();
    let reload = move || view.reload().map_err(|error| format!("nothing was changed: {error}"));
    let changes = by_process(reload).await?;
    Ok(json_page(&json!({ "schema": "millrace-router-reload/1", "changes": changes })))
}

/// `/drain`: ends the router in order, as SIGTERM does. The answer comes when that has begun.
pub(super) async fn drain(
    State(looker): State<Arc<Looker>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = Query::read(query.as_deref(), &["grace"]);
    let grace = query.and_then(|query| at_most_a_day(&query, "grace")).map_err(|why| bad_query(&why))?;
    let view = looker.view.clone();
    let grace = by_process(move || view.drain(grace)).await?;
    Ok(json_page(&json!({ "schema": "millrace-router-drain/1", "grace_s": grace.as_secs_f64() })))
}

/// `/move`: asks clients to move to another router, each core its share of them. The answer says
/// how many are asked.
pub(super) async fn move_clients(
    State(looker): State<Arc<Looker>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (clients, within, to) = read_move(query.as_deref()).map_err(|why| bad_query(&why))?;
    let look = looker.look().await.ok_or_else(|| unavailable("control has not begun"))?;
    let counts: Vec<_> = look.seen.cores.iter().map(|core| (core.core, core.engine.clients)).collect();
    let moved = shares(&counts, clients)
        .into_iter()
        .filter(|&(core, share)| share > 0 && looker.view.try_move_clients(core, share, within, &to));
    let asked: u64 = moved.map(|(_, share)| share).sum();
    Ok(json_page(&json!({
        "schema": "millrace-router-move/1",
        "clients": asked,
        "to": to,
        "within_s": within.as_secs_f64(),
    })))
}

fn read_move(query: Option<&str>) -> Result<(u64, Duration, String), String> {
    let query = Query::read(query, &["clients", "to", "within"])?;
    let clients = query.count("clients", 0, CLIENTS_MAX)?;
    let within = at_most_a_day(&query, "within")?.unwrap_or(MOVE_WITHIN);
    let to = query.text("to");
    if clients == 0 {
        return Err("clients: how many are to move".to_owned());
    }
    let to = advertised(to).map_err(|why| format!("to: {why}"))?;
    Ok((clients as u64, within, to.to_string()))
}

/// The duration under a name: a day is the longest that clients may be given to leave or to move.
fn at_most_a_day(query: &Query, name: &str) -> Result<Option<Duration>, String> {
    let duration = query.duration(name)?;
    let is_longer = duration.is_some_and(|duration| duration > GRACE_MAX);
    if is_longer { Err(format!("{name}: a day is the most")) } else { Ok(duration) }
}

/// Waits for what the router's process does, on a thread that may wait. A failure is an answer.
async fn by_process<T: Send + 'static, E: ToString + Send + 'static>(
    act: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done.map_err(|why| (StatusCode::CONFLICT, why.to_string() + "\n")),
        Err(_) => Err(unavailable("the router is ending")),
    }
}

/// Divides `wanted` clients among cores in proportion to what each has; never more than that.
fn shares(counts: &[(u16, u64)], wanted: u64) -> Vec<(u16, u64)> {
    let mut left = counts.iter().map(|&(_, count)| count).sum::<u64>();
    let mut wanted = wanted.min(left);
    let share = |&(core, count): &(u16, u64)| {
        // Of what is left over all remaining cores, this one's part, rounded up.
        let share = (wanted * count).div_ceil(left.max(1)).min(count).min(wanted);
        left -= count;
        wanted -= share;
        (core, share)
    };
    counts.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_give_their_parts_and_all_of_them_together_what_is_wanted() {
        assert_eq!(shares(&[(0, 100), (1, 300)], 100), [(0, 25), (1, 75)]);
        assert_eq!(shares(&[(0, 1), (1, 0), (2, 1)], 9), [(0, 1), (1, 0), (2, 1)]);
        assert_eq!(shares(&[], 5), []);
        for wanted in 0..40 {
            let counts = [(0, 7), (1, 0), (2, 13), (3, 11)];
            let given = shares(&counts, wanted);
            assert_eq!(given.iter().map(|&(_, share)| share).sum::<u64>(), wanted.min(31));
            assert!(given.iter().zip(counts).all(|(&(_, share), (_, count))| share <= count));
        }
    }

    #[test]
    fn a_move_says_how_many_and_where_to() {
        let read = |text| read_move(Some(text));
        assert_eq!(
            read("clients=5&to=R1.example:7400").unwrap(),
            (5, Duration::from_secs(30), "r1.example:7400".to_owned())
        );
        assert!(read("to=r1:7400").unwrap_err().contains("how many"));
        assert!(read("clients=5").unwrap_err().starts_with("to:"));
        assert!(read("clients=5&to=r1:7400&within=2days").unwrap_err().contains("a day"));
    }
}
