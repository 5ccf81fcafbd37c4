//! Sizes and times.

use std::time::Duration;

/// Settings of the preset.
#[derive(Debug, Clone)]
pub struct QuenchSettings {
    /// Emitters, each with a tag set.
    pub emitters: u32,
    /// One of so many is wanted.
    pub one_in: u32,
    /// Connections that carry them.
    pub connections: u32,
    /// Router processes, linked with each other.
    pub routers: u16,
    /// Events per second that all emitters together offer.
    pub rate: u64,
    /// Length of each stretch.
    pub duration: Duration,
    /// Times that somebody subscribes to what nobody wanted before.
    pub switches: u32,
}

impl Default for QuenchSettings {
    fn default() -> Self {
        Self {
            emitters: 100_000,
            one_in: 100,
            connections: 32,
            routers: 2,
            rate: 20_000,
            duration: Duration::from_secs(2),
            switches: 40,
        }
    }
}

impl QuenchSettings {
    /// Whether the receiver wants the events of an emitter: the naive matcher of the preset.
    #[must_use]
    pub const fn wants(&self, emitter: u32) -> bool {
        emitter.is_multiple_of(self.one_in)
    }

    /// Emitters that are wanted.
    #[must_use]
    pub const fn wanted(&self) -> u32 {
        self.emitters.div_ceil(self.one_in)
    }

    /// The tags of an emitter.
    pub(super) fn tags(&self, emitter: u32) -> [String; 2] {
        [format!("host={emitter}"), format!("room={}", emitter % self.one_in)]
    }

    /// The selector of what is wanted.
    pub(super) const fn selector() -> &'static str {
        "room=0"
    }
}
