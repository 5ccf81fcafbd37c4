//! Probes and echoes: their tags, and what their payloads say.

use millrace_proto::tag::INTERNAL_KEY;
use millrace_proto::{RouterId, TagSet};

/// Tag sets that probes take turns through.
const LAPS: u64 = 16;

/// The tag that says which of them an event has.
const LAP_KEY: &str = "millrace/lap";
/// The tag that says for whom an echo is.
const TO_KEY: &str = "millrace/to";
const PROBE: &str = "probe";
const ECHO: &str = "echo";

/// Whether this tag, `key=value`, is one that canaries give their events.
pub(crate) fn has_tag(tag: &str) -> bool {
    let key = tag.split_once('=').map_or(tag, |(key, _)| key);
    [INTERNAL_KEY, LAP_KEY, TO_KEY].contains(&key)
}

/// A probe or an echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CanaryEvent {
    /// A router asks who is there.
    Probe {
        /// Who asks.
        from: RouterId,
        /// Its number.
        number: u64,
    },
    /// A router answers.
    Echo {
        /// Who answers.
        from: RouterId,
        /// The probe's number.
        number: u64,
    },
}

impl CanaryEvent {
    /// The selectors of what the canary of `router` receives.
    pub(super) fn selectors(router: RouterId) -> [String; 2] {
        [format!("{INTERNAL_KEY}={PROBE}"), format!("{INTERNAL_KEY}={ECHO},{TO_KEY}={router}")]
    }

    /// Tags of a probe.
    pub(super) fn probe_tags(number: u64) -> TagSet {
        let lap = (number % LAPS).to_string();
        TagSet::new([(INTERNAL_KEY, PROBE), (LAP_KEY, &lap)]).expect("two short tags are a set")
    }

    /// Tags of an echo to a router.
    pub(super) fn echo_tags(to: RouterId, number: u64) -> TagSet {
        let (to, lap) = (to.to_string(), (number % LAPS).to_string());
        TagSet::new([(INTERNAL_KEY, ECHO), (LAP_KEY, &lap), (TO_KEY, &to)])
            .expect("three short tags are a set")
    }

    /// Its payload.
    pub(super) fn payload(self) -> [u8; 16] {
        let (Self::Probe { from, number } | Self::Echo { from, number }) = self;
        let mut payload = [0; 16];
        payload[..8].copy_from_slice(&from.0.to_be_bytes());
        payload[8..].copy_from_slice(&number.to_be_bytes());
        payload
    }

    /// Reads an event; `None` for one that is neither, because other programs with a router's
    /// certificate may publish such tags.
    pub(super) fn read(tags: &TagSet, payload: &[u8]) -> Option<Self> {
        let (from, number) = payload.split_first_chunk::<8>()?;
        let from = RouterId(u64::from_be_bytes(*from));
        let number = u64::from_be_bytes(number.try_into().ok()?);
        match tags.borrow().get(INTERNAL_KEY)? {
            PROBE => Some(Self::Probe { from, number }),
            ECHO => Some(Self::Echo { from, number }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::Selector;

    use super::*;

    #[test]
    fn events_read_back_and_meet_the_selector_of_those_they_are_for() {
        let (one, two) = (RouterId(1), RouterId(2));
        let matches = |router, tags: &TagSet| {
            CanaryEvent::selectors(router)
                .map(|text| Selector::parse(&text).unwrap().matches_tags(tags.borrow()))
        };
        for number in [0, 5, 99] {
            let (probe, tags) = (CanaryEvent::Probe { from: one, number }, CanaryEvent::probe_tags(number));
            assert_eq!(CanaryEvent::read(&tags, &probe.payload()), Some(probe));
            assert_eq!((matches(one, &tags), matches(two, &tags)), ([true, false], [true, false]));
            let (echo, tags) = (CanaryEvent::Echo { from: two, number }, CanaryEvent::echo_tags(one, number));
            assert_eq!(CanaryEvent::read(&tags, &echo.payload()), Some(echo));
            assert_eq!((matches(one, &tags), matches(two, &tags)), ([false, true], [false, false]));
            assert!(!Selector::parse("*").unwrap().matches_tags(tags.borrow()));
        }
    }

    #[test]
    fn what_is_no_canary_event_is_left_alone() {
        let tags = CanaryEvent::probe_tags(1);
        for payload in [&[][..], &[1; 15], &[1; 17]] {
            assert_eq!(CanaryEvent::read(&tags, payload), None);
        }
        let other = TagSet::new([(INTERNAL_KEY, "other")]).unwrap();
        assert_eq!(CanaryEvent::read(&other, &[0; 16]), None);
    }
}
