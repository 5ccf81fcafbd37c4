//! When what breaks, and when it is whole again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kind::Fault;

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// When it begins.
    pub at_ns: u64,
    /// When it ends; none for those that do not (crash, clock jump).
    pub until_ns: Option<u64>,
    /// What it is.
    pub fault: Fault,
}

/// Faults in order of their beginnings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule {
    /// The faults.
    pub faults: Vec<Scheduled>,
}

/// Whether a fault begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It ends.
    End,
    /// It begins.
    Begin,
}

impl Schedule {
    /// Beginnings and ends in order of time; at one time, ends come first.
    #[must_use]
    pub fn changes(&self) -> Vec<(u64, Phase, Fault)> {
        let mut changes = Vec::with_capacity(self.faults.len() * 2);
        for item in &self.faults {
            changes.push((item.at_ns, Phase::Begin, item.fault));
            changes.extend(item.until_ns.map(|until| (until, Phase::End, item.fault)));
        }
        changes.sort_by_key(|&(at, phase, _)| (at, phase));
        changes
    }

    /// How many faults there are of each kind that occurs.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for item in &self.faults {
            *counts.entry(item.fault.kind()).or_default() += 1;
        }
        counts
    }
}
