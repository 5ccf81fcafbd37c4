//! What becomes of one datagram: lost, delayed, doubled, overtaken, damaged. Pure: the seed and the
//! order of datagrams decide.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::clock::micros;

/// How long a datagram is held up that others are to overtake.
const OVERTAKEN_US: u64 = 3_000;

/// A share of something, 0 to 1. Reads `1%` and `0.01`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Share(f64);

/// Neither a percentage nor a number from 0 to 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no share: write 1%, or a number from 0 to 1")]
pub struct ShareError(String);

impl Share {
    /// A share in percent, at most 100.
    #[must_use]
    pub const fn percent(percent: f64) -> Self {
        Self(percent.clamp(0.0, 100.0) / 100.0)
    }

    /// The share, 0 to 1.
    #[must_use]
    pub const fn part(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let wrong = || ShareError(text.to_owned());
        let (number, unit) = match text.strip_suffix('%') {
            Some(number) => (number.trim_end(), 100.0),
            None => (text, 1.0),
        };
        let share = number.parse::<f64>().map_err(|_| wrong())? / unit;
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e6).round() / 1e4)
    }
}

/// How the network between all processes is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Weather {
    /// Datagrams that are lost.
    pub loss: Share,
    /// Datagrams that arrive twice.
    pub duplicate: Share,
    /// Datagrams that later ones overtake.
    pub reorder: Share,
    /// Datagrams of which one bit is flipped.
    pub corrupt: Share,
    /// Each datagram waits up to so long, without losing its place.
    pub delay: Duration,
    /// Each datagram takes so long, and what it waits on top.
    pub distance: Duration,
}

impl Weather {
    /// Whether datagrams pass as they come.
    #[must_use]
    pub fn is_fair(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fate {
    /// It is lost: nothing else counts.
    pub(super) is_lost: bool,
    /// When it leaves, and the second copy, if there is one.
    pub(super) leaves_us: u64,
    pub(super) copy_us: Option<u64>,
    /// Others overtake it.
    pub(super) is_overtaken: bool,
    /// The bit that is flipped.
    pub(super) flipped: Option<usize>,
}

/// One direction between two sockets: datagrams that are not overtaken keep their order.
#[derive(Debug)]
pub(super) struct Direction {
    weather: Weather,
    rng: StdRng,
    /// When the last datagram leaves.
    last_us: u64,
}

impl Direction {
    pub(super) fn new(weather: Weather, seed: u64) -> Self {
        Self { weather, rng: StdRng::seed_from_u64(seed), last_us: 0 }
    }

    /// Decides about the next datagram, of so many bytes.
    pub(super) fn next(&mut self, now_us: u64, bytes: usize) -> Fate {
        let weather = self.weather;
        if self.has(weather.loss) {
            return Fate { is_lost: true, ..Fate::default() };
        }
        let wait_us = match micros(weather.delay) {
            0 => 0,
            most => self.rng.random_range(0..=most),
        };
        let is_overtaken = self.has(weather.reorder);
        let in_order_us = self.last_us.max(now_us + micros(weather.distance) + wait_us);
        let leaves_us = if is_overtaken { in_order_us + OVERTAKEN_US } else { in_order_us };
        if !is_overtaken {
            self.last_us = leaves_us;
        }
        let copy_us = self.has(weather.duplicate).then_some(leaves_us);
        let is_flipped = bytes > 0 && self.has(weather.corrupt);
        let flipped = is_flipped.then(|| self.rng.random_range(0..bytes * 8));
        Fate { is_lost: false, leaves_us, copy_us, is_overtaken, flipped }
    }

    fn has(&mut self, share: Share) -> bool {
        share.0 > 0.0 && self.rng.random_bool(share.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(weather: Weather, seed: u64) -> Vec<Fate> {
        let mut direction = Direction::new(weather, seed);
        (0..10_000).map(|at| direction.next(at * 10, 100)).collect()
    }

    #[test]
    fn shares_read_as_people_write_them() {
        assert_eq!("1%".parse(), Ok(Share::percent(1.0)));
        assert_eq!("0.01".parse::<Share>().unwrap().to_string(), "1%");
        assert_eq!("0.05 %".parse::<Share>().unwrap().to_string(), "0.05%");
        for wrong in ["", "%", "101%", "-1%", "2", "much", "nan"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn fair_weather_changes_nothing() {
        for (at, fate) in (0..).zip(fates(Weather::default(), 1)) {
            assert_eq!(fate, Fate { leaves_us: at * 10, ..Fate::default() });
        }
    }

    #[test]
    fn each_fate_has_about_its_share_and_follows_from_the_seed() {
        let share = Share::percent(5.0);
        let weather =
            Weather { loss: share, duplicate: share, reorder: share, corrupt: share, ..Weather::default() };
        let all = fates(weather, 7);
        let count = |has: fn(&Fate) -> bool| all.iter().filter(|fate| has(fate)).count();
        for counted in [
            count(|fate| fate.is_lost),
            count(|fate| fate.copy_us.is_some()),
            count(|fate| fate.is_overtaken),
            count(|fate| fate.flipped.is_some_and(|bit| bit < 800)),
        ] {
            assert!((350..650).contains(&counted), "{counted}");
        }
        assert_eq!(all, fates(weather, 7));
        assert_ne!(all, fates(weather, 8));
    }

    #[test]
    fn every_datagram_takes_the_distance() {
        let weather = Weather { distance: Duration::from_millis(10), ..Weather::default() };
        assert!(!weather.is_fair() && Weather::default().is_fair());
        for (at, fate) in (0..).zip(fates(weather, 1)) {
            assert_eq!(fate, Fate { leaves_us: at * 10 + 10_000, ..Fate::default() });
        }
    }

    #[test]
    fn delayed_datagrams_keep_their_order_but_for_those_that_are_overtaken() {
        let weather =
            Weather { reorder: Share::percent(1.0), delay: Duration::from_millis(2), ..Weather::default() };
        let (mut last_us, mut overtaken) = (0, 0);
        for (at, fate) in (0..).zip(fates(weather, 3)) {
            if fate.is_overtaken {
                overtaken += 1;
                continue;
            }
            assert!(fate.leaves_us >= last_us && fate.leaves_us >= at * 10);
            last_us = fate.leaves_us;
        }
        assert!(overtaken > 50);
    }
}
