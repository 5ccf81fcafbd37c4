//! Frames about a connection's publish stream, router to client.

use super::kind;
use crate::control::message;

message! {
    /// How much the publisher may write.
    pub struct Credit = kind::CREDIT {
        /// Bytes of the publish stream, counted from its first byte (the preamble included), that may have been written.
        /// Never decreases; a smaller value than before is ignored. Without a credit nothing may be written.
        1 bytes: u64,
    }
}

message! {
    /// The router has read everything of this publisher up to a seq. It says nothing about who got it.
    ///
    /// Sent when 64 KiB more were read, when a Report on the publish stream asks, or as long after the first untold run as
    /// [`Hello::received_within_us`](super::Hello::received_within_us) allows (20 ms when it says nothing), whichever is
    /// first. It may always come earlier.
    pub struct Received = kind::RECEIVED {
        /// The publisher's number on the publish stream, as it was defined there last.
        1 publisher: u64,
        /// One past the last seq that was read: the first seq not received. Everything below it in this epoch is received,
        /// for seqs are gapless. Never decreases for one publisher and epoch.
        2 next_seq: u64,
    }
}
