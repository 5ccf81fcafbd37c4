//! One receiver's payload patterns, and the runs that wait for their scan.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use millrace_proto::PublisherKey;
use millrace_proto::data::Gap;
use millrace_proto::run::RunBody;
use millrace_proto::selector::{Automaton, Pattern, PayloadMatcher};

use super::budget::ScanBudget;
use super::cover::{Cover, address};
use super::plan::{Plan, Progress};
use crate::history::Place;
use crate::ledger::{EntryId, Span};
use crate::matching::LocalTarget;
use crate::message::CoreIndex;
use crate::routes::TagId;

/// Bytes that a run takes beside its own while it waits.
const OVERHEAD_BYTES: usize = 512;
/// Most gaps that wait one behind the other or between runs; more of them become one gap of all
/// routers.
const GAPS_MAX: usize = 64;

/// A run that waits for its scan, or for the scan of one before it.
#[derive(Debug)]
pub struct HeldRun {
    /// The route cache's name for its tag set, when it came.
    pub tag: TagId,
    /// Its tag set in canonical form.
    pub tags: Box<[u8]>,
    /// Who published it.
    pub publisher: PublisherKey,
    /// Its flags.
    pub flags: u64,
    /// Its body.
    pub body: Box<[u8]>,
    /// The automata and subscriptions of its scan, as they were when it came.
    pub plan: Plan,
    /// How far it was scanned.
    pub progress: Box<Progress>,
    /// How many events it has.
    pub events: u64,
    /// The sibling core that handed it over.
    pub from: Option<CoreIndex>,
    /// The ledger's entry, of which the scan is a leg, if the publisher asks how the run ends.
    pub entry: Option<EntryId>,
    /// Where it stands in what its owner has routed, where that is told.
    pub place: Option<Place>,
}

impl HeldRun {
    fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.bare_bytes() + self.plan.bytes()
    }

    const fn bare_bytes(&self) -> usize {
        self.tags.len() + self.body.len()
    }

    /// All its events.
    #[must_use]
    pub fn span(&self) -> Span {
        // The body was parsed when it came.
        let first = RunBody::parse_head(&self.body).map_or(0, |body| body.first_seq());
        Span { first, events: u32::try_from(self.events).unwrap_or(0) }
    }

    /// How many of its events were not scanned.
    fn events_left(&self) -> u64 {
        self.events.saturating_sub(self.progress.events() as u64)
    }
}

/// A run or gap that waits, in the order of its receiver.
#[derive(Debug)]
pub enum Held {
    /// A run.
    Run(Box<HeldRun>),
    /// A gap.
    Gap(Gap),
}

/// There is no room for a run to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// How it was when a run had no room.
#[derive(Debug, Clone, Copy)]
struct Refused {
    /// Bytes that waited here.
    own: usize,
    /// Bytes that waited on the core.
    core: usize,
    /// Bytes of tags and body of the smallest run that had no room then.
    bytes: usize,
}

/// A pattern of some selectors.
#[derive(Debug)]
struct Used {
    pattern: Arc<Pattern>,
    uses: u32,
    /// The automata that find it together with others.
    cover: Option<Arc<Cover>>,
}

impl Used {
    /// The automaton that finds it, and its index there.
    fn place(&self) -> (&Arc<Automaton>, u32) {
        let together = self.cover.as_ref().and_then(|cover| cover.place(&self.pattern));
        together.unwrap_or_else(|| (self.pattern.automaton(), 0))
    }
}

/// A receiver's patterns, and the runs that wait for their scan. A receiver without patterns has
/// none.
#[derive(Debug, Default)]
pub struct Desk {
    /// By selector number.
    matchers: Vec<Option<Arc<PayloadMatcher>>>,
    /// The patterns of all selectors by address.
    patterns: HashMap<usize, Used, ahash::RandomState>,
    waiting: VecDeque<Held>,
    gaps: usize,
    wait_bytes: usize,
    /// When a run was refused last: while no less waits, further ones that are no smaller are
    /// refused without planning their scans.
    refused: Option<Refused>,
    /// The turn in which `spent` was spent.
    turn: u64,
    spent: usize,
}

impl Desk {
    /// The patterns of a selector, if it has any.
    #[must_use]
    pub fn matcher(&self, selector: u16) -> Option<&Arc<PayloadMatcher>> {
        self.matchers.get(usize::from(selector))?.as_ref()
    }

    /// Whether a selector here has this pattern.
    #[must_use]
    pub fn has(&self, pattern: &Arc<Pattern>) -> bool {
        self.patterns.contains_key(&address(pattern))
    }

    /// Sets or removes the patterns of a selector, which `cover` may find together with others.
    /// Returns how many more bytes the patterns take; a negative number for fewer.
    pub fn set(
        &mut self,
        selector: u16,
        matcher: Option<Arc<PayloadMatcher>>,
        cover: Option<&Arc<Cover>>,
    ) -> isize {
        let place = usize::from(selector);
        if self.matchers.len() <= place {
            if matcher.is_none() {
                return 0;
            }
            self.matchers.resize(place + 1, None);
        }
        let mut bytes = 0;
        for pattern in matcher.iter().flat_map(|matcher| matcher.patterns()) {
            let used = self.patterns.entry(address(pattern)).or_insert_with(|| {
                bytes += pattern.bytes().cast_signed();
                Used { pattern: Arc::clone(pattern), uses: 0, cover: None }
            });
            used.uses += 1;
            if let Some(cover) = cover {
                used.cover = Some(Arc::clone(cover));
            }
        }
        let before = std::mem::replace(&mut self.matchers[place], matcher);
        for pattern in before.iter().flat_map(|matcher| matcher.patterns()) {
            if let Some(used) = self.patterns.get_mut(&address(pattern)) {
                used.uses -= 1;
                if used.uses == 0 {
                    bytes -= pattern.bytes().cast_signed();
                    self.patterns.remove(&address(pattern));
                }
            }
        }
        bytes
    }

    /// Whether a run waits, so that everything behind it waits, too.
    #[inline]
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether runs wait, and one with tags and a body of so many bytes has no room: one that was
    /// no larger had none, and nothing has left since.
    #[must_use]
    pub fn is_full(&self, bytes: usize, budget: &ScanBudget) -> bool {
        self.is_waiting()
            && self.refused.is_some_and(|refused| self.is_as_full(&refused, budget) && bytes >= refused.bytes)
    }

    fn is_as_full(&self, refused: &Refused, budget: &ScanBudget) -> bool {
        self.wait_bytes >= refused.own && budget.wait_bytes >= refused.core
    }

    /// Plans the scan of a run for the targets of this receiver.
    pub fn plan(&self, targets: &[LocalTarget], plan: &mut Plan) {
        plan.clear();
        for target in targets {
            let patterns = self.matcher(target.selector).map_or(&[][..], |matcher| matcher.patterns());
            let places = patterns.iter().map(|pattern| match self.patterns.get(&address(pattern)) {
                Some(used) => used.place(),
                None => (pattern.automaton(), 0),
            });
            plan.add(target.subscription, places);
        }
    }

    /// Whether a run of so much work may be scanned at once in this turn. Spends the work if so.
    pub fn admits(&mut self, work: usize, budget: &ScanBudget) -> bool {
        let (turn, share) = budget.share();
        if self.turn != turn {
            (self.turn, self.spent) = (turn, 0);
        }
        let fits = !self.is_waiting() && work <= budget.left() && self.spent + work <= share;
        if fits {
            self.spent += work;
        }
        fits
    }

    /// Lets a run wait. The caller lists the receiver when nothing waited before.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: the run is dropped.
    pub fn hold(&mut self, run: HeldRun, budget: &mut ScanBudget) -> Result<(), NoRoom> {
        let (bytes, limits) = (run.bytes(), budget.limits());
        if self.wait_bytes + bytes > limits.wait_bytes_per_receiver
            || budget.wait_bytes + bytes > limits.wait_bytes
        {
            let before = self.refused.filter(|refused| self.is_as_full(refused, budget));
            let bytes = before.map_or(usize::MAX, |refused| refused.bytes).min(run.bare_bytes());
            self.refused = Some(Refused { own: self.wait_bytes, core: budget.wait_bytes, bytes });
            return Err(NoRoom);
        }
        self.wait_bytes += bytes;
        budget.wait_bytes += bytes;
        self.waiting.push_back(Held::Run(Box::new(run)));
        Ok(())
    }

    /// Lets a gap wait behind everything else.
    pub fn hold_gap(&mut self, gap: Gap) {
        if let Some(Held::Gap(last)) = self.waiting.back_mut()
            && (last.reason == gap.reason && last.router == gap.router || self.gaps >= GAPS_MAX)
        {
            if last.router != gap.router {
                last.router = None;
            }
            last.events += gap.events;
            return;
        }
        self.gaps += 1;
        self.waiting.push_back(Held::Gap(gap));
    }

    /// Takes the oldest item. The caller [puts back](Self::put_back) a run that it did not scan to
    /// its end.
    pub fn take(&mut self, budget: &mut ScanBudget) -> Option<Held> {
        let held = self.waiting.pop_front()?;
        match &held {
            Held::Run(run) => self.count(run, budget, false),
            Held::Gap(_) => self.gaps -= 1,
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(held)
    }

    /// Puts back a run that was taken.
    pub fn put_back(&mut self, run: Box<HeldRun>, budget: &mut ScanBudget) {
        self.count(&run, budget, true);
        self.waiting.push_front(Held::Run(run));
    }

    fn count(&mut self, run: &HeldRun, budget: &mut ScanBudget, comes: bool) {
        let bytes = run.bytes();
        if comes {
            self.wait_bytes += bytes;
            budget.wait_bytes += bytes;
        } else {
            self.wait_bytes -= bytes;
            budget.wait_bytes -= bytes;
        }
    }

    /// Drops everything that waits, and calls `lost` for each run. Returns how many events were not
    /// scanned.
    pub fn drop_waiting(&mut self, budget: &mut ScanBudget, mut lost: impl FnMut(&HeldRun)) -> u64 {
        let mut events = 0;
        while let Some(held) = self.take(budget) {
            if let Held::Run(run) = held {
                events += run.events_left();
                lost(&run);
            }
        }
        events
    }
}
