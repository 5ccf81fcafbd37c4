//! What stands beside live runs in the stream of a receiver: replays, cursors, and marks.

use millrace_proto::ReceiverNumber;
use millrace_proto::data::Mark;

use super::{DeliveryStream, ReceiverQueue};

impl DeliveryStream {
    /// Appends a mark. Returns the bytes that it takes.
    pub(super) fn write_mark(&mut self, mark: &Mark) -> u64 {
        let before = self.encoder.len();
        self.encoder.mark(mark);
        (self.encoder.len() - before) as u64
    }

    /// Appends a mark for one receiver of a stream that receivers share.
    pub(super) fn deliver_mark(&mut self, mark: Mark, number: ReceiverNumber) {
        self.encoder.mark(&Mark { receivers: vec![number], ..mark });
    }
}

impl ReceiverQueue {
    /// Writes what is no run to the receiver's own stream.
    pub(in crate::core) fn write_aside(
        &mut self,
        stream: &mut DeliveryStream,
        write: impl FnOnce(&mut DeliveryStream),
    ) {
        let before = stream.out_bytes();
        write(stream);
        self.written += (stream.out_bytes() - before) as u64;
    }

    /// Whether a run of a replay may be written: half of the grant is left to live runs.
    pub(in crate::core) fn may_replay(&self) -> bool {
        self.queue.is_empty() && self.grant.saturating_sub(self.written) * 2 > self.window
    }

    /// Puts a mark behind everything that was pushed to a receiver with a stream of its own.
    pub(in crate::core) fn push_mark(&mut self, mark: Mark, stream: &mut DeliveryStream) {
        self.tell_passed_over();
        self.queue.push_mark(mark);
        self.drain_into(stream);
    }

    /// Queues a mark for a receiver that shares its stream.
    pub(in crate::core) fn keep_mark(&mut self, mark: Mark) {
        self.tell_passed_over();
        self.queue.push_mark(mark);
    }
}
