//! Earlier lives of a router, whose runs are kept in files: each owner of each life is a source
//! that has ended.
//!
//! A receiver that asks for the past gets the lives of a router one after the other, the oldest
//! first, and the present one last, because events of one tag set may have had another owner in
//! each. Its cursor therefore names one life of a router at a time, and whoever names a later one
//! has had the earlier ones.

use millrace_proto::RouterId;
use millrace_proto::control::SourcePosition;
use millrace_proto::data::Source;

use super::read::{Begin, Span};

/// What is kept of one owner in an earlier life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptLife {
    /// The owner, in that life.
    pub source: Source,
    /// Oldest position that is kept.
    pub oldest: u64,
    /// Position behind the last run that is kept.
    pub to: u64,
    /// When the last run arrived, nanoseconds since 1970.
    pub youngest_at: u64,
    /// When the youngest run arrived that was let go, nanoseconds since 1970; 0 if none was.
    pub gone_until: u64,
    /// Whether its end is there: the owner has ended in order, and said so.
    pub is_whole: bool,
}

/// What is kept of earlier lives of one router: at most [`LIVES_MAX`](Self::LIVES_MAX) lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastLives(Vec<KeptLife>);

/// A source that has ended, as a receiver's router is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastSource {
    /// The owner, in that life.
    pub source: Source,
    /// What of it is there for who asks. Where `from` is below `oldest`, runs that were asked for
    /// are gone.
    pub span: Span,
    /// Whether its end is there.
    pub is_whole: bool,
}

impl KeptLife {
    /// An owner, or a life, of which nothing is kept: at which position it would go on, and when it
    /// began.
    #[must_use]
    pub const fn nothing(source: Source, at: u64, begun: u64) -> Self {
        Self { source, oldest: at, to: at, youngest_at: begun, gone_until: 0, is_whole: false }
    }
}

impl PastLives {
    /// Lives of one router whose runs are kept.
    pub const LIVES_MAX: usize = 64;

    /// Those lives, the oldest first.
    #[must_use]
    pub const fn new(lives: Vec<KeptLife>) -> Self {
        Self(lives)
    }

    /// Whether nothing is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is kept of a source.
    #[must_use]
    pub fn get(&self, source: &Source) -> Option<&KeptLife> {
        self.0.iter().find(|life| life.source == *source)
    }

    /// What is kept, the oldest first, for who asks for what arrived at a time of day or later; 0:
    /// for all.
    pub fn since(&self, since_ns: u64) -> impl Iterator<Item = PastSource> {
        let lives = self.0.iter().filter(move |life| life.youngest_at >= since_ns);
        lives.map(move |&KeptLife { source, oldest, to, gone_until, is_whole, .. }| {
            // Where all is asked for, nobody asks for what is gone.
            let is_cut = since_ns > 0 && gone_until >= since_ns;
            let from = if is_cut { 0 } else { oldest };
            let span = Span { from, to, oldest, is_cut: is_cut && oldest > 0 };
            PastSource { source, span, is_whole }
        })
    }
}

/// What of a router's lives a cursor says.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    cursor: &'a [SourcePosition],
}

impl<'a> Told<'a> {
    /// What `cursor` says.
    #[must_use]
    pub const fn by(cursor: &'a [SourcePosition]) -> Self {
        Self { cursor }
    }

    /// Whether it names a life, by any of its owners.
    #[must_use]
    pub fn names(&self, source: &Source) -> bool {
        let of_life =
            |place: &SourcePosition| place.router == source.router && place.incarnation == source.incarnation;
        self.cursor.iter().any(of_life)
    }

    /// Whether it names a router, in any life.
    #[must_use]
    pub fn names_any(&self, router: RouterId) -> bool {
        self.cursor.iter().any(|place| place.router == router)
    }

    /// How far it has come with an owner in one of its lives.
    #[must_use]
    pub fn position(&self, source: &Source) -> Option<u64> {
        let is_owner = |place: &&SourcePosition| {
            place.router == source.router
                && place.incarnation == source.incarnation
                && place.owner == source.owner
        };
        self.cursor.iter().find(is_owner).map(|place| place.position)
    }

    /// Which of a router's earlier lives are replayed, each with where its replay begins; `present`
    /// are the owners of its present one. `has_since`: `pasts` were chosen by time, which counts
    /// where the cursor says nothing. And whether the cursor names a life of which nothing is kept.
    #[must_use]
    pub fn wanted(
        &self,
        pasts: &[PastSource],
        present: &Source,
        has_since: bool,
    ) -> (Vec<(PastSource, Begin)>, bool) {
        let is_present = self.names(present);
        let named = pasts.iter().rposition(|past| self.names(&past.source));
        let is_lost = self.names_any(present.router) && !is_present && named.is_none();
        if is_present {
            return (Vec::new(), false);
        }
        // Lives before the one that the cursor names have come.
        let first = named.map_or(0, |named| {
            let life = (pasts[named].source.router, pasts[named].source.incarnation);
            let of_life = |past: &PastSource| (past.source.router, past.source.incarnation) == life;
            pasts.iter().position(of_life).unwrap_or(named)
        });
        let wanted = pasts[first..].iter().map(|past| {
            let begin = match self.position(&past.source) {
                Some(position) => Begin::At(position),
                // Nothing of it has come.
                None if named.is_some() => Begin::At(0),
                None if has_since && !is_lost => Begin::At(past.span.from),
                None => Begin::Oldest,
            };
            (*past, begin)
        });
        (wanted.collect(), is_lost)
    }
}

impl PastSource {
    /// What of it is replayed when it begins there.
    #[must_use]
    pub fn begun(&self, begin: Begin) -> Span {
        let Span { to, oldest, .. } = self.span;
        let (from, is_cut) = match begin {
            Begin::At(position) => (position.clamp(oldest, to), position < oldest || !self.is_whole),
            Begin::Since(_) | Begin::Oldest => (oldest, false),
        };
        Span { from, to, oldest, is_cut }
    }
}
