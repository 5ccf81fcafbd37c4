//! A session as people are shown it.

use super::session::ClientSession;
use crate::core::picture::SessionPicture;
use crate::core::receivers::Receivers;

impl ClientSession {
    /// What it is and what waits for it.
    pub(in crate::core) fn picture(&self, receivers: &Receivers) -> SessionPicture {
        let mut picture = SessionPicture {
            conn: self.conn,
            publishes: self.publish.is_some(),
            published_bytes: self.publish.as_ref().map_or(0, |publish| publish.bytes_read()),
            receivers: 0,
            selectors: 0,
            queued_events: 0,
            queued_bytes: 0,
            queue_bytes_max: 0,
            dropped: 0,
        };
        for receiver in self.receivers.values().filter_map(|&slot| receivers.get(slot)) {
            picture.receivers += 1;
            picture.selectors += u32::try_from(receiver.selectors.count()).unwrap_or(u32::MAX);
            picture.queued_events += receiver.queue.events();
            picture.queued_bytes += receiver.queue.bytes();
            picture.queue_bytes_max += receiver.queue.bytes_max();
            picture.dropped += receiver.dropped();
        }
        picture
    }
}
