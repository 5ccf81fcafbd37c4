//! A receiver that asks for the past: it reads with the client library's own account of how far it
//! has come, goes on elsewhere when its connection is lost, and its program may end and begin again
//! with the cursor that it has saved as text.

use std::time::Duration;

use millrace_client::session::{Cursor, DeliveredRun, Past, Place, PlaceOf};
use millrace_engine::time::Time;
use millrace_proto::{Selector, SubscriptionNumber};
use millrace_verify::checker::past::Beginning;

use crate::record::Record;

/// A replay that has brought nothing for so long is over.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// What a receiver wants of the past.
#[derive(Debug, Clone, Copy)]
pub struct PastWish {
    /// How far back it begins; none: it begins now, and goes on from its cursor later.
    pub since: Option<Duration>,
    /// What was published so much later than its beginning is owed: clocks of requests that are on
    /// their way.
    pub slack: Duration,
}

/// How a receiver reads the past.
#[derive(Debug)]
pub(super) struct Reading {
    wish: PastWish,
    pub(super) past: Past,
    has_begun: bool,
}

impl Reading {
    pub(super) fn new(wish: PastWish) -> Self {
        let cursor = wish.since.is_none().then(Cursor::default);
        Self { wish, past: Past::new(wish.since, cursor, false), has_begun: false }
    }

    /// Its first connection has come: tells the checker what it is owed.
    pub(super) fn begin<'a>(
        &mut self,
        owner: u32,
        subscriptions: impl Iterator<Item = (u32, &'a Vec<Selector>)>,
        now: Time,
        record: &mut Record,
    ) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let begins = now.0.saturating_sub(nanos(self.wish.since.unwrap_or_default()));
        // An owner may route an event some time after its router has it.
        let slack = nanos(self.wish.slack);
        let (not_before, all_from) = (begins.saturating_sub(slack), begins + slack);
        for (subscription, selectors) in subscriptions {
            let beginning = Beginning { selectors: selectors.clone(), not_before, all_from };
            let (readers, history, _) = record.checker.readers();
            if let Err(error) = readers.begin(owner, subscription, beginning, history) {
                record.findings.add("workload", || error.to_string());
            }
        }
    }

    /// The program ends, and begins again with its cursor as it was saved. One that has not come
    /// anywhere goes on.
    pub(super) fn restart(&mut self) -> bool {
        let text = self.past.cursor().to_string();
        let saved: Option<Cursor> = text.parse().ok().filter(|cursor: &Cursor| !cursor.is_empty());
        let Some(cursor) = saved else { return false };
        self.past = Past::new(None, Some(cursor), false);
        true
    }
}

/// The place of a run in its receiver's stream, if its router tells it.
pub(super) fn place_of(run: &DeliveredRun<'_>) -> Option<Place> {
    let (source, position) = run.place()?;
    let by = PlaceOf::Run {
        matched: run.matched().map(SubscriptionNumber).collect(),
        replayed: run.is_replayed(),
    };
    Some(Place { source, position: position + 1, by })
}
