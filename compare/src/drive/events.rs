//! What links to Millrace publish and ask for.

use millrace_proto::TagSet;

/// Bytes that the router holds for a receiver: more than the load's window, so that nothing has to
/// be dropped.
pub(super) const RECEIVER_QUEUE_BYTES: u64 = 32 << 20;

/// The selector of every receiver.
pub(super) const EVERYTHING: &str = "service=load";

/// The tag set of an emitter.
pub(super) fn tags(emitter: usize) -> TagSet {
    let host = format!("host=node-{emitter}.example");
    TagSet::from_texts([host.as_str(), EVERYTHING]).expect("the tags are well-formed and few")
}
