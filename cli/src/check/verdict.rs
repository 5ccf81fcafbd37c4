//! From two looks at each router to one state.

use std::time::SystemTime;

use serde::Serialize;

use super::args::Check;
use super::figures::{Figure, Looks};
use super::range::{Range, State};
use crate::admin::{AdminUrl, AskError};

/// One figure of one router.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) figure: Figure,
    pub(super) value: f64,
    pub(super) state: State,
    pub(super) warning: Option<Range>,
    pub(super) critical: Option<Range>,
}

/// One router.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) url: AdminUrl,
    pub(super) name: String,
    pub(super) state: State,
    /// It did not answer.
    pub(super) is_silent: bool,
    pub(super) found: Vec<Found>,
    /// What is wrong, in words: the worst first.
    pub(super) wrong: Vec<String>,
}

/// A figure as JSON.
#[derive(Debug, Serialize)]
pub(super) struct FigureObject {
    name: &'static str,
    value: f64,
    unit: &'static str,
    state: &'static str,
    warning: Option<String>,
    critical: Option<String>,
}

impl Found {
    pub(super) fn object(&self) -> FigureObject {
        FigureObject {
            name: self.figure.name(),
            value: self.value,
            unit: self.figure.unit(),
            state: self.state.name(),
            warning: self.warning.map(|range| range.to_string()),
            critical: self.critical.map(|range| range.to_string()),
        }
    }

    fn words(&self) -> String {
        let range = if self.state == State::Critical { self.critical } else { self.warning };
        let range = range.map(|range| format!(" (good: {range})")).unwrap_or_default();
        format!("{} is {}{}{range}", self.figure.name(), self.value, self.figure.words())
    }
}

/// Judges one router.
pub(super) fn judge(
    url: AdminUrl,
    looks: Result<Looks, AskError>,
    asked: &Check,
    now: SystemTime,
) -> Verdict {
    let looks = match looks {
        Ok(looks) => looks,
        Err(error) => {
            let state = match error {
                AskError::Unreachable { .. } => State::Critical,
                AskError::Refused { .. } | AskError::Unreadable { .. } => State::Unknown,
            };
            let name = url.authority().to_owned();
            let is_silent = state == State::Critical;
            return Verdict {
                url,
                name,
                state,
                is_silent,
                found: Vec::new(),
                wrong: vec![error.to_string()],
            };
        }
    };
    let figures = Figure::ALL.into_iter().filter(|one| asked.only.is_empty() || asked.only.contains(one));
    let mut found: Vec<Found> = figures.filter_map(|figure| find(figure, &looks, asked, now)).collect();
    let state = found.iter().map(|found| found.state).max().unwrap_or_default();
    let mut bad: Vec<&Found> = found.iter().filter(|found| found.state > State::Ok).collect();
    bad.sort_by_key(|found| std::cmp::Reverse(found.state));
    let wrong = bad.into_iter().map(|found| told(found, &looks)).collect();
    found.sort_by_key(|found| found.figure);
    Verdict { url, name: looks.after.name, state, is_silent: false, found, wrong }
}

fn find(figure: Figure, looks: &Looks, asked: &Check, now: SystemTime) -> Option<Found> {
    let given = |limits: &[super::args::Limit]| {
        limits.iter().rev().find(|limit| limit.figure == figure).map(|limit| limit.range)
    };
    let warning = given(&asked.warning).unwrap_or_else(|| figure.warning(looks));
    let critical = given(&asked.critical).unwrap_or_else(|| figure.critical(looks));
    let value = figure.value(looks, now)?;
    let exceeds = |range: Option<Range>| range.is_some_and(|range| !range.holds(value));
    let state = match (exceeds(critical), exceeds(warning)) {
        (true, _) => State::Critical,
        (false, true) => State::Warning,
        (false, false) => State::Ok,
    };
    Some(Found { figure, value, state, warning, critical })
}

/// What is wrong with a figure; where the router says why, in its words.
fn told(found: &Found, looks: &Looks) -> String {
    let status = &looks.after;
    match (found.figure, &status.trouble) {
        (Figure::Ready, _) if found.value < 1.0 => status.state().to_owned(),
        (Figure::Degraded, Some(trouble)) => trouble.about.clone(),
        _ => found.words(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::admin::pages::{Core, Status};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        check: Check,
    }

    fn check(args: &[&str], looks: Looks) -> Verdict {
        let line =
            Line::try_parse_from([&["check"], args].concat()).unwrap_or_else(|error| panic!("{error}"));
        let url = "127.0.0.1".parse().unwrap_or_else(|why| panic!("{why}"));
        judge(url, Ok(looks), &line.check, SystemTime::UNIX_EPOCH)
    }

    fn looks(dropped: [u64; 2]) -> Looks {
        let status = |dropped| Status {
            name: "one".to_owned(),
            ready: true,
            certificate_expiry: Some(20 * 86_400),
            cores: vec![Core { dropped, ..Core::default() }],
            ..Status::default()
        };
        Looks { before: status(dropped[0]), after: status(dropped[1]), apart: Duration::from_secs(2) }
    }

    #[test]
    fn drops_are_a_rate_and_limits_of_the_command_line_win() {
        assert_eq!(check(&[], looks([5, 5])).state, State::Ok);
        let verdict = check(&[], looks([5, 25]));
        assert_eq!(
            (verdict.state, verdict.wrong),
            (State::Warning, vec!["drops is 10/s (good: 0)".to_owned()])
        );
        assert_eq!(check(&["-w", "drops=10"], looks([5, 25])).state, State::Ok);
        assert_eq!(check(&["-w", "drops=", "-c", "drops=9"], looks([5, 25])).state, State::Critical);
        assert_eq!(check(&["--only", "ready,in"], looks([5, 25])).found.len(), 2);
    }

    #[test]
    fn a_certificate_of_a_day_is_bad_in_its_last_quarter_alone() {
        let mut looks = looks([0, 0]);
        looks.after.certificate_expiry = Some(86_400 / 3);
        looks.after.certificate_renewal = Some(86_400 / 12);
        let state = |looks| check(&["--only", "certificate"], looks).state;
        assert_eq!(state(looks), State::Ok);
        for (left, wanted) in [(86_400 / 5, State::Warning), (86_400 / 20, State::Critical)] {
            let mut looks = self::looks([0, 0]);
            looks.after.certificate_expiry = Some(left);
            looks.after.certificate_renewal = Some(left - 86_400 / 4);
            assert_eq!(state(looks), wanted);
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_words_the_worst_first() {
        let mut looks = looks([0, 2]);
        looks.after.ready = false;
        looks.after.draining = true;
        looks.after.certificate_expiry = Some(2 * 86_400);
        let verdict = check(&[], looks);
        assert_eq!(verdict.state, State::Critical);
        let words = ["draining", "certificate is 2 days (good: 3:)", "drops is 1/s (good: 0)"];
        assert_eq!(verdict.wrong, words);
    }
}
