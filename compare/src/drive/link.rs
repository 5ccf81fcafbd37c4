//! Connections to one system, as every stretch uses them.

use std::time::{Duration, Instant};

use super::error::{DriveError, SETUP_MAX};
use crate::load::Load;

/// A link's turn returns after this long at most.
pub(super) const TURN_MAX: Duration = Duration::from_millis(1);
/// While events are due by a schedule, publishers look at it this often.
pub(crate) const TICK: Duration = Duration::from_micros(50);

/// Connections to one system, on the caller's thread.
pub trait Link {
    /// Does something with the load.
    fn with_load(&mut self, f: &mut dyn FnMut(&mut Load));

    /// Publishes what the load allows, moves bytes, hands what arrived to the load; waits at most
    /// `wait` for something to do.
    ///
    /// # Errors
    /// [`DriveError`]: the run is over.
    fn turn(&mut self, wait: Duration) -> Result<(), DriveError>;
}

/// Turns a link until `ready`.
pub(crate) fn set_up<L: Link>(link: &mut L, ready: impl Fn(&L) -> bool) -> Result<(), DriveError> {
    let begun = Instant::now();
    while !ready(link) {
        if begun.elapsed() > SETUP_MAX {
            return Err(DriveError::Setup);
        }
        link.turn(TURN_MAX)?;
    }
    Ok(())
}
