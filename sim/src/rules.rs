//! Tag rules of a cluster, which its routers reload at different times, and the checker of what
//! they add.
//!
//! Each third seed has rules. Two keys that no selector of the workload names say which version of
//! the rules was applied to an event, and what was captured from its payload:
//!
//! - an event has the tags of one version, in full, whoever receives it;
//! - an event that is written once has the same tags at all receivers, on all routers;
//! - an event that is published when all routers have reloaded has those of the newer version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_engine::rules::{RuleLimits, RuleSet};
use millrace_engine::time::Time;
use millrace_proto::rule::RuleText;
use millrace_proto::{TagSet, TagSetRef};
use millrace_verify::checker::Findings;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Routers reload between these times; clients have connected before.
const RELOADS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));
/// Says which version was applied.
const VERSION_KEY: &str = "zz/version";
/// What was captured.
const WORD_KEY: &str = "zz/word";
/// Words that each version captures from payloads: the first that stands in one.
const WORDS: [&[&str]; 2] = [&["raid", "disk", "link up", "link down"], &["RAID", "load 17", "link"]];
/// The name of the checker in findings.
const NAME: &str = "rules";

/// The rules of a router, before and after its reload.
#[derive(Debug, Clone)]
pub struct RuleReload {
    before: Arc<RuleSet>,
    after: Arc<RuleSet>,
    /// When it reloads.
    pub at: Time,
}

impl RuleReload {
    /// The rules at a time.
    #[must_use]
    pub fn at(&self, now: Time) -> &Arc<RuleSet> {
        if now < self.at { &self.before } else { &self.after }
    }
}

/// The rules of all routers of a seed, by router; none where it has no rules.
pub(crate) fn reloads(seed: u64, routers: usize) -> Vec<RuleReload> {
    if seed % 3 != 1 {
        return Vec::new();
    }
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x72_756c_6573);
    // No event passes for want of time, so that what is expected is known.
    let limits = RuleLimits { work_per_turn: 1 << 30, ..RuleLimits::default() };
    let set = |version: usize| {
        let rule = |name: &str, when: String, key: &str, value: String| RuleText {
            name: name.to_owned(),
            when,
            set: BTreeMap::from([(key.to_owned(), value)]),
        };
        let pattern = format!("payload ~ /(?<word>{})/", WORDS[version].join("|"));
        let texts = [
            rule("version", "*".to_owned(), VERSION_KEY, version.to_string()),
            rule("word", pattern, WORD_KEY, "${word}".to_owned()),
        ];
        Arc::new(RuleSet::new(&texts, limits).expect("these rules can be used"))
    };
    let (before, after) = (set(0), set(1));
    let reload = |_| {
        let at = Time::ZERO + rng.random_range(RELOADS.0..RELOADS.1);
        RuleReload { before: Arc::clone(&before), after: Arc::clone(&after), at }
    };
    (0..routers).map(reload).collect()
}

/// What rules have added to events.
#[derive(Debug, Default)]
pub struct RuleChecker {
    /// What events that were written once came with, by emitter and number.
    seen: BTreeMap<(u32, u64), TagSet>,
}

/// An event as a receiver got it.
#[derive(Debug, Clone, Copy)]
pub struct Ruled<'a> {
    /// Its emitter and number.
    pub event: (u32, u64),
    /// Its tags.
    pub tags: TagSetRef<'a>,
    /// Its payload.
    pub payload: &'a [u8],
    /// When it was published, ns, and whether it was written again since.
    pub published: Option<(u64, bool)>,
}

impl RuleChecker {
    /// Looks at what rules have added to an event. Returns its other tags.
    pub fn delivered(&mut self, ruled: &Ruled<'_>, findings: &mut Findings) -> TagSet {
        let is_added = |key: &str| key == VERSION_KEY || key == WORD_KEY;
        let part = |added: bool| {
            let tags = ruled.tags.iter().filter(|(key, _)| is_added(key) == added);
            TagSet::new(tags).unwrap_or_else(|_| ruled.tags.to_owned())
        };
        let (published, added) = (part(false), part(true));
        let (emitter, n) = ruled.event;
        let version =
            (0..WORDS.len()).find(|&version| expected(version, ruled.payload) == Some(added.clone()));
        let Some(version) = version else {
            findings.add(NAME, || {
                format!("event {n} of emitter {emitter} came with {{{added}}}, which no rules add")
            });
            return published;
        };
        let Some((at, is_resent)) = ruled.published else { return published };
        if version == 0 && Duration::from_nanos(at) > RELOADS.1 {
            findings.add(NAME, || {
                format!("event {n} of emitter {emitter} has tags of rules that no router has had since")
            });
        }
        if is_resent {
            self.seen.remove(&ruled.event);
        } else {
            let first = self.seen.entry(ruled.event).or_insert_with(|| added.clone());
            if *first != added {
                findings.add(NAME, || {
                    format!("event {n} of emitter {emitter} came with {{{first}}} and with {{{added}}}")
                });
            }
        }
        published
    }
}

/// What a version of the rules adds to an event.
fn expected(version: usize, payload: &[u8]) -> Option<TagSet> {
    let word = (0..payload.len())
        .find_map(|at| WORDS[version].iter().find(|word| payload[at..].starts_with(word.as_bytes())));
    let word = word.map(|&word| (WORD_KEY, word.to_owned()));
    TagSet::new([(VERSION_KEY, version.to_string())].into_iter().chain(word)).ok()
}
