//! Tells a connection's task which of its receivers have work.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use millrace_proto::ReceiverNumber;
use tokio::sync::Notify;

/// The receivers of a connection with work, at most as many as there are.
#[derive(Debug, Default)]
pub(super) struct Wake {
    due: Mutex<BTreeSet<ReceiverNumber>>,
    notify: Notify,
}

impl Wake {
    /// Notes that a receiver has work.
    pub(super) fn tell(&self, receiver: ReceiverNumber) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(receiver);
        self.notify.notify_one();
    }

    /// Notes that a user has joined.
    pub(super) fn tell_task(&self) {
        self.notify.notify_one();
    }

    /// Takes the next receiver with work.
    pub(super) fn next(&self) -> Option<ReceiverNumber> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// Waits until there is work, or returns at once if there was some since the last wait. May be
    /// dropped at any time.
    pub(super) async fn told(&self) {
        self.notify.notified().await;
    }
}
