//! Bounds: the highest fill that was seen of every queue, map and buffer, against its bound.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "bounds";

/// How full something became.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The highest value that was seen.
    pub highest: u64,
    /// The bound that held then.
    pub bound: u64,
}

/// Highest values by the name of what was measured.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    marks: BTreeMap<&'static str, Mark>,
}

impl Bounds {
    /// Takes one measurement. Each new record beyond the bound is a finding.
    pub fn observe(&mut self, name: &'static str, value: u64, bound: u64, findings: &mut Findings) {
        let mark = self.marks.entry(name).or_default();
        if mark.bound != 0 && value <= mark.highest {
            return;
        }
        *mark = Mark { highest: value, bound };
        if value > bound {
            findings.add(NAME, || format!("{name} reached {value}, its bound is {bound}"));
        }
    }

    /// What was measured, by name.
    #[must_use]
    pub const fn marks(&self) -> &BTreeMap<&'static str, Mark> {
        &self.marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_beyond_the_bound_are_findings() {
        let mut bounds = Bounds::default();
        let mut findings = Findings::default();
        for value in [0, 10, 7] {
            bounds.observe("queue", value, 10, &mut findings);
        }
        assert!(findings.is_empty());
        bounds.observe("queue", 11, 10, &mut findings);
        bounds.observe("queue", 11, 10, &mut findings);
        assert_eq!(findings.count, 1);
        assert_eq!(bounds.marks()["queue"], Mark { highest: 11, bound: 10 });
    }
}
