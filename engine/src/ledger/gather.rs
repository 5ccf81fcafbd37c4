//! Gathers what ended in a turn, so that origins are told of events and runs that ended alike in
//! ranges.

use millrace_proto::control::{Outcome, SeqRanges};
use millrace_proto::mesh::LegAck;

use super::verdict::{Level, Origin, Span, Tally};

/// Events that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whom to tell.
    pub origin: Origin,
    /// The level that the origin asked for.
    pub level: Level,
    /// Their run.
    pub run: Span,
    /// The events of the run that ended.
    pub span: Span,
    /// How they ended.
    pub tally: Tally,
}

impl Ended {
    /// The side to tell, without a number that rises with each run.
    const fn whom(&self) -> (u8, u64, u64) {
        match self.origin {
            Origin::Publisher { conn, number, life } => (0, conn.0, (number as u64) << 32 | life as u64),
            Origin::Sibling { core, .. } => (1, core as u64, 0),
            Origin::Lane { conn, .. } => (2, conn.0, 0),
            Origin::Recipient { direct, .. } => (3, direct as u64, 0),
        }
    }

    /// The number to tell: for a publisher that of the first event, otherwise that of the run.
    const fn number(&self) -> u64 {
        match self.origin {
            Origin::Publisher { .. } => self.span.first,
            Origin::Sibling { number, .. } => number,
            Origin::Lane { seq, .. } => seq,
            Origin::Recipient { recipient, .. } => recipient as u64,
        }
    }

    /// The events as offset and count in the run; 0 and 0 for the whole run.
    const fn part(&self) -> (u64, u64) {
        if self.span.events == self.run.events {
            (0, 0)
        } else {
            (self.span.first - self.run.first, self.span.events as u64)
        }
    }

    /// Sorts events of one origin that ended alike together, in the order of their numbers.
    pub(super) fn order(&self) -> impl Ord + use<> {
        let whom = self.whom();
        // A publisher is told of events, whichever part of a run they are.
        let part = if whom.0 == 0 { (0, 0) } else { self.part() };
        (whom, self.level, self.tally, part, self.number())
    }

    /// Whether both are told to the same side.
    #[must_use]
    pub fn is_for_same(&self, other: &Self) -> bool {
        let side = |ended: &Self| (ended.whom().0, ended.whom().1);
        side(self) == side(other)
    }
}

/// Events of one publisher that ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its number on its connection.
    pub number: u32,
    /// How many publishers had the number before it.
    pub life: u32,
    /// The events, and how they ended.
    pub outcome: Outcome,
    /// The count of the events.
    pub events: u64,
}

/// Outcomes for a client's publishers. `ended` is of one connection, sorted.
pub fn outcomes(ended: &[Ended]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut before: Option<(u32, u32, Tally)> = None;
    for one in ended {
        let Origin::Publisher { number, life, .. } = one.origin else { continue };
        let (first, events) = (one.span.first, u64::from(one.span.events));
        let is_alike = before.replace((number, life, one.tally)) == Some((number, life, one.tally));
        if is_alike
            && let Some(last) = told.last_mut()
            && last.outcome.seqs.push(first, events)
        {
            last.events += events;
            continue;
        }
        let mut seqs = SeqRanges::new();
        seqs.push(first, events);
        let outcome = Outcome {
            publisher: number.into(),
            kind: one.tally.kind(),
            seqs,
            receivers: one.tally.receivers.into(),
            missed: one.tally.missed.into(),
            reasons: one.tally.reasons.iter().collect(),
            recipients: Vec::new(),
        };
        told.push(Told { number, life, outcome, events });
    }
    told
}

/// Acknowledgements for a peer on a lane. `ended` is of one lane, sorted.
pub fn leg_acks(ended: &[Ended]) -> Vec<LegAck> {
    told_runs(ended)
        .into_iter()
        .map(|ToldRuns { level, tally, part, runs }| {
            let mut events = SeqRanges::new();
            events.push(part.0, part.1);
            LegAck {
                runs,
                kind: tally.kind(),
                level: level as u32,
                receivers: tally.receivers.into(),
                missed: tally.missed.into(),
                reasons: tally.reasons.iter().collect(),
                events,
            }
        })
        .collect()
}

/// Runs that ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRuns {
    /// The level that was asked for.
    pub level: Level,
    /// How they ended.
    pub tally: Tally,
    /// Offset and count of the events in each run; 0 and 0 for the whole run.
    pub part: (u64, u64),
    /// The runs' numbers.
    pub runs: SeqRanges,
}

/// Answers for a sibling core. `ended` is for one core, sorted.
pub fn answers(ended: &[Ended]) -> Vec<Answer> {
    told_runs(ended)
        .into_iter()
        .map(|ToldRuns { tally, part, runs, .. }| Answer { tally, part, runs })
        .collect()
}

/// How runs ended that a sibling core has handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How they ended.
    pub tally: Tally,
    /// The events of each run, as in [`ToldRuns::part`].
    pub part: (u64, u64),
    /// The numbers of the runs in the batches.
    pub runs: SeqRanges,
}

fn told_runs(ended: &[Ended]) -> Vec<ToldRuns> {
    let mut told: Vec<ToldRuns> = Vec::new();
    for one in ended {
        let (level, tally, part, number) = (one.level, one.tally, one.part(), one.number());
        if let Some(last) = told.last_mut()
            && (last.level, last.tally, last.part) == (level, tally, part)
            && last.runs.push(number, 1)
        {
            continue;
        }
        let mut runs = SeqRanges::new();
        runs.push(number, 1);
        told.push(ToldRuns { level, tally, part, runs });
    }
    told
}
