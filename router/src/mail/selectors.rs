//! The mailbox of the thread that reads selectors: unbounded in orders, bounded in their bytes.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;

use millrace_engine::message::{CoreIndex, Token};
use millrace_engine::rights::AllowList;
use millrace_engine::transport::ConnKey;

use crate::budget::{Budget, Share};

/// Most bytes of selectors that wait to be read, over all cores: 10,000 receivers that come at once
/// with a hundred selectors each take about 100 MiB. Orders beyond them are refused. One connection
/// has at most its account of selectors in it (`selector_bytes_per_connection`).
const BYTES_MAX: usize = 256 << 20;
/// Bytes of one order, and of one text, beside the characters.
const OVERHEAD_BYTES: usize = 64;

/// Selectors of one subscription, to be read.
pub(crate) struct Order {
    pub(crate) core: CoreIndex,
    pub(crate) client: ConnKey,
    pub(crate) token: Token,
    pub(crate) texts: Vec<String>,
    /// What they are narrowed to; none: they stay as they are.
    pub(crate) allowed: Option<Arc<AllowList>>,
    /// The order's part of the bytes that may wait, given back when it is done.
    pub(crate) _share: Share,
}

/// One core's end of the mailbox. The orders of a turn go as one batch, so that the thread is woken
/// once.
pub(crate) struct SelectorsPost {
    orders: mpsc::Sender<Vec<Order>>,
    budget: Budget,
    gathered: Vec<Order>,
}

impl SelectorsPost {
    /// The end of the first core, and the receiver of the orders.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Vec<Order>>) {
        let (orders, arriving) = mpsc::channel();
        (Self { orders, budget: Budget::new(BYTES_MAX), gathered: Vec::new() }, arriving)
    }

    /// The end of another core; both share one budget.
    pub(crate) fn sibling(&self) -> Self {
        Self { orders: self.orders.clone(), budget: self.budget.clone(), gathered: Vec::new() }
    }

    /// Adds a client's order to the batch. An answer follows once the batch is posted.
    ///
    /// # Errors
    ///
    /// Too many bytes wait; no answer follows.
    pub(crate) fn order(
        &mut self,
        core: CoreIndex,
        client: ConnKey,
        token: Token,
        texts: Vec<String>,
        allowed: Option<Arc<AllowList>>,
    ) -> Result<(), Overload> {
        if !self.budget.has_room() {
            return Err(Overload);
        }
        let bytes: usize = texts.iter().map(|text| OVERHEAD_BYTES + text.len()).sum();
        let share = self.budget.take(OVERHEAD_BYTES + bytes);
        self.gathered.push(Order { core, client, token, texts, allowed, _share: share });
        Ok(())
    }

    /// Posts the batch.
    pub(crate) fn post(&mut self) {
        if !self.gathered.is_empty() {
            // The thread ends only after the cores, or by a defect that the handle reports.
            let _ = self.orders.send(std::mem::take(&mut self.gathered));
        }
    }
}

impl fmt::Debug for SelectorsPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectorsPost").field("budget", &self.budget).finish_non_exhaustive()
    }
}

/// Too many selectors wait to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overload;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_beyond_the_budget_are_refused_until_others_are_done() {
        let (mut post, arriving) = SelectorsPost::new();
        let large = || vec!["x".repeat(BYTES_MAX)];
        assert_eq!(post.order(0, ConnKey(1), Token(1), large(), None), Ok(()));
        let plain = || vec!["a=1".to_owned()];
        assert_eq!(post.sibling().order(1, ConnKey(1), Token(2), plain(), None), Err(Overload));
        post.post();
        drop(arriving.try_recv().unwrap());
        assert_eq!(post.order(1, ConnKey(1), Token(3), plain(), None), Ok(()));
    }
}
