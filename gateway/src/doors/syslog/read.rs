//! Reads a message of either format.

use std::time::SystemTime;

use time::UtcOffset;

use super::message::Message;
use super::priority::Priority;
use super::{rfc3164, rfc5424};

/// Reads a message of either format. Whatever cannot be read is text: a log line is not to be lost
/// because its sender is careless. `zone` is that of times without one, and `now` says which year
/// it is.
#[must_use]
pub fn read(message: &[u8], zone: UtcOffset, now: SystemTime) -> Message<'_> {
    let Some((priority, rest)) = Priority::take(message) else {
        return Message::plain(Priority::DEFAULT, message);
    };
    rfc5424::read(priority, rest).unwrap_or_else(|| rfc3164::read(priority, rest, zone, now))
}
