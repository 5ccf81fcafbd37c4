//! The report of a preset: JSON for machines, some lines and a verdict for people.

use std::fmt::Write as _;
use std::time::Duration;

use millrace_measure::{Host, kernel};
use serde::Serialize;

use super::check::Check;
use crate::command_line::command;
use crate::report::lines::{BAD, COLUMNS, GOOD, put_line, wrapped};

/// What a preset measured.
pub trait Figures: Serialize {
    /// Name and version of its JSON. Fields are added, never renamed or removed within a schema.
    const SCHEMA: &'static str;
    /// What is said when all checks hold.
    const PASSED: &'static str;

    /// Lines of the summary: a name of at most ten characters, and its value.
    fn lines(&self) -> Vec<(&'static str, String)>;
}

/// The verdict of a preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All checks hold.
    Pass,
    /// One does not.
    Fail,
}

/// What a preset came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report<F> {
    /// Name and version of the format.
    pub schema: &'static str,
    /// Whether all checks hold.
    pub verdict: Verdict,
    /// The command.
    pub command: String,
    /// Where it ran.
    pub host: Host,
    /// How long all of it took, seconds.
    pub elapsed_s: f64,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What was measured.
    #[serde(flatten)]
    pub figures: F,
}

impl<F: Figures> Report<F> {
    /// Of figures, and what must hold of them.
    #[must_use]
    pub fn new(figures: F, checks: Vec<Check>, elapsed: Duration) -> Self {
        let verdict = if checks.iter().all(|check| check.holds) { Verdict::Pass } else { Verdict::Fail };
        Self {
            schema: F::SCHEMA,
            verdict,
            command: command(),
            host: Host::here(kernel::load_average()),
            elapsed_s: elapsed.as_secs_f64(),
            checks,
            figures,
        }
    }

    /// Whether the preset passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// The lines, what holds and what does not, and the verdict; with terminal colours, in 80
    /// columns.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.figures.lines() {
            put_line(&mut text, name, &value);
        }
        text.push('\n');
        let failed: Vec<_> = self.checks.iter().filter(|check| !check.holds).collect();
        let (style, word, reasons) = if failed.is_empty() {
            (GOOD, "PASS", vec![F::PASSED.to_owned()])
        } else {
            (BAD, "FAIL", failed.iter().map(|check| format!("{}: {}.", check.name, check.found)).collect())
        };
        for reason in reasons {
            for line in wrapped(&reason, COLUMNS - 6) {
                let _ = writeln!(text, "{style}{word}:{style:#} {line}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize)]
    struct Counted {
        count: u64,
    }

    impl Figures for Counted {
        const SCHEMA: &'static str = "counted/1";
        const PASSED: &'static str = "it was counted.";

        fn lines(&self) -> Vec<(&'static str, String)> {
            vec![("count", self.count.to_string())]
        }
    }

    #[test]
    fn one_check_that_does_not_hold_fails_the_preset_and_is_named() {
        let good = Check::new("order", true, "all in order");
        let bad = Check::new("count", false, "one is missing");
        let report =
            |checks: &[Check]| Report::new(Counted { count: 3 }, checks.to_vec(), Duration::from_secs(1));
        let plain = |report: &Report<Counted>| anstream::adapter::strip_str(&report.summary()).to_string();
        let passed = report(std::slice::from_ref(&good));
        assert!(passed.passed() && plain(&passed).ends_with("PASS: it was counted.\n"));
        let failed = report(&[good, bad]);
        assert!(!failed.passed() && plain(&failed).ends_with("FAIL: count: one is missing.\n"));
        let json = serde_json::to_value(&failed).unwrap();
        assert_eq!((&json["schema"], &json["verdict"]), (&"counted/1".into(), &"fail".into()));
        assert_eq!(json["count"], 3);
    }
}
