//! What a member's process tells the run, line by line.

use std::fmt;
use std::str::FromStr;

use millrace_client::StandbyState;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Its first number.
    Begins(u64),
    /// It holds the set, in this generation.
    Active(u64),
    /// Another member holds it, or nobody does.
    Waiting(u64),
    /// Another member holds what it held.
    Fenced(u64),
    /// It has had all numbers below this one, and what it published has arrived at a router.
    Ended(u64),
}

impl Said {
    /// How a member stands; nothing, when no router has said.
    pub(super) const fn of(state: StandbyState) -> Option<Self> {
        match state {
            StandbyState::Active { generation } => Some(Self::Active(generation)),
            StandbyState::Waiting { generation, .. } => Some(Self::Waiting(generation)),
            StandbyState::Fenced { generation } => Some(Self::Fenced(generation)),
            // Nothing yet, or what this program does not know.
            _ => None,
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins(number) => write!(f, "begins {number}"),
            Self::Active(generation) => write!(f, "active {generation}"),
            Self::Waiting(generation) => write!(f, "waiting {generation}"),
            Self::Fenced(generation) => write!(f, "fenced {generation}"),
            Self::Ended(number) => write!(f, "ended {number}"),
        }
    }
}

/// A line is none of a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a member said \"{0}\", which is no line of its kind")]
pub(super) struct SaidError(String);

impl FromStr for Said {
    type Err = SaidError;

    fn from_str(line: &str) -> Result<Self, SaidError> {
        let wrong = || SaidError(line.to_owned());
        let (kind, number) = line.split_once(' ').ok_or_else(wrong)?;
        let number = number.parse().map_err(|_| wrong())?;
        match kind {
            "begins" => Ok(Self::Begins(number)),
            "active" => Ok(Self::Active(number)),
            "waiting" => Ok(Self::Waiting(number)),
            "fenced" => Ok(Self::Fenced(number)),
            "ended" => Ok(Self::Ended(number)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_reads_back() {
        for said in
            [Said::Begins(1), Said::Active(2), Said::Waiting(3), Said::Fenced(4), Said::Ended(u64::MAX)]
        {
            assert_eq!(said.to_string().parse(), Ok(said));
        }
        for line in ["", "active", "active x", "idle 3", "ended 3 4"] {
            assert!(line.parse::<Said>().is_err(), "{line}");
        }
    }
}
