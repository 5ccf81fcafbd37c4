//! The mailbox of control, for cores and for all who ask it something: bounded in messages and,
//! because interest and lane frames can be large, in bytes.

use std::fmt;
use std::mem::size_of;
use std::net::SocketAddr;
use std::time::Duration;

use millrace_engine::control::{Control, Rebalance};
use millrace_engine::forward::{LinkInterest, LinkNumber};
use millrace_engine::message::{CoreIndex, DialId, ToControl};
use millrace_engine::standby::Handed;
use millrace_proto::mesh::{InterestEntry, KnownPeer, LinkFrame};
use tokio::sync::{mpsc, oneshot};

use crate::budget::{Budget, Share};

/// Most inputs that wait for control, over all cores. Those of cores are batches of at most
/// [`BATCH_MAX`] messages, whose bytes [`ControlPost`] bounds.
pub(crate) const INPUTS_MAX: usize = 16_384;

/// A look at control between two inputs.
pub(crate) type Question = Box<dyn FnOnce(&Control) + Send>;

/// Where other routers may be at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Those of the seeds.
    pub(crate) seeds: Vec<String>,
    /// Those of the routes.
    pub(crate) routes: Vec<String>,
    /// How many names of seeds have none.
    pub(crate) unresolved: u64,
}

/// An input of control's thread.
pub(crate) enum Input {
    /// A turn's messages of a core, for the engine.
    Core { core: CoreIndex, messages: Vec<(ToControl, Share)> },
    /// Where others may be.
    Places(Addresses),
    /// Whether peers keep this router to themselves.
    Hide(bool),
    /// Whether clients are evened out.
    Rebalance(Rebalance),
    /// Where a dial leads, if its target resolves.
    Resolved { dial: DialId, remote: Option<SocketAddr> },
    /// What a link to another cluster takes from here on.
    Link { link: LinkNumber, interest: Option<LinkInterest> },
    /// A question of another thread.
    Ask(Question),
    /// Have the holder of a set of standby publishers hand it over, and say what becomes of that.
    HandOver { set: String, answer: oneshot::Sender<Handed> },
    /// Tell clients and peers that this router leaves within this time.
    Drain(Duration),
    /// End.
    Stop,
}

impl Input {
    /// Messages that control handles with this input.
    pub(crate) fn messages(&self) -> usize {
        match self {
            Self::Core { messages, .. } => messages.len(),
            _ => 1,
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core { core, messages } => {
                f.debug_tuple("Core").field(core).field(&messages.len()).finish()
            }
            Self::Places(addresses) => f.debug_tuple("Places").field(addresses).finish(),
            Self::Hide(hidden) => f.debug_tuple("Hide").field(hidden).finish(),
            Self::Rebalance(rebalance) => f.debug_tuple("Rebalance").field(rebalance).finish(),
            Self::Resolved { dial, .. } => f.debug_tuple("Resolved").field(dial).finish(),
            Self::Link { link, .. } => f.debug_tuple("Link").field(link).finish(),
            Self::Ask(_) => f.write_str("Ask"),
            Self::HandOver { set, .. } => f.debug_tuple("HandOver").field(set).finish(),
            Self::Drain(grace) => f.debug_tuple("Drain").field(grace).finish(),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// Most bytes of messages that wait for control, over all cores. Further messages wait in the
/// cores.
const BYTES_MAX: usize = 64 << 20;

/// Most messages of one batch, because control looks at nothing else while it handles one.
pub(crate) const BATCH_MAX: usize = 128;

/// One core's end of control's mailbox. The messages of a turn go in as few batches as hold them,
/// mostly one, so that control is woken once.
pub(crate) struct ControlPost {
    inputs: mpsc::Sender<Input>,
    budget: Budget,
    gathered: Vec<(ToControl, Share)>,
}

impl ControlPost {
    pub(crate) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, budget: Budget::new(BYTES_MAX), gathered: Vec::new() }
    }

    /// The end of another core; both share one budget.
    pub(crate) fn sibling(&self) -> Self {
        Self { inputs: self.inputs.clone(), budget: self.budget.clone(), gathered: Vec::new() }
    }

    /// Whether another message may wait for control.
    pub(crate) fn has_room(&self) -> bool {
        self.budget.has_room() && self.inputs.capacity() > 0
    }

    /// Whether the batch is full and to be posted.
    pub(crate) fn is_gathered(&self) -> bool {
        self.gathered.len() >= BATCH_MAX
    }

    /// Adds a message to the batch.
    pub(crate) fn put(&mut self, message: ToControl) {
        let share = self.budget.take(weight(&message));
        self.gathered.push((message, share));
    }

    /// Posts the batch; `false` when the mailbox is full, and the batch stays here. A control that
    /// has ended takes everything.
    pub(crate) fn post(&mut self, core: CoreIndex) -> bool {
        if self.gathered.is_empty() {
            return true;
        }
        let messages = std::mem::take(&mut self.gathered);
        if let Err(mpsc::error::TrySendError::Full(Input::Core { messages, .. })) =
            self.inputs.try_send(Input::Core { core, messages })
        {
            self.gathered = messages;
            return false;
        }
        true
    }
}

/// The memory of a message, roughly.
fn weight(message: &ToControl) -> usize {
    let own = match message {
        // The selectors are shared with the core, which may have dropped them by then.
        ToControl::Interest { add, remove, .. } => {
            add.iter().chain(remove).map(|selector| 64 + 2 * selector.text().len()).sum()
        }
        ToControl::LinkFrame { frame: LinkFrame::Interest(interest), .. } => {
            let entries: usize =
                interest.add.iter().map(|entry| size_of::<InterestEntry>() + entry.selector.len()).sum();
            entries + 8 * interest.remove.len()
        }
        ToControl::LinkFrame { frame: LinkFrame::Peers(peers), .. } => {
            peers.peers.iter().map(|peer| size_of::<KnownPeer>() + peer.advertise.len()).sum()
        }
        ToControl::LinkFrame { frame: LinkFrame::InterestAck(ack), .. } => 8 * ack.positions.len(),
        _ => 0,
    };
    own + size_of::<(ToControl, Share)>()
}

#[cfg(test)]
mod tests {
    use millrace_engine::transport::ConnKey;
    use millrace_proto::mesh::Interest;

    use super::*;

    fn large() -> ToControl {
        let entry = InterestEntry { selector: "x".repeat(BYTES_MAX / 2), ..InterestEntry::default() };
        let interest = Interest { add: vec![entry], ..Interest::default() };
        ToControl::LinkFrame { conn: ConnKey(1), frame: LinkFrame::Interest(interest) }
    }

    #[test]
    fn few_large_messages_fill_the_mailbox_until_they_are_taken() {
        let (inputs, mut inbox) = mpsc::channel(16);
        let (mut post, other) = (ControlPost::new(inputs.clone()), ControlPost::new(inputs));
        let mut post_of_another_core = post.sibling();
        post.put(large());
        post_of_another_core.put(large());
        assert!(post.post(0) && post_of_another_core.post(1));
        assert!(!post.has_room() && !post_of_another_core.has_room());
        assert!(other.has_room(), "each router has its own budget");
        drop(inbox.try_recv().unwrap());
        assert!(post.has_room());
    }

    #[test]
    fn a_batch_waits_until_the_mailbox_has_a_place_for_it() {
        let (inputs, mut inbox) = mpsc::channel(1);
        let mut post = ControlPost::new(inputs);
        let mut other = post.sibling();
        post.put(large());
        other.put(large());
        assert!(post.post(0) && !other.post(1));
        assert!(matches!(inbox.try_recv(), Ok(Input::Core { core: 0, .. })));
        assert!(other.post(1) && other.post(1));
        assert!(matches!(inbox.try_recv(), Ok(Input::Core { core: 1, messages }) if messages.len() == 1));
    }

    #[test]
    fn a_batch_is_full_long_before_control_would_be_held_up_by_it() {
        let (inputs, mut inbox) = mpsc::channel(2);
        let mut post = ControlPost::new(inputs);
        for number in 0..BATCH_MAX {
            assert!(!post.is_gathered());
            post.put(ToControl::LaneHeard { conn: ConnKey(number as u64) });
        }
        assert!(post.is_gathered() && post.post(0) && !post.is_gathered());
        assert!(matches!(inbox.try_recv(), Ok(Input::Core { messages, .. }) if messages.len() == BATCH_MAX));
    }
}
