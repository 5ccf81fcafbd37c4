//! What a publisher does with events that nobody wants, and who is told.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use millrace_proto::TagSet;

use crate::session::ConfirmLevel;

/// What a publisher does with events of a tag set that nobody in the cluster wants. Reads and
/// prints as `auto`, `always`, `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Quench {
    /// Without a confirm level it skips them; with one it sends them.
    #[default]
    Auto,
    /// It skips them. With a confirm level they end as confirmed at no receiver, at once.
    Always,
    /// It sends them.
    Off,
}

impl Quench {
    /// Whether a publisher skips what nobody wants; with a number of receivers that each event
    /// needs it does not, because the router says of each event that nobody got it.
    pub(super) const fn skips(self, level: ConfirmLevel, min_receivers: u64) -> bool {
        match self {
            Self::Auto => !level.is_confirmed(),
            Self::Always => !level.is_confirmed() || min_receivers == 0,
            Self::Off => false,
        }
    }
}

/// Neither `auto`, `always` nor `off`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write `auto`, `always` or `off`, not `{0}`")]
pub struct QuenchError(String);

impl FromStr for Quench {
    type Err = QuenchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "off" => Ok(Self::Off),
            other => Err(QuenchError(other.to_owned())),
        }
    }
}

impl fmt::Display for Quench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Off => "off",
        })
    }
}

/// What is called when a tag set is wanted no more, or again.
pub(super) type OnWanted = dyn Fn(&TagSet, bool) + Send + Sync;

/// Who is told whether tag sets are wanted.
#[derive(Default)]
pub(super) struct Listener(Mutex<Option<Arc<OnWanted>>>);

impl Listener {
    pub(super) fn set(&self, on_wanted: Arc<OnWanted>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(on_wanted);
    }

    /// Tells of some tag sets. The caller holds no lock that the application may want.
    pub(super) fn tell(&self, sets: &[TagSet], is_wanted: bool) {
        if sets.is_empty() {
            return;
        }
        let on_wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(on_wanted) = on_wanted {
            sets.iter().for_each(|set| on_wanted(set, is_wanted));
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_depends_on_whether_anybody_waits_for_its_end() {
        let skips = |quench: Quench| {
            [(ConfirmLevel::None, 0), (ConfirmLevel::Routed, 0), (ConfirmLevel::Routed, 1)]
                .map(|(level, receivers)| quench.skips(level, receivers))
        };
        assert_eq!(skips(Quench::Auto), [true, false, false]);
        assert_eq!(skips(Quench::Always), [true, true, false]);
        assert_eq!(skips(Quench::Off), [false; 3]);
        for quench in [Quench::Auto, Quench::Always, Quench::Off] {
            assert_eq!(quench.to_string().parse(), Ok(quench));
        }
        assert!("never".parse::<Quench>().is_err());
    }
}
