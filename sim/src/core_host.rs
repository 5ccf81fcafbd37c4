//! A core of a simulated router, and what waits for it.

use std::collections::{BTreeSet, VecDeque};

use millrace_engine::core::Core;
use millrace_engine::message::{CoreIndex, CoreOutput, DialId, ToCore, ToSibling};
use millrace_engine::time::Time;
use millrace_engine::transport::ConnKey;
use millrace_proto::mesh::PeerHello;

/// A core, its mailboxes, and when it is due.
#[derive(Debug)]
pub(crate) struct CoreHost {
    pub(crate) core: Core,
    pub(crate) from_control: VecDeque<Mail>,
    pub(crate) to_control: VecDeque<CoreOutput>,
    /// By sender.
    pub(crate) batches: Vec<VecDeque<Vec<u8>>>,
    /// What siblings say about what this core has handed to them, in the order of arrival. Read
    /// before batches, and at each turn; one turn of a sibling says at most one, so it is as
    /// short as the other cores are turns ahead.
    pub(crate) words: VecDeque<(CoreIndex, ToSibling)>,
    pub(crate) turn: Option<Time>,
    /// Whether control has told it that it knows all interest.
    pub(crate) knows_all_interest: bool,
    /// Its connections, for the end.
    pub(crate) open: BTreeSet<ConnKey>,
}

impl CoreHost {
    /// A core of a router with so many.
    pub(crate) fn new(core: Core, cores: CoreIndex) -> Self {
        Self {
            core,
            from_control: VecDeque::new(),
            to_control: VecDeque::new(),
            batches: (0..cores).map(|_| VecDeque::new()).collect(),
            words: VecDeque::new(),
            turn: None,
            knows_all_interest: false,
            open: BTreeSet::new(),
        }
    }

    /// Takes what siblings say about what this core has handed to them.
    pub(crate) fn hear_siblings(&mut self, now: Time) {
        while let Some((from, word)) = self.words.pop_front() {
            self.core.sibling_told(now, from, word);
        }
    }
}

/// What other threads give to a core's thread.
#[derive(Debug)]
pub(crate) enum Mail {
    Message(ToCore),
    Dial { dial: DialId, target: Option<u32>, shard: u16, hello: PeerHello },
}
