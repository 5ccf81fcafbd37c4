//! Quench: publishers leave out what nobody wants, and nothing else.
//!
//! - From when a receiver has learned that its subscription is effective in the cluster, nobody
//!   leaves out what it wants. It is owed what is left out just as what is sent: it is missed in
//!   [`completeness`](super::completeness), unless a gap stands in its place, and found here
//!   ([`missed`]). Publishers that the receiver was told of as left out are excepted.
//! - A tag set is quenched on one connection at most once in the time for which nobody may want it,
//!   however often somebody comes and goes.
//! - No core quenches while it does not know all interest (its router is not synced, or a peer is
//!   suspect), nor where something else than receivers wants the set: history, or a rule for
//!   payloads.
//!
//! ```text
//! router writes   Quench 7 ──────── Unquench 7 ── Quench 7
//!                    └────────── at least `after` ───┘
//! ```
//!
//! The second and third are looked at where the router writes, so that no delay of the network
//! counts.

use std::collections::BTreeMap;

use millrace_proto::{PublisherId, RouterId};

use super::Findings;
use super::copies::Place;

/// The name of this checker in findings.
pub const NAME: &str = "quench";

/// A core tells a publisher that nobody wants some tag sets.
#[derive(Debug, Clone)]
pub struct Told {
    /// The connection, as nobody else's is called.
    pub conn: u64,
    /// The core.
    pub core: Place,
    /// Their numbers on the publish stream.
    pub tag_sets: Vec<u64>,
}

/// What a core that quenches is to heed.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// For how long nobody may want a set, ns.
    pub after_ns: u64,
    /// Whether control has told it that it knows all interest.
    pub knows_all_interest: bool,
    /// What wants every set there, if something does.
    pub wanted_by: Option<&'static str>,
}

/// What was quenched when, by connection and tag set.
#[derive(Debug, Clone, Default)]
pub struct Quenches {
    last: BTreeMap<(u64, u64), u64>,
    /// Tag sets that publishers were told of.
    pub count: u64,
}

impl Quenches {
    /// A core writes a Quench at `at`, ns.
    pub fn told(&mut self, told: &Told, standing: Standing, at: u64, findings: &mut Findings) {
        let Place { router, core } = told.core;
        if !standing.knows_all_interest {
            findings.add(NAME, || {
                format!("core {core} of router {router} quenches and does not know all interest")
            });
        }
        if let Some(wanted_by) = standing.wanted_by {
            findings.add(NAME, || {
                format!("core {core} of router {router} quenches what is wanted by {wanted_by}")
            });
        }
        for &number in &told.tag_sets {
            self.count += 1;
            let last = self.last.insert((told.conn, number), at);
            if let Some(since) = last.map(|last| at - last).filter(|&since| since < standing.after_ns) {
                findings.add(NAME, || {
                    format!(
                        "core {core} of router {router} quenches set {number} of connection {} again after {since} ns",
                        told.conn
                    )
                });
            }
        }
    }
}

/// A receiver has missed an event because its publisher has left it out.
pub fn missed(
    receiver: u32,
    (emitter, n): (u32, u64),
    publisher: PublisherId,
    entry: RouterId,
    findings: &mut Findings,
) {
    findings.add(NAME, || {
        format!(
            "receiver {receiver} wants event {n} of emitter {emitter}, which publisher {publisher} at router \
             {entry} has left out"
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: Place = Place { router: RouterId(1), core: 0 };
    const FREE: Standing = Standing { after_ns: 100, knows_all_interest: true, wanted_by: None };

    /// Findings behind quenches of one connection: when, which set, and how its core stands.
    fn findings(told: &[(u64, u64, Standing)]) -> u64 {
        let (mut quenches, mut findings) = (Quenches::default(), Findings::default());
        for &(at, number, standing) in told {
            quenches.told(&Told { conn: 3, core: CORE, tag_sets: vec![number] }, standing, at, &mut findings);
        }
        findings.count
    }

    #[test]
    fn a_set_is_quenched_once_in_the_time_for_which_nobody_wants_it() {
        assert_eq!(findings(&[(50, 0, FREE), (60, 1, FREE), (150, 0, FREE), (250, 0, FREE)]), 0);
        assert_eq!(findings(&[(50, 0, FREE), (149, 0, FREE)]), 1);
    }

    #[test]
    fn a_core_that_knows_too_little_or_keeps_history_does_not_quench() {
        assert_eq!(findings(&[(50, 0, Standing { knows_all_interest: false, ..FREE })]), 1);
        assert_eq!(findings(&[(50, 0, Standing { wanted_by: Some("history"), ..FREE })]), 1);
    }
}
