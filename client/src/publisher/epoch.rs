//! Names of publishers' lives.

use millrace_proto::{Epoch, varint};

/// A new name for the life of a publisher.
pub(super) fn new_epoch() -> Epoch {
    Epoch(rand::random::<u64>() & varint::MAX)
}
