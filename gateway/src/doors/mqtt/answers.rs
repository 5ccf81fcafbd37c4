//! Messages whose outcome is not known yet. Answers have the order of the messages (MQTT 5,
//! section 4.6).

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use millrace_client::Outcome;

use crate::upstream::Underway;

/// Messages of QoS 1 or 2 that a client may send before others are acknowledged. Beyond it the door
/// reads no more of the client.
pub(super) const RECEIVE_MAX: u16 = 1024;

/// Messages that wait for their outcome, oldest first.
#[derive(Debug, Default)]
pub(super) struct Answers(FuturesOrdered<BoxFuture<'static, (Question, Outcome)>>);

/// What the client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) packet: u16,
    /// The message has QoS 2.
    pub(super) is_once: bool,
}

impl Answers {
    /// Whether the client may send no more.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= usize::from(RECEIVE_MAX)
    }

    /// Adds a message.
    pub(super) fn push(&mut self, question: Question, underway: Underway) {
        self.0.push_back(outcome(question, underway).boxed());
    }

    /// The outcome of the oldest; waits for ever if there is none. May be dropped at any time.
    pub(super) async fn next(&mut self) -> (Question, Outcome) {
        match self.0.next().await {
            Some(next) => next,
            None => std::future::pending().await,
        }
    }
}

async fn outcome(question: Question, underway: Underway) -> (Question, Outcome) {
    let published = underway.published().await;
    let outcome = published.into_iter().next().and_then(|published| published.outcome);
    (question, outcome.unwrap_or(Outcome::Unknown))
}
