//! What a link waits for before it sends what it has kept: those who receive in the far cluster.
//!
//! When a far router is started again, a link finds it as soon as its receivers do, or sooner. What
//! it sent before they are back would go to nobody. So it waits until all is wanted again that was
//! wanted when the connection before ended, and a moment before that, because a router that goes
//! away in order sends its receivers away first.
//!
//! ```text
//! far router    up ─────────┤ killed ├─ up again ────────────────────────────
//! demand        a · b                  │ nothing   │ a        │ a · b
//! link          sends         keeps    │ waits, and keeps     │ sends
//! ```
//!
//! Who receives is what counts: a link of the far router to a further cluster selects the same from
//! the router's start on, whoever receives, and the far router says of which selectors that holds.
//!
//! A router that was there all the time says at once what is wanted: the link waits for its word
//! alone. One that was never heard of waits until anything is wanted. [`WAIT_MAX`] ends it in any
//! case: who has not come back by then may never do.

use std::collections::HashSet;
use std::time::Duration;

use millrace_proto::{Incarnation, RouterId, Selector};

use crate::time::Time;

/// The longest wait. A client that has lost its router dials after pauses of up to 5 s, and a
/// router welcomes thousands of them within some seconds more.
pub const WAIT_MAX: Duration = Duration::from_secs(10);
/// What was wanted so long before a connection ended counts as wanted at its end: a router that
/// ends sends its clients away during half of its grace.
const RECENT: Duration = Duration::from_secs(15);
/// Bytes that may come while the link waits; with more it sends, because it would have to shed.
pub(super) const CAME_MAX: u64 = 8 << 20;
/// Selectors that are kept of what a far cluster says, at most; with more, it wants everything.
pub const DEMAND_MAX: usize = 4096;
/// Pairs of selectors that are compared at once, at most. Beyond it only equal ones count as wanted
/// again, so that a link may wait too long, and never too short.
const PAIRS_MAX: usize = 1 << 16;

/// A router process.
pub(super) type Life = (RouterId, Incarnation);

/// What a far cluster has said of what it wants.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// What receivers want.
    pub(super) wanted: Vec<Selector>,
    /// What the cluster's links to further clusters select, and no receiver wants.
    pub(super) links: Vec<Selector>,
    /// Whether there were more selectors than are kept, or one that cannot be read.
    pub(super) is_wide: bool,
}

impl Heard {
    /// What the far cluster takes.
    pub(super) fn all(&self) -> impl Iterator<Item = &Selector> {
        self.wanted.iter().chain(&self.links)
    }

    fn wants_everything(&self) -> bool {
        self.is_wide || self.wanted.iter().any(|selector| selector.text() == "*")
    }
}

/// What is not there yet.
#[derive(Debug)]
enum Missing {
    /// The router's word.
    Word,
    /// Anybody who wants anything.
    Anything,
    /// Whoever wants everything.
    Everything,
    /// Who wants these.
    Selectors {
        /// Receivers.
        receivers: Vec<Selector>,
        /// Anybody, because links have selected them.
        links: Vec<Selector>,
    },
}

/// What is to be taken for those who are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited<'a> {
    /// Nobody is waited for.
    Nothing,
    /// What these select.
    Selectors {
        /// Of receivers.
        receivers: &'a [Selector],
        /// Of links.
        links: &'a [Selector],
    },
    /// Everything: nobody knows.
    Anything,
}

#[derive(Debug)]
struct Wait {
    until: Time,
    /// Bytes that have come since it began.
    came: u64,
    missing: Missing,
}

/// Whether a link waits, and what it knows for the next time.
#[derive(Debug, Default)]
pub(super) struct Returning {
    /// The router that was sent to, and what it has said, since it was not waited for.
    known: Option<(Life, Heard)>,
    /// What is not wanted any more, and since when.
    gone: Vec<(Time, Selector)>,
    /// The present connection's.
    life: Option<Life>,
    heard: Option<Heard>,
    wait: Option<Wait>,
}

impl Returning {
    /// A connection begins.
    pub(super) fn welcomed(&mut self, now: Time, life: Life) {
        let missing = match &self.known {
            None => Missing::Anything,
            Some((before, _)) if *before == life => Missing::Word,
            Some((_, heard)) if heard.wants_everything() => Missing::Everything,
            Some((_, heard)) => {
                let gone = self.gone.iter().map(|(_, selector)| selector);
                let all: HashSet<&Selector> = heard.wanted.iter().chain(gone).collect();
                let receivers = all.into_iter().cloned().collect();
                Missing::Selectors { receivers, links: heard.links.clone() }
            }
        };
        self.life = Some(life);
        self.heard = None;
        self.wait = Some(Wait { until: now + WAIT_MAX, came: 0, missing });
    }

    /// The far router has said all that is wanted.
    pub(super) fn heard(&mut self, now: Time, heard: &Heard) {
        if self.wait.is_none()
            && let Some(before) = &self.heard
        {
            let present: HashSet<&str> = heard.wanted.iter().map(Selector::text).collect();
            let gone = before.wanted.iter().filter(|selector| !present.contains(selector.text()));
            self.gone.extend(gone.map(|selector| (now, selector.clone())));
            self.forget(now);
        }
        self.heard = Some(heard.clone());
        if self.wait.as_mut().is_some_and(|wait| wait.missing.is_there(heard)) {
            self.end();
        }
    }

    /// More has come to be sent.
    pub(super) fn came(&mut self, bytes: u64) {
        if let Some(wait) = &mut self.wait {
            wait.came += bytes;
            if wait.came > CAME_MAX {
                self.end();
            }
        }
    }

    /// What is to be taken for those who are waited for, beside what is wanted already.
    pub(super) fn awaited(&self) -> Awaited<'_> {
        match &self.wait {
            None => Awaited::Nothing,
            Some(Wait { missing: Missing::Selectors { receivers, links }, .. }) => {
                Awaited::Selectors { receivers, links }
            }
            Some(_) => Awaited::Anything,
        }
    }

    /// Whether the link keeps what it has.
    pub(super) fn waits(&mut self, now: Time) -> bool {
        if self.until().is_some_and(|until| until <= now) {
            self.end();
        }
        self.wait.is_some()
    }

    /// Until when it does, at most.
    pub(super) fn until(&self) -> Option<Time> {
        self.wait.as_ref().map(|wait| wait.until)
    }

    /// It does so no longer on this connection.
    pub(super) fn end(&mut self) {
        if self.wait.take().is_some() {
            self.gone.clear();
        }
    }

    /// The connection has ended.
    pub(super) fn disconnected(&mut self, now: Time) {
        // Who was waited for is waited for again.
        let was_sent_to = self.wait.take().is_none();
        if let (Some(life), Some(heard), true) = (self.life.take(), self.heard.take(), was_sent_to) {
            self.forget(now);
            self.known = Some((life, heard));
        }
    }

    fn forget(&mut self, now: Time) {
        self.gone.retain(|(since, _)| now.since(*since) <= RECENT);
        let too_many = self.gone.len().saturating_sub(DEMAND_MAX);
        self.gone.drain(..too_many);
    }
}

impl Missing {
    /// Whether it is there, by what a far cluster has said. What is there is missed no more.
    fn is_there(&mut self, heard: &Heard) -> bool {
        if heard.wants_everything() {
            return true;
        }
        match self {
            Self::Word => true,
            Self::Anything => heard.all().next().is_some(),
            Self::Everything => false,
            Self::Selectors { receivers, links } => {
                let all: HashSet<&str> = heard.all().map(Selector::text).collect();
                links.retain(|selector| !all.contains(selector.text()));
                let wanted: HashSet<&str> = heard.wanted.iter().map(Selector::text).collect();
                receivers.retain(|selector| !wanted.contains(selector.text()));
                if receivers.len() * heard.wanted.len() <= PAIRS_MAX {
                    receivers
                        .retain(|selector| !heard.wanted.iter().any(|wanted| selector.is_within(wanted)));
                }
                receivers.is_empty() && links.is_empty()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000_000);
    const FIRST: Life = (RouterId(1), Incarnation(1));
    const AGAIN: Life = (RouterId(1), Incarnation(2));

    fn heard(texts: &[&str]) -> Heard {
        let wanted = texts.iter().map(|text| Selector::parse(text).unwrap()).collect();
        Heard { wanted, ..Heard::default() }
    }

    /// A link that has heard this on its first connection, which has ended.
    fn after(texts: &[&str]) -> Returning {
        let mut returning = Returning::default();
        returning.welcomed(NOW, FIRST);
        returning.heard(NOW, &heard(texts));
        returning.end();
        returning.disconnected(NOW);
        returning
    }

    /// Whether it waits behind each of these demands of a router.
    fn waits(returning: &mut Returning, life: Life, demands: &[&[&str]]) -> Vec<bool> {
        returning.welcomed(NOW, life);
        let mut waits = vec![returning.waits(NOW)];
        for texts in demands {
            returning.heard(NOW, &heard(texts));
            waits.push(returning.waits(NOW));
        }
        waits
    }

    #[test]
    fn a_router_that_was_started_again_is_waited_for_until_all_are_back_and_no_longer_than_the_bound() {
        let demands: &[&[&str]] = &[&[], &["a=1"], &["c", "a=1"], &["a=1", "b", "c"]];
        assert_eq!(waits(&mut after(&["a=1", "b"]), AGAIN, demands), [true, true, true, true, false]);
        assert_eq!(waits(&mut after(&["a=1", "a=2"]), AGAIN, &[&["a"]]), [true, false], "a wider one");
        assert_eq!(waits(&mut after(&["*"]), AGAIN, &[&["a"], &["*"]]), [true, true, false]);
        let mut returning = after(&["a=1"]);
        assert_eq!(waits(&mut returning, AGAIN, &[&[]]), [true, true]);
        assert_eq!(returning.until(), Some(NOW + WAIT_MAX));
        assert!(returning.waits(NOW + (WAIT_MAX - Duration::from_nanos(1))));
        assert!(!returning.waits(NOW + WAIT_MAX) && returning.until().is_none());
    }

    #[test]
    fn what_links_select_from_the_start_on_is_no_sign_of_receivers() {
        let demand =
            |receivers: &[&str], links: &[&str]| Heard { links: heard(links).wanted, ..heard(receivers) };
        let mut returning = Returning::default();
        returning.welcomed(NOW, FIRST);
        returning.heard(NOW, &demand(&["a"], &["b", "c"]));
        assert!(!returning.waits(NOW));
        returning.disconnected(NOW);
        returning.welcomed(NOW, AGAIN);
        let says = [
            demand(&[], &["a", "b", "c"]),
            demand(&["b"], &["a", "*"]),
            demand(&["a", "b"], &[]),
            demand(&["a", "b"], &["c"]),
        ];
        let waited = says.map(|heard| {
            returning.heard(NOW, &heard);
            returning.waits(NOW)
        });
        assert_eq!(waited, [true, true, false, false], "links were there at first");
        let mut returning = Returning::default();
        returning.welcomed(NOW, FIRST);
        returning.heard(NOW, &demand(&[], &["b"]));
        assert!(!returning.waits(NOW), "it was never heard of, and somebody takes something");
        returning.disconnected(NOW);
        assert_eq!(waits(&mut returning, AGAIN, &[&[], &["b"]]), [true, true, false]);
    }

    #[test]
    fn one_that_was_there_all_the_time_and_one_of_which_nothing_was_wanted_are_waited_for_until_they_speak() {
        assert_eq!(waits(&mut after(&["a=1"]), FIRST, &[&[]]), [true, false]);
        assert_eq!(waits(&mut after(&[]), AGAIN, &[&[]]), [true, false]);
    }

    #[test]
    fn one_that_was_never_heard_of_is_waited_for_until_anything_is_wanted() {
        assert_eq!(waits(&mut Returning::default(), FIRST, &[&[], &["a"]]), [true, true, false]);
    }

    #[test]
    fn who_was_sent_away_before_the_router_ended_is_waited_for_and_who_left_long_ago_is_not() {
        for (pause, is_waited_for) in [(Duration::from_secs(2), true), (RECENT * 2, false)] {
            let mut returning = Returning::default();
            returning.welcomed(NOW, FIRST);
            returning.heard(NOW, &heard(&["a", "b"]));
            returning.heard(NOW, &heard(&["b"]));
            returning.disconnected(NOW + pause);
            assert_eq!(waits(&mut returning, AGAIN, &[&["b"]]), [true, is_waited_for], "{pause:?}");
        }
    }

    #[test]
    fn who_was_waited_for_in_vain_because_the_connection_broke_is_waited_for_again() {
        let mut returning = after(&["a", "b"]);
        assert_eq!(waits(&mut returning, AGAIN, &[&["a"]]), [true, true]);
        returning.disconnected(NOW);
        assert_eq!(waits(&mut returning, AGAIN, &[&["a"], &["a", "b"]]), [true, true, false]);
    }

    #[test]
    fn more_than_may_come_meanwhile_ends_the_wait() {
        let mut returning = after(&["a"]);
        returning.welcomed(NOW, AGAIN);
        returning.came(CAME_MAX);
        assert!(returning.waits(NOW));
        returning.came(1);
        assert!(!returning.waits(NOW));
    }

    #[test]
    fn many_selectors_are_compared_by_their_text_alone() {
        let texts: Vec<String> = (0..1000).map(|number| format!("host=h{number}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut returning = after(&texts);
        assert_eq!(waits(&mut returning, AGAIN, &[&texts[..500], &texts]), [true, true, false]);
    }
}
