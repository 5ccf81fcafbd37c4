//! The replays of one receiver: for each subscription that asked for the past, and each source of
//! it, how far it has come.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use millrace_proto::Selector;
use millrace_proto::control::SourcePosition;
use millrace_proto::data::Source;

use super::config::CoreConfig;
use super::outlet::{HeldRuns, Total};
use super::slot::ReceiverSlot;
use crate::history::{Begin, Chunk, HistoryAsk, HistoryWord, Join, KnownSource, Sources, Span};
use crate::message::{CoreIndex, Token};
use crate::time::Time;

/// Bytes of live runs that wait for the replays of one subscription, a share for each source.
const HELD_BYTES_MAX: u64 = 8 << 20;

/// Requests of one core that are not answered, at most: each may bring a chunk.
const ASKS_MAX: usize = 64;

/// Where the past begins that a subscription asks for.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// What arrived at this time and later.
    pub(super) since: Option<Time>,
    /// What stands at these positions and behind them.
    pub(super) cursor: Vec<SourcePosition>,
}

impl Past {
    /// Where an owner's replay begins, and whether an earlier life of it is meant, which is gone.
    fn begin(&self, source: &Source) -> (Begin, bool) {
        let of_router = || self.cursor.iter().filter(|place| place.router == source.router);
        let known =
            of_router().find(|place| place.incarnation == source.incarnation && place.owner == source.owner);
        match (known, self.since) {
            (Some(place), _) => (Begin::At(place.position), false),
            (None, _) if of_router().any(|place| place.incarnation != source.incarnation) => {
                (Begin::Oldest, true)
            }
            (None, Some(since)) => (Begin::Since(since), false),
            (None, None) => (Begin::Oldest, false),
        }
    }
}

/// The replay of one source.
#[derive(Debug)]
pub(super) struct SourceJoin {
    pub(super) known: Arc<KnownSource>,
    pub(super) begin: Begin,
    pub(super) join: Join,
    /// What is to be said of the replay before its first run.
    pub(super) announce: Option<Span>,
    /// Where live runs begin, once that is to be said.
    pub(super) joined: Option<u64>,
    /// Runs are gone that were asked for: to be said before what follows.
    pub(super) is_cut: bool,
    /// What was read and not delivered, and how much of it was.
    pub(super) chunk: Option<(Chunk, usize)>,
    pub(super) is_asked: bool,
    /// The owner has pinned where the replay ends.
    pub(super) is_pinned: bool,
    /// Live runs that wait.
    pub(super) held: HeldRuns,
}

/// The replays of one subscription.
#[derive(Debug)]
pub(super) struct SubscriptionJoin {
    /// Its number on the core.
    pub(super) replay: u64,
    pub(super) token: Token,
    pub(super) subscription: u16,
    pub(super) selectors: Arc<[Arc<Selector>]>,
    past: Past,
    /// The owners of this router match the selectors: they can be asked.
    pub(super) is_effective: bool,
    pub(super) sources: Vec<SourceJoin>,
}

impl SubscriptionJoin {
    /// A subscription that is not read yet.
    pub(super) fn new(replay: u64, token: Token, subscription: u16, past: Past) -> Self {
        let selectors = Arc::from(Vec::new());
        Self { replay, token, subscription, selectors, past, is_effective: false, sources: Vec::new() }
    }

    /// Its selectors were read and filed: live runs are judged from here on.
    pub(super) fn begin(
        &mut self,
        selectors: Arc<[Arc<Selector>]>,
        config: &CoreConfig,
        sources: &mut Sources,
        total: &Total,
    ) {
        self.selectors = selectors;
        let bytes = HELD_BYTES_MAX / u64::from(config.cores);
        for owner in 0..config.cores {
            let source = Source { router: config.router, incarnation: config.incarnation, owner };
            let Some(known) = sources.know(source) else { continue };
            let (begin, is_cut) = self.past.begin(&source);
            self.sources.push(SourceJoin {
                known,
                begin,
                join: Join::asked(),
                announce: None,
                joined: None,
                is_cut,
                chunk: None,
                is_asked: false,
                is_pinned: false,
                held: HeldRuns::new(bytes, total.clone()),
            });
        }
    }

    /// The replay of a source, if there is one.
    pub(super) fn source_mut(&mut self, known: &KnownSource) -> Option<&mut SourceJoin> {
        self.sources.iter_mut().find(|source| *source.known == *known)
    }
}

/// The replays of one receiver.
#[derive(Debug, Default)]
pub(super) struct Joins(pub(super) Vec<SubscriptionJoin>);

impl Joins {
    /// A subscription's replay.
    pub(super) fn of(&mut self, token: Token) -> Option<&mut SubscriptionJoin> {
        self.0.iter_mut().find(|join| join.token == token)
    }
}

/// What one core asks of owners, and what it is asked.
#[derive(Debug)]
pub(super) struct Replays {
    last: u64,
    /// Receivers with a replay.
    pub(super) active: BTreeSet<ReceiverSlot>,
    /// Requests that wait for this core's ring: at most [`ASKS_MAX`] of each core.
    pub(super) asks: VecDeque<(CoreIndex, HistoryAsk)>,
    /// Words for each sibling.
    words: Vec<VecDeque<HistoryWord>>,
    open: usize,
    /// The receiver whose turn it is.
    pub(super) turn: ReceiverSlot,
    /// A replay can go on in the next turn.
    pub(super) has_more: bool,
}

impl Replays {
    pub(super) fn new(cores: CoreIndex) -> Self {
        Self {
            last: 0,
            active: BTreeSet::new(),
            asks: VecDeque::new(),
            words: vec![VecDeque::new(); usize::from(cores)],
            open: 0,
            turn: 0,
            has_more: false,
        }
    }

    /// Begins a turn: the receivers with a replay, beginning with the one whose turn it is, so that
    /// all go on.
    pub(super) fn begin_turn(&mut self) -> Vec<ReceiverSlot> {
        self.has_more = false;
        self.active.range(self.turn..).chain(self.active.range(..self.turn)).copied().collect()
    }

    /// A name for a new replay.
    pub(super) const fn name(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether something can be done without waiting.
    pub(super) fn has_work(&self) -> bool {
        self.has_more || !self.asks.is_empty()
    }

    /// Asks an owner, `own` if it is this core; `false` when as many as may be are unanswered.
    pub(super) fn ask(&mut self, owner: CoreIndex, own: CoreIndex, ask: HistoryAsk) -> bool {
        if self.open >= ASKS_MAX {
            return false;
        }
        self.open += 1;
        if owner == own {
            self.asks.push_back((own, ask));
        } else {
            self.say(owner, HistoryWord::Ask(ask));
        }
        true
    }

    /// A request was answered.
    pub(super) const fn answered(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Says something to a sibling.
    pub(super) fn say(&mut self, core: CoreIndex, word: HistoryWord) {
        if let Some(words) = self.words.get_mut(usize::from(core)) {
            words.push_back(word);
        }
    }

    /// The next word for a sibling.
    pub(super) fn next_word(&mut self, core: CoreIndex) -> Option<HistoryWord> {
        self.words.get_mut(usize::from(core))?.pop_front()
    }
}
