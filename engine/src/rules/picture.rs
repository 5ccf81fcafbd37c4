//! What people are shown of a rule.

/// One rule on one core: plain numbers, counted since the rule was there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RulePicture {
    /// Its name.
    pub name: String,
    /// Its selector, in canonical text.
    pub when: String,
    /// The keys that it sets.
    pub keys: Vec<String>,
    /// Whether it asks for the payload.
    pub by_payload: bool,
    /// Events that it was for.
    pub hits: u64,
    /// Events that had a key which it sets, with another value: published, or of a rule before it.
    pub conflicts: u64,
    /// Events for which it was not applied, because the turn had no more time for payloads.
    pub skipped: u64,
    /// Events for which it could not make a value.
    pub failed: u64,
    /// Events for which `_overflow` stands for a captured value.
    pub overflowed: u64,
    /// Steps that it took, some nanosecond each: bytes of payloads times automata.
    pub steps: u64,
    /// The last event for which it could not make a value: its tags, the key, and why not.
    pub last_failure: Option<LastFailure>,
}

/// An event that a rule failed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// Its published tags, in words, cut where they are long.
    pub tags: String,
    /// The key that was to be set.
    pub key: String,
    /// Why it was not.
    pub reason: String,
}

impl RulePicture {
    /// Adds what another core has counted of the same rule.
    pub fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.conflicts += other.conflicts;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.overflowed += other.overflowed;
        self.steps += other.steps;
        if self.last_failure.is_none() {
            self.last_failure = other.last_failure;
        }
    }
}
