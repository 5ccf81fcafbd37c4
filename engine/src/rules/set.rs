//! The rules of a router with what finds their patterns, and the bounds on them.

use std::sync::Arc;

use millrace_proto::rule::{RuleError, RuleText, Rules};
use millrace_proto::selector::Pattern;

use crate::payload::{Cover, Plan, combine};

/// Bounds on rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleLimits {
    /// Bytes at the beginning of a payload that rules look at. Default 4 KiB, at most 64 KiB.
    pub payload_bytes: usize,
    /// Values that captures of one rule's tag have within ten minutes, on one core; `_overflow`
    /// stands for others. Default 1,000.
    pub distinct_max: usize,
    /// Steps in one turn of a core: bytes times automata, some nanosecond each. Default 64 KiB: a
    /// twentieth of the time that a full turn takes.
    pub work_per_turn: usize,
}

impl Default for RuleLimits {
    fn default() -> Self {
        Self { payload_bytes: 4 << 10, distinct_max: 1_000, work_per_turn: 64 << 10 }
    }
}

/// The rules of a router. The same for all its cores, and replaced as a whole.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// The rules.
    pub rules: Rules,
    /// Bounds on them.
    pub limits: RuleLimits,
    cover: Cover,
}

impl RuleSet {
    /// Reads rules, and combines their patterns into few automata: up to a second for many
    /// patterns, so that cores leave it to others.
    ///
    /// # Errors
    /// [`RuleError`]: the first rule that cannot be used.
    pub fn new(texts: &[RuleText], limits: RuleLimits) -> Result<Self, RuleError> {
        let rules = Rules::compile(texts)?;
        let patterns = rules.all().iter().flat_map(|rule| rule.patterns()).map(Arc::clone).collect();
        Ok(Self { rules, limits, cover: combine(patterns) })
    }

    /// Plans how to look for the patterns of some rules (a bit each): rule *n* is the plan's
    /// subscription *n*.
    pub(super) fn plan(&self, rules: u64, plan: &mut Plan) {
        plan.clear();
        for (number, rule) in (0_u16..).zip(self.rules.all()).filter(|(number, _)| rules >> number & 1 == 1) {
            let place =
                |pattern| self.cover.place(pattern).unwrap_or_else(|| (Pattern::automaton(pattern), 0));
            plan.add(number, rule.patterns().iter().map(place));
        }
    }

    /// Whether a payload rule sets this key, so that events may lack it for want of time.
    pub(super) fn may_lack(&self, key: &str) -> bool {
        self.rules.all().iter().any(|rule| !rule.patterns().is_empty() && rule.keys().any(|set| set == key))
    }
}
