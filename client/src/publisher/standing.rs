//! A publisher's part in a standby set: its settings, and who is told how it stands.

use std::fmt;
#[cfg(all(unix, feature = "spool"))]
use std::fs;
#[cfg(all(unix, feature = "spool"))]
use std::io;
#[cfg(all(unix, feature = "spool"))]
use std::path::Path;
use std::sync::Arc;

use crate::session::publisher::{SetWish, StandbyState};

/// Who is told.
#[derive(Clone)]
pub(super) struct Told(Arc<dyn Fn(StandbyState) + Send + Sync>);

impl Told {
    pub(super) fn tell(&self, state: StandbyState) {
        (self.0)(state);
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

/// How a publisher takes part in a standby set.
///
/// ```
/// use millrace_client::StandbyOptions;
///
/// let standby = StandbyOptions::new("feed").rank(2).on_standby(|state| println!("{state:?}"));
/// assert_eq!(standby.wish.rank, 2);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StandbyOptions {
    /// The set, and what the publisher wishes for itself.
    pub wish: SetWish,
    told: Option<Told>,
}

impl StandbyOptions {
    /// A member of rank 1 of this set: at most 64 bytes, no control characters.
    #[must_use]
    pub fn new(set: impl Into<String>) -> Self {
        Self { wish: SetWish::new(set), told: None }
    }

    /// Sets who takes over first: 1 to 16.
    #[must_use]
    pub const fn rank(mut self, rank: u8) -> Self {
        self.wish.rank = rank;
        self
    }

    /// Sets whether it takes over from a holder of a higher rank, too, once it was there for 5 s.
    #[must_use]
    pub const fn preempt(mut self, preempt: bool) -> Self {
        self.wish.preempt = preempt;
        self
    }

    /// Sets how many numbered events it keeps while it waits, and how many bytes of them: what the
    /// feed brings in 2.5 s is enough.
    #[must_use]
    pub const fn window(mut self, events: usize, bytes: usize) -> Self {
        (self.wish.window_events, self.wish.window_bytes) = (events, bytes);
        self
    }

    /// Sets who is told how the publisher stands, whenever that changes. It is called on the task
    /// of the connection, which waits for it.
    #[must_use]
    pub fn on_standby(mut self, told: impl Fn(StandbyState) + Send + Sync + 'static) -> Self {
        self.told = Some(Told(Arc::new(told)));
        self
    }

    /// Who is told, if anybody.
    pub(super) fn told(&self) -> Option<Told> {
        self.told.clone()
    }
}

/// The file in a spool's folder that says in which generation its publisher held its set.
#[cfg(all(unix, feature = "spool"))]
const GENERATION: &str = "generation";

/// The generation in which the publisher of a spool held a set; 0 when nobody knows.
#[cfg(all(unix, feature = "spool"))]
pub(super) fn remembered(folder: &Path, set: &str) -> u64 {
    let Ok(text) = fs::read_to_string(folder.join(GENERATION)) else { return 0 };
    let (generation, name) = text.trim_end_matches('\n').split_once(' ').unwrap_or_default();
    if name == set { generation.parse().unwrap_or(0) } else { 0 }
}

/// Notes in which generation the publisher of a spool holds a set, whole or not at all.
#[cfg(all(unix, feature = "spool"))]
pub(super) fn remember(folder: &Path, set: &str, generation: u64) -> io::Result<()> {
    let new = folder.join("generation.new");
    fs::write(&new, format!("{generation} {set}\n"))?;
    fs::rename(new, folder.join(GENERATION))
}
