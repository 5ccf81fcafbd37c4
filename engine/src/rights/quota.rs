//! How much one identity may take of one router.

/// How much one identity may take of one router, all its sessions on all cores together. What is
/// unset is not bounded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Events that it may publish per second, 1 or more.
    pub events_per_second: Option<u64>,
    /// Bytes that it may publish per second, 1 or more: payloads, and the tags and framing that its
    /// publish streams have.
    pub bytes_per_second: Option<u64>,
    /// Sessions that it may have open.
    pub sessions: Option<u64>,
    /// Selectors that its receivers may have, as they are narrowed to what it may receive.
    pub selectors: Option<u64>,
    /// Groups that its receivers may be members of.
    pub groups: Option<u64>,
    /// Sets that its standby publishers may have joined.
    pub sets: Option<u64>,
    /// Names that its receivers may have.
    pub names: Option<u64>,
}

/// What a cluster has a bounded number of, and an identity may have so many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scarce {
    /// Groups of receivers.
    Group,
    /// Sets of standby publishers.
    Set,
    /// Names of receivers.
    Name,
}

impl Scarce {
    /// Several of them, as the key of a quota is called.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Group => "groups",
            Self::Set => "sets",
            Self::Name => "names",
        }
    }
}

impl Quota {
    /// How many an identity may have.
    #[must_use]
    pub const fn most(&self, scarce: Scarce) -> Option<u64> {
        match scarce {
            Scarce::Group => self.groups,
            Scarce::Set => self.sets,
            Scarce::Name => self.names,
        }
    }

    /// Whether it bounds nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
