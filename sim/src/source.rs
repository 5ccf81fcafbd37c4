//! What the members of a standby set publish, and how sets are called.

use millrace_proto::TagSet;
use millrace_verify::checker::standby::Source;

/// Emitters from here on are sources of sets: the number of the set follows from it.
const EMITTERS_FROM: u32 = 1 << 30;

/// What a member of a set publishes.
#[derive(Debug, Clone)]
pub struct SetSource {
    /// The set.
    pub set: u32,
    /// The tags of its events.
    pub tags: TagSet,
    /// Its events.
    pub source: Source,
    /// A process that begins goes on with what the source gives from then on, as one who follows a
    /// file from its end; else from the source's beginning.
    pub follows: bool,
}

/// The name of a set.
#[must_use]
pub fn name(set: u32) -> String {
    format!("set-{set}")
}

/// The emitter that stands for a set.
#[must_use]
pub const fn emitter(set: u32) -> u32 {
    EMITTERS_FROM + set
}

/// The set of which an emitter is the source, if it is one.
#[must_use]
pub const fn set_of(emitter: u32) -> Option<u32> {
    emitter.checked_sub(EMITTERS_FROM)
}
