//! Frame types of data streams.

/// From who forwards: other frames of the stream, packed together.
pub const PACKED: u64 = 0x0e;
/// `number, canonical tag set`: from here on the number stands for this tag set on this stream.
pub const DEFINE_TAGS: u64 = 0x10;
/// `number, publisher id (16 bytes), epoch, [index]`: from here on the number stands for this
/// publisher on this stream.
pub const DEFINE_PUBLISHER: u64 = 0x12;
/// A run.
pub const RUN: u64 = 0x14;
/// Something is missing here, and why.
pub const GAP: u64 = 0x16;
/// Everything that was routed before a mark was asked for stands before it.
pub const MARK: u64 = 0x17;
/// On the stream of all receivers: a run, and the receivers that it is for.
pub const DELIVER: u64 = 0x18;
/// How far the receivers of this stream are (history cursors).
pub const CURSOR: u64 = 0x19;
/// On the stream of all receivers: something is missing here for some of them, and why.
pub const RECEIVER_GAP: u64 = 0x1a;
/// On publish streams: the publisher wants to be told at once what was received. Who does not know
/// it skips it.
pub const REPORT: u64 = 0x1b;
/// On the stream of all receivers: one of them ends here.
pub const RECEIVER_END: u64 = 0x1c;
/// A replay of history begins here, or ends.
pub const REPLAY: u64 = 0x1d;
/// `number, router (8 bytes), incarnation (8 bytes), owner`: from here on the number stands for
/// this source of positions.
pub const DEFINE_SOURCE: u64 = 0x1e;
