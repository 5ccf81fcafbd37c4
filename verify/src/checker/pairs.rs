//! Pairs of an event with a confirm level and a receiver's session that may take it: what the
//! checkers of confirms look at.

use std::collections::BTreeMap;

use millrace_proto::RouterId;

use super::history::{EventRecord, History};
use super::interest::{Interest, Record};
use super::publication::{Publication, Publications};
use super::session::Session;
use super::stream::{Checked, Stream};
use crate::workload::WordMask;

/// One session of a receiver, with everything that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    /// Its number.
    pub number: u32,
    /// Whose it is.
    pub session: &'a Session,
    /// What it asked for.
    pub interest: &'a Interest,
    /// What it got.
    pub stream: &'a Stream,
    /// Where first copies stand in its stream.
    pub checked: &'a Checked,
    /// When the first event was published that it got, by the router that the event entered.
    pub reached: &'a BTreeMap<RouterId, u64>,
}

/// One event, and one session with subscriptions that match it.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The event's emitter.
    pub emitter: u32,
    /// Its number.
    pub n: u64,
    /// When it was published.
    pub event: &'a EventRecord,
    /// What its publisher did and was told.
    pub publication: &'a Publication,
    /// The receiver's session.
    pub party: Party<'a>,
    matching: &'a [(&'a Record, WordMask)],
    words: &'a crate::workload::Words,
}

impl<'a> Pair<'a> {
    /// The subscriptions that take the event.
    pub fn records(&self) -> impl Iterator<Item = &'a Record> {
        let Self { words, emitter, n, .. } = *self;
        self.matching
            .iter()
            .filter(move |&&(_, mask)| words.takes(mask, emitter, n))
            .map(|&(record, _)| record)
    }

    /// When the session's application was given the event.
    #[must_use]
    pub fn taken_at(&self) -> Option<u64> {
        let place = self.party.checked.places.get(&(self.emitter, self.n))?;
        self.party.stream.events().get(*place).map(|taken| taken.at)
    }
}

/// Shows every pair of one session.
pub fn visit<'a>(
    party: Party<'a>,
    history: &'a History,
    publications: &'a Publications,
    mut look: impl FnMut(&Pair<'_>),
) {
    for emitter in 0..history.emitters() {
        let mut events = publications.of(emitter).peekable();
        if events.peek().is_none() {
            continue;
        }
        let matching = party.interest.matching(history.tags(emitter).borrow());
        if matching.is_empty() {
            continue;
        }
        for (n, publication) in events {
            let Some(event) = history.event(emitter, n) else { continue };
            let words = history.words();
            let pair = Pair { emitter, n, event, publication, party, matching: &matching, words };
            if pair.records().next().is_some() {
                look(&pair);
            }
        }
    }
}
