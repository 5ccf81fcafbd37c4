//! Asks all routers, again and again. One that does not answer keeps its last answer, with its age.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::admin::pages::{Sessions, Status, Tags};
use crate::admin::{self, AdminUrl, Method};

/// Sessions that each router is asked for: a screen shows fewer.
const SESSIONS: &str = "/sessions?order=queue&top=20";
/// Tags that each router is asked for.
const TAGS: &str = "/tags?top=20";

/// What one router has answered.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) sessions: Sessions,
    pub(super) tags: Tags,
}

/// One router over time.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The answer before the last one.
    pub(super) before: Option<Heard>,
    pub(super) last: Option<Heard>,
    /// Why it gave none in the last round.
    pub(super) error: Option<String>,
}

/// All routers that were asked for, by URL.
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    pub(super) routers: BTreeMap<AdminUrl, Known>,
}

impl Round {
    /// Asks everybody once more.
    pub(super) async fn ask(&mut self, urls: &[AdminUrl]) {
        let (statuses, sessions, tags) = tokio::join!(
            admin::all::<Status>(urls, Method::Get, "/status"),
            admin::all::<Sessions>(urls, Method::Get, SESSIONS),
            admin::all::<Tags>(urls, Method::Get, TAGS),
        );
        let at = Instant::now();
        for (url, (status, (sessions, tags))) in
            urls.iter().zip(statuses.into_iter().zip(sessions.into_iter().zip(tags)))
        {
            let known = self.routers.entry(url.clone()).or_default();
            match status {
                Ok(status) => {
                    // An older router has no such pages.
                    let sessions = sessions.map(|answer| answer.read).unwrap_or_default();
                    let tags = tags.map(|answer| answer.read).unwrap_or_default();
                    let heard = Heard { at, status: status.read, sessions, tags };
                    known.before = known.last.replace(heard);
                    known.error = None;
                }
                Err(error) => known.error = Some(error.to_string()),
            }
        }
    }
}
