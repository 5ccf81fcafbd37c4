//! Whether another router is nearer, by round trip, and when a client looks for one.
//!
//! A client takes the first router that welcomes it, because waiting for a better one costs time.
//! If that router turns out to be [far](is_far), the client *looks* for a nearer one beside its
//! connection: it connects to at most [`CANDIDATES_MAX`] others, one after the other, and once more
//! to the present one, because a handshake that was slow by chance makes a router look far. There
//! is no look where the present connection itself has had a short round trip meanwhile. A router is
//! [nearer](is_nearer) when its round trip is at most half and two milliseconds shorter. The client
//! moves when two looks in a row find one. A look keeps no connection: what it has measured it
//! closes, and the move connects anew.
//!
//! ```text
//!  attached, far ─► pause ─► look ── none ──► longer pause, up to an hour ─► look …
//!                             └─ found ─► short pause ─► look ── found again ─► move
//! ```
//!
//! Within a site nobody ever looks, because no router there is far. Elsewhere a look costs as many
//! handshakes as there are candidates, which is why pauses grow; they grow across moves, too, so
//! that a client that others send away again and again comes back ever more seldom.

use super::backoff::Chance;
use super::interface::{AttachmentConfig, Nearer};
use super::routers::Router;
use crate::time::{MILLISECOND_NS, SECOND_NS};

/// Addresses that one look tries, at most, that of the present router not counted.
pub(super) const CANDIDATES_MAX: usize = 8;
/// How many times shorter the round trip of a nearer router is, at least.
const TIMES_SHORTER: u64 = 2;
/// By how much it is shorter, at least: less is noise, and nobody notices it.
const SHORTER_BY_NS: u64 = 2 * MILLISECOND_NS;
/// Looks in a row that find a nearer router before the client moves.
const LOOKS_TO_MOVE: u32 = 2;
/// The longest pause between two looks.
const PAUSE_MAX_NS: u64 = 3600 * SECOND_NS;
/// How many times longer each pause is than the one before.
const PAUSE_GROWS: u64 = 4;

/// Whether a router is so much nearer than the present one that moving is worth it.
pub(super) const fn is_nearer(other_ns: u64, present_ns: u64) -> bool {
    other_ns.saturating_mul(TIMES_SHORTER) <= present_ns
        && present_ns.saturating_sub(other_ns) >= SHORTER_BY_NS
}

/// Whether any router could be nearer than one of this round trip.
pub(super) const fn is_far(present_ns: u64) -> bool {
    is_nearer(0, present_ns)
}

/// A router, and the shortest round trip to it that was measured.
#[derive(Debug)]
pub(super) struct Measured<R: Router> {
    pub(super) router: R,
    pub(super) address: R::Address,
    pub(super) round_trip_ns: u64,
}

/// What a client knows of round trips, and when it looks for a nearer router.
#[derive(Debug)]
pub(super) struct Nearest<R: Router> {
    /// The router of the present connection; `None`: its driver does not measure.
    present: Option<Measured<R>>,
    /// The nearest router that the look has found so far.
    best: Option<Measured<R>>,
    /// Whether the client goes to that one.
    is_moving: bool,
    /// Looks in a row that found one.
    found: u32,
    pause_ns: u64,
}

impl<R: Router> Nearest<R> {
    pub(super) const fn new(config: &AttachmentConfig) -> Self {
        Self { present: None, best: None, is_moving: false, found: 0, pause_ns: config.look_after_ns }
    }

    /// A client is attached. Whatever search there was is over.
    pub(super) fn attached(&mut self, router: R, address: R::Address, round_trip_ns: Option<u64>) {
        (self.best, self.is_moving, self.found) = (None, false, 0);
        self.present = round_trip_ns.map(|round_trip_ns| Measured { router, address, round_trip_ns });
    }

    /// Whether the present router is far.
    pub(super) fn is_present_far(&self) -> bool {
        self.present.as_ref().is_some_and(|present| is_far(present.round_trip_ns))
    }

    /// Begins a look. Returns the present router, which it measures first.
    pub(super) fn begin_look(&mut self) -> Option<(R, R::Address)> {
        (self.best, self.is_moving) = (None, false);
        self.present.as_ref().map(|present| (present.router.clone(), present.address.clone()))
    }

    /// The present router was measured again.
    pub(super) fn present_again(&mut self, round_trip_ns: Option<u64>) {
        let Some(present) = &mut self.present else { return };
        present.round_trip_ns =
            round_trip_ns.map_or(present.round_trip_ns, |new| new.min(present.round_trip_ns));
        let present_ns = present.round_trip_ns;
        self.best.take_if(|best| !is_nearer(best.round_trip_ns, present_ns));
    }

    /// Judges a router that a look has reached.
    pub(super) fn judge(&mut self, candidate: Measured<R>) {
        let Some(present) = &self.present else { return };
        let is_best = self.best.as_ref().is_none_or(|best| candidate.round_trip_ns < best.round_trip_ns);
        if is_best && is_nearer(candidate.round_trip_ns, present.round_trip_ns) {
            self.best = Some(candidate);
        }
    }

    /// The round trips of the move that is under way.
    pub(super) fn moving(&self) -> Option<Nearer> {
        let (present, best) = (self.present.as_ref()?, self.best.as_ref().filter(|_| self.is_moving)?);
        Some(Nearer { from_ns: present.round_trip_ns, to_ns: best.round_trip_ns })
    }

    /// A look, or the move behind it, has come to nothing, or a look has found a nearer router.
    /// Returns that router when the client goes there.
    pub(super) fn look_over(&mut self, config: &AttachmentConfig) -> Option<(R, R::Address)> {
        let has_found = self.best.is_some() && !self.is_moving;
        if !has_found {
            self.found = 0;
            self.pause_ns = self.pause_ns.saturating_mul(PAUSE_GROWS).max(config.return_every_ns);
            self.pause_ns = self.pause_ns.min(PAUSE_MAX_NS);
            return None;
        }
        self.found += 1;
        self.is_moving = self.found >= LOOKS_TO_MOVE;
        let best = self.best.as_ref().filter(|_| self.is_moving)?;
        Some((best.router.clone(), best.address.clone()))
    }

    /// How long until the next look: short when the last one found a nearer router. Half of a pause
    /// at least, because clients that came together are not to look together.
    pub(super) fn pause(&self, config: &AttachmentConfig, chance: &mut Chance) -> u64 {
        let pause_ns = if self.found > 0 { config.look_after_ns / 4 } else { self.pause_ns };
        pause_ns / 2 + chance.up_to(pause_ns / 2)
    }

    /// The next look comes soon again, because a steady connection was lost.
    pub(super) fn reset(&mut self, config: &AttachmentConfig) {
        (self.found, self.pause_ns) = (0, config.look_after_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_is_twice_as_near_and_two_milliseconds() {
        let ms = |tenths: u64| tenths * MILLISECOND_NS / 10;
        for (other, present, nearer) in [
            (0, 20, true),
            (0, 19, false),
            (20, 40, true),
            (21, 40, false),
            (10, 29, false),
            (10, 30, true),
            (400, 790, false),
            (400, 800, true),
            (40, 20, false),
        ] {
            assert_eq!(is_nearer(ms(other), ms(present)), nearer, "{other} {present}");
        }
        assert!(is_far(ms(20)) && !is_far(ms(19)));
    }
}
