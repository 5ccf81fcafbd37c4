//! The thread that reads selectors and compiles their payload patterns.
//!
//! One frame of a client can ask for seconds of that. Here it holds up nobody but those who subscribe at the same time:
//! cores route, and control serves the mesh. Orders of one core are answered in their order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use millrace_engine::control::prepare;
use millrace_engine::message::{CoreIndex, ToCore, Token};

use crate::app::Command;
use crate::budget::{Budget, Share};
use crate::control_thread::CorePost;

/// Bytes of selectors that may wait to be read, over all cores: 10,000 receivers that come at once with a hundred
/// selectors each take about 100 MiB. Orders beyond are refused.
const BYTES_MAX: usize = 256 << 20;
/// Where a batch has more answers, a core is told of those that are there after this time, or when the order that was being
/// read then is done; and before an order of [`MANY_TEXTS`].
const TELL_AFTER: Duration = Duration::from_millis(1);
/// An order of so many selectors takes a time that nobody's answer waits for.
const MANY_TEXTS: usize = 64;
/// What one order and one text take besides their characters.
const OVERHEAD_BYTES: usize = 64;

/// Selectors of one subscription, to be read.
struct Order {
    core: CoreIndex,
    token: Token,
    texts: Vec<String>,
    _share: Share,
}

/// Where a core hands in its orders. Those of one turn go as one batch: the thread is woken once.
pub(crate) struct SelectorsPost {
    orders: mpsc::Sender<Vec<Order>>,
    budget: Budget,
    gathered: Vec<Order>,
}

impl SelectorsPost {
    /// The place of another core; both draw on one budget.
    pub(crate) fn sibling(&self) -> Self {
        Self { orders: self.orders.clone(), budget: self.budget.clone(), gathered: Vec::new() }
    }

    /// Adds an order to the batch; [`ToCore::Prepared`] follows once that is posted.
    ///
    /// # Errors
    /// Too much is waiting; nothing follows.
    pub(crate) fn order(
        &mut self,
        core: CoreIndex,
        token: Token,
        texts: Vec<String>,
    ) -> Result<(), Overload> {
        if !self.budget.has_room() {
            return Err(Overload);
        }
        let bytes: usize = texts.iter().map(|text| OVERHEAD_BYTES + text.len()).sum();
        let share = self.budget.take(OVERHEAD_BYTES + bytes);
        self.gathered.push(Order { core, token, texts, _share: share });
        Ok(())
    }

    /// Hands the batch in.
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

/// What the thread runs; the cores are given when it does.
pub(crate) struct SelectorsThread {
    orders: mpsc::Receiver<Vec<Order>>,
    stop: Arc<AtomicBool>,
}

impl SelectorsThread {
    /// The thread's part and the cores' part. Once `stop` is set, orders are dropped unread.
    pub(crate) fn new(stop: Arc<AtomicBool>) -> (SelectorsPost, Self) {
        let (sender, orders) = mpsc::channel();
        let post = SelectorsPost { orders: sender, budget: Budget::new(BYTES_MAX), gathered: Vec::new() };
        (post, Self { orders, stop })
    }

    /// Runs until the last core has ended.
    pub(crate) fn run(self, cores: &[CorePost]) {
        while let Ok(batch) = self.orders.recv() {
            // All orders of a batch are one core's.
            let Some(post) = batch.first().and_then(|order| cores.get(usize::from(order.core))) else {
                continue;
            };
            // When the first answer was left of which the core does not know.
            let mut untold: Option<Instant> = None;
            for order in batch {
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                let is_long = order.texts.len() >= MANY_TEXTS;
                if untold.take_if(|since| is_long || since.elapsed() >= TELL_AFTER).is_some() {
                    post.waker.wake();
                }
                let result = prepare(&order.texts);
                post.leave(Command::Engine(ToCore::Prepared { token: order.token, result }));
                untold.get_or_insert_with(Instant::now);
            }
            post.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_beyond_the_budget_are_refused_until_others_are_done() {
        let (mut post, thread) = SelectorsThread::new(Arc::default());
        let large = || vec!["x".repeat(BYTES_MAX)];
        assert_eq!(post.order(0, Token(1), large()), Ok(()));
        assert_eq!(post.sibling().order(1, Token(2), vec!["a=1".to_owned()]), Err(Overload));
        post.post();
        drop(thread.orders.try_recv().unwrap());
        assert_eq!(post.order(1, Token(3), vec!["a=1".to_owned()]), Ok(()));
    }
}
