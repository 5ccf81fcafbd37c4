//! Ranges as the Monitoring Plugins' guidelines have them, and how bad a value is.

use std::fmt;
use std::str::FromStr;

/// How bad it is, the worst last: exit codes of plugins, but that unknown is worse than ok and
/// better than a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum State {
    /// As it should be.
    #[default]
    Ok,
    /// It could not be found out.
    Unknown,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Critical,
}

impl State {
    /// The plugin's exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// Its name, in capitals.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Within which a value is good: `10`, `10:`, `~:10`, `10:20`, `@10:20`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    least: f64,
    most: f64,
    /// Good is what is outside.
    is_inverted: bool,
}

impl Range {
    /// From `least` on.
    pub(crate) const fn from(least: f64) -> Self {
        Self { least, most: f64::INFINITY, is_inverted: false }
    }

    /// From 0 to `most`.
    pub(crate) const fn up_to(most: f64) -> Self {
        Self { least: 0.0, most, is_inverted: false }
    }

    /// Whether a value is good.
    pub(crate) fn holds(&self, value: f64) -> bool {
        (self.least <= value && value <= self.most) != self.is_inverted
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range: write 10, 10:, ~:10, 10:20 or @10:20");
        let number =
            |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(wrong);
        let (is_inverted, rest) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (least, most) = match rest.split_once(':') {
            None => (0.0, number(rest)?),
            Some((least, most)) => {
                let least = if least == "~" { f64::NEG_INFINITY } else { number(least)? };
                let most = if most.is_empty() { f64::INFINITY } else { number(most)? };
                (least, most)
            }
        };
        if least > most {
            return Err(format!("{text:?}: it begins above its end"));
        }
        Ok(Self { least, most, is_inverted })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_inverted {
            f.write_str("@")?;
        }
        match self.least {
            f64::NEG_INFINITY => f.write_str("~:")?,
            0.0 => {}
            least => write!(f, "{least}:")?,
        }
        match self.most {
            f64::INFINITY if self.least == 0.0 => f.write_str("0:"),
            f64::INFINITY => Ok(()),
            most => write!(f, "{most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_the_guidelines_say() {
        let range = |text: &str| text.parse::<Range>().unwrap_or_else(|why| panic!("{why}"));
        for (text, good, bad) in [
            ("10", vec![0.0, 10.0], vec![-0.1, 10.1]),
            ("10:", vec![10.0, 1e9], vec![9.9]),
            ("~:10", vec![-1e9, 10.0], vec![10.1]),
            ("10:20", vec![10.0, 20.0], vec![9.9, 20.1]),
            ("@10:20", vec![9.9, 20.1], vec![10.0, 20.0]),
        ] {
            assert!(good.iter().all(|&value| range(text).holds(value)), "{text}");
            assert!(bad.iter().all(|&value| !range(text).holds(value)), "{text}");
            assert_eq!(range(text).to_string(), text);
        }
        for wrong in ["", "x", "1:x", "20:10", "inf", "1:2:3"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_worst_state_is_the_greatest() {
        assert!(
            State::Critical > State::Warning && State::Warning > State::Unknown && State::Unknown > State::Ok
        );
        assert_eq!(
            [State::Ok, State::Warning, State::Critical, State::Unknown].map(State::code),
            [0, 1, 2, 3]
        );
    }
}
