//! What a core has to say to control and to the reader of selectors, and what it has asked of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use millrace_proto::control::Stage;
use millrace_proto::{ReceiverNumber, Selector};

use super::account::Cost;
use super::slot::ReceiverSlot;
use crate::message::{CoreOutput, PrepareOrder, ToControl, Token};
use crate::transport::ConnKey;

/// Messages that may wait before control streams of clients and lanes are left unread: what clients
/// bring in four turns. One client's share of a turn, or one read of a lane, may come on top, and
/// what ends with connections. Each message is at most a frame of 64 KiB, so some 64 MiB wait here
/// when control does not keep up, and the rest in the windows of those who send it.
pub(super) const OUTPUTS_MAX: usize = 1024;

/// A subscription on its way through control: one for each request that is not effective in the
/// cluster yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingSubscription {
    pub(super) conn: ConnKey,
    pub(super) receiver: ReceiverNumber,
    pub(super) slot: ReceiverSlot,
    pub(super) subscription: u16,
    pub(super) selectors: usize,
    /// What its texts are charged with while they are being read.
    pub(super) cost: Cost,
}

/// First and last references to interest, of one change.
#[derive(Debug, Default)]
pub(super) struct InterestChange {
    pub(super) add: Vec<Arc<Selector>>,
    pub(super) remove: Vec<Arc<Selector>>,
}

/// What a core says, and what it has asked.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Bounded by [`OUTPUTS_MAX`] for what frames lead to; besides that, an end of each connection
    /// and an answer to each message of control.
    outputs: VecDeque<CoreOutput>,
    /// Bounded for each client by its requests that may be unanswered, and its receivers'
    /// subscriptions.
    pub(super) pending: HashMap<Token, PendingSubscription, ahash::RandomState>,
    last_token: u64,
}

impl Mail {
    /// Whether what frames lead to still has room.
    pub(super) fn has_room(&self) -> bool {
        self.outputs.len() < OUTPUTS_MAX
    }

    /// Says something to control.
    pub(super) fn tell(&mut self, message: ToControl) {
        self.outputs.push_back(CoreOutput::ToControl(message));
    }

    /// Says how a core's interest changed, if it did.
    pub(super) fn tell_interest(&mut self, change: InterestChange) {
        let InterestChange { add, remove } = change;
        if !add.is_empty() || !remove.is_empty() {
            self.tell(ToControl::Interest { add, remove, token: None });
        }
    }

    /// Has the selectors of a subscription read.
    pub(super) fn order(&mut self, pending: PendingSubscription, selectors: Vec<String>) {
        self.last_token += 1;
        let token = self.last_token();
        self.pending.insert(token, pending);
        let order = PrepareOrder { token, client: pending.conn, selectors };
        self.outputs.push_back(CoreOutput::Prepare(order));
    }

    /// The request whose change of interest has come this far; the last stage ends it.
    pub(super) fn reached(&mut self, token: Token, stage: Stage) -> Option<PendingSubscription> {
        match stage {
            Stage::Router => self.pending.get(&token).copied(),
            Stage::Cluster => self.pending.remove(&token),
            _ => None,
        }
    }

    /// The newest request.
    pub(super) const fn last_token(&self) -> Token {
        Token(self.last_token)
    }

    /// The next thing to be said.
    pub(super) fn pop(&mut self) -> Option<CoreOutput> {
        self.outputs.pop_front()
    }
}

#[cfg(test)]
impl Mail {
    /// Has it hold `len` messages; those that are added mean nothing.
    pub(super) fn fill(&mut self, len: usize) {
        let filler = || CoreOutput::ToControl(ToControl::LaneHeard { conn: ConnKey(0) });
        self.outputs.resize_with(len, filler);
    }

    /// Says something that was taken once more.
    pub(super) fn say_again(&mut self, output: CoreOutput) {
        self.outputs.push_back(output);
    }
}
