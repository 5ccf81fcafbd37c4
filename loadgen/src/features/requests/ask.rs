//! Asking, and judging what comes back.

use std::time::Duration;

use millrace_client::{Replies, Request, RequestEnd, Requester, TagSet};

use crate::features::error::FeatureError;

/// How long a request waits for its reply: longer than the preset runs.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What became of requests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answers {
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) unanswered: u64,
    pub(super) wrong: u64,
    pub(super) no_receiver: u64,
}

impl Answers {
    pub(super) fn add(&mut self, more: Self) {
        self.asked += more.asked;
        self.answered += more.answered;
        self.unanswered += more.unanswered;
        self.wrong += more.wrong;
        self.no_receiver += more.no_receiver;
    }
}

/// Asks; the payload is the request's number.
pub(super) async fn ask(requester: &Requester, tags: &TagSet, number: u64) -> Result<Replies, FeatureError> {
    let request = Request::default().timeout(TIMEOUT);
    requester.request(tags, number.to_le_bytes(), request).await.map_err(FeatureError::client)
}

/// Waits until a request has ended.
pub(super) async fn answered(mut replies: Replies, number: u64) -> Answers {
    let mut answers = Answers { asked: 1, ..Answers::default() };
    let mut own = 0;
    while let Some(reply) = replies.next().await {
        if reply.payload[..] == number.to_le_bytes() { own += 1 } else { answers.wrong += 1 }
    }
    answers.wrong += u64::from(own > 1);
    answers.answered = u64::from(own > 0);
    answers.unanswered = u64::from(own == 0);
    answers.no_receiver = u64::from(replies.end() == Some(RequestEnd::NoReceiver));
    answers
}
