//! How the events of one run are scanned for one receiver: the automata that read their payloads,
//! and the subscriptions that want an event for what they find.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::run::{RunBody, RunBuilder};
use millrace_proto::selector::{Automaton, Scan};

/// The automata for one run and one receiver, and the subscriptions that their patterns are for.
#[derive(Debug, Default)]
pub struct Plan {
    automata: Vec<Arc<Automaton>>,
    /// For each automaton, the number of its first pattern among those of all automata.
    firsts: Vec<u32>,
    patterns: u32,
    /// Subscriptions, ascending, each with the end of its patterns in `wanted`, all of which must
    /// be found.
    targets: Vec<(u16, u32)>,
    wanted: Vec<u32>,
    /// Places of automata by address, while there are more than [`FEW`].
    places: HashMap<usize, u32, ahash::RandomState>,
}

/// Automata among which one is looked for in a row: faster than by address, and of no matter with
/// so few.
const FEW: usize = 8;

impl Plan {
    /// Clears the plan for another run.
    pub fn clear(&mut self) {
        self.automata.clear();
        self.firsts.clear();
        self.patterns = 0;
        self.targets.clear();
        self.wanted.clear();
        self.places.clear();
    }

    /// Adds a subscription that wants an event when all of these patterns are found, each given by
    /// its automaton and its index there; every event when there are none. The caller adds
    /// subscriptions in ascending order.
    pub fn add<'a>(&mut self, subscription: u16, patterns: impl Iterator<Item = (&'a Arc<Automaton>, u32)>) {
        for (automaton, index) in patterns {
            let place = self.place_of(automaton);
            self.wanted.push(self.firsts[place] + index);
        }
        self.targets.push((subscription, u32::try_from(self.wanted.len()).unwrap_or(u32::MAX)));
    }

    /// The place of an automaton, which is added if it is new.
    fn place_of(&mut self, automaton: &Arc<Automaton>) -> usize {
        let address = |automaton: &Arc<Automaton>| Arc::as_ptr(automaton) as usize;
        let known = match self.places.is_empty() {
            true => self.automata.iter().position(|other| Arc::ptr_eq(other, automaton)),
            false => self.places.get(&address(automaton)).map(|&place| place as usize),
        };
        known.unwrap_or_else(|| {
            let place = self.automata.len();
            self.automata.push(Arc::clone(automaton));
            self.firsts.push(self.patterns);
            self.patterns += u32::try_from(automaton.patterns()).unwrap_or(1);
            if self.automata.len() == FEW + 1 {
                self.places.extend(self.automata.iter().map(address).zip(0..));
            } else if self.automata.len() > FEW {
                self.places.insert(address(automaton), u32::try_from(place).unwrap_or(u32::MAX));
            }
            place
        })
    }

    /// Lets go of what only adding needs.
    pub fn close(&mut self) {
        self.places = HashMap::default();
    }

    /// Steps for scanning `bytes` of payloads, without those for patterns that are found.
    #[must_use]
    pub const fn work(&self, bytes: usize) -> usize {
        self.automata.len().saturating_mul(bytes)
    }

    /// Bytes of memory.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.automata.len() * (size_of::<Arc<Automaton>>() + size_of::<u32>())
            + self.targets.len() * size_of::<(u16, u32)>()
            + self.wanted.len() * size_of::<u32>()
    }
}

/// Consecutive events of a run that the same subscriptions want.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The subscriptions, ascending.
    pub subscriptions: &'a [u16],
    /// A run body.
    pub body: &'a [u8],
    /// Events in it.
    pub events: u64,
}

/// How far a run was scanned. A run that waits keeps it; when it is used again, nothing but its
/// buffers stays from the run before.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events scanned.
    events: usize,
    /// The automaton that reads the next event, and how far it has read.
    automaton: usize,
    scan: Option<Scan>,
    /// The patterns that were found in the next event, a bit each.
    found: Vec<u64>,
    /// The subscriptions that want the events in `builder`.
    current: Vec<u16>,
    wanted: Vec<u16>,
    builder: RunBuilder,
    body: Vec<u8>,
}

impl Progress {
    /// Events that were scanned.
    #[must_use]
    pub const fn events(&self) -> usize {
        self.events
    }

    /// Clears it for another run.
    pub fn restart(&mut self) {
        self.events = 0;
        self.automaton = 0;
        self.scan = None;
        self.current.clear();
    }

    /// Scans on while `work` is left, and emits the pieces that are wanted. True when the run was
    /// scanned to its end; otherwise the next call scans the rest.
    pub fn scan(
        &mut self,
        plan: &Plan,
        body: &RunBody<'_>,
        work: &mut usize,
        mut emit: impl FnMut(Piece<'_>),
    ) -> bool {
        for event in body.events().skip(self.events) {
            if !self.scan_payload(plan, event.payload, work) {
                self.flush(&mut emit);
                return false;
            }
            self.events += 1;
            self.decide(plan);
            if self.wanted != self.current {
                self.flush(&mut emit);
                std::mem::swap(&mut self.current, &mut self.wanted);
            }
            if self.current.is_empty() {
                continue;
            }
            if self.builder.count() == 0 {
                self.builder.start(event.seq, body.floor(), body.base_time_ns());
            }
            self.builder.push(event.time_ns, event.payload);
        }
        self.flush(&mut emit);
        true
    }

    /// Scans one payload to its end. Returns the subscriptions that want it, ascending, and the
    /// steps that it took. What was scanned before is forgotten.
    pub fn look(&mut self, plan: &Plan, payload: &[u8]) -> (&[u16], usize) {
        self.restart();
        let mut left = usize::MAX;
        self.scan_payload(plan, payload, &mut left);
        self.decide(plan);
        (&self.wanted, usize::MAX - left)
    }

    /// Reads on in one payload. Returns whether all automata have read it.
    fn scan_payload(&mut self, plan: &Plan, payload: &[u8], work: &mut usize) -> bool {
        if self.automaton == 0 && self.scan.is_none() {
            self.found.clear();
            self.found.resize((plan.patterns as usize).div_ceil(64), 0);
            // An event costs a step even when its payload is empty.
            *work = work.saturating_sub(1);
        }
        while let Some(automaton) = plan.automata.get(self.automaton) {
            let first = plan.firsts[self.automaton] as usize;
            let mut left = automaton.patterns();
            let found = &mut self.found;
            let scan = self.scan.get_or_insert_with(|| automaton.begin());
            let is_over = automaton.advance(scan, payload, work, |index| {
                let (word, bit) = ((first + index) / 64, 1 << ((first + index) % 64));
                left -= usize::from(found[word] & bit == 0);
                found[word] |= bit;
                left == 0
            });
            if !is_over {
                return false;
            }
            self.scan = None;
            self.automaton += 1;
        }
        self.automaton = 0;
        true
    }

    /// Finds the subscriptions that want the event which was read.
    fn decide(&mut self, plan: &Plan) {
        self.wanted.clear();
        let mut from = 0;
        for &(subscription, to) in &plan.targets {
            let patterns = &plan.wanted[from as usize..to as usize];
            from = to;
            let is_found = |&pattern: &u32| self.found[pattern as usize / 64] >> (pattern % 64) & 1 == 1;
            if self.wanted.last() != Some(&subscription) && patterns.iter().all(is_found) {
                self.wanted.push(subscription);
            }
        }
    }

    fn flush(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        let events = self.builder.count();
        if events == 0 {
            return;
        }
        self.body.clear();
        self.builder.finish(&mut self.body);
        emit(Piece { subscriptions: &self.current, body: &self.body, events });
    }
}
