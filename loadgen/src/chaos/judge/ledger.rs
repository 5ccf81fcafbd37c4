//! The events of one publisher across its processes: when each was published, and how it ended.

use std::ops::Range;

use crate::chaos::said::{End, Label};

/// A session that is learned of so soon behind an outcome may have brought it.
const NEAR_US: u64 = 20_000;

/// One event: 16 bytes and the end, because a long run has millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    published_us: u32,
    ended_us: u32,
    /// Number of its emitter within the publisher.
    emitter: u8,
    end: Option<End>,
    /// The sessions of the publisher, in the order of all, in which it was published and ended.
    session: u16,
    end_session: u16,
}

impl Record {
    /// When it was published, us.
    pub(super) fn published_us(&self) -> u64 {
        u64::from(self.published_us)
    }

    /// How and when it ended, if that was told.
    pub(super) fn ended(&self) -> Option<(End, u64)> {
        self.end.map(|end| (end, u64::from(self.ended_us)))
    }

    /// Its emitter, within its publisher.
    pub(super) const fn emitter(&self) -> u8 {
        self.emitter
    }

    /// Whether it was published and ended in one session: it went out there alone.
    pub(super) const fn is_of_one_session(&self) -> bool {
        self.session == self.end_session
    }
}

/// A session of the publisher with a router.
#[derive(Debug, Clone, Copy)]
struct Session {
    life: u16,
    number: u16,
    from_us: u64,
    router: u16,
}

/// Records of consecutive seqs.
#[derive(Debug)]
struct Stretch {
    first: u64,
    records: Vec<Record>,
}

impl Stretch {
    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }
}

/// What is known of one publisher.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sessions: Vec<Session>,
    stretches: Vec<Stretch>,
    /// Events that ended and whose publish was not told, because the process was killed between.
    pub(super) untold_publishes: u64,
    /// Seqs that were published twice.
    pub(super) reused: u64,
    /// Events that were pending when the publisher spoke last.
    pub(super) pending: u64,
}

impl Ledger {
    /// The publisher has a session with a router.
    pub(super) fn attached(&mut self, at_us: u64, router: u16, label: Label) {
        self.sessions.push(Session { life: label.life, number: label.session, from_us: at_us, router });
    }

    /// It has published events, of the emitter of this number among its own.
    pub(super) fn published(&mut self, at_us: u64, seqs: Range<u64>, emitter: u8) {
        let record = Record {
            published_us: u32::try_from(at_us).unwrap_or(u32::MAX),
            ended_us: 0,
            emitter,
            end: None,
            session: self.session(),
            end_session: 0,
        };
        let next = self.stretches.last().map_or(0, Stretch::end);
        let from = seqs.start.max(next);
        self.reused += from.min(seqs.end) - seqs.start;
        if from >= seqs.end {
            return;
        }
        let count = usize::try_from(seqs.end - from).unwrap_or(usize::MAX);
        match self.stretches.last_mut() {
            Some(last) if last.end() == from => last.records.extend(std::iter::repeat_n(record, count)),
            _ => self.stretches.push(Stretch { first: from, records: vec![record; count] }),
        }
    }

    /// Events have ended. What ended before stays as it is.
    pub(super) fn ended(&mut self, at_us: u64, seqs: Range<u64>, end: End) {
        let session = self.session();
        for seq in seqs {
            match self.get_mut(seq) {
                Some(record) if record.end.is_none() => {
                    record.end = Some(end);
                    record.ended_us = u32::try_from(at_us).unwrap_or(u32::MAX);
                    record.end_session = session;
                }
                Some(_) => {}
                None => self.untold_publishes += 1,
            }
        }
    }

    /// Its events whose publish was told, with their seqs.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, &Record)> {
        self.stretches.iter().flat_map(|stretch| (stretch.first..).zip(&stretch.records))
    }

    /// What is known of an event.
    pub(super) fn get(&self, seq: u64) -> Option<&Record> {
        let at = self.stretches.partition_point(|stretch| stretch.end() <= seq);
        let stretch = self.stretches.get(at)?;
        stretch.records.get(usize::try_from(seq.checked_sub(stretch.first)?).ok()?)
    }

    fn get_mut(&mut self, seq: u64) -> Option<&mut Record> {
        let at = self.stretches.partition_point(|stretch| stretch.end() <= seq);
        let stretch = self.stretches.get_mut(at)?;
        stretch.records.get_mut(usize::try_from(seq.checked_sub(stretch.first)?).ok()?)
    }

    /// The routers that may have told how an event ended: one, but for an outcome that came while
    /// the publisher changed routers.
    pub(super) fn enders(&self, record: &Record) -> impl Iterator<Item = u16> {
        let at = usize::from(record.end_session);
        let own = at.checked_sub(1).and_then(|at| self.sessions.get(at));
        let next = self.sessions.get(at).filter(|next| next.from_us < u64::from(record.ended_us) + NEAR_US);
        own.into_iter().chain(next).map(|session| session.router)
    }

    /// The router of a session that a payload names.
    pub(super) fn router_of(&self, label: Label) -> Option<u16> {
        let named = |session: &&Session| (session.life, session.number) == (label.life, label.session);
        self.sessions.iter().find(named).map(|session| session.router)
    }

    /// How many sessions it has had: the present one's place, from 1.
    fn session(&self) -> u16 {
        u16::try_from(self.sessions.len()).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(life: u16, session: u16) -> Label {
        Label { life, session, count: 0 }
    }

    #[test]
    fn events_have_one_end_and_jumps_cost_nothing() {
        let mut ledger = Ledger::default();
        ledger.attached(5, 2, label(0, 1));
        ledger.published(10, 100..110, 1);
        ledger.published(20, 110..120, 2);
        ledger.published(30, 1 << 40..(1 << 40) + 3, 0);
        ledger.ended(40, 105..115, End::Partial);
        ledger.ended(50, 100..120, End::Confirmed);
        ledger.ended(60, 120..122, End::Confirmed);
        let ends: Vec<_> = ledger.records().map(|(_, record)| record.ended().map(|(end, _)| end)).collect();
        let confirmed = ends.iter().filter(|end| **end == Some(End::Confirmed)).count();
        assert_eq!((ends.len(), confirmed, ends[5], ends[22]), (23, 10, Some(End::Partial), None));
        assert_eq!((ledger.untold_publishes, ledger.reused), (2, 0));
        assert_eq!(ledger.get(112).map(Record::emitter), Some(2));
        assert!(ledger.get(99).is_none() && ledger.get(120).is_none());
        ledger.published(70, 118..125, 0);
        assert_eq!(ledger.reused, 7, "seqs only rise");
    }

    #[test]
    fn an_outcome_is_of_the_session_that_brought_it_or_may_have() {
        let mut ledger = Ledger::default();
        ledger.published(1, 0..1, 0);
        ledger.attached(10, 2, label(0, 1));
        ledger.published(20, 1..4, 0);
        ledger.ended(30, 0..2, End::Confirmed);
        ledger.attached(100_000, 0, label(1, 1));
        ledger.ended(110_000, 2..3, End::Confirmed);
        let enders = |seq| ledger.enders(ledger.get(seq).unwrap()).collect::<Vec<_>>();
        assert_eq!((enders(0), enders(1), enders(2)), (vec![2], vec![2], vec![0]));
        let of_one = |seq| ledger.get(seq).unwrap().is_of_one_session();
        assert_eq!((of_one(0), of_one(1), of_one(2)), (false, true, false));
        assert_eq!((ledger.router_of(label(1, 1)), ledger.router_of(label(1, 2))), (Some(0), None));
        ledger.ended(120_000, 3..4, End::Confirmed);
        ledger.attached(130_000, 1, label(1, 2));
        assert_eq!(ledger.enders(ledger.get(3).unwrap()).collect::<Vec<_>>(), [0, 1], "one of them");
    }
}
