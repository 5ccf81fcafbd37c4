//! One entry: the events of a run, the number of open legs of each, and the tally of those that
//! ended.

use millrace_proto::control::OutcomeReason;

use super::gather::Ended;
use super::verdict::{Level, Origin, Span, Tally};

/// Open legs, and the sum of the tallies of those that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    /// [`OVER`] when the origin was told of the event.
    open: u32,
    tally: Tally,
}

const OVER: u32 = u32::MAX;

impl Count {
    fn add(&mut self) {
        if self.open != OVER {
            // Each leg takes memory at its location, so that there are far fewer.
            self.open = self.open.saturating_add(1).min(OVER - 1);
        }
    }

    /// Adds the tally of `legs` legs and ends them. Returns the event's tally when they were its
    /// last.
    fn settle(&mut self, tally: Tally, legs: u32) -> Option<Tally> {
        if self.open == OVER {
            return None;
        }
        self.tally = self.tally.and(tally);
        self.open = self.open.saturating_sub(legs);
        if self.open > 0 {
            return None;
        }
        self.open = OVER;
        Some(self.tally)
    }
}

/// One count for all events, until a leg or an answer is for some of them.
#[derive(Debug)]
enum Counts {
    All(Count),
    Each(Box<[Count]>),
}

/// A run whose origin asks how it ends.
#[derive(Debug)]
pub(super) struct Entry {
    origin: Origin,
    level: Level,
    span: Span,
    counts: Counts,
    /// Events of which the origin was not told.
    left: u32,
}

impl Entry {
    /// An entry with one leg, the guard.
    pub(super) const fn new(origin: Origin, level: Level, span: Span) -> Self {
        let counts = Counts::All(Count { open: 1, tally: Tally::NONE });
        Self { origin, level, span, counts, left: span.events }
    }

    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) const fn level(&self) -> Level {
        self.level
    }

    pub(super) const fn span(&self) -> Span {
        self.span
    }

    /// Whether the origin was told of all events.
    pub(super) const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Events that are counted one by one.
    pub(super) const fn cut_events(&self) -> u32 {
        match self.counts {
            Counts::All(_) => 0,
            Counts::Each(_) => self.span.events,
        }
    }

    /// Whether a leg of these events would make the entry count its events one by one.
    pub(super) const fn is_cut_by(&self, span: Span) -> bool {
        matches!(self.counts, Counts::All(_)) && span.events < self.span.events
    }

    /// Opens a leg of these events.
    pub(super) fn add(&mut self, span: Span) {
        let Some((from, to)) = self.cut(span) else { return };
        match &mut self.counts {
            Counts::All(count) => count.add(),
            Counts::Each(counts) => counts[from..to].iter_mut().for_each(Count::add),
        }
    }

    /// Ends `legs` legs of these events with `tally`. Adds the events to `ended` for which they
    /// were the last.
    pub(super) fn settle(&mut self, span: Span, tally: Tally, legs: u32, ended: &mut Vec<Ended>) {
        let Some((from, to)) = self.cut(span) else { return };
        let (origin, level, run) = (self.origin, self.level, self.span);
        match &mut self.counts {
            Counts::All(count) => {
                if let Some(tally) = count.settle(tally, legs) {
                    self.left = 0;
                    ended.push(Ended { origin, level, run, span: run, tally });
                }
            }
            Counts::Each(counts) => {
                let mut last: Option<Ended> = None;
                for (seq, count) in (run.first + from as u64..).zip(&mut counts[from..to]) {
                    let Some(tally) = count.settle(tally, legs) else { continue };
                    self.left -= 1;
                    match &mut last {
                        Some(last) if last.span.end() == seq && last.tally == tally => last.span.events += 1,
                        _ => {
                            ended.extend(last.take());
                            let span = Span { first: seq, events: 1 };
                            last = Some(Ended { origin, level, run, span, tally });
                        }
                    }
                }
                ended.extend(last);
            }
        }
    }

    /// Ends all open legs for this reason.
    pub(super) fn give_up(&mut self, reason: OutcomeReason, ended: &mut Vec<Ended>) {
        let over = |count: &Count| if count.open == OVER { 0 } else { count.open };
        match &self.counts {
            Counts::All(count) => {
                let open = over(count);
                self.settle(self.span, Tally { missed: open, ..Tally::missed(reason) }, open, ended);
            }
            Counts::Each(counts) => {
                let opens: Vec<u32> = counts.iter().map(over).collect();
                for (seq, open) in (self.span.first..).zip(opens).filter(|&(_, open)| open > 0) {
                    let span = Span { first: seq, events: 1 };
                    self.settle(span, Tally { missed: open, ..Tally::missed(reason) }, open, ended);
                }
            }
        }
    }

    /// Ends all events of which the origin was not told as unknown, because nobody follows them.
    pub(super) fn abandon(&mut self, reason: OutcomeReason, ended: &mut Vec<Ended>) {
        self.settle(self.span, Tally::unknown(reason), OVER, ended);
    }

    /// The indices of these events in the run; none when they are not in it. Counts events one by
    /// one from here on if they are not all.
    fn cut(&mut self, span: Span) -> Option<(usize, usize)> {
        let from = usize::try_from(span.first.checked_sub(self.span.first)?).ok()?;
        let to = from.checked_add(span.events as usize)?;
        let all = self.span.events as usize;
        if span.events == 0 || to > all {
            return None;
        }
        if let Counts::All(count) = self.counts
            && to - from < all
        {
            self.counts = Counts::Each(vec![count; all].into());
        }
        Some((from, to))
    }
}
