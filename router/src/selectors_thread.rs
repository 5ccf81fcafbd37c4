//! The thread that reads selectors and compiles their payload patterns.
//!
//! One frame of a client can ask for seconds of that. Here it holds up nobody but those who subscribe at the same time:
//! cores route, and control serves the mesh. Orders of one core are answered in their order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use millrace_engine::control::prepare;
use millrace_engine::message::{CoreIndex, ToCore, Token};

use crate::app::Command;
use crate::budget::{Budget, Share};
use crate::control_thread::CorePost;

/// Bytes of selectors that may wait to be read, over all cores: 10,000 receivers that come at once with a hundred
/// selectors each take about 100 MiB. Orders beyond are refused.
const BYTES_MAX: usize = 256 << 20;
/// What one order and one text take besides their characters.
const OVERHEAD_BYTES: usize = 64;

/// Selectors of one subscription, to be read.
struct Order {
    core: CoreIndex,
    token: Token,
    texts: Vec<String>,
    _share: Share,
}

/// Where cores hand in their orders.
#[derive(Clone)]
pub(crate) struct SelectorsPost {
    orders: mpsc::Sender<Order>,
    budget: Budget,
}

impl SelectorsPost {
    /// Hands an order in; [`ToCore::Prepared`] follows.
    ///
    /// # Errors
    /// Too much is waiting; nothing follows.
    pub(crate) fn order(&self, core: CoreIndex, token: Token, texts: Vec<String>) -> Result<(), Overload> {
        if !self.budget.has_room() {
            return Err(Overload);
        }
        let bytes: usize = texts.iter().map(|text| OVERHEAD_BYTES + text.len()).sum();
        let share = self.budget.take(OVERHEAD_BYTES + bytes);
        // The thread ends only after the cores, or by a defect that the handle reports.
        let _ = self.orders.send(Order { core, token, texts, _share: share });
        Ok(())
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

/// What the thread runs; the cores are given when it does.
pub(crate) struct SelectorsThread {
    orders: mpsc::Receiver<Order>,
    stop: Arc<AtomicBool>,
}

impl SelectorsThread {
    /// The thread's part and the cores' part. Once `stop` is set, orders are dropped unread.
    pub(crate) fn new(stop: Arc<AtomicBool>) -> (SelectorsPost, Self) {
        let (sender, orders) = mpsc::channel();
        (SelectorsPost { orders: sender, budget: Budget::new(BYTES_MAX) }, Self { orders, stop })
    }

    /// Runs until the last core has ended.
    pub(crate) fn run(self, cores: &[CorePost]) {
        while let Ok(order) = self.orders.recv() {
            if self.stop.load(Ordering::Relaxed) {
                continue;
            }
            let result = prepare(&order.texts);
            if let Some(post) = cores.get(usize::from(order.core)) {
                post.send(Command::Engine(ToCore::Prepared { token: order.token, result }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_beyond_the_budget_are_refused_until_others_are_done() {
        let (post, thread) = SelectorsThread::new(Arc::default());
        let large = || vec!["x".repeat(BYTES_MAX)];
        assert_eq!(post.order(0, Token(1), large()), Ok(()));
        assert_eq!(post.order(1, Token(2), vec!["a=1".to_owned()]), Err(Overload));
        drop(thread.orders.try_recv().unwrap());
        assert_eq!(post.order(1, Token(3), vec!["a=1".to_owned()]), Ok(()));
    }
}
