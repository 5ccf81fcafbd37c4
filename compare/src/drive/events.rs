//! What links to Millrace publish and ask for.

use millrace_proto::TagSet;

/// Bytes that the router holds for a receiver: more than the load's window, so that nothing has to
/// be dropped.
pub(super) const RECEIVER_QUEUE_BYTES: u64 = 32 << 20;

/// The group of receivers that share the load.
pub(super) const GROUP: &str = "workers";
/// Events that a member may have without having acknowledged them, as many as routers allow: the
/// load's window is the bound, as it is for NATS, where members acknowledge nothing.
pub(super) const INFLIGHT_MAX: u64 = 65_536;

/// The selector of every receiver.
pub(super) const EVERYTHING: &str = "service=load";

/// The tag set of an emitter.
pub(super) fn tags(emitter: usize) -> TagSet {
    let host = format!("host=node-{emitter}.example");
    TagSet::from_texts([host.as_str(), EVERYTHING]).expect("the tags are well-formed and few")
}
