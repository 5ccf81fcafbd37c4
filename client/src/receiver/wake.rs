//! Tells a connection's task which of its receivers have something to do.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use millrace_proto::ReceiverNumber;
use tokio::sync::Notify;

/// One for all receivers of a connection; at most as many numbers wait as there are receivers.
#[derive(Debug, Default)]
pub(super) struct Wake {
    due: Mutex<BTreeSet<ReceiverNumber>>,
    notify: Notify,
}

impl Wake {
    /// A receiver has something to do.
    pub(super) fn tell(&self, receiver: ReceiverNumber) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(receiver);
        self.notify.notify_one();
    }

    /// Somebody has joined.
    pub(super) fn tell_task(&self) {
        self.notify.notify_one();
    }

    /// The next receiver with something to do.
    pub(super) fn next(&self) -> Option<ReceiverNumber> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// Waits until somebody tells, or has told since the last wait. May be dropped at any time.
    pub(super) async fn told(&self) {
        self.notify.notified().await;
    }
}
