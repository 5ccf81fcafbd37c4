//! What a turn still reads and writes, and its budget.
//!
//! | what is left unread | while | where it waits | when it is read |
//! |---|---|---|---|
//! | a publish stream | a sibling core cannot keep up | `paused` | in the first turn in which all keep up |
//! | a publish stream | a receiver of its runs is crowded | `paced` | when it is relieved, or `pace_max` is over |
//! | what a publish stream or a lane says of tag sets that are to be looked up | a turn's lookups have taken their time | `unread`, `put_off` | in its turn |
//! | what a publish stream says of tag sets that are new | new ones have had their part of the time | `late` | when there is more of it |
//! | what a publish stream says from a run on that its identity's quota has not paid for | | its session | when it is paid for |
//! | any stream of which more has arrived than one read takes | | `unread` | in the next turn |
//! | a client's control stream | control does not keep up, this turn's budget is used up, or others wait | `clients` | in its turn |
//! | a lane's control stream | control does not keep up | `lanes` | in its turn, before those of clients |

use std::collections::BTreeSet;

use super::backlog::Backlog;
use super::pacing::Paced;
use crate::transport::{ConnKey, StreamKey};

/// Most work on clients' control frames in one turn: well below a millisecond. A frame counts as
/// one. A selector that goes counts as one, too. One that comes counts as a quarter, because the
/// core only passes it on; the caller that hands in control's messages files it later, at its own
/// pace ([`Core::selectors_moved`](super::Core::selectors_moved)). The rest waits for the next
/// turn, behind events.
pub(super) const FRAMES_PER_TURN: usize = 256;

/// Most work on the frames of one client before the next client has its turn. Frames have at least
/// this much in each turn, however many selectors went with connections and replaced subscriptions.
pub(super) const FRAMES_PER_CLIENT: usize = 64;

/// What a turn still reads and writes, and its budget.
#[derive(Debug)]
pub(super) struct Agenda {
    /// Streams with more to read in the next turn.
    pub(super) unread: BTreeSet<(ConnKey, StreamKey)>,
    /// The first publish stream or lane that the core left unread because the turn had no more time
    /// for lookups: the next turn begins behind it.
    pub(super) put_off: Option<(ConnKey, StreamKey)>,
    /// Whether a mailbox towards a sibling is above half.
    pub(super) pressed: bool,
    /// Publish streams that the core leaves unread while `pressed`: at most one for each client.
    pub(super) paused: BTreeSet<(ConnKey, StreamKey)>,
    /// Publish streams that the core leaves unread because a receiver of theirs is crowded.
    pub(super) paced: Paced,
    /// Publish streams that wait because new tag sets have had their part of the core's time.
    pub(super) late: BTreeSet<(ConnKey, StreamKey)>,
    /// Work on control frames that is left in this turn.
    pub(super) frame_budget: usize,
    /// Control streams of clients that wait for their turn.
    pub(super) clients: Backlog,
    /// Control streams of lanes that wait for their turn.
    pub(super) lanes: Backlog,
    /// Clients with control frames to write, each once.
    pub(super) dirty_clients: Vec<ConnKey>,
}

impl Agenda {
    pub(super) fn new() -> Self {
        Self {
            unread: BTreeSet::new(),
            put_off: None,
            pressed: false,
            paused: BTreeSet::new(),
            paced: Paced::default(),
            late: BTreeSet::new(),
            frame_budget: FRAMES_PER_TURN,
            clients: Backlog::new(),
            lanes: Backlog::new(),
            dirty_clients: Vec::new(),
        }
    }

    /// Whether a publish stream waits because of new tag sets.
    #[inline]
    pub(super) fn is_late(&self, conn: ConnKey, stream: StreamKey) -> bool {
        !self.late.is_empty() && self.late.contains(&(conn, stream))
    }

    /// Takes the streams with more to read, in the order in which it is their turn.
    pub(super) fn take_unread(&mut self) -> impl Iterator<Item = (ConnKey, StreamKey)> + use<> {
        let mut first = std::mem::take(&mut self.unread);
        // The stream that it goes on behind may be one that waits longer.
        let is_there = self.put_off.is_some_and(|last| !self.late.contains(&last));
        let later = match self.put_off.take_if(|_| is_there) {
            Some(last) => {
                let mut behind = first.split_off(&last);
                // The last stream itself comes last.
                if behind.remove(&last) {
                    first.insert(last);
                }
                std::mem::replace(&mut first, behind)
            }
            None => BTreeSet::new(),
        };
        first.into_iter().chain(later)
    }

    /// Takes work on control frames from this turn's budget.
    pub(super) const fn spend(&mut self, work: usize) {
        self.frame_budget = self.frame_budget.saturating_sub(work);
    }

    /// Whether control streams wait for their turn.
    pub(super) fn has_backlog(&self) -> bool {
        !self.clients.is_empty() || !self.lanes.is_empty()
    }

    /// Whether a control stream of this connection waits for its turn.
    pub(super) fn waits(&self, conn: ConnKey) -> bool {
        self.clients.has(conn) || self.lanes.has(conn)
    }
}
