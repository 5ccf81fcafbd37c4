//! Messages of a core to control and to the reader of selectors, and the subscriptions that wait
//! for an answer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use millrace_proto::control::Stage;
use millrace_proto::{ReceiverNumber, Selector};

use super::account::Cost;
use super::slot::ReceiverSlot;
use crate::message::{CoreOutput, PrepareOrder, ToControl, Token};
use crate::rights::AllowList;
use crate::transport::ConnKey;

/// Messages that may wait before the core leaves control streams of clients and lanes unread: what
/// clients bring in four turns. One client's share of a turn, or one read of a lane, may come on
/// top, and what ends with connections. Each message is at most a frame of 64 KiB, so that some 64
/// MiB wait here when control does not keep up; the rest waits in the windows of those who send it.
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
    /// The charge for its texts while they wait to be read.
    pub(super) cost: Cost,
}

/// Selectors that this core begins to want, and those that it wants for the last time, in one
/// change.
#[derive(Debug, Default)]
pub(super) struct InterestChange {
    pub(super) add: Vec<Arc<Selector>>,
    pub(super) remove: Vec<Arc<Selector>>,
}

/// Messages on their way out, and subscriptions on their way through control.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Bounded by [`OUTPUTS_MAX`] for frames; besides them, one end of each connection and one
    /// answer to each message of control.
    outputs: VecDeque<CoreOutput>,
    /// Bounded for each client by its requests without an answer and its receivers' subscriptions.
    pub(super) pending: HashMap<Token, PendingSubscription, ahash::RandomState>,
    last_token: u64,
}

impl Mail {
    /// Whether there is room for what another frame leads to.
    pub(super) fn has_room(&self) -> bool {
        self.outputs.len() < OUTPUTS_MAX
    }

    /// Says something to control.
    pub(super) fn tell(&mut self, message: ToControl) {
        self.outputs.push_back(CoreOutput::ToControl(message));
    }

    /// Tells control how the core's interest changed, if it did.
    pub(super) fn tell_interest(&mut self, change: InterestChange) {
        let InterestChange { add, remove } = change;
        if !add.is_empty() || !remove.is_empty() {
            self.tell(ToControl::Interest { add, remove, token: None });
        }
    }

    /// Has the selectors of a subscription read.
    pub(super) fn order(
        &mut self,
        pending: PendingSubscription,
        selectors: Vec<String>,
        allowed: Option<Arc<AllowList>>,
    ) {
        self.last_token += 1;
        let token = self.last_token();
        self.pending.insert(token, pending);
        let order = PrepareOrder { token, client: pending.conn, selectors, allowed };
        self.outputs.push_back(CoreOutput::Prepare(order));
    }

    /// The request whose change of interest has reached `stage`; the last stage removes it.
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

    /// Takes the oldest message.
    pub(super) fn pop(&mut self) -> Option<CoreOutput> {
        self.outputs.pop_front()
    }
}

#[cfg(test)]
impl Mail {
    /// Fills it up to `len` messages without a meaning.
    pub(super) fn fill(&mut self, len: usize) {
        let filler = || CoreOutput::ToControl(ToControl::LaneHeard { conn: ConnKey(0) });
        self.outputs.resize_with(len, filler);
    }

    /// Puts a message back that was taken.
    pub(super) fn say_again(&mut self, output: CoreOutput) {
        self.outputs.push_back(output);
    }
}
