//! The line of those who look for a router: of all connections of a process, so many at a time.
//!
//! A process with thousands of connections loses them all at once when their router dies. If all
//! dialled at once, each handshake would take as long as all of them together, so that attempts
//! would end by their time limits, and begin again. One behind the other they take as long as their
//! work does: whoever comes first is attached while others wait.
//!
//! A search that takes long is for routers that do not answer, and costs this process nothing: it
//! lets another one begin beside it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Searches at a time. A handshake takes this process about a millisecond, and all of them less
/// than the head start of an address over the next.
const SEARCHES_MAX: usize = 128;
/// Another search may begin beside one that has taken this long.
const SEARCH_MAX: Duration = Duration::from_secs(1);

/// The process has one line, because its searches share its CPU time.
static LINE: Semaphore = Semaphore::const_new(SEARCHES_MAX);

type Permit = SemaphorePermit<'static>;

/// One connection's place in the line.
pub(crate) struct Turn {
    line: &'static Semaphore,
    state: State,
}

enum State {
    /// It does not look for a router.
    Rests,
    /// It waits.
    Waits(Pin<Box<dyn Future<Output = Option<Permit>> + Send>>),
    /// It looks for a router, since then; without a permit it has let another one begin.
    Searches(Option<Permit>, Instant),
}

impl Turn {
    /// A connection that does not look for a router.
    pub(crate) const fn new() -> Self {
        Self { line: &LINE, state: State::Rests }
    }

    /// Whether the next one who looks for a router would have to wait.
    pub(crate) fn are_all_taken() -> bool {
        LINE.available_permits() == 0
    }

    /// Waits until it may look for a router; at once if it does already. It keeps its place when
    /// the future is dropped.
    pub(crate) async fn come(&mut self) {
        if matches!(self.state, State::Rests) {
            let line = self.line;
            // Nobody closes the line.
            self.state = State::Waits(Box::pin(async { line.acquire().await.ok() }));
        }
        if let State::Waits(waits) = &mut self.state {
            let permit = waits.await;
            self.state = State::Searches(permit, Instant::now());
        }
    }

    /// Lets another search begin when this one has taken long, and ends then.
    pub(crate) async fn pass(&mut self) {
        match &mut self.state {
            State::Searches(permit @ Some(_), since) => {
                tokio::time::sleep_until(*since + SEARCH_MAX).await;
                *permit = None;
            }
            _ => std::future::pending().await,
        }
    }

    /// The search is over.
    pub(crate) fn end(&mut self) {
        self.state = State::Rests;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn turn() -> Turn {
        static TWO: Semaphore = Semaphore::const_new(2);
        Turn { line: &TWO, state: State::Rests }
    }

    fn has_come(turn: &mut Turn) -> bool {
        pin!(turn.come()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn searches_wait_for_each_other_in_order_and_long_ones_let_others_begin() {
        let [mut one, mut two, mut next, mut last] = std::array::from_fn(|_| turn());
        assert!(has_come(&mut one) && has_come(&mut two));
        assert!(!has_come(&mut next) && !has_come(&mut last));
        one.end();
        assert!(!has_come(&mut last), "it came later");
        assert!(has_come(&mut next), "its place was kept");
        two.pass().await;
        assert!(has_come(&mut last), "one has taken long");
        assert!(has_come(&mut two), "it goes on");
    }
}
