//! Settings, inputs and outputs of an attachment.

use millrace_proto::control::{Goaway, Welcome};

use super::failure::{Failure, Verdict};
use super::routers::Router;
use crate::time::{MILLISECOND_NS, SECOND_NS, Time};

/// Settings of one attachment. All times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachmentConfig {
    /// How long one lookup of a name, and one connection, may take. Default 5 s.
    pub attempt_ns: u64,
    /// Head start of an address over the next one. Default 250 ms, as RFC 8305 has it.
    pub stagger_ns: u64,
    /// Head start of an address whose router has answered: it is there, and both sides have work
    /// with each other, which a second handshake beside the first would only make more. Default 1
    /// s.
    pub answered_stagger_ns: u64,
    /// Head start of a level over the next one. Default 1 s.
    pub level_stagger_ns: u64,
    /// How often a client that is attached to a router of a further level tries the levels before,
    /// beside its connection. Each pause is drawn between half of it and all of it, because clients
    /// that left together are not to come back together. Default 30 s.
    pub return_every_ns: u64,
    /// When a client whose router is far looks for a nearer one for the first time; drawn between
    /// half of it and all of it. 0: never. Default 5 s.
    pub look_after_ns: u64,
    /// Bound of the first pause between two rounds. Default 50 ms.
    pub backoff_min_ns: u64,
    /// Bound of the longest pause. Default 5 s.
    pub backoff_max_ns: u64,
    /// A connection that lived longer than this was steady: pauses before the next one start small.
    /// Default 1 s.
    pub steady_ns: u64,
    /// How much longer than the router's grace a client waits for the last answers, because the
    /// router itself closes the connection when it must. Default 2 s.
    pub leave_slack_ns: u64,
    /// How long the first search may go on behind its first failed round. Default 0: one round.
    pub patience_ns: u64,
    /// Whether the first search never ends, as later ones, refusals included: for a client that has
    /// work without a router. Default no.
    pub insists: bool,
    /// Interval at which the attachment tells an outage that lasts. Default 30 s.
    pub tell_every_ns: u64,
}

impl Default for AttachmentConfig {
    fn default() -> Self {
        Self {
            attempt_ns: 5 * SECOND_NS,
            stagger_ns: 250 * MILLISECOND_NS,
            answered_stagger_ns: SECOND_NS,
            level_stagger_ns: SECOND_NS,
            return_every_ns: 30 * SECOND_NS,
            look_after_ns: 5 * SECOND_NS,
            backoff_min_ns: 50 * MILLISECOND_NS,
            backoff_max_ns: 5 * SECOND_NS,
            steady_ns: SECOND_NS,
            leave_slack_ns: 2 * SECOND_NS,
            patience_ns: 0,
            insists: false,
            tell_every_ns: 30 * SECOND_NS,
        }
    }
}

/// One attempt to connect; unique for the life of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AttemptId(u64);

impl AttemptId {
    pub(super) const fn take(&mut self) -> Self {
        let id = *self;
        self.0 += 1;
        id
    }
}

/// What a driver tells an attachment.
#[derive(Debug)]
pub enum Input<'a, R: Router, E> {
    /// A name was looked up, or could not be.
    Resolved {
        /// The router of [`Output::Resolve`].
        router: &'a R,
        /// Its addresses.
        outcome: Result<Vec<R::Address>, E>,
    },
    /// The router of an attempt has answered, though not yet the Hello. A driver that does not know
    /// does not tell it; telling it again changes nothing.
    Answered {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The round trip of an attempt's connection, told before [`Input::Welcomed`], and again before
    /// a timeout is handled while it is the present one: handshakes are slow where many come at
    /// once, and what came later may have been faster. A driver that cannot measure does not tell
    /// it: then the client never looks for a nearer router.
    Measured {
        /// The attempt.
        attempt: AttemptId,
        /// The shortest that was seen on this connection, nanoseconds.
        round_trip_ns: u64,
    },
    /// A router answered the Hello of an attempt.
    Welcomed {
        /// The attempt.
        attempt: AttemptId,
        /// Its answer.
        welcome: &'a Welcome,
    },
    /// A router answered the Hello of an attempt, and another session uses it already; the driver
    /// closes the connection. The routers that it names are tried, too.
    Taken {
        /// The attempt.
        attempt: AttemptId,
        /// Its answer.
        welcome: &'a Welcome,
    },
    /// An attempt failed.
    Failed {
        /// The attempt.
        attempt: AttemptId,
        /// What that says about the next one.
        verdict: Verdict,
        /// Why.
        error: E,
    },
    /// The router of this attempt's connection goes away. The attachment ignores the word of one
    /// that it has replaced: a router that is being left may say so again.
    Goaway {
        /// The attempt that made the connection.
        attempt: AttemptId,
        /// Its word.
        goaway: &'a Goaway,
    },
    /// The connection of this attempt is lost. The attachment ignores one that it has replaced.
    Lost {
        /// The attempt that made it.
        attempt: AttemptId,
        /// What its end says about the next one.
        verdict: Verdict,
    },
}

/// Round trips of a move to a nearer router, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearer {
    /// That of the router that is left.
    pub from_ns: u64,
    /// That of the router that is taken.
    pub to_ns: u64,
}

/// What an attachment asks its driver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<R: Router, E> {
    /// Look a name up beside everything else, and tell the outcome with [`Input::Resolved`].
    Resolve {
        /// The router.
        router: R,
    },
    /// Connect and greet; tell the outcome with [`Input::Welcomed`] or [`Input::Failed`].
    Dial {
        /// Names the attempt.
        attempt: AttemptId,
        /// The router, whose name its certificate must have.
        router: R,
        /// Where to dial.
        address: R::Address,
    },
    /// Close this attempt's connection. The attachment ignores what is told about it later.
    Abandon {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Use this attempt's connection. The driver may finish an older one until `latest` of its
    /// [`Output::Leave`].
    Attached {
        /// The attempt.
        attempt: AttemptId,
        /// The router.
        router: R,
        /// Where it was reached.
        address: R::Address,
        /// How long the client was not attached, nanoseconds; 0 when it had a connection all the
        /// time.
        away_ns: u64,
        /// Set when the client moves there because it is nearer than the router before.
        nearer: Option<Nearer>,
    },
    /// The router goes away, or a better one has welcomed the client: take no more events for it,
    /// and ask what it has received. The attachment looks for another one meanwhile, or has it.
    Leave {
        /// When to close its connection at the latest.
        latest: Time,
    },
    /// A round failed while the client has no connection. The attachment tells it once for each
    /// outage and interval, and when the cause changes.
    Trouble {
        /// What says most about it.
        failure: Failure<R, E>,
        /// How long the client has not been attached, nanoseconds.
        away_ns: u64,
    },
    /// The first search failed. The attachment asks for nothing more.
    GaveUp {
        /// What says most about it.
        failure: Failure<R, E>,
    },
}
